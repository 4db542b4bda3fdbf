#include "node/runtime/damaged_node.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/version.h"
#include "node/runtime/rebuild.h"
#include "node/storage/data_dir.h"
#include "node/storage/memory_state.h"
#include "node/transport/transport.h"

namespace raftkv::runtime {
namespace {

constexpr Duration kAskEvery = std::chrono::seconds(1);

class DamagedNode final : public Node, private transport::Handler {
 public:
  DamagedNode(const Options& options, const Status& damage)
      : options_(options),
        note_(ReadDamagedMember(options)),
        ask_(WhomToAsk(options, note_)),
        refusal_(Code::kUnavailable, "the data of this member are damaged (" + damage.message() +
                                         "): it serves nobody; ask another member") {
    note_.set_reason(damage.message());
  }
  ~DamagedNode() override { Stop(Duration::zero()); }

  Status Init();
  void Stop(Duration grace) override;

  void Write(v1::Command, MonotonicTime, WriteCallback done) override { done(Error(refusal_)); }
  void ReadBarrier(Consistency, MonotonicTime, BarrierCallback done) override { done(refusal_); }
  const kv::StateMachine& state() const override { return *machine_; }
  std::shared_ptr<const v1::StatusResponse> status() const override {
    return std::make_shared<v1::StatusResponse>(MakeStatus());
  }
  void FreshStatus(MonotonicTime, Callback<v1::StatusResponse> done) override {
    done(MakeStatus());
  }
  Status Alive() const override { return Status::Ok(); }
  std::vector<HealthCheck> Health() const override { return {{"member", refusal_}}; }

  void Initialize(v1::InitializeRequest, MonotonicTime,
                  Callback<v1::InitializeResponse> done) override {
    done(Error(refusal_));
  }
  void Join(v1::JoinRequest, MonotonicTime, Callback<v1::JoinResponse> done) override {
    done(Error(refusal_));
  }
  void ChangeMembership(v1::ChangeMembershipRequest, MonotonicTime,
                        Callback<v1::ChangeMembershipResponse> done) override {
    done(Error(refusal_));
  }
  void TransferLeadership(v1::TransferLeadershipRequest, MonotonicTime,
                          Callback<v1::TransferLeadershipResponse> done) override {
    done(Error(refusal_));
  }
  void TakeSnapshot(v1::SnapshotRequest, MonotonicTime,
                    Callback<v1::SnapshotResponse> done) override {
    done(Error(refusal_));
  }
  void ExportSnapshot(MonotonicTime, Callback<SnapshotPieces> done) override {
    done(Error(refusal_));
  }
  void Compact(v1::CompactRequest, MonotonicTime, Callback<v1::CompactResponse> done) override {
    done(Error(refusal_));
  }
  void OnEnd(std::function<void(End)> callback) override;
  uint16_t peer_port() const override { return transport_ ? transport_->port() : 0; }

 private:
  // transport::Handler: nobody's messages are for this node.
  void OnMessages(std::vector<raft::Message>) override {}
  void OnCall(raft::NodeId, v1::PeerCall, transport::ReplyFn) override {}
  void OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, transport::ReplyFn reply) override;
  v1::HelloReply::Verdict Admit(raft::NodeId) override { return v1::HelloReply::BUSY; }
  void TellVoters(v1::HelloReply*) const override {}
  void OnPeerUp(raft::NodeId) override {}
  void OnPeerDown(raft::NodeId) override {}
  void OnPeerVerdict(raft::NodeId, const v1::HelloReply&) override {}
  void OnSnapshotReceived(raft::Message, std::string) override {}
  void OnSnapshotSent(raft::NodeId, bool) override {}

  v1::StatusResponse MakeStatus() const;
  v1::Member Self() const;
  void AskAfter(Duration pause);
  void Ask();
  void OnAnswer(const std::string& address, const Result<v1::PeerReply>& reply);
  void WaitsFor(const std::string& address, const std::string& reason);

  const Options options_;
  v1::MemberNote note_;                 // does not change any more
  const std::vector<std::string> ask_;  // empty: it waits for others to care
  const Status refusal_;
  storage::File lock_;
  storage::MemoryState store_;
  std::unique_ptr<kv::StateMachine> machine_;

  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  std::unique_ptr<transport::Transport> transport_;
  std::thread thread_;
  size_t next_ = 0;  // io thread

  std::map<std::string, std::string> told_;  // what each of ask_ said last; io thread

  mutable std::mutex mutex_;
  std::string waits_for_;
  std::function<void(End)> on_end_;
  bool set_aside_ = false;
};

Status DamagedNode::Init() {
  ASSIGN_OR_RETURN_STATUS(lock_, storage::LockDirectory(options_.data_dir));
  ASSIGN_OR_RETURN_STATUS(machine_, kv::StateMachine::Open(&store_));
  log::Error("the data of this member are damaged: it neither votes nor serves",
             {{"error", note_.reason()},
              {"member", log::Hex{note_.member_id()}},
              {"remedy", ask_.empty() ? "replace the member (docs/operations.md)"
                                      : "none needed: it asks the leader to be replaced"}});
  if (ask_.empty()) return Status::Ok();
  transport::Options transport_options;
  transport_options.listen_address = options_.peer_listen;
  transport_ = transport::MakeTransport(io_, transport_options, this);
  transport_->SetIdentity({note_.cluster_id(), raft::NodeId(note_.member_id()), options_.name});
  RETURN_IF_ERROR(transport_->Start());
  AskAfter(Duration::zero());
  thread_ = std::thread([this] { io_.run(); });
  return Status::Ok();
}

void DamagedNode::Stop(Duration) {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] {
    timer_.cancel();
    transport_->Stop();
    io_.stop();
  });
  thread_.join();
}

void DamagedNode::OnEnd(std::function<void(End)> callback) {
  std::lock_guard lock(mutex_);
  on_end_ = std::move(callback);
  if (set_aside_ && on_end_) on_end_(End::kRestart);
}

v1::StatusResponse DamagedNode::MakeStatus() const {
  v1::StatusResponse status;
  status.set_version(std::string(Version()));
  status.set_member_id(note_.member_id());
  status.set_name(options_.name);
  status.set_cluster_id(note_.cluster_id());
  status.set_role(v1::StatusResponse::DAMAGED);
  status.add_warnings(note_.reason());
  std::lock_guard lock(mutex_);
  if (!waits_for_.empty()) status.add_warnings("not replaced yet: " + waits_for_);
  return status;
}

v1::Member DamagedNode::Self() const {
  v1::Member self;
  self.set_id(note_.member_id());
  self.set_name(options_.name);
  self.set_peer_address(options_.peer_advertise);
  self.set_client_address(options_.client_advertise);
  return self;
}

// A new cluster must not be made of this node, and nobody may take it for blank.
void DamagedNode::OnStrangerCall(const v1::Hello&, v1::PeerCall call, transport::ReplyFn reply) {
  v1::PeerReply answer;
  if (call.has_who_are_you()) {
    answer.mutable_i_am()->set_cluster_id(note_.cluster_id());
    *answer.mutable_i_am()->mutable_member() = Self();
  } else {
    answer.set_code(static_cast<uint32_t>(Code::kUnavailable));
    answer.set_message("the data of this member are damaged");
  }
  reply(std::move(answer));
}

void DamagedNode::AskAfter(Duration pause) {
  timer_.expires_after(pause);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) Ask();
  });
}

// Only when a leader has said that it would do it are the data moved: while more members are
// damaged than the cluster can spare, there is no leader, and everything stays where it is.
void DamagedNode::Ask() {
  const std::string address = ask_[next_++ % ask_.size()];
  v1::PeerCall call;
  *call.mutable_join() = Self();
  call.set_replaces(note_.member_id());
  call.set_check_only(true);
  transport_->CallAddress(address, std::move(call), [this, address](Result<v1::PeerReply> reply) {
    OnAnswer(address, reply);
  });
}

void DamagedNode::OnAnswer(const std::string& address, const Result<v1::PeerReply>& reply) {
  if (!reply || reply->code() != 0 || !reply->has_join()) {
    WaitsFor(address, reply ? reply->message() : reply.error().message());
    return AskAfter(kAskEvery);
  }
  if (reply->join().cluster_id() != note_.cluster_id()) {
    WaitsFor(address, "it belongs to another cluster");
    return AskAfter(kAskEvery);
  }
  if (const Status moved = SetAside(options_, note_); !moved.ok()) {
    WaitsFor(address, moved.message());
    return AskAfter(kAskEvery);
  }
  std::lock_guard lock(mutex_);
  set_aside_ = true;
  if (on_end_) on_end_(End::kRestart);
}

// Logged when a member's answer changes: they are asked in turn for as long as it takes.
void DamagedNode::WaitsFor(const std::string& address, const std::string& reason) {
  const std::string what = address + ": " + reason;
  if (std::exchange(told_[address], reason) != reason) {
    log::Info("waiting to be replaced", {{"reason", what}});
  }
  std::lock_guard lock(mutex_);
  waits_for_ = what;
}

}  // namespace

Result<std::unique_ptr<Node>> StartDamagedNode(const Options& options, const Status& damage) {
  auto node = std::make_unique<DamagedNode>(options, damage);
  const Status status = node->Init();
  if (!status.ok()) return Error(status);
  return node;
}

}  // namespace raftkv::runtime
