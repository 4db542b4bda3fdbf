// SnapshotSender: sends one snapshot to one peer, on a connection of its own. Files are read on the
// file thread, a little ahead of what the connection takes.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "node/storage/snapshot_files.h"
#include "node/transport/context.h"
#include "node/transport/dial.h"

namespace raftkv::transport {

class SnapshotSender final : public Connection::User,
                             public std::enable_shared_from_this<SnapshotSender> {
 public:
  // `done` is called once unless closed before: whether the peer took the snapshot over.
  SnapshotSender(ContextPtr context, raft::Message message, std::string dir,
                 std::function<void(bool)> done);
  void Start(const std::string& address);
  void Close();

 private:
  enum class State { kDialing, kOffered, kOpening, kSending, kSent, kClosed };
  // Belongs to the file thread while a task is under way.
  struct Files {
    std::unique_ptr<storage::SnapshotSource> source;
    v1::SnapshotChunk chunk;
    Result<bool> more = true;
  };

  bool OnFrame(std::string_view body) override;
  void OnTick() override;
  void OnDrained() override;
  void OnClosed(const std::string& reason) override;

  void OnDialed(const Result<Dialed>& result);
  bool OnResume(std::string_view body);
  bool OnDone(std::string_view body);
  // Reads the next chunk, unless enough is queued or the rate limit says wait.
  void Pump();
  void OnChunk();
  bool WaitForRate();
  void Finish(bool ok, const std::string& reason);
  void OnFileThread(std::function<void(Files&)> work);

  const ContextPtr context_;
  const raft::Message message_;
  const std::string dir_;
  std::function<void(bool)> done_;
  v1::SnapshotManifest manifest_;
  asio::steady_timer rate_timer_;
  std::shared_ptr<Dial> dial_;
  std::shared_ptr<Connection> connection_;
  const std::shared_ptr<Files> files_ = std::make_shared<Files>();
  State state_ = State::kDialing;
  bool reading_ = false;  // a task of ours is on the file thread
  bool rate_waiting_ = false;
  MonotonicTime next_chunk_at_{};
  int idle_ticks_ = 0;
  uint64_t sent_bytes_ = 0;
};

}  // namespace raftkv::transport
