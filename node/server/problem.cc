#include "node/server/problem.h"

#include <nlohmann/json.hpp>

namespace raftkv::server {
namespace {

struct Mapping {
  Code code;
  int client;
  int admin;
  std::string_view title;
};

constexpr Mapping kMappings[] = {
    {Code::kOk, 200, 200, "OK"},
    {Code::kInvalidArgument, 400, 400, "The request cannot succeed as it is"},
    {Code::kNotFound, 404, 404, "Not found"},
    {Code::kConflict, 412, 409, "A condition does not hold"},
    {Code::kUnavailable, 503, 503, "Not available now"},
    {Code::kUnknownOutcome, 504, 504, "Outcome unknown"},
    {Code::kResourceExhausted, 429, 429, "Too much in flight"},
    {Code::kOutOfSpace, 507, 507, "No space left"},
    {Code::kFailedPrecondition, 503, 409, "The node is in the wrong state"},
    {Code::kCorruption, 500, 500, "Corrupt data"},
    {Code::kIoError, 500, 500, "Input or output error"},
    {Code::kInternal, 500, 500, "Internal error"},
};

const Mapping& Find(Code code) {
  for (const Mapping& mapping : kMappings) {
    if (mapping.code == code) return mapping;
  }
  return kMappings[std::size(kMappings) - 1];
}

Code CodeOf(int status) {
  switch (status) {
    case 404:
      return Code::kNotFound;
    case 412:
      return Code::kConflict;
    case 429:
      return Code::kResourceExhausted;
    case 500:
      return Code::kInternal;
    case 503:
      return Code::kUnavailable;
    default:
      return Code::kInvalidArgument;
  }
}

std::string Slug(std::string_view name) {
  std::string slug(name);
  for (char& c : slug) {
    if (c == ' ' || c == '/') c = '-';
  }
  return slug;
}

HttpResponse Document(int status, Code code, std::string_view title, std::string_view detail) {
  nlohmann::ordered_json body = {{"type", "urn:raftkv:problem:" + Slug(CodeName(code))},
                                 {"title", title},
                                 {"status", status},
                                 {"detail", detail},
                                 {"code", CodeName(code)}};
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
  return Document(HttpStatus(error.code(), audience), error.code(), Find(error.code()).title,
                  error.message());
}

HttpResponse Problem(int status, Code code, std::string_view detail) {
  return Document(status, code, StatusText(status), detail);
}

HttpResponse Problem(int status, std::string_view detail) {
  return Document(status, CodeOf(status), StatusText(status), detail);
}

HttpResponse MethodNotAllowed(std::string_view allow) {
  HttpResponse response =
      Problem(405, "This resource takes these methods: " + std::string(allow) + ".");
  response.Add("Allow", allow);
  return response;
}

}  // namespace raftkv::server
