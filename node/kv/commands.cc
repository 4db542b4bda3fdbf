#include "node/kv/commands.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace raftkv::kv {
namespace {

using v1::TxnCommand;
using Slot = SliceWriter::Slot;

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

Status CheckKey(std::string_view key) {
  if (key.empty()) return Invalid("the key is empty");
  if (key.size() > kMaxKeyBytes) {
    return Invalid("the key is longer than " + std::to_string(kMaxKeyBytes) + " bytes");
  }
  return Status::Ok();
}

Status CheckPut(const v1::PutCommand& put) {
  RETURN_IF_ERROR(CheckKey(put.key()));
  if (put.value().size() > kMaxValueBytes) {
    return Invalid("the value is larger than " + std::to_string(kMaxValueBytes) + " bytes");
  }
  return Status::Ok();
}

bool IsRange(const v1::DeleteCommand& del) { return !del.range_end().empty(); }

std::string_view RangeEnd(const v1::DeleteCommand& del) {
  return del.range_end() == std::string_view("\0", 1) ? std::string_view() : del.range_end();
}

Status CheckDelete(const v1::DeleteCommand& del) {
  if (!IsRange(del)) return CheckKey(del.key());
  if (del.has_precondition()) return Invalid("a range cannot be deleted on a condition");
  // The end of all keys that start with a key of full length is no longer than that; one byte more
  // lets an exclusive end stand right behind a key.
  if (del.key().size() > kMaxKeyBytes + 1 || del.range_end().size() > kMaxKeyBytes + 1) {
    return Invalid("a bound of the range is longer than a key can be");
  }
  return Status::Ok();
}

uint64_t ModRevision(const RecordHeader& header) { return header.live() ? header.mod.main : 0; }

Status CheckPrecondition(const v1::Precondition& precondition, const RecordHeader& header) {
  const uint64_t mod = ModRevision(header);
  switch (precondition.test_case()) {
    case v1::Precondition::kModRevision:
      if (mod == precondition.mod_revision()) return Status::Ok();
      if (mod == 0) return Status(Code::kConflict, "the key does not exist");
      return Status(Code::kConflict, "the key's mod revision is " + std::to_string(mod) + ", not " +
                                         std::to_string(precondition.mod_revision()));
    case v1::Precondition::kAbsent:
      if (!precondition.absent()) return Invalid("precondition: absent is false");
      return mod == 0 ? Status::Ok() : Status(Code::kConflict, "the key exists");
    case v1::Precondition::kPresent:
      if (!precondition.present()) return Invalid("precondition: present is false");
      return mod != 0 ? Status::Ok() : Status(Code::kConflict, "the key does not exist");
    case v1::Precondition::TEST_NOT_SET:
      return Invalid("the precondition is empty");
  }
  return Invalid("the precondition is unknown");
}

Status TooMuch() {
  return Invalid("one command may change up to " + std::to_string(kMaxCommandChanges) +
                 " keys: use several smaller ones");
}

// --- Single keys
// ----------------------------------------------------------------------------------

Result<CommandResult> Put(const v1::PutCommand& put, SliceWriter& writer) {
  CommandResult result;
  result.status = CheckPut(put);
  if (!result.status.ok()) return result;
  ASSIGN_OR_RETURN(Slot * slot, writer.Find(put.key()));
  result.prev_mod_revision = ModRevision(slot->header);
  if (put.has_precondition()) result.status = CheckPrecondition(put.precondition(), slot->header);
  if (!result.status.ok()) return result;
  result.created = !slot->header.live();
  result.puts = 1;
  writer.Put(slot, put.key(), put.value());
  return result;
}

Result<CommandResult> DeleteKey(const v1::DeleteCommand& del, SliceWriter& writer) {
  CommandResult result;
  ASSIGN_OR_RETURN(Slot * slot, writer.Find(del.key()));
  result.prev_mod_revision = ModRevision(slot->header);
  if (del.has_precondition()) result.status = CheckPrecondition(del.precondition(), slot->header);
  if (!result.status.ok() || !slot->header.live()) return result;
  writer.Delete(slot, del.key());
  result.deleted = 1;
  return result;
}

// --- Several changes, decided on before the first is made
// -----------------------------------------

struct Change {
  std::string key;
  const v1::PutCommand* put = nullptr;  // null: delete
  Slot* slot = nullptr;
};

// The changes of one command. As a list neither puts a key twice nor puts and deletes it, no change
// depends on another, but that a second delete of a key finds nothing.
class ChangeList {
 public:
  explicit ChangeList(SliceWriter& writer) : writer_(writer) {}

  // The results: whether the changes are few enough.
  Result<bool> AddPut(const v1::PutCommand& put) { return Add({put.key(), &put}); }

  Result<bool> AddDelete(const v1::DeleteCommand& del) {
    if (!IsRange(del)) return AddDeleteOf(del.key());
    ASSIGN_OR_RETURN(const auto keys,
                     writer_.LiveKeys(del.key(), RangeEnd(del), kMaxCommandChanges));
    if (keys.size() > kMaxCommandChanges) return false;
    for (const std::string& key : keys) {
      ASSIGN_OR_RETURN(const bool fits, AddDeleteOf(key));
      if (!fits) return false;
    }
    return true;
  }

  void Make(CommandResult* result) {
    for (const Change& change : changes_) {
      if (change.put != nullptr) {
        writer_.Put(change.slot, change.key, change.put->value());
        ++result->puts;
      } else {
        writer_.Delete(change.slot, change.key);
        ++result->deleted;
      }
    }
  }

 private:
  Result<bool> AddDeleteOf(const std::string& key) {
    if (!deleted_.insert(key).second) return true;
    return Add({key});
  }

  Result<bool> Add(Change change) {
    ASSIGN_OR_RETURN(change.slot, writer_.Find(change.key));
    const bool live = change.slot->header.live();
    if (live || change.put != nullptr) changes_.push_back(std::move(change));
    return changes_.size() <= kMaxCommandChanges;
  }

  SliceWriter& writer_;
  std::vector<Change> changes_;
  std::set<std::string> deleted_;
};

Result<CommandResult> Delete(const v1::DeleteCommand& del, SliceWriter& writer) {
  CommandResult result;
  result.status = CheckDelete(del);
  if (!result.status.ok()) return result;
  if (!IsRange(del)) return DeleteKey(del, writer);
  ChangeList changes(writer);
  ASSIGN_OR_RETURN(const bool fits, changes.AddDelete(del));
  if (fits) {
    changes.Make(&result);
  } else {
    result.status = TooMuch();
  }
  return result;
}

// --- Transactions
// ---------------------------------------------------------------------------------

using Ops = google::protobuf::RepeatedPtrField<TxnCommand::Op>;

Status CheckOp(const TxnCommand::Op& op) {
  switch (op.op_case()) {
    case TxnCommand::Op::kPut:
      if (op.put().has_precondition()) break;
      return CheckPut(op.put());
    case TxnCommand::Op::kDelete:
      if (op.delete_().has_precondition()) break;
      return CheckDelete(op.delete_());
    case TxnCommand::Op::OP_NOT_SET:
      return Invalid("an operation of the transaction is empty");
  }
  return Invalid("an operation of a transaction cannot have a precondition: use compare");
}

Status CheckOps(const Ops& ops) {
  if (static_cast<size_t>(ops.size()) > kMaxTxnOps) {
    return Invalid("the transaction has more than " + std::to_string(kMaxTxnOps) + " operations");
  }
  Status duplicate = Invalid("a key is put twice, or put and deleted, in one transaction");
  std::set<std::string_view> puts;
  for (const TxnCommand::Op& op : ops) {
    RETURN_IF_ERROR(CheckOp(op));
    if (op.has_put() && !puts.insert(op.put().key()).second) return duplicate;
  }
  for (const TxnCommand::Op& op : ops) {
    if (!op.has_delete_()) continue;
    const v1::DeleteCommand& del = op.delete_();
    const auto put = puts.lower_bound(del.key());
    if (put == puts.end()) continue;
    const bool deleted = IsRange(del) ? RangeEnd(del).empty() || *put < RangeEnd(del)  //
                                      : *put == del.key();
    if (deleted) return duplicate;
  }
  return Status::Ok();
}

Status CheckTxn(const TxnCommand& txn) {
  if (static_cast<size_t>(txn.compare_size()) > kMaxTxnOps) {
    return Invalid("the transaction compares more than " + std::to_string(kMaxTxnOps) + " times");
  }
  for (const TxnCommand::Compare& compare : txn.compare()) {
    RETURN_IF_ERROR(CheckKey(compare.key()));
    if (compare.target_case() == TxnCommand::Compare::TARGET_NOT_SET ||
        !TxnCommand::Compare::Relation_IsValid(compare.relation())) {
      return Invalid("a comparison of the transaction is incomplete");
    }
  }
  RETURN_IF_ERROR(CheckOps(txn.success()));
  return CheckOps(txn.failure());
}

template <typename T>
bool Holds(TxnCommand::Compare::Relation relation, const T& actual, const T& wanted) {
  switch (relation) {
    case TxnCommand::Compare::EQUAL:
      return actual == wanted;
    case TxnCommand::Compare::NOT_EQUAL:
      return actual != wanted;
    case TxnCommand::Compare::GREATER:
      return actual > wanted;
    default:
      return actual < wanted;
  }
}

Result<bool> Holds(const TxnCommand::Compare& compare, const Slot& slot, SliceWriter& writer) {
  const RecordHeader absent;
  const RecordHeader& header = slot.header.live() ? slot.header : absent;
  switch (compare.target_case()) {
    case TxnCommand::Compare::kVersion:
      return Holds(compare.relation(), header.version, compare.version());
    case TxnCommand::Compare::kCreateRevision:
      return Holds(compare.relation(), header.create, compare.create_revision());
    case TxnCommand::Compare::kModRevision:
      return Holds(compare.relation(), header.mod.main, compare.mod_revision());
    default: {
      std::string_view value;
      if (header.live()) {
        ASSIGN_OR_RETURN(value, writer.Value(slot));
      }
      return Holds<std::string_view>(compare.relation(), value, compare.value());
    }
  }
}

Result<CommandResult> Txn(const TxnCommand& txn, SliceWriter& writer) {
  CommandResult result;
  result.txn = true;
  result.status = CheckTxn(txn);
  if (!result.status.ok()) return result;

  result.succeeded = true;
  for (const TxnCommand::Compare& compare : txn.compare()) {
    ASSIGN_OR_RETURN(const Slot* slot, writer.Find(compare.key()));
    ASSIGN_OR_RETURN(result.succeeded, Holds(compare, *slot, writer));
    if (!result.succeeded) break;
  }

  ChangeList changes(writer);
  for (const TxnCommand::Op& op : result.succeeded ? txn.success() : txn.failure()) {
    ASSIGN_OR_RETURN(const bool fits,
                     op.has_put() ? changes.AddPut(op.put()) : changes.AddDelete(op.delete_()));
    if (!fits) {
      result.status = TooMuch();
      return result;
    }
  }
  changes.Make(&result);
  return result;
}

// --- Compaction
// -----------------------------------------------------------------------------------

CommandResult Compact(const v1::CompactCommand& compact, SliceWriter& writer) {
  CommandResult result;
  Meta& meta = writer.meta();
  if (compact.revision() > meta.revision) {
    result.status = Invalid("cannot compact at revision " + std::to_string(compact.revision()) +
                            ": the store is at " + std::to_string(meta.revision));
  } else if (compact.revision() <= meta.compact_revision) {
    result.status = Status(Code::kConflict, "revision " + std::to_string(compact.revision()) +
                                                " is compacted already (up to " +
                                                std::to_string(meta.compact_revision) + ")");
  } else {
    meta.compact_revision = compact.revision();
  }
  return result;
}

Result<CommandResult> Dispatch(const v1::Command& command, SliceWriter& writer) {
  switch (command.body_case()) {
    case v1::Command::kPut:
      return Put(command.put(), writer);
    case v1::Command::kDelete:
      return Delete(command.delete_(), writer);
    case v1::Command::kTxn:
      return Txn(command.txn(), writer);
    case v1::Command::kCompact:
      return Compact(command.compact(), writer);
    default:
      return CommandResult{.status = Invalid("the command is empty")};
  }
}

}  // namespace

Result<CommandResult> ExecuteCommand(const v1::Command& command, SliceWriter& writer) {
  Result<CommandResult> result = Dispatch(command, writer);
  if (!result) return result;
  writer.EndCommand();
  result->revision = writer.meta().revision;
  return result;
}

uint32_t VersionOf(const v1::Command& command) {
  return command.has_invite() && command.invite().withdraw() ? 2 : 1;
}

Status CheckReadable(std::string_view command) {
  v1::Command parsed;
  if (!parsed.ParseFromArray(command.data(), static_cast<int>(command.size())) ||
      parsed.version() == 0) {
    return Invalid("the command cannot be read: names and addresses must be UTF-8 text");
  }
  if (parsed.version() > kCommandVersion) {
    return Status(Code::kFailedPrecondition,
                  "the leader runs an older version, which does not know this request: upgrade all "
                  "members first");
  }
  return Status::Ok();
}

}  // namespace raftkv::kv
