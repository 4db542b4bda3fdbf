// What the API server refuses holds up itself, and what depends on it, alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// A pod template that the API server refuses: everything else went undone behind it.
struct Refused : Given {
  explicit Refused(const Given& given) : Given(given) {
    generation = 2;
    observed_generation = 1;
    objects.template_current = false;
    RefuseTemplate(10);
  }
  void RefuseTemplate(int64_t for_s) {
    Refuse(ApplyStatefulSet{}, "StatefulSet db: it is invalid", for_s);
  }
};

TEST(Refusals, ATemplateThatIsRefusedIsSaidAndTriedAgainWhenItIsTime) {
  Refused given(Given::Cluster(3));
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("The API server refuses StatefulSet db: it is invalid."));
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
  EXPECT_EQ(ReasonOf(plan, "Available"), "+QuorumHealthy");
  EXPECT_EQ(plan.status.phase, "Degraded");
  EXPECT_EQ(plan.status.observed_generation, 2);
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kRoll) << "it is not done";
  EXPECT_EQ(plan.look_again, std::chrono::seconds(10));
  EXPECT_THAT(EventReasons(plan), Contains("ApplyRefused"));
  given.Wrote(plan);
  EXPECT_TRUE(MakePlan(given).events.empty()) << "it has been said";

  given.RefuseTemplate(0);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ApplyStatefulSet replicas=3");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused") << "nobody knows better yet";
  given.objects.template_current = true;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "-AsExpected") << "also if it was taken back";
}

TEST(Refusals, EverythingElseGoesOn) {
  Refused given(Given::Cluster(3));
  given.objects.leader_pod = "db-2";
  EXPECT_EQ(Do(given), "MarkLeader pod=db-0");
  given.objects.leader_pod = "db-0";
  given.objects.min_available = 1;
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=2");
  given.objects.min_available = 2;
  given.Blanked(2, 0xBB);
  EXPECT_EQ(Do(given), "MarkClaim slot=2 member=00000000000000bb") << "the lost one is replaced";
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+ApplyRefused");
  EXPECT_THAT(Condition(MakePlan(given), "Degraded").message,
              HasSubstr("Pod db-2 is blank where a member was."));
}

TEST(Refusals, ARollToTheTemplateThatIsInForceIsFinished) {
  Refused given(Given::Cluster(3));
  for (const int slot : {0, 1, 2}) given.Pod(slot).ready = true;
  given.objects.update_revision = "rev-2";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Silent(1, 60);
  given.Pod(1).waiting = "ImagePullBackOff";
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1") << "it can never start";
}

TEST(Refusals, ARemovedMemberEndsByItselfAlsoWhereItsClaimCannotGo) {
  Given given = Given::Cluster(3);
  given.Node(3, NodeReport::Role::kRemoved, Id(3));
  given.Claim(3).member = Id(3);
  given.Remove(Id(3));
  given.StatefulSet(4);
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  given.objects.update_revision = "rev-2";
  for (const int slot : {0, 1, 2}) given.Pod(slot).revision = "rev-2";
  given.Refuse(DeleteClaim{3, "claim-uid-3", "", Id(3)}, "PersistentVolumeClaim data-db-3: no", 5);
  EXPECT_EQ(Do(given), "Nothing");
  given.Refuse(ScaleStatefulSet{3}, "StatefulSet db: no", 5);
  given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
  given.spec.replicas = 3;
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "Nothing");
}

TEST(Refusals, TheSizeChangesWithTheTemplateThatIsThere) {
  Refused given(Given::Cluster(3));
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "ScaleStatefulSet replicas=5");
  given.RefuseTemplate(0);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3") << "first what may be taken now";
  given.RefuseTemplate(10);
  given.spec.replicas = 0;
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "ScaleStatefulSet replicas=0");
  given.StatefulSet(0);
  given.objects.min_available = -1;
  for (const int slot : {0, 1, 2}) given.slots[slot].pod.reset();
  given.Silent(0, 1);
  given.membership.reset();
  given.spec.replicas = 3;
  EXPECT_EQ(Do(given), "ScaleStatefulSet replicas=3");
  given.deleting = true;
  given.spec.on_delete = Retention::kDelete;
  given.StatefulSet(3);
  EXPECT_EQ(Do(given), "ScaleStatefulSet replicas=0");
}

TEST(Refusals, WhoIsRefusedIsPassedOver) {
  Given given = Given::Cluster(3);
  given.objects.others_current = false;
  given.objects.min_available = 1;
  given.objects.leader_pod = "db-2";
  EXPECT_EQ(Do(given), "ApplyObjects");
  given.Refuse(ApplyObjects{}, "Service db: no", 7);
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=2");
  given.Refuse(ApplyDisruptionBudget{2}, "PodDisruptionBudget db: no", 5);
  EXPECT_EQ(Do(given), "MarkLeader pod=db-0");
  given.objects.leader_pod = "db-0";
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.look_again, std::chrono::seconds(5));
  EXPECT_THAT(Condition(plan, "Degraded").message,
              AllOf(HasSubstr("Service db: no."), HasSubstr("PodDisruptionBudget db: no.")));
}

// With two of three there, and the third not to be replaced, a roll took the quorum.
TEST(Refusals, NoLivePodIsRolledWhileAReplacementIsRefused) {
  Given given = Given::Cluster(3);
  for (const int slot : {0, 1}) given.Pod(slot).ready = true;
  given.Remove(Id(2));
  given.Claim(2).member = Id(2);
  given.Silent(2, 600);
  given.Pod(2).finished = true;
  given.Pod(2).revision = "rev-2";
  given.objects.update_revision = "rev-2";
  given.operation.type = Operation::Type::kReplace;
  given.operation.step = "DeleteClaim";
  const DeleteClaim refused{2, "claim-uid-2", "", Id(2)};
  given.Refuse(refused, "PersistentVolumeClaim data-db-2: no", 5);
  EXPECT_EQ(Do(given), "Nothing");
  given.Refuse(refused, "PersistentVolumeClaim data-db-2: no", 0);
  EXPECT_EQ(Do(given).substr(0, 11), "DeleteClaim");
}

// A voter's data went with its pod, and it was a voter still.
TEST(Refusals, NoPodOfAVoterGoesWhoseClaimGoesWhileItsNoteIsRefused) {
  Given given = Given::Cluster(3);
  for (const int slot : {0, 1, 2}) given.Pod(slot).ready = true;
  given.Claim(2).deleting = true;
  given.Claim(2).member = 0;
  given.objects.update_revision = "rev-2";
  given.Refuse(MarkClaim{2, "claim-uid-2", Id(2)}, "PersistentVolumeClaim data-db-2: no", 5);
  EXPECT_EQ(Do(given), "Nothing");
}

// Pods ran without the policies that keep others from them.
TEST(Refusals, NoPodIsStartedWithoutTheObjectsThatItNeeds) {
  Given given = Given::Cluster(3);
  given.StatefulSet(0);
  given.objects.min_available = -1;
  for (const int slot : {0, 1, 2}) given.slots[slot].pod.reset();
  for (const int slot : {0, 1, 2}) given.Silent(slot, 1);
  given.membership.reset();
  given.objects.others_current = false;
  given.Refuse(ApplyObjects{}, "NetworkPolicy db-members: no", 5);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_THAT(Condition(plan, "Degraded").message, HasSubstr("NetworkPolicy db-members: no"));
  given.objects.stateful_set = false;
  EXPECT_EQ(Do(given), "Nothing");
}

// It was named by the action alone: one claim's note that is refused was a reason to write none.
TEST(Refusals, OneObjectThatIsRefusedHoldsUpNoOther) {
  Given given = Given::Cluster(3);
  for (const int slot : {0, 1, 2}) given.Claim(slot).member = 0;
  EXPECT_EQ(Do(given), "MarkClaim slot=0 member=00000000000000a0");
  given.Refuse(MarkClaim{0, "claim-uid-0", Id(0)}, "PersistentVolumeClaim data-db-0: no", 5);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "MarkClaim slot=1 member=00000000000000a1");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("PersistentVolumeClaim data-db-0: no"));
  given.Refuse(MarkClaim{1, "claim-uid-1", Id(1)}, "PersistentVolumeClaim data-db-1: no", 0);
  EXPECT_EQ(Do(given), "MarkClaim slot=1 member=00000000000000a1") << "it is time";
  given.Claim(0).member = Id(0);
  for (const int slot : {1, 2}) given.Claim(slot).member = Id(slot);
  given.objects.leader_pod = "db-2";
  given.Refuse(MarkLeader{"db-0"}, "Pod db-0: no", 5);
  EXPECT_EQ(Do(given), "Nothing");
  given.Leader(1);
  given.objects.leader_pod = "db-2";
  EXPECT_EQ(Do(given), "MarkLeader pod=db-1") << "another leads now";
}

TEST(Refusals, OneClaimThatCannotGoKeepsNoOther) {
  Given given = Given::Cluster(1);
  for (const int slot : {1, 2}) {
    given.Claim(slot, Id(slot));
    given.membership->removed.insert(Id(slot));
  }
  given.Refuse(DeleteClaim{1, "claim-uid-1", "", Id(1)}, "PersistentVolumeClaim data-db-1: no", 5);
  EXPECT_EQ(Do(given), "DeleteClaim slot=2 uid=claim-uid-2 member=00000000000000a2");
}

TEST(Refusals, OneMemberThatCannotBeReplacedHoldsUpNoOther) {
  Given given = Given::Cluster(5);
  given.Blanked(3, 0xB3);
  given.Blanked(4, 0xB4);
  EXPECT_EQ(Do(given), "MarkClaim slot=3 member=00000000000000b3");
  given.Wrote(MakePlan(given));
  given.Refuse(MarkClaim{3, "new-claim-uid-3", 0xB3}, "PersistentVolumeClaim data-db-3: no", 5);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "MarkClaim slot=4 member=00000000000000b4");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("PersistentVolumeClaim data-db-3: no"));
}

// "ReplaceFinished: done" was the event, and the member was lost still.
TEST(Refusals, AnOperationOfWhichAStepIsRefusedIsNotFinished) {
  Given given = Given::Cluster(3);
  given.Blanked(2, 0xBB);
  given.Wrote(MakePlan(given));
  ASSERT_EQ(given.operation.type, Operation::Type::kReplace);
  given.Refuse(MarkClaim{2, "new-claim-uid-2", 0xBB}, "PersistentVolumeClaim data-db-2: no", 5);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kReplace);
  EXPECT_THAT(EventReasons(plan), Not(Contains("ReplaceFinished")));
  // Nor one that waits for something else that is refused.
  given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  given.Wrote(MakePlan(given));
  ASSERT_EQ(given.operation.type, Operation::Type::kScale);
  given.objects.others_current = false;
  given.Refuse(ApplyObjects{}, "Service db: no", 5);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kScale);
  EXPECT_THAT(EventReasons(plan), Not(Contains("ScaleFinished")));
  // One that is done is, whatever else is refused.
  given = Given::Cluster(3);
  given.operation = {.type = Operation::Type::kRoll, .step = "WaitForMember", .slot = 0};
  given.Claim(1).member = 0;
  given.Refuse(MarkClaim{1, "claim-uid-1", Id(1)}, "PersistentVolumeClaim data-db-1: no", 5);
  for (const int slot : {0, 1, 2}) given.Pod(slot).ready = true;
  EXPECT_THAT(EventReasons(MakePlan(given)), Contains("RollFinished"));
}

// Each try made Progressing true for a moment, and its time was that of the last try.
TEST(Refusals, WhileItIsTriedAgainTheStatusSaysWhatItSaid) {
  std::vector<std::pair<Given, Action>> all;
  Refused with_template(Given::Cluster(3));
  all.emplace_back(with_template, ApplyStatefulSet{3});
  with_template.spec.replicas = 5;
  with_template.objects.min_available = 3;
  all.emplace_back(with_template, ApplyStatefulSet{3});  // and it is scaled meanwhile
  Given services = Given::Cluster(3);
  services.objects.others_current = false;
  all.emplace_back(services, ApplyObjects{});
  Given larger = Given::Cluster(3);
  larger.spec.storage_bytes = 20 * kGiB;
  for (const int slot : {1, 2}) larger.Claim(slot).requested_bytes = 20 * kGiB;
  all.emplace_back(larger, ResizeClaim{0, "claim-uid-0", 20 * kGiB});
  Given replaced = Given::Cluster(3);
  replaced.Blanked(2, 0xBB);
  all.emplace_back(replaced, MarkClaim{2, "new-claim-uid-2", 0xBB});
  Given two = Given::Cluster(5);
  two.Blanked(3, 0xB3);
  two.Blanked(4, 0xB4);
  all.emplace_back(two, MarkClaim{3, "new-claim-uid-3", 0xB3});
  Given none = Given::BlankNodes(3);
  none.objects.stateful_set = false;
  none.objects.stateful_set_replicas = 0;
  none.slots.clear();
  none.objects.template_current = false;
  all.emplace_back(none, ApplyStatefulSet{3});
  Given begins = Given::BlankNodes(3);
  begins.objects.template_current = false;
  begins.Silent(2, 1);
  all.emplace_back(begins, ApplyStatefulSet{3});
  for (auto& [given, action] : all) {
    SCOPED_TRACE(ToString(action));
    given.refusals.clear();
    EXPECT_EQ(Do(given), ToString(action));
    given.Refuse(action, "it: no", 5);
    Plan held = MakePlan(given);
    EXPECT_NE(ToString(held.action), ToString(action));
    given.Wrote(held);
    held = MakePlan(given);
    given.Refuse(action, "it: no", 0);
    const Plan again = MakePlan(given);
    EXPECT_EQ(ToString(again.action), ToString(action));
    EXPECT_EQ(again.status, held.status);
    EXPECT_THAT(Condition(again, "Degraded").message, HasSubstr("it: no"));
  }
}

// It could be taken back once, and cleaning the slots that it had left took the claims away that
// were to be retained.
TEST(Refusals, AShrinkThatIsRefusedIsFinishedFirst) {
  Given given = Given::Cluster(3);
  for (const int slot : {3, 4}) {
    given.Voter(slot);
    given.Remove(Id(slot));
    given.Silent(slot, 60);
    given.Pod(slot).finished = true;
  }
  given.StatefulSet(5);
  given.operation = {.type = Operation::Type::kScale, .step = "RemovePods", .target = 3};
  given.spec.replicas = 5;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.target, 3);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
}

// Of all that is refused the operation that runs is the one that is written: its target was gone.
TEST(Refusals, TheOperationThatRunsStaysWritten) {
  Refused given(Given::Cluster(3));
  given.Voter(3);
  given.Remove(Id(3));
  given.Silent(3, 60);
  given.Pod(3).finished = true;
  given.StatefulSet(4);
  given.operation = {.type = Operation::Type::kScale, .step = "RemovePods", .target = 3};
  given.Refuse(ScaleStatefulSet{3}, "StatefulSet db: nor that", 5);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kScale);
  EXPECT_EQ(plan.status.operation.target, 3);
  // Also behind a rule that only waits.
  Given wakes = Given::Cluster(3);
  wakes.StatefulSet(0);
  wakes.objects.min_available = -1;
  wakes.membership.reset();
  for (const int slot : {0, 1, 2}) {
    wakes.slots[slot].pod.reset();
    wakes.slots[slot].report.reset();
  }
  wakes.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
  plan = MakePlan(wakes);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kWake);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
}

// It was said to sleep, and the alert on a lost quorum ended.
TEST(Refusals, WhatSomebodyElseEmptiedIsNotAsleep) {
  Given given = Given::Cluster(3);
  given.StatefulSet(0);
  given.membership.reset();
  given.spec.paused = true;
  for (const int slot : {0, 1, 2}) {
    given.slots[slot].pod.reset();
    given.slots[slot].report.reset();
  }
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost").front(), '+');
  EXPECT_NE(plan.status.phase, "Hibernated");
}

// Progressing, and QuorumLost, was all that it said once its operation was written.
TEST(Refusals, AWakeThatIsRefusedSaysSo) {
  Given given = Given::Cluster(3);
  given.StatefulSet(0);
  given.objects.min_available = -1;
  given.membership.reset();
  for (const int slot : {0, 1, 2}) {
    given.slots[slot].pod.reset();
    given.slots[slot].report.reset();
  }
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ApplyStatefulSet replicas=3");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "-Hibernated") << "nobody is missed";
  given.Wrote(plan);
  given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
  for (int look = 0; look < 2; ++look) {
    plan = MakePlan(given);
    EXPECT_EQ(ToString(plan.action), "Nothing");
    EXPECT_EQ(plan.status.operation.type, Operation::Type::kWake);
    EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
    EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused");
    EXPECT_THAT(Condition(plan, "Degraded").message, HasSubstr("StatefulSet db: no."));
    EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "-Hibernated");
    EXPECT_EQ(plan.status.phase, "Hibernated");
    given.Wrote(plan);
  }
}

TEST(Refusals, AHibernationThatIsRefusedSaysSo) {
  for (const bool led : {true, false}) {
    Given given = led ? Given::Cluster(3) : Given::BlankNodes(3);
    given.cluster = kCluster;
    given.spec.replicas = 0;
    Plan plan = MakePlan(given);
    EXPECT_EQ(ToString(plan.action), "ApplyStatefulSet replicas=0");
    given.Wrote(plan);
    given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
    for (int look = 0; look < 2; ++look) {
      plan = MakePlan(given);
      EXPECT_EQ(ToString(plan.action), "Nothing");
      EXPECT_EQ(plan.status.operation.type, Operation::Type::kHibernate);
      EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
      EXPECT_THAT(Condition(plan, "Degraded").message, HasSubstr("StatefulSet db: no."));
      given.Wrote(plan);
    }
  }
}

// It was that of the size that was asked for, which nobody could begin: no pod could be evicted.
TEST(Refusals, WhileNoStatusCanBeWrittenTheBudgetIsThatOfWhatIsWritten) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=3");
  EXPECT_EQ(ToString(MakeUnsaidPlan(given).action), "Nothing");
  given.objects.min_available = 3;
  EXPECT_EQ(ToString(MakeUnsaidPlan(given).action), "ApplyDisruptionBudget minAvailable=2");
  given.operation = {.type = Operation::Type::kScale,
                     .step = "StartPods",
                     .since_s = kNow,
                     .step_since_s = kNow,
                     .target = 5};
  EXPECT_EQ(ToString(MakeUnsaidPlan(given).action), "ApplyStatefulSet replicas=5");
  given.objects.min_available = 2;
  EXPECT_EQ(ToString(MakeUnsaidPlan(given).action), "ApplyDisruptionBudget minAvailable=3");
}

// minAvailable stayed that of three voters while there were five.
TEST(Refusals, AClusterDoesNotGrowWithoutItsBudget) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.Refuse(ApplyDisruptionBudget{3}, "PodDisruptionBudget db: no", 5);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kScale);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ApplyRefused");
  // Pods that are no voters could be evicted in place of one that is rolled.
  given.Pod(2).revision = "old";
  for (const int slot : {0, 1, 2}) given.Pod(slot).ready = true;
  given.StatefulSet(5);
  for (const int slot : {3, 4}) given.Node(slot, NodeReport::Role::kBlank, Id(slot));
  EXPECT_EQ(Do(given), "Nothing") << "nor is one rolled that the quorum may need";
  given.StatefulSet(3);
  for (const int slot : {3, 4}) given.slots.erase(slot);
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2") << "as long as that has not begun";
  Given two = Given::Cluster(2);
  two.spec.replicas = 5;
  two.Refuse(ApplyDisruptionBudget{3}, "PodDisruptionBudget db: no", 5);
  for (const int slot : {0, 1}) two.Pod(slot).ready = true;
  two.Pod(1).revision = "old";
  EXPECT_EQ(Do(two), "Nothing") << "with five it takes no quorum";
  given.Blanked(2, 0xBB);
  EXPECT_EQ(Do(given), "MarkClaim slot=2 member=00000000000000bb") << "what is lost is replaced";
  given = Given::Cluster(5);
  given.spec.replicas = 3;
  given.objects.min_available = 4;
  given.Refuse(ApplyDisruptionBudget{3}, "PodDisruptionBudget db: no", 5);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a3,00000000000000a4");
}

// Members do not begin without Services and NetworkPolicies.
TEST(Refusals, BeforeThereIsAClusterItIsWaitedFor) {
  Given given = Given::BlankNodes(3);
  given.objects.others_current = false;
  given.Refuse(ApplyObjects{}, "NetworkPolicy db-members: no", 5);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-Bootstrapping");
  EXPECT_EQ(plan.look_again, std::chrono::seconds(1));
  given.objects.others_current = true;
  given.refusals.clear();
  given.objects.template_current = false;
  given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 5);
  EXPECT_EQ(Do(given).substr(0, 10), "Initialize") << "with the pods that are there";
  given.objects.stateful_set = false;
  given.objects.stateful_set_replicas = 0;
  given.slots.clear();
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused");
}

}  // namespace
}  // namespace raftkv::op
