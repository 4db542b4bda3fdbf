#include "tests/simulation/history.h"

#include <algorithm>

#include "tests/linearizability/history.h"
#include "tests/simulation/hash.h"

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
    case Kind::kRange:
      return "range";
    case Kind::kStaleRange:
      return "stale-range";
    case Kind::kOldRange:
      return "old-range";
  }
  return "?";
}

bool SameItem(const kv::KeyValue& a, const kv::KeyValue& b) {
  return a.key == b.key && a.value == b.value && a.create_revision == b.create_revision &&
         a.mod_revision == b.mod_revision && a.version == b.version;
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
  operation.told = checker_->memberships().told();
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
  TraceAnswer(operation);
}

// What clients are told is a part of the run: another answer is another run.
void History::TraceAnswer(const Operation& operation) {
  Scheduler& trace = *scheduler_;
  trace.Trace(static_cast<uint64_t>(operation.outcome));
  trace.Trace(operation.revision);
  trace.Trace(operation.mod_revision);
  trace.Trace((operation.created ? 1U : 0U) | (operation.succeeded ? 2U : 0U) |
              (operation.found ? 4U : 0U) | (operation.more ? 8U : 0U));
  if (!operation.is_read()) return;
  trace.Trace(HashBytes(operation.value));
  for (const kv::KeyValue& item : operation.items) {
    trace.Trace(HashBytes(item.key));
    trace.Trace(HashBytes(item.value));
    trace.Trace(item.mod_revision);
  }
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
    if (operation.is_old() && result.error().code() == Code::kConflict) {
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
  if (operation.is_range()) {
    operation.items = result.items;
    operation.more = result.more;
  } else if (operation.found) {
    const kv::KeyValue& item = result.items.front();
    operation.value = item.value;
    operation.create_revision = item.create_revision;
    operation.mod_revision = item.mod_revision;
    operation.version = item.version;
  }
  if (operation.is_stale()) {
    if (result.revision < operation.floor) coverage_->Hit(Path::read_stale);
  } else if (!operation.is_old()) {
    coverage_->Hit(operation.is_range()                ? Path::range_confirmed
                   : operation.kind == Kind::kLeaseGet ? Path::read_lease
                                                       : Path::read_confirmed);
    if (result.revision < operation.floor) {
      return checker_->Fail("linearizability: " + Describe(operation) + " sees revision " +
                            std::to_string(result.revision) + ", but revision " +
                            std::to_string(operation.floor) + " was seen before it began");
    }
    floor_ = std::max(floor_, result.revision);
  }
  if (result.revision > checker_->model().revision()) {
    return checker_->Fail("clients: " + Describe(operation) +
                          " sees a revision that is not decided");
  }
  CheckItems(operation, result);
}

// What was read is what the log says of that revision.
void History::CheckItems(const Operation& operation, const kv::RangeResult& result) {
  const kv::ReferenceModel& model = checker_->model();
  std::vector<kv::KeyValue> expected;
  bool more = false;
  if (operation.is_range()) {
    expected = model.Range(operation.key, linearizability::PrefixEnd(operation.key),
                           operation.is_old() ? operation.condition : result.revision);
    more = operation.limit > 0 && expected.size() > operation.limit;
    if (more) expected.resize(operation.limit);
    if (more) coverage_->Hit(Path::range_cut);
  } else if (const auto item = model.Get(
                 operation.key, operation.is_old() ? operation.condition : result.revision)) {
    expected.push_back(*item);
  }
  if (result.more != more) {
    return checker_->Fail("clients: " + Describe(operation) + " says that there " +
                          (more ? "are no more keys, but there are" : "are more keys"));
  }
  if (std::ranges::equal(expected, result.items, SameItem)) return;
  const auto text = [](const std::vector<kv::KeyValue>& items) {
    std::string all;
    for (const kv::KeyValue& item : items) {
      all += (all.empty() ? "" : ", ") + item.key + "='" + item.value + "' of " +
             std::to_string(item.mod_revision);
    }
    return all.empty() ? "(nothing)" : all;
  };
  checker_->Fail("clients: " + Describe(operation) + " sees something else than the log says\n" +
                 text(result.items) + " at revision " + std::to_string(result.revision) +
                 ", the log says " + text(expected));
}

}  // namespace raftkv::sim
