// Bytes as text that URLs and JSON can carry, and back.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace raftkv {

// RFC 3986, section 2.1: everything but unreserved characters and those of `plain` becomes %XX.
std::string PercentEncode(std::string_view bytes, std::string_view plain = "/");
// A '%' without two hexadecimal digits is kInvalidArgument; '+' is a plus.
Result<std::string> PercentDecode(std::string_view text);

// RFC 4648, section 4, with padding. Decoding takes exactly what encoding gives: kInvalidArgument
// for other characters, a wrong length, or bits behind the last byte.
std::string Base64Encode(std::string_view bytes);
Result<std::string> Base64Decode(std::string_view text);

// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view bytes);
// Length of the sequence at the front of `bytes` (not empty); 0: it is not well-formed.
size_t Utf8Length(std::string_view bytes);

}  // namespace raftkv
