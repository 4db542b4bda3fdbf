#include "operator/kube/base64.h"

#include <cstdint>

namespace raftkv::kube {
namespace {

// -1: not of the alphabet.
int Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  size_t digits = 0;
  size_t padding = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    int digit = Digit(c);
    if (digit < 0 || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (++digits % 4 == 0) {
      out += {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
    }
  }
  if (padding > 2 || (digits + padding) % 4 != 0) return std::nullopt;
  if (padding == 1) out += {static_cast<char>(bits >> 10), static_cast<char>(bits >> 2)};
  if (padding == 2) out += static_cast<char>(bits >> 4);
  return out;
}

}  // namespace raftkv::kube
