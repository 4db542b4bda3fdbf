#include "node/kv/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/kv/commands.h"
#include "node/kv/test_support.h"
#include "node/raft/confchange.h"
#include "node/storage/codec.h"

namespace raftkv::kv {
namespace {

using raft::ConfChange;
using raft::ConfChangeTransition;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ConfChange Change(std::string_view steps,
                  ConfChangeTransition transition = ConfChangeTransition::kAuto) {
  return {.transition = transition, .steps = raft::ParseSteps(steps).value()};
}

v1::MembershipChange Records(const std::vector<uint64_t>& ids) {
  v1::MembershipChange request;
  for (uint64_t id : ids) *request.add_members() = MakeMember(id);
  return request;
}

std::vector<uint64_t> MemberIds(const v1::ClusterState& state) {
  std::vector<uint64_t> ids;
  for (const v1::Member& member : state.members()) ids.push_back(member.id());
  return ids;
}

std::vector<uint64_t> Removed(const v1::ClusterState& state) {
  return {state.removed_ids().begin(), state.removed_ids().end()};
}

const v1::Member& MemberOf(const v1::ClusterState& state, uint64_t id) {
  return *std::ranges::find(state.members(), id, &v1::Member::id);
}

// A machine with a cluster of members 1, 2 and 3.
class MembershipTest : public testing::Test {
 protected:
  MembershipTest() { EXPECT_TRUE(machine_->InitializeCluster(InitialState({1, 2, 3})).ok()); }

  MembershipResult Do(ConfChange change, const v1::MembershipChange& request = {}) {
    const ApplyResult result = machine_.Apply(std::move(change), request);
    EXPECT_EQ(result.accepted_change != nullptr, result.membership->status.ok());
    EXPECT_FALSE(result.command);
    return *result.membership;
  }
  // The code, and that a refused change changes nothing.
  Code Try(ConfChange change, const v1::MembershipChange& request = {}) {
    const auto before = machine_->cluster();
    const Status status = Do(std::move(change), request).status;
    if (!status.ok()) {
      EXPECT_EQ(machine_->cluster(), before);
    }
    message_ = status.message();
    return status.code();
  }
  const v1::ClusterState& cluster() {
    cluster_ = machine_->cluster();
    return *cluster_;
  }
  raft::ConfState conf() { return storage::FromProto(cluster().conf()); }

  TestMachine machine_;
  std::shared_ptr<const v1::ClusterState> cluster_;
  std::string message_;
};

TEST_F(MembershipTest, TheFirstStateHasAllMembersAsVoters) {
  EXPECT_EQ(machine_->applied().index, raft::Index(1));
  EXPECT_EQ(machine_->applied().term, raft::Term(1));
  EXPECT_EQ(machine_->applied().revision, 1u);
  EXPECT_THAT(cluster().conf().voters(), ElementsAre(1, 2, 3));
  EXPECT_EQ(cluster().config_index(), 1u);
  EXPECT_EQ(cluster().cluster_id(), 77u);
  // It is durable: no log entry could make it again.
  EXPECT_EQ(machine_->FlushedIndex(), raft::Index(1));
  machine_.Crash();
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2, 3}));
}

TEST_F(MembershipTest, InitializingAgainIsHarmless) {
  EXPECT_TRUE(machine_->InitializeCluster(InitialState({3, 2, 1})).ok());
  EXPECT_EQ(machine_->InitializeCluster(InitialState({1, 2})).code(), Code::kConflict);
  v1::ClusterState other = InitialState({1, 2, 3});
  other.set_cluster_id(78);
  EXPECT_EQ(machine_->InitializeCluster(other).code(), Code::kConflict);
  EXPECT_EQ(Try(Change("r3")), Code::kOk);
  EXPECT_TRUE(machine_->InitializeCluster(InitialState({1, 2, 3})).ok());
  EXPECT_EQ(machine_->InitializeCluster(other).code(), Code::kConflict);
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2}));
}

TEST(FirstClusterStateTest, RefusesWhatIsNoCluster) {
  const auto code = [](const v1::ClusterState& state) {
    const auto first = FirstClusterState(state, raft::Index(1));
    return first ? Code::kOk : first.error().code();
  };
  EXPECT_EQ(code(InitialState({2, 1})), Code::kOk);
  EXPECT_EQ(code(InitialState({})), Code::kInvalidArgument);
  EXPECT_EQ(code(InitialState({1, 1})), Code::kInvalidArgument);
  EXPECT_EQ(code(InitialState({0})), Code::kInvalidArgument);
  v1::ClusterState state = InitialState({1, 2});
  state.set_cluster_id(0);
  EXPECT_EQ(code(state), Code::kInvalidArgument);
  state = InitialState({1, 2});
  state.mutable_members(0)->set_name("n2");
  EXPECT_EQ(code(state), Code::kConflict);
  state = InitialState({1, 2});
  state.mutable_members(0)->clear_peer_address();
  EXPECT_EQ(code(state), Code::kInvalidArgument);
  state = InitialState({1, 2});
  state.mutable_conf()->add_voters(1);
  EXPECT_EQ(code(state), Code::kInvalidArgument);
  state.mutable_conf()->add_voters(2);
  EXPECT_EQ(code(state), Code::kOk);
}

TEST_F(MembershipTest, ALearnerIsAddedAndPromoted) {
  v1::MembershipChange request = Records({4});
  request.mutable_members(0)->set_auto_promote(true);
  request.set_origin(8);
  request.set_request_id(9);
  const ApplyResult result = machine_.Apply(Change("l4"), request);
  EXPECT_EQ(result.origin, 8u);
  EXPECT_EQ(result.request_id, 9u);
  ASSERT_TRUE(result.accepted_change);
  EXPECT_EQ(result.accepted_change->steps, Change("l4").steps);
  EXPECT_EQ(result.membership->config_index, 2u);
  EXPECT_EQ(result.membership->conf, conf());
  EXPECT_THAT(conf().learners, ElementsAre(raft::NodeId(4)));
  EXPECT_TRUE(MemberOf(cluster(), 4).auto_promote());

  EXPECT_EQ(Try(Change("v4")), Code::kOk);
  EXPECT_THAT(conf().learners, IsEmpty());
  EXPECT_FALSE(MemberOf(cluster(), 4).auto_promote());
  EXPECT_EQ(MemberOf(cluster(), 4).peer_address(), "host4:1");
  EXPECT_EQ(cluster().config_index(), 3u);
  EXPECT_THAT(Removed(cluster()), IsEmpty());
}

TEST_F(MembershipTest, ConfigIndexIsComparedAndSet) {
  v1::MembershipChange request = Records({4});
  request.set_expected_config_index(1);
  EXPECT_EQ(Try(Change("l4"), request), Code::kOk);
  request = {};
  request.set_expected_config_index(1);
  const MembershipResult stale = Do(Change("r4"), request);
  EXPECT_EQ(stale.status.code(), Code::kConflict);
  EXPECT_EQ(stale.config_index, 2u);
  EXPECT_EQ(stale.conf, conf());
  request.set_expected_config_index(2);
  EXPECT_EQ(Try(Change("r4"), request), Code::kOk);
  // The refused entry in between does not count: the index is that of the last accepted one.
  EXPECT_EQ(cluster().config_index(), 4u);
}

TEST_F(MembershipTest, OlderEpochsAreRefused) {
  v1::MembershipChange request = Records({4});
  request.set_epoch(5);
  EXPECT_EQ(Try(Change("l4"), request), Code::kOk);
  EXPECT_EQ(cluster().epoch(), 5u);
  request = {};
  request.set_epoch(4);
  EXPECT_EQ(Try(Change("v4"), request), Code::kConflict);
  request.set_epoch(5);
  EXPECT_EQ(Try(Change("v4"), request), Code::kOk);
  request.set_epoch(0);  // people have none
  EXPECT_EQ(Try(Change("r4"), request), Code::kOk);
  EXPECT_EQ(cluster().epoch(), 5u);
}

TEST_F(MembershipTest, RemovedIdsAreRefusedForEver) {
  EXPECT_EQ(Try(Change("r3")), Code::kOk);
  EXPECT_THAT(Removed(cluster()), ElementsAre(3));
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2}));
  for (const char* steps : {"v3", "l3", "v3 v4"}) {
    EXPECT_EQ(Try(Change(steps), Records({3})), Code::kFailedPrecondition);
    EXPECT_THAT(message_, HasSubstr("member 0000000000000003 was removed"));
  }
  EXPECT_EQ(Try(Change("r3")), Code::kFailedPrecondition);
}

TEST_F(MembershipTest, AReplacementIsOneJointChange) {
  // The new member takes over name and address of the one that lost its disk.
  v1::MembershipChange request = Records({4});
  request.mutable_members(0)->set_name("n3");
  request.mutable_members(0)->set_peer_address("host3:1");
  EXPECT_EQ(Try(Change("l4"), request), Code::kConflict);
  EXPECT_EQ(Try(Change("r3 v4"), request), Code::kOk);
  EXPECT_EQ(conf().voters_outgoing.size(), 3u);
  EXPECT_TRUE(conf().auto_leave);
  // Member 3 still votes, so it is still known.
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2, 3, 4}));
  EXPECT_THAT(Removed(cluster()), IsEmpty());
  EXPECT_EQ(Try(Change("l5"), Records({5})), Code::kFailedPrecondition);
  EXPECT_EQ(Try(Change("l5 l6"), Records({5, 6})), Code::kFailedPrecondition);

  EXPECT_EQ(Try(Change("")), Code::kOk);  // the leader's automatic departure
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2, 4}));
  EXPECT_THAT(Removed(cluster()), ElementsAre(3));
  EXPECT_EQ(Try(Change("")), Code::kFailedPrecondition);
}

TEST_F(MembershipTest, ExplicitJointChangesStayUntilTheyAreLeft) {
  EXPECT_EQ(Try(Change("l3", ConfChangeTransition::kJointExplicit)), Code::kOk);
  EXPECT_FALSE(conf().auto_leave);
  EXPECT_THAT(conf().learners_next, ElementsAre(raft::NodeId(3)));
  EXPECT_EQ(Try(Change("")), Code::kOk);
  EXPECT_THAT(conf().learners, ElementsAre(raft::NodeId(3)));
  EXPECT_EQ(MemberIds(cluster()), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_THAT(Removed(cluster()), IsEmpty());
}

TEST_F(MembershipTest, TheLastVoterCannotBeRemoved) {
  EXPECT_EQ(Try(Change("r3")), Code::kOk);
  EXPECT_EQ(Try(Change("r2")), Code::kOk);
  EXPECT_EQ(Try(Change("r1")), Code::kFailedPrecondition);
  EXPECT_EQ(Try(Change("l1")), Code::kFailedPrecondition);
  EXPECT_EQ(Try(Change("r1 l4"), Records({4})), Code::kFailedPrecondition);
  EXPECT_EQ(Try(Change("r1 v4"), Records({4})), Code::kOk);
}

TEST_F(MembershipTest, InvalidChangesAreRefused) {
  EXPECT_EQ(Try(Change("v4")), Code::kInvalidArgument);  // no record
  EXPECT_EQ(Try(Change("r9")), Code::kNotFound);
  EXPECT_EQ(Try(Change("u9"), Records({9})), Code::kNotFound);
  EXPECT_EQ(Try(Change("v0"), Records({0})), Code::kInvalidArgument);
  EXPECT_EQ(Try(Change("r3 v3")), Code::kInvalidArgument);  // named twice
  EXPECT_EQ(Try(Change("l4"), Records({4, 4})), Code::kInvalidArgument);
  EXPECT_EQ(Try(Change("l4"), Records({4, 5})), Code::kInvalidArgument);  // 5: no step
  EXPECT_EQ(Try(Change("r3"), Records({3})), Code::kInvalidArgument);
  v1::MembershipChange request = Records({4});
  request.mutable_members(0)->set_name("n1");
  EXPECT_EQ(Try(Change("l4"), request), Code::kConflict);
  request = Records({4});
  request.mutable_members(0)->set_peer_address("host1:1");
  EXPECT_EQ(Try(Change("l4"), request), Code::kConflict);
  request.mutable_members(0)->set_peer_address(std::string(kMaxNameBytes + 1, 'x'));
  EXPECT_EQ(Try(Change("l4"), request), Code::kInvalidArgument);
  request.mutable_members(0)->clear_peer_address();
  EXPECT_EQ(Try(Change("l4"), request), Code::kInvalidArgument);
}

// `member add` with a voter's address took its vote.
TEST_F(MembershipTest, AddingAMemberThatIsThereChangesNothing) {
  EXPECT_EQ(Try(Change("l2"), Records({2})), Code::kConflict);
  EXPECT_THAT(message_, HasSubstr("promote, demote or update"));
  EXPECT_EQ(Try(Change("v2"), Records({2})), Code::kConflict);
  EXPECT_EQ(Try(Change("l2")), Code::kOk) << "a demotion has no record";
  EXPECT_EQ(Try(Change("v2")), Code::kOk) << "nor has a promotion";
}

// The ids of a member's own threads: each leader that replicated to such a member ended.
TEST_F(MembershipTest, IdsOfThreadsAreNoMembers) {
  for (const raft::NodeId id : {raft::kAppendThread, raft::kApplyThread}) {
    v1::MembershipChange request = Records({4});
    request.mutable_members(0)->set_id(id.value);
    raft::ConfChange change;
    change.steps = {{raft::ConfChangeType::kAddLearner, id}};
    EXPECT_EQ(Try(change, request), Code::kInvalidArgument);
  }
}

// One invitation with a broken address stopped every member, for ever: its entry could not be read.
TEST_F(MembershipTest, CommandsThatNobodyCouldReadAreTold) {
  v1::Command command;
  command.set_version(kCommandVersion);
  command.mutable_invite()->set_name("n4");
  command.mutable_invite()->set_peer_address("host4:1");
  EXPECT_TRUE(CheckReadable(command.SerializeAsString()).ok());
  command.mutable_invite()->set_peer_address("\xff:1");
  EXPECT_EQ(CheckReadable(command.SerializeAsString()).code(), Code::kInvalidArgument);
  EXPECT_FALSE(Invite(cluster(), command.invite()).has_value());
  command.mutable_invite()->set_peer_address("host4:1");
  command.set_version(kCommandVersion + 1);
  EXPECT_EQ(CheckReadable(command.SerializeAsString()).code(), Code::kFailedPrecondition);
  EXPECT_EQ(CheckReadable("no command").code(), Code::kInvalidArgument);
}

TEST_F(MembershipTest, PeerAddressesCanBeDialed) {
  for (const char* address : {"garbage", "host:0", ":7071", "0.0.0.0:7071", "a b:1"}) {
    v1::MembershipChange request = Records({4});
    request.mutable_members(0)->set_peer_address(address);
    EXPECT_EQ(Try(Change("l4"), request), Code::kInvalidArgument) << address;
    v1::InviteCommand invite;
    invite.set_name("n4");
    invite.set_peer_address(address);
    EXPECT_FALSE(Invite(cluster(), invite).has_value()) << address;
  }
}

TEST_F(MembershipTest, AddressesChangeByAnUpdate) {
  v1::MembershipChange request = Records({2});
  request.mutable_members(0)->set_peer_address("elsewhere:1");
  const auto before = conf();
  EXPECT_EQ(Try(Change("u2"), request), Code::kOk);
  EXPECT_EQ(MemberOf(cluster(), 2).peer_address(), "elsewhere:1");
  EXPECT_EQ(conf(), before);
  EXPECT_EQ(cluster().config_index(), 2u);
}

TEST_F(MembershipTest, InvitationsAreKeptUntilTheGuestComes) {
  EXPECT_TRUE(machine_.Do(InviteMember("5", "host5:1")).status.ok());
  EXPECT_TRUE(machine_.Do(InviteMember("4", "old:1")).status.ok());
  EXPECT_TRUE(machine_.Do(InviteMember("4", "host4:1")).status.ok());  // replaces
  EXPECT_TRUE(machine_.Do(InviteMember("6", "host6:1")).status.ok());
  EXPECT_EQ(machine_.Do(InviteMember("n1", "x:1")).status.code(), Code::kConflict);
  EXPECT_EQ(machine_.Do(InviteMember("x", "host1:1")).status.code(), Code::kConflict);
  EXPECT_EQ(machine_.Do(InviteMember("", "x:1")).status.code(), Code::kInvalidArgument);
  EXPECT_EQ(machine_.Do(InviteMember("x", "")).status.code(), Code::kInvalidArgument);
  EXPECT_EQ(cluster().config_index(), 1u);
  EXPECT_EQ(machine_->applied().revision, 1u);
  ASSERT_EQ(cluster().invited_size(), 3);
  EXPECT_EQ(cluster().invited(0).name(), "4");
  EXPECT_EQ(cluster().invited(0).peer_address(), "host4:1");

  v1::MembershipChange request = Records({4});  // by address
  EXPECT_EQ(Try(Change("l4"), request), Code::kOk);
  request = Records({9});
  request.mutable_members(0)->set_name("6");  // by name
  EXPECT_EQ(Try(Change("l9"), request), Code::kOk);
  ASSERT_EQ(cluster().invited_size(), 1);
  EXPECT_EQ(cluster().invited(0).name(), "5");
}

TEST_F(MembershipTest, InvitationsAreLimited) {
  for (int i = 0; i < kMaxInvitations; ++i) {
    EXPECT_TRUE(machine_.Do(InviteMember("g" + std::to_string(i), "a:1")).status.ok());
  }
  EXPECT_EQ(machine_.Do(InviteMember("one more", "a:1")).status.code(), Code::kConflict);
  EXPECT_TRUE(machine_.Do(InviteMember("g0", "b:1")).status.ok());
}

TEST_F(MembershipTest, AnInvitationCanBeWithdrawn) {
  EXPECT_TRUE(machine_.Do(InviteMember("4", "host4:1")).status.ok());
  EXPECT_TRUE(machine_.Do(InviteMember("5", "host5:1")).status.ok());
  v1::Command withdraw;
  withdraw.mutable_invite()->set_name("4");
  withdraw.mutable_invite()->set_withdraw(true);
  withdraw.set_version(VersionOf(withdraw));
  EXPECT_EQ(VersionOf(withdraw), 2u) << "who does not know it must not take it for an invitation";
  EXPECT_EQ(VersionOf(InviteMember("4", "host4:1")), 1u);
  EXPECT_TRUE(machine_.Do(withdraw).status.ok());
  EXPECT_EQ(machine_.Do(withdraw).status.code(), Code::kNotFound);
  ASSERT_EQ(cluster().invited_size(), 1);
  EXPECT_EQ(cluster().invited(0).name(), "5");
}

TEST_F(MembershipTest, ChangesOfOneSliceSeeEachOther) {
  const std::vector<raft::Entry> entries = {
      CommandEntry(2, InviteMember("4", "host4:1")),
      ChangeEntry(3, Change("l4"), Records({4})),
      CommandEntry(4, Put("a", "1")),
      ChangeEntry(5, Change("v4"), {}),
      ChangeEntry(6, Change("r4"), {}),
      ChangeEntry(7, Change("l4"), Records({4})),
  };
  const auto results = machine_->Apply(entries).value();
  EXPECT_EQ(results[3].membership->conf.voters.size(), 4u);
  EXPECT_EQ(results[5].membership->status.code(), Code::kFailedPrecondition);
  EXPECT_EQ(results[5].membership->config_index, 6u);
  EXPECT_THAT(cluster().invited(), IsEmpty());
  const auto before = cluster().SerializeAsString();
  machine_.Reopen();
  EXPECT_EQ(cluster().SerializeAsString(), before);
}

// Random changes: whatever is accepted keeps the records in step with the configuration, and the
// core accepts the same changes with the same result.
TEST(MembershipModelTest, RandomChanges) {
  SeededRandom random(7);
  for (int run = 0; run < 200; ++run) {
    v1::ClusterState state = FirstClusterState(InitialState({1, 2, 3}), raft::Index(1)).value();
    std::set<uint64_t> removed;
    for (uint64_t index = 2; index < 40; ++index) {
      ConfChange change{.transition = static_cast<ConfChangeTransition>(random.Uniform(3))};
      v1::MembershipChange request;
      for (uint64_t i = random.Uniform(4); i > 0; --i) {
        const uint64_t id = 1 + random.Uniform(9);
        const auto type = static_cast<raft::ConfChangeType>(random.Uniform(4));
        change.steps.push_back({type, raft::NodeId(id)});
        if (type != raft::ConfChangeType::kRemove) *request.add_members() = MakeMember(id);
      }
      const auto next = ChangeMembership(state, change, request, raft::Index(index));
      if (!next) continue;
      const raft::ConfState conf = storage::FromProto(next->conf());
      EXPECT_TRUE(raft::Restore(raft::Tracker(1, 0), raft::Index(), conf));
      EXPECT_FALSE(conf.voters.empty());
      std::set<uint64_t> ids;
      for (const auto* list :
           {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
        for (raft::NodeId id : *list) ids.insert(id.value);
      }
      EXPECT_THAT(MemberIds(*next), testing::ElementsAreArray(ids));
      for (uint64_t id : MemberIds(state)) {
        if (!ids.contains(id)) removed.insert(id);
      }
      EXPECT_THAT(Removed(*next), testing::ElementsAreArray(removed));
      for (uint64_t id : ids) EXPECT_FALSE(removed.contains(id));
      state = *next;
    }
  }
}

}  // namespace
}  // namespace raftkv::kv
