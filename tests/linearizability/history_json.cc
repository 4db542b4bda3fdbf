// The JSONL form of a history.
#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "tests/linearizability/history.h"

namespace raftkv::linearizability {
namespace {

using nlohmann::json;
using Object = nlohmann::ordered_json;

template <typename T>
using Name = std::pair<T, std::string_view>;

constexpr auto kKinds = std::to_array<Name<Kind>>(
    {{Kind::kPut, "put"}, {Kind::kDelete, "delete"}, {Kind::kGet, "get"}, {Kind::kRange, "range"}});
constexpr auto kOutcomes = std::to_array<Name<Outcome>>({{Outcome::kOk, "ok"},
                                                         {Outcome::kNotFound, "not-found"},
                                                         {Outcome::kConflict, "conflict"},
                                                         {Outcome::kFail, "fail"},
                                                         {Outcome::kUnknown, "unknown"}});
constexpr auto kConsistencies =
    std::to_array<Name<Consistency>>({{Consistency::kLinearizable, "linearizable"},
                                      {Consistency::kLease, "lease"},
                                      {Consistency::kStale, "stale"}});

template <typename T, size_t N>
std::string_view NameOf(const std::array<Name<T>, N>& names, T value) {
  for (const auto& [each, name] : names) {
    if (each == value) return name;
  }
  return "?";
}

// --- Writing
// --------------------------------------------------------------------------------------

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char byte : bytes) {
    hex += kDigits[static_cast<unsigned char>(byte) >> 4];
    hex += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return hex;
}

bool IsAscii(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char byte) { return static_cast<signed char>(byte) >= 0; });
}

Object FromBytes(const std::string& bytes) {
  if (IsAscii(bytes)) return bytes;
  // The library's serializer is what knows whether bytes are UTF-8.
  const std::string replaced = json(bytes).dump(-1, ' ', false, json::error_handler_t::replace);
  if (json::parse(replaced).get_ref<const std::string&>() == bytes) return bytes;
  return Object{{"hex", Hex(bytes)}};
}

void PutNumber(const char* name, uint64_t value, Object* out) {
  if (value != 0) (*out)[name] = value;
}

void PutFlag(const char* name, bool value, Object* out) {
  if (value) (*out)[name] = true;
}

Object FromItem(const Item& item, bool with_key) {
  Object out = Object::object();
  if (with_key) out["key"] = FromBytes(item.key);
  if (item.value) out["value"] = FromBytes(*item.value);
  PutNumber("create_revision", item.create_revision, &out);
  PutNumber("mod_revision", item.mod_revision, &out);
  PutNumber("version", item.version, &out);
  return out;
}

Object FromItems(const std::vector<Item>& items, bool with_key) {
  Object out = Object::array();
  for (const Item& item : items) out.push_back(FromItem(item, with_key));
  return out;
}

void PutQuestion(const Operation& op, Object* out) {
  (*out)["client"] = op.client;
  (*out)["op"] = NameOf(kKinds, op.kind);
  if (!op.key.empty()) (*out)["key"] = FromBytes(op.key);
  if (!op.end.empty()) (*out)["end"] = FromBytes(op.end);
  if (op.kind == Kind::kPut) (*out)["value"] = FromBytes(op.value);
  if (op.condition.type == Condition::Type::kAbsent) (*out)["if"] = "absent";
  if (op.condition.type == Condition::Type::kPresent) (*out)["if"] = "present";
  if (op.condition.type == Condition::Type::kRevision) (*out)["if"] = op.condition.revision;
  if (op.consistency != Consistency::kLinearizable) {
    (*out)["consistency"] = NameOf(kConsistencies, op.consistency);
  }
  PutNumber("at_revision", op.at_revision, out);
  PutNumber("limit", op.limit, out);
  PutFlag("descending", op.descending, out);
  PutFlag("count_only", op.count_only, out);
  if (!op.node.empty()) (*out)["node"] = FromBytes(op.node);
}

void PutAnswer(const Operation& op, Object* out) {
  (*out)["call"] = op.call;
  if (op.completed) (*out)["completed"] = *op.completed;
  (*out)["outcome"] = NameOf(kOutcomes, op.outcome);
  PutNumber("revision", op.revision, out);
  if (op.created) (*out)["created"] = *op.created;
  if (op.key_revision) (*out)["key_revision"] = *op.key_revision;
  if (!op.items.empty()) (*out)["items"] = FromItems(op.items, op.kind != Kind::kGet);
  PutNumber("count", op.count, out);
  PutFlag("more", op.more, out);
}

// --- Reading
// --------------------------------------------------------------------------------------

// The members of one JSON object, each taken once; what nobody took is an error. The first error
// is kept, and everything after it is ignored.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {
    if (!object.is_object()) Fail("is not a JSON object");
  }

  bool Has(const char* name) const { return status_.ok() && object_.contains(name); }

  // The member, or null if it is absent.
  const json* Take(const char* name) {
    if (!Has(name)) return nullptr;
    ++taken_;
    return &object_[name];
  }

  void Number(const char* name, uint64_t* out) {
    const json* member = Take(name);
    if (member == nullptr) return;
    if (!member->is_number_unsigned()) return Fail(name, "is not a whole number from 0");
    *out = member->get<uint64_t>();
  }

  void Time(const char* name, int64_t* out) {
    const json* member = Take(name);
    if (member == nullptr) return;
    if (!member->is_number_integer()) return Fail(name, "is not a whole number");
    *out = member->get<int64_t>();
  }

  void Flag(const char* name, bool* out) {
    const json* member = Take(name);
    if (member == nullptr) return;
    if (!member->is_boolean()) return Fail(name, "is neither true nor false");
    *out = member->get<bool>();
  }

  void Bytes(const char* name, std::string* out) {
    const json* member = Take(name);
    if (member == nullptr) return;
    if (member->is_string()) {
      *out = member->get<std::string>();
    } else if (!FromHex(*member, out)) {
      Fail(name, R"(is neither a string nor {"hex":"..."})");
    }
  }

  template <typename T, size_t N>
  void OneOf(const char* name, const std::array<Name<T>, N>& names, T* out) {
    const json* member = Take(name);
    if (member == nullptr) return;
    std::string known;
    for (const auto& [value, text] : names) {
      if (*member == text) {
        *out = value;
        return;
      }
      known += (known.empty() ? "" : ", ") + std::string(text);
    }
    Fail(name, "is none of " + known);
  }

  void Fail(const std::string& message) {
    if (status_.ok()) status_ = Status(Code::kInvalidArgument, message);
  }
  void Fail(const std::string& name, const std::string& message) {
    Fail("member \"" + name + "\" " + message);
  }

  Status Finish(std::initializer_list<const char*> known) {
    if (!status_.ok() || taken_ == object_.size()) return status_;
    for (const auto& [name, value] : object_.items()) {
      const bool is_known =
          std::ranges::any_of(known, [&](const char* each) { return name == each; });
      if (!is_known) Fail(name, "is unknown");
    }
    return status_;
  }

 private:
  static bool FromHex(const json& member, std::string* out) {
    if (!member.is_object() || member.size() != 1 || !member.contains("hex")) return false;
    const json& hex = member["hex"];
    if (!hex.is_string()) return false;
    const auto& digits = hex.get_ref<const std::string&>();
    if (digits.size() % 2 != 0) return false;
    out->clear();
    for (size_t i = 0; i < digits.size(); i += 2) {
      unsigned byte = 0;
      const char* begin = digits.data() + i;
      const auto [end, error] = std::from_chars(begin, begin + 2, byte, 16);
      if (error != std::errc() || end != begin + 2) return false;
      out->push_back(static_cast<char>(byte));
    }
    return true;
  }

  const json& object_;
  size_t taken_ = 0;
  Status status_;
};

Status ToItem(const json& object, const std::string* key, Item* item) {
  Members members(object);
  if (key != nullptr) item->key = *key;
  if (key == nullptr && !members.Has("key")) members.Fail("an item has no key");
  members.Bytes("key", &item->key);
  if (members.Has("value")) members.Bytes("value", &item->value.emplace());
  members.Number("create_revision", &item->create_revision);
  members.Number("mod_revision", &item->mod_revision);
  members.Number("version", &item->version);
  return members.Finish({"key", "value", "create_revision", "mod_revision", "version"});
}

// `key`: what an item without a key of its own has; null: that is an error.
Status ToItems(const json& array, const std::string* key, std::vector<Item>* items) {
  if (!array.is_array()) return Status(Code::kInvalidArgument, "items are not an array");
  for (const json& each : array) RETURN_IF_ERROR(ToItem(each, key, &items->emplace_back()));
  return Status::Ok();
}

void TakeCondition(Members* members, Condition* condition) {
  const json* member = members->Take("if");
  if (member == nullptr) return;
  if (*member == "absent") {
    condition->type = Condition::Type::kAbsent;
  } else if (*member == "present") {
    condition->type = Condition::Type::kPresent;
  } else if (member->is_number_unsigned()) {
    *condition = {Condition::Type::kRevision, member->get<uint64_t>()};
  } else {
    members->Fail("if", "is neither \"absent\", \"present\" nor a revision");
  }
}

void TakeQuestion(Members* members, Operation* op) {
  if (!members->Has("op")) members->Fail("op", "is missing");
  if (!members->Has("call")) members->Fail("call", "is missing");
  if (!members->Has("outcome")) members->Fail("outcome", "is missing");
  members->Number("client", &op->client);
  members->OneOf("op", kKinds, &op->kind);
  if (op->kind == Kind::kPut && !members->Has("value")) members->Fail("value", "is missing");
  members->Bytes("key", &op->key);
  members->Bytes("end", &op->end);
  members->Bytes("value", &op->value);
  TakeCondition(members, &op->condition);
  members->OneOf("consistency", kConsistencies, &op->consistency);
  members->Number("at_revision", &op->at_revision);
  members->Number("limit", &op->limit);
  members->Flag("descending", &op->descending);
  members->Flag("count_only", &op->count_only);
  members->Bytes("node", &op->node);
}

Status ToOperation(const json& object, Operation* op) {
  Members members(object);
  TakeQuestion(&members, op);
  members.Time("call", &op->call);
  if (members.Has("completed")) members.Time("completed", &op->completed.emplace());
  members.OneOf("outcome", kOutcomes, &op->outcome);
  members.Number("revision", &op->revision);
  if (members.Has("created")) members.Flag("created", &op->created.emplace());
  if (members.Has("key_revision")) members.Number("key_revision", &op->key_revision.emplace());
  const json* items = members.Take("items");
  members.Number("count", &op->count);
  members.Flag("more", &op->more);
  RETURN_IF_ERROR(members.Finish(
      {"client",  "op",         "key",   "end",       "value",   "if",         "consistency",
       "node",    "limit",      "call",  "completed", "outcome", "revision",   "at_revision",
       "created", "descending", "count", "more",      "items",   "count_only", "key_revision"}));
  if (items != nullptr) {
    RETURN_IF_ERROR(ToItems(*items, op->kind == Kind::kGet ? &op->key : nullptr, &op->items));
  }
  return Validate(*op);
}

Status ToInitial(const json& object, History* history) {
  Members members(object);
  members.Number("initial_revision", &history->initial_revision);
  const json* items = members.Take("initial_items");
  RETURN_IF_ERROR(members.Finish({"initial_revision", "initial_items"}));
  if (items == nullptr) return Status::Ok();
  RETURN_IF_ERROR(ToItems(*items, nullptr, &history->initial_items));
  for (const Item& item : history->initial_items) {
    if (!item.value || item.create_revision == 0 || item.mod_revision < item.create_revision ||
        item.mod_revision > history->initial_revision || item.version == 0) {
      return Status(Code::kInvalidArgument,
                    "an initial item needs value, version, create_revision and mod_revision, none "
                    "above initial_revision");
    }
  }
  return Status::Ok();
}

// Of a member that stands there twice the library keeps the last.
Result<json> ParseJson(std::string_view line) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  std::string twice;
  const auto look = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key &&
        !names.back().insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    return true;
  };
  json object = json::parse(line, look, /*allow_exceptions=*/false);
  if (object.is_discarded()) return Error(Code::kInvalidArgument, "is not JSON");
  if (!twice.empty()) {
    return Error(Code::kInvalidArgument, "member \"" + twice + "\" stands there twice");
  }
  return object;
}

Status ParseLine(std::string_view line, bool first, History* history) {
  ASSIGN_OR_RETURN_STATUS(const json object, ParseJson(line));
  if (object.is_object() && object.contains("initial_revision")) {
    if (!first) {
      return Status(Code::kInvalidArgument, "the initial state belongs before all operations");
    }
    return ToInitial(object, history);
  }
  return ToOperation(object, &history->operations.emplace_back());
}

}  // namespace

std::string FormatOperation(const Operation& operation) {
  Object out;
  PutQuestion(operation, &out);
  PutAnswer(operation, &out);
  return out.dump();
}

std::string FormatHistory(const History& history) {
  std::string text;
  if (history.initial_revision != 1 || !history.initial_items.empty()) {
    Object initial;
    initial["initial_revision"] = history.initial_revision;
    initial["initial_items"] = FromItems(history.initial_items, true);
    text = initial.dump() + '\n';
  }
  for (const Operation& op : history.operations) text += FormatOperation(op) + '\n';
  return text;
}

Result<History> ParseHistory(std::string_view text) {
  History history;
  bool first = true;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    if (const Status status = ParseLine(line, first, &history); !status.ok()) {
      return Error(Code::kInvalidArgument,
                   "line " + std::to_string(number) + ": " + status.message());
    }
    first = false;
  }
  return history;
}

}  // namespace raftkv::linearizability
