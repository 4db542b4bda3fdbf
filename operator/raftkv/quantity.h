// Kubernetes' quantities: a decimal number with a suffix (n, u, m, k to E, Ki to Ei) or an exponent
// ("1e9"). The arithmetic is exact.
//
// Thread-safety: functions without shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace raftkv::op {

// A quantity of bytes, rounded up: "10Gi", "1500M", "1e9", "0.5Ti"; nullopt if it is none, or
// negative, or 2^63 and more.
std::optional<uint64_t> ParseQuantity(std::string_view text);
// The same amount of whatever, as the server keeps it: rounded up to thousandths. False if one is
// none or negative.
bool SameQuantity(std::string_view a, std::string_view b);

}  // namespace raftkv::op
