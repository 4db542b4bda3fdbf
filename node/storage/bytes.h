// Fixed-width integers as bytes: little-endian in values, big-endian in keys (so that keys sort as
// numbers).
//
// Thread-safety: pure functions.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace raftkv::storage {

template <typename T>
T SwapUnless(std::endian order, T value) {
  if (std::endian::native == order) return value;
  if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}

inline void SetFixed32(char* out, uint32_t value) {
  value = SwapUnless(std::endian::little, value);
  std::memcpy(out, &value, sizeof value);
}

inline void SetFixed64(char* out, uint64_t value) {
  value = SwapUnless(std::endian::little, value);
  std::memcpy(out, &value, sizeof value);
}

inline void PutFixed32(std::string* out, uint32_t value) {
  out->resize(out->size() + sizeof value);
  SetFixed32(out->data() + out->size() - sizeof value, value);
}

inline void PutFixed64(std::string* out, uint64_t value) {
  out->resize(out->size() + sizeof value);
  SetFixed64(out->data() + out->size() - sizeof value, value);
}

inline uint32_t GetFixed32(const char* in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof value);
  return SwapUnless(std::endian::little, value);
}

inline uint64_t GetFixed64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof value);
  return SwapUnless(std::endian::little, value);
}

inline void SetBigEndian64(char* out, uint64_t value) {
  value = SwapUnless(std::endian::big, value);
  std::memcpy(out, &value, sizeof value);
}

inline uint64_t GetBigEndian64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof value);
  return SwapUnless(std::endian::big, value);
}

}  // namespace raftkv::storage
