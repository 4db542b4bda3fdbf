// Errors of API calls: what the server said (a Status object), or why there was no answer.
//
// Thread-safety: values.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace raftkv::kube {

// Kubernetes' reasons as far as a caller acts on them, and our own for calls without an answer.
enum class Reason {
  kUnknown,          // an answer that does not say why
  kUnauthorized,     // 401
  kForbidden,        // 403
  kNotFound,         // 404
  kAlreadyExists,    // 409, the name is taken
  kConflict,         // 409, the resourceVersion, UID or field owner is another
  kExpired,          // 410, the resourceVersion or continue token is too old (Expired, Gone)
  kInvalid,          // 422, causes tell the fields
  kBadRequest,       // 400
  kTooManyRequests,  // 429
  kTimeout,          // 504, or the server gave up waiting
  kVersionTooLarge,  // 504: this server has not seen that resourceVersion yet
  kServer,           // other 5xx
  kConnection,   // no connection, or it broke; ApiError::sent tells whether the request had left
  kDeadline,     // no answer in time; the request may have been carried out
  kTooLarge,     // the answer exceeds the limit
  kMalformed,    // the answer is not what the protocol allows
  kStopped,      // the caller asked to stop
  kFenced,       // not sent: this process no longer holds its lease
  kCredentials,  // not sent: no usable credentials or certificates
};
std::string_view ReasonName(Reason reason);

struct Cause {
  std::string reason;  // "FieldValueInvalid", ...
  std::string field;
  std::string message;
};

struct ApiError {
  Reason reason = Reason::kUnknown;
  int http_status = 0;  // 0: no answer
  std::string message;  // the server's, or a sentence of ours
  std::vector<Cause> causes;
  Duration retry_after = Duration::zero();  // zero: the server named none
  // The server may have carried the request, a write, out although this error was returned.
  bool may_have_happened = false;

  bool Is(Reason r) const { return reason == r; }
  // Worth the same call again, later.
  bool IsTransient() const;
  // The server has understood the call and will not do it as it is: an invalid object, a quota, a
  // right that is missing, an admission policy.
  bool IsRefusal() const;
  // An admission webhook denied it, with whatever code, or did not answer as it should, and the
  // server does nothing without it: others of its calls do not have to wait for that one.
  bool IsOfAWebhook() const;
  // Either of these: the server does all else that is asked of it.
  bool ConcernsThisCallAlone() const { return IsRefusal() || IsOfAWebhook(); }
  // There is no such object. A webhook may deny with that code what is there.
  bool SaysGone() const { return Is(Reason::kNotFound) && !IsOfAWebhook(); }
  // An answer of which nobody knows whether the call was carried out: the server, or a proxy, gave
  // up waiting or failed. Webhooks are asked before anything is stored.
  bool LeavesOutcomeOpen() const;
  std::string ToString() const;
  // kUnknownOutcome, if it may have happened.
  Status ToStatus() const;
};

template <typename T>
using ApiResult = std::expected<T, ApiError>;

inline std::unexpected<ApiError> Fail(Reason reason, std::string message) {
  return std::unexpected(ApiError{.reason = reason, .message = std::move(message)});
}

// From the answer to a call; `body` is a Status object, or whatever a proxy in between sent.
ApiError ErrorFromAnswer(int http_status, std::string_view body, Duration retry_after);
// From the object of an ERROR event of a watch.
class Object;
ApiError ErrorFromStatus(const Object& status);

}  // namespace raftkv::kube
