#include "tests/linearizability/describe.h"

namespace raftkv::linearizability {
namespace {

constexpr size_t kMaxItems = 5;

std::string DescribeRange(const Operation& op) {
  std::string text = "range from " + Quote(op.key);
  text += op.end.empty() ? " to the last key" : " up to " + Quote(op.end);
  if (op.limit != 0) text += ", at most " + std::to_string(op.limit);
  if (op.descending) text += ", descending";
  if (op.count_only) text += ", count only";
  return text;
}

std::string DescribeItem(const Item& item, bool with_key) {
  std::string text = with_key ? Quote(item.key) + "=" : "";
  text += item.value ? Quote(*item.value) : "...";
  if (item.mod_revision != 0) text += " @" + std::to_string(item.mod_revision);
  return text;
}

std::string DescribeItems(const Operation& op) {
  if (op.count_only) return "count " + std::to_string(op.count);
  if (op.items.empty()) return "no keys";
  std::string text;
  for (size_t i = 0; i < op.items.size() && i < kMaxItems; ++i) {
    text += (i == 0 ? "" : ", ") + DescribeItem(op.items[i], op.kind == Kind::kRange);
  }
  if (op.items.size() > kMaxItems) {
    text += ", ... (" + std::to_string(op.items.size()) + " keys)";
  }
  return text + (op.more ? ", more" : "");
}

std::string DescribeCondition(const Condition& condition) {
  switch (condition.type) {
    case Condition::Type::kNone:
      return "";
    case Condition::Type::kAbsent:
      return " if absent";
    case Condition::Type::kPresent:
      return " if present";
    case Condition::Type::kRevision:
      return " if at revision " + std::to_string(condition.revision);
  }
  return "";
}

}  // namespace

std::string Quote(std::string_view bytes, size_t max_bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "\"";
  for (const char each : bytes.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte >= 0x20 && byte < 0x7f) {
      text += each;
    } else {
      text += std::string("\\x") + kDigits[byte >> 4] + kDigits[byte & 15];
    }
  }
  if (bytes.size() > max_bytes) return text + "...\" (" + std::to_string(bytes.size()) + " bytes)";
  return text + "\"";
}

std::string DescribeQuestion(const Operation& op) {
  std::string text;
  switch (op.kind) {
    case Kind::kPut:
      text = "put " + Quote(op.key) + " = " + Quote(op.value);
      break;
    case Kind::kDelete:
      text = "delete " + Quote(op.key);
      break;
    case Kind::kGet:
      text = "get " + Quote(op.key);
      break;
    case Kind::kRange:
      text = DescribeRange(op);
      break;
  }
  text += DescribeCondition(op.condition);
  if (op.at_revision != 0) text += " as of revision " + std::to_string(op.at_revision);
  if (op.consistency == Consistency::kLease) text += " (lease)";
  if (op.consistency == Consistency::kStale) text += " (stale)";
  return text;
}

std::string DescribeAnswer(const Operation& op) {
  const bool read = op.kind == Kind::kGet || op.kind == Kind::kRange;
  std::string text;
  switch (op.outcome) {
    case Outcome::kOk:
      text = read ? DescribeItems(op) : "ok";
      break;
    case Outcome::kNotFound:
      text = "not found";
      break;
    case Outcome::kConflict:
      text = "conflict";
      if (op.key_revision) {
        text += *op.key_revision == 0 ? ", the key does not exist"
                                      : ", the key is at " + std::to_string(*op.key_revision);
      }
      break;
    case Outcome::kFail:
      return "failed without effect";
    case Outcome::kUnknown:
      return "outcome unknown";
  }
  if (op.created) text += *op.created ? ", created" : ", changed";
  if (op.revision != 0) text += ", revision " + std::to_string(op.revision);
  return text;
}

std::string Describe(const Operation& op) {
  return "client " + std::to_string(op.client) + "'s " + DescribeQuestion(op) + " (" +
         DescribeAnswer(op) + ")";
}

}  // namespace raftkv::linearizability
