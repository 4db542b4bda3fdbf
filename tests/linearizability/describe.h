// Operations in words, for reasons and timelines.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "tests/linearizability/history.h"

namespace raftkv::linearizability {

// In quotes, with what is not printable as \xNN, and cut after `max_bytes`.
std::string Quote(std::string_view bytes, size_t max_bytes = 40);

std::string DescribeQuestion(const Operation& op);  // put "a" = "x" if revision 3
std::string DescribeAnswer(const Operation& op);    // ok, revision 18
// client 4's put "a" = "x" (ok, revision 18)
std::string Describe(const Operation& op);

}  // namespace raftkv::linearizability
