// The members: their processes, directories, and what they answer.

#include <algorithm>

#include "base/hex_id.h"
#include "operator/raftkv/model_kube.h"
#include "operator/raftkv/plan_facts.h"

namespace raftkv::op::model {

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

bool World::IsFound(int slot) const {
  const Directory& directory = *DirectoryOf(slot);
  const std::string address = PeerAddress("ns", "db", PodName("db", slot));
  return std::ranges::all_of(rafts_, [&](const auto& cluster) {
    return cluster.second.Latest().Finds(directory.id, address);
  });
}

std::vector<Directory*> World::Live(ClusterId cluster) {
  std::vector<Directory*> live;
  for (const auto& [slot, pod] : kube.pods) {
    Directory* directory = PodLives(slot) ? DirectoryOf(slot) : nullptr;
    if (directory == nullptr || directory->cluster != cluster) continue;
    if (!directory->damaged && !directory->tombstone && !directory->hangs && IsFound(slot)) {
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
        !directory->tombstone && !directory->hangs && IsFound(slot)) {
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
    // Whoever cannot be found any more gets an address from a quorum alone.
    const bool lost = raft()->Latest().Finds(directory.id, FormerPeerAddress(directory.id)) &&
                      raft()->Latest().names.contains(directory.id);
    if (directory.cluster != 0 && !directory.damaged && !directory.tombstone && !lost) {
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
    MemberView view{.id = id, .name = name, .peer_address = newest->addresses.at(id)};
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

}  // namespace raftkv::op::model
