#include "tests/simulation/scheduler.h"

#include <gtest/gtest.h>

namespace raftkv::sim {
namespace {

TEST(Scheduler, RunsInOrderOfTimeThenOfCalls) {
  Scheduler scheduler;
  std::string order;
  scheduler.After(Duration(20), [&] { order += 'c'; });
  scheduler.After(Duration(10), [&] {
    order += 'a';
    scheduler.After(Duration(10), [&] { order += 'd'; });
  });
  scheduler.After(Duration(10), [&] { order += 'b'; });
  while (scheduler.RunOne(Duration(100))) {
  }
  EXPECT_EQ(order, "abcd");
  EXPECT_EQ(scheduler.now(), Duration(100));
}

TEST(Scheduler, TheHashTellsOrdersApart) {
  Scheduler a;
  Scheduler b;
  a.Trace(1);
  a.Trace(2);
  b.Trace(2);
  b.Trace(1);
  EXPECT_NE(a.hash(), b.hash());
}

}  // namespace
}  // namespace raftkv::sim
