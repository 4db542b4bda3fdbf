// Randomness, behind an interface so that a seed reproduces a run.
#pragma once

#include <cstdint>

namespace raftkv {

// Thread-safety: none; one instance per thread.
class Random {
 public:
  virtual ~Random() = default;
  // A uniformly distributed 64-bit value.
  virtual uint64_t Next() = 0;
  // Uniform in [0, n); n > 0.
  uint64_t Uniform(uint64_t n) { return Next() % n; }
};

// xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64: the same seed gives the same
// sequence on every machine.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed);
  uint64_t Next() override;

 private:
  uint64_t state_[4];
};

// A seed from the operating system's entropy source (getrandom(2)); for identities and seeds.
uint64_t SystemEntropy();

}  // namespace raftkv
