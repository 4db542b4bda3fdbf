#include "ctl/http.h"

#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/check.h"

namespace raftkv::client {
namespace {

// An error page is for people; more than this is none.
constexpr size_t kMaxErrorBody = 64 << 10;

// A node looks at its deadlines every tick (100 ms), and its answer has a way to go: it is told to
// give up so much before this side does. Only its word tells a write that did not happen from one
// that may have.
constexpr Duration kAnswerTime = std::chrono::milliseconds(500);

Duration TimeForNode(Duration timeout) { return std::max(timeout - kAnswerTime, timeout / 2); }

std::string Lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

Code CodeOfStatus(int status) {
  switch (status) {
    case 409:
    case 412:
      return Code::kConflict;
    case 429:
      return Code::kResourceExhausted;
    case 503:
      return Code::kUnavailable;
    case 504:
      return Code::kUnknownOutcome;
    case 507:
      return Code::kOutOfSpace;
    case 404:  // a node says of what
      return Code::kInternal;
    default:
      return status >= 400 && status < 500 ? Code::kInvalidArgument : Code::kInternal;
  }
}

std::optional<Code> CodeOfName(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(kLastCode); ++i)
    if (CodeName(static_cast<Code>(i)) == name) return static_cast<Code>(i);
  return std::nullopt;
}

// Names changed between the versions of the library that Debian has.
template <typename Client>
void SendTargetAsItIs(Client& client) {
  if constexpr (requires { client.set_path_encode(false); }) {
    client.set_path_encode(false);
  } else {
    client.set_url_encode(false);
  }
  if constexpr (requires { client.set_payload_max_length(size_t{}); }) {
    client.set_payload_max_length(std::numeric_limits<size_t>::max());
  }
}

std::unique_ptr<httplib::Client> Connect(const Endpoint& endpoint, Duration connect, Duration io) {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  auto client = std::make_unique<httplib::Client>(endpoint.host, endpoint.port);
  client->set_connection_timeout(duration_cast<microseconds>(std::min(connect, io)));
  client->set_read_timeout(duration_cast<microseconds>(io));
  client->set_write_timeout(duration_cast<microseconds>(io));
  client->set_tcp_nodelay(true);
  SendTargetAsItIs(*client);
  return client;
}

httplib::Request ToHttplib(const Request& request, Duration timeout) {
  using std::chrono::milliseconds;
  httplib::Request out;
  out.method = request.method;
  out.path = request.target;
  out.body = request.body;
  for (const auto& [name, value] : request.headers) out.headers.emplace(name, value);
  auto limit_ms = std::chrono::duration_cast<milliseconds>(TimeForNode(timeout)).count();
  out.headers.emplace("Raftkv-Timeout-Ms", std::to_string(std::max<int64_t>(limit_ms, 1)));
  return out;
}

// The library's own words are names of its enumerators.
std::string WhyNot(httplib::Error error) {
  switch (error) {
    case httplib::Error::Connection:
      return "no such host, or nobody listens there";
    case httplib::Error::ConnectionTimeout:
      return "it did not answer in time";
    case httplib::Error::Read:
      return "the connection ended, or nothing came in time";
    case httplib::Error::Write:
      return "the connection ended while the request was sent";
    default:
      return httplib::to_string(error);
  }
}

// Nothing can have been sent over a connection that never was.
bool NeverSent(httplib::Error error) {
  return error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout;
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view text) {
  if (text.starts_with("http://")) text.remove_prefix(7);
  if (text.ends_with('/')) text.remove_suffix(1);
  ASSIGN_OR_RETURN(Endpoint endpoint, ParseHostPort(text));
  if (endpoint.host.empty() || endpoint.port == 0)
    return Error(Code::kInvalidArgument, "an endpoint needs a host and a port, such as " +
                                             std::string("127.0.0.1:7070, not '") +
                                             std::string(text) + "'");
  return endpoint;
}

Result<std::vector<Endpoint>> ParseEndpoints(const std::vector<std::string>& texts) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(Endpoint endpoint, ParseEndpoint(text));
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

std::string Answer::Header(const std::string& name) const {
  auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

uint64_t Answer::NumberHeader(const std::string& name) const {
  std::string text = Header(name);
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

Status ProblemOf(const Answer& answer) {
  Code code = CodeOfStatus(answer.status);
  std::string message = "status " + std::to_string(answer.status);
  auto problem = nlohmann::json::parse(answer.body, nullptr, false);
  if (problem.is_object()) {
    auto text = [&](const char* field) {
      auto found = problem.find(field);
      return found != problem.end() && found->is_string() ? found->get<std::string>() : "";
    };
    if (auto named = CodeOfName(text("code")); named && *named != Code::kOk) code = *named;
    std::string detail = text("detail");
    if (detail.empty()) detail = text("title");
    if (!detail.empty()) message = detail;
  }
  if (answer.status == 404 && code == Code::kInternal) message += ": is it a raftkv node?";
  return Status(code, message + " (" + answer.endpoint.ToString() + ")");
}

// Why there is no answer.
struct Http::Failure {
  bool never_sent;
  std::string message;
};

Http::Http(std::vector<Endpoint> endpoints, const Options& options)
    : endpoints_(std::move(endpoints)), options_(options) {
  CHECK(!endpoints_.empty());
}

std::expected<Answer, Http::Failure> Http::Attempt(const Endpoint& endpoint, const Request& request,
                                                   Duration timeout) {
  auto client = Connect(endpoint, options_.connect_timeout, timeout);
  httplib::Result result = client->send(ToHttplib(request, timeout));
  if (!result) {
    bool never_sent = NeverSent(result.error());
    std::string what = never_sent ? "cannot connect to " : "no answer from ";
    return std::unexpected(
        Failure{never_sent, what + endpoint.ToString() + " (" + WhyNot(result.error()) + ")"});
  }
  Answer answer{
      .status = result->status, .headers = {}, .body = result->body, .endpoint = endpoint};
  for (const auto& [name, value] : result->headers) answer.headers[Lower(name)] = value;
  return answer;
}

Result<Answer> Http::SendTo(const Endpoint& endpoint, const Request& request) {
  auto answer = Attempt(endpoint, request, options_.timeout);
  if (answer) return std::move(*answer);
  bool nothing_happened = answer.error().never_sent || request.safe;
  return Error(nothing_happened ? Code::kUnavailable : Code::kUnknownOutcome,
               answer.error().message);
}

Result<Answer> Http::Send(const Request& request) {
  MonotonicTime deadline = Clock::System().Now() + options_.timeout;
  Duration pause = options_.pause;
  Status last;
  while (true) {
    bool worth_waiting = false;
    for (size_t i = 0; i < endpoints_.size(); ++i) {
      Duration left = deadline - Clock::System().Now();
      if (left <= Duration::zero()) break;
      // Too late for a node to refuse in time: the write would end as one of unknown outcome.
      if (!request.safe && !last.ok() && left < 2 * kAnswerTime) break;
      // An endpoint that hangs must leave time for the others; a write cannot go to them any more.
      if (request.safe) left /= static_cast<int64_t>(endpoints_.size() - i);
      size_t at = (current_ + i) % endpoints_.size();
      auto answer = Attempt(endpoints_[at], request, left);
      if (!answer) {
        if (!answer.error().never_sent && !request.safe)
          return Error(Code::kUnknownOutcome,
                       answer.error().message + ": the request may have been carried out or not");
        // What a reachable endpoint says tells more than that another cannot be reached.
        if (last.ok()) last = Status(Code::kUnavailable, answer.error().message);
        worth_waiting |= request.await_server;
        continue;
      }
      bool refused =
          answer->status == 503 || answer->status == 429 || (request.safe && answer->status == 504);
      if (!refused) {
        current_ = at;
        return std::move(*answer);
      }
      Status problem = ProblemOf(*answer);
      bool may_pass = problem.code() != Code::kNotServing || request.await_server;
      // What one says that may serve soon tells more than that another never will.
      if (may_pass || !worth_waiting) last = std::move(problem);
      worth_waiting |= may_pass;
    }
    if (!worth_waiting || Clock::System().Now() + pause >= deadline)
      return Error(last.ok() ? Status(Code::kUnavailable, "timed out") : last);
    std::this_thread::sleep_for(pause);
    pause = std::min<Duration>(2 * pause, std::chrono::seconds(1));
  }
}

Status Http::Stream(const Endpoint& endpoint, const std::string& target,
                    const std::function<Status(std::string_view)>& receive) {
  auto client = Connect(endpoint, options_.connect_timeout, options_.timeout);
  Answer answer{.status = 0, .headers = {}, .body = {}, .endpoint = endpoint};
  Status received;
  httplib::Request request;
  request.method = "GET";
  request.path = target;
  request.response_handler = [&](const httplib::Response& response) {
    answer.status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, size_t size, auto, auto) {
    if (answer.status != 200) {
      answer.body.append(data, std::min(size, kMaxErrorBody - answer.body.size()));
      return true;
    }
    received = receive({data, size});
    return received.ok();
  };
  httplib::Result result = client->send(request);
  RETURN_IF_ERROR(received);
  if (!result)
    return Status(Code::kUnavailable,
                  "no answer from " + endpoint.ToString() + " (" + WhyNot(result.error()) + ")");
  return answer.status == 200 ? Status::Ok() : ProblemOf(answer);
}

}  // namespace raftkv::client
