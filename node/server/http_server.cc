#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "node/server/http.h"
#include "node/server/http_loop.h"
#include "node/server/listen.h"

namespace raftkv::server {
namespace {

// Connections over the limit that may wait for their 503 at the same time; more are just closed.
constexpr uint64_t kRefusalsAtOnce = 256;
constexpr size_t kStreamThreads = 4;
constexpr size_t kStreamQueue = 64;

int LoopCount(const Limits& limits) {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
  int wanted = limits.event_loops > 0 ? limits.event_loops : std::clamp(processors / 2, 1, 4);
  return std::min(wanted, HttpServer::kMaxLoops);
}

class EpollServer final : public HttpServer {
 public:
  EpollServer(const Limits& limits, Handler handler, HttpObserver* observer) {
    context_.limits = limits;
    context_.handler = std::move(handler);
    context_.observer = observer;
    context_.streams = std::make_unique<Executor>(kStreamThreads, kStreamQueue);
  }

  ~EpollServer() override { Stop(Duration::zero()); }

  Status Open(int listener) {
    port_ = BoundPort(listener);
    for (int i = 0; i < LoopCount(context_.limits); ++i) {
      loops_.push_back(std::make_unique<Loop>(i, &context_));
      Status started = loops_.back()->Start();
      if (!started.ok()) {
        close(listener);
        return started;
      }
    }
    Loop* first = loops_.front().get();
    first->mailbox()->Post([this, first, listener] {
      first->Listen(listener, [this](int fd, std::string remote) { Place(fd, std::move(remote)); });
    });
    return Status::Ok();
  }

  void Stop(Duration grace) override {
    if (stopped_) return;
    stopped_ = true;
    std::mutex mutex;
    std::condition_variable wake;
    size_t running = loops_.size();
    for (auto& loop : loops_) {
      auto ended = [&mutex, &wake, &running] {
        std::lock_guard lock(mutex);
        --running;
        wake.notify_one();
      };
      loop->mailbox()->Post([l = loop.get(), ended] { l->BeginStop(ended); });
    }
    {
      std::unique_lock lock(mutex);
      if (!wake.wait_for(lock, grace, [&running] { return running == 0; })) {
        lock.unlock();
        for (auto& loop : loops_) loop->mailbox()->Post([l = loop.get()] { l->CutAll(); });
      }
    }
    for (auto& loop : loops_) loop->Join();
  }

  uint16_t port() const override { return port_; }

  HttpStats stats() const override {
    const SharedCounters& counters = context_.counters;
    return {.connections = counters.connections.load(std::memory_order_relaxed),
            .accepted = counters.accepted.load(std::memory_order_relaxed),
            .refused = counters.refused.load(std::memory_order_relaxed),
            .buffered_bytes = counters.buffered_bytes.load(std::memory_order_relaxed)};
  }

 private:
  // On the first loop's thread: gives the connection to the next loop.
  void Place(int fd, std::string remote) {
    SharedCounters& counters = context_.counters;
    counters.accepted.fetch_add(1, std::memory_order_relaxed);
    uint64_t open = counters.connections.fetch_add(1, std::memory_order_relaxed);
    const uint64_t most = context_.limits.max_connections;
    if (open >= most + std::clamp<uint64_t>(most / 8, 4, kRefusalsAtOnce)) {
      counters.connections.fetch_sub(1, std::memory_order_relaxed);
      counters.refused.fetch_add(1, std::memory_order_relaxed);
      close(fd);
      return;
    }
    bool refuse = open >= most;
    Loop* loop = loops_[next_++ % loops_.size()].get();
    if (loop == loops_.front().get()) return loop->Adopt(fd, std::move(remote), refuse);
    auto socket = std::make_shared<Socket>(fd);
    loop->mailbox()->Post(
        [loop, socket, remote, refuse] { loop->Adopt(socket->Release(), remote, refuse); });
  }

  // Closes a descriptor that never arrived at its loop.
  class Socket {
   public:
    explicit Socket(int fd) : fd_(fd) {}
    ~Socket() {
      if (fd_ >= 0) close(fd_);
    }
    int Release() { return std::exchange(fd_, -1); }

   private:
    int fd_;
  };

  LoopContext context_;
  std::vector<std::unique_ptr<Loop>> loops_;
  uint64_t next_ = 0;
  uint16_t port_ = 0;
  bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                      const Limits& limits, Handler handler,
                                                      HttpObserver* observer) {
  ASSIGN_OR_RETURN(int listener, Listen(address, limits.backlog));
  auto server = std::make_unique<EpollServer>(limits, std::move(handler), observer);
  RETURN_UNEXPECTED_IF_ERROR(server->Open(listener));
  return server;
}

}  // namespace raftkv::server
