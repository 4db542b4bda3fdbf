// Small text functions of the HTTP server: ASCII only, whatever the locale.
//
// Thread-safety: no shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/encoding.h"
#include "base/status.h"
#include "node/server/http.h"

namespace raftkv::server {

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool IsTokenChar(char c);             // RFC 9110, section 5.6.2
bool IsToken(std::string_view text);  // not empty
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix);
std::string_view TrimWhiteSpace(std::string_view text);  // spaces and tabs

// A decimal number without sign or white space.
std::optional<uint64_t> ParseDecimal(std::string_view text);
// Exactly 16 hexadecimal digits, as HexId writes them: shorter ones could be meant as decimal.
std::optional<uint64_t> ParseId(std::string_view text);

// name=value&name=value. Empty pairs are skipped; a name without '=' has an empty value.
Result<std::vector<QueryParameter>> ParseQuery(std::string_view query);

}  // namespace raftkv::server
