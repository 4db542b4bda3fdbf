#include "node/runtime/commit_notices.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace raftkv::runtime {
namespace {

constexpr raft::NodeId kLeader(1);
constexpr raft::NodeId kFirst(2);
constexpr raft::NodeId kSecond(3);
constexpr Duration kMoment = std::chrono::microseconds(100);

raft::Message Append(raft::NodeId to, uint64_t commit, size_t entries) {
  raft::AppendEntries append;
  append.entries.resize(entries);
  append.commit = raft::Index(commit);
  return {kLeader, to, raft::Term(1), std::move(append)};
}

raft::Message Answer(raft::NodeId to, uint64_t index) {
  return {kLeader, to, raft::Term(1), raft::ReadIndexResponse{raft::Index(index), {}}};
}

std::vector<raft::Message> List(raft::Message a) {
  std::vector<raft::Message> list;
  list.push_back(std::move(a));
  return list;
}

std::vector<raft::Message> List(raft::Message a, raft::Message b) {
  std::vector<raft::Message> list = List(std::move(a));
  list.push_back(std::move(b));
  return list;
}

uint64_t CommitOf(const raft::Message& message) {
  return message.As<raft::AppendEntries>().commit.value;
}

class CommitNoticesTest : public testing::Test {
 protected:
  std::vector<raft::Message> Filter(std::vector<raft::Message> messages, MonotonicTime now) {
    return notices_.Filter(std::move(messages), all_, now);
  }

  CommitNotices notices_;
  raft::Index all_;
  MonotonicTime now_{std::chrono::seconds(10)};
};

TEST_F(CommitNoticesTest, ANoticeThatNobodyWaitsForWaitsAMoment) {
  EXPECT_TRUE(Filter(List(Append(kFirst, 7, 0)), now_).empty());
  ASSERT_EQ(notices_.next_due(), now_ + CommitNotices::kLongestWait);
  EXPECT_TRUE(notices_.TakeDue(now_ + kMoment).empty());

  const auto due = notices_.TakeDue(now_ + CommitNotices::kLongestWait);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].to, kFirst);
  EXPECT_EQ(CommitOf(due[0]), 7u);
  EXPECT_FALSE(notices_.next_due());
}

TEST_F(CommitNoticesTest, AnAppendWithEntriesSaysItToo) {
  EXPECT_TRUE(Filter(List(Append(kFirst, 7, 0)), now_).empty());
  const auto out = Filter(List(Append(kFirst, 7, 2)), now_ + kMoment);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].As<raft::AppendEntries>().entries.size(), 2u);
  EXPECT_FALSE(notices_.next_due());
}

TEST_F(CommitNoticesTest, OnlyTheNewestIsKeptAndTheOldestCountsForTheTime) {
  EXPECT_TRUE(Filter(List(Append(kFirst, 7, 0)), now_).empty());
  EXPECT_TRUE(Filter(List(Append(kFirst, 8, 0)), now_ + kMoment).empty());
  const auto due = notices_.TakeDue(now_ + CommitNotices::kLongestWait);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(CommitOf(due[0]), 8u);
}

TEST_F(CommitNoticesTest, WhoseClientWaitsIsToldAtOnce) {
  notices_.Await(kFirst, raft::Index(7));
  const auto out = Filter(List(Append(kFirst, 7, 0), Append(kSecond, 7, 0)), now_);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, kFirst);
  EXPECT_TRUE(notices_.next_due()) << "the other one waits";

  // That client has been served.
  EXPECT_TRUE(Filter(List(Append(kFirst, 8, 0)), now_).empty());
}

TEST_F(CommitNoticesTest, WhoseReadWaitsIsToldAtOnce) {
  EXPECT_TRUE(Filter(List(Append(kFirst, 7, 0)), now_).empty());
  auto out = Filter(List(Answer(kFirst, 7)), now_ + kMoment);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(out[0].Is<raft::ReadIndexResponse>());
  EXPECT_EQ(CommitOf(out[1]), 7u);

  out = Filter(List(Answer(kFirst, 7)), now_ + kMoment);
  EXPECT_EQ(out.size(), 1u) << "it knows that index already";
  EXPECT_TRUE(Filter(List(Append(kFirst, 8, 0)), now_).empty());
}

// A list of the members asked of a follower right after a change showed the one before it.
TEST_F(CommitNoticesTest, EverybodyHearsOfAChangeOfTheMembershipAtOnce) {
  all_ = raft::Index(7);
  const auto out = Filter(List(Append(kFirst, 7, 0), Append(kSecond, 7, 0)), now_);
  EXPECT_EQ(out.size(), 2u);
  EXPECT_TRUE(Filter(List(Append(kFirst, 8, 0)), now_).empty());
}

TEST_F(CommitNoticesTest, OthersPassInTheirOrder) {
  const auto out = Filter(List(Append(kSecond, 3, 1), Append(kFirst, 3, 1)), now_);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].to, kSecond);
  EXPECT_EQ(out[1].to, kFirst);
}

TEST_F(CommitNoticesTest, WhatAFormerLeaderHeldBackIsForgotten) {
  notices_.Await(kSecond, raft::Index(9));
  EXPECT_TRUE(Filter(List(Append(kFirst, 7, 0)), now_).empty());
  notices_.Clear();
  EXPECT_FALSE(notices_.next_due());
  EXPECT_TRUE(Filter(List(Append(kSecond, 9, 0)), now_).empty());
}

}  // namespace
}  // namespace raftkv::runtime
