#include "operator/raftkv/refusals.h"

#include <algorithm>
#include <utility>

namespace raftkv::op {
namespace {

constexpr Duration kRefusedPause = std::chrono::seconds(5);
// A refusal of what is not wanted any more is forgotten so long after its next try was due.
constexpr Duration kRefusedForgotten = std::chrono::minutes(10);

}  // namespace

std::string Shortened(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return std::string(text.substr(0, bytes)) + "...";
}

void Refusals::Note(const Action& action, Content content, std::string_view message,
                    Duration longest, MonotonicTime now) {
  Refused& refused = refused_[RefusalKey(action)];
  // Another object of the same action.
  if (refused.noted_in == tries_ && refused.pause > Duration::zero()) {
    if (!refused.message.contains(message)) {
      refused.message = Shortened(refused.message + " " + std::string(message), kRefusedBytes);
    }
    return;
  }
  const bool again = std::ranges::includes(refused.content, content);
  refused.pause = again ? std::min(2 * refused.pause, longest) : kRefusedPause;
  refused.again = now + refused.pause;
  refused.noted_in = tries_;
  refused.content = std::move(content);
  refused.message = Shortened(message, kRefusedBytes);
}

void Refusals::EndTry(const Action& action, Content content, bool done, MonotonicTime now) {
  const auto known = refused_.find(RefusalKey(action));
  if (known == refused_.end()) return;
  if (done) {
    refused_.erase(known);
    return;
  }
  Refused& refused = known->second;
  if (!std::ranges::includes(refused.content, content)) refused.pause = kRefusedPause;
  refused.again = now + refused.pause;
  refused.content = std::move(content);
}

bool Refusals::IsHeld(const Action& action, const Content& content, MonotonicTime now) const {
  const auto found = refused_.find(RefusalKey(action));
  return found != refused_.end() && now < found->second.again &&
         std::ranges::includes(found->second.content, content);
}

std::map<std::string, Refusal> Refusals::Tell(
    const std::function<Content(const std::string& key)>& content_of, bool template_current,
    MonotonicTime now, int64_t now_s) {
  std::map<std::string, Refusal> out;
  const std::string of_template = RefusalKey(ApplyStatefulSet{});
  std::erase_if(refused_, [&](const auto& entry) {
    const auto& [key, refused] = entry;
    const bool same = std::ranges::includes(refused.content, content_of(key));
    if ((key == of_template && template_current && !same) ||
        now - refused.again > kRefusedForgotten) {
      return true;
    }
    const auto left = std::chrono::ceil<std::chrono::seconds>(refused.again - now);
    const bool waits = now < refused.again && same;
    out[key] = {.message = refused.message, .again_s = waits ? now_s + left.count() : 0};
    return false;
  });
  return out;
}

}  // namespace raftkv::op
