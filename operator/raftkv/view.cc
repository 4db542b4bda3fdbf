#include "operator/raftkv/view.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "operator/kube/timing.h"
#include "operator/raftkv/objects.h"
#include "operator/raftkv/quantity.h"
#include "operator/raftkv/refusals.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;
using kube::ObjectPtr;

constexpr int64_t kMicros = 1'000'000;

int64_t SecondsOf(std::string_view time) {
  auto micros = kube::ParseTime(time);
  return micros ? *micros / kMicros : 0;
}

// The entry of `list` whose `field` is `value`; null if there is none.
const Json* Entry(const Json& list, const char* field, std::string_view value) {
  if (!list.is_array()) return nullptr;
  for (const Json& entry : list) {
    if (entry.is_object() && entry.value(field, Json()) == value) return &entry;
  }
  return nullptr;
}

bool HasCondition(const Object& object, std::string_view type, std::string_view status) {
  const Json* condition = Entry(object.At("/status/conditions"), "type", type);
  return condition != nullptr && condition->value("status", Json()) == status;
}

// Null: there is no object, or it has none.
const Json* ReadyOf(const ObjectPtr& node) {
  if (node == nullptr) return nullptr;
  return Entry(node->At("/status/conditions"), "type", "Ready");
}

}  // namespace

PodView ViewPod(const Object& pod, std::string_view own_account) {
  PodView out{.name = std::string(pod.name()),
              .uid = std::string(pod.uid()),
              .node = std::string(pod.String("/spec/nodeName")),
              .ready = HasCondition(pod, "Ready", "True"),
              .deleting = pod.deleting(),
              .created_s = SecondsOf(pod.String("/metadata/creationTimestamp")),
              .revision = std::string(pod.Label("controller-revision-hash").value_or("")),
              .own_account = pod.String("/spec/serviceAccountName") == own_account};
  std::string_view phase = pod.String("/status/phase");
  out.finished = phase == "Succeeded" || phase == "Failed";
  const Json* scheduled = Entry(pod.At("/status/conditions"), "type", "PodScheduled");
  out.unschedulable = scheduled != nullptr && scheduled->value("reason", Json()) == "Unschedulable";
  const Json* container = Entry(pod.At("/status/containerStatuses"), "name", kContainer);
  if (container == nullptr) return out;
  Object status(*container);
  out.restarts = static_cast<int>(status.Int("/restartCount").value_or(0));
  out.waiting = status.String("/state/waiting/reason");
  bool ended = status.At("/state/terminated").is_object();
  out.finished = out.finished || ended || out.waiting == "CrashLoopBackOff";
  return out;
}

ClaimView ViewClaim(const Object& claim) {
  auto bytes = [&](std::string_view pointer) {
    return ParseQuantity(claim.String(pointer)).value_or(0);
  };
  std::string_view phase = claim.String("/status/phase");
  std::string cannot_grow(claim.String("/status/allocatedResourceStatuses/storage"));
  if (!cannot_grow.ends_with("Infeasible")) cannot_grow.clear();
  for (const char* type : {"ControllerResizeError", "NodeResizeError"}) {
    const Json* error = Entry(claim.At("/status/conditions"), "type", type);
    if (error == nullptr || error->value("status", Json()) != "True") continue;
    cannot_grow = Shortened(Object(*error).String("/message"), kRefusedBytes);
    if (cannot_grow.empty()) cannot_grow = type;
  }
  return {.name = std::string(claim.name()),
          .uid = std::string(claim.uid()),
          .bound = phase == "Bound",
          .lost = phase == "Lost",
          .deleting = claim.deleting(),
          .requested_bytes = bytes("/spec/resources/requests/storage"),
          .capacity_bytes = bytes("/status/capacity/storage"),
          .cannot_grow = std::move(cannot_grow),
          .member = ParseHexId(claim.Annotation(kMemberAnnotation).value_or("")).value_or(0)};
}

bool IsLost(const ObjectPtr& node) {
  if (node == nullptr) return true;
  const Json* ready = ReadyOf(node);
  return ready != nullptr && ready->value("status", Json()) != "True";
}

int64_t TransitionMicrosOf(const ObjectPtr& node) {
  const Json* ready = ReadyOf(node);
  if (ready == nullptr) return 0;
  return kube::ParseTime(Object(*ready).String("/lastTransitionTime")).value_or(0);
}

Json EntriesOf(const Json& list, const char* field, std::string_view value) {
  Json out = Json::array();
  if (!list.is_array()) return out;
  std::ranges::copy_if(list, std::back_inserter(out), [&](const Json& entry) {
    return entry.is_object() && entry.value(field, Json()) == value;
  });
  return out;
}

bool IsLabelledFor(const Object& object, std::string_view name) {
  return object.Label("app.kubernetes.io/name") == "raftkv" &&
         object.Label("app.kubernetes.io/instance") == name;
}

void OnlyWhatIsViewed(Object& pod) {
  Json status = {{"phase", pod.String("/status/phase")}, {"podIP", pod.String("/status/podIP")}};
  status["conditions"] = EntriesOf(pod.At("/status/conditions"), "type", "Ready");
  for (Json& scheduled : EntriesOf(pod.At("/status/conditions"), "type", "PodScheduled")) {
    status["conditions"].push_back(std::move(scheduled));
  }
  for (const Json& container : EntriesOf(pod.At("/status/containerStatuses"), "name", kContainer)) {
    status["containerStatuses"].push_back({{"name", kContainer},
                                           {"restartCount", container.value("restartCount", 0)},
                                           {"state", container.value("state", Json())}});
  }
  pod.Erase("/metadata/managedFields");
  pod.Erase("/metadata/annotations");
  pod.Set("/spec", Json{{"nodeName", pod.String("/spec/nodeName")},
                        {"serviceAccountName", pod.String("/spec/serviceAccountName")}});
  pod.Set("/status", std::move(status));
}

}  // namespace raftkv::op
