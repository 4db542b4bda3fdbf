// The model of one operator process: it looks at stale caches, plans, writes the status and acts,
// and crashes between any two of these. For model_test.cc.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "operator/raftkv/model_kube.h"
#include "operator/raftkv/plan.h"

namespace raftkv::op::model {

// One operator process. It remembers nothing that matters: its cache, and since when nodes are
// silent.
class Operator {
 public:
  Operator(World* world, std::string name, uint64_t epoch)
      : world_(world), name_(std::move(name)), epoch_(epoch), cache_(world->kube) {}

  // A new process. Its first list of each kind is what some server has in memory (resourceVersion
  // "0"): as it is now, or was at `old`, which may be before what the former process saw. Lists
  // that follow in the same process never go back (Reflector asks for what is not older).
  void Restart(const Kube& old);
  // News of some kinds; `all`: everything, as it is. A kind's watch tells of its objects in the
  // order of their versions, so that what a cache holds is what the whole kind once was. Kinds have
  // no order among them, and a look reads them one after the other, nodes even one by one. Here
  // single pods, claims and machines are old, missed or ahead of others, too: more than can happen,
  // so that no plan goes by the order of a watch.
  void Watch(bool all);
  // One reconcile; ends early at a crash. True if it wrote or did something.
  bool Reconcile(bool faults);
  const Plan& last() const { return last_; }
  // How often the API server refused which action.
  const std::map<std::string, int>& refusals() const { return refusals_; }

 private:
  bool Crash(bool faults);
  // As Observer::LookLive: all else is as old as it was.
  void ReadLive();
  void Forget();
  // What the spec asks for otherwise is tried at once.
  int64_t ContentOf(const std::string& key) const;
  void NoteAnswer(bool refused);
  // What is tried again changes nothing of the status before it has succeeded.
  void CheckRetry(Observation seen);
  // An event for every step, and for every refusal when it is new.
  void CheckEvents(const Observation& seen);
  Observation Observe(bool faults);
  static void ObserveUnreadable(Observation* seen);
  void ObserveObjects(const Resource& resource, ObjectsView* objects) const;
  PodView ObservePod(int slot, const Pod& pod) const;
  void LookForClaims(Observation* seen) const;
  ClaimView ObserveClaim(int slot, const Claim& claim) const;

  World* world_;
  std::string name_;
  uint64_t epoch_;
  Kube cache_;
  Plan last_;
  std::map<int, int64_t> silent_;
  int64_t leaderless_since_s_ = 0;
  struct RefusedAction {
    int64_t content = 0;
    int64_t pause_s = 0;
    int64_t again_s = 0;
  };
  std::map<std::string, RefusedAction> refused_;
  std::map<std::string, int> refusals_;
};

}  // namespace raftkv::op::model
