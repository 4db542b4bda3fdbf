#include "tests/simulation/clients.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

using Kind = Operation::Kind;

struct Weight {
  Kind kind;
  uint64_t weight;
};
constexpr Weight kMix[] = {
    {Kind::kPut, 30},    {Kind::kPutIf, 12}, {Kind::kDelete, 8},     {Kind::kTxn, 10},
    {Kind::kCompact, 1}, {Kind::kGet, 22},   {Kind::kLeaseGet, 10},  {Kind::kStaleGet, 4},
    {Kind::kOldGet, 3},  {Kind::kRange, 5},  {Kind::kStaleRange, 1}, {Kind::kOldRange, 1},
};

constexpr int kMaxRepeats = 3;
// Of all keys that clients use.
constexpr const char* kPrefix = "k";

runtime::Consistency ConsistencyOf(Kind kind) {
  switch (kind) {
    case Kind::kLeaseGet:
      return runtime::Consistency::kLease;
    case Kind::kStaleGet:
    case Kind::kStaleRange:
      return runtime::Consistency::kStale;
    default:
      return runtime::Consistency::kLinearizable;
  }
}

}  // namespace

Clients::Clients(World* world, const ClientOptions& options)
    : world_(world),
      options_(options),
      random_(world->random.Next()),
      history_(&world->scheduler, &world->checker, &world->coverage),
      clients_(options.clients) {
  for (const Weight& choice : kMix) weights_.push_back(choice.weight);
  if (!options.weights.empty()) weights_ = options.weights;
  if (!options.leases) weights_[static_cast<size_t>(Kind::kLeaseGet)] = 0;
  CHECK(weights_.size() == std::size(kMix), "each kind of request has its weight");
}

void Clients::Start() {
  for (size_t client = 0; client < clients_.size(); ++client) Think(client);
}

Duration Clients::Exponential(Duration mean) {
  const double uniform = static_cast<double>(random_.Next() >> 11) * 0x1.0p-53;
  return Duration(static_cast<int64_t>(-std::log(1 - uniform) * static_cast<double>(mean.count())));
}

void Clients::Think(size_t client) {
  world_->scheduler.After(Exponential(options_.think_time), [this, client] {
    if (!stopped_) Begin(client);
  });
}

std::string Clients::NewValue(size_t client) {
  std::string value =
      options_.value_prefix + std::to_string(client) + "-" + std::to_string(++values_);
  value.append(random_.Uniform(options_.max_value_bytes), '.');
  return value;
}

Operation Clients::Choose(size_t client) {
  uint64_t ticket = random_.Uniform(std::accumulate(weights_.begin(), weights_.end(), uint64_t{0}));
  Operation operation;
  for (size_t i = 0; i < std::size(kMix); ++i) {
    operation.kind = kMix[i].kind;
    if (ticket < weights_[i]) break;
    ticket -= weights_[i];
  }
  operation.client = client;
  operation.key = "k" + std::to_string(random_.Uniform(options_.keys));
  const uint64_t seen = history_.floor();
  switch (operation.kind) {
    case Kind::kPutIf:
    case Kind::kTxn: {
      // Mostly what a client that has just read would ask for.
      const auto known = world_->checker.model().Get(operation.key, seen);
      operation.condition = known && random_.Uniform(4) > 0 ? known->mod_revision : 0;
      break;
    }
    case Kind::kOldGet:
    case Kind::kOldRange:
      operation.condition = seen - random_.Uniform(std::min<uint64_t>(seen, 100));
      break;
    case Kind::kCompact:
      operation.condition = seen > 20 ? seen - 20 : 1;
      break;
    default:
      break;
  }
  if (operation.is_range()) {
    // Everything, or one key and the mark beside it.
    if (random_.Uniform(2) == 0) operation.key = kPrefix;
    if (random_.Uniform(3) == 0) operation.limit = 1 + random_.Uniform(3);
  }
  if (operation.kind <= Kind::kTxn && operation.kind != Kind::kDelete) {
    operation.value = NewValue(client);
  }
  return operation;
}

v1::Command Clients::CommandFor(const Operation& operation) {
  v1::Command command;
  switch (operation.kind) {
    case Kind::kPutIf: {
      v1::Precondition& condition = *command.mutable_put()->mutable_precondition();
      if (operation.condition == 0) {
        condition.set_absent(true);
      } else {
        condition.set_mod_revision(operation.condition);
      }
      [[fallthrough]];
    }
    case Kind::kPut:
      command.mutable_put()->set_key(operation.key);
      command.mutable_put()->set_value(operation.value);
      break;
    case Kind::kDelete:
      command.mutable_delete_()->set_key(operation.key);
      break;
    case Kind::kTxn: {
      // If nobody changed the key since: write it, else a mark beside it. Changes something always.
      v1::TxnCommand& txn = *command.mutable_txn();
      v1::TxnCommand::Compare& compare = *txn.add_compare();
      compare.set_key(operation.key);
      compare.set_relation(v1::TxnCommand::Compare::EQUAL);
      compare.set_mod_revision(operation.condition);
      v1::PutCommand& put = *txn.add_success()->mutable_put();
      put.set_key(operation.key);
      put.set_value(operation.value);
      v1::PutCommand& mark = *txn.add_failure()->mutable_put();
      mark.set_key(MarkBeside(operation.key));
      mark.set_value(operation.value);
      break;
    }
    case Kind::kCompact:
      command.mutable_compact()->set_revision(operation.condition);
      break;
    default:
      break;
  }
  return command;
}

void Clients::Begin(size_t client) {
  clients_[client].repeats = 0;
  Ask(client, Choose(client));
}

void Clients::Burst(SimNode* node, uint64_t writes) {
  for (uint64_t i = 0; i < writes && !stopped_; ++i) {
    const size_t client = clients_.size();
    clients_.push_back({.once = true});
    Operation operation;
    operation.client = client;
    operation.key = "k" + std::to_string(random_.Uniform(options_.keys));
    operation.value = NewValue(client);
    AskAt(node, client, std::move(operation));
  }
}

bool Clients::idle() const {
  return std::ranges::none_of(history_.operations(), [](const Operation& operation) {
    return operation.outcome == Operation::Outcome::kPending;
  });
}

SimNode* Clients::ChooseNode() {
  std::vector<SimNode*> leaders;
  if (options_.to_leaders_percent > 0 && random_.Uniform(100) < options_.to_leaders_percent) {
    for (const auto& node : world_->nodes) {
      if (node->leads()) leaders.push_back(node.get());
    }
  }
  if (leaders.empty()) return world_->nodes[random_.Uniform(world_->nodes.size())].get();
  return leaders[random_.Uniform(leaders.size())];
}

void Clients::Ask(size_t client, Operation operation) {
  AskAt(ChooseNode(), client, std::move(operation));
}

void Clients::AskAt(SimNode* node, size_t client, Operation operation) {
  const Duration limit = std::chrono::milliseconds(300 + random_.Uniform(4000));
  const bool read = operation.is_read();
  const size_t number = history_.Begin(std::move(operation));
  Client& at = clients_[client];
  at.operation = number;
  at.node = node;
  at.incarnation = node->incarnation();
  world_->scheduler.After(Latency(), [this, client, number, node, limit, read] {
    if (!history_.pending(number)) return;
    clients_[client].incarnation = node->incarnation();
    if (!node->running()) {
      history_.EndWrite(number, Error(Code::kUnavailable, "nobody listens"));
      return Next(client, number);
    }
    node->Request([this, client, number, node, limit, read] {
      if (read) {
        AskRead(client, number, node, limit);
      } else {
        AskWrite(client, number, node, limit);
      }
    });
  });
  world_->scheduler.After(limit + std::chrono::milliseconds(random_.Uniform(1000)),
                          [this, client, number] {
                            if (!history_.pending(number)) return;
                            history_.EndUnknown(number);
                            Next(client, number);
                          });
}

void Clients::AskWrite(size_t client, size_t number, SimNode* node, Duration limit) {
  const v1::Command command = CommandFor(history_.operations()[number]);
  // The number is known only after the call, which may answer at once.
  auto request = std::make_shared<uint64_t>(0);
  const uint64_t member = node->id().value;
  const auto answered = [this, client, number, member, request](Result<kv::CommandResult> result) {
    if (*request != 0) history_.OnResult(member, *request, result);
    world_->scheduler.After(Latency(), [this, client, number, result = std::move(result)] {
      if (!history_.pending(number)) return;
      history_.EndWrite(number, result);
      Next(client, number);
    });
  };
  *request = node->Write(command, limit, answered);
  history_.SetRequest(number, member, *request);
}

void Clients::AskRead(size_t client, size_t number, SimNode* node, Duration limit) {
  const Kind kind = history_.operations()[number].kind;
  node->Read(ConsistencyOf(kind), limit, [this, client, number, node](const Status& status) {
    const auto answer = [this, client, number](Result<kv::RangeResult> result) {
      world_->scheduler.After(Latency(), [this, client, number, result = std::move(result)] {
        if (!history_.pending(number)) return;
        history_.EndRead(number, result);
        Next(client, number);
      });
    };
    if (!status.ok()) return answer(Error(status));
    // Another thread reads the state, a little later.
    node->Later(std::chrono::microseconds(random_.Uniform(300)), [this, number, node, answer] {
      history_.SetNode(number, node->options().name + '/' + std::to_string(node->incarnation()));
      const Operation& operation = history_.operations()[number];
      kv::RangeRequest request;
      request.start = operation.key;
      request.end = operation.is_range() ? kv::PrefixEnd(operation.key) : operation.key + '\0';
      request.limit = operation.limit;
      if (operation.is_old()) request.revision = operation.condition;
      if (operation.kind == Kind::kGet && !node->leads()) {
        world_->coverage.Hit(Path::read_at_follower);
      }
      if (!operation.is_stale()) {
        const uint64_t known = node->machine().cluster()->config_index();
        Checker& checker = world_->checker;
        checker.CheckMembership(checker.memberships().OnRead(operation.told, known));
      }
      answer(node->machine().Range(request));
    });
  });
}

void Clients::Next(size_t client, size_t number) {
  Client& at = clients_[client];
  if (at.operation != number) return;
  at.node = nullptr;
  if (stopped_ || at.once) return;
  const Operation& last = history_.operations()[number];
  const bool refused = last.outcome == Operation::Outcome::kRefused;
  // As a client does that wants the thing done: it may be done twice.
  const bool unknown = last.outcome == Operation::Outcome::kUnknown && random_.Uniform(2) == 0;
  if ((refused || unknown) && at.repeats < kMaxRepeats) {
    ++at.repeats;
    world_->coverage.Hit(refused ? Path::write_repeated : Path::unknown_repeated);
    Operation again = last;
    again.outcome = Operation::Outcome::kPending;
    again.member = again.request_id = 0;  // another request
    world_->scheduler.After(std::chrono::milliseconds(20 + random_.Uniform(200)),
                            [this, client, again = std::move(again)] {
                              if (!stopped_) Ask(client, again);
                            });
    return;
  }
  Think(client);
}

void Clients::OnProcessEnd(const SimNode& node) {
  for (size_t client = 0; client < clients_.size(); ++client) {
    Client& at = clients_[client];
    if (at.node != &node || !history_.pending(at.operation)) continue;
    at.node = nullptr;
    // The connection breaks; a moment later the client knows.
    world_->scheduler.After(Latency(), [this, client, number = at.operation] {
      if (!history_.pending(number)) return;
      history_.EndUnknown(number);
      Next(client, number);
    });
  }
}

}  // namespace raftkv::sim
