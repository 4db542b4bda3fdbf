#include "node/config/values.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

namespace raftkv {
namespace {

using runtime::Bootstrap;
using std::chrono::nanoseconds;

template <typename... F>
struct Overload : F... {
  using F::operator()...;
};

constexpr std::array<std::pair<const char*, int64_t>, 6> kDurationUnits = {
    {{"h", 3'600'000'000'000},
     {"m", 60'000'000'000},
     {"s", 1'000'000'000},
     {"ms", 1'000'000},
     {"us", 1'000},
     {"ns", 1}}};

constexpr std::array<std::pair<const char*, uint64_t>, 4> kByteUnits = {
    {{"TiB", uint64_t{1} << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}};

constexpr std::array<std::pair<const char*, Bootstrap::Mode>, 5> kStartModes = {
    {{"wait", Bootstrap::Mode::kWait},
     {"single", Bootstrap::Mode::kSingle},
     {"static", Bootstrap::Mode::kStaticList},
     {"join", Bootstrap::Mode::kJoin},
     {"restore", Bootstrap::Mode::kRestore}}};

Status Expected(const std::string& what) { return Status(Code::kInvalidArgument, what); }

// Takes a run of digits from the front of `text`.
std::optional<uint64_t> TakeNumber(std::string_view* text) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end == text->data()) return std::nullopt;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return number;
}

std::optional<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration::zero();
  int64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::optional<uint64_t> number = TakeNumber(&text);
    if (!number) return std::nullopt;
    const size_t unit_length = std::min(text.find_first_of("0123456789"), text.size());
    const std::string_view unit = text.substr(0, unit_length);
    auto found = std::ranges::find_if(kDurationUnits, [&](auto& u) { return u.first == unit; });
    if (found == kDurationUnits.end()) return std::nullopt;
    const uint64_t room = static_cast<uint64_t>(std::numeric_limits<int64_t>::max() - total);
    if (*number > room / static_cast<uint64_t>(found->second)) return std::nullopt;
    total += static_cast<int64_t>(*number) * found->second;
    text.remove_prefix(unit_length);
  }
  return nanoseconds(total);
}

std::string FormatDuration(Duration duration) {
  int64_t rest = duration.count();
  if (rest == 0) return "0s";
  std::string text;
  for (const auto& [unit, size] : kDurationUnits) {
    if (rest >= size) text += std::to_string(rest / size) + unit;
    rest %= size;
  }
  return text;
}

std::optional<uint64_t> ParseBytes(std::string_view text) {
  std::optional<uint64_t> number = TakeNumber(&text);
  if (!number) return std::nullopt;
  if (text.empty()) return number;
  for (const auto& [unit, size] : kByteUnits) {
    // "Mi" is how Kubernetes writes MiB.
    const std::string_view name(unit);
    if (text != name && text != name.substr(0, 2)) continue;
    if (*number > std::numeric_limits<uint64_t>::max() / size) return std::nullopt;
    return *number * size;
  }
  return std::nullopt;
}

std::string FormatBytes(uint64_t bytes) {
  for (const auto& [unit, size] : kByteUnits) {
    if (bytes >= size && bytes % size == 0) return std::to_string(bytes / size) + unit;
  }
  return std::to_string(bytes);
}

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

std::string Join(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

// A whole number in [min, max].
template <typename T>
Status SetNumber(T* target, T min, T max, std::string_view text) {
  std::optional<uint64_t> number = TakeNumber(&text);
  if (!number || !text.empty() || *number < static_cast<uint64_t>(min) ||
      *number > static_cast<uint64_t>(max)) {
    return Expected("expected a whole number from " + std::to_string(min) + " to " +
                    std::to_string(max));
  }
  *target = static_cast<T>(*number);
  return Status::Ok();
}

Status Set(const TextValue& value, const std::string& text) {
  if (text.empty()) return Expected("must not be empty");
  // The system would take what is before it for all.
  if (text.find('\0') != std::string::npos) return Expected("must not hold a NUL byte");
  *value.target = text;
  return Status::Ok();
}

Status Set(const ChoiceValue& value, const std::string& text) {
  if (!std::ranges::count(value.choices, text)) {
    return Expected("expected one of: " + Join(value.choices, ", "));
  }
  *value.target = text;
  return Status::Ok();
}

Status Set(const AddressValue& value, const std::string& text) {
  ASSIGN_OR_RETURN_STATUS(HostPort address, ParseHostPort(text));
  *value.target = address.ToString();
  return Status::Ok();
}

Status Set(const AddressListValue& value, const std::string& text) {
  std::vector<std::string> addresses;
  for (const std::string& part : SplitList(text)) {
    ASSIGN_OR_RETURN_STATUS(HostPort address, ParseHostPort(part));
    if (address.IsWildcard() || address.port == 0) {
      return Expected("'" + part + "' cannot be dialed: name a host and a port other than 0");
    }
    if (std::ranges::count(addresses, address.ToString())) {
      return Expected("'" + part + "' is in the list twice");
    }
    addresses.push_back(address.ToString());
  }
  *value.target = std::move(addresses);
  return Status::Ok();
}

Status Set(const SwitchValue& value, const std::string& text) {
  static const std::vector<std::string> kTrue = {"1", "t", "T", "true", "TRUE", "True"};
  static const std::vector<std::string> kFalse = {"0", "f", "F", "false", "FALSE", "False"};
  const bool yes = std::ranges::count(kTrue, text) > 0;
  if (!yes && !std::ranges::count(kFalse, text)) return Expected("expected true or false");
  *value.target = yes;
  return Status::Ok();
}

Status Set(const IntValue& value, const std::string& text) {
  return SetNumber(value.target, value.min, value.max, text);
}

Status Set(const CountValue& value, const std::string& text) {
  return SetNumber(value.target, value.min, value.max, text);
}

Status Set(const BytesValue& value, const std::string& text) {
  std::optional<uint64_t> bytes = ParseBytes(text);
  if (!bytes || *bytes < value.min || *bytes > value.max) {
    return Expected("expected a number of bytes such as 65536, 64KiB or 1MiB, from " +
                    FormatBytes(value.min) + " to " + FormatBytes(value.max));
  }
  *value.target = *bytes;
  return Status::Ok();
}

Status Set(const DurationValue& value, const std::string& text) {
  std::optional<Duration> duration = ParseDuration(text);
  if (!duration || *duration < value.min || *duration > value.max) {
    return Expected("expected a duration such as 100ms, 2s or 1h30m, from " +
                    FormatDuration(value.min) + " to " + FormatDuration(value.max));
  }
  *value.target = *duration;
  return Status::Ok();
}

Status Set(const StartModeValue& value, const std::string& text) {
  for (const auto& [name, mode] : kStartModes) {
    if (text != name) continue;
    *value.target = mode;
    return Status::Ok();
  }
  return Expected("expected one of: wait, single, static, join, restore");
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

// Whether `name` has `word` in it as one or several of its own words.
bool HasWords(const std::string& name, const std::string& word) {
  const auto ends = [&](size_t at) { return at == name.size() || std::ispunct(name[at]) != 0; };
  for (size_t at = name.find(word); at != std::string::npos; at = name.find(word, at + 1)) {
    if ((at == 0 || std::ispunct(name[at - 1]) != 0) && ends(at + word.size())) return true;
  }
  return false;
}

std::string OnlyOneWith(const std::string& word, const std::vector<std::string>& candidates) {
  const auto has = [&](const std::string& name) { return HasWords(name, word); };
  const auto found = std::ranges::find_if(candidates, has);
  if (word.empty() || found == candidates.end()) return "";
  return std::find_if(found + 1, candidates.end(), has) == candidates.end() ? *found : "";
}

}  // namespace

Status SetValue(const Value& value, const std::string& text) {
  return std::visit([&](const auto& v) { return Set(v, text); }, value);
}

std::string FormatValue(const Value& value) {
  return std::visit(
      Overload{[](const AddressListValue& v) { return Join(*v.target, ","); },
               [](const SwitchValue& v) { return std::string(*v.target ? "true" : "false"); },
               [](const IntValue& v) { return std::to_string(*v.target); },
               [](const CountValue& v) { return std::to_string(*v.target); },
               [](const BytesValue& v) {
                 return *v.target == 0 && v.min > 0 ? std::string() : FormatBytes(*v.target);
               },
               [](const DurationValue& v) { return FormatDuration(*v.target); },
               [](const StartModeValue& v) {
                 return std::string(std::ranges::find_if(kStartModes, [&](auto& m) {
                                      return m.second == *v.target;
                                    })->first);
               },
               [](const auto& v) { return *v.target; }},
      value);
}

std::string TypeName(const Value& value) {
  return std::visit(
      Overload{
          [](const TextValue&) -> std::string { return "text"; },
          [](const ChoiceValue& v) { return Join(v.choices, "|"); },
          [](const AddressValue&) -> std::string { return "host:port"; },
          [](const AddressListValue&) -> std::string { return "host:port,host:port,..."; },
          [](const SwitchValue&) -> std::string { return "true|false"; },
          [](const IntValue&) -> std::string { return "number"; },
          [](const CountValue&) -> std::string { return "number"; },
          [](const BytesValue&) -> std::string { return "bytes"; },
          [](const DurationValue&) -> std::string { return "duration"; },
          [](const StartModeValue&) -> std::string { return "wait|single|static|join|restore"; }},
      value);
}

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates,
                    size_t max_edits) {
  std::string best;
  size_t best_distance = max_edits + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = candidate;
  }
  return best.empty() ? OnlyOneWith(word, candidates) : best;
}

}  // namespace raftkv
