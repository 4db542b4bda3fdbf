#include "tests/simulation/history.h"

#include <algorithm>

namespace raftkv::sim {
namespace {

using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kPut:
      return "put";
    case Kind::kPutIf:
      return "put-if";
    case Kind::kDelete:
      return "delete";
    case Kind::kTxn:
      return "txn";
    case Kind::kCompact:
      return "compact";
    case Kind::kGet:
      return "get";
    case Kind::kLeaseGet:
      return "lease-get";
    case Kind::kStaleGet:
      return "stale-get";
    case Kind::kOldGet:
      return "old-get";
  }
  return "?";
}

}  // namespace

void Operation::TakeResult(const kv::CommandResult& result) {
  outcome = result.status.ok() ? Outcome::kOk : Outcome::kConflict;
  revision = result.revision;
  created = result.created;
  succeeded = result.succeeded;
  found = result.deleted > 0;
  mod_revision = result.prev_mod_revision;
}

std::string History::Describe(const Operation& operation) const {
  return std::string(NameOf(operation.kind)) + " of " + operation.key + " by client " +
         std::to_string(operation.client) + " (" + std::to_string(operation.invoked.count()) +
         " to " + std::to_string(scheduler_->now().count()) + " ns)";
}

size_t History::Begin(Operation operation) {
  operation.invoked = scheduler_->now();
  operation.floor = floor_;
  operations_.push_back(std::move(operation));
  return operations_.size() - 1;
}

void History::OnResult(uint64_t member, uint64_t request_id,
                       const Result<kv::CommandResult>& result) {
  if (!result) {
    if (result.error().code() == Code::kUnknownOutcome) {
      checker_->OnUnknown(member, request_id);
    } else {
      checker_->OnRefused(member, request_id);
      if (result.error().message().starts_with("another leader took over")) {
        coverage_->Hit(Path::write_overwritten);
      }
    }
    return;
  }
  const Checker::Decided* decided = checker_->FindRequest(member, request_id);
  if (decided == nullptr) {
    return checker_->Fail("clients: a write is acknowledged, but nobody has applied it");
  }
  if (decided->result.revision != result->revision ||
      decided->result.status.code() != result->status.code()) {
    checker_->Fail("clients: a write is answered with another result than it had");
  }
}

void History::Finish(Operation& operation, Outcome outcome) {
  operation.outcome = outcome;
  operation.answered = scheduler_->now();
}

void History::EndUnknown(size_t number) {
  Operation& operation = operations_[number];
  if (operation.outcome != Outcome::kPending) return;
  Finish(operation, operation.is_read() ? Outcome::kRefused : Outcome::kUnknown);
  coverage_->Hit(operation.is_read() ? Path::read_failed : Path::write_unknown);
}

void History::EndWrite(size_t number, const Result<kv::CommandResult>& result) {
  Operation& operation = operations_[number];
  if (operation.outcome != Outcome::kPending) return;
  if (!result) {
    if (result.error().code() == Code::kUnknownOutcome) return EndUnknown(number);
    coverage_->Hit(Path::write_refused);
    if (result.error().code() == Code::kOutOfSpace) coverage_->Hit(Path::growth_refused);
    return Finish(operation, Outcome::kRefused);
  }
  operation.TakeResult(*result);
  const bool ok = result->status.ok();
  const bool changed = ok && (operation.kind == Kind::kPut || operation.kind == Kind::kPutIf ||
                              operation.kind == Kind::kTxn ||
                              (operation.kind == Kind::kDelete && result->deleted > 0));
  if (result->revision < operation.floor + (changed ? 1 : 0)) {
    checker_->Fail("linearizability: " + Describe(operation) + " has revision " +
                   std::to_string(result->revision) + ", but revision " +
                   std::to_string(operation.floor) + " was seen before it began");
  }
  floor_ = std::max(floor_, result->revision);
  coverage_->Hit(ok ? Path::write_acknowledged : Path::write_conflict);
  Finish(operation, ok ? Outcome::kOk : Outcome::kConflict);
}

void History::EndRead(size_t number, const Result<kv::RangeResult>& result) {
  Operation& operation = operations_[number];
  if (operation.outcome != Outcome::kPending) return;
  if (!result) {
    if (operation.kind == Kind::kOldGet && result.error().code() == Code::kConflict) {
      coverage_->Hit(Path::read_compacted);
      if (operation.condition >= checker_->model().compact_revision()) {
        checker_->Fail("clients: " + Describe(operation) + ": revision " +
                       std::to_string(operation.condition) + " is called compacted, but is not");
      }
    } else if (result.error().code() != Code::kUnavailable &&
               result.error().code() != Code::kNotServing &&
               result.error().code() != Code::kResourceExhausted) {
      checker_->Fail("clients: " + Describe(operation) + " fails: " + result.error().ToString());
    } else {
      coverage_->Hit(Path::read_failed);
    }
    return Finish(operation, Outcome::kRefused);
  }
  CheckRead(operation, *result);
  Finish(operation, Outcome::kOk);
}

void History::CheckRead(Operation& operation, const kv::RangeResult& result) {
  operation.revision = result.revision;
  operation.found = !result.items.empty();
  if (operation.found) {
    const kv::KeyValue& item = result.items.front();
    operation.value = item.value;
    operation.create_revision = item.create_revision;
    operation.mod_revision = item.mod_revision;
    operation.version = item.version;
  }
  switch (operation.kind) {
    case Kind::kStaleGet:
      if (result.revision < operation.floor) coverage_->Hit(Path::read_stale);
      break;
    case Kind::kOldGet:
      break;
    default:
      coverage_->Hit(operation.kind == Kind::kGet ? Path::read_confirmed : Path::read_lease);
      if (result.revision < operation.floor) {
        return checker_->Fail("linearizability: " + Describe(operation) + " sees revision " +
                              std::to_string(result.revision) + ", but revision " +
                              std::to_string(operation.floor) + " was seen before it began");
      }
      floor_ = std::max(floor_, result.revision);
  }
  const kv::ReferenceModel& model = checker_->model();
  if (result.revision > model.revision()) {
    return checker_->Fail("clients: " + Describe(operation) +
                          " sees a revision that is not decided");
  }
  const auto expected = model.Get(operation.key, result.revision);
  const bool same =
      expected.has_value() == operation.found &&
      (!expected || (expected->value == operation.value &&
                     expected->mod_revision == result.items.front().mod_revision &&
                     expected->create_revision == result.items.front().create_revision &&
                     expected->version == result.items.front().version));
  if (!same) {
    checker_->Fail("clients: " + Describe(operation) + " sees '" + operation.value +
                   "' at revision " + std::to_string(result.revision) + ", the log says '" +
                   (expected ? expected->value : "(nothing)") + "'");
  }
}

}  // namespace raftkv::sim
