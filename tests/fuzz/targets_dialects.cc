// The client APIs of the example programs (node/server/dialect.h), over a socket, against a real
// state machine.

#include <prometheus/registry.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/encoding.h"
#include "node/server/fake_node.h"
#include "node/server/server.h"
#include "node/server/test_client.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

using namespace server;  // NOLINT: its dialects are all that this file is about

class DialectSide {
 public:
  explicit DialectSide(Dialect dialect) {
    ServerOptions options;
    options.client_listen = options.admin_listen = "127.0.0.1:0";
    options.dialect = dialect;
    options.limits.event_loops = 1;
    server_ = std::move(Server::Start(options, &node_, &registry_).value());
  }
  // On a connection that is kept, as long as the server keeps it.
  TestResponse Ask(std::string_view method, std::string_view target, std::string_view body = {}) {
    if (!client_) client_.emplace(server_->client_port());
    TestResponse answer = client_->Ask(Request(method, target, body));
    CHECK(answer.status >= 200 && answer.status < 500, "nothing that a client sends is our fault");
    if (answer.closed) client_.reset();
    return answer;
  }

 private:
  prometheus::Registry registry_;
  FakeNode node_;
  std::unique_ptr<Server> server_;
  std::optional<TestClient> client_;
};

// Anew now and then: each run leaves revisions behind.
DialectSide& Side(Dialect dialect) {
  constexpr int kRuns = 20'000;
  struct Place {
    std::unique_ptr<DialectSide> side;
    int runs = 0;
  };
  static auto* const places = new Place[2];
  Place& place = places[dialect == Dialect::kRaftexample ? 0 : 1];
  if (place.runs++ % kRuns == 0) place.side = std::make_unique<DialectSide>(dialect);
  return *place.side;
}

// What the dialect says of a write is what the native API says of the same one; a value that was
// taken is read in both.
void CheckWrite(DialectSide& side, int status, const std::string& key, std::string_view value,
                std::string_view end_of_answer) {
  const std::string native = "/kv/" + PercentEncode(key);
  const std::string own = "/" + PercentEncode(key);
  if (status == 204) {
    const TestResponse there = side.Ask("GET", native);
    CHECK(there.status == 200 && there.body == value, "what was taken is there");
    const TestResponse read = side.Ask("GET", own);
    CHECK(read.status == 200 && read.body == std::string(value) + std::string(end_of_answer),
          "the dialect reads what it has written");
  }
  const int other = side.Ask("PUT", native, value).status;
  CHECK((status == 204) == (other == 201 || other == 204), "both take it, or none");
  CHECK(status == 204 || status == other, "both refuse it for the same reason");
}

// Not one of the native routes.
std::string OwnKey(std::string_view key) { return "x" + std::string(key); }

void RunRaftexample(std::string_view input) {
  const std::vector<std::string_view> parts = Split(input);
  if (parts.size() != 2) return;
  DialectSide& side = Side(Dialect::kRaftexample);
  const std::string key = OwnKey(parts[0]);
  const int status = side.Ask("PUT", "/" + PercentEncode(key), parts[1]).status;
  CheckWrite(side, status, key, parts[1], "");
  // The same two as a member and its address.
  const int invited = side.Ask("POST", "/" + PercentEncode(parts[0]), parts[1]).status;
  if (invited == 204) {
    CHECK(parts[0].find_first_not_of("0123456789") == std::string_view::npos,
          "a member is a number");
  }
}

std::vector<std::string> RaftexampleSeeds() {
  return {Join({"my-key", "hello"}), Join({"4", "http://127.0.0.1:42379"}),
          Join({"a/b%", "\xff z"}), Join({"5", "https://host:1/\n"})};
}

// The members of the object without regard to case, the last of each name, as Go reads them.
std::optional<std::string> MemberOf(const nlohmann::json& body, std::string_view lower_name) {
  std::optional<std::string> found;
  for (const auto& [name, value] : body.items()) {
    std::string lower = name;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (lower == lower_name && value.is_string()) found = value.get<std::string>();
  }
  return found;
}

void RunShaj13(std::string_view input) {
  DialectSide& side = Side(Dialect::kShaj13);
  // As it is: what is taken was a pair of strings.
  if (side.Ask("PUT", "/", input).status == 204) {
    const nlohmann::json body = nlohmann::json::parse(input, nullptr, false);
    CHECK(body.is_object(), "what is taken is an object");
    CHECK(MemberOf(body, "key").has_value(), "a key is not empty");
  }
  // As a pair.
  const std::vector<std::string_view> parts = Split(input);
  if (parts.size() != 2 || !IsUtf8(parts[0]) || !IsUtf8(parts[1])) return;
  const std::string key = OwnKey(parts[0]);
  const std::string body = nlohmann::json{{"Key", key}, {"Value", parts[1]}}.dump();
  CheckWrite(side, side.Ask("POST", "/", body).status, key, parts[1], "\n");
}

std::vector<std::string> Shaj13Seeds() {
  return {R"({"Key":"hello","Value":"medium"})", R"({"value":"v","KEY":"k"})",
          R"({"Key":"\u00e4\n","Value":""})", Join({"hello", "medium"}), R"({"Key":{"a":[1]}})"};
}

}  // namespace

std::vector<Target> DialectTargets() {
  return {{"raftexample", RunRaftexample, RaftexampleSeeds}, {"shaj13", RunShaj13, Shaj13Seeds}};
}

}  // namespace raftkv::fuzz
