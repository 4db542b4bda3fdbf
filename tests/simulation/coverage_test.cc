#include "tests/simulation/coverage.h"

#include <gtest/gtest.h>

namespace raftkv::sim {
namespace {

TEST(Coverage, SaysWhatWasNeverReached) {
  Coverage coverage;
  EXPECT_NE(coverage.Missing().find("never reached: conflicting_suffix"), std::string::npos);
  coverage.Hit(Path::conflicting_suffix);
  EXPECT_EQ(coverage.Missing().find("conflicting_suffix"), std::string::npos);
}

TEST(Coverage, NamesWhatWasNeverReachedInOneLine) {
  Coverage coverage;
  const std::string names = coverage.MissingNames();
  EXPECT_NE(names.find(" conflicting_suffix "), std::string::npos);
  EXPECT_EQ(names.find('\n'), std::string::npos);
  for (size_t path = 0; path < static_cast<size_t>(Path::kCount); ++path) {
    coverage.Hit(static_cast<Path>(path));
  }
  EXPECT_EQ(coverage.MissingNames(), "");
}

TEST(Coverage, Adds) {
  Coverage a;
  Coverage b;
  a.Hit(Path::log_reset);
  b.Hit(Path::log_reset);
  a.Add(b);
  EXPECT_EQ(a.count(Path::log_reset), 2u);
}

}  // namespace
}  // namespace raftkv::sim
