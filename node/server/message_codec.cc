#include "node/server/message_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/check.h"
#include "base/hex_id.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 16;

// protobuf writes 64-bit integers as strings of decimal digits.
uint64_t Decimal(const Json& value) { return ParseDecimal(value.get<std::string>()).value(); }

void ToPeople(const Descriptor& type, Json* object);

void ToPeople(const FieldDescriptor& field, Json* value) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_FIXED64:
      *value = HexId(Decimal(*value));
      return;
    case FieldDescriptor::TYPE_UINT64:
      *value = Decimal(*value);
      return;
    case FieldDescriptor::TYPE_MESSAGE:
      return ToPeople(*field.message_type(), value);
    default:
      return;
  }
}

void ToPeople(const Descriptor& type, Json* object) {
  if (!object->is_object()) return;
  for (auto& [name, value] : object->items()) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    CHECK(field != nullptr);
    if (!field->is_repeated()) {
      ToPeople(*field, &value);
      continue;
    }
    for (Json& element : value) ToPeople(*field, &element);
  }
}

Status FromPeople(const Descriptor& type, const std::string& where, Json* object);

Status FromPeople(const FieldDescriptor& field, const std::string& where, Json* value) {
  if (field.type() == FieldDescriptor::TYPE_MESSAGE) {
    return FromPeople(*field.message_type(), where, value);
  }
  if (field.type() != FieldDescriptor::TYPE_FIXED64) return Status::Ok();
  std::optional<uint64_t> id;
  if (value->is_string()) id = ParseId(value->get<std::string>());
  if (!id) {
    return Status(
        Code::kInvalidArgument,
        where + " must be an id: a string of 16 hexadecimal digits, as /cluster shows it.");
  }
  *value = std::to_string(*id);
  return Status::Ok();
}

Status FromPeople(const Descriptor& type, const std::string& where, Json* object) {
  // Anything else protobuf refuses with words of its own.
  if (!object->is_object()) return Status::Ok();
  for (auto& [name, value] : object->items()) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (!field) {
      return Status(Code::kInvalidArgument, "Unknown field '" + where + name + "'.");
    }
    std::string path = where + name;
    if (!field->is_repeated()) {
      RETURN_IF_ERROR(FromPeople(*field, path + (field->message_type() ? "." : ""), &value));
      continue;
    }
    for (Json& element : value) {
      RETURN_IF_ERROR(
          FromPeople(*field, path + "[]" + (field->message_type() ? "." : ""), &element));
    }
  }
  return Status::Ok();
}

BodyFormat FormatOfType(std::string_view type) {
  type = TrimWhiteSpace(type.substr(0, type.find(';')));
  if (EqualsIgnoreCase(type, "application/json")) return BodyFormat::kJson;
  if (EqualsIgnoreCase(type, "application/protobuf") ||
      EqualsIgnoreCase(type, "application/x-protobuf")) {
    return BodyFormat::kProtobuf;
  }
  return BodyFormat::kUnknown;
}

}  // namespace

Json MessageToJson(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  CHECK(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  Json json = Json::parse(text);
  ToPeople(*message.GetDescriptor(), &json);
  return json;
}

Status MessageFromJson(std::string_view text, Message* message) {
  // What is deeper than any message is dropped while it is read: later steps are recursive.
  bool too_deep = false;
  auto filter = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  Json json = Json::parse(text, filter, false);
  if (too_deep || !json.is_object()) {
    return Status(Code::kInvalidArgument, "The body is not a JSON object of the expected form.");
  }
  RETURN_IF_ERROR(FromPeople(*message->GetDescriptor(), "", &json));
  auto parsed = google::protobuf::util::JsonStringToMessage(json.dump(), message);
  if (parsed.ok()) return Status::Ok();
  return Status(Code::kInvalidArgument, "The body does not fit " +
                                            message->GetDescriptor()->name() + ": " +
                                            std::string(parsed.message()));
}

BodyFormat FormatOfBody(const HttpRequest& request) {
  auto type = request.Header("Content-Type");
  return type ? FormatOfType(*type) : BodyFormat::kUnknown;
}

BodyFormat FormatOfAnswer(const HttpRequest& request) {
  std::string_view accepted = request.Header("Accept").value_or("");
  // The first type that is known wins: clients of this API ask for one.
  while (!accepted.empty()) {
    size_t comma = std::min(accepted.find(','), accepted.size());
    BodyFormat format = FormatOfType(accepted.substr(0, comma));
    if (format != BodyFormat::kUnknown) return format;
    accepted.remove_prefix(std::min(comma + 1, accepted.size()));
  }
  return BodyFormat::kJson;
}

HttpResponse MessageAnswer(const Message& message, BodyFormat format) {
  HttpResponse response;
  if (format == BodyFormat::kProtobuf) {
    response.Add("Content-Type", "application/protobuf");
    response.body = message.SerializeAsString();
  } else {
    response.Add("Content-Type", "application/json");
    response.body = MessageToJson(message).dump(2) + "\n";
  }
  return response;
}

}  // namespace raftkv::server
