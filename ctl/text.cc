#include "ctl/text.h"

#include <array>
#include <cstdio>

#include "base/encoding.h"

namespace raftkv::client {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";

}  // namespace

std::string Printable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    size_t length = Utf8Length(bytes);
    auto first = static_cast<uint8_t>(bytes[0]);
    bool control = first < 0x20 || first == 0x7f ||
                   (length == 2 && first == 0xc2 && static_cast<uint8_t>(bytes[1]) < 0xa0);
    if (length == 0 || control) {
      out += {'\\', 'x', kHex[first >> 4], kHex[first & 15]};
      bytes.remove_prefix(1);
      continue;
    }
    out.append(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return out;
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f %ciB", value, " KMGT"[unit]);
  return text.data();
}

}  // namespace raftkv::client
