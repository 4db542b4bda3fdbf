// HTTP/1.1 for the rest of the server: requests, responses, limits and the listener, without a word
// about sockets. docs/design/http.md says how it works and why.
//
// A request is answered whenever its handler likes, from any thread: nothing is parked on a request
// that waits for the raft log. Handlers run on an event loop and must not block; work that does
// (large reads, metrics) goes to an Executor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace raftkv::server {

// What a client may cost. Every limit has an answer (docs/api.md) or closes the connection.
struct Limits {
  // Request line: 414. A page of keys may name four keys (prefix, start, end, after), each of 4 KiB
  // or 12 KiB percent-encoded.
  size_t max_line_bytes = 50 << 10;
  size_t max_header_bytes = 8 << 10;  // one header line: 431
  size_t max_head_bytes = 66 << 10;   // request line and all headers: 431
  size_t max_headers = 64;            // 431
  size_t max_body_bytes = 1 << 20;    // 413
  size_t max_connections = 4096;      // 503 and closed
  size_t max_in_flight = 8192;        // requests being worked on: 429
  // Of heads what is beyond 16 KiB, bodies and unsent answers, all together: 503.
  size_t max_buffered_bytes = 256 << 20;

  Duration head_timeout = std::chrono::seconds(10);   // first byte to end of head: 408
  Duration body_timeout = std::chrono::seconds(60);   // end of head to end of body: 408
  Duration idle_timeout = std::chrono::seconds(60);   // between requests: closed
  Duration write_timeout = std::chrono::seconds(30);  // without progress: closed
  Duration linger_timeout = std::chrono::seconds(2);  // for the client to read a last answer

  int backlog = 1024;
  int event_loops = 0;  // 0: half of the processors, 1 to 4
};

struct HttpHeader {
  std::string_view name;
  std::string_view value;  // without surrounding white space
};

struct QueryParameter {
  std::string name;
  std::string value;
};

// Views point into a buffer that lives as long as the Exchange.
struct HttpRequest {
  std::string_view method;
  std::string_view target;     // as sent, in origin form: "/kv/a%20b?revision=7"
  std::string_view raw_path;   // "/kv/a%20b"
  std::string_view raw_query;  // "revision=7"
  std::vector<HttpHeader> headers;
  std::string_view body;
  bool has_length = false;  // there was a Content-Length; without one the body is empty
  std::string remote_address;

  // The first header of that name, in any case.
  std::optional<std::string_view> Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string headers;  // complete lines; use Add
  std::string body;
  bool close = false;  // end the connection after this answer
  // If set: the body, piece by piece until an empty piece; called on worker threads, may block. The
  // connection ends with the body, whose length nobody knows; an error cuts it short.
  std::function<Result<std::string>()> stream;

  // `name` and `value` must not hold line breaks.
  HttpResponse& Add(std::string_view name, std::string_view value);
  HttpResponse& Add(std::string_view name, uint64_t value);
};

// Content-Length, Date and Connection are added here, no others. The body stays out of answers to
// HEAD, and of 204 and 304.
struct ResponseContext {
  bool head_request = false;
  bool http10 = false;
  bool keep_alive = true;
  std::string_view date;  // RFC 9110 IMF-fixdate
};
void AppendResponseHead(const HttpResponse& response, const ResponseContext& context,
                        std::string* out);
bool MayHaveBody(const HttpResponse& response, const ResponseContext& context);

// One request and its answer. Dropping the last reference without an answer answers 500.
//
// Thread-safety: request() is constant. Respond (once) and Run from any thread.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void Respond(HttpResponse response) = 0;
  // Runs `work` on the event loop of this connection: at once if this is its thread, else soon
  // (never if the server has stopped).
  virtual void Run(std::function<void()> work) = 0;

  // For metrics: which route took the request (an index that the router knows).
  int route = 0;
};
using ExchangePtr = std::shared_ptr<Exchange>;

// Must not block. Exceptions answer 500 and are logged.
using Handler = std::function<void(const ExchangePtr&)>;

// Told of every answer. Called on event loops: loop tells which, 0 <= loop < loops.
class HttpObserver {
 public:
  virtual ~HttpObserver() = default;
  virtual void OnStart(int loop) = 0;
  // `route` is 0 for requests that never reached the handler (malformed, too large, ...).
  virtual void OnResponse(int loop, int route, int status, Duration latency, bool started) = 0;
};

struct HttpStats {
  uint64_t connections = 0;  // open now
  uint64_t accepted = 0;
  uint64_t refused = 0;         // over max_connections
  uint64_t buffered_bytes = 0;  // of long heads, bodies and unsent answers
};

// A listener with its event loops.
//
// Thread-safety: any thread; Stop once.
class HttpServer {
 public:
  static constexpr int kMaxLoops = 16;

  // Listens on "host:port" ("[::1]:7070", ":7070" for every interface, port 0 for a free one).
  // kUnavailable names the address that is taken; kInvalidArgument an address that is none.
  // `observer` may be null.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& address, const Limits& limits,
                                                   Handler handler, HttpObserver* observer);
  virtual ~HttpServer() = default;  // as Stop(0)

  // Takes no more connections, closes the idle ones, lets running requests finish for at most
  // `grace`, then cuts what is left.
  virtual void Stop(Duration grace) = 0;
  virtual uint16_t port() const = 0;
  virtual HttpStats stats() const = 0;
};

}  // namespace raftkv::server
