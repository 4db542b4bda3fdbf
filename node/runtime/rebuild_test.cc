// Members whose data are damaged, and how they are replaced.
#include "node/runtime/rebuild.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "node/runtime/test_cluster.h"
#include "node/storage/fs_util.h"

namespace raftkv::runtime {
namespace {

namespace fs = std::filesystem;

const Status kDamage(Code::kCorruption, "a test says so");

void Damage(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(stream.is_open()) << file;
  stream << std::string(16, 'x');
}

// Three members of a static list with a value each of them has.
class RebuildTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.StartStatic(3);
    auto put = cluster_.Leader()->Put("k", "v");
    ASSERT_TRUE(cluster_.Run(50, [&] { return put->has_value(); }));
    cluster_.Run(10);
    // What a Node does beside its replica.
    for (const char* name : {"n1", "n2", "n3"}) {
      TestNode& node = cluster_.node(name);
      v1::MemberNote note;
      note.set_cluster_id(node.machine().cluster()->cluster_id());
      note.set_member_id(node.id().value);
      *note.mutable_members() = node.machine().cluster()->members();
      ASSERT_TRUE(SaveMemberNote(node.options().data_dir, note).ok());
    }
  }

  TestNode& Follower() {
    return cluster_.node(cluster_.Leader()->options().name == "n1" ? "n2" : "n1");
  }
  static fs::path Dir(const TestNode& node) { return node.options().data_dir; }

  void SetAsideAndBoot(TestNode& node) {
    const v1::MemberNote note = ReadDamagedMember(node.options());
    ASSERT_FALSE(WhomToAsk(node.options(), note).empty());
    ASSERT_TRUE(SetAside(node.options(), note).ok());
    node.Boot();
  }

  bool IsVoter(const TestNode& asked, raft::NodeId id) {
    const auto conf = const_cast<TestNode&>(asked).machine().cluster()->conf();
    return std::ranges::find(conf.voters(), id.value) != conf.voters().end();
  }
  bool IsReplaced(TestNode& node, raft::NodeId old) {
    const auto cluster =
        cluster_.Leader() == nullptr ? nullptr : cluster_.Leader()->machine().cluster();
    return cluster != nullptr && IsVoter(*cluster_.Leader(), node.id()) &&
           std::ranges::find(cluster->removed_ids(), old.value) != cluster->removed_ids().end();
  }

  TestCluster cluster_;
};

TEST_F(RebuildTest, DamagedMemberIsReplacedByANewOneAtItsPlace) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  node.Crash();
  Damage(Dir(node) / "identity");
  EXPECT_EQ(node.TryBoot().code(), Code::kCorruption);
  SetAsideAndBoot(node);
  EXPECT_NE(node.id(), old);
  EXPECT_TRUE(node.replica().blank());
  EXPECT_TRUE(fs::exists(Dir(node) /
                         ("damaged-" +
                          [&] {
                            char text[17];
                            std::snprintf(text, sizeof text, "%016lx", old.value);
                            return std::string(text);
                          }()) /
                         "log"));
  ASSERT_TRUE(cluster_.Run(200, [&] { return IsReplaced(node, old); }));
  EXPECT_TRUE(cluster_.Run(50, [&] { return ValueAt(node, "k") == "v"; }));
  EXPECT_EQ(cluster_.Leader()->machine().cluster()->conf().voters_size(), 3);
  EXPECT_FALSE(fs::exists(Dir(node) / "rebuild"));
  // And from then on it is a member like any other.
  const raft::NodeId id = node.id();
  node.Crash();
  node.Boot();
  EXPECT_EQ(node.id(), id);
}

// The leader alone replaces, and somebody whose list of members was damaged too may know just one
// that follows: it asked that one for ever.
TEST_F(RebuildTest, WhoKnowsNobodyButAFollowerFindsTheLeader) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  std::string other;
  for (const char* name : {"n1", "n2", "n3"}) {
    TestNode& third = cluster_.node(name);
    if (&third != &node && &third != cluster_.Leader()) other = third.options().peer_advertise;
  }
  node.Crash();
  Damage(Dir(node) / "identity");
  v1::MemberNote note = ReadDamagedMember(node.options());
  note.clear_members();
  ASSERT_TRUE(SaveMemberNote(node.options().data_dir, note).ok());
  node.options().bootstrap = {.mode = Bootstrap::Mode::kJoin, .addresses = {other}};
  EXPECT_EQ(node.TryBoot().code(), Code::kCorruption);
  SetAsideAndBoot(node);
  EXPECT_TRUE(cluster_.Run(300, [&] { return IsReplaced(node, old); }));
}

// A member that is alive is not removed because somebody has a copy of its files.
TEST_F(RebuildTest, LeaderRefusesToReplaceAMemberThatIsAlive) {
  TestNode& node = Follower();
  cluster_.Add("copy", {Bootstrap::Mode::kJoin, {"n1:1", "n2:1", "n3:1"}}, [&](Options& options) {
    v1::MemberNote note;
    note.set_member_id(node.id().value);
    note.set_cluster_id(node.machine().cluster()->cluster_id());
    *note.mutable_members() = node.machine().cluster()->members();
    options.peer_advertise = "copy:1";
    fs::create_directories(options.data_dir);
    ASSERT_TRUE(SetAside(options, note).ok());
  });
  cluster_.Run(100);
  EXPECT_TRUE(cluster_.node("copy").replica().blank());
  EXPECT_TRUE(IsVoter(*cluster_.Leader(), node.id()));
}

v1::PeerCall AskToBeReplaced(const TestNode& node) {
  v1::PeerCall call;
  call.mutable_join()->set_id(node.id().value);
  call.mutable_join()->set_name(node.options().name);
  call.mutable_join()->set_peer_address(node.options().peer_advertise);
  call.set_replaces(node.id().value);
  call.set_check_only(true);
  return call;
}

// The leader looks once in an election timeout whether it hears a majority, and right after a look
// it has heard of nobody. Each of two members that were damaged then was told that it is replaced,
// and moved its data; with them the majority was gone.
TEST_F(RebuildTest, MajorityThatIsDamagedBetweenTwoLooksOfTheLeaderIsNotGivenUp) {
  TestNode& leader = *cluster_.Leader();
  std::vector<v1::PeerCall> calls;
  for (const char* name : {"n1", "n2", "n3"}) {
    TestNode& node = cluster_.node(name);
    if (&node == &leader) continue;
    calls.push_back(AskToBeReplaced(node));
    node.Crash();
  }
  size_t answers = 0;
  size_t agreed = 0;
  for (int tick = 0; tick < 60; ++tick) {
    for (const v1::PeerCall& call : calls) {
      leader.replica().OnStrangerCall({}, call, [&](const v1::PeerReply& reply) {
        ++answers;
        agreed += reply.code() == 0 ? 1 : 0;
      });
    }
    cluster_.Run(1);
  }
  EXPECT_GT(answers, 0u);
  EXPECT_EQ(agreed, 0u);
}

TEST_F(RebuildTest, LeaderAgreesToReplaceAMemberThatIsSilentWhenAMajorityAnswers) {
  TestNode& node = Follower();
  const v1::PeerCall call = AskToBeReplaced(node);
  node.Crash();
  std::vector<uint32_t> codes;
  for (int tick = 0; tick < 30; ++tick) {
    cluster_.Leader()->replica().OnStrangerCall(
        {}, call, [&](const v1::PeerReply& reply) { codes.push_back(reply.code()); });
    cluster_.Run(1);
  }
  ASSERT_FALSE(codes.empty());
  EXPECT_EQ(codes.back(), 0u);
}

// Nobody leads, so nobody is replaced; above all no new cluster comes into being under the old
// addresses, as a list of blank nodes would make one.
TEST_F(RebuildTest, MajorityThatIsDamagedAtOnceIsNotRebuilt) {
  const uint64_t cluster_id = cluster_.node("n1").machine().cluster()->cluster_id();
  for (const bool all : {false, true}) {
    for (const char* name : {"n1", "n2", "n3"}) {
      if (name == std::string("n3") && !all) continue;
      TestNode& node = cluster_.node(name);
      if (node.running() && node.replica().blank()) continue;
      node.Crash();
      SetAsideAndBoot(node);
    }
    cluster_.Run(200);
    for (const char* name : {"n1", "n2"}) EXPECT_TRUE(cluster_.node(name).replica().blank());
    EXPECT_EQ(cluster_.Leader(), nullptr);
  }
  EXPECT_NE(cluster_id, 0u);
}

// ... nor with a disk that was wiped by hand, whose node would found one.
TEST_F(RebuildTest, WipedFirstOfTheListFoundsNoClusterWithThoseThatAreRebuilt) {
  TestNode& first = cluster_.node("n1");
  for (const char* name : {"n1", "n2", "n3"}) cluster_.node(name).Crash();
  fs::remove_all(Dir(first));
  first.Boot();
  for (const char* name : {"n2", "n3"}) SetAsideAndBoot(cluster_.node(name));
  cluster_.Run(200);
  EXPECT_TRUE(first.replica().blank());
}

TEST_F(RebuildTest, TwoOfFiveAreReplacedOneAfterTheOther) {
  TestCluster five;
  five.StartStatic(5);
  std::vector<std::pair<TestNode*, raft::NodeId>> damaged;
  for (const char* name : {"n1", "n2", "n3"}) {
    TestNode& node = five.node(name);
    if (&node == five.Leader() || damaged.size() == 2) continue;
    damaged.emplace_back(&node, node.id());
    v1::MemberNote note;
    note.set_cluster_id(node.machine().cluster()->cluster_id());
    note.set_member_id(node.id().value);
    node.Crash();
    ASSERT_TRUE(SetAside(node.options(), note).ok());
  }
  for (auto& [node, old] : damaged) node->Boot();
  EXPECT_TRUE(five.Run(400, [&] {
    if (five.Leader() == nullptr) return false;
    const auto cluster = five.Leader()->machine().cluster();
    return cluster->conf().voters_size() == 5 && cluster->removed_ids_size() == 2 &&
           cluster->conf().voters_outgoing_size() == 0;
  }));
}

// Somebody shrank the cluster on purpose: it does not grow again by itself.
TEST_F(RebuildTest, MemberThatWasRemovedMeanwhileDoesNotComeBack) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  node.Crash();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(old.value);
  auto removed = cluster_.Leader()->Change(remove);
  ASSERT_TRUE(cluster_.Run(100, [&] { return removed->has_value(); }));
  SetAsideAndBoot(node);
  cluster_.Run(200);
  EXPECT_TRUE(node.replica().blank());
  EXPECT_EQ(cluster_.Leader()->machine().cluster()->members_size(), 2);
}

// The leader's answer is lost; and the new member crashes before it knows that it is one.
TEST_F(RebuildTest, NewMemberThatCrashesWhileItIsAddedIsTheSameAfterwards) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  node.Crash();
  SetAsideAndBoot(node);
  const raft::NodeId id = node.id();
  ASSERT_TRUE(cluster_.Run(200, [&] {
    const auto cluster =
        cluster_.Leader() == nullptr ? nullptr : cluster_.Leader()->machine().cluster();
    return cluster != nullptr && cluster->removed_ids_size() == 1;
  }));
  node.Crash();
  node.Boot();
  EXPECT_EQ(node.id(), id);
  ASSERT_TRUE(cluster_.Run(200, [&] { return IsReplaced(node, old); }));
  EXPECT_TRUE(cluster_.Run(50, [&] { return ValueAt(node, "k") == "v"; }));
}

// A crash after any of the steps of SetAside: the directory never again runs as the old member.
TEST_F(RebuildTest, CrashWhileFilesAreMovedAsideIsGoneOnWith) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  node.Crash();
  const v1::MemberNote note = ReadDamagedMember(node.options());
  const fs::path whole = Dir(node).string() + ".whole";
  fs::copy(Dir(node), whole, fs::copy_options::recursive);
  ASSERT_TRUE(SetAside(node.options(), note).ok());
  const fs::path done = Dir(node).string() + ".done";
  fs::rename(Dir(node), done);
  std::string moved;
  for (const auto& entry : fs::directory_iterator(done)) {
    if (entry.path().filename().string().starts_with("damaged-")) moved = entry.path().filename();
  }
  ASSERT_NE(moved, "");
  const std::vector<std::string> files = {"log", "state", "snapshots", "members", "identity"};
  for (size_t count = 0; count <= files.size(); ++count) {
    fs::copy(whole, Dir(node), fs::copy_options::recursive);
    fs::copy(done / "rebuild", Dir(node) / "rebuild");
    fs::create_directories(Dir(node) / moved);
    for (size_t i = 0; i < count; ++i) {
      fs::rename(Dir(node) / files[i], Dir(node) / moved / files[i]);
    }
    node.Boot();
    EXPECT_NE(node.id(), old) << count;
    EXPECT_TRUE(node.replica().blank()) << count;
    EXPECT_TRUE(fs::exists(Dir(node) / moved / "log")) << count;
    node.Crash();
    fs::remove_all(Dir(node));
  }
}

TEST_F(RebuildTest, SuspectDirectoryIsReadWholeAndGoesOnIfItIsSound) {
  TestNode& node = Follower();
  const raft::NodeId old = node.id();
  node.Crash();
  MarkSuspect(node.options().data_dir, kDamage);
  node.Boot();
  EXPECT_EQ(node.id(), old);
  EXPECT_FALSE(fs::exists(Dir(node) / "suspect"));
}

TEST_F(RebuildTest, WhoeverIsToldByOthersDoesNotRebuildItself) {
  Options options = Follower().options();
  const v1::MemberNote note = ReadDamagedMember(options);
  EXPECT_EQ(WhomToAsk(options, note).size(), 2u);
  for (const auto mode : {Bootstrap::Mode::kWait, Bootstrap::Mode::kRestore}) {
    options.bootstrap.mode = mode;
    EXPECT_TRUE(WhomToAsk(options, note).empty());
  }
  options.bootstrap.mode = Bootstrap::Mode::kJoin;
  options.rebuild_damaged = false;
  EXPECT_TRUE(WhomToAsk(options, note).empty());
}

}  // namespace
}  // namespace raftkv::runtime
