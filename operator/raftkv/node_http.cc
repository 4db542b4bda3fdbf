#include "operator/raftkv/node_http.h"

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <cctype>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace raftkv::op {
namespace {

using asio::ip::tcp;
using std::chrono::steady_clock;
using SystemError = std::error_code;

constexpr size_t kMaxAnswerBytes = 1 << 20;

struct Head {
  size_t bytes = 0;  // the empty line included
  int status = 0;
  size_t length = 0;  // of the body
  bool close = false;
};

template <class Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// In lower case, without the spaces before it; empty if there is none.
std::string_view Field(std::string_view lower_head, std::string_view name) {
  const size_t at = lower_head.find(name);
  if (at == std::string_view::npos) return {};
  const size_t value = lower_head.find_first_not_of(' ', at + name.size());
  if (value == std::string_view::npos) return {};
  return lower_head.substr(value, lower_head.find("\r\n", value) - value);
}

// kFailedPrecondition: not all of it has come; kInvalidArgument: that is no answer of a node.
Result<Head> ParseHead(std::string_view answer) {
  Head head;
  const size_t end = answer.find("\r\n\r\n");
  if (end == std::string_view::npos) return Error(Code::kFailedPrecondition, "more is to come");
  head.bytes = end + 4;
  std::string lower(answer.substr(0, end + 2));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kVersion = "http/1.1 ";
  const auto status = lower.starts_with(kVersion)
                          ? ParseNumber<int>(std::string_view(lower).substr(kVersion.size()))
                          : std::nullopt;
  const auto length = ParseNumber<size_t>(Field(lower, "\r\ncontent-length:"));
  if (!status || !length || *length > kMaxAnswerBytes) {
    return Error(Code::kInvalidArgument, "not HTTP/1.1 with a length");
  }
  head.status = *status;
  head.length = *length;
  head.close = Field(lower, "\r\nconnection:") == "close";
  return head;
}

std::string Written(const NodeRequest& request) {
  const bool v6 = request.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + request.host + "]" : request.host;
  if (request.body.empty())
    return "GET " + request.path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
  return "POST " + request.path + " HTTP/1.1\r\nHost: " + host +
         "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
}

// Connections that are open and that nobody uses. Of the loop's thread alone.
class Kept {
 public:
  Kept(asio::io_context* io, Duration keep) : io_(io), keep_(keep) {}

  std::optional<tcp::socket> Take(const std::string& host) {
    auto found = idle_.find(host);
    if (found == idle_.end()) return std::nullopt;
    std::optional<tcp::socket> socket(std::move(found->second.socket));
    idle_.erase(found);
    return socket;
  }

  void Give(const std::string& host, tcp::socket socket) {
    idle_.erase(host);
    auto [entry, made] = idle_.try_emplace(host, Idle{std::move(socket), asio::steady_timer(*io_)});
    entry->second.timer.expires_after(keep_);
    entry->second.timer.async_wait([this, host](SystemError cancelled) {
      if (!cancelled) idle_.erase(host);
    });
  }

 private:
  struct Idle {
    tcp::socket socket;
    asio::steady_timer timer;
  };

  asio::io_context* io_;
  const Duration keep_;
  std::map<std::string, Idle> idle_;
};

// One request and its answer.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(asio::io_context* io, Kept* kept, int port, NodeRequest request, NodeHttp::Done done)
      : kept_(kept),
        port_(port),
        request_(std::move(request)),
        done_(std::move(done)),
        text_(Written(request_)),
        socket_(*io),
        deadline_(*io) {}

  void Start() {
    end_ = steady_clock::now() + request_.limit;
    std::optional<tcp::socket> open;
    if (request_.body.empty()) open = kept_->Take(request_.host);
    if (!open) return Connect();
    socket_ = *std::move(open);
    from_kept_ = true;
    SetDeadline(end_);
    Write();
  }

 private:
  void SetDeadline(steady_clock::time_point when) {
    deadline_.expires_at(when);
    deadline_.async_wait([self = shared_from_this()](SystemError cancelled) {
      if (cancelled || self->done_ == nullptr) return;
      self->Fail("no answer in time");
    });
  }

  void Connect() {
    SystemError bad;
    const auto address = asio::ip::make_address(request_.host, bad);
    if (bad) return Fail("'" + request_.host + "' is no address");
    SetDeadline(std::min(end_, steady_clock::now() + request_.connect_limit));
    socket_.async_connect({address, static_cast<uint16_t>(port_)},
                          [self = shared_from_this()](SystemError error) {
                            if (self->done_ == nullptr) return;
                            if (error) return self->Fail(error.message());
                            SystemError ignored;
                            (void)self->socket_.set_option(tcp::no_delay(true), ignored);
                            self->SetDeadline(self->end_);
                            self->Write();
                          });
  }

  void Write() {
    sent_ = true;
    asio::async_write(socket_, asio::buffer(text_),
                      [self = shared_from_this()](SystemError error, size_t) {
                        if (self->done_ == nullptr) return;
                        if (error) return self->Broken(error);
                        self->Read();
                      });
  }

  void Read() {
    socket_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this()](SystemError error, size_t bytes) {
                              if (self->done_ == nullptr) return;
                              if (error) return self->Broken(error);
                              self->answer_.append(self->chunk_.data(), bytes);
                              self->Take();
                            });
  }

  // A connection that was kept may have been closed meanwhile, which says nothing.
  void Broken(SystemError error) {
    if (!from_kept_ || !answer_.empty()) return Fail(error.message());
    from_kept_ = false;
    sent_ = false;
    Close();
    Connect();
  }

  void Take() {
    auto head = ParseHead(answer_);
    const bool more = !head && head.error().code() == Code::kFailedPrecondition;
    if (more && answer_.size() < kMaxAnswerBytes) return Read();
    if (!head) return Fail(head.error().message());
    if (answer_.size() < head->bytes + head->length) return Read();
    const bool whole = answer_.size() == head->bytes + head->length;
    if (whole && !head->close && request_.body.empty()) {
      kept_->Give(request_.host, std::move(socket_));
    }
    End(NodeAnswer{head->status, answer_.substr(head->bytes, head->length)});
  }

  void Fail(const std::string& why) {
    End(Error(sent_ ? Code::kUnknownOutcome : Code::kUnavailable, why));
  }

  void End(Result<NodeAnswer> result) {
    deadline_.cancel();
    Close();
    NodeHttp::Done done = std::exchange(done_, nullptr);
    done(std::move(result));
  }

  void Close() {
    SystemError ignored;
    (void)socket_.close(ignored);
  }

  Kept* const kept_;
  const int port_;
  const NodeRequest request_;
  NodeHttp::Done done_;
  const std::string text_;
  tcp::socket socket_;
  asio::steady_timer deadline_;
  steady_clock::time_point end_;
  std::string answer_;
  std::array<char, 4096> chunk_{};
  bool from_kept_ = false;
  bool sent_ = false;
};

}  // namespace

struct NodeHttp::Loop {
  explicit Loop(NodeHttpOptions given) : options(given) {}

  const NodeHttpOptions options;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  Kept kept{&io, options.keep};
  std::jthread thread{[this] { io.run(); }};
};

NodeHttp::NodeHttp(NodeHttpOptions options) : loop_(std::make_unique<Loop>(options)) {}

NodeHttp::~NodeHttp() {
  loop_->io.stop();
  loop_->thread.join();
}

void NodeHttp::Send(NodeRequest request, Done done) {
  auto exchange = std::make_shared<Exchange>(&loop_->io, &loop_->kept, loop_->options.port,
                                             std::move(request), std::move(done));
  asio::post(loop_->io, [exchange] { exchange->Start(); });
}

void NodeHttp::After(Duration pause, std::function<void()> tick) {
  auto timer = std::make_shared<asio::steady_timer>(loop_->io, pause);
  timer->async_wait([timer, tick = std::move(tick)](SystemError cancelled) {
    if (!cancelled) tick();
  });
}

}  // namespace raftkv::op
