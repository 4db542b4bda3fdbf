// What the planner sees of single objects: pods, claims, nodes.
//
// Thread-safety: functions without shared state.
#pragma once

#include <cstdint>
#include <string_view>

#include "operator/kube/object.h"
#include "operator/raftkv/observation.h"

namespace raftkv::op {

// The entries of a list of objects whose `field` is `value`.
kube::Json EntriesOf(const kube::Json& list, const char* field, std::string_view value);

// By which the caches and the operator find what is theirs.
bool IsLabelledFor(const kube::Object& object, std::string_view name);

// Without what is known of its node.
PodView ViewPod(const kube::Object& pod, std::string_view own_account);
// Of pods whose they are, where they run and what ViewPod looks at: all of their template and
// status would be most of what an operator with many of them keeps in memory. For caches of pods.
void OnlyWhatIsViewed(kube::Object& pod);

ClaimView ViewClaim(const kube::Object& claim);

// NotReady, or without an object (null).
bool IsLost(const kube::ObjectPtr& node);
// Since when its readiness is what it is, by the wall clock; 0: nothing says so.
int64_t TransitionMicrosOf(const kube::ObjectPtr& node);

}  // namespace raftkv::op
