#include "base/hex_id.h"

#include <charconv>

namespace raftkv {

std::string HexId(uint64_t id) {
  std::string text(16, '0');
  for (size_t i = text.size(); i-- > 0; id >>= 4) text[i] = "0123456789abcdef"[id & 15];
  return text;
}

std::optional<uint64_t> ParseHexId(std::string_view text) {
  uint64_t id = 0;
  const char* end = text.data() + text.size();
  if (text.empty() || text.size() > 16) return std::nullopt;
  const auto [stopped, error] = std::from_chars(text.data(), end, id, 16);
  if (error != std::errc() || stopped != end || id == 0) return std::nullopt;
  return id;
}

}  // namespace raftkv
