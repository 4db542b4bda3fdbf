// Who gives a name and an address up, and who gets them back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "operator/raftkv/plan_rules.h"
#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::ElementsAre;
using Role = NodeReport::Role;
using Type = Operation::Type;

constexpr MemberId kNew = 0xB1;
constexpr const char* kPeersOfDb1 = "db-1.db-peers.prod.svc:7071";

std::string Views(const std::vector<MemberView>& members) {
  std::string out;
  for (const MemberView& view : members) {
    out += (out.empty() ? "" : " ") + ListIds(std::vector{view.id}, "") + "=" + view.name + "@" +
           view.peer_address;
  }
  return out;
}

std::string UpdatesOf(const Plan& plan) {
  const auto* change = std::get_if<ChangeMembership>(&plan.action);
  return change == nullptr ? ToString(plan.action) : Views(change->update);
}

// Of three; the disk of slot 1 seems to be gone, and its successor is noted.
Given Blanked() {
  Given given = Given::Cluster(3);
  given.Blanked(1, kNew);
  given.Claim(1).member = kNew;
  return given;
}

// That, a step later, when the data turned out to be there.
Given DataIsBack() {
  Given given = Blanked();
  given.operation.type = Type::kReplace;
  given.operation.slot = 1;
  given.operation.step = "CatchUp";
  given.operation.old_member = Id(1);
  given.operation.new_member = kNew;
  given.Member(1, kNew);
  given.membership->learners.insert(kNew);
  given.membership->members[kNew].match = 0;
  given.membership->members[kNew].active = false;
  MemberView& former = given.membership->members[Id(1)];
  former.name = "db-1.00000000000000a1";
  former.peer_address = "00000000000000a1.former.invalid:7071";
  former.active = false;
  given.Node(1, Role::kFollower, Id(1));
  given.objects.min_available = 3;
  return given;
}

TEST(Addresses, OfSlots) {
  EXPECT_EQ(PeerAddress("ns", "store", "store-1"), "store-1.store-peers.ns.svc:7071");
  EXPECT_EQ(PodOfMember(FormerName("store-1", 0xa1)), "store-1");
}

// Seen on a real cluster: names and addresses are unique among members, and a new member of a slot
// was refused for ever because the lost one still had its pod's.
TEST(Addresses, AMemberThatLostItsDiskGivesUpItsNameAndAddress) {
  Given given = Blanked();
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action),
            "ChangeMembership add=00000000000000b1 promote= remove= update=00000000000000a1");
  EXPECT_EQ(UpdatesOf(plan),
            "00000000000000a1=db-1.00000000000000a1@00000000000000a1.former.invalid:7071");
  EXPECT_EQ(plan.events.front().note,
            "new learners: 00000000000000b1; give their names and peer addresses up: "
            "00000000000000a1");
  // A second one of that slot, while the first is still there.
  MemberView& former = given.membership->members[Id(1)];
  former.name = "db-1.00000000000000a1";
  former.peer_address = "00000000000000a1.former.invalid:7071";
  EXPECT_EQ(UpdatesOf(MakePlan(given)), "");
}

// It was done on the word of the caches, and of whoever answered at the IP of a pod in them.
TEST(Addresses, ToTakeThemNeedsALiveLook) {
  Given given = Blanked();
  EXPECT_TRUE(NeedsConfirmation(given, MakePlan(given).action));
  // So does what comes before it: the note that the claim holds the member's data is written over.
  given.Claim(1).member = Id(1);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "MarkClaim slot=1 member=00000000000000b1");
  EXPECT_TRUE(NeedsConfirmation(given, plan.action));
  given.Claim(1).member = 0;
  EXPECT_FALSE(NeedsConfirmation(given, plan.action)) << "a new claim hides nobody";
  given.Claim(1).member = 0xDEAD;
  EXPECT_FALSE(NeedsConfirmation(given, plan.action)) << "nor does one of no member";
}

// It stayed at an address that leads nowhere for ever, of three members with a tolerance of none,
// and nothing was said to be left to do.
TEST(Addresses, AMemberWhoseDataIsBackGetsThemBackAndItsSuccessorGoes) {
  Given given = DataIsBack();
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "MarkClaim slot=1 member=00000000000000a1")
      << "first of all the claim holds its data again";
  EXPECT_TRUE(NeedsConfirmation(given, plan.action));
  given.Claim(1).member = Id(1);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action),
            "ChangeMembership add= promote= remove=00000000000000b1 update=00000000000000a1");
  EXPECT_EQ(UpdatesOf(plan), std::string("00000000000000a1=db-1@") + kPeersOfDb1);
  EXPECT_TRUE(NeedsConfirmation(given, plan.action));
  const auto& change = std::get<ChangeMembership>(plan.action);
  EXPECT_EQ(change.expected_config_index, 5U);
  EXPECT_EQ(change.epoch, 7U);
  EXPECT_EQ(plan.status.operation.type, Type::kReplace);
  EXPECT_EQ(plan.status.operation.step, "GiveAddressBack");
  EXPECT_EQ(plan.status.operation.slot, 1);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "+Replace");
  EXPECT_THAT(EventReasons(plan), ::testing::Contains("MembershipChanged"));
  EXPECT_EQ(plan.events.front().note,
            "removed: 00000000000000b1; get their names and peer addresses back: "
            "00000000000000a1");

  given.Wrote(plan);
  given.Remove(kNew);
  given.objects.min_available = 2;
  given.membership->members[Id(1)].name = "db-1";
  given.membership->members[Id(1)].peer_address = kPeersOfDb1;
  given.membership->members[Id(1)].active = true;
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-Reconciled");
  EXPECT_EQ(ReasonOf(plan, "Available"), "+QuorumHealthy");
}

// docs/operations.md tells how.
TEST(Addresses, OneThatPeopleChangedIsGivenBack) {
  Given given = Given::Cluster(3);
  given.membership->members[Id(2)].peer_address = "elsewhere:7071";
  given.membership->members[Id(2)].active = false;
  Plan plan = MakePlan(given);
  EXPECT_EQ(UpdatesOf(plan), "00000000000000a2=db-2@db-2.db-peers.prod.svc:7071");
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "+Replace");
  given.membership->members[Id(2)] = {.id = Id(2), .name = "two", .match = 100, .active = true};
  given.membership->members[Id(2)].peer_address = "db-2.db-peers.prod.svc:7071";
  EXPECT_EQ(UpdatesOf(MakePlan(given)), "00000000000000a2=db-2@db-2.db-peers.prod.svc:7071");
}

TEST(Addresses, OfMembersThatDoNotAnswerAreLeftAlone) {
  Given given = Given::Cluster(3);
  given.Silent(2, 5);
  given.membership->members[Id(2)].peer_address = "elsewhere:7071";
  EXPECT_EQ(Do(given), "Nothing");
}

// Names are unique: two that were exchanged are put right by one change, and who does not answer
// makes room.
TEST(Addresses, AreGivenBackToSeveralInOneChange) {
  Given given = Given::Cluster(3);
  auto& members = given.membership->members;
  std::swap(members[Id(0)].peer_address, members[Id(1)].peer_address);
  EXPECT_EQ(UpdatesOf(MakePlan(given)),
            "00000000000000a0=db-0@db-0.db-peers.prod.svc:7071 "
            "00000000000000a1=db-1@db-1.db-peers.prod.svc:7071");
  std::swap(members[Id(0)].peer_address, members[Id(1)].peer_address);
  std::swap(members[Id(1)].peer_address, members[Id(2)].peer_address);
  given.Silent(2, 5);
  EXPECT_EQ(UpdatesOf(MakePlan(given)),
            "00000000000000a1=db-1@db-1.db-peers.prod.svc:7071 "
            "00000000000000a2=db-2.00000000000000a2@00000000000000a2.former.invalid:7071");
}

// Its step says how far it is.
TEST(Addresses, AnotherOperationThatRunsGoesOn) {
  Given given = Given::Cluster(3);
  given.membership->members[Id(1)].peer_address = "elsewhere:7071";
  given.operation.type = Type::kScale;
  given.operation.step = "RemovePods";
  given.operation.target = 3;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(UpdatesOf(plan), std::string("00000000000000a1=db-1@") + kPeersOfDb1);
  EXPECT_EQ(plan.status.operation.type, Type::kScale);
  EXPECT_EQ(plan.status.operation.step, "RemovePods");
}

TEST(Addresses, AreGivenBackWhereNobodyIsReplaced) {
  Given given = DataIsBack();
  given.Claim(1).member = Id(1);
  given.spec.replacement_enabled = false;
  EXPECT_EQ(UpdatesOf(MakePlan(given)), std::string("00000000000000a1=db-1@") + kPeersOfDb1);
}

}  // namespace
}  // namespace raftkv::op
