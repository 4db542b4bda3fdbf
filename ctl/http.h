// Requests to a raftkv cluster over HTTP, with failover from one endpoint to the next.
//
// The rule that matters: a request that may have happened is never sent a second time. An endpoint
// that could not be connected to, or that answers 503 or 429, has certainly not done anything, and
// the next one is asked. A write whose connection broke after it was sent, or that is answered with
// 504, ends with kUnknownOutcome. Requests that change nothing go to the next endpoint whatever
// happened.
//
// Thread-safety: none; one instance per thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/status.h"

namespace raftkv::client {

using Endpoint = HostPort;

// "HOST:PORT", "[IPV6]:PORT", with or without http:// in front. kInvalidArgument otherwise.
Result<Endpoint> ParseEndpoint(std::string_view text);
Result<std::vector<Endpoint>> ParseEndpoints(const std::vector<std::string>& texts);

struct Request {
  std::string method;
  std::string target;  // path and query, percent-encoded
  std::string body;
  std::map<std::string, std::string> headers;
  // Whether it changes nothing, so that it may be sent more than once.
  bool safe = false;
  // Whether to try again while nobody answers at all, or a blank node does, as after 503. Else that
  // is an error at once: people who mistype an address should not wait. Safe requests only.
  bool await_server = false;
};

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  Endpoint endpoint;  // who answered

  // Empty if absent.
  std::string Header(const std::string& name) const;
  // 0 if absent or not a number.
  uint64_t NumberHeader(const std::string& name) const;
};

// What an answer with an error status says (RFC 9457), as a Status whose message ends with the
// endpoint.
Status ProblemOf(const Answer& answer);

class Http {
 public:
  struct Options {
    // Of a request, all its attempts together. Nodes are told (Raftkv-Timeout-Ms), so that they say
    // in time whether a write that found no leader was carried out.
    Duration timeout = std::chrono::seconds(10);
    Duration connect_timeout = std::chrono::seconds(2);  // of one attempt
    // Before the endpoints are asked again after all of them said 503 or 429; doubles up to 1 s.
    Duration pause = std::chrono::milliseconds(100);
  };

  Http(std::vector<Endpoint> endpoints, const Options& options);

  const std::vector<Endpoint>& endpoints() const { return endpoints_; }

  // The first answer that is neither 503 nor 429 (nor 504, for safe requests), whatever its status.
  // Begins with the endpoint that answered last. Errors:
  //   kUnavailable, kResourceExhausted  nothing has happened anywhere, until the timeout
  //   kNotServing                       likewise, at once: no endpoint serves, and waiting will not
  //                                     change that
  //   kUnknownOutcome                   it may have happened; not for safe ones
  Result<Answer> Send(const Request& request);

  // One attempt with one endpoint.
  Result<Answer> SendTo(const Endpoint& endpoint, const Request& request);

  // One GET from one endpoint, whose body goes to `receive` piece by piece as it comes; the
  // time-out is for each piece. An error of `receive` ends the transfer and is returned.
  Status Stream(const Endpoint& endpoint, const std::string& target,
                const std::function<Status(std::string_view)>& receive);

 private:
  struct Failure;

  std::expected<Answer, Failure> Attempt(const Endpoint& endpoint, const Request& request,
                                         Duration timeout);

  std::vector<Endpoint> endpoints_;
  Options options_;
  size_t current_ = 0;  // index of the endpoint that answered last
};

}  // namespace raftkv::client
