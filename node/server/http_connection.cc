#include "node/server/http_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "node/server/problem.h"

namespace raftkv::server {
namespace {

constexpr int kReadsPerTurn = 4;
// Small, because what follows a pipelined request is copied when the request is handed on.
constexpr size_t kHeadRead = 16 << 10;
// Answers to pipelined requests wait for the client to read, rather than in memory.
constexpr size_t kMaxPendingOutput = 256 << 10;
// Larger bodies go to the socket from where they are.
constexpr size_t kCopyBody = 16 << 10;
// Buffers above this are given back when they are empty.
constexpr size_t kKeepBuffer = 16 << 10;

HttpResponse Dropped() { return Problem(500, "The request was dropped; this is a bug."); }

}  // namespace

// Owns the bytes that the request refers to, and knows the way back to the connection, which may be
// gone by the time the answer is there.
class ExchangeImpl final : public Exchange {
 public:
  ExchangeImpl(std::shared_ptr<Mailbox> mailbox, uint64_t connection, std::string buffer,
               HttpRequest request)
      : mailbox_(std::move(mailbox)),
        connection_(connection),
        buffer_(std::move(buffer)),
        request_(std::move(request)) {}

  ~ExchangeImpl() override {
    if (!responded_.load()) Send(Dropped());
  }

  const HttpRequest& request() const override { return request_; }

  void Respond(HttpResponse response) override {
    CHECK(!responded_.exchange(true), "a request was answered twice");
    Send(std::move(response));
  }

  void RespondIfOpen(HttpResponse response) {
    if (!responded_.exchange(true)) Send(std::move(response));
  }

  void Run(std::function<void()> work) override {
    if (mailbox_->LoopIfHere() != nullptr) return work();
    mailbox_->Post(std::move(work));
  }

 private:
  void Send(HttpResponse response) {
    if (Loop* loop = mailbox_->LoopIfHere()) {
      return loop->Deliver(connection_, std::move(response), route);
    }
    auto deliver = [mailbox = mailbox_, id = connection_, taken = route,
                    answer = std::move(response)]() mutable {
      mailbox->LoopIfHere()->Deliver(id, std::move(answer), taken);
    };
    mailbox_->Post(std::move(deliver));
  }

  const std::shared_ptr<Mailbox> mailbox_;
  const uint64_t connection_;
  const std::string buffer_;
  const HttpRequest request_;
  std::atomic<bool> responded_{false};
};

Connection::Connection(Loop* loop, uint64_t id, int fd, std::string remote)
    : loop_(loop), id_(id), fd_(fd), remote_(std::move(remote)), scanner_(limits()) {
  SetDeadline(limits().head_timeout);
}

Connection::~Connection() { close(fd_); }

void Connection::Close() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kInFlight || state_ == State::kStream) ReleaseRequest();
  state_ = State::kClosed;
  ReleaseInput();
  counters().buffered_bytes.fetch_sub(out_accounted_, std::memory_order_relaxed);
  counters().connections.fetch_sub(1, std::memory_order_relaxed);
  loop_->Closed(id_);
}

void Connection::CloseIfIdle() {
  if (state_ == State::kHead && in_.empty() && !HasOutput()) Close();
}

void Connection::Refuse() {
  counters().refused.fetch_add(1, std::memory_order_relaxed);
  Fail({503, "Too many connections are open; try another node or come back later."});
  Flush();
}

void Connection::OnEvents(uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) return Close();
  if (events & EPOLLRDHUP) half_closed_ = true;
  if (events & (EPOLLIN | EPOLLRDHUP)) readable_ = true;
  if (events & EPOLLOUT) writable_ = true;
  Advance();
}

void Connection::OnDeadline() {
  bool reads = state_ == State::kHead || state_ == State::kBody;
  if (!reads || in_.empty() || HasOutput()) return Close();
  Fail({408, "The request did not arrive in time."});
  Flush();
}

void Connection::Advance() {
  if (advancing_) return;
  advancing_ = true;
  for (int reads = 0;; ++reads) {
    while (ProcessBuffered()) {
    }
    Flush();
    if (state_ == State::kLinger) Discard();
    bool wants_input = state_ == State::kHead || state_ == State::kBody;
    if (!wants_input || HasOutput() || !readable_) break;
    if (reads == kReadsPerTurn) {
      loop_->TurnLater(id_);
      break;
    }
    if (!Receive()) break;
  }
  advancing_ = false;
}

size_t Connection::ReceiveSize() const {
  if (state_ == State::kHead) return kHeadRead;
  // Never past the body: in_ must not grow beyond the room that PrepareBody made for it.
  return std::min(Loop::kScratchBytes, head_bytes_ + head_->content_length - in_.size());
}

bool Connection::Receive() {
  size_t size = ReceiveSize();
  ssize_t count = recv(fd_, loop_->scratch(), size, 0);
  if (count > 0) {
    if (in_.empty()) SetDeadline(limits().head_timeout);
    in_.append(loop_->scratch(), static_cast<size_t>(count));
    // A short read has emptied the socket, unless the end of the stream follows.
    readable_ = half_closed_ || static_cast<size_t>(count) == size;
    AccountInput(static_cast<size_t>(count));
    return true;
  }
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    readable_ = false;
    return false;
  }
  Close();
  return false;
}

bool Connection::ProcessBuffered() {
  if (out_.size() - out_sent_ > kMaxPendingOutput) return false;
  if (state_ == State::kHead) return ReadHead();
  if (state_ != State::kBody || in_.size() < head_bytes_ + head_->content_length) return false;
  Dispatch();
  return state_ == State::kHead;
}

bool Connection::ReadHead() {
  // RFC 9112, section 2.2: empty lines before a request are ignored.
  size_t start = 0;
  while (in_.compare(start, 2, "\r\n") == 0) start += 2;
  in_.erase(0, start);
  if (in_.empty() || in_ == "\r") return false;
  auto scanned = scanner_.Scan(in_);
  if (scanned && *scanned == 0) return false;
  if (!scanned) {
    Fail(scanned.error());
    return false;
  }
  head_bytes_ = *scanned;
  scanner_.Reset();
  auto parsed = ParseHead(std::string_view(in_).substr(0, head_bytes_), limits());
  if (!parsed) {
    Fail(parsed.error());
    return false;
  }
  head_ = std::move(*parsed);
  return PrepareBody();
}

bool Connection::PrepareBody() {
  size_t total = head_bytes_ + head_->content_length;
  state_ = State::kBody;
  if (in_.size() >= total) return true;
  if (in_.capacity() < total) {
    // No memory yet, only addresses: pages come with the bytes.
    in_.reserve(total);
    // The bytes that the head's views refer to have moved.
    head_ = *ParseHead(std::string_view(in_).substr(0, head_bytes_), limits());
  }
  SetDeadline(limits().body_timeout);
  if (head_->expect_continue && in_.size() == head_bytes_) {
    out_.append("HTTP/1.1 100 Continue\r\n\r\n");
  }
  return false;
}

// What has come counts, not what was declared: who declares much and sends nothing takes nothing.
// Of a head counts what is beyond the first read: most requests leave the shared counter alone.
void Connection::AccountInput(size_t received) {
  if (state_ == State::kHead) {
    received = std::min(received, in_.size() - std::min(in_.size(), kHeadRead));
    if (received == 0) return;
  }
  in_accounted_ += received;
  const size_t all =
      counters().buffered_bytes.fetch_add(received, std::memory_order_relaxed) + received;
  if (all > limits().max_buffered_bytes) {
    Fail({503, "Too many large requests at once; come back later."});
  }
}

void Connection::ReleaseInput() {
  counters().buffered_bytes.fetch_sub(std::exchange(in_accounted_, 0), std::memory_order_relaxed);
}

void Connection::Dispatch() {
  size_t total = head_bytes_ + head_->content_length;
  HttpRequest& request = head_->request;
  request.body = std::string_view(in_).substr(head_bytes_, head_->content_length);
  request.remote_address = remote_;
  std::string rest = in_.size() > total ? in_.substr(total) : std::string();
  current_ = {.head_request = request.method == "HEAD",
              .http10 = head_->http10,
              .keep_alive = head_->keep_alive,
              .started = true,
              .start = Clock::System().Now()};
  auto exchange =
      std::make_shared<ExchangeImpl>(loop_->mailbox(), id_, std::move(in_), std::move(request));
  in_ = std::move(rest);
  head_.reset();
  state_ = State::kInFlight;
  deadline_ = MonotonicTime::max();
  if (loop_->context().observer) loop_->context().observer->OnStart(loop_->index());
  if (counters().in_flight.fetch_add(1, std::memory_order_relaxed) >= limits().max_in_flight) {
    return exchange->Respond(Problem(429, "Too many requests are in flight; nothing was done."));
  }
  CallHandler(exchange);
}

void Connection::CallHandler(const ExchangePtr& exchange) {
  std::string what;
  try {
    loop_->context().handler(exchange);
    return;
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {
    what = "unknown";
  }
  log::Error("a request handler threw; this is a bug", {{"exception", what}});
  static_cast<ExchangeImpl&>(*exchange).RespondIfOpen(
      Problem(500, "Something went wrong inside; the node's log has more."));
}

void Connection::ReleaseRequest() { counters().in_flight.fetch_sub(1, std::memory_order_relaxed); }

void Connection::FinishRequest(int status) {
  ReleaseRequest();
  ReleaseInput();
  if (HttpObserver* observer = loop_->context().observer) {
    observer->OnResponse(loop_->index(), current_.route, status,
                         Clock::System().Now() - current_.start, true);
  }
}

void Connection::OnResponse(HttpResponse response, int route) {
  if (state_ != State::kInFlight) return;
  current_.route = route;
  if (response.stream) {
    StartStream(response);
    return Advance();
  }
  bool keep_alive = current_.keep_alive && !response.close && !loop_->stopping();
  state_ = keep_alive ? State::kHead : State::kFinish;
  SetDeadline(in_.empty() ? limits().idle_timeout : limits().head_timeout);
  FinishRequest(response.status);
  AppendResponse(response, keep_alive);
  Advance();
}

void Connection::AppendResponse(HttpResponse& response, bool keep_alive) {
  ResponseContext context{.head_request = current_.head_request,
                          .http10 = current_.http10,
                          .keep_alive = keep_alive,
                          .date = loop_->date()};
  AppendResponseHead(response, context, &out_);
  if (!MayHaveBody(response, context)) return;
  if (response.body.size() <= kCopyBody) {
    out_.append(response.body);
  } else {
    Flush(response.body);
  }
}

void Connection::StartStream(HttpResponse& response) {
  state_ = State::kStream;
  ResponseContext context{.head_request = current_.head_request,
                          .http10 = current_.http10,
                          .keep_alive = false,
                          .date = loop_->date()};
  AppendResponseHead(response, context, &out_);
  if (MayHaveBody(response, context)) {
    stream_ = std::make_shared<std::function<Result<std::string>()>>(std::move(response.stream));
  } else {
    FinishRequest(response.status);
    state_ = State::kFinish;
  }
}

void Connection::RequestChunk() {
  deadline_ = MonotonicTime::max();
  auto produce = [mailbox = loop_->mailbox(), id = id_, stream = std::move(stream_)] {
    Result<std::string> piece = (*stream)();
    auto deliver = [mailbox, id, stream, piece = std::move(piece)]() mutable {
      Loop* loop = mailbox->LoopIfHere();
      loop->DeliverChunk(id, std::move(stream), std::move(piece));
    };
    mailbox->Post(std::move(deliver));
  };
  if (!loop_->context().streams->Submit(std::move(produce))) Close();
}

void Connection::OnChunk(Stream stream, Result<std::string> piece) {
  if (state_ != State::kStream) return;
  if (!piece) {
    log::Warning("a streamed answer was cut short", {{"error", piece.error().ToString()}});
    return Close();
  }
  SetDeadline(limits().write_timeout);
  if (piece->empty()) {
    state_ = State::kFinish;
    FinishRequest(200);
  } else {
    stream_ = std::move(stream);
    Flush(*piece);
  }
  Advance();
}

void Connection::Fail(const HeadError& error) {
  current_.head_request = false;
  HttpResponse response = Problem(error.status, error.detail);
  if (HttpObserver* observer = loop_->context().observer) {
    observer->OnResponse(loop_->index(), 0, error.status, Duration::zero(), false);
  }
  state_ = State::kFinish;
  SetDeadline(limits().write_timeout);
  in_ = {};
  ReleaseInput();
  AppendResponse(response, false);
}

bool Connection::Send(std::string_view tail, size_t* tail_sent) {
  std::string_view rest = tail.substr(*tail_sent);
  iovec parts[2] = {{out_.data() + out_sent_, out_.size() - out_sent_},
                    {const_cast<char*>(rest.data()), rest.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t count = sendmsg(fd_, &message, MSG_NOSIGNAL);
  if (count < 0 && errno == EINTR) return true;
  if (count < 0) {
    writable_ = false;
    if (errno != EAGAIN && errno != EWOULDBLOCK) Close();
    return false;
  }
  size_t of_out = std::min(static_cast<size_t>(count), out_.size() - out_sent_);
  out_sent_ += of_out;
  *tail_sent += static_cast<size_t>(count) - of_out;
  return true;
}

void Connection::Flush(std::string_view tail) {
  if (state_ == State::kClosed) return;
  size_t tail_sent = 0;
  bool pending = HasOutput() || !tail.empty();
  if (!pending && state_ != State::kFinish && state_ != State::kStream) return;
  while ((HasOutput() || tail_sent < tail.size()) && writable_) {
    SetDeadline(limits().write_timeout);
    if (!Send(tail, &tail_sent)) break;
  }
  if (state_ == State::kClosed) return;
  if (!HasOutput()) {
    out_sent_ = 0;
    if (out_.capacity() > kKeepBuffer) out_.shrink_to_fit();
    out_.clear();
  }
  out_.append(tail.substr(tail_sent));
  AccountOutput();
  if (state_ != State::kClosed && !HasOutput()) OnFlushed();
}

void Connection::OnFlushed() {
  switch (state_) {
    case State::kHead:
      return SetDeadline(in_.empty() ? limits().idle_timeout : limits().head_timeout);
    case State::kBody:
      return SetDeadline(limits().body_timeout);
    case State::kInFlight:
      deadline_ = MonotonicTime::max();
      return;
    case State::kStream:
      if (stream_) RequestChunk();
      return;
    case State::kFinish:
      return Linger();
    case State::kLinger:
    case State::kClosed:
      return;
  }
}

void Connection::AccountOutput() {
  size_t pending = out_.size() - out_sent_;
  auto& budget = counters().buffered_bytes;
  budget.fetch_add(pending - out_accounted_, std::memory_order_relaxed);
  out_accounted_ = pending;
  // Whoever does not read while memory is short is cut off.
  if (pending > 0 && budget.load(std::memory_order_relaxed) > limits().max_buffered_bytes) Close();
}

// The client may still be sending (a body that was refused, say): closing now would reset the
// connection and could destroy the answer before it is read (RFC 9112, section 9.6).
void Connection::Linger() {
  shutdown(fd_, SHUT_WR);
  state_ = State::kLinger;
  in_.clear();
  SetDeadline(limits().linger_timeout);
}

void Connection::Discard() {
  for (int reads = 0; readable_; ++reads) {
    if (reads == kReadsPerTurn) return loop_->TurnLater(id_);
    ssize_t count = recv(fd_, loop_->scratch(), Loop::kScratchBytes, 0);
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return;
    }
    return Close();
  }
}

}  // namespace raftkv::server
