#include "operator/kube/timing.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace raftkv::kube {
namespace {

// Far enough for "never"; condition variables add it to the wall clock's epoch on some systems.
constexpr Duration kLongestWait = std::chrono::hours(24);
constexpr int64_t kMicros = 1'000'000;
constexpr int64_t kLatestSeconds = 253'402'300'799;  // 9999-12-31T23:59:59Z

class SystemTiming final : public Timing {
 public:
  MonotonicTime Now() const override { return std::chrono::steady_clock::now(); }

  void WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& wake,
                 MonotonicTime deadline) override {
    if (deadline == MonotonicTime::max()) return wake.wait(lock);
    wake.wait_until(lock, std::min(deadline, Now() + kLongestWait));
  }

  int64_t WallMicros() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

tm ToUtc(int64_t wall_micros) {
  time_t seconds = wall_micros / kMicros;
  tm utc{};
  gmtime_r(&seconds, &utc);
  return utc;
}

// Takes `digits` digits off the front.
bool TakeNumber(std::string_view& text, size_t digits, int* value) {
  if (text.size() < digits) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + digits, *value);
  if (error != std::errc() || end != text.data() + digits || text[0] == '-') return false;
  text.remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// Of the fraction of a second; digits beyond the sixth are dropped.
int64_t TakeFraction(std::string_view& text) {
  if (!TakeChar(text, '.')) return 0;
  int64_t micros = 0;
  int64_t unit = kMicros / 10;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    micros += (text[0] - '0') * unit;
    unit /= 10;
    text.remove_prefix(1);
  }
  return micros;
}

std::optional<int64_t> TakeOffsetSeconds(std::string_view& text) {
  if (TakeChar(text, 'Z') || TakeChar(text, 'z')) return 0;
  bool west = !text.empty() && text[0] == '-';
  int hours = 0;
  int minutes = 0;
  if (!(TakeChar(text, '+') || TakeChar(text, '-')) || !TakeNumber(text, 2, &hours) ||
      !TakeChar(text, ':') || !TakeNumber(text, 2, &minutes)) {
    return std::nullopt;
  }
  int64_t offset = (hours * 60 + minutes) * 60;
  return west ? -offset : offset;
}

}  // namespace

Timing& Timing::System() {
  static SystemTiming timing;
  return timing;
}

bool Timing::Sleep(Duration duration, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable wake;
  std::stop_callback on_stop(stop, [&] {
    std::lock_guard lock(mutex);
    wake.notify_all();
  });
  MonotonicTime deadline = SaturatingAdd(Now(), duration);
  std::unique_lock lock(mutex);
  while (!stop.stop_requested() && Now() < deadline) WaitUntil(lock, wake, deadline);
  // Before the callback goes, which would wait for a running one that waits for the lock.
  lock.unlock();
  return !stop.stop_requested();
}

MonotonicTime SaturatingAdd(MonotonicTime time, Duration duration) {
  if (duration > Duration::zero() && time > MonotonicTime::max() - duration) {
    return MonotonicTime::max();
  }
  return time + duration;
}

std::string FormatTime(int64_t wall_micros) {
  tm utc = ToUtc(wall_micros);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

std::string FormatMicroTime(int64_t wall_micros) {
  tm utc = ToUtc(wall_micros);
  char text[32];
  std::string out(text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc));
  std::snprintf(text, sizeof(text), ".%06dZ", static_cast<int>(wall_micros % kMicros));
  return out + text;
}

std::optional<int64_t> ParseTime(std::string_view text) {
  tm utc{};
  bool date = TakeNumber(text, 4, &utc.tm_year) && TakeChar(text, '-') &&
              TakeNumber(text, 2, &utc.tm_mon) && TakeChar(text, '-') &&
              TakeNumber(text, 2, &utc.tm_mday) && (TakeChar(text, 'T') || TakeChar(text, 't'));
  bool time = date && TakeNumber(text, 2, &utc.tm_hour) && TakeChar(text, ':') &&
              TakeNumber(text, 2, &utc.tm_min) && TakeChar(text, ':') &&
              TakeNumber(text, 2, &utc.tm_sec);
  if (!time) return std::nullopt;
  int64_t fraction = TakeFraction(text);
  auto offset = TakeOffsetSeconds(text);
  if (!offset || !text.empty()) return std::nullopt;
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  const tm said = utc;
  const int64_t seconds = static_cast<int64_t>(timegm(&utc)) - *offset;
  const bool in_calendar = utc.tm_mon == said.tm_mon && utc.tm_mday == said.tm_mday &&
                           utc.tm_hour == said.tm_hour && utc.tm_min == said.tm_min &&
                           utc.tm_sec == said.tm_sec;
  if (!in_calendar || seconds < 0 || seconds > kLatestSeconds) return std::nullopt;
  return seconds * kMicros + fraction;
}

}  // namespace raftkv::kube
