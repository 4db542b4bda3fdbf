// One client's connection: reads requests, hands them to the handler one at a time, writes the
// answers in order.
//
// Thread-safety: none; belongs to its loop's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "node/server/http.h"
#include "node/server/http_head.h"
#include "node/server/http_loop.h"

namespace raftkv::server {

class Connection {
 public:
  using Stream = std::shared_ptr<std::function<Result<std::string>()>>;

  // Owns `fd`.
  Connection(Loop* loop, uint64_t id, int fd, std::string remote);
  ~Connection();

  void OnEvents(uint32_t events);  // of epoll
  void OnTurn() { Advance(); }
  void OnDeadline();
  void OnResponse(HttpResponse response, int route);
  void OnChunk(Stream stream, Result<std::string> piece);

  void Refuse();  // too many connections
  void CloseIfIdle();
  // The loop destroys the connection at the end of the round.
  void Close();

  MonotonicTime deadline() const { return deadline_; }

 private:
  enum class State {
    kHead,      // reads a request's head, or waits for its first byte
    kBody,      // reads its body
    kInFlight,  // a handler works on it
    kStream,    // a streamed answer is on its way
    kFinish,    // the last answer is being written
    kLinger,    // waits for the client to read it and hang up
    kClosed,
  };

  // What is known of the request that is being worked on.
  struct Current {
    bool head_request = false;
    bool http10 = false;
    bool keep_alive = true;
    bool started = false;  // reached the handler
    int route = 0;
    MonotonicTime start;
  };

  // Goes as far as input, output and the handler let it.
  void Advance();
  bool Receive();
  size_t ReceiveSize() const;
  // One step with what is buffered; false: needs more input, or waits for the handler.
  bool ProcessBuffered();
  bool ReadHead();
  bool PrepareBody();
  void AccountInput(size_t received);
  void ReleaseInput();
  void Dispatch();
  void CallHandler(const ExchangePtr& exchange);
  void Fail(const HeadError& error);
  void AppendResponse(HttpResponse& response, bool keep_alive);
  void StartStream(HttpResponse& response);
  void RequestChunk();
  void FinishRequest(int status);
  // Writes out_ and then `tail`, as far as the socket takes it; the rest of tail goes to out_.
  void Flush(std::string_view tail = {});
  bool Send(std::string_view tail, size_t* tail_sent);
  void OnFlushed();
  bool HasOutput() const { return out_sent_ < out_.size(); }
  void AccountOutput();
  void Linger();
  void Discard();
  void ReleaseRequest();
  void SetDeadline(Duration from_now) { deadline_ = loop_->now() + from_now; }
  const Limits& limits() const { return loop_->context().limits; }
  SharedCounters& counters() { return loop_->context().counters; }

  Loop* const loop_;
  const uint64_t id_;
  const int fd_;
  const std::string remote_;

  State state_ = State::kHead;
  bool readable_ = true;
  bool writable_ = true;
  bool half_closed_ = false;  // the client has said that it sends no more
  bool advancing_ = false;
  MonotonicTime deadline_;

  std::string in_;
  HeadScanner scanner_;
  std::optional<RequestHead> head_;
  size_t head_bytes_ = 0;
  size_t in_accounted_ = 0;  // of the shared budget
  Current current_;

  std::string out_;
  size_t out_sent_ = 0;
  size_t out_accounted_ = 0;  // of the shared budget
  Stream stream_;             // while no piece of it is on its way
};

}  // namespace raftkv::server
