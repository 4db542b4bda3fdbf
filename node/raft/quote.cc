// QuoteGo: strings as Go's strconv.Quote writes them.
#include <array>
#include <cstdint>

#include "node/raft/describe.h"

namespace raftkv::raft {
namespace {

struct Rune {
  uint32_t value = 0;
  size_t bytes = 0;  // 0: not valid UTF-8
};

// The shortest form only, no surrogates, at most U+10FFFF (RFC 3629).
Rune DecodeRune(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  uint32_t value = lead & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kLowest = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLowest[length] || surrogate || value > 0x10ffff) return {};
  return {value, length};
}

// Controls, format characters, separators and private use: what has no glyph of its own. The rare
// unassigned code points count as printable.
bool IsPrintable(uint32_t rune) {
  if (rune < 0x7f) return rune >= 0x20;
  if (rune <= 0xa0 || rune == 0xad) return false;
  if (rune >= 0x2000 && rune <= 0x200f) return false;
  if (rune >= 0x2028 && rune <= 0x202f) return false;
  if (rune >= 0x205f && rune <= 0x206f) return false;
  if (rune == 0x1680 || rune == 0x3000 || rune == 0xfeff) return false;
  if (rune >= 0xe000 && rune <= 0xf8ff) return false;
  return rune < 0xe0000 && (rune & 0xfffe) != 0xfffe;
}

void AppendHex(std::string& out, std::string_view prefix, uint32_t value, int digits) {
  out += prefix;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[value >> shift & 0xf];
  }
}

// The letter of the escape sequence; 0 if there is none.
char EscapeLetter(uint32_t rune) {
  constexpr std::string_view kEscaped = "\a\b\t\n\v\f\r\"\\";
  constexpr std::string_view kLetters = "abtnvfr\"\\";
  const size_t at = rune < 0x80 ? kEscaped.find(static_cast<char>(rune)) : std::string_view::npos;
  return at == std::string_view::npos ? '\0' : kLetters[at];
}

void AppendEscaped(std::string& out, uint32_t rune) {
  if (const char letter = EscapeLetter(rune)) {
    out += {'\\', letter};
  } else if (rune < 0x80) {
    AppendHex(out, "\\x", rune, 2);
  } else if (rune < 0x10000) {
    AppendHex(out, "\\u", rune, 4);
  } else {
    AppendHex(out, "\\U", rune, 8);
  }
}

}  // namespace

std::string QuoteGo(std::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    const Rune rune = DecodeRune(bytes);
    if (rune.bytes == 0) {
      AppendHex(out, "\\x", static_cast<uint8_t>(bytes.front()), 2);
      bytes.remove_prefix(1);
      continue;
    }
    if (IsPrintable(rune.value) && EscapeLetter(rune.value) == '\0') {
      out += bytes.substr(0, rune.bytes);
    } else {
      AppendEscaped(out, rune.value);
    }
    bytes.remove_prefix(rune.bytes);
  }
  return out + "\"";
}

}  // namespace raftkv::raft
