#include "operator/kube/reflector.h"

#include "base/log.h"

namespace raftkv::kube {
namespace {

// A watch that ends sooner, without an event, is a server in trouble (client-go).
constexpr Duration kShortWatch = std::chrono::seconds(1);
// What is malformed thrice at the same place will be so for ever: step over it by a list.
constexpr int kMalformedBeforeList = 3;

}  // namespace

Reflector::Reflector(Api* api, Cache* cache, ReflectorOptions options, Timing* timing,
                     uint64_t seed)
    : api_(api),
      cache_(cache),
      options_(std::move(options)),
      timing_(timing),
      random_(seed),
      backoff_(options_.backoff),
      next_resync_(MonotonicTime::max()) {}

void Reflector::Run(std::stop_token stop) {
  Next next = Next::kList;
  while (next != Next::kStop && !stop.stop_requested()) {
    if (next == Next::kListNewest) newest_ = true;
    next = next == Next::kWatch ? WatchOnce(stop) : ListAll(stop);
    ResyncIfDue();
  }
}

ReflectorStats Reflector::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

// --- List
// -----------------------------------------------------------------------------------------

Reflector::Next Reflector::ListAll(std::stop_token stop) {
  // "0" until the first list has come: afterwards it might be older than what we have seen.
  std::string version = newest_ ? "" : version_.empty() ? "0" : version_;
  {
    std::lock_guard lock(mutex_);
    ++stats_.lists;
  }
  auto list = ListPages(version, stop);
  if (!list) {
    const ApiError& error = list.error();
    if (error.Is(Reason::kStopped)) return Next::kStop;
    bool version_trouble = error.Is(Reason::kExpired) || error.Is(Reason::kVersionTooLarge);
    if (version_trouble && !version.empty()) return Next::kListNewest;
    Failed("list", error, stop);
    return Next::kList;
  }
  for (Object& object : list->items) Transform(object);
  if (Status replaced =
          cache_->Replace(std::move(list->items), list->resource_version, options_.ns);
      !replaced.ok()) {
    Failed("list", {.reason = Reason::kTooLarge, .message = replaced.message()}, stop);
    return Next::kList;
  }
  version_ = list->resource_version;
  newest_ = false;
  malformed_in_a_row_ = 0;
  if (next_resync_ == MonotonicTime::max() && options_.resync > Duration::zero()) {
    next_resync_ = timing_->Now() + Jitter(options_.resync * 9 / 10, 2.0 / 9, random_);
  }
  Succeeded();
  return Next::kWatch;
}

ApiResult<ObjectList> Reflector::ListPages(const std::string& version, std::stop_token stop) {
  ListOptions options{.ns = options_.ns,
                      .label_selector = options_.label_selector,
                      .field_selector = options_.field_selector,
                      .resource_version = version,
                      .limit = options_.page_size};
  auto all = api_->List(cache_->resource(), options, stop);
  while (all && !all->continue_token.empty()) {
    options.continue_token = all->continue_token;
    auto page = api_->List(cache_->resource(), options, stop);
    if (!page && page.error().Is(Reason::kExpired) && options.limit > 0) {
      // Writes overtook the pages: everything at once, at one version.
      options.limit = 0;
      options.continue_token.clear();
      options.resource_version.clear();
      all = api_->List(cache_->resource(), options, stop);
      continue;
    }
    if (!page) return page;
    for (Object& object : page->items) {
      Transform(object);
      all->items.push_back(std::move(object));
    }
    all->continue_token = page->continue_token;
    all->resource_version = page->resource_version;
  }
  return all;
}

void Reflector::Transform(Object& object) const {
  if (options_.transform) {
    options_.transform(object);
  } else {
    object.Erase("/metadata/managedFields");
  }
}

// --- Watch
// ----------------------------------------------------------------------------------------

Reflector::Next Reflector::WatchOnce(std::stop_token stop) {
  uint64_t events_before = 0;
  {
    std::lock_guard lock(mutex_);
    ++stats_.watches;
    events_before = stats_.events;
  }
  Duration span = options_.watch_max - options_.watch_min;
  WatchOptions options{.ns = options_.ns,
                       .label_selector = options_.label_selector,
                       .field_selector = options_.field_selector,
                       .resource_version = version_,
                       // From [min, max).
                       .timeout = options_.watch_min + (Jitter(span, 1, random_) - span)};
  MonotonicTime start = timing_->Now();
  Status full;
  auto ended = api_->Watch(
      cache_->resource(), options,
      [&](WatchEvent event) {
        OnEvent(std::move(event), &full);
        return full.ok() && !stop.stop_requested();
      },
      stop);
  if (stop.stop_requested()) return Next::kStop;
  if (!full.ok()) {
    Failed("watch", {.reason = Reason::kTooLarge, .message = full.message()}, stop);
    return Next::kList;
  }
  bool quiet = stats().events == events_before;
  if (!quiet) malformed_in_a_row_ = 0;
  if (ended) {
    if (quiet && timing_->Now() - start < kShortWatch) {
      Failed("watch", {.reason = Reason::kConnection, .message = "ended at once, without an event"},
             stop);
    } else {
      Succeeded();
    }
    return Next::kWatch;
  }
  return AfterFailedWatch(ended.error(), stop);
}

Reflector::Next Reflector::AfterFailedWatch(const ApiError& error, std::stop_token stop) {
  switch (error.reason) {
    case Reason::kStopped:
      return Next::kStop;
    case Reason::kExpired:
      log::Info("watch is too far behind, listing again",
                {{"resource", cache_->resource().name()}, {"why", error.message}});
      return Next::kListNewest;
    case Reason::kVersionTooLarge:
      Failed("watch", error, stop);
      return Next::kListNewest;
    case Reason::kMalformed:
    case Reason::kTooLarge:
      Failed("watch", error, stop);
      return ++malformed_in_a_row_ >= kMalformedBeforeList ? Next::kListNewest : Next::kWatch;
    case Reason::kDeadline:
      // The server forgot to end the stream: nothing is lost, nor is it busy.
      log::Warning("watch had gone silent, watching again",
                   {{"resource", cache_->resource().name()}});
      return Next::kWatch;
    default:
      Failed("watch", error, stop);
      return Next::kWatch;
  }
}

void Reflector::OnEvent(WatchEvent event, Status* full) {
  std::string version(event.object.resource_version());
  switch (event.type) {
    case EventType::kAdded:
    case EventType::kModified:
      Transform(event.object);
      *full = cache_->Upsert(std::move(event.object));
      break;
    case EventType::kDeleted:
      Transform(event.object);
      cache_->Remove(event.object);
      break;
    case EventType::kBookmark:
      cache_->Reached(version, options_.ns);
      break;
  }
  if (full->ok()) version_ = std::move(version);
  std::lock_guard lock(mutex_);
  ++stats_.events;
}

void Reflector::ResyncIfDue() {
  MonotonicTime now = timing_->Now();
  if (now < next_resync_) return;
  next_resync_ = now + Jitter(options_.resync * 9 / 10, 2.0 / 9, random_);
  cache_->Resync(options_.ns);
}

// --- Trouble
// --------------------------------------------------------------------------------------

void Reflector::Failed(const char* what, const ApiError& error, std::stop_token stop) {
  std::string text = error.ToString();
  bool new_trouble = false;
  {
    std::lock_guard lock(mutex_);
    ++stats_.failures;
    new_trouble = stats_.last_error != text;
    stats_.last_error = text;
  }
  Duration delay = std::max(backoff_.Next(timing_->Now(), random_), error.retry_after);
  if (new_trouble) {
    log::Warning(
        "cannot follow the API server, trying again",
        {{"resource", cache_->resource().name()},
         {"call", what},
         {"error", text},
         {"retry_in_ms", std::chrono::duration_cast<std::chrono::milliseconds>(delay).count()}});
  }
  timing_->Sleep(delay, std::move(stop));
}

void Reflector::Succeeded() {
  std::lock_guard lock(mutex_);
  if (!stats_.last_error.empty()) {
    log::Info("following the API server again", {{"resource", cache_->resource().name()}});
  }
  stats_.last_error.clear();
}

}  // namespace raftkv::kube
