// Histories of registers and of maps of registers, as Jepsen and its relatives log them. Two forms
// of line are understood, in any mixture; the second also as the lines of a vector ([{...}
// {...}]):
//
//   INFO  jepsen.util - 3 :invoke :cas [0 3]
//   {:process 3, :type :invoke, :f :append, :key "7", :value "x", ...}
//
// Types: :invoke, :ok, :info (outcome unknown for ever), :fail (certainly no effect; of a cas that
// tells its values also: the register had another value). Functions: :read or :get, :write or
// :put, :cas, :append. A process that dies or invokes again leaves its operation open. Lines that
// are not about an operation (of other loggers, with their level, the nemesis's, exceptions;
// comments that begin with # or ;) are skipped. Any other line is an error: it may be an operation
// that was damaged.
//
// Thread-safety: values, no shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tests/linearizability/search.h"

namespace raftkv::linearizability {

using RegisterValue = std::optional<std::string>;  // nullopt: nil, never written

struct RegisterOp {
  enum class Function { kRead, kWrite, kCas, kAppend };
  enum class Outcome {
    kOk,
    kMismatch,  // cas: the register did not have the expected value
    kFail,      // certainly no effect
    kUnknown,   // any time after the call, or never
  };

  uint64_t process = 0;
  Function function = Function::kRead;
  std::string key;         // empty in a history of one register
  RegisterValue expected;  // cas
  RegisterValue value;     // write, cas: the new one; append: the added part; read: the answer
  Outcome outcome = Outcome::kUnknown;
  Interval interval;  // in lines of the log, from 1

  bool operator==(const RegisterOp&) const = default;
};

// Operations in the order of their calls. kInvalidArgument: "line N: ...".
Result<std::vector<RegisterOp>> ParseRegisterLog(std::string_view text);

// The second form, one line for each call and each answer; those of unknown outcome have none. Each
// tells the line of the log that it comes from.
std::string FormatRegisterLog(std::span<const RegisterOp> ops);

std::string Describe(const RegisterOp& op);  // "cas 0 -> 3", "read: nil", "append \"x\""

}  // namespace raftkv::linearizability
