#include "tests/faults/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <random>
#include <string_view>

#include "node/transport/frame.h"
#include "raftkv/v1/peer.pb.h"
#include "tests/faults/frame_repeater.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{5};  // how soon a change of the faults is noticed
constexpr size_t kMostHeld = size_t{4} << 20;
constexpr size_t kReadBytes = size_t{64} << 10;
constexpr size_t kMostHelloBytes = 4096;
// Linux repeats a lost segment after 200 ms at the earliest.
constexpr milliseconds kRetransmission{200};

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

void SetNoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int Dial(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    return -1;
  }
  SetNoDelay(fd);
  return fd;
}

// A close that the other side sees as a reset.
void MakeAbrupt(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

// The handshake that `bytes` begin with, once all of it is there.
v1::Hello HelloOf(std::string_view bytes) {
  transport::FrameReader reader(kMostHelloBytes);
  const std::span<char> room = reader.Prepare();
  const size_t size = std::min(room.size(), bytes.size());
  bytes.copy(room.data(), size);
  reader.Commit(size);
  std::string_view body;
  v1::Hello hello;
  if (reader.Next(&body) != transport::FrameError::kNone) return {};
  return hello.ParseFromArray(body.data(), static_cast<int>(body.size())) ? hello : v1::Hello();
}

struct Chunk {
  Clock::time_point due;
  std::string bytes;
};

}  // namespace

Proxies::~Proxies() {
  stop_ = true;
  for (std::thread& thread : acceptors_) thread.join();
  for (Pipe& pipe : pipes_) pipe.thread.join();
}

int Proxies::Add(size_t node, int port) {
  const int own = testing::ReservePort();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const sockaddr_in address = Loopback(own);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    close(listener);
    return 0;
  }
  acceptors_.emplace_back([this, listener, node, port] { Accept(listener, node, port); });
  return own;
}

void Proxies::Know(uint64_t member_id, size_t node) {
  std::lock_guard lock(mutex_);
  members_[member_id] = node;
}

void Proxies::Set(size_t from, size_t to, LinkFault fault) {
  std::lock_guard lock(mutex_);
  faults_[{from, to}] = fault;
}

void Proxies::SetAround(size_t node, size_t nodes, LinkFault fault) {
  for (size_t other = 0; other < nodes; ++other) {
    if (other == node) continue;
    Set(node, other, fault);
    Set(other, node, fault);
  }
}

void Proxies::Heal() {
  std::lock_guard lock(mutex_);
  faults_.clear();
}

void Proxies::ResetAround(size_t node) {
  std::lock_guard lock(mutex_);
  for (Pipe& pipe : pipes_) {
    const auto from = members_.find(pipe.member);
    if (pipe.to == node || (from != members_.end() && from->second == node)) pipe.reset = true;
  }
}

void Proxies::Accept(int listener, size_t node, int port) {
  while (!stop_) {
    pollfd ready{listener, POLLIN, 0};
    if (poll(&ready, 1, 20) <= 0) continue;
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    SetNoDelay(fd);
    const int target = Dial(port);
    if (target < 0) {
      // As if nobody listened here.
      MakeAbrupt(fd);
      close(fd);
      continue;
    }
    ++connections_;
    std::lock_guard lock(mutex_);
    std::erase_if(pipes_, [](Pipe& pipe) {
      if (!pipe.broken || pipe.dialer >= 0) return false;
      pipe.thread.join();
      return true;
    });
    Pipe& pipe = pipes_.emplace_back();
    pipe.dialer = fd;
    pipe.target = target;
    pipe.to = node;
    pipe.thread = std::thread([this, &pipe] { Serve(pipe); });
  }
  close(listener);
}

void Proxies::Serve(Pipe& pipe) {
  const uint64_t number = connections_;
  std::thread back([&] { Pump(pipe, false, seed_ + 2 * number); });
  Pump(pipe, true, seed_ + 2 * number + 1);
  back.join();
  if (pipe.reset) {
    MakeAbrupt(pipe.dialer);
    MakeAbrupt(pipe.target);
  }
  close(pipe.target);
  close(pipe.dialer);
  std::lock_guard lock(mutex_);
  pipe.dialer = -1;
}

LinkFault Proxies::FaultOf(const Pipe& pipe, bool from_dialer) {
  std::lock_guard lock(mutex_);
  const auto dialer = members_.find(pipe.member);
  if (dialer == members_.end()) return {};
  const auto fault = faults_.find(from_dialer ? std::pair(dialer->second, pipe.to)
                                              : std::pair(pipe.to, dialer->second));
  return fault == faults_.end() ? LinkFault{} : fault->second;
}

void Proxies::Pump(Pipe& pipe, bool from_dialer, uint64_t seed) {
  const int in = from_dialer ? pipe.dialer : pipe.target;
  const int out = from_dialer ? pipe.target : pipe.dialer;
  std::mt19937_64 random(seed);
  const auto chance = [&](double share) {
    return share > 0 && std::uniform_real_distribution(0.0, 1.0)(random) < share;
  };
  FrameRepeater repeater;
  std::deque<Chunk> held;
  size_t held_bytes = 0;
  std::string hello;
  Clock::time_point last_due{};
  bool ended = false;
  while (!stop_ && !pipe.broken && !pipe.reset) {
    const LinkFault fault = FaultOf(pipe, from_dialer);
    const Clock::time_point now = Clock::now();
    while (!held.empty() && !fault.cut && held.front().due <= now) {
      const std::string& bytes = held.front().bytes;
      size_t sent = 0;
      while (sent < bytes.size() && !stop_) {
        const ssize_t n =
            send(out, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
          sent += static_cast<size_t>(n);
          continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) break;
        pollfd room{out, POLLOUT, 0};
        (void)poll(&room, 1, 20);
        if (pipe.broken || pipe.reset) break;
      }
      if (sent < bytes.size()) pipe.broken = true;
      held_bytes -= bytes.size();
      bytes_ += sent;
      held.pop_front();
    }
    if (ended && held.empty()) break;
    if (ended || held_bytes > kMostHeld) {
      std::this_thread::sleep_for(kLook);
      continue;
    }
    pollfd ready{in, POLLIN, 0};
    const int wait = held.empty() ? 20 : 1;
    if (poll(&ready, 1, wait) <= 0) continue;
    std::array<char, kReadBytes> buffer;
    const ssize_t n = recv(in, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      // The end travels as bytes do: behind them, and not at all through a cut.
      ended = true;
      continue;
    }
    if (chance(fault.flip)) {
      char& byte = buffer[random() % static_cast<size_t>(n)];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
    }
    const std::string_view bytes(buffer.data(), static_cast<size_t>(n));
    if (from_dialer && pipe.member == 0 && hello.size() < kMostHelloBytes) {
      hello.append(bytes);
      const v1::Hello said = HelloOf(hello);
      pipe.is_messages = said.purpose() == v1::Hello::MESSAGES;
      pipe.member = said.member_id();
    }
    if (chance(fault.reset)) pipe.reset = true;
    Clock::time_point due = Clock::now() + fault.delay;
    if (fault.jitter.count() > 0) {
      due += milliseconds(std::uniform_int_distribution<int64_t>(0, fault.jitter.count())(random));
    }
    if (chance(fault.stall)) due += kRetransmission;
    last_due = std::max(due, last_due);
    const uint64_t repeated_before = repeater.repeated();
    const uint64_t calls_before = repeater.repeated_calls();
    const uint64_t overtaken_before = repeater.overtaken();
    const bool streams = pipe.member != 0 && pipe.is_messages;
    held.push_back(
        {last_due, repeater.Pass(bytes, {[&] { return streams && chance(fault.repeat); },
                                         [&] { return streams && chance(fault.late); },
                                         [&](size_t count) { return random() % count; }})});
    repeated_ += repeater.repeated() - repeated_before;
    repeated_calls_ += repeater.repeated_calls() - calls_before;
    overtaken_ += repeater.overtaken() - overtaken_before;
    held_bytes += held.back().bytes.size();
  }
  pipe.broken = true;
}

}  // namespace raftkv::faults
