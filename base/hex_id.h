// Member and cluster ids as people see them: 16 lower-case hexadecimal digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace raftkv {

std::string HexId(uint64_t id);

// Accepts 1 to 16 hexadecimal digits in either case; nullopt for anything else and for zero, which
// is no id.
std::optional<uint64_t> ParseHexId(std::string_view text);

}  // namespace raftkv
