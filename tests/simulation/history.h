// History: what the clients did and saw, and whether it is linearizable.
//
// The log is the witness: each write has its place in it (the revision), each read tells from which
// revision it was served. So it is enough that every operation sees at least what operations before
// it saw, and that every answer is what the log gives at that revision.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "node/runtime/node.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/scheduler.h"

namespace raftkv::sim {

struct Operation {
  enum class Kind {
    kPut,
    kPutIf,
    kDelete,
    kTxn,
    kCompact,
    kGet,
    kLeaseGet,
    kStaleGet,
    kOldGet,
    // Of all keys with a prefix.
    kRange,
    kStaleRange,
    kOldRange,
  };
  static constexpr size_t kKinds = 12;
  enum class Outcome { kPending, kOk, kConflict, kRefused, kUnknown };

  size_t client = 0;
  Kind kind = Kind::kPut;
  std::string key;         // range: the prefix
  std::string value;       // written, or read
  bool found = false;      // read: the key exists; delete: it did
  uint64_t condition = 0;  // putif, txn: mod revision; old get, old range: the revision read
  uint64_t limit = 0;      // range: at most so many keys; 0: all
  SimTime invoked{0};
  SimTime answered{0};
  Outcome outcome = Outcome::kPending;
  uint64_t revision = 0;   // of the store, with the answer
  bool created = false;    // put: the key is new
  bool succeeded = false;  // txn: its condition held
  // Of the key: as read, or (mod_revision alone) what stood in the way of a condition.
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;
  uint64_t version = 0;
  // Of a range: its keys.
  std::vector<kv::KeyValue> items;
  bool more = false;    // a range: it has more keys than the limit
  uint64_t member = 0;  // write: that it was sent to; it is known there as
  uint64_t request_id = 0;
  std::string node;    // that answers, and which process there: "n2/7"
  uint64_t floor = 0;  // the highest revision that an operation before this one saw
  uint64_t told = 0;   // the newest configuration that anybody knew of before it began

  // How a write ended: kOk or kConflict, and what it says.
  void TakeResult(const kv::CommandResult& result);
  bool is_read() const { return kind >= Kind::kGet; }
  bool is_range() const { return kind >= Kind::kRange; }
  bool is_old() const { return kind == Kind::kOldGet || kind == Kind::kOldRange; }
  bool is_stale() const { return kind == Kind::kStaleGet || kind == Kind::kStaleRange; }
};

// What a transaction writes if its condition does not hold.
inline std::string MarkBeside(const std::string& key) { return key + "-mark"; }

class History {
 public:
  History(Scheduler* scheduler, Checker* checker, Coverage* coverage)
      : scheduler_(scheduler), checker_(checker), coverage_(coverage) {}

  // The store begins at this revision, not empty.
  void BeginAt(uint64_t revision) { floor_ = revision; }

  // The operation leaves its client; returns its number.
  size_t Begin(Operation operation);
  // A member has executed a write as this, or refuses it for sure. Before the client hears of it.
  void OnResult(uint64_t member, uint64_t request_id, const Result<kv::CommandResult>& result);
  // The client hears how the operation ended. Only the first end counts.
  void EndWrite(size_t number, const Result<kv::CommandResult>& result);
  void EndRead(size_t number, const Result<kv::RangeResult>& result);
  void EndUnknown(size_t number);
  bool pending(size_t number) const {
    return operations_[number].outcome == Operation::Outcome::kPending;
  }

  void SetRequest(size_t number, uint64_t member, uint64_t request_id) {
    operations_[number].member = member;
    operations_[number].request_id = request_id;
  }
  void SetNode(size_t number, std::string node) { operations_[number].node = std::move(node); }

  uint64_t floor() const { return floor_; }
  const std::vector<Operation>& operations() const { return operations_; }

 private:
  void CheckRead(Operation& operation, const kv::RangeResult& result);
  void CheckItems(const Operation& operation, const kv::RangeResult& result);
  void Finish(Operation& operation, Operation::Outcome outcome);
  void TraceAnswer(const Operation& operation);
  std::string Describe(const Operation& operation) const;

  Scheduler* const scheduler_;
  Checker* const checker_;
  Coverage* const coverage_;
  std::vector<Operation> operations_;
  uint64_t floor_ = 1;
};

}  // namespace raftkv::sim
