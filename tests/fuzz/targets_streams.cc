// Targets whose bytes come over sockets: the code under test is the one that reads from these.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <asio/io_context.hpp>
#include <cerrno>
#include <string>

#include "base/check.h"
#include "ctl/admin.h"
#include "ctl/client.h"
#include "node/server/http_loop.h"
#include "node/transport/frame.h"
#include "node/transport/transport.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Long enough for a machine that does much else: who takes longer hangs.
constexpr milliseconds kPatience{60'000};

// What comes until the other side ends; the bytes that are sent before, in two pieces.
std::string Exchange(int fd, std::string_view bytes, size_t piece) {
  std::string answer;
  bool ended = false;
  std::array<char, 16384> buffer;
  const auto receive = [&](int flags) {
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), flags);
    if (n > 0) answer.append(buffer.data(), static_cast<size_t>(n));
    ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    return n > 0;
  };
  while (!bytes.empty() && !ended) {
    const size_t size = std::min(piece, bytes.size());
    const ssize_t sent = send(fd, bytes.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) break;
    (void)receive(MSG_DONTWAIT);
  }
  shutdown(fd, SHUT_WR);
  while (!ended) {
    pollfd ready{fd, POLLIN, 0};
    CHECK(poll(&ready, 1, static_cast<int>(kPatience.count())) > 0,
          "a client that has said "
          "everything is told everything, and the connection ends");
    (void)receive(0);
  }
  return answer;
}

// --- HTTP: the states of a connection ------------------------------------------------------------

// Answers that show what was read: all of it, in the order of the requests.
void Echo(const server::ExchangePtr& exchange) {
  const server::HttpRequest& request = exchange->request();
  server::HttpResponse response;
  response.body = std::string(request.method) + ' ' + std::string(request.target) + ' ' +
                  std::string(request.body);
  response.close = request.target.ends_with("close");
  if (request.target.starts_with("/stream")) {
    response.stream = [left = 3,
                       piece = std::move(response.body)]() mutable -> Result<std::string> {
      return left-- > 0 ? piece + '\n' : std::string();
    };
    response.body.clear();
  }
  exchange->Respond(std::move(response));
}

struct HttpSide {
  HttpSide() {
    context.handler = Echo;
    context.observer = nullptr;
    context.streams = std::make_unique<server::Executor>(2, 16);
    loop = std::make_unique<server::Loop>(0, &context);
    CHECK(loop->Start().ok());
  }
  // The connection belongs to the loop from now on.
  int Connect() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    context.counters.connections.fetch_add(1);
    loop->mailbox()->Post([this, fd = ends[1]] { loop->Adopt(fd, "fuzz", false); });
    return ends[0];
  }

  server::LoopContext context;
  std::unique_ptr<server::Loop> loop;
};

// Without the lines that the time of day is in.
std::string WithoutDates(std::string answer) {
  for (size_t at = 0; (at = answer.find("\r\nDate: ", at)) != std::string::npos;) {
    answer.erase(at, answer.find("\r\n", at + 2) - at);
  }
  return answer;
}

// Requests get the same answers however their bytes arrive, and the connection ends.
void RunHttpConnection(std::string_view input) {
  static auto* const side = new HttpSide;  // ends with the process: its thread needs it
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input.front()) + size_t{1};
  input.remove_prefix(1);
  const auto ask = [input](size_t most) {
    const int fd = side->Connect();
    const std::string answer = WithoutDates(Exchange(fd, input, most));
    close(fd);
    return answer;
  };
  CHECK(ask(piece) == ask(input.size() + 1), "answers do not depend on how the bytes arrive");
  CHECK(side->context.counters.in_flight == 0, "nothing is left of requests that were answered");
}

std::vector<std::string> HttpConnectionSeeds() {
  const std::string get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string put = "PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
  return {"\x04" + get + put + get,
          "\x01" + put + put,
          "\x20GET /stream HTTP/1.1\r\nHost: h\r\n\r\n",
          "\x07HEAD /close HTTP/1.1\r\nHost: h\r\n\r\n" + get,
          "\x10PUT /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nxy",
          "\x02GET /d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\r\n" + get + "PUT /e"};
}

// --- The peer port: the handshake, from both sides -----------------------------------------------

class PeerHandler final : public transport::Handler {
 public:
  void OnMessages(std::vector<raft::Message>) override {}
  void OnCall(raft::NodeId, v1::PeerCall, transport::ReplyFn reply) override { reply({}); }
  void OnStrangerCall(const v1::Hello&, v1::PeerCall, transport::ReplyFn reply) override {
    reply({});
  }
  v1::HelloReply::Verdict Admit(raft::NodeId id) override {
    return id.value == kRemoved ? v1::HelloReply::REMOVED : v1::HelloReply::OK;
  }
  void TellVoters(v1::HelloReply* reply) const override { reply->set_voter(true); }
  void OnPeerUp(raft::NodeId) override { ++seen; }
  void OnPeerDown(raft::NodeId) override { ++seen; }
  void OnPeerVerdict(raft::NodeId, const v1::HelloReply&) override { ++seen; }
  void OnSnapshotReceived(raft::Message, std::string) override {}
  void OnSnapshotSent(raft::NodeId, bool) override {}

  static constexpr uint64_t kRemoved = 9;
  uint64_t seen = 0;
};

struct PeerSide {
  PeerSide() {
    options.listen_address = "127.0.0.1:0";
    // The last word of whoever is silent: inputs must not wait for it.
    options.dial_timeout = milliseconds(200);
    transport = transport::MakeTransport(io, options, &handler);
    transport->SetIdentity({.cluster_id = 1, .member_id = raft::NodeId(2), .name = "fuzz"});
    CHECK(transport->Start().ok());
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address = Loopback(0);
    CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    CHECK(listen(listener, 16) == 0);
    socklen_t size = sizeof(address);
    CHECK(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    own_address = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  static sockaddr_in Loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  void Turn(const std::function<bool()>& done, const char* what) {
    const MonotonicTime limit = Clock::System().Now() + kPatience;
    while (!done()) {
      CHECK(Clock::System().Now() < limit, what);
      io.restart();
      (void)io.run_one_for(milliseconds(5));
    }
  }
  // What it answers to these bytes of a dialer, who says no more.
  std::string AnswerTo(std::string_view bytes) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(transport->port());
    CHECK(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    std::string answer;
    Turn(
        [&] {
          std::array<char, 4096> buffer;
          ssize_t n = 0;
          while ((n = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
            answer.append(buffer.data(), static_cast<size_t>(n));
          }
          return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
        },
        "whoever says no more is hung up on");
    close(fd);
    return answer;
  }
  // It dials us, and we answer this.
  void DialAndHear(std::string_view bytes) {
    const uint64_t before = handler.seen;
    transport->SetPeers({{raft::NodeId(3), own_address}});
    int fd = -1;
    Turn(
        [&] {
          fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
          return fd >= 0;
        },
        "a peer is dialed");
    (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    Turn([&] { return handler.seen > before; }, "an answer, or none, is told");
    transport->SetPeers({});
    close(fd);
    // It may have dialed again meanwhile.
    while ((fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0) close(fd);
  }

  asio::io_context io;
  transport::Options options;
  PeerHandler handler;
  std::unique_ptr<transport::Transport> transport;
  int listener = -1;
  std::string own_address;
};

// What an answer consists of.
void CheckAnswer(std::string_view answer) {
  transport::FrameReader reader(size_t{1} << 20);
  while (!answer.empty()) {
    const std::span<char> room = reader.Prepare();
    const size_t size = std::min(room.size(), answer.size());
    answer.copy(room.data(), size);
    reader.Commit(size);
    answer.remove_prefix(size);
    std::string_view body;
    transport::FrameError error;
    while ((error = reader.Next(&body)) == transport::FrameError::kNone) {
    }
    CHECK(error == transport::FrameError::kNeedMore, "it answers in frames");
  }
}

// The first byte says who dials. Whatever was said, the next one is welcome.
void RunHandshake(std::string_view input) {
  static auto* const side = new PeerSide;
  if (input.empty()) return;
  const bool they_dial = (input.front() & 1) != 0;
  input.remove_prefix(1);
  if (they_dial) {
    CheckAnswer(side->AnswerTo(input));
  } else {
    side->DialAndHear(input);
  }
}

std::string Framed(const google::protobuf::MessageLite& message) {
  transport::ByteBuffer out;
  out.Append(transport::kMagic);
  transport::AppendFrame(message, out);
  return std::string(out.view());
}

std::vector<std::string> HandshakeSeeds() {
  std::vector<std::string> seeds;
  for (const auto purpose : {v1::Hello::MESSAGES, v1::Hello::CALL, v1::Hello::SNAPSHOT}) {
    for (const uint64_t member : {uint64_t{3}, PeerHandler::kRemoved}) {
      v1::Hello hello;
      hello.set_protocol_version(transport::kProtocolVersion);
      hello.set_purpose(purpose);
      hello.set_cluster_id(1);
      hello.set_member_id(member);
      hello.set_target_id(2);
      transport::ByteBuffer call;
      v1::PeerCall body;
      body.set_id(1);
      body.mutable_adopt()->set_cluster_id(1);
      transport::AppendFrame(body, call);
      seeds.push_back("\x01" + Framed(hello) + std::string(call.view()));
    }
  }
  for (const auto verdict : {v1::HelloReply::OK, v1::HelloReply::BLANK, v1::HelloReply::REMOVED}) {
    v1::HelloReply reply;
    reply.set_protocol_version(transport::kProtocolVersion);
    reply.set_verdict(verdict);
    reply.set_cluster_id(1);
    reply.set_member_id(3);
    reply.add_voters(3);
    seeds.push_back(std::string(1, '\0') + Framed(reply));
  }
  return seeds;
}

// --- Answers of nodes, as raftkvctl and others read them -----------------------------------------

// Says to every request what the input says: a status, headers, a body.
class FakeNode {
 public:
  FakeNode() {
    server::Limits limits;
    limits.event_loops = 1;
    const auto answer = [this](const server::ExchangePtr& exchange) {
      server::HttpResponse response;
      response.status = status_;
      for (const auto& [name, value] : headers_) response.Add(name, value);
      response.body = body_;
      exchange->Respond(std::move(response));
    };
    Result<std::unique_ptr<server::HttpServer>> started =
        server::HttpServer::Start("127.0.0.1:0", limits, answer, nullptr);
    CHECK(started.has_value());
    server_ = std::move(*started);
  }
  void Say(int status, std::vector<std::pair<std::string, std::string>> headers,
           std::string_view body) {
    status_ = status;
    headers_ = std::move(headers);
    body_ = body;
  }
  client::Endpoint endpoint() const { return {.host = "127.0.0.1", .port = server_->port()}; }

 private:
  int status_ = 200;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::string body_;
  std::unique_ptr<server::HttpServer> server_;
};

void RunNodeAnswers(std::string_view input) {
  static auto* const node = new FakeNode;
  const std::vector<std::string_view> parts = Split(input);
  if (parts.size() != 4 || parts[0].empty()) return;
  constexpr int kStatuses[] = {200, 201, 204, 304, 400, 404, 409, 410, 412, 413, 500, 507};
  const auto number = static_cast<unsigned char>(parts[0].front());
  // Header values have no line breaks: HTTP itself is not what is looked at here.
  const auto value = [](std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 100)) out += c > ' ' && c < 127 ? c : '_';
    return out;
  };
  node->Say(kStatuses[number % std::size(kStatuses)],
            {{"Raftkv-Revision", value(parts[1])},
             {"ETag", value(parts[2])},
             {"Content-Type", (number & 1) != 0 ? "application/json" : "application/protobuf"}},
            parts[3]);
  client::Http::Options options;
  options.timeout = seconds(5);
  client::Client keys({node->endpoint()}, options);
  client::Admin admin({node->endpoint()}, options);
  const auto says_why = [](const auto& result) {
    CHECK(result || !result.error().message().empty(), "an error says why");
  };
  says_why(keys.Get("k"));
  says_why(keys.Put("k", "v"));
  says_why(keys.Delete("k"));
  // A node that always says that there is more has no end.
  int pages = 0;
  says_why(keys.List({.prefix = "k"}, [&](const std::vector<client::KeyValue>&) {
    return ++pages < 3 ? Status::Ok() : Status(Code::kInternal, "enough");
  }));
  says_why(keys.Count({.prefix = "k"}));
  says_why(keys.AdminPort(node->endpoint()));
  says_why(admin.Status());
  says_why(admin.ChangeMembership({}));
}

std::vector<std::string> NodeAnswerSeeds() {
  const std::string list =
      R"({"revision":7,"count":1,"more":true,"next":"/kv/?prefix=k&revision=7&after=k1",)"
      R"("items":[{"key":"k1","value":"/w==","encoding":"base64","create_revision":7,)"
      R"("mod_revision":7,"version":1}]})";
  v1::StatusResponse status;
  status.set_member_id(7);
  status.mutable_cluster()->add_members()->set_name("a");
  return {Join({std::string(1, '\0'), "7", "\"5\"", "value"}), Join({"\x0c", "7", "\"5\"", list}),
          Join({"\x0c", "", "", R"({"admin_port":7072,"members":[]})"}),
          Join({"\x05", "", "",
                R"({"type":"urn:raftkv:problem:no-such-key","title":"t",)"
                R"("status":404,"detail":"d","code":"not found"})"}),
          Join({std::string(1, '\0'), "", "", status.SerializeAsString()})};
}

}  // namespace

std::vector<Target> StreamTargets() {
  return {{"http_connection", RunHttpConnection, HttpConnectionSeeds},
          {"peer_handshake", RunHandshake, HandshakeSeeds},
          {"node_answers", RunNodeAnswers, NodeAnswerSeeds}};
}

}  // namespace raftkv::fuzz
