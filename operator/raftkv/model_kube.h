// A model of Kubernetes and of the nodes' machines for the planner's model run: the resource, one
// StatefulSet (Parallel, OnDelete), its controller, scheduler, kubelets, the protection of claims
// in use, garbage collection, volumes with their data directories, and the members' consensus
// (model_raft.h).
//
// `Kube` is what an API server holds, copyable, so that an operator's cache is an old copy of it.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "operator/raftkv/model_raft.h"
#include "operator/raftkv/plan.h"

namespace raftkv::op::model {

struct Resource {
  std::string uid;
  uint64_t version = 0;  // resourceVersion
  int64_t generation = 1;
  bool deleting = false;
  bool finalizer = false;
  ClusterSpec spec;
  bool unreadable = false;  // the operator does not know a value that the API server took
  int image = 1;            // the pod template: a number that makes a revision
  PlannedStatus status;
};

struct Sts {
  std::string owner;  // the resource's UID
  uint64_t version = 0;
  int replicas = 0;
  int image = 0;
  bool deleting = false;
};

struct Pod {
  std::string uid;
  std::string node;
  std::string claim_uid;  // that it was scheduled with
  int image = 0;
  bool running = false;
  bool ready = false;
  bool finished = false;
  bool deleting = false;
  int64_t created_s = 0;
};

struct Claim {
  std::string uid;
  std::string node;  // its volume lies there; empty: it can move, or is not bound
  bool bound = false;
  bool lost = false;
  bool deleting = false;
  bool foreign = false;  // somebody took our labels away
  uint64_t bytes = 0;    // asked for
  uint64_t capacity = 0;
  MemberId member = 0;
};

struct Machine {
  bool up = true;
  int64_t down_since_s = 0;
};

struct Kube {
  std::optional<Resource> resource;
  std::optional<Sts> sts;
  std::map<int, Pod> pods;
  std::map<int, Claim> claims;
  std::map<std::string, Machine> machines;
  bool objects = false;
  int min_available = -1;
  std::string leader_pod;
};

class World {
 public:
  explicit World(uint64_t seed);

  // Some of: controllers, kubelets, members, the clock.
  void Tick();
  // What a node answers; nullopt: it is not there.
  std::optional<NodeReport> Ask(int slot) const;
  // As observe.h makes it, from the answers.
  std::optional<Membership> AskMembership(const std::map<int, NodeReport>& reports) const;

  // What an operator does; an empty string: done, else why it was refused. Each checks P1 to P6.
  std::string WriteStatus(uint64_t version, const PlannedStatus& status);
  std::string Act(const Action& action, const Kube& cache);
  // The API server does not do it as it is.
  bool Refuses(const Action& action, const Kube& cache) const;

  // People give the blank node in this slot a snapshot, if there is one and no cluster yet.
  void Restore(int slot);

  // Faults and wishes.
  void CreateResource();
  void Evict(int slot, bool with_claim);
  void LetClaimGo(int slot);  // deleted under its pod
  void Unlabel(int slot);     // its claim does not look like ours any more
  void LoseVolume(int slot);
  void Damage(int slot);
  // Its disk is not mounted: the pod starts on an empty one.
  void HideData(int slot);
  // And is, as long as no other data is voted on in its place.
  void BringDataBack(int slot);
  // People miss nothing of a cluster that nobody has any more, and let another one begin.
  void LetBeginAnew();
  void Hang(int slot);  // if a learner is there
  void EndHangs();      // but those of learners
  void RefuseFor(const std::string& action, int64_t seconds);
  void MachineDown(const std::string& name);
  void MachineUp(const std::string& name);
  void MachineGone(const std::string& name);  // for ever; a new one comes

  // The truth about the members.
  const Raft* raft() const;
  std::set<MemberId> LiveMembers() const;
  bool QuorumPossible();  // enough directories of the voters exist, and can be found
  bool PodLives(int slot) const;
  // The others reach whoever is in this slot, which has a directory.
  bool IsFound(int slot) const;
  Directory* DirectoryOf(int slot);
  const Directory* DirectoryOf(int slot) const;

  void Note(const std::string& line);  // into the history
  void Fail(const std::string& rule);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  const std::vector<std::string>& history() const { return history_; }
  int addresses_given_back() const { return addresses_given_back_; }
  int begun_anew() const { return begun_anew_; }

  Kube kube;
  int64_t now_s = 1'000'000;
  std::set<int> broken_images;
  std::set<int> refused_images;  // pod templates that the API server does not take
  // Until when it refuses an action of this name, whatever it writes.
  std::map<std::string, int64_t> refuses_until_s;
  bool volumes_stay_small = false;  // their driver says that they cannot grow
  bool volumes_move = false;        // network volumes; else they lie on one machine
  SeededRandom random;

 private:
  void StatefulSetController();
  void Scheduler();
  void Kubelets();
  void VolumeDriver();
  void ClaimProtection();
  void GarbageCollection();
  void NodeLifecycle();
  void Members();
  void RemovePod(int slot);
  std::string Uid(const char* kind);
  std::vector<Directory*> Live(ClusterId cluster);

  std::string ActOn(const AddFinalizer&, const Kube&);
  std::string ActOn(const ApplyObjects&, const Kube&);
  std::string ActOn(const ApplyStatefulSet&, const Kube&);
  std::string ActOn(const ScaleStatefulSet&, const Kube&);
  std::string ActOn(const DeleteServiceAccount&, const Kube&) { return ""; }
  std::string ActOn(const ApplyDisruptionBudget&, const Kube&);
  std::string ActOn(const MarkLeader&, const Kube&);
  std::string ActOn(const MarkClaim&, const Kube&);
  std::string ActOn(const Initialize&, const Kube&);
  std::string ActOn(const ChangeMembership&, const Kube&);
  std::string ActOn(const TransferLeadership&, const Kube&);
  std::string ActOn(const DeletePod&, const Kube&);
  std::string ActOn(const DeleteClaim&, const Kube&);
  std::string ActOn(const ResizeClaim&, const Kube&);
  std::string ActOn(const RemoveFinalizer&, const Kube&);
  std::string ActOn(const Nothing&, const Kube&) { return ""; }
  std::string SetReplicas(int replicas, const Kube& cache);
  bool HasMember(int slot) const;
  bool IsRetained(int slot, const Directory& directory) const;
  void CheckVotersChange(const ChangeMembership& change);
  void CheckReplacement(const std::set<MemberId>& next, const std::set<MemberId>& live);
  // P2: the live voters but those in `slots` are a quorum of each half.
  bool QuorumWithout(const std::set<int>& slots) const;
  // A removed member that still votes, and would not if its process were stopped now.
  bool StopsEarly(const Directory& directory) const;

  std::map<std::string, Directory> volumes_;  // by the claim's UID
  std::map<std::string, Directory> hidden_;   // what is on a disk that is not mounted, likewise
  std::map<ClusterId, Raft> rafts_;
  std::map<int, std::string> deleted_on_purpose_;  // pod UIDs, until the slot has a new pod
  std::string begun_for_;  // the UID of the resource whose operator began the cluster
  uint64_t next_ = 1;
  int addresses_given_back_ = 0;
  int begun_anew_ = 0;
  std::string failure_;
  std::vector<std::string> history_;
};

}  // namespace raftkv::op::model
