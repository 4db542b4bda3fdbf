#include "node/raft/quorum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace raftkv::raft {
namespace {

class MapIndexer final : public AckedIndexer {
 public:
  explicit MapIndexer(std::map<NodeId, Index> acked) : acked_(std::move(acked)) {}
  std::optional<Index> AckedIndex(NodeId voter) const override {
    const auto found = acked_.find(voter);
    return found == acked_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  std::map<NodeId, Index> acked_;
};

MajorityConfig Majority(std::initializer_list<uint64_t> ids) {
  std::set<NodeId> set;
  for (uint64_t id : ids) set.insert(NodeId(id));
  return MajorityConfig(std::move(set));
}

MajorityConfig RandomMajority(Random& random, uint64_t max_size) {
  std::set<NodeId> ids;
  for (uint64_t n = random.Uniform(max_size + 1); n > 0; --n) {
    ids.insert(NodeId(1 + random.Uniform(2 * max_size)));
  }
  return MajorityConfig(std::move(ids));
}

std::map<NodeId, Index> RandomAcks(Random& random, const std::set<NodeId>& ids) {
  std::map<NodeId, Index> acked;
  for (NodeId id : ids) {
    if (random.Uniform(4) != 0) acked.emplace(id, Index(random.Uniform(8)));
  }
  return acked;
}

Votes RandomVotes(Random& random, const std::set<NodeId>& ids) {
  Votes votes;
  for (NodeId id : ids) {
    if (const uint64_t pick = random.Uniform(3); pick != 2) votes.emplace(id, pick == 1);
  }
  return votes;
}

// The definition, tried out index by index: the largest one that more than half have reached.
Index CommittedByDefinition(const MajorityConfig& config, const AckedIndexer& acked) {
  if (config.empty()) return Index::Max();
  Index best;
  for (Index candidate(1); candidate <= Index(10); ++candidate) {
    size_t reached = 0;
    for (NodeId id : config.ids()) {
      if (acked.AckedIndex(id).value_or(Index()) >= candidate) ++reached;
    }
    if (2 * reached > config.size()) best = candidate;
  }
  return best;
}

// The definition, tried out over all ways in which the missing votes may still fall.
VoteResult VoteByDefinition(const JointConfig& config, const Votes& votes) {
  const auto wins = [](const MajorityConfig& half, const Votes& cast) {
    const auto granted = std::ranges::count_if(half.ids(), [&](NodeId id) { return cast.at(id); });
    return half.empty() || 2 * static_cast<size_t>(granted) > half.size();
  };
  const std::set<NodeId> ids = config.Ids();
  std::vector<NodeId> missing;
  std::ranges::copy_if(ids, std::back_inserter(missing),
                       [&](NodeId id) { return !votes.contains(id); });
  bool can_win = false;
  bool can_lose = false;
  for (uint64_t pattern = 0; pattern < (uint64_t{1} << missing.size()); ++pattern) {
    Votes cast = votes;
    for (size_t i = 0; i < missing.size(); ++i) cast.emplace(missing[i], (pattern >> i) & 1);
    (wins(config.incoming, cast) && wins(config.outgoing, cast) ? can_win : can_lose) = true;
  }
  if (can_win && can_lose) return VoteResult::kPending;
  return can_win ? VoteResult::kWon : VoteResult::kLost;
}

TEST(QuorumTest, CommittedIndexAgreesWithItsDefinition) {
  SeededRandom random(1);
  for (int round = 0; round < 20000; ++round) {
    // Beyond seven voters, so that the path that allocates is taken too.
    const MajorityConfig config = RandomMajority(random, 12);
    const MapIndexer acked(RandomAcks(random, config.ids()));
    ASSERT_EQ(config.CommittedIndex(acked), CommittedByDefinition(config, acked))
        << config.Describe(acked);
  }
}

TEST(QuorumTest, JointCommittedIndexIsWhatBothHalvesHaveReached) {
  SeededRandom random(2);
  for (int round = 0; round < 20000; ++round) {
    const JointConfig config{RandomMajority(random, 7), RandomMajority(random, 7)};
    const MapIndexer acked(RandomAcks(random, config.Ids()));
    const Index committed = config.CommittedIndex(acked);
    ASSERT_EQ(committed, std::min(CommittedByDefinition(config.incoming, acked),
                                  CommittedByDefinition(config.outgoing, acked)));
    ASSERT_EQ(committed, (JointConfig{config.outgoing, config.incoming}).CommittedIndex(acked));
  }
}

TEST(QuorumTest, JoiningWithNothingOrWithItselfChangesNothing) {
  SeededRandom random(3);
  for (int round = 0; round < 5000; ++round) {
    const MajorityConfig config = RandomMajority(random, 9);
    const MapIndexer acked(RandomAcks(random, config.ids()));
    const Votes votes = RandomVotes(random, config.ids());
    for (const JointConfig& joint :
         {JointConfig{config, {}}, JointConfig{{}, config}, JointConfig{config, config}}) {
      ASSERT_EQ(joint.CommittedIndex(acked), config.CommittedIndex(acked));
      ASSERT_EQ(joint.Result(votes), config.Result(votes));
    }
  }
}

TEST(QuorumTest, AckingMoreNeverLowersTheCommittedIndex) {
  SeededRandom random(4);
  for (int round = 0; round < 5000; ++round) {
    const JointConfig config{RandomMajority(random, 7), RandomMajority(random, 7)};
    std::map<NodeId, Index> acks = RandomAcks(random, config.Ids());
    const Index before = config.CommittedIndex(MapIndexer(acks));
    for (NodeId id : config.Ids()) {
      if (random.Uniform(2) == 0) acks[id] = acks[id] + random.Uniform(5);
    }
    ASSERT_GE(config.CommittedIndex(MapIndexer(acks)), before);
  }
}

TEST(QuorumTest, VoteResultAgreesWithItsDefinition) {
  SeededRandom random(5);
  for (int round = 0; round < 5000; ++round) {
    const JointConfig config{RandomMajority(random, 5), RandomMajority(random, 5)};
    const Votes votes = RandomVotes(random, config.Ids());
    ASSERT_EQ(config.Result(votes), VoteByDefinition(config, votes)) << config.ToString();
  }
}

// Two elections of one term, or an election and a commit, always share a voter (paper, 5.4.3).
TEST(QuorumTest, TwoQuorumsOverlapInEachHalf) {
  SeededRandom random(6);
  for (int round = 0; round < 5000; ++round) {
    const JointConfig config{RandomMajority(random, 7), RandomMajority(random, 7)};
    const auto draw = [&] {
      Votes votes;
      for (NodeId id : config.Ids()) votes.emplace(id, random.Uniform(3) != 0);
      return votes;
    };
    const Votes first = draw();
    const Votes second = draw();
    if (config.Result(first) != VoteResult::kWon || config.Result(second) != VoteResult::kWon) {
      continue;
    }
    for (const MajorityConfig& half : {config.incoming, config.outgoing}) {
      ASSERT_TRUE(half.empty() || std::ranges::any_of(half.ids(), [&](NodeId id) {
                    return first.at(id) && second.at(id);
                  }));
    }
  }
}

TEST(QuorumTest, VotesOfStrangersDoNotCount) {
  const MajorityConfig config = Majority({1, 2, 3});
  Votes votes{{NodeId(1), true}, {NodeId(7), true}, {NodeId(8), true}};
  EXPECT_EQ(config.Result(votes), VoteResult::kPending);
  votes.emplace(NodeId(2), true);
  EXPECT_EQ(config.Result(votes), VoteResult::kWon);
}

TEST(QuorumTest, NoVotersAgreeWithEverything) {
  EXPECT_EQ(MajorityConfig().CommittedIndex(MapIndexer({})), Index::Max());
  EXPECT_EQ(MajorityConfig().Result({}), VoteResult::kWon);
}

TEST(QuorumTest, Texts) {
  EXPECT_EQ(MajorityConfig().ToString(), "()");
  EXPECT_EQ(Majority({1, 2, 0xab}).ToString(), "(1 2 ab)");
  EXPECT_EQ((JointConfig{Majority({1, 2}), {}}).ToString(), "(1 2)");
  EXPECT_EQ((JointConfig{Majority({1, 2}), Majority({2, 3})}).ToString(), "(1 2)&&(2 3)");
  EXPECT_EQ(Describe(VoteResult::kPending), "VotePending");
  EXPECT_EQ(Describe(VoteResult::kLost), "VoteLost");
  EXPECT_EQ(Describe(VoteResult::kWon), "VoteWon");
}

TEST(QuorumTest, BarsShowWhoIsFurtherBehind) {
  const MapIndexer acked(
      {{NodeId(1), Index(100)}, {NodeId(2), Index(101)}, {NodeId(10), Index(100)}});
  EXPECT_EQ(MajorityConfig().Describe(acked), "<empty majority quorum>");
  EXPECT_EQ(Majority({1, 2, 3, 10}).Describe(acked),
            "        idx\n"
            "x>      100    (id=1)\n"
            "xxx>    101    (id=2)\n"
            "?         0    (id=3)\n"
            "x>      100    (id=a)\n");
}

}  // namespace
}  // namespace raftkv::raft
