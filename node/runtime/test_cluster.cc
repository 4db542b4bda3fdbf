#include "node/runtime/test_cluster.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "node/runtime/rebuild.h"

namespace raftkv::runtime {
namespace {

void TestFatal(const Status& status) {
  std::fprintf(stderr, "fatal: %s\n", status.ToString().c_str());
  std::abort();
}

class WatchedDataDir final : public storage::DataDir {
 public:
  using Hook = std::function<void(bool after)>;
  WatchedDataDir(storage::DataDir* real, const Hook* hook) : real_(real), hook_(hook) {}

  const std::string& path() const override { return real_->path(); }
  std::string log_path() const override { return real_->log_path(); }
  std::string state_path() const override { return real_->state_path(); }
  std::string snapshots_path() const override { return real_->snapshots_path(); }
  const v1::Identity& identity() const override { return real_->identity(); }
  Status SetIdentity(const v1::Identity& identity) override {
    if (*hook_) (*hook_)(false);
    Status status = real_->SetIdentity(identity);
    if (*hook_) (*hook_)(true);
    return status;
  }

 private:
  storage::DataDir* const real_;
  const Hook* const hook_;
};

}  // namespace

// --- TestNode
// --------------------------------------------------------------------------------------------

TestNode::TestNode(TestCluster* cluster, Options options)
    : cluster_(cluster), options_(std::move(options)) {}
TestNode::~TestNode() = default;

void TestNode::Boot() {
  const Status status = TryBoot();
  if (!status.ok()) TestFatal(status);
}

Status TestNode::TryBoot() {
  CHECK(replica_ == nullptr);
  storage::LogOptions log_options;
  log_options.cache_bytes = options_.log_cache_bytes;
  log_options.on_fatal = TestFatal;
  Result<OpenedStorage> opened = OpenDirectory(&options_, log_options);
  if (!opened) return opened.error();
  storage_ = std::move(*opened);
  watched_dir_ = std::make_unique<WatchedDataDir>(storage_.dir.get(), &on_set_identity_);
  std::filesystem::create_directories(storage_.dir->snapshots_path() + "/checkpoints");
  std::filesystem::create_directories(storage_.dir->snapshots_path() + "/incoming");
  id_ = raft::NodeId(storage_.dir->identity().member_id());
  random_ = std::make_unique<SeededRandom>(cluster_->random_.Next());
  waiters_ =
      std::make_unique<WaiterTable>(options_.max_inflight_requests, options_.max_inflight_bytes);
  append_ = std::make_unique<AppendWorker>(
      storage_.log.get(),
      AppendWorker::Sink{.done =
                             [this](size_t jobs, std::vector<raft::Message> responses) {
                               replica_->OnAppendDone(jobs, std::move(responses));
                               woken_ = true;
                             },
                         .fatal = TestFatal,
                         .on_batch = {}});
  apply_ = std::make_unique<ApplyWorker>(
      id_.value, storage_.store.get(), storage_.machine.get(), waiters_.get(), &cluster_->clock_,
      ApplyWorker::Sink{.done =
                            [this](ApplyDone done) {
                              replica_->TellApplied(std::move(done));
                              woken_ = true;
                            },
                        .fatal = TestFatal,
                        .on_batch = {}});
  read_ = std::make_unique<ReadWorker>(
      storage_.log.get(),
      [this](raft::Index low, raft::LogResult<std::vector<raft::Entry>> entries) {
        replica_->OnLogRead(low, std::move(entries));
        woken_ = true;
      });
  Replica::Env env;
  env.options = &options_;
  env.clock = &cluster_->clock_;
  env.random = random_.get();
  env.storage = storage_.parts();
  env.storage.dir = watched_dir_.get();
  env.ports = this;
  env.waiters = waiters_.get();
  env.logger = &logger_;
  env.on_removed = [this] { removed_ = true; };
  env.finish_rebuild = [this] { return FinishRebuild(options_.data_dir); };
  env.fatal = TestFatal;
  env.next_request_id = [this] { return random_->Next(); };
  env.post = [this](std::function<void()> work) { posted_.push_back(std::move(work)); };
  env.post_after = [this](Duration delay, std::function<void()> work) {
    delayed_.emplace(cluster_->clock_.Now() + delay, std::move(work));
  };
  env.wake = [this] { woken_ = true; };
  env.accepts_growth = [this](uint64_t) { return !disk_full_; };
  env.flushed_index = [this] { return storage_.machine->FlushedIndex().value_or(raft::Index()); };
  env.space_is_short = [this] { return space_short_; };
  env.waits_for_space = [this] { return waits_for_space_; };
  replica_ = std::make_unique<Replica>(std::move(env));
  replica_->Start(this);
  woken_ = true;
  return Status::Ok();
}

void TestNode::Crash() {
  // Closing the databases flushes them: the crash keeps a copy from before.
  const std::string copy = options_.data_dir + ".crashed";
  storage::CopyAtRest(options_.data_dir, copy);
  replica_.reset();
  append_.reset();
  apply_.reset();
  read_.reset();
  waiters_.reset();
  posted_.clear();
  delayed_.clear();
  storage_ = {};
  peers_.clear();
  disk_stalled_ = false;
  installation_queued_ = false;
  std::filesystem::remove_all(options_.data_dir);
  std::filesystem::rename(copy, options_.data_dir);
}

void TestNode::CheckInvariants() const {
  if (running() && !replica_->blank()) replica_->core()->CheckInvariants();
}

std::shared_ptr<std::optional<Result<kv::CommandResult>>> TestNode::Put(const std::string& key,
                                                                        const std::string& value,
                                                                        Duration timeout) {
  auto slot = std::make_shared<std::optional<Result<kv::CommandResult>>>();
  v1::Command command;
  command.set_version(kv::kCommandVersion);
  command.set_origin(id_.value);
  command.set_request_id(random_->Next());
  command.mutable_put()->set_key(key);
  command.mutable_put()->set_value(value);
  const MonotonicTime deadline = cluster_->clock_.Now() + timeout;
  const Buffer serialized(command.SerializeAsString());
  Waiter waiter{deadline, value.size(), WriteCallback([slot](Result<kv::CommandResult> result) {
                  CHECK(!slot->has_value(), "a waiter is answered once");
                  *slot = std::move(result);
                }),
                serialized};
  const Status added = waiters_->Add(command.request_id(), waiter);
  if (!added.ok()) {
    *slot = Error(added);
    return slot;
  }
  std::vector<Proposal> proposals;
  proposals.push_back({command.request_id(), serialized, deadline});
  replica_->Propose(std::move(proposals));
  woken_ = true;
  return slot;
}

std::shared_ptr<std::optional<Status>> TestNode::Barrier(Consistency consistency,
                                                         Duration timeout) {
  auto slot = std::make_shared<std::optional<Status>>();
  replica_->Read(consistency, cluster_->clock_.Now() + timeout, [slot](Status status) {
    CHECK(!slot->has_value(), "a read is answered once");
    *slot = std::move(status);
  });
  woken_ = true;
  return slot;
}

std::shared_ptr<std::optional<Result<v1::ChangeMembershipResponse>>> TestNode::Change(
    v1::ChangeMembershipRequest request, Duration timeout) {
  auto slot = std::make_shared<std::optional<Result<v1::ChangeMembershipResponse>>>();
  replica_->ChangeMembership(std::move(request), cluster_->clock_.Now() + timeout,
                             [slot](Result<v1::ChangeMembershipResponse> response) {
                               CHECK(!slot->has_value(), "a change is answered once");
                               *slot = std::move(response);
                             });
  woken_ = true;
  return slot;
}

void TestNode::RunPosted() {
  while (!posted_.empty()) {
    auto work = std::move(posted_.front());
    posted_.pop_front();
    work();
    woken_ = true;
  }
}

std::optional<MonotonicTime> TestNode::next_due() const {
  if (!running() || delayed_.empty()) return std::nullopt;
  return delayed_.begin()->first;
}

void TestNode::PostDue() {
  const auto end = delayed_.upper_bound(cluster_->clock_.Now());
  for (auto it = delayed_.begin(); it != end; ++it) posted_.push_back(std::move(it->second));
  delayed_.erase(delayed_.begin(), end);
}

bool TestNode::Work() {
  if (!running()) return false;
  bool worked = !posted_.empty();
  RunPosted();
  if (std::exchange(woken_, false)) {
    replica_->ProcessReady();
    CheckInvariants();
    worked = true;
  }
  if (append_->HasWork() && !disk_stalled_) {
    append_->RunOnce();
    CheckInvariants();
    worked = true;
  }
  if (apply_->HasWork() && !apply_stalled_) {
    apply_->RunOnce();
    CheckInvariants();
    worked = true;
  }
  if (read_->HasWork() && !reads_stalled_) {
    read_->RunOnce();
    CheckInvariants();
    worked = true;
  }
  return worked;
}

void TestNode::Tick() {
  if (!running()) return;
  // A stream that is refused is dialed again and again.
  const std::map<raft::NodeId, std::string> peers = peers_;
  for (const auto& [peer, address] : peers) {
    const TestNode* to = cluster_->ById(peer);
    if (to == nullptr || !cluster_->Reaches(*this, *to)) continue;
    const v1::HelloReply reply = cluster_->Judge(*this, *to);
    if (reply.verdict() != v1::HelloReply::OK) replica_->OnPeerVerdict(peer, reply);
  }
  replica_->OnTick();
  CheckInvariants();
  woken_ = true;
}

void TestNode::Send(std::vector<raft::Message> messages) {
  cluster_->DeliverMessages(*this, std::move(messages));
}

void TestNode::Call(raft::NodeId to, v1::PeerCall call,
                    std::function<void(Result<v1::PeerReply>)> done) {
  TestNode* target = cluster_->ById(to);
  cluster_->network_.push_back([this, target, call = std::move(call), done = std::move(done)] {
    if (!running()) return;
    if (target == nullptr || !cluster_->Reaches(*this, *target)) {
      return done(Error(Code::kUnavailable, "not connected"));
    }
    target->replica_->OnCall(id_, call, [this, done](v1::PeerReply reply) {
      cluster_->network_.push_back([this, done, reply = std::move(reply)] {
        if (!running()) return;
        if (replies_lost_) {
          done(Error(Code::kUnknownOutcome, "the connection to the peer broke"));
        } else {
          done(reply);
        }
        woken_ = true;
      });
    });
  });
}

void TestNode::Forward(raft::NodeId to, v1::PeerCall call,
                       std::function<void(v1::PeerReply)> refused) {
  Call(to, std::move(call), [refused = std::move(refused)](Result<v1::PeerReply> reply) {
    // A lost call is no refusal: nobody knows how far it got.
    if (reply) refused(*reply);
  });
}

void TestNode::CallAddress(const std::string& address, v1::PeerCall call,
                           std::function<void(Result<v1::PeerReply>)> done) {
  cluster_->network_.push_back([this, address, call = std::move(call), done = std::move(done)] {
    if (!running()) return;
    TestNode* target = cluster_->ByAddress(address);
    if (target == nullptr || !cluster_->Reaches(*this, *target)) {
      return done(Error(Code::kUnavailable, "nobody listens at " + address));
    }
    v1::Hello hello;
    hello.set_cluster_id(identity_.cluster_id);
    hello.set_member_id(id_.value);
    target->replica_->OnStrangerCall(hello, call, [this, done](v1::PeerReply reply) {
      cluster_->network_.push_back([this, done, reply = std::move(reply)] {
        if (!running() || replies_lost_) return;
        done(reply);
        woken_ = true;
      });
    });
  });
}

void TestNode::SendSnapshot(raft::Message message, std::string dir) {
  TestNode* target = cluster_->ById(message.to);
  cluster_->network_.push_back([this, target, message = std::move(message), dir] {
    if (!running()) return;
    if (target == nullptr || !cluster_->Reaches(*this, *target)) {
      return replica_->OnSnapshotSent(message.to, false);
    }
    const std::string copy = target->storage_.dir->snapshots_path() + "/incoming/" +
                             std::to_string(cluster_->random_.Next());
    std::filesystem::copy(dir, copy);
    target->replica_->OnSnapshotReceived(message, copy);
    replica_->OnSnapshotSent(message.to, true);
  });
}

void TestNode::SubmitDescribe(std::string dir, raft::Snapshot snapshot) {
  posted_.push_back([this, dir = std::move(dir), snapshot = std::move(snapshot)] {
    auto manifest = storage::DescribeCheckpoint(dir, identity_.cluster_id, random_->Next());
    replica_->OnManifest(dir, snapshot, std::move(manifest));
  });
}

// --- TestCluster
// -----------------------------------------------------------------------------------------

TestCluster::TestCluster(uint64_t seed) : random_(seed) {
  std::string pattern = std::filesystem::temp_directory_path() / "raftkv-replica-XXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr);
  dir_ = pattern;
}

TestCluster::~TestCluster() {
  nodes_.clear();
  std::filesystem::remove_all(dir_);
}

TestNode& TestCluster::Add(const std::string& name, Bootstrap bootstrap,
                           const std::function<void(Options&)>& edit) {
  Options options;
  options.name = name;
  options.data_dir = dir_ + "/" + name;
  options.peer_advertise = name + ":1";
  options.bootstrap = std::move(bootstrap);
  options.log_cache_bytes = 1 << 20;
  if (edit) edit(options);
  auto& node = nodes_[name];
  node = std::make_unique<TestNode>(this, std::move(options));
  node->Boot();
  return *node;
}

void TestCluster::StartStatic(int count, const std::function<void(Options&)>& edit) {
  Bootstrap bootstrap{Bootstrap::Mode::kStaticList, {}};
  for (int i = 1; i <= count; ++i) bootstrap.addresses.push_back("n" + std::to_string(i) + ":1");
  for (int i = 1; i <= count; ++i) Add("n" + std::to_string(i), bootstrap, edit);
  CHECK(Run(200, [this] { return Leader() != nullptr; }), "a static list elects a leader");
  Run(5);
}

TestNode* TestCluster::ById(raft::NodeId id) {
  for (auto& [name, node] : nodes_) {
    if (node->id_ == id) return node.get();
  }
  return nullptr;
}

TestNode* TestCluster::ByAddress(const std::string& address) {
  for (auto& [name, node] : nodes_) {
    if (node->options_.peer_advertise == address) return node.get();
  }
  return nullptr;
}

TestNode* TestCluster::Leader() {
  TestNode* leader = nullptr;
  raft::Term term;
  for (auto& [name, node] : nodes_) {
    if (!node->running() || !node->replica_->is_leader()) continue;
    if (node->replica_->core()->term() <= term) continue;
    term = node->replica_->core()->term();
    leader = node.get();
  }
  return leader;
}

TestNode& TestCluster::Follower() {
  for (const auto& [name, node] : nodes_) {
    if (node->running() && !node->replica().is_leader()) return *node;
  }
  CHECK(false, "no follower");
  return *nodes_.begin()->second;
}

TestNode& TestCluster::ThirdOf(const TestNode& one, const TestNode& another) {
  for (const char* name : {"n1", "n2"}) {
    TestNode& third = node(name);
    if (&third != &one && &third != &another) return third;
  }
  return node("n3");
}

void TestCluster::Cut(const std::string& a, const std::string& b) {
  cuts_.insert({a, b});
  cuts_.insert({b, a});
}

void TestCluster::Isolate(const std::string& name) {
  for (auto& [other, node] : nodes_) {
    if (other != name) Cut(name, other);
  }
}

bool TestCluster::Reaches(const TestNode& from, const TestNode& to) const {
  return from.running() && to.running() && !cuts_.contains({from.options_.name, to.options_.name});
}

v1::HelloReply TestCluster::Judge(const TestNode& from, const TestNode& to) const {
  v1::HelloReply reply;
  reply.set_cluster_id(to.identity_.cluster_id);
  reply.set_member_id(to.id_.value);
  reply.set_verdict(v1::HelloReply::OK);
  if (to.identity_.cluster_id == 0) {
    reply.set_verdict(v1::HelloReply::BLANK);
  } else if (to.identity_.cluster_id != from.identity_.cluster_id) {
    reply.set_verdict(v1::HelloReply::WRONG_CLUSTER);
  } else {
    reply.set_verdict(to.replica_->Admit(from.id_));
    to.replica_->TellVoters(&reply);
  }
  return reply;
}

// What the handshake of a stream decides is decided for each message here.
void TestCluster::DeliverMessages(TestNode& from, std::vector<raft::Message> messages) {
  for (raft::Message& message : messages) {
    auto& queue = hold_ && hold_(message) ? held_ : network_;
    queue.push_back([this, &from, message = std::move(message)]() mutable {
      TestNode* to = ById(message.to);
      if (!from.running() || to == nullptr || !Reaches(from, *to)) return;
      if (!from.peers_.contains(message.to)) return;
      const v1::HelloReply reply = Judge(from, *to);
      if (reply.verdict() != v1::HelloReply::OK) {
        from.replica_->OnPeerVerdict(message.to, reply);
        from.woken_ = true;
        return;
      }
      std::vector<raft::Message> batch;
      batch.push_back(std::move(message));
      to->replica_->OnMessages(std::move(batch));
    });
  }
}

void TestCluster::Release() {
  hold_ = {};
  network_.insert(network_.begin(), std::make_move_iterator(held_.begin()),
                  std::make_move_iterator(held_.end()));
  held_.clear();
}

bool TestCluster::DeliverOne() {
  if (network_.empty()) return false;
  auto deliver = std::move(network_.front());
  network_.pop_front();
  deliver();
  for (auto& [name, node] : nodes_) node->CheckInvariants();
  return true;
}

void TestCluster::Settle() {
  // Far more steps than any test needs: a cluster that never comes to rest is a bug.
  for (int step = 0; step < 1'000'000; ++step) {
    bool worked = false;
    for (auto& [name, node] : nodes_) worked = node->Work() || worked;
    const size_t deliveries = network_.size();
    for (size_t i = 0; i < deliveries; ++i) {
      DeliverOne();
      worked = true;
    }
    if (!worked && !AdvanceToNextDue()) return;
  }
  CHECK(false, "the cluster does not come to rest");
}

// What was put off for less than a tick comes before the next tick.
bool TestCluster::AdvanceToNextDue() {
  std::optional<MonotonicTime> next;
  for (const auto& [name, node] : nodes_) {
    const std::optional<MonotonicTime> due = node->next_due();
    if (due && (!next || *due < *next)) next = due;
  }
  if (!next) return false;
  if (*next > clock_.Now()) clock_.Advance(*next - clock_.Now());
  for (auto& [name, node] : nodes_) {
    if (node->running()) node->PostDue();
  }
  return true;
}

bool TestCluster::Run(int ticks, const std::function<bool()>& until) {
  Settle();
  for (int i = 0; i < ticks; ++i) {
    if (until()) return true;
    clock_.Advance(std::chrono::milliseconds(100));
    for (auto& [name, node] : nodes_) node->Tick();
    Settle();
  }
  return until();
}

std::string ValueAt(TestNode& node, const std::string& key) {
  const auto found = node.machine().Get(key);
  if (!found || !*found) return "<none>";
  return (*found)->value;
}

}  // namespace raftkv::runtime
