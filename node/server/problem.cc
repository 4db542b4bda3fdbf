#include "node/server/problem.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace raftkv::server {
namespace {

struct Mapping {
  Code code;
  int client;
  int admin;
};

constexpr Mapping kMappings[] = {
    {Code::kOk, 200, 200},
    {Code::kInvalidArgument, 400, 400},
    {Code::kNotFound, 404, 404},
    {Code::kConflict, 412, 409},
    {Code::kUnavailable, 503, 503},
    {Code::kUnknownOutcome, 504, 504},
    {Code::kResourceExhausted, 429, 429},
    {Code::kOutOfSpace, 507, 507},
    {Code::kFailedPrecondition, 409, 409},
    {Code::kCorruption, 500, 500},
    {Code::kIoError, 500, 500},
    {Code::kNotServing, 503, 503},
    {Code::kInternal, 500, 500},  // stands for codes of later versions too
};

// Every problem there is; for a status without one of that code the first of the status stands.
constexpr ProblemType kTypes[] = {
    {"invalid-argument", 400, Code::kInvalidArgument, "The request cannot succeed as it is"},
    {"not-found", 404, Code::kNotFound, "Not found"},
    {"no-such-resource", 404, Code::kInvalidArgument, "No such resource"},
    {"method-not-allowed", 405, Code::kInvalidArgument, "Method not allowed"},
    {"request-timeout", 408, Code::kInvalidArgument, "The request came too slowly"},
    {"conflict", 409, Code::kConflict, "The state is not what the request expects"},
    {"wrong-state", 409, Code::kFailedPrecondition, "The node or cluster is in the wrong state"},
    {"compacted", 410, Code::kConflict, "The revision is compacted"},
    {"length-required", 411, Code::kInvalidArgument, "Content-Length is missing"},
    {"condition-failed", 412, Code::kConflict, "A condition does not hold"},
    {"content-too-large", 413, Code::kInvalidArgument, "The body is too large"},
    {"uri-too-long", 414, Code::kInvalidArgument, "The request line is too long"},
    {"unsupported-media-type", 415, Code::kInvalidArgument, "The body is of another kind"},
    {"expectation-failed", 417, Code::kInvalidArgument, "Unknown expectation"},
    {"too-much-in-flight", 429, Code::kResourceExhausted, "Too much in flight"},
    {"headers-too-large", 431, Code::kInvalidArgument, "The headers are too large"},
    {"internal", 500, Code::kInternal, "Internal error"},
    {"corruption", 500, Code::kCorruption, "Corrupt data"},
    {"io-error", 500, Code::kIoError, "Input or output error"},
    {"not-implemented", 501, Code::kInvalidArgument, "Not implemented"},
    {"unavailable", 503, Code::kUnavailable, "Not available now"},
    {"not-serving", 503, Code::kNotServing, "The node does not serve"},
    {"unknown-outcome", 504, Code::kUnknownOutcome, "Outcome unknown"},
    {"version-not-supported", 505, Code::kInvalidArgument, "Unknown version of HTTP"},
    {"out-of-space", 507, Code::kOutOfSpace, "No space left"},
};

const Mapping& Find(Code code) {
  for (const Mapping& mapping : kMappings) {
    if (mapping.code == code) return mapping;
  }
  return kMappings[std::size(kMappings) - 1];
}

const ProblemType& TypeOf(int status) {
  auto found = std::ranges::find(kTypes, status, &ProblemType::status);
  CHECK(found != std::end(kTypes), "add the status to kTypes");
  return *found;
}

const ProblemType& TypeOf(int status, Code code) {
  for (const ProblemType& type : kTypes) {
    if (type.status == status && type.code == code) return type;
  }
  return TypeOf(status);
}

HttpResponse Document(const ProblemType& type, std::string_view detail) {
  const int status = type.status;
  nlohmann::ordered_json body = {{"type", "urn:raftkv:problem:" + std::string(type.name)},
                                 {"title", type.title},
                                 {"status", status},
                                 {"detail", detail},
                                 {"code", CodeName(type.code)}};
  HttpResponse response;
  response.status = status;
  response.Add("Content-Type", "application/problem+json");
  if (status == 429 || status == 503) response.Add("Retry-After", "1");
  // Messages may quote bytes of a request; they need not be UTF-8.
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

}  // namespace

int HttpStatus(Code code, Audience audience) {
  const Mapping& mapping = Find(code);
  return audience == Audience::kClient ? mapping.client : mapping.admin;
}

std::string_view StatusText(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
  }
  return "Status";
}

HttpResponse Problem(const Status& error, Audience audience) {
  return Document(TypeOf(HttpStatus(error.code(), audience), error.code()), error.message());
}

HttpResponse Problem(int status, std::string_view detail) {
  return Document(TypeOf(status), detail);
}

std::span<const ProblemType> ProblemTypes() { return kTypes; }

HttpResponse NoSuchResource(std::string_view detail) {
  return Document(TypeOf(404, Code::kInvalidArgument), detail);
}

HttpResponse MethodNotAllowed(std::string_view allow) {
  HttpResponse response =
      Problem(405, "This resource takes these methods: " + std::string(allow) + ".");
  response.Add("Allow", allow);
  return response;
}

}  // namespace raftkv::server
