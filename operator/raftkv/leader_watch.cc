#include "operator/raftkv/leader_watch.h"

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <cctype>
#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <thread>

namespace raftkv::op {
namespace {

using asio::ip::tcp;
using Error = std::error_code;

constexpr size_t kMaxAnswerBytes = 256 << 10;

// Bytes of the head and the body; 0: not all of the head has come, or it has no length.
size_t AnswerBytes(std::string_view answer) {
  const size_t head = answer.find("\r\n\r\n");
  if (head == std::string_view::npos) return 0;
  constexpr std::string_view kLength = "\r\ncontent-length:";
  std::string lower(answer.substr(0, head));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  size_t at = lower.find(kLength);
  if (at == std::string::npos) return 0;
  at = lower.find_first_not_of(' ', at + kLength.size());
  size_t length = 0;
  if (at == std::string::npos) return 0;
  if (std::from_chars(lower.data() + at, lower.data() + lower.size(), length).ec != std::errc()) {
    return 0;
  }
  return head + 4 + length;
}

// The answers are long; only this much of them matters.
bool SaysLeader(std::string_view answer) {
  const size_t role = answer.find("\"role\"");
  if (role == std::string_view::npos) return false;
  const size_t value = answer.find_first_not_of(" :\n", role + 6);
  return value != std::string_view::npos && answer.substr(value).starts_with("\"LEADER\"");
}

// One leader; ends when it is reported or nobody holds it any more.
class Watched : public std::enable_shared_from_this<Watched> {
 public:
  Watched(asio::io_context* io, kube::Key key, std::string host, const LeaderWatchOptions& options,
          const LeaderWatch::Lost& lost)
      : key_(std::move(key)),
        host_(std::move(host)),
        options_(options),
        lost_(lost),
        socket_(*io),
        pause_(*io),
        deadline_(*io) {}

  const std::string& host() const { return host_; }
  bool ended() const { return ended_; }

  void Wait() {
    pause_.expires_after(options_.period);
    pause_.async_wait([self = shared_from_this()](Error error) {
      if (!error && !self->ended_) self->Ask();
    });
  }

  void End() {
    ended_ = true;
    pause_.cancel();
    Close();
  }

 private:
  void Close() {
    deadline_.cancel();
    Error ignored;
    (void)socket_.close(ignored);
  }

  void Report() {
    if (ended_) return;
    End();
    lost_(key_);
  }

  void Ask() {
    deadline_.expires_after(options_.limit);
    deadline_.async_wait([self = shared_from_this(), round = ++round_](Error error) {
      if (!error && round == self->round_) self->Report();
    });
    fresh_ = !socket_.is_open();
    if (!fresh_) return Send();
    Error bad;
    const auto address = asio::ip::make_address(host_, bad);
    if (bad) return Report();
    const tcp::endpoint to(address, static_cast<uint16_t>(options_.port));
    socket_.async_connect(to, [self = shared_from_this()](Error error) {
      if (error) return self->Report();
      self->Send();
    });
  }

  void Send() {
    if (ended_) return;
    answer_.clear();
    request_ = "GET /admin/status HTTP/1.1\r\nHost: " + host_ + "\r\n\r\n";
    asio::async_write(socket_, asio::buffer(request_),
                      [self = shared_from_this()](Error error, size_t) {
                        if (error) return self->Broken();
                        self->Receive();
                      });
  }

  // A connection that stayed open may have been closed in the meantime, which says nothing.
  void Broken() {
    if (ended_) return;
    if (fresh_) return Report();
    Close();
    Ask();
  }

  void Receive() {
    socket_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this()](Error error, size_t bytes) {
                              if (error) return self->Broken();
                              self->answer_.append(self->chunk_.data(), bytes);
                              self->Take();
                            });
  }

  void Take() {
    const size_t whole = AnswerBytes(answer_);
    if (answer_.size() > kMaxAnswerBytes || whole > kMaxAnswerBytes) return Report();
    if (whole == 0 || answer_.size() < whole) return Receive();
    if (!SaysLeader(answer_)) return Report();
    ++round_;  // a deadline that has just passed is too late
    deadline_.cancel();
    Wait();
  }

  const kube::Key key_;
  const std::string host_;
  const LeaderWatchOptions& options_;
  const LeaderWatch::Lost& lost_;
  tcp::socket socket_;
  asio::steady_timer pause_;
  asio::steady_timer deadline_;
  std::string request_;
  std::string answer_;
  std::array<char, 4096> chunk_{};
  uint64_t round_ = 0;
  bool fresh_ = false;
  bool ended_ = false;
};

}  // namespace

struct LeaderWatch::Loop {
  const LeaderWatchOptions options;
  const Lost lost;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  std::map<kube::Key, std::shared_ptr<Watched>> leaders;  // of the thread alone
  std::jthread thread;

  void Set(const kube::Key& key, const std::string& host) {
    auto known = leaders.find(key);
    if (known != leaders.end()) {
      if (known->second->host() == host && !known->second->ended()) return;
      known->second->End();
      leaders.erase(known);
    }
    if (host.empty()) return;
    auto watched = std::make_shared<Watched>(&io, key, host, options, lost);
    leaders.emplace(key, watched);
    watched->Wait();
  }
};

LeaderWatch::LeaderWatch(Lost lost, LeaderWatchOptions options)
    : loop_(new Loop{.options = options, .lost = std::move(lost)}) {
  loop_->thread = std::jthread([loop = loop_.get()] { loop->io.run(); });
}

LeaderWatch::~LeaderWatch() {
  loop_->io.stop();
  loop_->thread.join();
}

void LeaderWatch::Set(const kube::Key& key, const std::string& host) {
  asio::post(loop_->io, [loop = loop_.get(), key, host] { loop->Set(key, host); });
}

}  // namespace raftkv::op
