// Worker: one thread's share of a load: an epoll loop over its connections.
//
// Thread-safety: none; made and run by one thread.
#pragma once

#include <netinet/in.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "tests/bench/load.h"
#include "tests/bench/requests.h"
#include "tests/bench/response_parser.h"

namespace raftkv::bench {

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  int get() const { return fd_; }
  void Close();

 private:
  int fd_ = -1;
};

class Worker {
 public:
  // `index` of `options.threads`: takes every threads-th client, key of a fill, and its share of
  // rate and requests. `addresses` matches options.endpoints.
  Worker(const LoadOptions& options, const std::vector<sockaddr_in>& addresses, int index);

  // kIoError when epoll, timers or sockets cannot be had.
  Result<LoadResult> Run();

 private:
  enum class Phase {
    kDown,  // no socket; connects again at `wake`
    kConnecting,
    kIdle,
    kSending,  // part of the request is still to be written
    kWaiting,
  };

  struct Client {
    size_t endpoint = 0;
    Fd socket;
    Phase phase = Phase::kDown;
    bool watching_output = false;
    bool is_read = false;
    Request put;
    Request get;
    size_t sent = 0;       // bytes of head and value
    MonotonicTime due{};   // latency counts from here
    MonotonicTime wake{};  // kDown: reconnect; otherwise the request's deadline
    ResponseParser parser;
  };

  std::unique_ptr<Client> MakeClient(int number) const;
  Status Watch(Client& client, bool output);
  Status Connect(Client& client);
  void Drop(Client& client);
  Status OnEvent(Client& client, uint32_t events);
  Status OnConnected(Client& client);
  Status OnReadable(Client& client);
  Status Answered(Client& client);
  Status Lost(Client& client);
  // Gives the client something to do: the next request if one is due, else a place among the idle.
  Status Next(Client& client);
  Status StartRequest(Client& client, MonotonicTime due);
  Status Send(Client& client);
  Request& RequestOf(Client& client) const { return client.is_read ? client.get : client.put; }
  uint64_t NextKey();
  // Open loop: hands the requests that are due to idle clients and sets the timer for the next.
  Status SendDue();
  void ClearTimer();
  Status CheckTimes();
  bool MayIssue() const;
  bool Finished() const;
  MonotonicTime DueTime(uint64_t number) const;
  void CountUnsent();

  const LoadOptions& options_;
  const std::vector<sockaddr_in>& addresses_;
  const int index_;
  const double rate_;     // of this worker
  const uint64_t quota_;  // requests of this worker; the largest number: no limit
  SeededRandom random_;
  RequestMaker maker_;
  uint64_t read_threshold_;  // a request is a get if random_.Next() is below

  Fd epoll_;
  Fd timer_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<Client*> idle_;
  uint64_t issued_ = 0;
  int under_way_ = 0;
  MonotonicTime start_{};
  MonotonicTime end_{};  // no request is started after this
  MonotonicTime now_{};  // when the current batch of events was fetched
  MonotonicTime next_check_{};
  MonotonicTime last_answer_{};
  LoadResult result_;
  std::vector<char> read_buffer_;
};

}  // namespace raftkv::bench
