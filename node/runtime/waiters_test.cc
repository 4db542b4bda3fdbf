#include "node/runtime/waiters.h"

#include <gtest/gtest.h>

namespace raftkv::runtime {
namespace {

// A refused command is proposed again from here: as long as its client waits, and no longer.
TEST(Waiters, KeepTheCommandUntilItsClientIsAnswered) {
  WaiterTable table(10, 1000);
  int answers = 0;
  const MonotonicTime deadline{std::chrono::seconds(7)};
  Waiter waiter{deadline, 3, WriteCallback([&](const Result<kv::CommandResult>&) { ++answers; }),
                Buffer::Copy("put")};
  ASSERT_TRUE(table.Add(17, waiter).ok());
  EXPECT_FALSE(table.Find(16).has_value());
  const std::optional<WaiterTable::Wanted> wanted = table.Find(17);
  ASSERT_TRUE(wanted.has_value());
  EXPECT_EQ(wanted->command, Buffer::Copy("put"));
  EXPECT_EQ(wanted->deadline, deadline);
  ASSERT_EQ(table.TakeExpired(deadline).size(), 1u);
  EXPECT_FALSE(table.Find(17).has_value());
  EXPECT_EQ(answers, 0);
}

}  // namespace
}  // namespace raftkv::runtime
