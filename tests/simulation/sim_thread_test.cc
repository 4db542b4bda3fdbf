#include "tests/simulation/sim_thread.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace raftkv::sim {
namespace {

using std::chrono::seconds;

TEST(SimThread, TakesTurnsWithItsOwner) {
  std::string order;
  SimThread thread;
  EXPECT_TRUE(thread.Run([&] { order += 'a'; }));
  EXPECT_FALSE(thread.Run([&] {
    order += 'b';
    thread.Sleep(seconds(3));
    order += 'd';
  }));
  EXPECT_TRUE(thread.asleep());
  EXPECT_EQ(thread.sleeps_for(), seconds(3));
  order += 'c';
  EXPECT_TRUE(thread.Resume());
  EXPECT_FALSE(thread.asleep());
  EXPECT_EQ(order, "abcd");
}

TEST(SimThread, WhatItThrowsReachesItsOwner) {
  SimThread thread;
  EXPECT_FALSE(thread.Run([&] {
    thread.Sleep(seconds(1));
    throw std::runtime_error("over");
  }));
  EXPECT_THROW((void)thread.Resume(), std::runtime_error);
  EXPECT_TRUE(thread.Run([] {}));
}

TEST(SimThread, EndsWhereItSleeps) {
  bool left = false;
  bool went_on = false;
  struct Leaving {
    bool* left;
    ~Leaving() { *left = true; }
  };
  SimThread thread;
  EXPECT_FALSE(thread.Run([&] {
    const Leaving leaving{&left};
    thread.Sleep(seconds(1));
    went_on = true;
  }));
  thread.Cancel();
  EXPECT_TRUE(left);
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(thread.Run([] {})) << "and can begin again";
}

// Whoever else slept would wait for ever: only the owner's turn ends a sleep.
TEST(SimThreadDeathTest, OnlyItsWorkSleeps) {
  SimThread thread;
  EXPECT_DEATH(thread.Sleep(seconds(1)), "only the work sleeps");
}

}  // namespace
}  // namespace raftkv::sim
