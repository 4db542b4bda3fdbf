// Small pieces of text that several descriptions share.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>

#include "node/raft/types.h"

namespace raftkv::raft {

// Lower-case hexadecimal without a prefix: how members are named in logs and descriptions.
inline std::string Hex(uint64_t value) {
  char digits[16];
  return std::string(digits, std::to_chars(digits, digits + sizeof(digits), value, 16).ptr);
}
inline std::string Hex(NodeId id) { return Hex(id.value); }

}  // namespace raftkv::raft
