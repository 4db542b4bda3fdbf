// What the status says: at rest, with members that are away, without a quorum; and that only it is
// kept up while the resource is paused or a change of the membership is under way.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "operator/raftkv/plan_facts.h"
#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

class AtRest : public ::testing::TestWithParam<int> {};

TEST_P(AtRest, NothingIsDoneAndNothingChanges) {
  Given given = Given::Cluster(GetParam());
  const Plan first = MakePlan(given);
  EXPECT_EQ(ToString(first.action), "Nothing");
  EXPECT_EQ(first.status.operation.type, Type::kNone);
  EXPECT_EQ(first.status.phase, "Available");
  EXPECT_EQ(ReasonOf(first, "Available"), "+QuorumHealthy");
  EXPECT_EQ(ReasonOf(first, "Progressing"), "-Reconciled");
  EXPECT_EQ(ReasonOf(first, "Degraded"), "-AsExpected");
  EXPECT_EQ(ReasonOf(first, "QuorumLost"), "-QuorumPresent");
  EXPECT_EQ(ReasonOf(first, "Paused"), "-NotPaused");
  EXPECT_EQ(first.look_again, std::chrono::seconds(30));
  EXPECT_THAT(first.events, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Sizes, AtRest, ::testing::Range(1, 10));

// "Not every member takes part and has caught up": which?
TEST(Status, NamesThePodsThatDoNotAnswerOrHaveNotCaughtUp) {
  Given given = Given::Cluster(3);
  given.membership->members[Id(1)].active = false;
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message, "Does not answer: db-1.");
  given.membership->leader_commit += 5000;
  given.membership->members[Id(0)].match = given.membership->leader_commit;
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "Does not answer: db-1. Has not caught up: db-2.");
}

// The lag that is told of db-2, which has none of the leader's `commit` entries.
std::optional<uint64_t> ToldAt(Given* given, uint64_t commit) {
  given->membership->leader_commit = commit;
  for (auto& [id, member] : given->membership->members) member.match = id == Id(2) ? 0 : commit;
  const Plan plan = MakePlan(*given);
  given->Wrote(plan);
  return plan.status.members.at(2).lag;
}

int ReadyOf(const Given& given) { return MakePlan(given).status.ready; }

// It was the number of pods that the kubelet calls Ready.
TEST(Status, ReadyAreTheMembersThatAnswerAndTakePart) {
  EXPECT_EQ(ReadyOf(Given::BlankNodes(3)), 0);
  EXPECT_EQ(ReadyOf(Given::Cluster(3)), 3);
  Given learner = Given::Cluster(3);
  learner.StatefulSet(4);
  learner.Learner(3);
  EXPECT_EQ(ReadyOf(learner), 4);
  learner.Pod(3).ready = false;
  EXPECT_EQ(ReadyOf(learner), 4) << "it is not the kubelet that says who takes part";
  learner.slots[3].report->role = Role::kJoining;
  EXPECT_EQ(ReadyOf(learner), 3);
}

TEST(Status, ARemovedMemberThatHasYetToEndIsNotReady) {
  Given given = Given::Cluster(5);
  given.spec.replicas = 3;
  for (const int slot : {3, 4}) given.Remove(Id(slot));
  given.slots[3].report->role = Role::kRemoved;
  ASSERT_TRUE(given.Pod(3).ready && given.Pod(4).ready);
  EXPECT_EQ(ReadyOf(given), 3);
}

TEST(Status, AMemberOnALostNodeIsNotReadyAsSoonAsItDoesNotAnswer) {
  Given given = Given::Cluster(3);
  given.Silent(2, 1);
  given.Pod(2).ready = true;  // what a node that is gone has said last
  EXPECT_EQ(ReadyOf(given), 2);
}

// Nobody says then whom the others hear of; they are there all the same.
TEST(Status, ReadyWithoutALeaderAreThoseThatAnswer) {
  Given given = Given::Cluster(3);
  given.membership->members.at(Id(2)).active = false;
  EXPECT_EQ(ReadyOf(given), 2) << "cut off from the leader";
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.slots[1].report.reset();
  EXPECT_EQ(ReadyOf(given), 2);
}

// It is at least half of what is told, and less than four times as much; what goes up and down by
// less moves nothing.
TEST(Status, ALagIsToldAnewWhenItIsAnother) {
  Given given = Given::Cluster(3);
  for (const uint64_t lag : {0, 1, 999, 1000}) EXPECT_EQ(ToldAt(&given, lag), 0U) << lag;
  EXPECT_EQ(ToldAt(&given, 1001), 512U);
  EXPECT_EQ(ToldAt(&given, 1000), 0U);
  for (const uint64_t lag : {9000, 5000, 4096, 32'767})
    EXPECT_EQ(ToldAt(&given, lag), 8192U) << lag;
  EXPECT_EQ(ToldAt(&given, 4095), 2048U);
  EXPECT_EQ(ToldAt(&given, 8191), 2048U);
  EXPECT_EQ(ToldAt(&given, 8192), 8192U);
  EXPECT_EQ(ToldAt(&given, uint64_t{1} << 60), uint64_t{1} << 60);
}

TEST(Status, NoLagIsToldThatNobodyKnows) {
  Given given = Given::Cluster(3);
  EXPECT_EQ(ToldAt(&given, 5000), 4096U);
  // A leader that has just been elected.
  given.membership->members.at(Id(2)).active = false;
  EXPECT_EQ(ToldAt(&given, 5000), std::nullopt);
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  for (const MemberStatus& member : MakePlan(given).status.members) {
    EXPECT_EQ(member.lag, std::nullopt) << member.pod;
  }
}

// It had the lag in it, and was another condition whenever that was.
TEST(Status, WhatIsSaidOfALateLearnerDoesNotMoveWithItsLag) {
  Given given = Given::Cluster(3);
  given.membership->voters.erase(Id(2));
  given.membership->learners.insert(Id(2));
  given.operation = {.type = Operation::Type::kScale,
                     .step = "CatchUp",
                     .since_s = kNow - 10'000,
                     .step_since_s = kNow - 10'000,
                     .target = 3};
  EXPECT_EQ(ToldAt(&given, 9000), 8192U);
  const std::string before = Condition(MakePlan(given), "Degraded").message;
  EXPECT_THAT(before, HasSubstr("does not catch up"));
  EXPECT_EQ(ToldAt(&given, 900'000), 524'288U);
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message, before);
}

// What an uncommitted change of the membership, or a network between the members, can do: it was
// NoLeader for ever.
TEST(QuorumLost, WhenAQuorumAnswersAndElectsNobody) {
  Given given = Given::Cluster(3);
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.leaderless_since_s = kNow - kElectionSeconds + 1;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "-Electing");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-NoLeader");
  given.leaderless_since_s = kNow - kElectionSeconds;
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+ElectionsFail");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-QuorumLost");
  EXPECT_EQ(plan.status.phase, "QuorumLost");
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_THAT(EventReasons(plan), Contains("ElectionsFail"));
  given.Wrote(plan);
  EXPECT_THAT(MakePlan(given).events, IsEmpty()) << "said once";
}

TEST(QuorumLost, NothingIsDone) {
  Given given = Given::Cluster(3);
  given.slots[0].report->applied_index = 99;
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.NodeLost(1, 3600);
  given.NodeLost(2, 3600);
  given.objects.update_revision = "rev-2";
  given.spec.replicas = 1;
  given.objects.min_available = 2;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+DataLost");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-QuorumLost");
  EXPECT_EQ(plan.status.phase, "QuorumLost");
  EXPECT_THAT(EventReasons(plan), Contains("DataLost"));
  EXPECT_THAT(Condition(plan, "QuorumLost").message,
              HasSubstr("Of those that answer, pod db-0 has the newest state (index 99)."));
  given.Silent(1, 3);
  given.Silent(2, 3);
  given.Pod(1).node_lost_since_s = given.Pod(2).node_lost_since_s = 0;
  EXPECT_EQ(ReasonOf(MakePlan(given), "QuorumLost"), "+MembersDown") << "they may come back";
}

// All three conditions said "Less than a quorum of the members answers", none said which, and
// Progressing said that nothing was left to be done.
TEST(QuorumLost, TheStatusNamesThePodsAndWhatIsWrongWithEach) {
  Given given = Given::Cluster(3);
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.Silent(1, 3);
  given.Pod(1).unschedulable = true;
  given.Silent(2, 3);
  Plan plan = MakePlan(given);
  const std::string what =
      "2 of 3 voters do not answer, which leaves no quorum; they may come back. Pod db-1 cannot "
      "be scheduled. Pod db-2 does not answer.";
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+MembersDown");
  EXPECT_EQ(Condition(plan, "QuorumLost").message, what);
  EXPECT_EQ(Condition(plan, "Degraded").message, what);
  EXPECT_EQ(Condition(plan, "Available").message, what);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-QuorumLost");
  for (const PlannedEvent& event : plan.events) EXPECT_EQ(event.action, "Maintain");

  given.NodeLost(1, 3600);
  given.NodeLost(2, 3600);
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+DataLost");
  EXPECT_THAT(Condition(plan, "QuorumLost").message,
              EndsWith(" Pod db-1: its node is lost. Pod db-2: its node is lost."));

  given.Silent(0, 3);
  given.membership.reset();
  plan = MakePlan(given);
  EXPECT_EQ(Condition(plan, "QuorumLost").message,
            "No member answers. Pod db-0 does not answer. Pod db-1: its node is lost. Pod db-2: "
            "its node is lost.");
}

TEST(QuorumLost, ABrokenTemplateCanStillBeTakenBack) {
  Given given = Given::Cluster(1);
  given.Silent(0, 60);
  given.membership.reset();
  given.Pod(0).waiting = "ImagePullBackOff";
  given.Pod(0).revision = "broken";
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0");
}

TEST(Paused, OnlyTheStatusIsKept) {
  Given given = Given::Cluster(3);
  given.spec.paused = true;
  given.spec.replicas = 5;
  given.objects.others_current = given.objects.template_current = false;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Paused"), "+Paused");
  EXPECT_EQ(ReasonOf(plan, "Available"), "+QuorumAvailable");
  EXPECT_EQ(plan.status.phase, "Paused");
  given.deleting = true;
  EXPECT_EQ(Do(given), "RemoveFinalizer") << "a paused resource can be deleted";
}

TEST(Joint, MembershipIsLeftAlone) {
  Given given = Given::Cluster(3);
  given.membership->voters_outgoing = {Id(0)};
  given.Blanked(2, 0xB2);
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).look_again, std::chrono::seconds(1));
}

}  // namespace
}  // namespace raftkv::op
