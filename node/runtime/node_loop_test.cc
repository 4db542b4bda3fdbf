// What leads to what in a node: a loop whose threads turn when the test says so.

#include "node/runtime/node_loop.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "node/kv/test_support.h"
#include "node/runtime/recovery.h"
#include "node/runtime/test_cluster.h"
#include "node/storage/snapshot_files.h"
#include "node/storage/test_util.h"

namespace raftkv::runtime {
namespace {

using Worker = NodeLoop::Worker;

class NoNetwork final : public transport::Transport {
 public:
  using CallDone = std::function<void(Result<v1::PeerReply>)>;
  Status Start() override { return Status::Ok(); }
  uint16_t port() const override { return 1; }
  void Stop() override {}
  void SetIdentity(const transport::LocalIdentity&) override {}
  void SetPeers(const std::map<raft::NodeId, std::string>&) override {}
  void Poke(raft::NodeId) override {}
  void Send(std::vector<raft::Message>) override {}
  void Call(raft::NodeId, v1::PeerCall, CallDone) override {}
  void Forward(raft::NodeId, v1::PeerCall, std::function<void(v1::PeerReply)>) override {}
  void CallAddress(const std::string&, v1::PeerCall, CallDone) override {}
  void SendSnapshot(raft::Message, std::string) override {}
  std::map<raft::NodeId, transport::PeerStats> stats() const override { return {}; }
};

class NodeLoopTest : public testing::Test, private NodeLoop::Threads {
 protected:
  NodeLoopTest() {
    options_.name = "n1";
    options_.data_dir = temp_ / "n1";
    options_.peer_advertise = "n1:1";
    options_.max_inflight_requests = 3;
    options_.min_free_bytes = 0;
    options_.reserve_bytes = 0;
    storage_ = std::move(*OpenStorage(options_, {}));
    NodeLoop::Env env;
    env.options = &options_;
    env.clock = &clock_;
    env.random = &random_;
    env.files = &storage::SystemFiles();
    env.storage = storage_.parts();
    env.space = &space_;
    env.logger = &logger_;
    env.threads = this;
    env.fatal = [](const Status& status) { FAIL() << status.ToString(); };
    env.append.fatal = env.apply.fatal = env.fatal;
    env.append.done = [this](size_t jobs, std::vector<raft::Message> responses) {
      raft_.emplace_back([this, jobs, responses] { loop_->OnAppended(jobs, responses); });
    };
    env.apply.done = [this](ApplyDone done) { loop_->replica().TellApplied(std::move(done)); };
    env.first_request_id = 1;
    env.describe = storage::DescribeCheckpoint;
    env.remove_dir = [](const std::string& dir) { (void)storage::RemoveTree(dir); };
    loop_.emplace(std::move(env));
    loop_->Start(&network_);
    Turn();
  }

  // The only member of a cluster, and its leader.
  void Found() {
    loop_->Run([&] {
      loop_->replica().Initialize({}, [](const Result<v1::InitializeResponse>& response) {
        ASSERT_TRUE(response) << response.error().ToString();
      });
    });
    Settle();
    ASSERT_TRUE(loop_->replica().is_leader());
  }

  // The raft thread does what was posted to it.
  void Turn() {
    while (!raft_.empty()) {
      const auto work = std::move(raft_.front());
      raft_.pop_front();
      work();
    }
  }
  // ... and so do all others.
  void Settle() {
    Turn();
    while (!woken_.empty()) {
      const Worker worker = *woken_.begin();
      woken_.erase(woken_.begin());
      loop_->Work(worker);
      Turn();
    }
  }

  using Written = std::optional<Result<kv::CommandResult>>;
  void Write(Written* written) {
    loop_->Write(kv::Put("k", "v"), Deadline(),
                 [written](Result<kv::CommandResult> result) { *written = std::move(result); });
  }
  void Read(Consistency consistency, std::optional<Status>* read) {
    loop_->Read(consistency, Deadline(), [read](Status status) { *read = std::move(status); });
  }
  MonotonicTime Deadline() const { return clock_.Now() + std::chrono::seconds(5); }

  storage::TempDir temp_;
  Options options_;
  ManualClock clock_;
  SeededRandom random_{1};
  SilentLogger logger_;
  NoNetwork network_;
  uint64_t free_ = uint64_t{1} << 40;
  SpaceGuard space_{temp_.path(), {}, &clock_, [this] { return std::optional(free_); }};
  OpenedStorage storage_;
  std::optional<NodeLoop> loop_;
  std::deque<std::function<void()>> raft_;
  std::set<Worker> woken_;
  std::vector<Worker> finished_;
  size_t readies_ = 0;
  size_t drains_ = 0;

 private:
  void PostReady() override {
    ++readies_;
    raft_.emplace_back([this] { loop_->ProcessReady(); });
  }
  void PostRequests() override {
    ++drains_;
    raft_.emplace_back([this] { loop_->DrainRequests(); });
  }
  void Post(std::function<void()> work) override {
    raft_.emplace_back([this, work = std::move(work)] { loop_->Run(work); });
  }
  // As if nothing else happened until then.
  void PostAfter(Duration delay, std::function<void()> work) override {
    Post([this, delay, work = std::move(work)] {
      clock_.Advance(delay);
      work();
    });
  }
  void Wake(Worker worker) override { woken_.insert(worker); }
  void Finish(Worker worker) override {
    finished_.push_back(worker);
    if (woken_.erase(worker) > 0) loop_->Work(worker);
  }
  void PostToJanitor(std::function<void()> job) override { job(); }
};

TEST_F(NodeLoopTest, WhatIsRunnableAtOnceIsOneReady) {
  readies_ = 0;
  for (int i = 0; i < 3; ++i) loop_->Run([] {});
  EXPECT_EQ(readies_, 1u);
  Turn();
  loop_->Run([] {});
  EXPECT_EQ(readies_, 2u);
}

TEST_F(NodeLoopTest, RequestsThatComeTogetherAreDrainedTogether) {
  Found();
  drains_ = 0;
  Written first;
  Written second;
  std::optional<Status> read;
  Write(&first);
  Write(&second);
  Read(Consistency::kLinearizable, &read);
  EXPECT_EQ(drains_, 1u);
  Settle();
  ASSERT_TRUE(first && second && read);
  EXPECT_TRUE(first->has_value() && second->has_value() && read->ok());
}

TEST_F(NodeLoopTest, ReadsThatWaitForTheRaftThreadAreBounded) {
  Found();
  std::optional<Status> reads[4];
  for (std::optional<Status>& read : reads) Read(Consistency::kLinearizable, &read);
  ASSERT_TRUE(reads[3]);
  EXPECT_EQ(reads[3]->code(), Code::kResourceExhausted);
  Settle();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(reads[i] && reads[i]->ok()) << i;
}

TEST_F(NodeLoopTest, AMemberAnswersStaleReadsWithoutItsRaftThread) {
  std::optional<Status> read;
  Read(Consistency::kStale, &read);
  EXPECT_FALSE(read) << "only the raft thread of a blank node knows why it serves nobody";
  Turn();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->code(), Code::kNotServing);
  Found();
  read.reset();
  Read(Consistency::kStale, &read);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->ok());
}

TEST_F(NodeLoopTest, TheLookAtTheDiskNotesMembersAndWhatACrashWouldLeave) {
  loop_->LookAtDisk();
  EXPECT_FALSE(storage::Exists(options_.data_dir + "/members"));
  Found();
  loop_->LookAtDisk();
  EXPECT_TRUE(storage::Exists(options_.data_dir + "/members"));
  EXPECT_GT(loop_->last_disk_sample().flushed, raft::Index());
  EXPECT_EQ(loop_->until_next_look(), std::chrono::seconds(1));
}

// In this order: the state is flushed when it has applied what the log has got.
TEST_F(NodeLoopTest, TheRaftThreadAppliesAFewCommandsItself) {
  Found();
  Written written;
  Write(&written);
  Turn();
  woken_.erase(Worker::kAppend);
  loop_->Work(Worker::kAppend);
  Turn();
  ASSERT_TRUE(written);
  EXPECT_TRUE(written->has_value());
  EXPECT_FALSE(woken_.contains(Worker::kApply));
  EXPECT_EQ(storage_.machine->Get("k").value()->value, "v");
  EXPECT_EQ(loop_->applied().puts, 1u);
}

// What a batch finds in memory would otherwise be from before a job that waits.
TEST_F(NodeLoopTest, WhileTheApplyThreadHasWorkItAppliesInOrder) {
  Found();
  Written first;
  Written second;
  loop_->Write(kv::DeleteRange("k", "l"), Deadline(),
               [&](Result<kv::CommandResult> result) { first = std::move(result); });
  Turn();
  loop_->Work(Worker::kAppend);
  Turn();
  ASSERT_TRUE(woken_.contains(Worker::kApply)) << "a range has to be looked for on the disk";
  Write(&second);
  Turn();
  loop_->Work(Worker::kAppend);
  Turn();
  EXPECT_FALSE(first || second);
  loop_->Work(Worker::kApply);
  ASSERT_TRUE(first && second);
  EXPECT_LT((*first)->revision, (*second)->revision);
  EXPECT_EQ(storage_.machine->Get("k").value()->value, "v");
}

TEST_F(NodeLoopTest, NearTheLimitOfTheDiskTheApplyThreadWaitsForRoom) {
  Found();
  free_ = 40'000'000;
  loop_->LookAtDisk();
  Written written;
  loop_->Write(kv::Delete("k"), Deadline(),
               [&](Result<kv::CommandResult> result) { written = std::move(result); });
  Turn();
  loop_->Work(Worker::kAppend);
  Turn();
  EXPECT_FALSE(written);
  EXPECT_TRUE(woken_.contains(Worker::kApply));
}

TEST_F(NodeLoopTest, AtTheEndWhatTheWorkersHaveIsFinishedAndEverybodyAnswered) {
  Found();
  Written written;
  Written late;
  Written refused;
  std::optional<Status> read;
  Write(&written);
  Turn();
  ASSERT_TRUE(woken_.contains(Worker::kAppend));
  Write(&late);
  Read(Consistency::kLinearizable, &read);
  loop_->RefuseRequests();
  Write(&refused);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error().code(), Code::kUnavailable) << "it has not been proposed";

  const raft::Index last = storage_.log->last_index();
  loop_->FinishWork(Deadline());
  EXPECT_EQ(finished_, (std::vector{Worker::kAppend, Worker::kApply, Worker::kRead}));
  EXPECT_GT(storage_.log->last_index(), last);
  EXPECT_EQ(storage_.machine->FlushedIndex().value(), storage_.machine->applied().index);
  EXPECT_FALSE(written || late || read);

  loop_->AnswerAll();
  ASSERT_TRUE(written && late && read);
  EXPECT_EQ(written->error().code(), Code::kUnknownOutcome);
  EXPECT_EQ(late->error().code(), Code::kUnknownOutcome);
  EXPECT_EQ(read->code(), Code::kUnavailable);
}

TEST_F(NodeLoopTest, WithoutTimeTheStateIsNotFlushedAtTheEnd) {
  Found();
  Written written;
  Write(&written);
  Settle();
  ASSERT_TRUE(written);
  loop_->FinishWork(clock_.Now());
  EXPECT_LT(storage_.machine->FlushedIndex().value(), storage_.machine->applied().index);
}

}  // namespace
}  // namespace raftkv::runtime
