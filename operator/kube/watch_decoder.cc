#include "operator/kube/watch_decoder.h"

#include <nlohmann/json.hpp>

namespace raftkv::kube {
namespace {

constexpr size_t kMaxQuotedBytes = 100;

std::unexpected<ApiError> Malformed(std::string_view line) {
  return Fail(Reason::kMalformed, "the watch sent what is no event: '" +
                                      std::string(line.substr(0, kMaxQuotedBytes)) + "'");
}

}  // namespace

ApiResult<WatchEvent> ParseWatchEvent(std::string_view line) {
  auto parsed = Object::Parse(line);
  if (!parsed) return Malformed(line);
  Json& json = parsed->json();
  auto object = json.find("object");
  if (object == json.end() || !object->is_object()) return Malformed(line);
  std::string_view type = parsed->String("/type");
  WatchEvent event;
  if (type == "ERROR") return std::unexpected(ErrorFromStatus(Object(*object)));
  if (type == "ADDED") {
    event.type = EventType::kAdded;
  } else if (type == "MODIFIED") {
    event.type = EventType::kModified;
  } else if (type == "DELETED") {
    event.type = EventType::kDeleted;
  } else if (type == "BOOKMARK") {
    event.type = EventType::kBookmark;
  } else {
    return Malformed(line);
  }
  event.object = Object(std::move(*object));
  bool named = event.type == EventType::kBookmark || !event.object.name().empty();
  if (!named || event.object.resource_version().empty()) return Malformed(line);
  return event;
}

ApiResult<void> WatchDecoder::Feed(std::string_view bytes,
                                   const std::function<bool(WatchEvent)>& on_event, bool* stopped) {
  *stopped = false;
  while (!bytes.empty()) {
    size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > max_event_bytes_) {
      return Fail(Reason::kTooLarge,
                  "a watch event is larger than " + std::to_string(max_event_bytes_) + " bytes");
    }
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    std::string line;
    line.swap(line_);
    if (line.find_first_not_of(" \r\t") == std::string::npos) continue;
    auto event = ParseWatchEvent(line);
    if (!event) return std::unexpected(std::move(event.error()));
    if (!on_event(std::move(*event))) {
      *stopped = true;
      return {};
    }
  }
  return {};
}

ApiResult<void> WatchDecoder::End() const {
  if (line_.empty()) return {};
  return Fail(Reason::kMalformed, "the watch ended in the middle of an event");
}

}  // namespace raftkv::kube
