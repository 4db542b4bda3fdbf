// status.conditions, as `kubectl wait` reads them.
#pragma once

#include <string>
#include <string_view>

#include "operator/kube/object.h"

namespace raftkv::kube {

struct Condition {
  std::string type;
  std::string status;  // "True", "False" or "Unknown"
  std::string reason;  // CamelCase, never empty
  std::string message;
  int64_t observed_generation = 0;
};

// Sets one condition in an array of them (created if `conditions` is null). lastTransitionTime
// moves only when status flips. False: nothing changed.
bool SetCondition(Json& conditions, const Condition& condition, int64_t wall_micros);
// Its status; empty if there is none of this type.
std::string ConditionStatus(const Json& conditions, std::string_view type);

}  // namespace raftkv::kube
