// What the API server made of the objects that were applied for one RaftKV: others may have a say
// in what is stored (a webhook that changes images), and what they make of it is no reason to apply
// it again; but they are asked now and then, by dry runs, whether they would still do so
// (docs/design/operator.md, "Nothing is written at rest").
//
// Kept by the process alone: a new operator applies once.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "operator/kube/api.h"
#include "operator/raftkv/objects.h"

namespace raftkv::op {

// "Service store-leader".
std::string NameOf(const kube::Object& object);

class Applied {
 public:
  void Note(const DesiredObject& desired, const kube::Object& answer, MonotonicTime now);
  // What of that was not what had been asked for, since the last call: names.
  std::vector<std::string> TakeChanged();
  // `existing` is what is wanted, or what the API server made of that.
  bool IsAsApplied(const kube::Object& existing, const DesiredObject& desired) const;
  // minAvailable of the budget that was applied last, whatever was answered.
  std::optional<int64_t> budget_asked() const { return budget_asked_; }

  // It is time to ask anew.
  bool AnyDue(MonotonicTime now) const;
  // Asks for those of `all`, which is everything that is wanted for `resource`. What would be
  // stored otherwise now, and minutes later, is not as applied any more; true: there is more of
  // that.
  bool AskAnew(kube::Api& api, const kube::Object& resource, const std::vector<DesiredObject>& all,
               MonotonicTime now);

 private:
  struct Answer {
    std::string hash;
    bool otherwise = false;  // than it was asked for, now or once
    MonotonicTime asked;
    std::string next;    // what a dry run answered since, if that was another
    bool stale = false;  // so did a second one
  };
  static bool IsDue(const Answer& answer, MonotonicTime now);

  std::map<std::string, Answer> answers_;  // by kind and name
  std::vector<std::string> changed_;
  std::optional<int64_t> budget_asked_;
};

}  // namespace raftkv::op
