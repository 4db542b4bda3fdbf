#include "operator/kube/conditions.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {
namespace {

Json* Find(Json& conditions, std::string_view type) {
  for (Json& condition : conditions) {
    if (condition.is_object() && condition.value("type", Json()) == type) return &condition;
  }
  return nullptr;
}

}  // namespace

bool SetCondition(Json& conditions, const Condition& condition, int64_t wall_micros) {
  CHECK(!condition.type.empty() && !condition.reason.empty(), "a condition has type and reason");
  if (!conditions.is_array()) conditions = Json::array();
  Json wanted = {{"type", condition.type},
                 {"status", condition.status},
                 {"reason", condition.reason},
                 {"message", condition.message},
                 {"observedGeneration", condition.observed_generation}};
  Json* known = Find(conditions, condition.type);
  bool flipped = known == nullptr || known->value("status", Json()) != condition.status ||
                 !known->contains("lastTransitionTime");
  wanted["lastTransitionTime"] =
      flipped ? Json(FormatTime(wall_micros)) : known->at("lastTransitionTime");
  if (known == nullptr) {
    conditions.push_back(std::move(wanted));
    return true;
  }
  if (*known == wanted) return false;
  *known = std::move(wanted);
  return true;
}

std::string ConditionStatus(const Json& conditions, std::string_view type) {
  Json* known = conditions.is_array() ? Find(const_cast<Json&>(conditions), type) : nullptr;
  Json status = known == nullptr ? Json() : known->value("status", Json());
  return status.is_string() ? status.get<std::string>() : "";
}

}  // namespace raftkv::kube
