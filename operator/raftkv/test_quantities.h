// Quantities in every way that Kubernetes has of writing them, and what they are.
#pragma once

#include <cstdint>

namespace raftkv::op {

struct QuantityCase {
  const char* text;
  uint64_t bytes;  // rounded up
  // The same amount as the API server has it in a container's resources: rounded up to thousandths.
  const char* stored;
};

inline constexpr QuantityCase kQuantityCases[] = {
    {"1073741824", 1ULL << 30, "1073741824"},
    {"1073741824000000000n", 1ULL << 30, "1073741824"},
    {"1073741824000000001n", (1ULL << 30) + 1, "1073741824001m"},
    {"1073741824000000u", 1ULL << 30, "1073741824"},
    {"1073741824000m", 1ULL << 30, "1073741824"},
    {"2000000000n", 2, "2"},
    {"1n", 1, "1m"},
    {"1u", 1, "1m"},
    {"1m", 1, "1m"},
    {"10m", 1, "10m"},
    {"1500m", 2, "1500m"},
    {"3k", 3000, "3k"},
    {"1500M", 1'500'000'000, "1500M"},
    {"2G", 2'000'000'000, "2G"},
    {"3T", 3'000'000'000'000, "3T"},
    {"4P", 4'000'000'000'000'000, "4P"},
    {"1E", 1'000'000'000'000'000'000, "1E"},
    {"5Ki", 5ULL << 10, "5Ki"},
    {"512Mi", 512ULL << 20, "512Mi"},
    {"10Gi", 10ULL << 30, "10Gi"},
    {"7Ti", 7ULL << 40, "7Ti"},
    {"1023Pi", 1023ULL << 50, "1023Pi"},
    {"1e9", 1'000'000'000, "1e9"},
    {"1E9", 1'000'000'000, "1e9"},
    {"1e+9", 1'000'000'000, "1e9"},
    {"12e-1", 2, "1200e-3"},
    {"123456E-3", 124, "123456e-3"},
    {"0.5Ti", 1ULL << 39, "512Gi"},
    {"1.1Gi", 1'181'116'007, "1181116006400m"},
    {".5Gi", 1ULL << 29, "512Mi"},
    {"5.Gi", 5ULL << 30, "5Gi"},
    {"0001Gi", 1ULL << 30, "1Gi"},
    {"1.0000000000000000000000000001Gi", (1ULL << 30) + 1, "1073741824001m"},
    {"8191.9999999999999999999999999Ti", 1ULL << 53, "8Pi"},
    {"4611686018427387905", (1ULL << 62) + 1, "4611686018427387905"},
};

// With a sign: the definition refuses one in storage.size, and takes it in resources.
inline constexpr QuantityCase kSignedCases[] = {
    {"+10m", 1, "10m"}, {"+2Gi", 2ULL << 30, "2Gi"}, {"+1e3", 1000, "1e3"}};

// Neither Kubernetes nor we take these for quantities.
inline constexpr const char* kNoQuantities[] = {
    "",   "Gi",  "10GB", "10 Gi", "nan", "inf",  "9Ei1",  "1e3k", "1e3Gi", "1e",   "1e+",
    "1K", "1ki", "0x10", "++1",   "+-1", "1,5G", "1.2.3", ".",    "+",     "1e1.5"};

}  // namespace raftkv::op
