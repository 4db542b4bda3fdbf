// FakeNode: a Node of one member without a log, for tests of the server: commands go straight to a
// real state machine, on a thread of its own.
//
// Thread-safety: any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "node/kv/test_support.h"
#include "node/runtime/node.h"

namespace raftkv::server {

class FakeNode final : public runtime::Node {
 public:
  FakeNode();
  ~FakeNode() override;

  // What the next calls of a kind are answered with instead of being carried out; ok: as usual.
  void FailWrites(Status status);
  void FailReads(Status status);
  void FailAdmin(Status status);
  void SetHealth(std::vector<runtime::HealthCheck> checks);
  void SetAlive(Status status);
  // While held, nothing is answered.
  void Hold();
  void Release();
  // Waits until `count` calls are held.
  void AwaitHeld(size_t count);
  // While held, state() does not return, but for the next `let_through` calls; whoever waits in it
  // is counted.
  void HoldState();
  void LetStateReadersThrough(size_t let_through);
  void ReleaseState();
  void AwaitStateReaders(size_t count);
  void SetStatus(const v1::StatusResponse& status);

  // Calls that changed something, as text: "put k", "remove 0000000000000002".
  std::vector<std::string> calls() const;
  size_t writes() const;

  void Stop(Duration grace) override;
  void HandOver(Duration) override {}
  void Write(v1::Command command, MonotonicTime deadline, runtime::WriteCallback done) override;
  void ReadBarrier(runtime::Consistency consistency, MonotonicTime deadline,
                   runtime::BarrierCallback done) override;
  const kv::StateMachine& state() const override;
  std::shared_ptr<const v1::StatusResponse> status() const override;
  void FreshStatus(MonotonicTime deadline, runtime::Callback<v1::StatusResponse> done) override;
  Status Alive() const override;
  std::vector<runtime::HealthCheck> Health() const override;
  void Initialize(v1::InitializeRequest request, MonotonicTime deadline,
                  runtime::Callback<v1::InitializeResponse> done) override;
  void Join(v1::JoinRequest request, MonotonicTime deadline,
            runtime::Callback<v1::JoinResponse> done) override;
  void ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                        runtime::Callback<v1::ChangeMembershipResponse> done) override;
  void TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                          runtime::Callback<v1::TransferLeadershipResponse> done) override;
  void TakeSnapshot(v1::SnapshotRequest request, MonotonicTime deadline,
                    runtime::Callback<v1::SnapshotResponse> done) override;
  void Restore(uint64_t offset, std::string_view piece,
               runtime::Callback<v1::RestoreResponse> done) override;
  // Gives "2" and "1".
  void ExportSnapshot(MonotonicTime deadline,
                      runtime::Callback<runtime::SnapshotPieces> done) override;
  void Compact(v1::CompactRequest request, MonotonicTime deadline,
               runtime::Callback<v1::CompactResponse> done) override;
  void OnEnd(std::function<void(End)>) override {}
  uint16_t peer_port() const override { return 7071; }

 private:
  void Run();
  void Enqueue(std::function<void()> work);
  void Record(std::string call);
  // Answers `response` or the failure that is set.
  template <typename Response>
  void Admin(std::string call, Response response, runtime::Callback<Response> done);

  kv::TestMachine machine_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool held_ = false;
  bool stopping_ = false;
  Status write_failure_;
  Status read_failure_;
  Status admin_failure_;
  Status alive_;
  std::vector<runtime::HealthCheck> health_;
  std::shared_ptr<const v1::StatusResponse> status_;
  std::vector<std::string> calls_;
  size_t writes_ = 0;
  mutable std::condition_variable state_wake_;
  bool state_held_ = false;
  mutable size_t state_passes_ = 0;
  mutable size_t state_readers_ = 0;
  std::thread thread_;
};

}  // namespace raftkv::server
