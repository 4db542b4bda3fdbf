#include "node/server/http_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <exception>

#include "base/check.h"
#include "base/log.h"
#include "node/server/http_connection.h"

namespace raftkv::server {
namespace {

// Of the loop that this thread runs. A mailbox outlives its loop as long as anything refers to it,
// so that its address stands for one loop only.
thread_local const Mailbox* current_mailbox = nullptr;

constexpr uint64_t kMailboxTag = 1;
constexpr uint64_t kListenerTag = 2;
constexpr int kEventsPerRound = 256;
constexpr int kAcceptsPerRound = 64;

std::string FormatAddress(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof(text));
  } else if (address.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text,
              sizeof(text));
  }
  return text;
}

int SpareDescriptor() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

Mailbox::Mailbox(Loop* loop) : loop_(loop), fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Mailbox::~Mailbox() {
  if (fd_ >= 0) close(fd_);
}

void Mailbox::Post(std::function<void()> work) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    wake = work_.empty();
    work_.push_back(std::move(work));
  }
  // Nothing to do about a full counter: the loop is awake then.
  uint64_t one = 1;
  if (wake) (void)!write(fd_, &one, sizeof(one));
}

Loop* Mailbox::LoopIfHere() const { return current_mailbox == this ? loop_ : nullptr; }

std::vector<std::function<void()>> Mailbox::Take() {
  uint64_t count = 0;
  (void)!read(fd_, &count, sizeof(count));
  std::vector<std::function<void()>> work;
  std::lock_guard lock(mutex_);
  work.swap(work_);
  return work;
}

void Mailbox::Close() {
  // Destroyed outside of the lock: closures may hold exchanges, whose end posts again.
  std::vector<std::function<void()>> dropped;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(work_);
}

Loop::Loop(int index, LoopContext* context)
    : index_(index),
      context_(context),
      mailbox_(std::make_shared<Mailbox>(this)),
      scratch_(new char[kScratchBytes]) {}

Loop::~Loop() {
  for (int fd : {epoll_, listener_, spare_fd_}) {
    if (fd >= 0) close(fd);
  }
}

Status Loop::Start() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  spare_fd_ = SpareDescriptor();
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kMailboxTag}};
  if (epoll_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, mailbox_->fd(), &event) != 0) {
    return Status(Code::kIoError,
                  std::string("cannot make an event loop: ") + std::strerror(errno));
  }
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raftkv-http");
    Run();
  });
  return Status::Ok();
}

void Loop::Join() {
  if (thread_.joinable()) thread_.join();
}

void Loop::Listen(int fd, std::function<void(int, std::string)> accepted) {
  listener_ = fd;
  accepted_ = std::move(accepted);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kListenerTag}};
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void Loop::StopListening() {
  if (listener_ >= 0) close(listener_);
  listener_ = -1;
}

void Loop::Adopt(int fd, std::string remote, bool refuse) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  uint64_t id = next_id_++;
  // Edge-triggered: registered once, no system call per request.
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u64 = id}};
  auto connection = std::make_unique<Connection>(this, id, fd, std::move(remote));
  Connection& added = *connections_.emplace(id, std::move(connection)).first->second;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return added.Close();
  if (refuse) return added.Refuse();
  if (stopping_) added.Close();
}

void Loop::Accept() {
  for (int i = 0; i < kAcceptsPerRound && listener_ >= 0; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&address), &size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accepted_(fd, FormatAddress(address));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE) ShedOne();
    // Everything else concerns the one connection that was lost before it could be accepted, or is
    // EAGAIN.
    if (errno != EINTR && errno != ECONNABORTED) return;
  }
}

void Loop::ShedOne() {
  if (spare_fd_ >= 0) close(spare_fd_);
  int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    context_->counters.refused.fetch_add(1, std::memory_order_relaxed);
    if (now_ >= next_shed_warning_) {
      log::Warning(
          "connections are closed because the process has no file descriptors left; raise "
          "the limit on open files (ulimit -n)");
      next_shed_warning_ = now_ + std::chrono::minutes(1);
    }
  }
  spare_fd_ = SpareDescriptor();
}

Connection* Loop::Find(uint64_t id) {
  auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

void Loop::Deliver(uint64_t id, HttpResponse response, int route) {
  if (Connection* connection = Find(id)) connection->OnResponse(std::move(response), route);
}

void Loop::DeliverChunk(uint64_t id, std::shared_ptr<std::function<Result<std::string>()>> stream,
                        Result<std::string> piece) {
  if (Connection* connection = Find(id)) {
    connection->OnChunk(std::move(stream), std::move(piece));
  }
}

void Loop::Closed(uint64_t id) {
  auto found = connections_.find(id);
  closed_.push_back(std::move(found->second));
  connections_.erase(found);
}

void Loop::BeginStop(std::function<void()> ended) {
  stopping_ = true;
  ended_ = std::move(ended);
  StopListening();
  std::vector<Connection*> all;
  for (auto& [id, connection] : connections_) all.push_back(connection.get());
  for (Connection* connection : all) connection->CloseIfIdle();
}

void Loop::CutAll() {
  std::vector<Connection*> all;
  for (auto& [id, connection] : connections_) all.push_back(connection.get());
  for (Connection* connection : all) connection->Close();
}

std::string_view Loop::date() {
  if (now_ >= date_until_) {
    std::time_t seconds = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    date_size_ = std::strftime(date_, sizeof(date_), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    date_until_ = now_ + std::chrono::milliseconds(500);
  }
  return {date_, date_size_};
}

Duration Loop::SweepInterval() const {
  const Limits& limits = context_->limits;
  Duration shortest = std::min({limits.head_timeout, limits.body_timeout, limits.idle_timeout,
                                limits.write_timeout, limits.linger_timeout});
  return std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(5), std::chrono::seconds(1));
}

void Loop::Sweep() {
  if (now_ < next_sweep_) return;
  next_sweep_ = now_ + SweepInterval();
  std::vector<Connection*> late;
  for (auto& [id, connection] : connections_) {
    if (connection->deadline() <= now_) late.push_back(connection.get());
  }
  for (Connection* connection : late) connection->OnDeadline();
}

void Loop::DrainMailbox() {
  for (std::function<void()>& work : mailbox_->Take()) {
    // What it was about is answered with 500 when the exchange in it goes.
    try {
      work();
    } catch (const std::exception& exception) {
      log::Error("a request handler threw; this is a bug", {{"exception", exception.what()}});
    }
    work = nullptr;
  }
}

void Loop::Run() {
  current_mailbox = mailbox_.get();
  const Clock& clock = Clock::System();
  next_sweep_ = now_ = clock.Now();
  epoll_event events[kEventsPerRound];
  while (!stopping_ || !connections_.empty()) {
    auto wait = std::chrono::ceil<std::chrono::milliseconds>(
        std::max<Duration>(next_sweep_ - now_, Duration::zero()));
    int count = epoll_wait(epoll_, events, kEventsPerRound,
                           turns_.empty() ? static_cast<int>(wait.count()) : 0);
    CHECK(count >= 0 || errno == EINTR);
    now_ = clock.Now();
    std::vector<uint64_t> turns;
    turns.swap(turns_);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kMailboxTag) {
        DrainMailbox();
      } else if (events[i].data.u64 == kListenerTag) {
        Accept();
      } else if (Connection* connection = Find(events[i].data.u64)) {
        connection->OnEvents(events[i].events);
      }
    }
    for (uint64_t id : turns) {
      if (Connection* connection = Find(id)) connection->OnTurn();
    }
    Sweep();
    closed_.clear();
  }
  mailbox_->Close();
  current_mailbox = nullptr;
  ended_();
}

}  // namespace raftkv::server
