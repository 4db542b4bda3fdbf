#include "tests/simulation/answers.h"

#include <utility>

namespace raftkv::sim {
namespace {

namespace lin = linearizability;
using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

// The operation as it ended, for whoever waits to the end; refused: it never happened.
Operation Ended(Operation operation, const Checker& checker, SimTime end) {
  if (operation.outcome != Outcome::kPending && operation.outcome != Outcome::kUnknown) {
    return operation;
  }
  const Checker::Decided* decided = checker.FindRequest(operation.member, operation.request_id);
  operation.outcome = Outcome::kRefused;
  if (operation.is_read() || decided == nullptr) return operation;
  operation.answered = end;
  operation.TakeResult(decided->result);
  return operation;
}

lin::Operation Begun(const Operation& operation) {
  lin::Operation out;
  out.client = operation.client;
  out.key = operation.key;
  out.call = operation.invoked.count();
  out.completed = operation.answered.count();
  return out;
}

lin::Condition If(uint64_t mod_revision) {
  if (mod_revision == 0) return {.type = lin::Condition::Type::kAbsent};
  return {.type = lin::Condition::Type::kRevision, .revision = mod_revision};
}

lin::Operation Put(const Operation& operation) {
  lin::Operation out = Begun(operation);
  out.kind = lin::Kind::kPut;
  out.value = operation.value;
  if (operation.kind != Kind::kPut) out.condition = If(operation.condition);
  if (operation.outcome == Outcome::kOk) {
    out.outcome = lin::Outcome::kOk;
    out.revision = operation.revision;
    if (operation.kind != Kind::kTxn) out.created = operation.created;
  } else if (operation.outcome == Outcome::kConflict) {
    out.outcome = lin::Outcome::kConflict;
    out.key_revision = operation.mod_revision;
  }
  return out;
}

lin::Operation Mark(const Operation& operation) {
  lin::Operation out = Put(operation);
  out.key = MarkBeside(operation.key);
  out.condition = {};
  return out;
}

lin::Operation Delete(const Operation& operation) {
  lin::Operation out = Begun(operation);
  out.kind = lin::Kind::kDelete;
  if (operation.outcome != Outcome::kOk) return out;
  out.outcome = operation.found ? lin::Outcome::kOk : lin::Outcome::kNotFound;
  if (operation.found) out.revision = operation.revision;
  return out;
}

lin::Item ToItem(const kv::KeyValue& item) {
  return {.key = item.key,
          .value = item.value,
          .create_revision = item.create_revision,
          .mod_revision = item.mod_revision,
          .version = item.version};
}

lin::Operation Read(const Operation& operation) {
  lin::Operation out = Begun(operation);
  out.kind = operation.is_range() ? lin::Kind::kRange : lin::Kind::kGet;
  out.node = operation.node;
  if (operation.is_old()) out.at_revision = operation.condition;
  if (operation.kind == Kind::kLeaseGet) out.consistency = lin::Consistency::kLease;
  if (operation.is_stale()) out.consistency = lin::Consistency::kStale;
  out.revision = operation.revision;
  if (operation.is_range()) {
    out.outcome = lin::Outcome::kOk;
    out.end = lin::PrefixEnd(operation.key);
    out.limit = operation.limit;
    out.more = operation.more;
    for (const kv::KeyValue& item : operation.items) out.items.push_back(ToItem(item));
    return out;
  }
  out.outcome = operation.found ? lin::Outcome::kOk : lin::Outcome::kNotFound;
  if (operation.found) {
    out.items.push_back({.key = operation.key,
                         .value = operation.value,
                         .create_revision = operation.create_revision,
                         .mod_revision = operation.mod_revision,
                         .version = operation.version});
  }
  return out;
}

}  // namespace

lin::History ToAnswers(const std::vector<Operation>& operations, const Checker& checker,
                       SimTime end, const kv::ReferenceModel& begin) {
  lin::History history;
  history.initial_revision = begin.revision();
  for (const kv::KeyValue& item : begin.Range("", "", begin.revision())) {
    history.initial_items.push_back(ToItem(item));
  }
  for (const Operation& asked : operations) {
    const Operation operation = Ended(asked, checker, end);
    if (operation.outcome == Outcome::kRefused) continue;
    switch (operation.kind) {
      case Kind::kPut:
      case Kind::kPutIf:
        history.operations.push_back(Put(operation));
        break;
      case Kind::kTxn:
        history.operations.push_back(operation.succeeded ? Put(operation) : Mark(operation));
        break;
      case Kind::kDelete:
        history.operations.push_back(Delete(operation));
        break;
      case Kind::kCompact:
        break;
      case Kind::kOldGet:
      case Kind::kOldRange:
        // What was before the beginning is known to the log alone (history.h).
        if (operation.condition >= begin.revision()) history.operations.push_back(Read(operation));
        break;
      default:
        history.operations.push_back(Read(operation));
    }
  }
  return history;
}

}  // namespace raftkv::sim
