// A whole cluster of Replicas in one thread, for tests: real storage in a temporary directory, a
// network and a clock of the test's own. Nothing moves unless the test says so.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "node/raft/logger.h"
#include "node/runtime/recovery.h"
#include "node/runtime/replica.h"
#include "node/storage/snapshot_files.h"
#include "node/storage/test_util.h"

namespace raftkv::runtime {

class ManualClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now_; }
  void Advance(Duration duration) { now_ += duration; }

 private:
  MonotonicTime now_{std::chrono::hours(1)};
};

class SilentLogger final : public raft::Logger {
 public:
  bool Enabled(raft::LogLevel) const override { return false; }
  void Log(raft::LogLevel, std::string_view) override {}
};

class TestCluster;

// One member: everything that Node has, without its threads.
class TestNode final : public transport::Transport, public StoragePorts {
 public:
  TestNode(TestCluster* cluster, Options options);
  ~TestNode() override;

  // Opens the data directory and starts; TryBoot tells why it cannot.
  void Boot();
  Status TryBoot();
  // As by SIGKILL: what was written to files stays, nothing more is written.
  void Crash();
  bool running() const { return replica_ != nullptr; }

  Replica& replica() { return *replica_; }
  kv::StateMachine& machine() { return *storage_.machine; }
  const Options& options() const { return options_; }
  Options& options() { return options_; }  // for the next start
  raft::NodeId id() const { return id_; }
  bool removed() const { return removed_; }
  // The disk does not answer: appends stay queued until it does again.
  void StallDisk(bool stalled) { disk_stalled_ = stalled; }
  // Committed entries stay unapplied until it is over.
  void StallApply(bool stalled) { apply_stalled_ = stalled; }
  // What the log has in memory no more cannot be read until it is over.
  void StallReads(bool stalled) { reads_stalled_ = stalled; }
  bool reads_log() const { return read_->HasWork(); }
  // What others answer to its calls gets lost, as when the stream breaks.
  void LoseReplies(bool lost) { replies_lost_ = lost; }
  // The disk has no room for commands that make the store grow.
  void FillDisk(bool full) { disk_full_ = full; }
  // The disk lacks space; writes wait for it already.
  void ShortenSpace(bool is_short, bool waits) {
    space_short_ = is_short;
    waits_for_space_ = waits;
  }
  const storage::LogStorage& log() const { return *storage_.log; }

  // Proposes a put as a client of this node would; the answer lands in the returned slot.
  std::shared_ptr<std::optional<Result<kv::CommandResult>>> Put(
      const std::string& key, const std::string& value, Duration timeout = std::chrono::seconds(5));
  std::shared_ptr<std::optional<Status>> Barrier(Consistency consistency,
                                                 Duration timeout = std::chrono::seconds(5));
  std::shared_ptr<std::optional<Result<v1::ChangeMembershipResponse>>> Change(
      v1::ChangeMembershipRequest request, Duration timeout = std::chrono::seconds(30));

  // Does what is runnable here; false if there was nothing.
  bool Work();
  // When something that was put off is due.
  std::optional<MonotonicTime> next_due() const;
  void PostDue();
  // Parts of it.
  void RunPosted();
  void WorkAppend() { append_->RunOnce(); }
  void WorkApply() { apply_->RunOnce(); }
  // Called right before and right after the identity is replaced.
  void OnSetIdentity(std::function<void(bool after)> hook) { on_set_identity_ = std::move(hook); }
  // A snapshot waits to be put in the place of the state.
  bool installation_queued() const { return installation_queued_; }
  void Tick();

  // transport::Transport
  Status Start() override { return Status::Ok(); }
  uint16_t port() const override { return 1; }
  void Stop() override {}
  void SetIdentity(const transport::LocalIdentity& identity) override { identity_ = identity; }
  void SetPeers(const std::map<raft::NodeId, std::string>& peers) override { peers_ = peers; }
  void Poke(raft::NodeId) override {}
  void Send(std::vector<raft::Message> messages) override;
  void Call(raft::NodeId to, v1::PeerCall call,
            std::function<void(Result<v1::PeerReply>)> done) override;
  void Forward(raft::NodeId to, v1::PeerCall call,
               std::function<void(v1::PeerReply)> refused) override;
  void CallAddress(const std::string& address, v1::PeerCall call,
                   std::function<void(Result<v1::PeerReply>)> done) override;
  void SendSnapshot(raft::Message message, std::string dir) override;
  std::map<raft::NodeId, transport::PeerStats> stats() const override { return {}; }

  // StoragePorts
  void SubmitAppend(AppendJob job) override { append_->Submit(std::move(job)); }
  void SubmitTruncate(raft::Index index) override { append_->SubmitTruncate(index); }
  void SubmitApply(ApplyJob job) override {
    installation_queued_ = installation_queued_ || std::holds_alternative<ReplaceState>(job);
    apply_->Submit(std::move(job));
  }
  void SubmitRead(raft::Index low, uint64_t max_bytes) override { read_->Submit(low, max_bytes); }
  void SubmitDescribe(std::string dir, raft::Snapshot snapshot) override;
  void RemoveDir(std::string dir) override { std::filesystem::remove_all(dir); }

 private:
  friend class TestCluster;

  void CheckInvariants() const;

  TestCluster* const cluster_;
  Options options_;
  raft::NodeId id_;
  OpenedStorage storage_;
  std::unique_ptr<storage::DataDir> watched_dir_;
  std::function<void(bool after)> on_set_identity_;
  std::unique_ptr<WaiterTable> waiters_;
  std::unique_ptr<AppendWorker> append_;
  std::unique_ptr<ApplyWorker> apply_;
  std::unique_ptr<ReadWorker> read_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<SeededRandom> random_;
  SilentLogger logger_;
  std::deque<std::function<void()>> posted_;
  std::multimap<MonotonicTime, std::function<void()>> delayed_;
  transport::LocalIdentity identity_;
  std::map<raft::NodeId, std::string> peers_;
  bool woken_ = false;
  bool removed_ = false;
  bool disk_stalled_ = false;
  bool apply_stalled_ = false;
  bool reads_stalled_ = false;
  bool disk_full_ = false;
  bool space_short_ = false;
  bool waits_for_space_ = false;
  bool replies_lost_ = false;
  bool installation_queued_ = false;
};

class TestCluster {
 public:
  explicit TestCluster(uint64_t seed = 1);
  ~TestCluster();

  // A node with a data directory of its own; blank unless `bootstrap` says more. `edit` changes its
  // options before it starts.
  TestNode& Add(const std::string& name, Bootstrap bootstrap = {},
                const std::function<void(Options&)>& edit = {});
  // Nodes "n1".."nN" of a static list, run until they have a leader.
  void StartStatic(int count, const std::function<void(Options&)>& edit = {});

  TestNode& node(const std::string& name) { return *nodes_.at(name); }
  TestNode* ById(raft::NodeId id);
  TestNode* Leader();
  TestNode& Follower();  // some other one that runs
  // Of n1, n2 and n3.
  TestNode& ThirdOf(const TestNode& one, const TestNode& another);

  // Messages between the two are lost until healed.
  void Cut(const std::string& a, const std::string& b);
  void Isolate(const std::string& name);
  void Heal() { cuts_.clear(); }

  // Messages for which `hold` says so stay under way until they are released, before all others.
  void Hold(std::function<bool(const raft::Message&)> hold) { hold_ = std::move(hold); }
  void Release();

  // Delivers the oldest message or call; false if none is under way.
  bool DeliverOne();
  // Delivers and works until nothing moves.
  void Settle();
  bool AdvanceToNextDue();
  // Time passes, one tick after the other, each settled; stops early when `until` holds.
  bool Run(int ticks, const std::function<bool()>& until = [] { return false; });

  ManualClock& clock() { return clock_; }
  SeededRandom& random() { return random_; }
  const std::string& dir() const { return dir_; }

 private:
  friend class TestNode;

  bool Reaches(const TestNode& from, const TestNode& to) const;
  TestNode* ByAddress(const std::string& address);
  v1::HelloReply Judge(const TestNode& from, const TestNode& to) const;
  void DeliverMessages(TestNode& from, std::vector<raft::Message> messages);

  std::string dir_;
  ManualClock clock_;
  SeededRandom random_;
  std::map<std::string, std::unique_ptr<TestNode>> nodes_;
  std::set<std::pair<std::string, std::string>> cuts_;
  std::deque<std::function<void()>> network_;
  std::function<bool(const raft::Message&)> hold_;
  std::deque<std::function<void()>> held_;
};

// What the node has applied for `key`; "<none>" if it does not exist.
std::string ValueAt(TestNode& node, const std::string& key);

}  // namespace raftkv::runtime
