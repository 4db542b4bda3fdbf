// NodeHttp: HTTP/1.1 to the nodes' admin listeners, for all that the operator asks of nodes.
//
// One thread and one event loop for any number of requests at a time. A connection that is left
// open after an answer is used again for the next request to the same host, and closed when nobody
// needed it for `keep`: who is asked every few seconds is asked on the same one.
//
// No request is repeated, except a GET whose kept connection turns out to have been closed
// meanwhile; a POST always gets a connection of its own, so that it is known whether it was sent.
//
// Thread-safety: any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace raftkv::op {

struct NodeRequest {
  std::string host;  // an IP
  std::string path;
  std::string body;  // application/json, with POST; empty: GET
  Duration connect_limit = std::chrono::seconds(1);
  Duration limit = std::chrono::seconds(2);  // connecting included
};

struct NodeAnswer {
  int status = 0;  // HTTP's
  std::string body;
};

struct NodeHttpOptions {
  int port = 7072;
  // Members of a cluster at rest are asked every 30 s; they close what is idle for a minute. A new
  // connection costs more than what is said on it, most of it in the nodes' network rules.
  Duration keep = std::chrono::seconds(45);
};

class NodeHttp {
 public:
  // Errors: kUnavailable (it was not sent), kUnknownOutcome (sent, and not answered in time or not
  // in HTTP).
  using Done = std::function<void(Result<NodeAnswer>)>;

  explicit NodeHttp(NodeHttpOptions options = {});
  ~NodeHttp();  // ends its thread; what is not done is not called any more
  NodeHttp(const NodeHttp&) = delete;
  NodeHttp& operator=(const NodeHttp&) = delete;

  // `done` is called once, on the client's own thread, and must not block.
  void Send(NodeRequest request, Done done);
  // `tick` is called on that thread after `pause`; a pause of zero: as soon as possible.
  void After(Duration pause, std::function<void()> tick);

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace raftkv::op
