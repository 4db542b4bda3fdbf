// What an operator does, and what it must not have done (P1 to P6).

#include <algorithm>

#include "operator/raftkv/model_kube.h"
#include "operator/raftkv/plan_facts.h"

namespace raftkv::op::model {

std::string World::WriteStatus(uint64_t version, const PlannedStatus& status) {
  if (!kube.resource || kube.resource->version != version) return "conflict";
  const ClusterId before = kube.resource->status.cluster;
  if (before != 0 && status.cluster != before) Fail("P1: status.clusterID was changed");
  kube.resource->status = status;
  kube.resource->version = next_++;
  return "";
}

bool World::Refuses(const Action& action, const Kube& cache) const {
  const auto until = refuses_until_s.find(ActionName(action));
  if (until != refuses_until_s.end() && now_s < until->second) return true;
  return std::holds_alternative<ApplyStatefulSet>(action) &&
         refused_images.contains(cache.resource->image);
}

std::string World::Act(const Action& action, const Kube& cache) {
  if (Refuses(action, cache)) return "by the API server";
  return std::visit([&](const auto& one) { return ActOn(one, cache); }, action);
}

std::string World::ActOn(const AddFinalizer&, const Kube& cache) {
  if (!kube.resource || kube.resource->version != cache.resource->version) return "conflict";
  kube.resource->finalizer = true;
  kube.resource->version = next_++;
  return "";
}

std::string World::ActOn(const RemoveFinalizer&, const Kube& cache) {
  if (!kube.resource || kube.resource->uid != cache.resource->uid) return "not found";
  if (!kube.resource->deleting) {
    Fail("the finalizer of a resource that stays was removed");
    return "";
  }
  kube.resource->finalizer = false;
  kube.resource->version = next_++;
  return "";
}

std::string World::ActOn(const ApplyObjects&, const Kube& cache) {
  if (!kube.resource || kube.resource->uid != cache.resource->uid) return "owner is gone";
  kube.objects = true;
  return "";
}

bool World::QuorumWithout(const std::set<int>& slots) const {
  if (raft() == nullptr) return true;
  std::set<MemberId> live = LiveMembers();
  for (const int slot : slots) {
    if (const Directory* directory = DirectoryOf(slot)) live.erase(directory->id);
  }
  const Conf& conf = raft()->Latest();
  return Raft::Quorum(conf.voters, live) && Raft::Quorum(conf.outgoing, live);
}

bool World::StopsEarly(const Directory& directory) const {
  return directory.cluster != 0 && !directory.tombstone && !directory.damaged && !directory.hangs &&
         raft()->Committed().removed.contains(directory.id);
}

std::string World::ActOn(const ApplyStatefulSet& a, const Kube& cache) {
  if (!kube.resource || kube.resource->uid != cache.resource->uid) return "owner is gone";
  if (kube.sts && kube.sts->owner != kube.resource->uid) return "belongs to somebody else";
  const bool made = !kube.sts;
  if (made && cache.sts) return "gone";
  if (made) kube.sts = Sts{.owner = kube.resource->uid, .version = next_++};
  if (!made && (!cache.sts || cache.sts->version != kube.sts->version)) return "conflict";
  kube.sts->image = cache.resource->image;
  return SetReplicas(a.replicas, cache);
}

std::string World::ActOn(const ScaleStatefulSet& a, const Kube& cache) {
  if (!kube.resource || !kube.sts || kube.sts->owner != kube.resource->uid) return "not ours";
  if (!cache.sts || cache.sts->version != kube.sts->version) return "conflict";
  return SetReplicas(a.replicas, cache);
}

bool World::HasMember(int slot) const {
  if (raft() == nullptr) return false;
  return std::ranges::any_of(raft()->Latest().names, [&](const auto& member) {
    return PodOfMember(member.second) == PodName("db", slot);
  });
}

std::string World::SetReplicas(int replicas, const Kube& cache) {
  const bool stops_all =
      replicas == 0 && (cache.resource->spec.replicas == 0 || cache.resource->deleting);
  if (replicas < kube.sts->replicas && !stops_all) {
    for (const auto& [slot, pod] : kube.pods) {
      const Directory* directory = DirectoryOf(slot);
      if (slot < replicas || directory == nullptr || raft() == nullptr) continue;
      // Whoever is being added, which no member may have applied yet, is a learner without data.
      if (raft()->Committed().names.contains(directory->id))
        Fail("P2: the pod of a member is scaled away");
      if (PodLives(slot) && StopsEarly(*directory)) {
        Fail("a removed member is stopped before it has ended");
      }
    }
  }
  const auto theirs = [&](int slot) {
    const auto claim = kube.claims.find(slot);
    return claim != kube.claims.end() && claim->second.foreign;
  };
  // For the members that there are, and where nobody knows them, their slots get their pods back.
  const Operation& intent = kube.resource->status.operation;
  const bool begins = kube.resource->status.cluster == 0 && !kube.resource->deleting;
  const bool scales = intent.type == Operation::Type::kScale && replicas <= intent.target &&
                      !LiveMembers().empty() && kube.sts->replicas > 0;
  for (int slot = kube.sts->replicas; (scales || begins) && slot < replicas; ++slot) {
    if (theirs(slot) && !HasMember(slot)) Fail("a new slot mounts somebody else's claim");
  }
  for (int slot = replicas; begins && replicas > 0 && slot < kube.sts->replicas; ++slot) {
    if (theirs(slot)) Fail("a slot with somebody else's claim is not looked at any more");
  }
  kube.sts->replicas = replicas;
  kube.sts->version = next_++;
  return "";
}

std::string World::ActOn(const ApplyDisruptionBudget& a, const Kube&) {
  kube.min_available = a.min_available;
  return "";
}

std::string World::ActOn(const MarkLeader& a, const Kube&) {
  kube.leader_pod = a.pod;
  return "";
}

std::string World::ActOn(const MarkClaim& a, const Kube&) {
  const auto claim = kube.claims.find(a.slot);
  if (claim == kube.claims.end() || claim->second.uid != a.claim_uid) return "not found";
  claim->second.member = a.member;
  return "";
}

std::string World::ActOn(const Initialize& a, const Kube&) {
  Directory* directory = PodLives(a.slot) ? DirectoryOf(a.slot) : nullptr;
  if (directory == nullptr || directory->id != a.members.front().id) return "not this directory";
  const PlannedStatus& status = kube.resource->status;
  if (status.operation.cluster != a.cluster && status.cluster != a.cluster) {
    Fail("P1: initialize before the intent was written");
  }
  if (status.cluster == 0 &&
      !std::ranges::equal(status.initializing, a.members, {}, {}, &MemberView::id)) {
    Fail("P1: initialize of others than were written down");
  }
  if (status.cluster != 0 && status.cluster != a.cluster) Fail("P1: a second initialize");
  if (kube.resource->spec.restore) Fail("P1: initialize where a snapshot is waited for");
  if (directory->cluster != 0) return directory->cluster == a.cluster ? "" : "another cluster";
  for (const auto& [uid, other] : volumes_) {
    if (other.cluster != 0 && other.cluster != a.cluster) Fail("P1: a second cluster");
  }
  if (rafts_.contains(a.cluster)) return "";
  // Also one that nobody has any more.
  const bool acknowledged = !rafts_.empty() && rafts_.begin()->second.commit() > 0;
  if (acknowledged && begun_for_ == kube.resource->uid) {
    Fail("P1: a cluster that may have acknowledged writes is begun anew without a word");
  }
  begun_for_ = kube.resource->uid;
  directory->cluster = a.cluster;
  directory->match = 1;
  rafts_.clear();
  rafts_.emplace(a.cluster, Raft(a.members));
  return "";
}

void World::Restore(int slot) {
  Directory* directory = PodLives(slot) ? DirectoryOf(slot) : nullptr;
  if (directory == nullptr || directory->cluster != 0 || directory->damaged || raft() != nullptr) {
    return;
  }
  directory->cluster = random.Next() | 1;
  directory->match = 1;
  rafts_.clear();
  const std::string pod = PodName("db", slot);
  rafts_.emplace(
      directory->cluster,
      Raft({{.id = directory->id, .name = pod, .peer_address = PeerAddress("ns", "db", pod)}}));
  Note("people restore a snapshot into slot " + std::to_string(slot));
}

std::string World::ActOn(const TransferLeadership& a, const Kube&) {
  if (rafts_.empty()) return "no cluster";
  auto& [cluster, raft] = *rafts_.begin();
  if (!LiveMembers().contains(a.to)) return "not reached";
  return raft.Transfer(a, Live(cluster));
}

// Over all of the changes that a replacement takes, and all replacements that go on at a time.
void World::CheckReplacement(const std::set<MemberId>& next, const std::set<MemberId>& live) {
  const Conf& conf = raft()->Latest();
  if (next.size() + 1 < conf.voters.size()) Fail("P4: a replacement takes several members at once");
  // The operation's own slot is filled also if it turns out that a shrink had taken its lost member
  // out, in a change that nobody knew to be in force.
  const MemberId begun = kube.resource->status.operation.old_member;
  if (next.size() > conf.size && !conf.removed.contains(begun)) {
    Fail("P4: replacements make " + std::to_string(next.size()) + " voters of " +
         std::to_string(conf.size));
  }
  // A voter that does not live counts for nothing. Of those that live one may be missing, of as
  // many as there were or are wanted.
  const int wanted = kube.resource->spec.replicas;
  const size_t whole = wanted == 0 ? conf.size : std::min(conf.size, static_cast<size_t>(wanted));
  if (next.size() >= conf.voters.size() || conf.voters.size() >= whole) return;
  for (const MemberId id : conf.voters) {
    if (next.contains(id) || !live.contains(id)) continue;
    Fail("P4: a member that lives is taken out, " + std::to_string(conf.size) + " voters -> " +
         std::to_string(conf.voters.size()) + " -> " + std::to_string(next.size()));
  }
}

void World::CheckVotersChange(const ChangeMembership& change) {
  const Conf& conf = raft()->Latest();
  std::set<MemberId> next = conf.voters;
  for (const MemberId id : change.remove) next.erase(id);
  next.insert(change.promote.begin(), change.promote.end());
  if (next == conf.voters) return;
  const std::set<MemberId> live = LiveMembers();
  if (!Raft::Quorum(conf.voters, live) || !Raft::Quorum(next, live)) {
    Fail("P2: a change without a quorum of both halves");
  }
  const Operation& intent = kube.resource->status.operation;
  const int size = static_cast<int>(next.size());
  // Where nobody stays, the leader goes after the others have come.
  std::set<MemberId> staying = conf.voters;
  for (const MemberId id : change.remove) staying.erase(id);
  const bool leader_last =
      staying == std::set{raft()->leader()} && size == intent.target + 1 && !change.promote.empty();
  if (intent.type != Operation::Type::kReplace && size != intent.target && !leader_last) {
    Fail("P4: a change to " + std::to_string(size) + " voters instead of " +
         std::to_string(intent.target));
  }
  if (intent.type == Operation::Type::kReplace) {
    CheckReplacement(next, live);
  } else if (next.size() == conf.size && conf.voters.size() == conf.size && !conf.leader_goes &&
             !leader_last) {
    Fail("P4: another change for a size that is reached");
  }
  const bool grows = intent.type == Operation::Type::kScale && next.size() > conf.voters.size();
  if (grows && !leader_last && kube.min_available < Quorum(next.size())) {
    Fail("voters are added that the disruption budget does not count");
  }
  for (const MemberId id : change.remove) {
    if (raft()->leader() == id && conf.voters.size() > 1) Fail("P5: the leader is removed");
  }
}

std::string World::ActOn(const ChangeMembership& a, const Kube&) {
  if (rafts_.empty()) return "no cluster";
  auto& [cluster, raft] = *rafts_.begin();
  if (a.expected_config_index == raft.Latest().index && !raft.Latest().joint() &&
      a.epoch >= raft.Latest().epoch) {
    CheckVotersChange(a);
  }
  const Operation& intent = kube.resource->status.operation;
  std::optional<int> target;
  if (intent.type != Operation::Type::kReplace) target = intent.target;
  const std::string refused = raft.Change(a, target, Live(cluster));
  const bool gives_back = std::ranges::any_of(a.update, [](const MemberView& view) {
    return view.peer_address != FormerPeerAddress(view.id);
  });
  if (refused.empty() && gives_back) ++addresses_given_back_;
  return refused;
}

std::string World::ActOn(const DeletePod& a, const Kube&) {
  const auto found = kube.pods.find(a.slot);
  if (found == kube.pods.end() || found->second.uid != a.uid) return "not found";
  Pod& pod = found->second;
  if (a.without_claim && kube.claims.contains(a.slot)) {
    Fail("a pod is deleted for want of a claim that is there");
  }
  const bool teardown = kube.resource && kube.resource->deleting;
  const auto claim = kube.claims.find(a.slot);
  const bool theirs = claim != kube.claims.end() && claim->second.foreign;
  if (theirs && !teardown && kube.sts && a.slot < kube.sts->replicas) {
    Fail("a pod on somebody else's claim is deleted");
  }
  const Directory* directory = DirectoryOf(a.slot);
  if (raft() != nullptr && directory != nullptr && PodLives(a.slot) && !teardown) {
    const Conf& conf = raft()->Latest();
    const bool voter = conf.voters.contains(directory->id) || conf.outgoing.contains(directory->id);
    const bool serves = voter && LiveMembers().contains(directory->id);
    // Two can only be rolled one by one, if two are what is wanted.
    const bool wanted_so =
        kube.resource && (kube.resource->spec.replicas <= 2 || kube.resource->unreadable);
    const size_t enough = wanted_so ? 2 : 1;
    if (serves && conf.voters.size() > enough && !QuorumWithout({a.slot})) {
      Fail("P2: a pod of the quorum is deleted");
    }
    if (serves && raft()->leader() == directory->id && conf.voters.size() > 1) {
      Fail("P5: the leader's pod is deleted");
    }
  }
  if (raft() != nullptr && directory != nullptr && PodLives(a.slot) && !teardown &&
      StopsEarly(*directory)) {
    Fail("a removed member is stopped before it has ended");
  }
  for (const auto& [slot, uid] : deleted_on_purpose_) {
    const auto other = kube.pods.find(slot);
    bool stuck = false;  // until its machine is back, or its pod is collected
    if (other != kube.pods.end() && !other->second.node.empty()) {
      const auto machine = kube.machines.find(other->second.node);
      stuck = machine != kube.machines.end() && !machine->second.up;
    }
    if (slot != a.slot && kube.sts && slot < kube.sts->replicas && !teardown && !stuck) {
      Fail("P6: two pods are deleted at a time");
    }
  }
  if (kube.sts && a.slot < kube.sts->replicas) deleted_on_purpose_[a.slot] = a.uid;
  pod.deleting = true;
  if (a.force) {
    if (PodLives(a.slot)) Fail("a pod on a machine that is well is deleted by force");
    RemovePod(a.slot);
  }
  return "";
}

// It has left whole, as members do that a change of size takes out. Whoever is replaced may come
// back and end in the same way.
bool World::IsRetained(int slot, const Directory& directory) const {
  return kube.resource && kube.resource->spec.on_scale_down == Retention::kRetain &&
         directory.tombstone && !directory.damaged && !kube.claims.at(slot).lost &&
         kube.resource->status.operation.type != Operation::Type::kReplace;
}

std::string World::ActOn(const DeleteClaim& a, const Kube&) {
  const auto claim = kube.claims.find(a.slot);
  if (claim == kube.claims.end() || claim->second.uid != a.uid) return "not found";
  if (claim->second.member != a.member) return "holds something else";
  if (claim->second.foreign) Fail("somebody else's claim is deleted");
  const auto volume = volumes_.find(a.uid);
  const bool teardown = kube.resource && kube.resource->deleting;
  if (raft() != nullptr && volume != volumes_.end() && !teardown) {
    // What is proposed and not committed is not in force, and no answer shows it: whom it adds is a
    // learner without data, who votes by it must not be touched.
    const Conf& conf = raft()->Committed();
    const Conf& next = raft()->Latest();
    const MemberId id = volume->second.id;
    if (conf.names.contains(id) || next.voters.contains(id) || next.outgoing.contains(id)) {
      Fail("P3: the claim of a member is deleted");
    }
    if (conf.joint()) Fail("P3: a claim is deleted in a joint state");
    if (IsRetained(a.slot, volume->second)) Fail("a claim is deleted that onScaleDown retains");
  }
  claim->second.deleting = true;
  return "";
}

std::string World::ActOn(const ResizeClaim& a, const Kube&) {
  const auto claim = kube.claims.find(a.slot);
  if (claim == kube.claims.end() || claim->second.uid != a.uid) return "not found";
  if (a.bytes < claim->second.bytes) return "claims do not shrink";
  claim->second.bytes = a.bytes;
  return "";
}

}  // namespace raftkv::op::model
