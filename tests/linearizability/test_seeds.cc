#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

uint64_t Parse(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK(error == std::errc() && end == text.data() + text.size(),
        "RAFTKV_RANDOM_SEEDS is a seed (17), a range (17-40), or where to begin (17+)");
  return number;
}

}  // namespace

std::vector<uint64_t> Seeds(uint64_t usual) {
  uint64_t first = 1;
  uint64_t last = usual;
  if (const char* text = std::getenv("RAFTKV_RANDOM_SEEDS")) {
    std::string_view seeds = text;
    const size_t dash = seeds.find('-');
    if (seeds.ends_with('+')) {
      seeds.remove_suffix(1);
      first = Parse(seeds);
      last = first + usual - 1;
    } else {
      first = Parse(seeds.substr(0, dash));
      last = dash == std::string_view::npos ? first : Parse(seeds.substr(dash + 1));
    }
  }
  std::vector<uint64_t> seeds;
  for (uint64_t seed = first; seed <= last; ++seed) seeds.push_back(seed);
  return seeds;
}

std::string Again(uint64_t seed) {
  return "seed " + std::to_string(seed) + ", again: RAFTKV_RANDOM_SEEDS=" + std::to_string(seed) +
         " build/bin/linearizability_test\n";
}

}  // namespace raftkv::linearizability
