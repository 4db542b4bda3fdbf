#include "operator/kube/api_error.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "operator/kube/object.h"

namespace raftkv::kube {
namespace {

constexpr size_t kMaxQuotedBytes = 200;

Reason FromHttpStatus(int status) {
  switch (status) {
    case 400:
      return Reason::kBadRequest;
    case 401:
      return Reason::kUnauthorized;
    case 403:
      return Reason::kForbidden;
    case 404:
      return Reason::kNotFound;
    case 409:
      return Reason::kConflict;
    case 410:
      return Reason::kExpired;
    case 422:
      return Reason::kInvalid;
    case 429:
      return Reason::kTooManyRequests;
    case 504:
      return Reason::kTimeout;
    default:
      return status >= 500 ? Reason::kServer : Reason::kUnknown;
  }
}

std::vector<Cause> Causes(const Object& status) {
  std::vector<Cause> out;
  const Json& causes = status.At("/details/causes");
  if (!causes.is_array()) return out;
  for (const Json& json : causes) {
    Object cause(json);
    out.push_back({.reason = std::string(cause.String("/reason")),
                   .field = std::string(cause.String("/field")),
                   .message = std::string(cause.String("/message"))});
  }
  return out;
}

// Before 1.20 servers told of a version from the future in the message alone.
bool IsVersionTooLarge(const ApiError& error) {
  return std::ranges::any_of(error.causes, [](const Cause& cause) {
    return cause.reason == "ResourceVersionTooLarge" ||
           cause.message.find("Too large resource version") != std::string::npos;
  });
}

}  // namespace

std::string_view ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kUnknown:
      return "unknown";
    case Reason::kUnauthorized:
      return "unauthorized";
    case Reason::kForbidden:
      return "forbidden";
    case Reason::kNotFound:
      return "not found";
    case Reason::kAlreadyExists:
      return "already exists";
    case Reason::kConflict:
      return "conflict";
    case Reason::kExpired:
      return "expired";
    case Reason::kInvalid:
      return "invalid";
    case Reason::kBadRequest:
      return "bad request";
    case Reason::kTooManyRequests:
      return "too many requests";
    case Reason::kTimeout:
      return "server timeout";
    case Reason::kVersionTooLarge:
      return "resource version too large";
    case Reason::kServer:
      return "server error";
    case Reason::kConnection:
      return "connection";
    case Reason::kDeadline:
      return "deadline";
    case Reason::kTooLarge:
      return "too large";
    case Reason::kMalformed:
      return "malformed answer";
    case Reason::kStopped:
      return "stopped";
    case Reason::kFenced:
      return "fenced";
    case Reason::kCredentials:
      return "credentials";
  }
  return "unknown";
}

bool ApiError::IsTransient() const {
  switch (reason) {
    case Reason::kTooManyRequests:
    case Reason::kTimeout:
    case Reason::kVersionTooLarge:
    case Reason::kServer:
    case Reason::kConnection:
    case Reason::kDeadline:
    case Reason::kConflict:
      return true;
    default:
      return false;
  }
}

bool ApiError::IsRefusal() const {
  switch (http_status) {
    case 400:
    case 403:
    case 405:
    case 413:
    case 415:
    case 422:
      return true;
    default:
      return false;
  }
}

// The server's answer has no reason of its own for it. One that cannot be called is 500, one that
// denies chooses the code itself.
bool ApiError::IsOfAWebhook() const {
  return http_status >= 400 &&
         (message.contains("failed calling webhook") || message.contains("admission webhook"));
}

bool ApiError::LeavesOutcomeOpen() const {
  const bool open = http_status == 500 || http_status == 502 || http_status == 504;
  return open && !Is(Reason::kVersionTooLarge) && !IsOfAWebhook();
}

namespace {

std::string Describe(const ApiError& error) {
  std::string out(ReasonName(error.reason));
  if (error.http_status != 0) out += " (" + std::to_string(error.http_status) + ")";
  return out + ": " + error.message;
}

}  // namespace

std::string ApiError::ToString() const {
  return Describe(*this) + (may_have_happened ? "; it may have been carried out" : "");
}

Status ApiError::ToStatus() const {
  if (may_have_happened) return {Code::kUnknownOutcome, Describe(*this)};
  switch (reason) {
    case Reason::kNotFound:
      return {Code::kNotFound, message};
    case Reason::kAlreadyExists:
    case Reason::kConflict:
      return {Code::kConflict, message};
    case Reason::kInvalid:
    case Reason::kBadRequest:
      return {Code::kInvalidArgument, message};
    case Reason::kTooManyRequests:
    case Reason::kTooLarge:
      return {Code::kResourceExhausted, message};
    case Reason::kUnauthorized:
    case Reason::kForbidden:
    case Reason::kFenced:
    case Reason::kCredentials:
      return {Code::kFailedPrecondition, message};
    default:
      return {Code::kUnavailable, Describe(*this)};
  }
}

namespace {

// `http_status` decides, and the object's reason where it says more than that; 0: there is none.
ApiError FromStatus(const Object& status, int http_status) {
  ApiError error;
  error.http_status = http_status;
  error.reason = FromHttpStatus(http_status);
  error.causes = Causes(status);
  error.retry_after = std::chrono::seconds(
      std::clamp<int64_t>(status.Int("/details/retryAfterSeconds").value_or(0), 0, 86'400));
  const std::string_view reason = status.String("/reason");
  error.message = status.String("/message");
  if (error.message.empty()) {
    error.message = reason.empty() ? "the server does not say why" : reason;
  }
  if (reason == "AlreadyExists") error.reason = Reason::kAlreadyExists;
  if (reason == "Expired" || reason == "Gone") error.reason = Reason::kExpired;
  // What is refused as it is (4xx) does not become worth another try by a word of a webhook's.
  if (http_status == 0 || http_status >= 500) {
    if (reason == "Timeout" || reason == "ServerTimeout") error.reason = Reason::kTimeout;
    if (IsVersionTooLarge(error)) error.reason = Reason::kVersionTooLarge;
  }
  return error;
}

}  // namespace

ApiError ErrorFromStatus(const Object& status) {
  const int64_t code = status.Int("/code").value_or(0);
  return FromStatus(status, code >= 100 && code <= 599 ? static_cast<int>(code) : 0);
}

ApiError ErrorFromAnswer(int http_status, std::string_view body, Duration retry_after) {
  ApiError error;
  auto parsed = Object::Parse(body);
  if (parsed && parsed->kind() == "Status") {
    error = FromStatus(*parsed, http_status);
  } else {
    error.http_status = http_status;
    error.reason = FromHttpStatus(http_status);
    error.message = "the answer is no Kubernetes Status (a proxy's?): '" +
                    std::string(body.substr(0, kMaxQuotedBytes)) + "'";
  }
  error.retry_after = std::max(error.retry_after, retry_after);
  return error;
}

}  // namespace raftkv::kube
