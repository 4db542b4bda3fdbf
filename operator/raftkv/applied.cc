#include "operator/raftkv/applied.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "operator/kube/ownership.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;

// Until it is asked again what a webhook makes of an object.
constexpr Duration kAskAnewPause = std::chrono::hours(1);
// Until another answer is believed: a webhook whose failures are ignored may be away for a moment.
constexpr Duration kAskAgainPause = std::chrono::minutes(5);

// What a dry run of the whole apply answers. As Actor::Apply does it: an apply leaves what others
// have set there, whoever that was.
kube::ApiResult<Object> AskFor(kube::Api& api, const DesiredObject& desired,
                               const Object& resource) {
  Object wanted = desired.object;
  kube::SetController(wanted, resource);
  auto answer = api.Apply(desired.resource, wanted, {.dry_run = true});
  if (!answer) return answer;
  const Json surplus = SurplusOf(*answer, desired.object);
  if (surplus.empty()) return answer;
  return api.Patch(desired.resource, wanted.key(), kube::PatchType::kJson, surplus,
                   {.dry_run = true});
}

}  // namespace

std::string NameOf(const Object& object) {
  return std::string(object.kind()) + " " + std::string(object.name());
}

void Applied::Note(const DesiredObject& desired, const Object& answer, MonotonicTime now) {
  Answer& known = answers_[NameOf(desired.object)];
  const bool changed = !IsCurrent(answer, desired.object);
  Answer made{.hash = FieldsHash(answer, desired.object),
              .otherwise = known.otherwise || changed,
              .asked = now};
  if (known.hash != made.hash && changed) changed_.push_back(NameOf(desired.object));
  known = std::move(made);
  if (desired.resource == kube::resources::kDisruptionBudgets) {
    budget_asked_ = desired.object.Int("/spec/minAvailable");
  }
}

std::vector<std::string> Applied::TakeChanged() { return std::exchange(changed_, {}); }

bool Applied::IsAsApplied(const Object& existing, const DesiredObject& desired) const {
  const auto answer = answers_.find(NameOf(desired.object));
  if (answer != answers_.end() && answer->second.stale) return false;
  if (IsCurrent(existing, desired.object)) return true;
  return answer != answers_.end() && answer->second.hash == FieldsHash(existing, desired.object);
}

bool Applied::IsDue(const Answer& answer, MonotonicTime now) {
  const Duration pause = answer.next.empty() ? kAskAnewPause : kAskAgainPause;
  return answer.otherwise && !answer.stale && now - answer.asked >= pause;
}

bool Applied::AnyDue(MonotonicTime now) const {
  return std::ranges::any_of(answers_, [&](const auto& entry) { return IsDue(entry.second, now); });
}

bool Applied::AskAnew(kube::Api& api, const Object& resource, const std::vector<DesiredObject>& all,
                      MonotonicTime now) {
  std::erase_if(answers_, [&](const auto& entry) {
    return std::ranges::none_of(
        all, [&](const DesiredObject& desired) { return NameOf(desired.object) == entry.first; });
  });
  bool more = false;
  for (const DesiredObject& desired : all) {
    const auto known = answers_.find(NameOf(desired.object));
    if (known == answers_.end() || !IsDue(known->second, now)) continue;
    Answer& answer = known->second;
    answer.asked = now;
    auto asked = AskFor(api, desired, resource);
    if (!asked) break;  // some webhooks cannot be asked; others would be as slow
    std::string hash = FieldsHash(*asked, desired.object);
    if (hash == answer.hash) {
      answer.next.clear();
      continue;
    }
    answer.stale = hash == answer.next;
    answer.next = std::move(hash);
    more = more || answer.stale;
  }
  return more;
}

}  // namespace raftkv::op
