// The JSON of POST /txn.
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "node/kv/state_machine.h"
#include "node/server/json_bytes.h"
#include "node/server/text.h"
#include "node/server/txn_api.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::ordered_json;
using Ops = google::protobuf::RepeatedPtrField<v1::TxnRequest::Op>;
using v1::TxnCommand;

// {"success":[{"put":{"key":...}}]}: what is deeper is dropped while it is read.
constexpr int kMaxDepth = 4;

Status Wrong(const std::string& where, const std::string& what) {
  return Status(Code::kInvalidArgument, where + ": " + what);
}

Status CheckMembers(const Json& object, const std::string& where,
                    std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Wrong(where, "this must be an object");
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string names;
      for (std::string_view each : known) names.append(names.empty() ? "" : ", ").append(each);
      return Wrong(where, "there is no member '" + name + "'; there are " + names);
    }
  }
  return Status::Ok();
}

// The member `name`, which `encoding_name` may say to be base64.
Result<std::string> Bytes(const Json& object, const std::string& where, const char* name,
                          const char* encoding_name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    return Error(Wrong(where, std::string(name) + " must be there, and a string"));
  }
  const auto encoding = object.find(encoding_name);
  if (encoding == object.end()) return found->get<std::string>();
  if (*encoding != "base64") {
    return Error(Wrong(where, std::string(encoding_name) + " can only be base64"));
  }
  auto bytes = Base64Decode(found->get<std::string>());
  if (!bytes) return Error(Wrong(where, std::string(name) + " is not base64"));
  return bytes;
}

Status ParseRelation(const Json& object, const std::string& where, TxnCommand::Compare* compare) {
  const auto found = object.find("relation");
  if (found == object.end() || *found == "equal") return Status::Ok();
  if (*found == "not_equal") {
    compare->set_relation(TxnCommand::Compare::NOT_EQUAL);
  } else if (*found == "greater") {
    compare->set_relation(TxnCommand::Compare::GREATER);
  } else if (*found == "less") {
    compare->set_relation(TxnCommand::Compare::LESS);
  } else {
    return Wrong(where, "relation must be equal, not_equal, greater or less");
  }
  return Status::Ok();
}

Status ParseTarget(const Json& object, const std::string& where, TxnCommand::Compare* compare) {
  int targets = 0;
  for (const char* name : {"version", "create_revision", "mod_revision"}) {
    const auto found = object.find(name);
    if (found == object.end()) continue;
    ++targets;
    if (!found->is_number_unsigned()) {
      return Wrong(where, std::string(name) + " must be a whole number");
    }
    const auto number = found->get<uint64_t>();
    if (name[0] == 'v') {
      compare->set_version(number);
    } else if (name[0] == 'c') {
      compare->set_create_revision(number);
    } else {
      compare->set_mod_revision(number);
    }
  }
  if (object.contains("value")) {
    ++targets;
    ASSIGN_OR_RETURN_STATUS(*compare->mutable_value(), Bytes(object, where, "value", "encoding"));
  }
  if (targets == 1) return Status::Ok();
  return Wrong(where, "give one of version, create_revision, mod_revision and value");
}

Status ParseCompare(const Json& object, const std::string& where, TxnCommand::Compare* compare) {
  RETURN_IF_ERROR(CheckMembers(object, where,
                               {"key", "key_encoding", "relation", "version", "create_revision",
                                "mod_revision", "value", "encoding"}));
  ASSIGN_OR_RETURN_STATUS(*compare->mutable_key(), Bytes(object, where, "key", "key_encoding"));
  RETURN_IF_ERROR(ParseRelation(object, where, compare));
  return ParseTarget(object, where, compare);
}

Status ParsePut(const Json& object, const std::string& where, v1::PutCommand* put) {
  RETURN_IF_ERROR(CheckMembers(object, where, {"key", "key_encoding", "value", "encoding"}));
  ASSIGN_OR_RETURN_STATUS(*put->mutable_key(), Bytes(object, where, "key", "key_encoding"));
  ASSIGN_OR_RETURN_STATUS(*put->mutable_value(), Bytes(object, where, "value", "encoding"));
  return Status::Ok();
}

Status ParseDelete(const Json& object, const std::string& where, v1::DeleteCommand* del) {
  RETURN_IF_ERROR(CheckMembers(object, where, {"key", "key_encoding", "prefix"}));
  if (object.contains("key") == object.contains("prefix")) {
    return Wrong(where, "give key or prefix");
  }
  if (object.contains("key")) {
    ASSIGN_OR_RETURN_STATUS(*del->mutable_key(), Bytes(object, where, "key", "key_encoding"));
    return Status::Ok();
  }
  ASSIGN_OR_RETURN_STATUS(std::string prefix, Bytes(object, where, "prefix", "key_encoding"));
  if (prefix.empty()) return Wrong(where, "prefix is empty; keys have at least one byte");
  std::string end = kv::PrefixEnd(prefix);
  del->set_range_end(end.empty() ? std::string(1, '\0') : end);
  del->set_key(std::move(prefix));
  return Status::Ok();
}

Status ParseOp(const Json& object, const std::string& where, v1::TxnRequest::Op* op) {
  RETURN_IF_ERROR(CheckMembers(object, where, {"put", "delete", "get"}));
  if (object.size() != 1) return Wrong(where, "give one of put, delete and get");
  const std::string& name = object.begin().key();
  const Json& body = object.begin().value();
  if (name == "put") return ParsePut(body, where + ".put", op->mutable_put());
  if (name == "delete") return ParseDelete(body, where + ".delete", op->mutable_delete_());
  RETURN_IF_ERROR(CheckMembers(body, where + ".get", {"key", "key_encoding"}));
  ASSIGN_OR_RETURN_STATUS(*op->mutable_get()->mutable_key(),
                          Bytes(body, where + ".get", "key", "key_encoding"));
  return Status::Ok();
}

// Calls `parse` with each element of the list and a new message of `out`.
template <typename Message, typename Parse>
Status ParseList(const Json& body, const char* name,
                 google::protobuf::RepeatedPtrField<Message>* out, Parse parse) {
  const auto found = body.find(name);
  if (found == body.end()) return Status::Ok();
  if (!found->is_array()) return Wrong(name, "this must be a list");
  // Before more memory is spent on it; the state machine checks it for every client.
  if (found->size() > kv::kMaxTxnOps) {
    return Wrong(name, "a list may have at most " + std::to_string(kv::kMaxTxnOps) + " elements");
  }
  for (size_t i = 0; i < found->size(); ++i) {
    RETURN_IF_ERROR(
        parse((*found)[i], std::string(name) + "[" + std::to_string(i) + "]", out->Add()));
  }
  return Status::Ok();
}

void AppendGet(const v1::TxnResponse::Item& item, std::string* out) {
  out->push_back('{');
  AppendBytes("key", "key_encoding", item.key(), out);
  if (item.omitted()) {
    out->append(",\"omitted\":true}");
    return;
  }
  out->append(",\"found\":").append(item.found() ? "true" : "false");
  if (item.found()) {
    out->push_back(',');
    AppendBytes("value", "encoding", item.value(), out);
    out->append(",\"create_revision\":").append(std::to_string(item.create_revision()));
    out->append(",\"mod_revision\":").append(std::to_string(item.mod_revision()));
    out->append(",\"version\":").append(std::to_string(item.version()));
  }
  out->push_back('}');
}

}  // namespace

Result<v1::TxnRequest> TxnFromJson(std::string_view text) {
  bool too_deep = false;
  const auto filter = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  const Json body = Json::parse(text, filter, false);
  if (body.is_discarded() || too_deep) {
    return Error(Code::kInvalidArgument,
                 "The body is not JSON of the form that docs/api.md shows.");
  }
  v1::TxnRequest request;
  RETURN_UNEXPECTED_IF_ERROR(CheckMembers(body, "body", {"compare", "success", "failure"}));
  RETURN_UNEXPECTED_IF_ERROR(ParseList(body, "compare", request.mutable_compare(), ParseCompare));
  RETURN_UNEXPECTED_IF_ERROR(ParseList(body, "success", request.mutable_success(), ParseOp));
  RETURN_UNEXPECTED_IF_ERROR(ParseList(body, "failure", request.mutable_failure(), ParseOp));
  return request;
}

std::string TxnToJson(const v1::TxnResponse& response) {
  std::string out = "{\"succeeded\":";
  out.append(response.succeeded() ? "true" : "false");
  out.append(",\"revision\":").append(std::to_string(response.revision()));
  out.append(",\"deleted\":").append(std::to_string(response.deleted())).append(",\"gets\":[");
  for (const v1::TxnResponse::Item& item : response.gets()) {
    if (out.back() == '}') out.push_back(',');
    AppendGet(item, &out);
  }
  return out + "]}\n";
}

}  // namespace raftkv::server
