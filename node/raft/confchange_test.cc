#include "node/raft/confchange.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"

namespace raftkv::raft {
namespace {

using Steps = std::vector<ConfChangeStep>;

Steps Parse(std::string_view text) { return ParseSteps(text).value(); }

void Install(ChangedConfig changed, Tracker& tracker) {
  tracker.config = std::move(changed.config);
  tracker.progress = std::move(changed.progress);
}

// A tracker with the configuration that `steps`, taken one by one, lead to.
Tracker MakeTracker(std::string_view steps) {
  Tracker tracker(10, 0);
  for (const ConfChangeStep& step : Parse(steps)) {
    Install(Changer(tracker, Index(5)).Simple({step}).value(), tracker);
  }
  return tracker;
}

std::string Text(const ChangeResult& result) {
  return result ? result->config.ToString() + "\n" + Describe(result->progress)
                : "error: " + result.error();
}

std::string Text(const Tracker& tracker) {
  return tracker.config.ToString() + "\n" + Describe(tracker.progress);
}

Steps RandomSteps(Random& random, size_t max_count) {
  Steps steps(random.Uniform(max_count + 1));
  for (ConfChangeStep& step : steps) {
    step = {static_cast<ConfChangeType>(random.Uniform(4)), NodeId(random.Uniform(7))};
  }
  return steps;
}

// What the changer does, said in terms of sets alone: the members' roles after `steps`.
struct Model {
  std::set<NodeId> incoming, outgoing, learners, learners_next;

  bool operator==(const Model&) const = default;
  void Apply(const ConfChangeStep& step) {
    const NodeId id = step.id;
    const bool known = incoming.contains(id) || outgoing.contains(id) || learners.contains(id);
    if (id == kNone || step.type == ConfChangeType::kUpdate) return;
    if (step.type == ConfChangeType::kRemove && !known) return;
    incoming.erase(id);
    learners.erase(id);
    learners_next.erase(id);
    if (step.type == ConfChangeType::kAddVoter) incoming.insert(id);
    if (step.type == ConfChangeType::kAddLearner) {
      (outgoing.contains(id) ? learners_next : learners).insert(id);
    }
  }
  void Leave() {
    learners.insert(learners_next.begin(), learners_next.end());
    learners_next.clear();
    outgoing.clear();
  }
  static Model Of(const TrackerConfig& config) {
    return {config.voters.incoming.ids(), config.voters.outgoing.ids(), config.learners,
            config.learners_next};
  }
};

// Restore(ToConfState()) gives the same configuration, with a progress for each of its members.
void ExpectRestores(const Tracker& tracker) {
  const ConfState conf = tracker.config.ToConfState();
  const ChangeResult restored = Restore(Tracker(10, 0), Index(20), conf);
  ASSERT_TRUE(restored) << restored.error();
  EXPECT_EQ(restored->config, tracker.config);
  EXPECT_EQ(restored->config.ToConfState(), conf);
  ASSERT_EQ(restored->progress.size(), tracker.progress.size());
  for (const auto& [id, progress] : restored->progress) {
    ASSERT_TRUE(tracker.progress.contains(id));
    EXPECT_EQ(progress.is_learner, tracker.progress.at(id).is_learner);
    EXPECT_EQ(progress.next, Index(20));
  }
}

// Random walks through simple changes, joint changes and refusals.
TEST(ConfChangeTest, RandomSequencesKeepTheInvariantsAndRestore) {
  SeededRandom random(1);
  std::map<std::string, int> seen;
  for (int walk = 0; walk < 300; ++walk) {
    Tracker tracker = MakeTracker("v1");
    for (int i = 0; i < 40; ++i) {
      const Changer changer(tracker, Index(static_cast<uint64_t>(i)));
      const Steps steps = RandomSteps(random, 4);
      Model expected = Model::Of(tracker.config);
      ChangeResult result;
      switch (random.Uniform(3)) {
        case 0:
          result = changer.Simple(steps);
          for (const ConfChangeStep& step : steps) expected.Apply(step);
          break;
        case 1:
          result = changer.EnterJoint(random.Uniform(2) == 0, steps);
          expected.outgoing = expected.incoming;
          for (const ConfChangeStep& step : steps) expected.Apply(step);
          break;
        default:
          result = changer.LeaveJoint();
          expected.Leave();
      }
      ++seen[result ? "changed" : result.error()];
      if (!result) continue;
      ASSERT_EQ(Model::Of(result->config), expected) << Text(tracker) << Describe(steps);
      ASSERT_TRUE(CheckConfig(result->config, result->progress));
      // No progress outlives its member.
      const size_t members = result->config.voters.Ids().size() + result->config.learners.size();
      ASSERT_EQ(result->progress.size(), members) << Text(result);
      Install(*std::move(result), tracker);
      ExpectRestores(tracker);
    }
  }
  // The walks met every outcome.
  EXPECT_EQ(seen.size(), 6u) << seen.size();
  for (const auto& [outcome, times] : seen) EXPECT_GT(times, 20) << outcome;
}

TEST(ConfChangeTest, SimpleAndJointArriveAtTheSamePlace) {
  SeededRandom random(2);
  for (int round = 0; round < 2000; ++round) {
    Tracker simple = MakeTracker("v1 v2 v3");
    Tracker joint = simple;
    // Member 1 stays, so that no step removes the last voter.
    Steps steps = RandomSteps(random, 9);
    for (ConfChangeStep& step : steps) {
      if (step.id == NodeId(1)) step.id = NodeId(9);
      Install(Changer(simple, Index(10)).Simple({step}).value(), simple);
    }
    Install(Changer(joint, Index(10)).EnterJoint(false, steps).value(), joint);
    Install(Changer(joint, Index(10)).LeaveJoint().value(), joint);
    ASSERT_EQ(joint.config, simple.config) << Describe(steps);
  }
}

TEST(ConfChangeTest, RepeatingAChangeChangesNothing) {
  SeededRandom random(3);
  for (int round = 0; round < 2000; ++round) {
    Tracker tracker = MakeTracker("v1 v2 v3 l4");
    Steps steps = RandomSteps(random, 1);
    ChangeResult once = Changer(tracker, Index(10)).Simple(steps);
    ASSERT_TRUE(once);
    Install(*once, tracker);
    ASSERT_EQ(Text(Changer(tracker, Index(10)).Simple(steps)), Text(once));

    // The same within one joint change.
    const Tracker base = MakeTracker("v1 v2 v3 l4");
    steps = {{ConfChangeType::kAddVoter, NodeId(1)}};
    for (const ConfChangeStep& step : RandomSteps(random, 4)) {
      if (step.id != NodeId(1)) steps.push_back(step);
    }
    once = Changer(base, Index(10)).EnterJoint(true, steps);
    Steps twice;
    for (const ConfChangeStep& step : steps) twice.insert(twice.end(), {step, step});
    ASSERT_EQ(Text(Changer(base, Index(10)).EnterJoint(true, twice)), Text(once));
  }
}

TEST(ConfChangeTest, DemotionIsStagedUntilTheJointConfigurationIsLeft) {
  Tracker tracker = MakeTracker("v1 v2 v3");
  tracker.Find(NodeId(3))->match = Index(4);
  ChangeResult result = Changer(tracker, Index(7)).EnterJoint(true, Parse("v4 l3 l5"));
  EXPECT_EQ(Text(result),
            "voters=(1 2 4)&&(1 2 3) learners=(5) learners_next=(3) autoleave\n"
            "1: StateProbe match=0 next=5\n"
            "2: StateProbe match=0 next=5\n"
            "3: StateProbe match=4 next=5\n"
            "4: StateProbe match=0 next=7\n"
            "5: StateProbe match=0 next=7 learner\n");
  Install(*result, tracker);
  EXPECT_EQ(Text(Changer(tracker, Index(8)).LeaveJoint()),
            "voters=(1 2 4) learners=(3 5)\n"
            "1: StateProbe match=0 next=5\n"
            "2: StateProbe match=0 next=5\n"
            "3: StateProbe match=4 next=5 learner\n"
            "4: StateProbe match=0 next=7\n"
            "5: StateProbe match=0 next=7 learner\n");
}

TEST(ConfChangeTest, RemovedVoterIsReplicatedToUntilTheJointConfigurationIsLeft) {
  Tracker tracker = MakeTracker("v1 v2");
  Install(Changer(tracker, Index(5)).EnterJoint(false, Parse("r2")).value(), tracker);
  EXPECT_EQ(tracker.config.ToString(), "voters=(1)&&(1 2)");
  EXPECT_NE(tracker.Find(NodeId(2)), nullptr);
  Install(Changer(tracker, Index(5)).LeaveJoint().value(), tracker);
  EXPECT_EQ(tracker.Find(NodeId(2)), nullptr);
}

TEST(ConfChangeTest, Refusals) {
  const Tracker empty(10, 0);
  const Tracker single = MakeTracker("v1");
  Tracker joint = single;
  Install(Changer(single, Index(5)).EnterJoint(false, Parse("v2")).value(), joint);

  EXPECT_EQ(Text(Changer(joint, Index(5)).EnterJoint(false, {})), "error: config is already joint");
  EXPECT_EQ(Text(Changer(joint, Index(5)).Simple({})),
            "error: can't apply simple config change in joint config");
  EXPECT_EQ(Text(Changer(empty, Index(5)).EnterJoint(false, Parse("v1"))),
            "error: can't make a zero-voter config joint");
  EXPECT_EQ(Text(Changer(single, Index(5)).LeaveJoint()), "error: can't leave a non-joint config");
  EXPECT_EQ(Text(Changer(single, Index(5)).Simple(Parse("r1"))), "error: removed all voters");
  EXPECT_EQ(Text(Changer(single, Index(5)).Simple(Parse("l1"))), "error: removed all voters");
  EXPECT_EQ(Text(Changer(single, Index(5)).Simple(Parse("v2 v3"))),
            "error: more than one voter changed without entering joint config");
}

TEST(ConfChangeTest, ProgressStartsAtOneInAnEmptyLog) {
  const Tracker empty(10, 0);
  EXPECT_EQ(Text(Changer(empty, Index(0)).Simple(Parse("v1"))),
            "voters=(1)\n1: StateProbe match=0 next=1\n");
}

TEST(ConfChangeTest, BrokenConfigurationsAreNamed) {
  const auto error = [](const Tracker& tracker) {
    const auto valid = CheckConfig(tracker.config, tracker.progress);
    return valid ? "ok" : valid.error();
  };
  const Tracker good = MakeTracker("v1 v2 l3");
  EXPECT_EQ(error(good), "ok");

  Tracker bad = good;
  bad.progress.erase(NodeId(2));
  EXPECT_EQ(error(bad), "no progress for 2");
  bad = good;
  bad.config.learners_next.insert(NodeId(2));
  EXPECT_EQ(error(bad), "2 is in LearnersNext, but not Voters[1]");
  bad.config.voters.outgoing = bad.config.voters.incoming;
  EXPECT_EQ(error(bad), "ok");
  bad.progress[NodeId(2)].is_learner = true;
  EXPECT_EQ(error(bad), "2 is in LearnersNext, but is already marked as learner");
  bad = good;
  bad.config.voters.outgoing.ids() = {NodeId(3)};
  EXPECT_EQ(error(bad), "3 is in Learners and Voters[1]");
  bad = good;
  bad.config.learners.insert(NodeId(1));
  EXPECT_EQ(error(bad), "1 is in Learners and Voters[0]");
  bad = good;
  bad.progress[NodeId(3)].is_learner = false;
  EXPECT_EQ(error(bad), "3 is in Learners, but is not marked as learner");
  bad = good;
  bad.config.auto_leave = true;
  EXPECT_EQ(error(bad), "AutoLeave must be false when not joint");
}

TEST(ConfChangeTest, UseOfTheJointConfiguration) {
  const auto use = [](ConfChangeTransition transition, std::string_view steps) {
    const JointUse joint = EntersJoint({.transition = transition, .steps = Parse(steps)});
    return std::pair(joint.use, joint.auto_leave);
  };
  using enum ConfChangeTransition;
  EXPECT_EQ(use(kAuto, ""), std::pair(false, false));
  EXPECT_EQ(use(kAuto, "v1"), std::pair(false, false));
  EXPECT_EQ(use(kAuto, "v1 v2"), std::pair(true, true));
  EXPECT_EQ(use(kJointImplicit, "v1"), std::pair(true, true));
  EXPECT_EQ(use(kJointExplicit, "v1"), std::pair(true, false));
  EXPECT_EQ(use(kJointExplicit, "v1 v2"), std::pair(true, false));

  EXPECT_TRUE(LeavesJoint({}));
  EXPECT_TRUE(LeavesJoint({.context = Buffer::Copy("why")}));
  EXPECT_FALSE(LeavesJoint({.steps = Parse("v1")}));
  EXPECT_FALSE(LeavesJoint({.transition = kJointExplicit}));
}

TEST(ConfChangeTest, StepsFromAndToText) {
  EXPECT_EQ(Describe(Parse(" v1 l2 r3 u4 v18446744073709551615\n")),
            "v1 l2 r3 u4 v18446744073709551615");
  EXPECT_TRUE(Parse("").empty());
  EXPECT_TRUE(Parse(" \n").empty());
  const auto error = [](std::string_view text) { return ParseSteps(text).error(); };
  EXPECT_EQ(error("v"), "unknown token v");
  EXPECT_EQ(error("v1  v2"), "unknown token ");
  EXPECT_EQ(error("x1"), "unknown input: x1");
  EXPECT_EQ(error("vx"), "strconv.ParseUint: parsing \"x\": invalid syntax");
  EXPECT_EQ(error("v1\nv2"), "strconv.ParseUint: parsing \"1\\nv2\": invalid syntax");
  EXPECT_EQ(error("v-1"), "strconv.ParseUint: parsing \"-1\": invalid syntax");
  EXPECT_EQ(error("v18446744073709551616"),
            "strconv.ParseUint: parsing \"18446744073709551616\": value out of range");
}

}  // namespace
}  // namespace raftkv::raft
