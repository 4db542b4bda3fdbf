#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/hex_id.h"
#include "base/log_writer.h"

namespace raftkv::log {
namespace {

constexpr size_t kMaxQueuedBytes = 1 << 20;
constexpr size_t kMaxTextBytes = 4096;  // of one value or message; what is longer is cut
constexpr Duration kExitFlush = std::chrono::milliseconds(500);

constexpr std::array<std::string_view, 5> kLevelNames = {"debug", "info", "warning", "error",
                                                         "off"};
constexpr std::array<std::string_view, 5> kLevelLabels = {"DEBUG", "INFO", "WARNING", "ERROR", ""};

std::atomic<Level> g_level{Level::kInfo};
std::atomic<Format> g_format{Format::kText};

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string DropLine(uint64_t dropped) {
  return FormatLine(g_format, Level::kWarning, NowUs(), "log lines dropped: output is too slow",
                    {{"count", dropped}});
}

// Never destroyed: threads may log until the process is gone.
LogWriter& GlobalWriter() {
  static LogWriter* const writer = [] {
    std::atexit([] { Flush(kExitFlush); });
    return new LogWriter(STDERR_FILENO, kMaxQueuedBytes, &DropLine);
  }();
  return *writer;
}

template <typename... Args>
void AppendNumber(std::string& out, Args... args) {
  char digits[40];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), args...).ptr);
}

// The length of the UTF-8 sequence at the start of `text`; 0 if it is none (RFC 3629).
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length == 3 && ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f))) {
    return 0;
  }
  if (length == 4 && ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f))) {
    return 0;
  }
  return length;
}

// Inside of a JSON string; control characters and bytes that are not UTF-8 are escaped, so that one
// line stays one line and whoever sends us text cannot forge another.
void AppendEscaped(std::string_view text, std::string& out) {
  text = text.substr(0, kMaxTextBytes);
  while (!text.empty()) {
    const char c = text[0];
    size_t length = 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else if (length = Utf8Length(text); length > 0) {
      out += text.substr(0, length);
    } else {
      out += "\\ufffd";
      length = 1;
    }
    text.remove_prefix(length);
  }
}

void AppendQuoted(std::string_view text, std::string& out) {
  out += '"';
  AppendEscaped(text, out);
  out += '"';
}

bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f ||
        c == '"' || c == '\\' || c == '=') {
      return true;
    }
  }
  return false;
}

void AppendText(Format format, std::string_view text, std::string& out) {
  if (format == Format::kJson || NeedsQuotes(text)) {
    AppendQuoted(text, out);
  } else {
    out += text.substr(0, kMaxTextBytes);
  }
}

// RFC 3339, in UTC.
void AppendTime(int64_t time_us, std::string& out) {
  using namespace std::chrono;
  const sys_time<microseconds> time{microseconds(time_us)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  char text[40];
  const int n = std::snprintf(
      text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  out.append(text, static_cast<size_t>(n));
}

void AppendLine(Format format, Level level, int64_t time_us, std::string_view message,
                Fields fields, std::string& out) {
  const bool json = format == Format::kJson;
  out += json ? R"({"time":")" : "";
  AppendTime(time_us, out);
  out += json ? R"(","level":")" : " ";
  out += json ? LevelName(level) : kLevelLabels[static_cast<size_t>(level)];
  out += json ? R"(","message":")" : " ";
  AppendEscaped(message, out);
  out += json ? "\"" : "";
  for (const Field& field : fields) {
    out += json ? ',' : ' ';
    if (json) {
      AppendQuoted(field.key, out);
    } else {
      out += field.key;
    }
    out += json ? ':' : '=';
    field.value.AppendTo(format, out);
  }
  out += json ? "}\n" : "\n";
}

}  // namespace

void Value::AppendTo(Format format, std::string& out) const {
  if (const auto* text = std::get_if<std::string_view>(&value_)) {
    AppendText(format, *text, out);
  } else if (const auto* flag = std::get_if<bool>(&value_)) {
    out += *flag ? "true" : "false";
  } else if (const auto* hex = std::get_if<Hex>(&value_)) {
    // A string in JSON: numbers beyond 2^53 do not survive every reader.
    out += format == Format::kJson ? "\"" : "";
    out += HexId(hex->value);
    out += format == Format::kJson ? "\"" : "";
  } else if (const auto* number = std::get_if<int64_t>(&value_)) {
    AppendNumber(out, *number);
  } else if (const auto* natural = std::get_if<uint64_t>(&value_)) {
    AppendNumber(out, *natural);
  } else {
    const double real = std::get<double>(value_);
    // JSON has no word for infinity.
    if (real - real != 0) {
      out += "null";
    } else {
      AppendNumber(out, real);
    }
  }
}

void Write(Level level, std::string_view message, Fields fields) {
  if (!Enabled(level)) return;
  thread_local std::string line;
  line.clear();
  AppendLine(g_format.load(std::memory_order_relaxed), level, NowUs(), message, fields, line);
  GlobalWriter().Append(line);
}

void Debug(std::string_view message, Fields fields) { Write(Level::kDebug, message, fields); }
void Info(std::string_view message, Fields fields) { Write(Level::kInfo, message, fields); }
void Warning(std::string_view message, Fields fields) { Write(Level::kWarning, message, fields); }
void Error(std::string_view message, Fields fields) { Write(Level::kError, message, fields); }

bool Enabled(Level level) {
  return level >= g_level.load(std::memory_order_relaxed) && level != Level::kOff;
}

void SetLevel(Level level) { g_level = level; }
Level GetLevel() { return g_level; }
void SetFormat(Format format) { g_format = format; }
Format GetFormat() { return g_format; }

Result<Level> ParseLevel(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (name == kLevelNames[i]) return static_cast<Level>(i);
  }
  return raftkv::Error(Code::kInvalidArgument, "log level '" + std::string(name) +
                                                   "' is none of debug, info, warning, error, off");
}

Result<Format> ParseFormat(std::string_view name) {
  if (name == "text") return Format::kText;
  if (name == "json") return Format::kJson;
  return raftkv::Error(Code::kInvalidArgument,
                       "log format '" + std::string(name) + "' is neither text nor json");
}

std::string_view LevelName(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

void SetOutput(int fd) { GlobalWriter().SetOutput(fd); }
bool Flush(Duration limit) { return GlobalWriter().Flush(limit); }
Stats GetStats() { return {.lines = GlobalWriter().lines(), .dropped = GlobalWriter().dropped()}; }

std::string FormatLine(Format format, Level level, int64_t time_us, std::string_view message,
                       Fields fields) {
  std::string line;
  AppendLine(format, level, time_us, message, fields, line);
  return line;
}

}  // namespace raftkv::log
