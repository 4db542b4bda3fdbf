#include "operator/raftkv/model_kube.h"

#include <algorithm>

#include "base/hex_id.h"
#include "operator/raftkv/plan_facts.h"

namespace raftkv::op::model {
namespace {

constexpr int kMachines = 10;
// Kubernetes evicts the pods of a machine that is not ready for this long.
constexpr int64_t kEvictAfter = 300;

}  // namespace

World::World(uint64_t seed) : random(seed) {
  for (int i = 0; i < kMachines; ++i) kube.machines["m" + std::to_string(i)] = {};
  volumes_move = random.Uniform(2) == 0;
}

void World::Note(const std::string& line) {
  history_.push_back(std::to_string(now_s - 1'000'000) + "s " + line);
}

void World::Fail(const std::string& rule) {
  if (failure_.empty()) failure_ = rule;
  Note("*** " + rule);
}

std::string World::Uid(const char* kind) { return kind + std::to_string(next_++); }

void World::CreateResource() {
  Resource resource;
  resource.uid = Uid("rkv");
  resource.version = next_++;
  resource.spec.storage_bytes = 10;
  kube.resource = resource;
  kube.objects = false;
  kube.min_available = -1;
}

// --- The machinery
// ----------------------------------------------------------------------------------

void World::Tick() {
  now_s += 1 + static_cast<int64_t>(random.Uniform(4));
  if (random.Uniform(4) != 0) GarbageCollection();
  if (random.Uniform(4) != 0) StatefulSetController();
  if (random.Uniform(4) != 0) Scheduler();
  NodeLifecycle();
  if (random.Uniform(4) != 0) Kubelets();
  if (random.Uniform(4) != 0) ClaimProtection();
  Members();
}

void World::StatefulSetController() {
  if (!kube.sts || kube.sts->deleting) return;
  for (int slot = 0; slot < kube.sts->replicas; ++slot) {
    if (kube.pods.contains(slot)) continue;
    if (!kube.claims.contains(slot)) {
      Claim claim;
      claim.uid = Uid("claim");
      claim.bytes = 10;
      kube.claims[slot] = claim;
    }
    Pod pod;
    pod.uid = Uid("pod");
    pod.image = kube.sts->image;
    pod.created_s = now_s;
    kube.pods[slot] = pod;
    deleted_on_purpose_.erase(slot);
  }
  for (auto& [slot, pod] : kube.pods) {
    if (slot >= kube.sts->replicas) pod.deleting = true;
  }
}

void World::Scheduler() {
  for (auto& [slot, pod] : kube.pods) {
    const auto claim = kube.claims.find(slot);
    if (!pod.node.empty() || pod.deleting || claim == kube.claims.end()) continue;
    if (claim->second.deleting || claim->second.lost) continue;
    std::vector<std::string> fit;
    for (const auto& [name, machine] : kube.machines) {
      if (machine.up && (claim->second.node.empty() || claim->second.node == name)) {
        fit.push_back(name);
      }
    }
    if (fit.empty()) continue;
    pod.node = fit[random.Uniform(fit.size())];
    pod.claim_uid = claim->second.uid;
    if (claim->second.bound) continue;
    claim->second.bound = true;
    if (!volumes_move) claim->second.node = pod.node;
    volumes_[pod.claim_uid].id = 0x1000 + next_++;  // minted with the directory
  }
}

void World::RemovePod(int slot) { kube.pods.erase(slot); }

void World::Kubelets() {
  std::vector<int> ended;
  for (auto& [slot, pod] : kube.pods) {
    if (pod.node.empty()) {
      if (pod.deleting) ended.push_back(slot);
      continue;
    }
    const auto machine = kube.machines.find(pod.node);
    if (machine == kube.machines.end() || !machine->second.up) continue;
    if (pod.deleting) {
      ended.push_back(slot);
      continue;
    }
    const auto volume = volumes_.find(pod.claim_uid);
    const bool can_run = volume != volumes_.end() && !broken_images.contains(pod.image);
    pod.finished = can_run && volume->second.tombstone;
    pod.running = can_run && !pod.finished;
    pod.ready = pod.running && volume->second.cluster != 0 && !volume->second.damaged &&
                !volume->second.hangs;
  }
  for (const int slot : ended) RemovePod(slot);
}

void World::ClaimProtection() {
  std::erase_if(kube.claims, [&](const auto& entry) {
    const auto& [slot, claim] = entry;
    if (!claim.deleting) return false;
    for (const auto& [other, pod] : kube.pods) {
      if (pod.claim_uid == claim.uid) return false;
    }
    volumes_.erase(claim.uid);
    return true;
  });
}

void World::GarbageCollection() {
  if (kube.resource && kube.resource->deleting && !kube.resource->finalizer) {
    Note("the resource is gone");
    kube.resource.reset();
  }
  const bool owned = kube.sts && kube.resource && kube.sts->owner == kube.resource->uid;
  if (kube.sts && !owned) {
    kube.sts.reset();
    for (auto& [slot, pod] : kube.pods) pod.deleting = true;
    deleted_on_purpose_.clear();
  }
  // Pods of machines that do not exist any more.
  std::erase_if(kube.pods, [&](const auto& entry) {
    return !entry.second.node.empty() && !kube.machines.contains(entry.second.node);
  });
}

void World::NodeLifecycle() {
  for (auto& [slot, pod] : kube.pods) {
    const auto machine = kube.machines.find(pod.node);
    if (machine == kube.machines.end() || machine->second.up) continue;
    pod.ready = false;
    if (now_s - machine->second.down_since_s > kEvictAfter) pod.deleting = true;
  }
}

// --- Members
// ----------------------------------------------------------------------------------------

bool World::PodLives(int slot) const {
  const auto pod = kube.pods.find(slot);
  if (pod == kube.pods.end() || !pod->second.running) return false;
  const auto machine = kube.machines.find(pod->second.node);
  return machine != kube.machines.end() && machine->second.up &&
         volumes_.contains(pod->second.claim_uid);
}

Directory* World::DirectoryOf(int slot) {
  const auto pod = kube.pods.find(slot);
  if (pod == kube.pods.end()) return nullptr;
  const auto volume = volumes_.find(pod->second.claim_uid);
  return volume == volumes_.end() ? nullptr : &volume->second;
}

const Directory* World::DirectoryOf(int slot) const {
  return const_cast<World*>(this)->DirectoryOf(slot);
}

std::vector<Directory*> World::Live(ClusterId cluster) {
  std::vector<Directory*> live;
  for (const auto& [slot, pod] : kube.pods) {
    Directory* directory = PodLives(slot) ? DirectoryOf(slot) : nullptr;
    if (directory == nullptr || directory->cluster != cluster) continue;
    if (!directory->damaged && !directory->tombstone && !directory->hangs) {
      live.push_back(directory);
    }
  }
  return live;
}

void World::Members() {
  for (auto& [cluster, raft] : rafts_) {
    std::vector<Directory*> live = Live(cluster);
    // Whoever is in a member's configuration, and blank, is adopted by it.
    for (Directory* blank : Live(0)) {
      const bool known = std::ranges::any_of(
          live, [&](const Directory* d) { return raft.KnownIn(*d, blank->id); });
      if (known && random.Uniform(3) != 0) {
        blank->cluster = cluster;
        Note(HexId(blank->id) + " is adopted");
      }
    }
    live = Live(cluster);
    std::vector<Directory*> all;
    for (auto& [uid, directory] : volumes_) {
      if (directory.cluster == cluster) all.push_back(&directory);
    }
    if (const std::string did = raft.Tick(all, live, now_s, random); !did.empty()) Note(did);
    if (raft.lost_writes()) Fail("acknowledged writes are lost");
  }
}

const Raft* World::raft() const {
  for (const auto& [uid, directory] : volumes_) {
    if (directory.cluster != 0) return &rafts_.at(directory.cluster);
  }
  return nullptr;  // none yet, or nobody carries it any more
}

std::set<MemberId> World::LiveMembers() const {
  std::set<MemberId> out;
  for (const auto& [slot, pod] : kube.pods) {
    const Directory* directory = PodLives(slot) ? DirectoryOf(slot) : nullptr;
    if (directory != nullptr && directory->cluster != 0 && !directory->damaged &&
        !directory->tombstone && !directory->hangs) {
      out.insert(directory->id);
    }
  }
  return out;
}

bool World::QuorumPossible() {
  if (!kube.resource || kube.resource->status.cluster == 0) return true;
  if (raft() == nullptr) return false;
  std::vector<Directory*> exist;
  for (auto& [uid, directory] : volumes_) {
    if (directory.cluster != 0 && !directory.damaged && !directory.tombstone) {
      exist.push_back(&directory);
    }
  }
  return raft()->Candidate(exist) != nullptr;
}

std::optional<NodeReport> World::Ask(int slot) const {
  if (!PodLives(slot)) return std::nullopt;
  const Directory& directory = *DirectoryOf(slot);
  if (directory.tombstone || directory.hangs) return std::nullopt;
  NodeReport report;
  report.member = directory.id;
  report.cluster = directory.cluster;
  report.version = "1";
  if (directory.damaged) {
    report.role = NodeReport::Role::kDamaged;
    return report;
  }
  if (directory.cluster == 0) return report;
  const Raft& raft = rafts_.at(directory.cluster);
  const Conf& conf = raft.Latest();
  report.term = raft.term();
  report.commit_index = raft.commit();
  report.leader = raft.leader();
  if (directory.refused_since_s != 0) {
    report.role = NodeReport::Role::kRemoved;
  } else if (raft.leader() == directory.id) {
    report.role = NodeReport::Role::kLeader;
  } else {
    report.role = conf.learners.contains(directory.id) ? NodeReport::Role::kLearner
                                                       : NodeReport::Role::kFollower;
  }
  return report;
}

std::optional<Membership> World::AskMembership(const std::map<int, NodeReport>& reports) const {
  std::optional<Membership> out;
  const std::set<MemberId> live = LiveMembers();
  const Conf* newest = nullptr;
  const Raft* from = nullptr;
  bool leader_answers = false;
  for (const auto& [slot, report] : reports) {
    if (report.cluster == 0 || report.role == NodeReport::Role::kDamaged) continue;
    const Raft& raft = rafts_.at(report.cluster);
    const Conf& conf = raft.Applied(DirectoryOf(slot)->match);
    if (newest == nullptr || conf.index > newest->index) newest = &conf;
    from = &raft;
    if (report.role == NodeReport::Role::kLeader) leader_answers = true;
  }
  if (newest == nullptr) return out;
  out.emplace();
  out->config_index = newest->index;
  out->voters = newest->voters;
  out->voters_outgoing = newest->outgoing;
  out->learners = newest->learners;
  out->removed = newest->removed;
  out->epoch = newest->epoch;
  out->leader_term = from->term();
  if (leader_answers) {
    out->leader = from->leader();
    out->leader_commit = from->commit();
  }
  for (const auto& [id, name] : newest->names) {
    MemberView view{.id = id, .name = name};
    if (leader_answers) {
      view.active = live.contains(id);
      for (const auto& [uid, directory] : volumes_) {
        if (directory.id == id) view.match = directory.match;
      }
    }
    out->members[id] = view;
  }
  return out;
}

// --- Faults
// -----------------------------------------------------------------------------------------

void World::Evict(int slot, bool with_claim) {
  const auto pod = kube.pods.find(slot);
  if (pod != kube.pods.end()) pod->second.deleting = true;
  const auto claim = kube.claims.find(slot);
  if (with_claim && claim != kube.claims.end()) claim->second.deleting = true;
  Note("fault: pod " + std::to_string(slot) + (with_claim ? " and its claim" : "") + " deleted");
}

void World::LetClaimGo(int slot) {
  const auto claim = kube.claims.find(slot);
  if (claim == kube.claims.end()) return;
  claim->second.deleting = true;
  Note("fault: the claim of slot " + std::to_string(slot) + " deleted");
}

void World::LoseVolume(int slot) {
  const auto claim = kube.claims.find(slot);
  if (claim == kube.claims.end() || !claim->second.bound) return;
  claim->second.lost = true;
  volumes_.erase(claim->second.uid);
  Note("fault: the volume of slot " + std::to_string(slot) + " is lost");
}

void World::Damage(int slot) {
  Directory* directory = DirectoryOf(slot);
  if (directory == nullptr || directory->cluster == 0) return;
  directory->damaged = true;
  Note("fault: the directory of slot " + std::to_string(slot) + " is damaged");
}

void World::Hang(int slot) {
  Directory* directory = DirectoryOf(slot);
  if (directory == nullptr || raft() == nullptr) return;
  if (!raft()->Latest().learners.contains(directory->id)) return;
  directory->hangs = true;
  Note("fault: the disk of learner " + HexId(directory->id) + " hangs");
}

void World::EndHangs() {
  for (auto& [uid, directory] : volumes_) {
    const bool learner = raft() != nullptr && raft()->Latest().learners.contains(directory.id);
    directory.hangs = directory.hangs && learner;
  }
}

void World::MachineDown(const std::string& name) {
  Machine& machine = kube.machines[name];
  if (!machine.up) return;
  machine.up = false;
  machine.down_since_s = now_s;
  Note("fault: machine " + name + " down");
}

void World::MachineUp(const std::string& name) {
  kube.machines[name] = {};
  Note("machine " + name + " up");
}

void World::MachineGone(const std::string& name) {
  Note("fault: machine " + name + " is gone for ever");
  kube.machines.erase(name);
  for (auto& [slot, claim] : kube.claims) {
    if (claim.node != name) continue;
    claim.lost = true;
    volumes_.erase(claim.uid);
  }
  kube.machines[Uid("m")] = {};
}

// --- What an operator does
// --------------------------------------------------------------------------

std::string World::WriteStatus(uint64_t version, const PlannedStatus& status) {
  if (!kube.resource || kube.resource->version != version) return "conflict";
  const ClusterId before = kube.resource->status.cluster;
  if (before != 0 && status.cluster != before) Fail("P1: status.clusterID was changed");
  kube.resource->status = status;
  kube.resource->version = next_++;
  return "";
}

std::string World::Act(const Action& action, const Kube& cache) {
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
  if (!kube.sts) {
    kube.sts = Sts{.owner = kube.resource->uid};
  } else if (!cache.sts || cache.sts->version != kube.sts->version) {
    return "conflict";
  }
  const bool stops_all =
      a.replicas == 0 && (cache.resource->spec.replicas == 0 || cache.resource->deleting);
  if (a.replicas < kube.sts->replicas && !stops_all) {
    for (const auto& [slot, pod] : kube.pods) {
      const Directory* directory = DirectoryOf(slot);
      if (slot < a.replicas || directory == nullptr || raft() == nullptr) continue;
      // Whoever is being added, which no member may have applied yet, is a learner without data.
      if (raft()->Committed().names.contains(directory->id))
        Fail("P2: the pod of a member is scaled away");
      if (PodLives(slot) && StopsEarly(*directory)) {
        Fail("a removed member is stopped before it has ended");
      }
    }
  }
  kube.sts->replicas = a.replicas;
  kube.sts->image = cache.resource->image;
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
  if (status.cluster != 0 && status.cluster != a.cluster) Fail("P1: a second initialize");
  if (kube.resource->spec.restore) Fail("P1: initialize where a snapshot is waited for");
  if (directory->cluster != 0) return directory->cluster == a.cluster ? "" : "another cluster";
  for (const auto& [uid, other] : volumes_) {
    if (other.cluster != 0 && other.cluster != a.cluster) Fail("P1: a second cluster");
  }
  if (rafts_.contains(a.cluster)) return "";
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
  rafts_.emplace(directory->cluster, Raft({{.id = directory->id, .name = PodName("db", slot)}}));
  Note("people restore a snapshot into slot " + std::to_string(slot));
}

std::string World::ActOn(const TransferLeadership& a, const Kube&) {
  if (rafts_.empty()) return "no cluster";
  auto& [cluster, raft] = *rafts_.begin();
  if (!LiveMembers().contains(a.to)) return "not reached";
  return raft.Transfer(a.from, a.to, Live(cluster));
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
  return raft.Change(a, Live(cluster));
}

std::string World::ActOn(const DeletePod& a, const Kube&) {
  const auto found = kube.pods.find(a.slot);
  if (found == kube.pods.end() || found->second.uid != a.uid) return "not found";
  Pod& pod = found->second;
  const bool teardown = kube.resource && kube.resource->deleting;
  const Directory* directory = DirectoryOf(a.slot);
  if (raft() != nullptr && directory != nullptr && PodLives(a.slot) && !teardown) {
    const Conf& conf = raft()->Latest();
    const bool voter = conf.voters.contains(directory->id) || conf.outgoing.contains(directory->id);
    const bool serves = voter && LiveMembers().contains(directory->id);
    if (serves && conf.voters.size() > 2 && !QuorumWithout({a.slot})) {
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

std::string World::ActOn(const DeleteClaim& a, const Kube&) {
  const auto claim = kube.claims.find(a.slot);
  if (claim == kube.claims.end() || claim->second.uid != a.uid) return "not found";
  if (claim->second.member != a.member) return "holds something else";
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
