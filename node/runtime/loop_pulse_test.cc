#include "node/runtime/loop_pulse.h"

#include <gtest/gtest.h>

namespace raftkv::runtime {
namespace {

TEST(LoopPulseTest, ALoopThatDoesNotTurnForLongHangs) {
  LoopPulse pulse;
  const MonotonicTime start = MonotonicTime(std::chrono::hours(1));
  EXPECT_TRUE(pulse.Check(start).ok()) << "it has not begun";
  pulse.Beat(start);
  EXPECT_TRUE(pulse.Check(start + LoopPulse::kHangs - std::chrono::milliseconds(1)).ok());
  const Status hangs = pulse.Check(start + LoopPulse::kHangs + std::chrono::seconds(2));
  EXPECT_EQ(hangs.code(), Code::kInternal);
  EXPECT_NE(hangs.message().find("12 s"), std::string::npos) << hangs.message();
  pulse.Beat(start + LoopPulse::kHangs + std::chrono::seconds(2));
  EXPECT_TRUE(pulse.Check(start + LoopPulse::kHangs + std::chrono::seconds(3)).ok());
}

}  // namespace
}  // namespace raftkv::runtime
