// Structured, leveled logging to stderr (or another file descriptor):
//
//   log::Info("peer connected", {{"peer", log::Hex{id}}, {"address", address}});
//
//   text: 2026-01-31T12:00:00.123456Z INFO peer connected peer=00000000008f00b2 address=10.0.0.1:80
//   JSON: {"time":"2026-01-31T12:00:00.123456Z","level":"info","message":"peer connected",...}
//
// The caller formats the line into a bounded queue and goes on; a thread of the log's own writes
// it. A reader that does not read (a blocked pipe) therefore never blocks a caller: what does not
// fit is dropped and counted, and the count is logged as soon as there is room again.
//
// Thread-safety: every function may be called from any thread.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "base/clock.h"
#include "base/status.h"

namespace raftkv::log {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kOff };
enum class Format : uint8_t { kText, kJson };

// Prints as HexId (base/hex_id.h) does; for member and cluster ids.
struct Hex {
  uint64_t value = 0;
};

// The value of a field. Text is referred to, not copied: it must live as long as the call.
class Value {
 public:
  Value(std::string_view text) : value_(text) {}
  Value(const char* text) : value_(std::string_view(text)) {}
  Value(const std::string& text) : value_(std::string_view(text)) {}
  Value(bool value) : value_(value) {}
  Value(Hex value) : value_(value) {}
  Value(std::signed_integral auto value) : value_(static_cast<int64_t>(value)) {}
  Value(std::unsigned_integral auto value) : value_(static_cast<uint64_t>(value)) {}
  Value(std::floating_point auto value) : value_(static_cast<double>(value)) {}

  void AppendTo(Format format, std::string& out) const;

 private:
  std::variant<std::string_view, bool, int64_t, uint64_t, double, Hex> value_;
};

struct Field {
  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

void Debug(std::string_view message, Fields fields = {});
void Info(std::string_view message, Fields fields = {});
void Warning(std::string_view message, Fields fields = {});
void Error(std::string_view message, Fields fields = {});
void Write(Level level, std::string_view message, Fields fields = {});

// Whether lines of this level are written: for callers whose fields are costly to make.
bool Enabled(Level level);

// The lowest level that is written (initially kInfo), and how (initially kText).
void SetLevel(Level level);
Level GetLevel();
void SetFormat(Format format);
Format GetFormat();
// "debug", "info", "warning", "error", "off"; "text", "json".
Result<Level> ParseLevel(std::string_view name);
Result<Format> ParseFormat(std::string_view name);
std::string_view LevelName(Level level);

// Where lines go from now on (initially stderr). The descriptor stays the caller's and must stay
// open until another one is set and Flush() has returned true.
void SetOutput(int fd);

// Waits until everything logged so far has been written, for at most `limit`; false if it has not.
// Done at exit and before a failed CHECK aborts.
bool Flush(Duration limit);

struct Stats {
  uint64_t lines = 0;    // accepted into the queue
  uint64_t dropped = 0;  // lines that did not fit, or that could not be written
};
Stats GetStats();

// One line, as it is written; `time_us` counts from the epoch, in UTC.
std::string FormatLine(Format format, Level level, int64_t time_us, std::string_view message,
                       Fields fields);

}  // namespace raftkv::log
