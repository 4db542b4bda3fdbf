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
  for (auto& [slot, claim] : kube.claims) claim.foreign = false;
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
  VolumeDriver();
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
    claim->second.capacity = claim->second.bytes;
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
                !volume->second.hangs && IsFound(slot);
  }
  for (const int slot : ended) RemovePod(slot);
}

void World::VolumeDriver() {
  for (auto& [slot, claim] : kube.claims) {
    if (!claim.bound || volumes_stay_small || claim.capacity >= claim.bytes) continue;
    if (random.Uniform(3) == 0) claim.capacity = claim.bytes;
  }
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

void World::Unlabel(int slot) {
  const auto claim = kube.claims.find(slot);
  // An earlier cluster on claims that do not look like ours is nobody's to find.
  const bool known = kube.resource && (kube.resource->status.cluster != 0 || raft() == nullptr);
  if (claim == kube.claims.end() || !known) return;
  claim->second.foreign = !claim->second.foreign;
  Note("fault: the claim of slot " + std::to_string(slot) +
       (claim->second.foreign ? " is not ours any more" : " is ours again"));
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

void World::HideData(int slot) {
  const auto pod = kube.pods.find(slot);
  Directory* directory = DirectoryOf(slot);
  if (directory == nullptr || directory->cluster == 0 || directory->tombstone) return;
  if (!hidden_.try_emplace(pod->second.claim_uid, *directory).second) return;
  *directory = {.id = 0x1000 + next_++};
  Note("fault: the disk of slot " + std::to_string(slot) + " is not mounted");
}

void World::BringDataBack(int slot) {
  const auto pod = kube.pods.find(slot);
  if (pod == kube.pods.end() || !hidden_.contains(pod->second.claim_uid)) return;
  const std::string& claim = pod->second.claim_uid;
  const Directory old = hidden_.at(claim);
  hidden_.erase(claim);
  const auto volume = volumes_.find(claim);
  const auto raft = rafts_.find(old.cluster);
  if (volume == volumes_.end() || raft == rafts_.end()) return;
  const bool voted_on = std::ranges::any_of(raft->second.all(), [&](const Conf& conf) {
    return conf.voters.contains(volume->second.id);
  });
  // A member that was removed meanwhile has ended, on a claim that is noted to hold another one:
  // its slot waits for people (docs/PLAN.md).
  if (voted_on || raft->second.Latest().removed.contains(old.id)) return;
  volume->second = old;
  Note("the disk of slot " + std::to_string(slot) + " is mounted: " + HexId(old.id) + " is back");
}

void World::LetBeginAnew() {
  kube.resource->status.initializing.clear();
  kube.resource->version = next_++;
  rafts_.clear();
  hidden_.clear();
  ++begun_anew_;
  Note("people let a cluster begin anew");
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

void World::RefuseFor(const std::string& action, int64_t seconds) {
  refuses_until_s[action] = now_s + seconds;
  Note("fault: the API server refuses " + action + " for " + std::to_string(seconds) + " s");
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

}  // namespace raftkv::op::model
