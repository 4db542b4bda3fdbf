#include "operator/kube/events.h"

#include <pthread.h>

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace raftkv::kube {
namespace {

constexpr size_t kMaxNoteBytes = 1024;  // the API's limit
constexpr size_t kMaxNameBytes = 230;   // of the object, so that a suffix fits in 253
constexpr int kTries = 3;
constexpr Duration kRetryDelay = std::chrono::seconds(1);
constexpr Duration kCloseGrace = std::chrono::seconds(2);

std::string Hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// At a boundary of UTF-8 sequences.
std::string Cut(const std::string& text, size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

std::string ObjectKey(const Object& object) {
  return std::string(object.uid()) + "|" + std::string(object.kind()) + "|" +
         object.key().ToString();
}

// What has a limit of its own.
std::string LimitKey(const std::string& object_key, const EventNote& note) {
  return note.kind == EventKind::kCondition ? object_key + "|" + note.reason : object_key;
}

// The least recently used gives way.
template <typename Map>
void Bound(Map& map, size_t max) {
  while (map.size() > max) {
    auto oldest = map.begin();
    for (auto it = map.begin(); it != map.end(); ++it) {
      if (it->second.last_seen < oldest->second.last_seen) oldest = it;
    }
    map.erase(oldest);
  }
}

}  // namespace

EventRecorder::EventRecorder(Api* api, EventOptions options, Timing* timing, uint64_t seed,
                             Metrics* metrics)
    : api_(api), options_(std::move(options)), timing_(timing), metrics_(metrics), random_(seed) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "events");
    Run();
  });
}

EventRecorder::~EventRecorder() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
    MonotonicTime deadline = SaturatingAdd(timing_->Now(), kCloseGrace);
    while (busy_ && timing_->Now() < deadline) {
      timing_->WaitUntil(lock, idle_, deadline);
    }
    stop_.request_stop();
    queue_.clear();
    wake_.notify_all();
  }
  thread_.join();
}

EventStats EventRecorder::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

bool EventRecorder::Flush(Duration limit) {
  std::unique_lock lock(mutex_);
  MonotonicTime deadline = SaturatingAdd(timing_->Now(), limit);
  while (busy_ && timing_->Now() < deadline) {
    timing_->WaitUntil(lock, idle_, deadline);
  }
  return !busy_;
}

// --- Recording
// ------------------------------------------------------------------------------------

void EventRecorder::Record(const Object& regarding, const EventNote& note) {
  std::lock_guard lock(mutex_);
  MonotonicTime now = timing_->Now();
  std::string object_key = ObjectKey(regarding);
  if (stopping_) return DropLocked(regarding, note, "the operator stops");
  if (note.kind != EventKind::kStep && !AllowedLocked(LimitKey(object_key, note), now)) {
    return DropLocked(regarding, note, "too many of one object");
  }
  EventNote cut = note;
  cut.note = Cut(note.note, kMaxNoteBytes);
  std::string similar =
      object_key + "|" + note.reason + "|" + note.action + (note.warning ? "|w|" : "|n|");
  std::string combined = CombinedLocked(similar, cut.note, now);
  std::string key = similar + combined + (combined.empty() ? cut.note : "");
  if (!combined.empty()) cut.note = Cut(combined + cut.note, kMaxNoteBytes);

  auto known = series_.find(key);
  if (known != series_.end() && now - known->second.last_seen <= options_.series_window) {
    Series& series = known->second;
    ++series.count;
    series.unsent = true;
    series.last_seen = now;
    series.last_seen_wall = timing_->WallMicros();
    busy_ = true;
    wake_.notify_one();
    return;
  }
  if (queue_.size() >= options_.max_queued) {
    return DropLocked(regarding, note, "too many wait for the API server");
  }
  series_[key] = {.count = 1,
                  .last_seen = now,
                  .last_sent = MonotonicTime::min(),
                  .last_seen_wall = timing_->WallMicros()};
  Bound(series_, options_.max_series);
  queue_.push_back({std::move(key), MakeEventLocked(regarding, cut)});
  busy_ = true;
  wake_.notify_one();
}

// Nobody sees the event: its words are in the log at least.
void EventRecorder::DropLocked(const Object& regarding, const EventNote& note, const char* why) {
  CountDroppedLocked();
  log::Info("event dropped", {{"object", regarding.key().ToString()},
                              {"reason", note.reason},
                              {"note", note.note},
                              {"why", why}});
}

void EventRecorder::CountDroppedLocked() {
  ++stats_.dropped;
  if (metrics_ != nullptr) metrics_->CountDroppedEvent();
}

bool EventRecorder::AllowedLocked(const std::string& limit_key, MonotonicTime now) {
  TokenBucket full(options_.object_per_second, options_.object_burst);
  Limit& limit = limits_.try_emplace(limit_key, Limit{full, now}).first->second;
  limit.last_seen = now;
  bool allowed = limit.bucket.TryTake(now);
  Bound(limits_, options_.max_series);
  return allowed;
}

// A prefix for the note if it is one of too many; empty otherwise.
std::string EventRecorder::CombinedLocked(const std::string& similar_key, const std::string& note,
                                          MonotonicTime now) {
  Similar& similar = similar_.try_emplace(similar_key, Similar{now, {}}).first->second;
  if (now - similar.last_seen > options_.similar_window) similar = {now, {}};
  bool known = similar.notes.contains(note);
  bool many = similar.notes.size() >= static_cast<size_t>(options_.similar_limit);
  if (!known && !many) similar.notes.insert(note);
  Bound(similar_, options_.max_series);
  return !known && many ? "(combined from similar events): " : "";
}

Object EventRecorder::MakeEventLocked(const Object& regarding, const EventNote& note) {
  std::string ns(regarding.ns().empty() ? "default" : regarding.ns());
  std::string name = Cut(std::string(regarding.name()), kMaxNameBytes) + "." + Hex(random_.Next());
  Object event(resources::kEvents, {ns, name});
  event.Set("/eventTime", FormatMicroTime(timing_->WallMicros()));
  event.Set("/reportingController", options_.controller);
  event.Set("/reportingInstance", options_.instance);
  event.Set("/type", note.warning ? "Warning" : "Normal");
  event.Set("/reason", note.reason);
  event.Set("/action", note.action);
  event.Set("/note", note.note);
  Json about = {{"apiVersion", std::string(regarding.api_version())},
                {"kind", std::string(regarding.kind())},
                {"name", std::string(regarding.name())},
                {"uid", std::string(regarding.uid())},
                {"resourceVersion", std::string(regarding.resource_version())}};
  if (!regarding.ns().empty()) about["namespace"] = std::string(regarding.ns());
  event.Set("/regarding", std::move(about));
  return event;
}

// --- Sending
// --------------------------------------------------------------------------------------

void EventRecorder::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    busy_ = true;
    if (!queue_.empty()) {
      CreateEvent(lock);
      continue;
    }
    if (SendDueSeries(lock)) continue;
    busy_ = false;
    idle_.notify_all();
    if (stopping_) return;
    timing_->WaitUntil(lock, wake_, NextDueLocked());
  }
}

bool EventRecorder::MayGoOnLocked() const { return !stop_.stop_requested(); }

void EventRecorder::CreateEvent(std::unique_lock<std::mutex>& lock) {
  Waiting waiting = std::move(queue_.front());
  queue_.pop_front();
  for (int tries = 1; MayGoOnLocked(); ++tries) {
    lock.unlock();
    auto created = api_->Create(resources::kEvents, waiting.event);
    bool again = !created && created.error().IsTransient() && tries < kTries;
    if (again) timing_->Sleep(kRetryDelay, stop_.get_token());
    lock.lock();
    if (again) continue;
    auto series = series_.find(waiting.series);
    // The first of several tries may have arrived after all.
    if (created || created.error().Is(Reason::kAlreadyExists)) {
      ++stats_.sent;
      if (series != series_.end()) series->second.event = waiting.event.key();
    } else {
      CountDroppedLocked();
      if (series != series_.end()) series_.erase(series);
      log::Warning("event not recorded", {{"reason", waiting.event.String("/reason")},
                                          {"error", created.error().ToString()}});
    }
    return;
  }
}

bool EventRecorder::SendDueSeries(std::unique_lock<std::mutex>& lock) {
  MonotonicTime now = timing_->Now();
  for (auto& [key, series] : series_) {
    bool due = series.unsent && !series.event.name.empty() &&
               (series.last_sent == MonotonicTime::min() ||
                now - series.last_sent >= options_.series_interval || stopping_);
    if (!due) continue;
    series.unsent = false;
    series.last_sent = now;
    std::string sent = key;
    Key event = series.event;
    Json patch = {
        {"series",
         {{"count", series.count}, {"lastObservedTime", FormatMicroTime(series.last_seen_wall)}}}};
    lock.unlock();
    auto patched = api_->Patch(resources::kEvents, event, PatchType::kMerge, patch);
    lock.lock();
    if (patched) {
      ++stats_.sent;
    } else if (patched.error().IsTransient() && !stopping_) {
      // It goes with the next one that is due; it may have been forgotten meanwhile.
      if (auto waits = series_.find(sent); waits != series_.end()) waits->second.unsent = true;
    } else {
      CountDroppedLocked();
      log::Warning("a repeated event is not counted",
                   {{"event", event.ToString()}, {"error", patched.error().ToString()}});
      // Events live for an hour: the next one makes a new object.
      if (patched.error().Is(Reason::kNotFound)) series_.erase(sent);
    }
    return true;
  }
  return false;
}

MonotonicTime EventRecorder::NextDueLocked() const {
  MonotonicTime next = MonotonicTime::max();
  for (const auto& [key, series] : series_) {
    if (!series.unsent || series.event.name.empty()) continue;
    next = std::min(next, series.last_sent + options_.series_interval);
  }
  return next;
}

}  // namespace raftkv::kube
