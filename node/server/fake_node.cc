#include "node/server/fake_node.h"

#include "base/hex_id.h"

namespace raftkv::server {
namespace {

v1::StatusResponse InitialStatus() {
  v1::StatusResponse status;
  status.set_version("0.1.0");
  status.set_member_id(0xa1);
  status.set_name("a");
  status.set_cluster_id(0xc1);
  status.set_role(v1::StatusResponse::LEADER);
  status.set_leader(0xa1);
  status.set_term(2);
  status.set_last_index(20);
  status.set_commit_index(20);
  v1::ClusterState* cluster = status.mutable_cluster();
  cluster->set_cluster_id(0xc1);
  cluster->set_config_index(5);
  for (uint64_t id : {0xa1, 0xb2, 0xc3}) {
    bool voter = id != 0xc3;
    v1::Member* member = cluster->add_members();
    member->set_id(id);
    member->set_name(id == 0xa1 ? "a" : id == 0xb2 ? "b" : "3");
    member->set_peer_address("127.0.0.1:" + std::to_string(7000 + id));
    if (voter) {
      cluster->mutable_conf()->add_voters(id);
    } else {
      cluster->mutable_conf()->add_learners(id);
    }
    v1::PeerProgress* progress = status.add_progress();
    progress->set_id(id);
    progress->set_state(voter ? "replicate" : "probe");
    progress->set_learner(!voter);
    progress->set_match(voter ? 20 : 12);
    progress->set_next(21);
  }
  return status;
}

std::string Describe(const v1::Command& command) {
  if (command.has_put()) return "put " + command.put().key();
  if (command.has_delete_()) return "delete " + command.delete_().key();
  if (command.has_invite()) {
    if (command.invite().withdraw()) return "withdraw " + command.invite().name();
    return "invite " + command.invite().name() + " " + command.invite().peer_address();
  }
  return "other";
}

}  // namespace

FakeNode::FakeNode()
    : status_(std::make_shared<v1::StatusResponse>(InitialStatus())), thread_([this] { Run(); }) {}

FakeNode::~FakeNode() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    held_ = false;
  }
  wake_.notify_all();
  thread_.join();
}

void FakeNode::FailWrites(Status status) {
  std::lock_guard lock(mutex_);
  write_failure_ = std::move(status);
}

void FakeNode::FailReads(Status status) {
  std::lock_guard lock(mutex_);
  read_failure_ = std::move(status);
}

void FakeNode::FailAdmin(Status status) {
  std::lock_guard lock(mutex_);
  admin_failure_ = std::move(status);
}

void FakeNode::SetHealth(std::vector<runtime::HealthCheck> checks) {
  std::lock_guard lock(mutex_);
  health_ = std::move(checks);
}

void FakeNode::SetAlive(Status status) {
  std::lock_guard lock(mutex_);
  alive_ = std::move(status);
}

void FakeNode::Hold() {
  std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeNode::Release() {
  {
    std::lock_guard lock(mutex_);
    held_ = false;
  }
  wake_.notify_all();
}

void FakeNode::AwaitHeld(size_t count) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this, count] { return queue_.size() >= count; });
}

void FakeNode::SetStatus(const v1::StatusResponse& status) {
  std::lock_guard lock(mutex_);
  status_ = std::make_shared<v1::StatusResponse>(status);
}

std::vector<std::string> FakeNode::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

size_t FakeNode::writes() const {
  std::lock_guard lock(mutex_);
  return writes_;
}

void FakeNode::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return !held_ && (stopping_ || !queue_.empty()); });
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

void FakeNode::Enqueue(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.notify_all();
}

void FakeNode::Record(std::string call) {
  std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
}

void FakeNode::Stop(Duration) { Release(); }

void FakeNode::Write(v1::Command command, MonotonicTime, runtime::WriteCallback done) {
  Enqueue([this, command = std::move(command), done = std::move(done)] {
    Status failure;
    {
      std::lock_guard lock(mutex_);
      failure = write_failure_;
      ++writes_;
    }
    if (!failure.ok()) return done(Error(failure));
    Record(Describe(command));
    v1::Command versioned = command;
    versioned.set_version(kv::kCommandVersion);
    done(machine_.Do(versioned));
  });
}

void FakeNode::ReadBarrier(runtime::Consistency consistency, MonotonicTime,
                           runtime::BarrierCallback done) {
  if (consistency == runtime::Consistency::kStale) return done(Status::Ok());
  Enqueue([this, done = std::move(done)] {
    Status failure;
    {
      std::lock_guard lock(mutex_);
      failure = read_failure_;
    }
    done(failure);
  });
}

const kv::StateMachine& FakeNode::state() const {
  std::unique_lock lock(mutex_);
  if (state_passes_ > 0) {
    --state_passes_;
    return *const_cast<kv::TestMachine&>(machine_);
  }
  ++state_readers_;
  state_wake_.notify_all();
  state_wake_.wait(lock, [this] { return !state_held_; });
  --state_readers_;
  return *const_cast<kv::TestMachine&>(machine_);
}

void FakeNode::HoldState() {
  std::lock_guard lock(mutex_);
  state_held_ = true;
}

void FakeNode::LetStateReadersThrough(size_t let_through) {
  std::lock_guard lock(mutex_);
  state_passes_ = let_through;
}

void FakeNode::ReleaseState() {
  std::lock_guard lock(mutex_);
  state_held_ = false;
  state_wake_.notify_all();
}

void FakeNode::AwaitStateReaders(size_t count) {
  std::unique_lock lock(mutex_);
  state_wake_.wait(lock, [&] { return state_readers_ >= count; });
}

std::shared_ptr<const v1::StatusResponse> FakeNode::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void FakeNode::FreshStatus(MonotonicTime, runtime::Callback<v1::StatusResponse> done) {
  Enqueue([this, done = std::move(done)] {
    Status failure;
    {
      std::lock_guard lock(mutex_);
      failure = admin_failure_;
    }
    if (!failure.ok()) return done(Error(failure));
    done(*status());
  });
}

Status FakeNode::Alive() const {
  std::lock_guard lock(mutex_);
  return alive_;
}

std::vector<runtime::HealthCheck> FakeNode::Health() const {
  std::lock_guard lock(mutex_);
  return health_;
}

template <typename Response>
void FakeNode::Admin(std::string call, Response response, runtime::Callback<Response> done) {
  Enqueue([this, call = std::move(call), response = std::move(response), done = std::move(done)] {
    Status failure;
    {
      std::lock_guard lock(mutex_);
      failure = admin_failure_;
    }
    if (!failure.ok()) return done(Error(failure));
    Record(call);
    done(response);
  });
}

void FakeNode::Initialize(v1::InitializeRequest request, MonotonicTime,
                          runtime::Callback<v1::InitializeResponse> done) {
  v1::InitializeResponse response;
  response.set_cluster_id(request.cluster_id() != 0 ? request.cluster_id() : 0xc1);
  response.set_member_id(0xa1);
  Admin("initialize", std::move(response), std::move(done));
}

void FakeNode::Join(v1::JoinRequest request, MonotonicTime,
                    runtime::Callback<v1::JoinResponse> done) {
  v1::JoinResponse response;
  response.set_cluster_id(0xc1);
  response.set_member_id(0xa1);
  std::string addresses;
  for (const std::string& address : request.peer_addresses()) addresses += " " + address;
  Admin("join" + addresses, std::move(response), std::move(done));
}

void FakeNode::ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime,
                                runtime::Callback<v1::ChangeMembershipResponse> done) {
  v1::ChangeMembershipResponse response;
  response.set_config_index(6);
  response.mutable_conf()->add_voters(0xa1);
  std::string call = "change";
  for (uint64_t id : request.promote()) call += " promote " + HexId(id);
  for (uint64_t id : request.remove()) call += " remove " + HexId(id);
  Admin(std::move(call), std::move(response), std::move(done));
}

void FakeNode::TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime,
                                  runtime::Callback<v1::TransferLeadershipResponse> done) {
  v1::TransferLeadershipResponse response;
  response.set_leader(request.to() != 0 ? request.to() : 0xb2);
  Admin("transfer", std::move(response), std::move(done));
}

void FakeNode::TakeSnapshot(v1::SnapshotRequest, MonotonicTime,
                            runtime::Callback<v1::SnapshotResponse> done) {
  v1::SnapshotResponse response;
  response.set_index(20);
  response.set_term(2);
  Admin("snapshot", std::move(response), std::move(done));
}

void FakeNode::ExportSnapshot(MonotonicTime, runtime::Callback<runtime::SnapshotPieces> done) {
  auto left = std::make_shared<int>(2);
  runtime::SnapshotPieces pieces = [left]() -> Result<std::string> {
    return *left > 0 ? std::to_string((*left)--) : "";
  };
  Admin("export", std::move(pieces), std::move(done));
}

// "end" is the last piece.
void FakeNode::Restore(uint64_t offset, std::string_view piece,
                       runtime::Callback<v1::RestoreResponse> done) {
  v1::RestoreResponse response;
  response.set_received(offset + piece.size());
  if (piece == "end") response.set_cluster_id(0xc2);
  Admin("restore " + std::to_string(offset) + " " + std::string(piece), std::move(response),
        std::move(done));
}

void FakeNode::Compact(v1::CompactRequest request, MonotonicTime,
                       runtime::Callback<v1::CompactResponse> done) {
  v1::CompactResponse response;
  response.set_revision(request.revision());
  Enqueue([this, revision = request.revision(), response, done = std::move(done)] {
    kv::CommandResult result = machine_.Do(kv::Compact(revision));
    if (!result.status.ok()) return done(Error(result.status));
    done(response);
  });
}

}  // namespace raftkv::server
