// Small conversions between bytes and what people and URLs can carry.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace raftkv::client {

// RFC 3986 section 2.1: everything but unreserved characters and '/' becomes %XX.
std::string PercentEncode(std::string_view bytes);

// RFC 4648 section 4, with padding.
std::string Base64Encode(std::string_view bytes);
Result<std::string> Base64Decode(std::string_view text);

// Well-formed UTF-8 (RFC 3629).
bool IsUtf8(std::string_view bytes);

// Fit for one cell of a table on a terminal: control characters and what is not UTF-8 become \xNN.
std::string Printable(std::string_view bytes);

// "17 B", "4.2 KiB", "1.0 GiB".
std::string FormatBytes(uint64_t bytes);

}  // namespace raftkv::client
