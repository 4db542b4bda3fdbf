#include "tests/faults/load.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace raftkv::faults {
namespace {

using linearizability::Condition;
using linearizability::Consistency;
using linearizability::Kind;
using linearizability::Operation;
using linearizability::Outcome;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// A read at a revision goes back so far; what is further back is compacted sooner or later.
constexpr uint64_t kOldRevisions = 200;
constexpr uint64_t kKeptRevisions = 100;
constexpr milliseconds kLook{20};
// Of a range that names no limit.
constexpr uint64_t kDefaultLimit = 1000;
// So many pages of one range at most, behind the first.
constexpr size_t kMostPages = 3;

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
    // Asked for in both ways: what ends where the keys with this beginning end has no other end.
    if (operation.end == linearizability::PrefixEnd(operation.key)) {
      add("prefix=" + operation.key);
    } else {
      add("start=" + operation.key);
      if (!operation.end.empty()) add("end=" + operation.end);
    }
    if (operation.limit != kDefaultLimit) add("limit=" + std::to_string(operation.limit));
    if (operation.descending) add("order=desc");
  } else {
    path += operation.key;
  }
  if (operation.at_revision > 0) add("revision=" + std::to_string(operation.at_revision));
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

// What is missing, or of another kind than the API promises, throws.
linearizability::Item ToItem(const nlohmann::json& item) {
  return {.key = item.at("key").get<std::string>(),
          .value = item.at("value").get<std::string>(),
          .create_revision = item.at("create_revision").get<uint64_t>(),
          .mod_revision = item.at("mod_revision").get<uint64_t>(),
          .version = item.at("version").get<uint64_t>()};
}

// Returns the address of the next page; throws as ToItem.
std::string ReadRange(const testing::HttpReply& reply, Operation& operation) {
  const nlohmann::json body = nlohmann::json::parse(reply.body);
  operation.revision = body.at("revision").get<uint64_t>();
  operation.more = body.at("more").get<bool>();
  for (const nlohmann::json& item : body.at("items")) operation.items.push_back(ToItem(item));
  return operation.more ? body.at("next").get<std::string>() : "";
}

// What of an answer's numbers is missing; empty: nothing.
std::string Missing(const Operation& operation) {
  const bool write = operation.kind == Kind::kPut || operation.kind == Kind::kDelete;
  const bool not_found = operation.outcome == Outcome::kNotFound;
  if ((operation.outcome == Outcome::kOk || (not_found && !write)) && operation.revision == 0) {
    return "the answer tells no revision";
  }
  // Whoever wanted it absent met one.
  if (operation.outcome == Outcome::kConflict && operation.key_revision.value_or(0) == 0 &&
      operation.condition.type == Condition::Type::kAbsent) {
    return "the refusal does not tell the key's revision";
  }
  const bool known = std::ranges::all_of(operation.items, [&](const linearizability::Item& item) {
    const bool numbered = operation.kind == Kind::kGet ||  // its numbers are no part of the answer
                          (item.create_revision != 0 && item.version != 0);
    return item.mod_revision != 0 && numbered;
  });
  return known ? "" : "the answer does not tell the revisions of a key";
}

// What comes behind this page.
Operation NextPage(const Operation& page) {
  Operation next;
  next.client = page.client;
  next.kind = Kind::kRange;
  next.key = page.key;
  next.end = page.end;
  (page.descending ? next.end : next.key) =
      page.descending ? page.items.back().key : page.items.back().key + '\0';
  next.consistency = page.consistency;
  next.limit = page.limit;
  next.descending = page.descending;
  next.at_revision = page.revision;
  return next;
}

constexpr const char* kMark = "-mark";

std::string TxnBody(const Operation& put, const std::string& read) {
  const auto write = [&put](const std::string& key) {
    return nlohmann::json{{"put", {{"key", key}, {"value", put.value}}}};
  };
  const nlohmann::json get = {{"get", {{"key", read}}}};
  return nlohmann::json{{"compare", {{{"key", put.key}, {"mod_revision", put.condition.revision}}}},
                        {"success", {write(put.key), get}},
                        {"failure", {write(put.key + kMark), get}}}
      .dump();
}

struct TxnAnswer {
  uint64_t revision = 0;
  bool succeeded = false;
  std::string read;
  bool omitted = false;  // too much was read: what, is not told
  std::optional<linearizability::Item> found;
};

// Throws as ToItem.
TxnAnswer ReadTxn(const testing::HttpReply& reply) {
  const nlohmann::json body = nlohmann::json::parse(reply.body);
  const nlohmann::json& get = body.at("gets").at(0);
  TxnAnswer answer{.revision = body.at("revision").get<uint64_t>(),
                   .succeeded = body.at("succeeded").get<bool>(),
                   .read = get.at("key").get<std::string>(),
                   .omitted = get.value("omitted", false)};
  if (!answer.omitted && get.at("found").get<bool>()) answer.found = ToItem(get);
  return answer;
}

// The read of a transaction: at its revision, whenever that was between its call and its answer.
Operation ReadOfTxn(const Operation& put, const TxnAnswer& answer) {
  Operation read;
  read.client = put.client;
  read.key = answer.read;
  read.call = put.call;
  read.completed = put.completed;
  read.revision = answer.revision;
  read.outcome = answer.found ? Outcome::kOk : Outcome::kNotFound;
  if (answer.found) read.items = {*answer.found};
  return read;
}

bool IsFinished(const Operation& operation) {
  return operation.outcome == Outcome::kOk || operation.outcome == Outcome::kNotFound ||
         operation.outcome == Outcome::kConflict;
}

// docs/testing.md, "Recording a history".
void ReadReply(const testing::HttpReply& reply, Operation& operation) {
  const bool read = operation.kind == Kind::kGet || operation.kind == Kind::kRange;
  if (reply.status == 200 || reply.status == 201 || reply.status == 204) {
    operation.outcome = Outcome::kOk;
    operation.revision = Number(reply, "raftkv-revision");
    if (operation.kind == Kind::kPut) operation.created = reply.status == 201;
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
  bool txn = false;                      // what was chosen last is to be a transaction
  std::string next;                      // of the last page: where the next one is
  std::map<const Target*, testing::HttpClient> connections;

  size_t Pick(size_t count) { return random() % count; }
  testing::HttpClient& To(const Target& target, milliseconds timeout);
};

Load::Load(std::vector<Target*> targets, LoadOptions options)
    : targets_(std::move(targets)), options_(options) {}

void Load::Start() {
  ForgetGaps();
  size_t number = 0;
  for (Target* target : targets_) {
    for (size_t i = 0; i < options_.clients_per_node; ++i) {
      threads_.emplace_back([this, target, n = ++number] { Run(n, target); });
    }
  }
  for (size_t i = 0; i < options_.clients_of_all; ++i) {
    threads_.emplace_back([this, n = ++number] { Run(n, nullptr); });
  }
  if (options_.compact_every.count() > 0) threads_.emplace_back([this] { Compact(); });
}

void Load::Stop() {
  {
    const std::lock_guard lock(mutex_);
    if (!stop_.exchange(true)) CloseGaps(Clock::now());
  }
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
      if (client.txn) {
        PerformTxn(client, target, std::move(operation));
        break;
      }
      const bool again = Perform(client, target, operation);
      Record(operation);
      ReadOn(client, only, std::move(operation), client.Pick(kMostPages + 1));
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
  client.txn = false;
  const size_t dice = client.Pick(100);
  if (dice < 45) {
    operation.kind = Kind::kPut;
    operation.value = std::to_string(client.number) + "-" + std::to_string(++client.written);
    const size_t rest = client.Pick(options_.value_bytes + 1);
    operation.value.append(rest, '.');
    client.txn = dice < 8;
  } else if (dice < 53) {
    operation.kind = Kind::kDelete;
  } else if (dice < 85) {
    operation.kind = Kind::kGet;
  } else {
    operation.kind = Kind::kRange;
    // Everything by its bounds, or by its beginning; or one key and the mark beside it.
    const size_t which = client.Pick(3);
    if (which < 2) operation.key = "k";
    operation.end = which == 0 ? "kz" : linearizability::PrefixEnd(operation.key);
    operation.limit = client.Pick(3) == 0 ? 1 + client.Pick(4) : kDefaultLimit;
    operation.descending = client.Pick(4) == 0;
  }
  if (operation.kind == Kind::kGet || operation.kind == Kind::kRange) {
    ChooseState(client, operation);
  } else if (client.txn) {
    operation.condition = {Condition::Type::kRevision, client.seen[operation.key]};
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

void Load::ChooseState(Client& client, Operation& operation) const {
  const size_t how = client.Pick(8);
  if (how < 2) operation.consistency = Consistency::kStale;
  if ((how == 2 || how == 3) && options_.leases) operation.consistency = Consistency::kLease;
  const uint64_t seen = seen_;
  if (how == 4 && seen > 1) {
    operation.at_revision = seen - client.Pick(std::min<uint64_t>(seen - 1, kOldRevisions));
  }
}

// What is older than some revisions goes, at whichever node; refused, or unknown, is all the same.
void Load::Compact() {
  size_t next = options_.seed;
  Time last = Clock::now();
  while (!stop_) {
    std::this_thread::sleep_for(kLook);
    if (Clock::now() < last + options_.compact_every || seen_ <= kKeptRevisions) continue;
    last = Clock::now();
    const Target& target = *targets_[next++ % targets_.size()];
    const std::string body = R"({"revision":)" + std::to_string(seen_ - kKeptRevisions) + "}";
    testing::HttpClient client(target.host, target.admin_port, options_.timeout);
    const testing::HttpReply reply =
        client.Send("POST", "/admin/compact", body, {{"Content-Type", "application/json"}});
    const std::lock_guard lock(mutex_);
    if (reply.status == 200) ++counts_.compactions;
    if (reply.status == 500) CountError("a compaction", target, reply);
  }
}

testing::HttpClient& Load::Client::To(const Target& target, milliseconds timeout) {
  const auto found = connections.find(&target);
  if (found != connections.end()) return found->second;
  return connections.emplace(&target, testing::HttpClient(target.host, target.port, timeout))
      .first->second;
}

void Load::ReadOn(Client& client, Target* only, Operation page, size_t most) {
  for (; most > 0 && page.outcome == Outcome::kOk && page.more; --most) {
    page = NextPage(page);
    Target& target = only != nullptr ? *only : *targets_[client.Pick(targets_.size())];
    const std::string path = client.next;
    (void)PerformAt(client, target, page, path);
    Record(page);
    const std::lock_guard lock(mutex_);
    if (page.outcome == Outcome::kOk) ++counts_.pages;
  }
}

bool Load::Perform(Client& client, Target& target, Operation& operation) {
  return PerformAt(client, target, operation, Path(operation));
}

bool Load::PerformAt(Client& client, Target& target, Operation& operation,
                     const std::string& path) {
  testing::HttpClient& connection = client.To(target, options_.timeout);
  const uint64_t life = target.life;
  operation.call = Now();
  const testing::HttpReply reply = connection.Send(Method(operation.kind), path, operation.value,
                                                   HeadersOf(operation.condition));
  const int64_t end = Now();
  ReadReply(reply, operation);
  std::string wrong;
  try {
    if (operation.kind == Kind::kRange && operation.outcome == Outcome::kOk) {
      client.next = ReadRange(reply, operation);
    }
    wrong = Missing(operation);
  } catch (const nlohmann::json::exception& error) {
    wrong = error.what();
  }
  if (!wrong.empty() && operation.kind == Kind::kRange) {
    // Nothing was learned.
    operation.outcome = Outcome::kFail;
    operation.revision = 0;
    operation.items.clear();
    operation.more = false;
  }
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
  Count(target, operation, reply);
  if (!wrong.empty()) {
    const std::lock_guard lock(mutex_);
    CountUnreadable(std::string(Method(operation.kind)) + " of " + path, target, wrong);
  }
  return !IsFinished(operation);
}

void Load::PerformTxn(Client& client, Target& target, Operation put) {
  const std::string read = "k" + std::to_string(client.Pick(options_.keys));
  // What is written cannot be read in the same list.
  const std::string other = read == put.key ? put.key + "-none" : read;
  const uint64_t condition = put.condition.revision;
  put.call = Now();
  const testing::HttpReply reply =
      client.To(target, options_.timeout)
          .Send("POST", "/txn", TxnBody(put, other), {{"Content-Type", "application/json"}});
  const int64_t end = Now();
  put.condition = condition == 0 ? Condition{Condition::Type::kAbsent, 0}
                                 : Condition{Condition::Type::kRevision, condition};
  ReadReply(reply, put);
  put.created.reset();  // not told
  TxnAnswer answer;
  if (reply.status == 200) {
    try {
      answer = ReadTxn(reply);
    } catch (const nlohmann::json::exception& error) {
      const std::lock_guard lock(mutex_);
      CountUnreadable("a transaction", target, error.what());
    }
    // Without a revision nobody knows what it did.
    if (answer.revision == 0) put.outcome = Outcome::kUnknown;
    put.revision = 0;
  }
  Operation mark = put;
  mark.key += kMark;
  mark.condition = {};
  if (put.outcome != Outcome::kUnknown) put.completed = mark.completed = end;
  if (answer.revision == 0) {
    client.seen[put.key] = 0;
    Count(target, put, reply);
    // Either of the two may have happened, or may yet.
    Record(put);
    if (put.outcome == Outcome::kUnknown) Record(mark);
    return;
  }
  Operation& done = answer.succeeded ? put : mark;
  done.revision = answer.revision;
  client.seen[put.key] = &done == &put ? answer.revision : 0;
  Count(target, done, reply);
  if (!answer.omitted) Record(ReadOfTxn(done, answer));
  Record(done);
  const std::lock_guard lock(mutex_);
  ++counts_.transactions;
}

void Load::Count(const Target& target, const Operation& operation,
                 const testing::HttpReply& reply) {
  const bool write = operation.kind == Kind::kPut || operation.kind == Kind::kDelete;
  const std::lock_guard lock(mutex_);
  ++counts_.operations;
  if (IsFinished(operation)) {
    ++counts_.done;
    ++(write ? counts_.writes : operation.kind == Kind::kGet ? counts_.gets : counts_.ranges);
    // What was at a revision, nobody has to confirm.
    if (operation.at_revision > 0) {
      ++counts_.old_reads;
    } else if (operation.consistency != Consistency::kStale) {
      Learn(operation, write, Clock::now());
      ++(write ? writes_done_ : reads_done_);
    }
    if (operation.revision > seen_) seen_ = operation.revision;
  }
  CountInFault(operation, write);
  CountInMinority(target, operation);
  if (operation.outcome == Outcome::kFail) ++counts_.refused;
  if (operation.outcome == Outcome::kUnknown) ++counts_.unknown;
  if (reply.status == 507) ++counts_.out_of_space;
  if (reply.status == 500) {
    CountError(std::string(Method(operation.kind)) + " of " + operation.key, target, reply);
  }
}

void Load::CountUnreadable(const std::string& asked, const Target& target,
                           const std::string& wrong) {
  if (counts_.unreadable++ == 0) {
    counts_.first_unreadable = asked + ", asked of " + target.name + ": " + wrong;
  }
}

void Load::CountError(const std::string& asked, const Target& target,
                      const testing::HttpReply& reply) {
  if (counts_.errors++ == 0) {
    counts_.first_error = asked + ", asked of " + target.name + ": " + reply.body;
  }
}

void Load::CountInFault(const Operation& operation, bool write) {
  const bool counts = operation.at_revision == 0 &&
                      operation.consistency == Consistency::kLinearizable &&
                      Time(Time::duration(operation.call)) > fault_;
  if (!counts || stop_) return;
  if (IsFinished(operation)) {
    ++(write ? in_fault_.writes_done : in_fault_.reads_done);
  } else {
    ++(write ? in_fault_.writes_failed : in_fault_.reads_failed);
  }
}

void Load::CountInMinority(const Target& target, const Operation& operation) {
  const bool needs_majority =
      operation.at_revision == 0 && operation.consistency == Consistency::kLinearizable;
  if (!needs_majority || !IsFinished(operation) ||
      std::ranges::find(minority_, &target) == minority_.end() ||
      Time(Time::duration(operation.call)) <= minority_since_) {
    return;
  }
  counts_.answered_by_minority =
      std::string(Method(operation.kind)) + " of " + operation.key + " by " + target.name;
}

void Load::Learn(const Operation& operation, bool write, Time now) {
  if (stop_) return;
  Time& last = write ? last_write_ : last_read_;
  if (!outage_) {
    milliseconds& gap = write ? counts_.write_gap : counts_.read_gap;
    gap = std::max(gap, std::chrono::duration_cast<milliseconds>(now - last));
  } else if (operation.consistency == Consistency::kLinearizable &&
             Time(Time::duration(operation.call)) > *outage_) {
    // A leader that is cut off may answer from its lease until that ends.
    counts_.answered_in_outage = std::string(write ? "a write" : "a read") + " of " + operation.key;
  }
  last = now;
}

void Load::Record(Operation operation) {
  std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
}

LoadCounts Load::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

void Load::ForgetGaps() {
  const std::lock_guard lock(mutex_);
  counts_.write_gap = counts_.read_gap = counts_.observed = milliseconds(0);
  observed_since_ = last_write_ = last_read_ = Clock::now();
}

void Load::CloseGaps(Time now) {
  if (outage_) return;
  const auto add = [now](milliseconds& gap, Time last) {
    gap = std::max(gap, std::chrono::duration_cast<milliseconds>(now - last));
  };
  add(counts_.write_gap, last_write_);
  add(counts_.read_gap, last_read_);
  counts_.observed += std::chrono::duration_cast<milliseconds>(now - observed_since_);
  observed_since_ = now;
}

void Load::BeginFault() {
  const std::lock_guard lock(mutex_);
  fault_ = Clock::now();
  in_fault_ = {};
}

InFault Load::in_fault() const {
  const std::lock_guard lock(mutex_);
  return in_fault_;
}

void Load::BeginOutage() {
  const std::lock_guard lock(mutex_);
  const Time now = Clock::now();
  CloseGaps(now);
  outage_ = now;
}

void Load::EndOutage() {
  const std::lock_guard lock(mutex_);
  outage_.reset();
  observed_since_ = last_write_ = last_read_ = Clock::now();
}

void Load::BeginMinority(std::vector<const Target*> targets) {
  const std::lock_guard lock(mutex_);
  minority_ = std::move(targets);
  minority_since_ = Clock::now();
}

void Load::EndMinority() {
  const std::lock_guard lock(mutex_);
  minority_.clear();
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
    Operation all;
    all.kind = Kind::kRange;
    all.key = "k";
    all.end = linearizability::PrefixEnd(all.key);
    all.limit = 4;
    (void)Perform(last, *target, all);
    Record(all);
    ReadOn(last, target, std::move(all), SIZE_MAX);
  }
  linearizability::History history;
  std::lock_guard lock(mutex_);
  history.operations = std::move(operations_);
  return history;
}

}  // namespace raftkv::faults
