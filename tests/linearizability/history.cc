#include "tests/linearizability/history.h"

#include <fstream>
#include <iterator>

namespace raftkv::linearizability {
namespace {

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

bool IsWrite(const Operation& op) { return op.kind == Kind::kPut || op.kind == Kind::kDelete; }

bool HasAnswerFields(const Operation& op) {
  return op.revision != 0 || op.created || op.key_revision || !op.items.empty() || op.count != 0 ||
         op.more;
}

Status ValidateQuestion(const Operation& op) {
  const bool range = op.kind == Kind::kRange;
  if (op.key.empty() && !range) return Invalid("the key is missing");
  if (op.kind != Kind::kPut && !op.value.empty()) return Invalid("only a put has a value");
  if (!range && (!op.end.empty() || op.limit != 0 || op.descending || op.count_only)) {
    return Invalid("only a range has end, limit, descending or count_only");
  }
  if (range && op.condition.type != Condition::Type::kNone) {
    return Invalid("a range has no condition");
  }
  if (IsWrite(op) &&
      (op.at_revision != 0 || !op.node.empty() || op.consistency != Consistency::kLinearizable)) {
    return Invalid("a write has no at_revision, node or consistency");
  }
  if (op.completed && *op.completed < op.call) return Invalid("completed lies before call");
  return Status::Ok();
}

Status ValidateItems(const Operation& op) {
  if (IsWrite(op)) {
    return op.items.empty() ? Status::Ok() : Invalid("the answer of a write has no items");
  }
  if (op.kind == Kind::kGet) {
    if (op.items.size() != 1) return Invalid("a get that is ok has exactly one item");
    return op.items[0].key == op.key ? Status::Ok() : Invalid("the item has another key");
  }
  if (op.revision == 0) return Invalid("a range that is ok tells its revision");
  if (op.count_only) {
    return op.items.empty() && !op.more ? Status::Ok()
                                        : Invalid("a range with count_only has only a count");
  }
  return op.count == 0 ? Status::Ok() : Invalid("a count belongs to a range with count_only");
}

Status ValidateAnswer(const Operation& op) {
  const bool has_condition = op.condition.type != Condition::Type::kNone;
  switch (op.outcome) {
    case Outcome::kOk:
      RETURN_IF_ERROR(ValidateItems(op));
      break;
    case Outcome::kNotFound:
      if (op.kind != Kind::kGet && op.kind != Kind::kDelete) {
        return Invalid("only a get or delete ends with not-found");
      }
      if (op.kind == Kind::kDelete && op.revision != 0) {
        return Invalid("a delete that found nothing made no revision");
      }
      break;
    case Outcome::kConflict:
      if (!has_condition) return Invalid("there is no condition that could conflict");
      break;
    case Outcome::kFail:
    case Outcome::kUnknown:
      if (HasAnswerFields(op)) return Invalid("an operation without an answer has answer members");
      break;
  }
  if (!op.completed && op.outcome != Outcome::kUnknown) {
    return Invalid("an operation without completed has the outcome unknown");
  }
  const bool read = !IsWrite(op);
  if (read && op.at_revision != 0 && op.revision != 0 && op.revision != op.at_revision) {
    return Invalid("the answer holds for another revision than the one asked for");
  }
  if (op.created && (op.kind != Kind::kPut || op.outcome != Outcome::kOk)) {
    return Invalid("created belongs to a put that is ok");
  }
  if (op.key_revision && op.outcome != Outcome::kConflict) {
    return Invalid("key_revision belongs to a conflict");
  }
  if (op.kind != Kind::kRange && (op.more || op.count != 0)) {
    return Invalid("more and count belong to a range");
  }
  if (op.outcome != Outcome::kOk && !op.items.empty()) {
    return Invalid("items belong to an operation that is ok");
  }
  return Status::Ok();
}

}  // namespace

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
  return end;
}

Status Validate(const Operation& operation) {
  RETURN_IF_ERROR(ValidateQuestion(operation));
  return ValidateAnswer(operation);
}

Result<History> ReadHistory(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return Error(Code::kIoError, path.string() + ": cannot be read");
  auto history = ParseHistory(text);
  if (!history)
    return Error(history.error().code(), path.string() + ": " + history.error().message());
  return history;
}

Status WriteHistory(const History& history, const std::filesystem::path& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << FormatHistory(history);
  out.flush();
  if (!out) return Status(Code::kIoError, path.string() + ": cannot be written");
  return Status::Ok();
}

}  // namespace raftkv::linearizability
