// SnapshotReceiver: takes one snapshot in. The file thread writes; a fixed number of chunks may
// wait for it, then nothing more is read from the connection.
//
// Thread-safety: io thread only.
#pragma once

#include <memory>
#include <string>

#include "node/storage/snapshot_files.h"
#include "node/transport/listener.h"

namespace raftkv::transport {

class SnapshotReceiver final : public Connection::User,
                               public std::enable_shared_from_this<SnapshotReceiver> {
 public:
  SnapshotReceiver(ContextPtr context, std::weak_ptr<Listener> listener, raft::NodeId from,
                   std::shared_ptr<Connection> connection);
  void Start();
  // What has arrived stays, for the next attempt.
  void Close();
  raft::NodeId from() const { return from_; }
  MonotonicTime since() const { return since_; }
  // Whole, verified and handed over.
  bool received() const { return received_; }

 private:
  enum class State { kOffer, kOpening, kChunks, kFinishing, kClosed };
  // Belongs to the file thread, but for its making.
  struct Files {
    std::unique_ptr<storage::SnapshotSink> sink;
    Status status;  // of the first failure
    std::string done_dir;
  };

  bool OnFrame(std::string_view body) override;
  void OnTick() override;
  void OnClosed(const std::string& reason) override;

  bool OnOffer(std::string_view body);
  void OnOpened();
  bool OnChunk(std::string_view body);
  void OnWritten();
  void Finish();
  void OnFinished();
  void Refuse(const std::string& why);
  void Fail(const Status& status);
  void Leave();
  // `work` on the file thread, then `then` here, if we are still there.
  void OnFileThread(std::function<void(Files&)> work, void (SnapshotReceiver::*then)());

  const ContextPtr context_;
  const std::weak_ptr<Listener> listener_;
  const raft::NodeId from_;
  const std::shared_ptr<Connection> connection_;
  const std::shared_ptr<Files> files_ = std::make_shared<Files>();
  State state_ = State::kOffer;
  raft::Message message_;
  int waiting_ = 0;  // chunks for the file thread
  int idle_ticks_ = 0;
  const MonotonicTime since_ = Clock::System().Now();
  bool received_ = false;
};

}  // namespace raftkv::transport
