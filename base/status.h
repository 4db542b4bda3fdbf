// Status and Result: how functions that can fail say so. No exception crosses a raftkv interface.
//
// Thread-safety: values, no shared state.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace raftkv {

// What went wrong, from the caller's point of view. The HTTP API maps each code to one status
// (docs/api.md), raftkvctl to one exit status.
enum class Code {
  kOk,
  kInvalidArgument,  // the request can never succeed as it is
  kNotFound,         // the key, member, revision or file does not exist
  kConflict,         // a condition (compare-and-set, configuration index, epoch) does not hold
  kUnavailable,      // refused before anything happened; safe to repeat later
  kUnknownOutcome,   // may or may not have happened (lost leader, deadline passed after proposing)
  kResourceExhausted,   // too much in flight; safe to repeat later
  kOutOfSpace,          // disk or quota full; deletes and reads still work
  kFailedPrecondition,  // the node is in the wrong state (blank, already initialized, removed, ...)
  kCorruption,          // stored bytes do not match their checksum or format
  kIoError,             // the operating system refused a read, write or sync
  kInternal,            // a bug
  // The node belongs to no cluster (blank, removed, damaged for good) and will not by itself:
  // nothing happened, waiting does not help, another node or a person does.
  kNotServing,
  // Numbers travel between members of different versions: new codes stand at the end.
};
inline constexpr Code kLastCode = Code::kNotServing;

std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return Status(); }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  // A sentence for a person: what happened and what to do. Empty when ok.
  const std::string& message() const { return message_; }
  // "corruption: raft log entry 17: checksum ..."; "ok".
  std::string ToString() const;

  bool operator==(const Status&) const = default;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

template <typename T>
using Result = std::expected<T, Status>;

// For `return Error(Code::kNotFound, "...")` in functions that return Result<T>.
inline std::unexpected<Status> Error(Code code, std::string message) {
  return std::unexpected<Status>(Status(code, std::move(message)));
}
inline std::unexpected<Status> Error(Status status) {
  return std::unexpected<Status>(std::move(status));
}

#define RAFTKV_CONCAT_INNER(a, b) a##b
#define RAFTKV_CONCAT(a, b) RAFTKV_CONCAT_INNER(a, b)

// Returns the Status of `expr` from the enclosing function (which returns Status) unless it is ok.
#define RETURN_IF_ERROR(expr)                                             \
  do {                                                                    \
    if (::raftkv::Status failed_ = (expr); !failed_.ok()) return failed_; \
  } while (false)

// Likewise in a function that returns Result<T>.
#define RETURN_UNEXPECTED_IF_ERROR(expr)                                                   \
  do {                                                                                     \
    if (::raftkv::Status failed_ = (expr); !failed_.ok()) return ::raftkv::Error(failed_); \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): x = *F(), or returns F()'s error. For functions that return
// Result<T> (the error converts); in functions that return Status use ASSIGN_OR_RETURN_STATUS.
#define ASSIGN_OR_RETURN(lhs, expr)                                   \
  auto RAFTKV_CONCAT(result_, __LINE__) = (expr);                     \
  if (!RAFTKV_CONCAT(result_, __LINE__))                              \
    return ::raftkv::Error(RAFTKV_CONCAT(result_, __LINE__).error()); \
  lhs = std::move(*RAFTKV_CONCAT(result_, __LINE__))

#define ASSIGN_OR_RETURN_STATUS(lhs, expr)                                                \
  auto RAFTKV_CONCAT(result_, __LINE__) = (expr);                                         \
  if (!RAFTKV_CONCAT(result_, __LINE__)) return RAFTKV_CONCAT(result_, __LINE__).error(); \
  lhs = std::move(*RAFTKV_CONCAT(result_, __LINE__))

}  // namespace raftkv
