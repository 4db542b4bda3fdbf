// Bytes as people can read them.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace raftkv::client {

// Fit for one cell of a table on a terminal: control characters and what is not UTF-8 become \xNN.
std::string Printable(std::string_view bytes);

// "17 B", "4.2 KiB", "1.0 GiB".
std::string FormatBytes(uint64_t bytes);

}  // namespace raftkv::client
