#include "tests/bench/worker.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace raftkv::bench {
namespace {

constexpr Duration kReconnectPause = std::chrono::milliseconds(20);
constexpr Duration kCheckInterval = std::chrono::milliseconds(20);
constexpr size_t kReadBufferBytes = 64 << 10;
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

Status OsError(const char* call) {
  return Status(Code::kIoError, std::string(call) + ": " + std::strerror(errno));
}

// This worker's part of `total` when it is dealt out one by one.
uint64_t Share(uint64_t total, int parts, int index) {
  auto n = static_cast<uint64_t>(parts);
  return (total + n - 1 - static_cast<uint64_t>(index)) / n;
}

uint64_t Quota(const LoadOptions& options, int index) {
  if (options.workload == Workload::kFill) return Share(options.keys, options.threads, index);
  if (options.requests == 0) return kNoLimit;
  return Share(options.requests, options.threads, index);
}

uint64_t ReadThreshold(const LoadOptions& options) {
  if (options.workload == Workload::kGet) return kNoLimit;
  if (options.workload != Workload::kMixed) return 0;
  return static_cast<uint64_t>(std::ldexp(std::min(options.read_ratio, 0.999999), 64));
}

}  // namespace

void Fd::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Worker::Worker(const LoadOptions& options, const std::vector<sockaddr_in>& addresses, int index)
    : options_(options),
      addresses_(addresses),
      index_(index),
      rate_(options.rate / options.threads),
      quota_(Quota(options, index)),
      random_(options.seed * 1'000'003 + static_cast<uint64_t>(index)),
      maker_(options, random_),
      read_threshold_(ReadThreshold(options)),
      read_buffer_(kReadBufferBytes) {
  for (int i = index; i < options.clients; i += options.threads) clients_.push_back(MakeClient(i));
}

std::unique_ptr<Worker::Client> Worker::MakeClient(int number) const {
  auto client = std::make_unique<Client>();
  client->endpoint = static_cast<size_t>(number) % options_.endpoints.size();
  client->put = maker_.Put(options_.endpoints[client->endpoint]);
  client->get = maker_.Get(options_.endpoints[client->endpoint]);
  return client;
}

Result<LoadResult> Worker::Run() {
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  timer_ = Fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (epoll_.get() < 0 || timer_.get() < 0)
    return Error(OsError("epoll_create1 or timerfd_create"));
  epoll_event timer_event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &timer_event) != 0)
    return Error(OsError("epoll_ctl"));

  start_ = now_ = last_answer_ = Clock::System().Now();
  end_ = options_.duration > Duration::zero() ? start_ + options_.duration : MonotonicTime::max();
  for (auto& client : clients_) RETURN_UNEXPECTED_IF_ERROR(Connect(*client));
  std::array<epoll_event, 256> events;
  while (!Finished()) {
    int n = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 20);
    if (n < 0 && errno != EINTR) return Error(OsError("epoll_wait"));
    now_ = Clock::System().Now();
    for (int i = 0; i < n; ++i) {
      auto* client = static_cast<Client*>(events[static_cast<size_t>(i)].data.ptr);
      if (client != nullptr) {
        RETURN_UNEXPECTED_IF_ERROR(OnEvent(*client, events[static_cast<size_t>(i)].events));
      } else {
        ClearTimer();
      }
    }
    if (rate_ > 0) RETURN_UNEXPECTED_IF_ERROR(SendDue());
    if (now_ >= next_check_) RETURN_UNEXPECTED_IF_ERROR(CheckTimes());
  }
  CountUnsent();
  result_.seconds = std::chrono::duration<double>(last_answer_ - start_).count();
  return std::move(result_);
}

bool Worker::MayIssue() const { return issued_ < quota_ && now_ < end_; }
bool Worker::Finished() const { return under_way_ == 0 && !MayIssue(); }

MonotonicTime Worker::DueTime(uint64_t number) const {
  return start_ + Duration(static_cast<int64_t>(static_cast<double>(number) / rate_ * 1e9));
}

void Worker::CountUnsent() {
  if (rate_ <= 0 || end_ == MonotonicTime::max()) return;
  double seconds = std::chrono::duration<double>(end_ - start_).count();
  auto due = std::min(quota_, static_cast<uint64_t>(std::ceil(seconds * rate_)));
  if (due > issued_) result_.unsent = due - issued_;
}

// --- Connections ---------------------------------------------------------------------------------

Status Worker::Watch(Client& client, bool output) {
  epoll_event event{.events = EPOLLIN | (output ? EPOLLOUT : 0u), .data = {.ptr = &client}};
  int operation = client.phase == Phase::kDown ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  client.watching_output = output;
  if (epoll_ctl(epoll_.get(), operation, client.socket.get(), &event) != 0)
    return OsError("epoll_ctl");
  return Status::Ok();
}

Status Worker::Connect(Client& client) {
  CHECK(client.phase == Phase::kDown);
  client.socket = Fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (client.socket.get() < 0) return OsError("socket");
  int on = 1;
  setsockopt(client.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const sockaddr_in& address = addresses_[client.endpoint];
  if (connect(client.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
          0 &&
      errno != EINPROGRESS) {
    ++result_.connect_errors;
    Drop(client);
    return Status::Ok();
  }
  RETURN_IF_ERROR(Watch(client, true));
  client.phase = Phase::kConnecting;
  client.wake = now_ + options_.timeout;
  return Status::Ok();
}

void Worker::Drop(Client& client) {
  if (client.phase == Phase::kIdle) std::erase(idle_, &client);
  if (client.phase == Phase::kSending || client.phase == Phase::kWaiting) --under_way_;
  client.socket.Close();
  client.phase = Phase::kDown;
  client.wake = now_ + kReconnectPause;
}

Status Worker::OnEvent(Client& client, uint32_t events) {
  switch (client.phase) {
    case Phase::kDown:
      return Status::Ok();
    case Phase::kConnecting:
      return OnConnected(client);
    case Phase::kSending:
      if ((events & EPOLLOUT) != 0) return Send(client);
      return OnReadable(client);
    case Phase::kIdle:
    case Phase::kWaiting:
      return OnReadable(client);
  }
  return Status::Ok();
}

Status Worker::OnConnected(Client& client) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(client.socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    ++result_.connect_errors;
    Drop(client);
    return Status::Ok();
  }
  RETURN_IF_ERROR(Watch(client, false));
  return Next(client);
}

Status Worker::OnReadable(Client& client) {
  ssize_t n = recv(client.socket.get(), read_buffer_.data(), read_buffer_.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Status::Ok();
  // An answer before the whole request was sent is a refusal; what follows cannot be framed.
  if (n <= 0 || client.phase != Phase::kWaiting) return Lost(client);
  switch (client.parser.Feed({read_buffer_.data(), static_cast<size_t>(n)})) {
    case ResponseParser::State::kNeedMore:
      return Status::Ok();
    case ResponseParser::State::kDone:
      return Answered(client);
    case ResponseParser::State::kError:
      return Lost(client);
  }
  return Status::Ok();
}

Status Worker::Answered(Client& client) {
  last_answer_ = Clock::System().Now();
  int status = client.parser.status();
  ++result_.by_status[status];
  if (status >= 200 && status < 300) {
    auto latency = static_cast<uint64_t>((last_answer_ - client.due).count());
    (client.is_read ? result_.reads : result_.writes).Record(latency);
  }
  now_ = last_answer_;
  if (!client.parser.keep_alive()) {
    Drop(client);
    return MayIssue() ? Connect(client) : Status::Ok();
  }
  --under_way_;
  return Next(client);
}

Status Worker::Lost(Client& client) {
  if (client.phase != Phase::kIdle) ++result_.broken;
  Drop(client);
  // At once: the pause is for endpoints that refuse connections.
  return MayIssue() ? Connect(client) : Status::Ok();
}

// --- Requests ------------------------------------------------------------------------------------

Status Worker::Next(Client& client) {
  if (rate_ > 0 || !MayIssue()) {
    client.phase = Phase::kIdle;
    idle_.push_back(&client);
    return Status::Ok();
  }
  return StartRequest(client, now_);
}

Status Worker::SendDue() {
  while (!idle_.empty() && MayIssue() && DueTime(issued_) <= now_) {
    Client* client = idle_.front();
    idle_.pop_front();
    RETURN_IF_ERROR(StartRequest(*client, DueTime(issued_)));
  }
  if (idle_.empty() || !MayIssue()) return Status::Ok();
  auto due = DueTime(issued_).time_since_epoch().count();
  itimerspec when{.it_interval = {},
                  .it_value = {.tv_sec = due / 1'000'000'000, .tv_nsec = due % 1'000'000'000}};
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0)
    return OsError("timerfd_settime");
  return Status::Ok();
}

void Worker::ClearTimer() {
  uint64_t expirations;
  // EAGAIN (set anew since the event) is as good as a count: only the wake-up matters.
  [[maybe_unused]] ssize_t n = read(timer_.get(), &expirations, sizeof expirations);
}

Status Worker::StartRequest(Client& client, MonotonicTime due) {
  client.is_read = read_threshold_ == kNoLimit || random_.Next() < read_threshold_;
  maker_.WriteKey(NextKey(), &RequestOf(client));
  ++issued_;
  ++under_way_;
  client.due = due;
  client.wake = now_ + options_.timeout;
  client.sent = 0;
  client.parser.Reset();
  client.phase = Phase::kSending;
  return Send(client);
}

uint64_t Worker::NextKey() {
  if (options_.workload != Workload::kFill) return random_.Uniform(options_.keys);
  return issued_ * static_cast<uint64_t>(options_.threads) + static_cast<uint64_t>(index_);
}

Status Worker::Send(Client& client) {
  std::string& head = RequestOf(client).bytes;
  const std::string& tail = maker_.put_tail();
  size_t body = client.is_read ? 0 : tail.size();
  while (client.sent < head.size() + body) {
    size_t from_head = std::min(client.sent, head.size());
    size_t from_body = client.sent - from_head;
    iovec parts[2] = {{head.data() + from_head, head.size() - from_head},
                      {const_cast<char*>(tail.data()) + from_body, body - from_body}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t n = sendmsg(client.socket.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN)
      return client.watching_output ? Status::Ok() : Watch(client, true);
    if (n < 0) return Lost(client);
    client.sent += static_cast<size_t>(n);
  }
  client.phase = Phase::kWaiting;
  return client.watching_output ? Watch(client, false) : Status::Ok();
}

Status Worker::CheckTimes() {
  next_check_ = now_ + kCheckInterval;
  for (auto& client : clients_) {
    if (client->phase == Phase::kIdle || now_ < client->wake) continue;
    if (client->phase == Phase::kDown) {
      if (MayIssue()) RETURN_IF_ERROR(Connect(*client));
      continue;
    }
    ++(client->phase == Phase::kConnecting ? result_.connect_errors : result_.timeouts);
    Drop(*client);
    if (MayIssue()) RETURN_IF_ERROR(Connect(*client));
  }
  return Status::Ok();
}

}  // namespace raftkv::bench
