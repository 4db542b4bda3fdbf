#include "operator/raftkv/quantity.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace raftkv::op {
namespace {

__extension__ using Wide = unsigned __int128;
// 2^63 in thousandths is below; and this times 2^60 fits in a Wide.
constexpr Wide kMost = Wide{1} << 74;

struct Suffix {
  std::string_view text;
  int decimal;  // times 10^
  int binary;   // times 2^
};
constexpr Suffix kSuffixes[] = {{"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"", 0, 0},
                                {"k", 3, 0},   {"M", 6, 0},   {"G", 9, 0},   {"T", 12, 0},
                                {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
                                {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}};

std::optional<Suffix> ReadSuffix(std::string_view text) {
  for (const Suffix& suffix : kSuffixes) {
    if (suffix.text == text) return suffix;
  }
  if (text.size() < 2 || (text[0] != 'e' && text[0] != 'E')) return std::nullopt;
  text.remove_prefix(1);
  if (text[0] == '+') {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  int exponent = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, exponent);
  if (error != std::errc() || rest != end) return std::nullopt;
  return Suffix{"", std::clamp(exponent, -1000, 1000), 0};
}

// The amount in units of 10^-scale, rounded up; nullopt: none, negative, or more than kMost.
std::optional<Wide> InUnits(std::string_view text, int scale) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  std::optional<int> point;
  size_t at = 0;
  for (; at < text.size() && (text[at] == '.' || (text[at] >= '0' && text[at] <= '9')); ++at) {
    if (text[at] != '.') {
      digits += text[at];
    } else if (point) {
      return std::nullopt;
    } else {
      point = static_cast<int>(digits.size());
    }
  }
  const std::optional<Suffix> suffix = ReadSuffix(text.substr(at));
  if (digits.empty() || !suffix) return std::nullopt;
  // So many digits, and zeros if there are fewer, stand before the point.
  const int whole = point.value_or(static_cast<int>(digits.size())) + suffix->decimal + scale;
  const int size = static_cast<int>(digits.size());
  const auto digit = [&](int index) {
    return index < 0 || index >= size ? Wide{0} : static_cast<Wide>(digits[index] - '0');
  };
  const Wide times = Wide{1} << suffix->binary;
  Wide units = 0;
  for (int i = 0; i < whole; ++i) {
    units = units * 10 + digit(i);
    if (units > kMost / times) return std::nullopt;
  }
  // What comes after the point, times the same, from its last digit on.
  Wide carry = 0;
  bool more = false;
  for (int i = size - 1; i >= whole; --i) {
    carry += digit(i) * times;
    more = more || carry % 10 != 0;
    carry /= 10;
  }
  return units * times + carry + (more ? 1 : 0);
}

}  // namespace

std::optional<uint64_t> ParseQuantity(std::string_view text) {
  const std::optional<Wide> bytes = InUnits(text, 0);
  if (!bytes || *bytes >= Wide{1} << 63) return std::nullopt;
  return static_cast<uint64_t>(*bytes);
}

bool SameQuantity(std::string_view a, std::string_view b) {
  const std::optional<Wide> one = InUnits(a, 3);
  return one && one == InUnits(b, 3);
}

}  // namespace raftkv::op
