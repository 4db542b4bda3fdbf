// Messages of proto/ as bodies: protobuf, or JSON made for people.
//
// The JSON: field names as in proto/, all fields present, 64-bit numbers as JSON numbers, and every
// fixed64 - these are member and cluster ids - as a string of exactly 16 hexadecimal digits. In
// requests nothing else is taken for an id, so that no decimal number is mistaken for one.
//
// Thread-safety: no shared state.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/status.h"
#include "node/server/http.h"

namespace raftkv::server {

nlohmann::ordered_json MessageToJson(const google::protobuf::Message& message);

// kInvalidArgument says where the text is wrong.
Status MessageFromJson(std::string_view json, google::protobuf::Message* message);

// Reads a request's body by its Content-Type: application/json, application/protobuf or
// application/x-protobuf. An empty body is an empty message. Unlike other errors, a Content-Type
// that is none of these (nullopt below) is answered with 415.
enum class BodyFormat { kJson, kProtobuf, kUnknown };
BodyFormat FormatOfBody(const HttpRequest& request);
// By Accept; JSON unless protobuf is asked for.
BodyFormat FormatOfAnswer(const HttpRequest& request);

HttpResponse MessageAnswer(const google::protobuf::Message& message, BodyFormat format);

}  // namespace raftkv::server
