#include "tests/faults/load.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/integration/cluster.h"

namespace raftkv::faults {
namespace {

using linearizability::Condition;
using linearizability::Consistency;
using linearizability::Kind;
using linearizability::Operation;
using linearizability::Outcome;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

int64_t Now() { return Clock::now().time_since_epoch().count(); }

uint64_t Number(const testing::HttpReply& reply, const std::string& header) {
  const auto found = reply.headers.find(header);
  if (found == reply.headers.end()) return 0;
  std::string_view text = found->second;
  if (text.starts_with('"')) text.remove_prefix(1);
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string Path(const Operation& operation) {
  std::string path = "/kv/";
  std::string query;
  const auto add = [&query](const std::string& text) {
    query += (query.empty() ? "?" : "&") + text;
  };
  if (operation.kind == Kind::kRange) {
    add("start=" + operation.key);
    if (!operation.end.empty()) add("end=" + operation.end);
    if (operation.limit > 0) add("limit=" + std::to_string(operation.limit));
    if (operation.descending) add("order=desc");
  } else {
    path += operation.key;
  }
  if (operation.consistency == Consistency::kStale) add("consistency=stale");
  if (operation.consistency == Consistency::kLease) add("consistency=lease");
  return path + query;
}

testing::Headers HeadersOf(const Condition& condition) {
  switch (condition.type) {
    case Condition::Type::kNone:
      return {};
    case Condition::Type::kAbsent:
      return {{"If-None-Match", "*"}};
    case Condition::Type::kPresent:
      return {{"If-Match", "*"}};
    case Condition::Type::kRevision:
      return {{"If-Match", "\"" + std::to_string(condition.revision) + "\""}};
  }
  return {};
}

const char* Method(Kind kind) {
  switch (kind) {
    case Kind::kPut:
      return "PUT";
    case Kind::kDelete:
      return "DELETE";
    default:
      return "GET";
  }
}

// An answer that is not what the API promises is left out of no history: it makes the operation
// invalid, and the check fails.
void ReadRange(const testing::HttpReply& reply, Operation& operation) {
  const nlohmann::json body = nlohmann::json::parse(reply.body, nullptr, false);
  if (!body.is_object()) return;
  operation.revision = body.value("revision", uint64_t{0});
  operation.more = body.value("more", false);
  for (const nlohmann::json& item : body.value("items", nlohmann::json::array())) {
    operation.items.push_back({.key = item.value("key", ""),
                               .value = item.value("value", ""),
                               .create_revision = item.value("create_revision", uint64_t{0}),
                               .mod_revision = item.value("mod_revision", uint64_t{0}),
                               .version = item.value("version", uint64_t{0})});
  }
}

// docs/testing.md, "Recording a history".
void ReadReply(const testing::HttpReply& reply, Operation& operation) {
  const bool read = operation.kind == Kind::kGet || operation.kind == Kind::kRange;
  if (reply.status == 200 || reply.status == 201 || reply.status == 204) {
    operation.outcome = Outcome::kOk;
    operation.revision = Number(reply, "raftkv-revision");
    if (operation.kind == Kind::kPut) operation.created = reply.status == 201;
    if (operation.kind == Kind::kRange) ReadRange(reply, operation);
    if (operation.kind == Kind::kGet) {
      operation.items = {
          {.key = operation.key, .value = reply.body, .mod_revision = Number(reply, "etag")}};
    }
  } else if (reply.status == 404) {
    operation.outcome = Outcome::kNotFound;
    if (read) operation.revision = Number(reply, "raftkv-revision");
  } else if (reply.status == 412) {
    operation.outcome = Outcome::kConflict;
    operation.key_revision = Number(reply, "etag");
  } else if (reply.status == 0 || reply.status == 504 || reply.status == 500) {
    operation.outcome = reply.refused || read ? Outcome::kFail : Outcome::kUnknown;
  } else {
    operation.outcome = Outcome::kFail;
  }
}

}  // namespace

struct Load::Client {
  uint64_t number = 0;
  uint64_t written = 0;
  std::mt19937_64 random;
  std::map<std::string, uint64_t> seen;  // mod revisions, for conditions
  std::map<Target*, testing::HttpClient> connections;

  size_t Pick(size_t count) { return random() % count; }
};

Load::Load(std::vector<Target*> targets, LoadOptions options)
    : targets_(std::move(targets)), options_(options) {}

void Load::Start() {
  last_done_ = Clock::now();
  size_t number = 0;
  for (Target* target : targets_) {
    for (size_t i = 0; i < options_.clients_per_node; ++i) {
      threads_.emplace_back([this, target, n = ++number] { Run(n, target); });
    }
  }
  for (size_t i = 0; i < options_.clients_of_all; ++i) {
    threads_.emplace_back([this, n = ++number] { Run(n, nullptr); });
  }
}

void Load::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Load::Run(size_t number, Target* only) {
  Client client;
  client.number = number;
  client.random.seed(options_.seed * 1000 + number);
  while (!stop_) {
    const Operation wanted = Choose(client);
    // A second try is an operation of its own: the first may still happen.
    for (int tries = 0; tries < 2 && !stop_; ++tries) {
      Operation operation = wanted;
      Target& target = only != nullptr ? *only : *targets_[client.Pick(targets_.size())];
      const bool again = Perform(client, target, operation);
      Record(std::move(operation));
      if (!again || wanted.kind == Kind::kPut) break;
      std::this_thread::sleep_for(milliseconds(20));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(
        client.Pick(static_cast<size_t>(options_.pause / std::chrono::microseconds(1)) + 1)));
  }
}

Load::Operation Load::Choose(Client& client) {
  Operation operation;
  operation.client = client.number;
  operation.key = "k" + std::to_string(client.Pick(options_.keys));
  const size_t dice = client.Pick(100);
  if (dice < 45) {
    operation.kind = Kind::kPut;
    operation.value = std::to_string(client.number) + "-" + std::to_string(++client.written);
    const size_t rest = client.Pick(options_.value_bytes + 1);
    operation.value.append(rest, '.');
  } else if (dice < 53) {
    operation.kind = Kind::kDelete;
  } else if (dice < 85) {
    operation.kind = Kind::kGet;
  } else {
    operation.kind = Kind::kRange;
    operation.key = "k";
    operation.end = "l";
    if (client.Pick(3) == 0) operation.limit = 1 + client.Pick(4);
    operation.descending = client.Pick(4) == 0;
  }
  if (operation.kind == Kind::kGet || operation.kind == Kind::kRange) {
    const size_t how = client.Pick(4);
    if (how == 0) operation.consistency = Consistency::kStale;
    if (how == 1) operation.consistency = Consistency::kLease;
  } else if (client.Pick(3) == 0) {
    const uint64_t seen = client.seen[operation.key];
    if (seen > 0) {
      operation.condition = {Condition::Type::kRevision, seen};
    } else if (operation.kind == Kind::kPut) {
      operation.condition = {Condition::Type::kAbsent, 0};
    }
  }
  return operation;
}

bool Load::Perform(Client& client, Target& target, Operation& operation) {
  auto connection = client.connections.find(&target);
  if (connection == client.connections.end()) {
    connection =
        client.connections
            .emplace(&target, testing::HttpClient(target.host, target.port, options_.timeout))
            .first;
  }
  const uint64_t life = target.life;
  operation.call = Now();
  const testing::HttpReply reply = connection->second.Send(
      Method(operation.kind), Path(operation), operation.value, HeadersOf(operation.condition));
  const int64_t end = Now();
  ReadReply(reply, operation);
  if (operation.outcome != Outcome::kUnknown) operation.completed = end;
  const bool read = operation.kind == Kind::kGet || operation.kind == Kind::kRange;
  if (read && life == target.life) operation.node = target.name + "/" + std::to_string(life);
  if (reply.status == 200 || reply.status == 201 || reply.status == 204) {
    if (operation.kind == Kind::kPut) client.seen[operation.key] = operation.revision;
    if (operation.kind == Kind::kGet) {
      client.seen[operation.key] = operation.items.front().mod_revision;
    }
  } else if (reply.status == 412 || reply.status == 404) {
    client.seen[operation.key] = operation.key_revision.value_or(0);
  }
  const bool finished = operation.outcome == Outcome::kOk ||
                        operation.outcome == Outcome::kNotFound ||
                        operation.outcome == Outcome::kConflict;
  std::lock_guard lock(mutex_);
  ++counts_.operations;
  if (finished) {
    ++counts_.done;
    if (operation.consistency != Consistency::kStale) {
      if (!stop_) Learn(Clock::now());
      ++done_;
    }
  }
  if (operation.outcome == Outcome::kFail) ++counts_.refused;
  if (operation.outcome == Outcome::kUnknown) ++counts_.unknown;
  if (reply.status == 507) ++counts_.out_of_space;
  if (reply.status == 500) ++counts_.errors;
  return !finished;
}

void Load::Learn(const Clock::time_point& now) {
  counts_.longest_gap =
      std::max(counts_.longest_gap, std::chrono::duration_cast<milliseconds>(now - last_done_));
  last_done_ = now;
}

void Load::Record(Operation operation) {
  std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
}

LoadCounts Load::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

void Load::ForgetGap() {
  std::lock_guard lock(mutex_);
  counts_.longest_gap = milliseconds(0);
  last_done_ = Clock::now();
}

linearizability::History Load::Finish() {
  Stop();
  Client last;
  for (Target* target : targets_) {
    for (size_t key = 0; key < options_.keys; ++key) {
      Operation operation;
      operation.key = "k" + std::to_string(key);
      (void)Perform(last, *target, operation);
      Record(std::move(operation));
    }
  }
  linearizability::History history;
  std::lock_guard lock(mutex_);
  history.operations = std::move(operations_);
  return history;
}

}  // namespace raftkv::faults
