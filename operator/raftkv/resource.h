// The RaftKV resource (raftkv.dev/v1alpha1) between JSON and the planner's values.
//
// The CRD's schema has checked and defaulted what the API server stores; what is read here is
// nevertheless read with care, because a CRD may have been replaced by an older or a newer one.
//
// Thread-safety: functions without shared state.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "operator/kube/object.h"
#include "operator/raftkv/observation.h"
#include "operator/raftkv/plan.h"

namespace raftkv::op {

inline constexpr kube::Resource kRaftKvs{"raftkv.dev", "v1alpha1", "raftkvs", "RaftKV"};
inline constexpr std::string_view kFinalizer = "raftkv.dev/finalizer";
// spec.storage.size where the schema has not filled it in.
inline constexpr std::string_view kDefaultStorage = "10Gi";

// kInvalidArgument names the field that cannot be understood.
Result<ClusterSpec> ReadSpec(const kube::Object& resource);
// Each field that can be read, and for the others what changes nothing (replicas < 0: not to be
// read); `wrong` names the first of them, and stays as it is if there is none.
ClusterSpec ReadReadable(const kube::Object& resource, Status* wrong);

// status.clusterID, status.operation and status.initializing; none if there are none or they are
// malformed.
ClusterId ReadCluster(const kube::Object& resource);
Operation ReadOperation(const kube::Object& resource);
std::vector<MemberId> ReadInitializing(const kube::Object& resource);
// status.conditions: type -> reason.
std::map<std::string, std::string> ReadReasons(const kube::Object& resource);
// status.members[].lag by the member's ID, where there is one.
std::map<MemberId, uint64_t> ReadLags(const kube::Object& resource);

// The whole status. Conditions keep their lastTransitionTime from `resource` unless they flip, and
// carry the generation that was observed; conditions that the planner does not name stay.
kube::Json StatusToJson(const PlannedStatus& status, const kube::Object& resource,
                        int64_t wall_micros);

// The pods of a RaftKV, as a label selector ("a=b,c=d"): status.selector.
std::string PodSelector(std::string_view name);

// A duration as Go and the CRD write it: "90s", "1h30m", "1.5h"; nullopt if it is none.
std::optional<Duration> ParseDuration(std::string_view text);

std::string_view OperationName(Operation::Type type);

}  // namespace raftkv::op
