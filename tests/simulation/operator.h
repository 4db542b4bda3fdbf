// Operator: whoever starts the hosts and changes the membership. It sees everything, so that it
// never does what could not be survived: it takes a disk away only if a quorum of every
// configuration that may be in force goes on living, and replaces what is lost before it does
// anything else. Within these bounds it does what no sane operator would.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raftkv/v1/admin.pb.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

class Operator {
 public:
  Operator(World* world, size_t first_members);

  // Starts all hosts: the first ones as a new cluster.
  void Start();
  // Looks after what is lost and after removed hosts, now and then, for ever.
  void StartRepairs();

  // --- Faults of the membership; `random` decides what exactly

  void Change(Random& random);
  // Two or three changes through as many members, decided on the same configuration.
  void ChangeAtOnce(Random& random);
  // Through the leader itself, with or without a successor to hand over to.
  void RemoveLeader(Random& random);
  void AskForRemovedId(Random& random);
  // A member's id for another address, or one id for two addresses.
  void AskForUsedId(Random& random);
  void Join(Random& random);
  void Transfer(Random& random);
  void TakeSnapshot(Random& random);
  // Takes a snapshot away, for a new cluster (World::backup).
  void TakeBackup(Random& random);
  // Some hosts keep a copy of their disks, in place of the one before.
  void KeepCopies(Random& random);
  // A copy of a member's disk, of now or an older one, is started on a host that nobody needs.
  void StartCopy(Random& random);
  // A member's state or log is put back as it was when a copy was kept.
  void PutBackOldPart(Random& random);
  // A member is started with the state that an older program, or a later one, wrote; later that
  // program goes on with it, or the member is replaced.
  void StartWithOtherFormat(Random& random);
  void WriteInOwnFormat(SimNode& node);
  // Takes the disk of some member away, if that can be survived. True if it did.
  bool Lose(Random& random, bool rot);
  // The disks of some members, or of all, cannot be read for a while.
  void RotSome(Random& random);
  // Ends that, if it did not cost the member its place.
  void Mend(SimNode& node);
  // From now on nobody replaces a member that can do that by itself.
  void LeaveRebuildsAlone() { patient_ = true; }

  // The process of this host starts again after `delay`, as often as it takes.
  void RestartAfter(SimNode& node, Duration delay);

  // --- What the simulation asks

  // The newest cluster state that any disk in use has applied.
  v1::ClusterState Newest() const;
  // Whether this identity still exists on a disk that can be used.
  bool Alive(uint64_t id) const;
  // Lost identities that are still members.
  std::vector<uint64_t> LostMembers() const;

 private:
  void Boot(SimNode& node);
  void Repair();
  void ReplaceLost(uint64_t lost);
  // What could be survived; nothing to change: nullopt.
  std::optional<v1::ChangeMembershipRequest> DrawChange(Random& random) const;
  // Of what the run has come to, so that the numbers drawn for all else stay as they are.
  void DrawEpoch(uint64_t newest, v1::ChangeMembershipRequest* request) const;
  // What becomes of a change.
  struct Fate {
    std::function<void()> on_asked = {};  // it has reached a process
    std::function<void(const Result<v1::ChangeMembershipResponse>&)> on_answer = {};
  };
  void Send(v1::ChangeMembershipRequest request, Random& random) {
    Send(std::move(request), random, Fate());
  }
  void Send(v1::ChangeMembershipRequest request, Random& random, Fate fate);
  void SendThrough(SimNode* node, v1::ChangeMembershipRequest request, Random& random, Fate fate);
  // Counts an answer that refuses for this reason.
  Fate CountRefusal(Path path, bool (*is_for)(const Status&)) const;
  void CheckAnswered(const SimNode& node);
  // Whether it gets its place back without anybody's hand.
  bool RebuildsItself(uint64_t lost) const;
  bool Useless(const SimNode& node);
  bool Survives(const v1::ClusterState& cluster, const std::set<uint64_t>& voters) const;
  bool CanLose(uint64_t id) const;
  bool ChangePending() const;
  bool HasCopy(uint64_t id) const;
  SimNode* AnyRunningMember(Random& random) const;
  std::vector<SimNode*> Spares() const;
  v1::Member Describe(const SimNode& node) const;

  World* const world_;
  const size_t first_members_;
  SeededRandom random_;
  std::vector<std::string> first_addresses_;
  size_t under_way_ = 0;    // changes that have been sent and not answered
  SimTime last_change_{0};  // when the last one was answered
  bool patient_ = false;
  // Calls to members to remove themselves.
  struct OwnRemoval {
    const SimNode* node;
    uint64_t incarnation;
    std::shared_ptr<bool> answered;
  };
  std::vector<OwnRemoval> own_removals_;
};

}  // namespace raftkv::sim
