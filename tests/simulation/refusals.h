// Why a change of the membership was refused. Codes stand for several reasons each, words for one:
// a refusal that is worded anew is counted no more, and simulation_test misses its path.
//
// Thread-safety: immutable.
#pragma once

#include <initializer_list>
#include <string_view>

#include "base/status.h"

namespace raftkv::sim {

inline bool RefusedBy(const Status& refusal, Code code,
                      std::initializer_list<std::string_view> words) {
  if (refusal.code() != code) return false;
  for (const std::string_view word : words) {
    if (refusal.message().find(word) != std::string::npos) return true;
  }
  return false;
}

// It was decided on another configuration: found by the leader, or when the entry was applied.
inline bool ForStaleIndex(const Status& refusal) {
  return RefusedBy(refusal, Code::kConflict,
                   {"the configuration has changed: its index is ", "the configuration index is "});
}
// Another operator has made a change since.
inline bool ForOldEpoch(const Status& refusal) {
  return RefusedBy(refusal, Code::kConflict, {" is older than the cluster's, "});
}
// A member, or another new one, has the id.
inline bool ForUsedId(const Status& refusal) {
  return RefusedBy(refusal, Code::kConflict,
                   {" is a member already: ", " is in the configuration already: "}) ||
         RefusedBy(refusal, Code::kInvalidArgument, {" has two records", " is named by two steps"});
}
inline bool ForRemovedId(const Status& refusal) {
  return RefusedBy(refusal, Code::kFailedPrecondition,
                   {" was removed from this cluster and can never be a member again"});
}

}  // namespace raftkv::sim
