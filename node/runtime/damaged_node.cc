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
#include "node/runtime/damaged_member.h"
#include "node/runtime/loop_pulse.h"
#include "node/runtime/rebuild.h"
#include "node/storage/data_dir.h"
#include "node/storage/memory_state.h"
#include "node/transport/transport.h"

namespace raftkv::runtime {
namespace {

class DamagedNode final : public Node {
 public:
  DamagedNode(const Options& options, const Status& damage)
      : options_(options),
        member_(ReadDamagedMember(options),
                {.options = &options_,
                 .clock = &Clock::System(),
                 .set_aside = [this] { return SetAside(options_, NoteWithReason()); },
                 .on_set_aside = [this] { Ends(); },
                 .on_waiting = [this](const std::string& address,
                                      const std::string& reason) { WaitsFor(address, reason); }}),
        reason_(damage.message()),
        // One that asks to be replaced serves again by itself.
        refusal_(member_.asks() ? Code::kUnavailable : Code::kNotServing,
                 "the data of this member are damaged (" + damage.message() +
                     "): it serves nobody; ask another member" +
                     (member_.asks() ? "" : ", and replace this one (docs/operations.md)")) {}
  ~DamagedNode() override { Stop(Duration::zero()); }

  Status Init();
  void Stop(Duration grace) override;
  void HandOver(Duration) override {}

  void Write(v1::Command, MonotonicTime, WriteCallback done) override { done(Error(refusal_)); }
  void ReadBarrier(Consistency, MonotonicTime, BarrierCallback done) override { done(refusal_); }
  const kv::StateMachine& state() const override { return *machine_; }
  std::shared_ptr<const v1::StatusResponse> status() const override {
    return std::make_shared<v1::StatusResponse>(MakeStatus());
  }
  void FreshStatus(MonotonicTime, Callback<v1::StatusResponse> done) override {
    done(MakeStatus());
  }
  Status Alive() const override { return pulse_.Check(Clock::System().Now()); }
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
  void Restore(uint64_t, std::string_view, Callback<v1::RestoreResponse> done) override {
    done(Error(refusal_));
  }
  void Compact(v1::CompactRequest, MonotonicTime, Callback<v1::CompactResponse> done) override {
    done(Error(refusal_));
  }
  void OnEnd(std::function<void(End)> callback) override;
  uint16_t peer_port() const override { return transport_ ? transport_->port() : 0; }

 private:
  v1::StatusResponse MakeStatus() const;
  v1::MemberNote NoteWithReason() const;
  void Tick();
  void Ends();
  void WaitsFor(const std::string& address, const std::string& reason);

  const Options options_;
  DamagedMember member_;  // io thread; its note: any
  const std::string reason_;
  const Status refusal_;
  storage::File lock_;
  storage::MemoryState store_;
  std::unique_ptr<kv::StateMachine> machine_;

  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  std::unique_ptr<transport::Transport> transport_;
  std::thread thread_;

  LoopPulse pulse_;
  std::map<std::string, std::string> told_;  // what each member said last; io thread

  mutable std::mutex mutex_;
  std::string waits_for_;
  std::function<void(End)> on_end_;
  bool set_aside_ = false;
};

Status DamagedNode::Init() {
  ASSIGN_OR_RETURN_STATUS(lock_, storage::LockDirectory(options_.data_dir));
  ASSIGN_OR_RETURN_STATUS(machine_, kv::StateMachine::Open(&store_));
  log::Error("the data of this member are damaged: it neither votes nor serves",
             {{"error", reason_},
              {"member", log::Hex{member_.note().member_id()}},
              {"remedy", member_.asks() ? "none needed: it asks the leader to be replaced"
                                        : "replace the member (docs/operations.md)"}});
  if (!member_.asks()) return Status::Ok();
  transport::Options transport_options;
  transport_options.listen_address = options_.peer_listen;
  transport_ = transport::MakeTransport(io_, transport_options, &member_);
  member_.Start(transport_.get());
  RETURN_IF_ERROR(transport_->Start());
  Tick();
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
  status.set_member_id(member_.note().member_id());
  status.set_name(options_.name);
  status.set_cluster_id(member_.note().cluster_id());
  status.set_role(v1::StatusResponse::DAMAGED);
  status.add_warnings(reason_);
  std::lock_guard lock(mutex_);
  if (!waits_for_.empty()) status.add_warnings("not replaced yet: " + waits_for_);
  return status;
}

v1::MemberNote DamagedNode::NoteWithReason() const {
  v1::MemberNote note = member_.note();
  note.set_reason(reason_);
  return note;
}

void DamagedNode::Tick() {
  pulse_.Beat(Clock::System().Now());
  member_.OnTick();
  timer_.expires_after(options_.tick);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) Tick();
  });
}

void DamagedNode::Ends() {
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
