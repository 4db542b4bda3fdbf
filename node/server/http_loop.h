// An event loop: one thread, one epoll set, the connections that were given to it.
//
// Everything here belongs to that thread but Mailbox, SharedCounters and what is said to be safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "node/server/executor.h"
#include "node/server/http.h"

namespace raftkv::server {

class Connection;
class Loop;

// Work for a loop from other threads. Closed when the loop ends; what comes later is dropped.
//
// Thread-safety: any thread, but Take and Close.
class Mailbox {
 public:
  explicit Mailbox(Loop* loop);
  ~Mailbox();

  void Post(std::function<void()> work);
  // The loop if the calling thread is its own; else null.
  Loop* LoopIfHere() const;

  int fd() const { return fd_; }
  std::vector<std::function<void()>> Take();
  void Close();

 private:
  Loop* const loop_;
  int fd_;  // an eventfd
  std::mutex mutex_;
  std::vector<std::function<void()>> work_;
  bool closed_ = false;
};

// What all loops of a server share.
struct SharedCounters {
  std::atomic<uint64_t> connections{0};
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> in_flight{0};
  std::atomic<uint64_t> buffered_bytes{0};
};

struct LoopContext {
  Limits limits;
  Handler handler;
  HttpObserver* observer;  // may be null
  SharedCounters counters;
  std::unique_ptr<Executor> streams;  // threads for HttpResponse::stream
};

class Loop {
 public:
  Loop(int index, LoopContext* context);
  ~Loop();  // after Join

  Status Start();
  // The loop's own thread ends when Stop has been posted and the last connection is gone.
  void Join();

  // Called for each connection that arrives on `fd`, on this loop's thread.
  void Listen(int fd, std::function<void(int fd, std::string remote)> accepted);

  // --- On the loop's thread
  // ------------------------------------------------------------------------
  void StopListening();
  // Takes over `fd`. refuse: answers 503 and closes.
  void Adopt(int fd, std::string remote, bool refuse);
  // Closes the listener and idle connections; `ended` is called once the loop has ended.
  void BeginStop(std::function<void()> ended);
  void CutAll();
  // The answer to the request that connection `id` is working on; the connection may be gone.
  void Deliver(uint64_t id, HttpResponse response, int route);
  // A piece of a streamed body; empty: the end.
  void DeliverChunk(uint64_t id, std::shared_ptr<std::function<Result<std::string>()>> stream,
                    Result<std::string> piece);
  // Gives the connection another turn after the others have had theirs.
  void TurnLater(uint64_t id) { turns_.push_back(id); }
  void Closed(uint64_t id);

  int index() const { return index_; }
  LoopContext& context() { return *context_; }
  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }
  MonotonicTime now() const { return now_; }
  bool stopping() const { return stopping_; }
  // For the Date header; changes once a second.
  std::string_view date();
  char* scratch() { return scratch_.get(); }
  static constexpr size_t kScratchBytes = 64 << 10;

 private:
  void Run();
  void Accept();
  void ShedOne();
  void DrainMailbox();
  void Sweep();
  Duration SweepInterval() const;
  Connection* Find(uint64_t id);

  const int index_;
  LoopContext* const context_;
  std::shared_ptr<Mailbox> mailbox_;
  int epoll_ = -1;
  int listener_ = -1;
  int spare_fd_ = -1;  // given up for a moment to refuse a connection when descriptors run out
  std::function<void(int, std::string)> accepted_;
  std::thread thread_;

  MonotonicTime now_;
  MonotonicTime next_sweep_;
  MonotonicTime next_shed_warning_;
  bool stopping_ = false;
  std::function<void()> ended_;
  uint64_t next_id_ = 16;  // lower ones are not connections
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> closed_;  // until the end of the round
  std::vector<uint64_t> turns_;
  std::unique_ptr<char[]> scratch_;
  char date_[32];
  size_t date_size_ = 0;
  MonotonicTime date_until_;
};

}  // namespace raftkv::server
