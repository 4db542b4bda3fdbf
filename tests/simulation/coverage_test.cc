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
