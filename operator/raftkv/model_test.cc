// The model run: the planner in random histories, everything from one seed. One or two operators
// with stale caches look, write and act on a model of Kubernetes and of the members (model_kube.h),
// crash between any two calls, and meet faults and changing wishes. P1 to P6 of plan.h are checked
// at each act; when the faults stop, what the spec asks for is reached and stays (P7).
//
// RAFTKV_RANDOM_SEEDS=first-last runs others than the usual seeds; one alone
// (RAFTKV_RANDOM_SEEDS=17) prints its history.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>

#include "base/hex_id.h"
#include "operator/raftkv/model_kube.h"
#include "operator/raftkv/model_operator.h"
#include "operator/raftkv/plan.h"
#include "operator/raftkv/plan_facts.h"

namespace raftkv::op::model {
namespace {

constexpr int kUsualHistories = 2000;
constexpr const char* kRefusable[] = {
    "ApplyObjects", "ApplyStatefulSet", "ScaleStatefulSet", "ApplyDisruptionBudget",
    "MarkLeader",   "MarkClaim",        "DeletePod",        "DeleteClaim",
    "ResizeClaim"};

std::string Text(const Operation& o) {
  std::ostringstream out;
  out << static_cast<int>(o.type) << " " << o.step << " target=" << o.target << " slot=" << o.slot
      << " cluster=" << HexId(o.cluster) << " seed=" << HexId(o.seed)
      << " old=" << HexId(o.old_member) << " new=" << HexId(o.new_member) << " since=" << o.since_s
      << "/" << o.step_since_s;
  return out.str();
}

std::string Text(const PlannedStatus& s) {
  std::ostringstream out;
  out << s.observed_generation << " " << HexId(s.cluster) << " " << s.config_index << " " << s.joint
      << " " << s.leader << " " << s.voters << " " << s.learners << " " << s.ready << " "
      << s.version << " " << s.phase << "\n"
      << Text(s.operation) << "\n";
  for (const MemberStatus& m : s.members) {
    out << m.slot << " " << HexId(m.member) << " " << m.role << " " << m.lag.value_or(0) << " "
        << m.version << " " << m.healthy << " " << m.pod << " " << m.claim_uid << "\n";
  }
  for (const PlannedCondition& c : s.conditions) {
    out << c.type << " " << c.status << " " << c.reason << " " << c.message << "\n";
  }
  return out.str();
}

// One history: from nothing, through faults and wishes, to rest.
class History {
 public:
  explicit History(uint64_t seed)
      : world_(seed), a_(&world_, "A", 1), b_(&world_, "B", 2), active_(&a_) {
    world_.CreateResource();
    world_.kube.resource->spec.replicas = static_cast<int>(1 + Uniform(5));
    if (Uniform(3) == 0) world_.kube.resource->spec.on_scale_down = Retention::kRetain;
    world_.kube.resource->spec.restore = seed % 4 == 3;
    a_.Restart(world_.kube);
    b_.Restart(world_.kube);
  }

  // Empty: all rules were kept; else which one was broken.
  std::string Run() {
    const uint64_t steps = 30 + Uniform(300);
    for (uint64_t step = 0; step < steps && !world_.failed(); ++step) {
      if (Uniform(8) == 0) Wish();
      if (Uniform(12) == 0) Fault();
      if (Uniform(12) == 0) world_.BringDataBack(static_cast<int>(Uniform(5)));
      if (!HasCluster() && Uniform(10) == 0) Disturb();
      if (WaitsForSnapshot() && Uniform(10) == 0) world_.Restore(static_cast<int>(Uniform(5)));
      Go();
    }
    if (!world_.failed()) Converge();
    return world_.failure();
  }

  // These sizes, each when the one before is reached. Nothing fails but operators, whose caches are
  // as old as ever. Empty: each was one joint change of voters, from all of the old to all of the
  // new.
  std::string RunSizes(const std::vector<int>& sizes) {
    world_.kube.resource->spec.restore = false;
    world_.kube.resource->spec.on_scale_down = Retention::kDelete;
    for (const int size : sizes) {
      const size_t known = world_.raft() == nullptr ? 0 : world_.raft()->all().size();
      EditSpec("replicas " + std::to_string(size), [&](Resource* r) { r->spec.replicas = size; });
      for (int step = 0; step < 100 && !world_.failed(); ++step) Go();
      if (!world_.failed()) Settle();
      if (world_.failed()) break;
      const std::string changes = ChangesSince(known);
      const std::string wanted = known == 0 ? "" : " -> " + std::to_string(size);
      if (changes != wanted) world_.Fail("P4: not one joint change but" + changes);
    }
    return world_.failure();
  }

  // Nobody is there from the making of the cluster to the writing of its ID, and disks are lost
  // meanwhile.
  std::string RunLossAtTheBeginning() {
    world_.kube.resource->spec.restore = false;
    bool lost = false;
    for (int step = 0; step < 200 && !world_.failed(); ++step) {
      Go();
      if (lost || HasCluster() || world_.raft() == nullptr) continue;
      for (int tick = 0; tick < 20; ++tick) world_.Tick();
      for (int slot = 0; slot < 5; ++slot) {
        if (Uniform(3) != 0) world_.LoseVolume(slot);
      }
      lost = true;
    }
    if (!world_.failed()) Converge();
    return world_.failure();
  }

  const World& world() const { return world_; }
  bool quorum_lost() const { return quorum_lost_; }
  // It came to rest with a template that is refused, and then with one that is not.
  int refused_at_the_end() const { return refused_at_the_end_; }
  void CountRefusals(std::map<std::string, int>* counts) const {
    for (const Operator* op : {&a_, &b_}) {
      for (const auto& [action, count] : op->refusals()) (*counts)[action] += count;
    }
  }

 private:
  uint64_t Uniform(uint64_t n) { return world_.random.Uniform(n); }

  void Go() {
    if (Uniform(40) == 0) old_ = world_.kube;
    if (Uniform(30) == 0) TakeOver();
    world_.Tick();
    Step(&a_, &a_ == active_ || both_ > 0);
    Step(&b_, &b_ == active_ || both_ > 0);
    if (both_ > 0) --both_;
  }

  // The number of voters after each joint change but the first `known` configurations.
  std::string ChangesSince(size_t known) const {
    std::string out;
    const std::vector<Conf>& all = world_.raft()->all();
    for (size_t i = known; i < all.size(); ++i) {
      if (i > 0 && all[i].joint()) out += " -> " + std::to_string(all[i].voters.size());
    }
    return out;
  }

  void Step(Operator* op, bool runs) {
    if (Uniform(2) == 0) op->Watch(false);
    if (runs && !world_.failed()) op->Reconcile(true);
  }

  // Another operator takes over; the former one may not have noticed yet.
  void TakeOver() {
    Operator* next = active_ == &a_ ? &b_ : &a_;
    if (Uniform(2) == 0) {
      *next = Operator(&world_, next == &a_ ? "A" : "B", ++epoch_);
      next->Restart(old_.resource && Uniform(2) == 0 ? old_ : world_.kube);
      both_ = Uniform(2) == 0 ? static_cast<int>(Uniform(30)) : 0;
      active_ = next;
      world_.Note("another operator takes over");
    } else {
      active_->Restart(old_.resource ? old_ : world_.kube);
      world_.Note("the operator restarts with an old cache");
    }
  }

  bool HasCluster() const {
    return world_.kube.resource && world_.kube.resource->status.cluster != 0;
  }

  // The time before there is a cluster is short: what can go wrong with its pods and claims then.
  void Disturb() {
    switch (Uniform(4)) {
      case 0:
        return RefuseTemplate();
      case 1:
        return EditSpec("the image that works", [&](Resource* r) { r->image = 1; });
      case 2:
        return world_.Unlabel(static_cast<int>(Uniform(5)));
      default:
        return EditSpec("another size",
                        [&](Resource* r) { r->spec.replicas = static_cast<int>(1 + Uniform(5)); });
    }
  }

  void RefuseTemplate() {
    EditSpec("a template that is refused", [&](Resource* r) {
      r->image = ++images_;
      world_.refused_images.insert(images_);
    });
  }

  bool WaitsForSnapshot() {
    const std::optional<Resource>& resource = world_.kube.resource;
    return resource && resource->spec.restore && resource->status.cluster == 0;
  }

  template <class Edit>
  void EditSpec(const std::string& what, Edit edit) {
    if (!world_.kube.resource || world_.kube.resource->deleting) return;
    world_.kube.resource->unreadable = false;
    edit(&*world_.kube.resource);
    ++world_.kube.resource->generation;
    world_.kube.resource->version += 1'000'000;
    world_.Note("wish: " + what);
  }

  void Wish() {
    static constexpr int kSizes[] = {1, 1, 2, 3, 3, 3, 4, 5, 5, 7, 0};
    if (!world_.kube.resource) return world_.CreateResource();
    const int size = kSizes[Uniform(std::size(kSizes))];
    switch (Uniform(14)) {
      case 12:
        return EditSpec("a spec that cannot be read", [](Resource* r) { r->unreadable = true; });
      case 11:
        return RefuseTemplate();
      case 0:
      case 1:
      case 2:
      case 3:
        return EditSpec("replicas " + std::to_string(size),
                        [&](Resource* r) { r->spec.replicas = size; });
      case 4:
        return EditSpec("a new image", [&](Resource* r) { r->image = ++images_; });
      case 5:
        return EditSpec("a broken image", [&](Resource* r) {
          r->image = ++images_;
          world_.broken_images.insert(images_);
        });
      case 6:
        return EditSpec("the image that works", [&](Resource* r) { r->image = 1; });
      case 7:
        return EditSpec("paused", [&](Resource* r) { r->spec.paused = Uniform(2) == 0; });
      case 8:
        return EditSpec("update", [&](Resource* r) {
          r->spec.update_paused = Uniform(3) == 0;
          r->spec.strategy =
              Uniform(3) == 0 ? UpdateStrategy::kOnDelete : UpdateStrategy::kRollingUpdate;
        });
      case 9:
        return EditSpec("larger", [&](Resource* r) { r->spec.storage_bytes += 5; });
      case 10:
        return EditSpec("replacement", [&](Resource* r) {
          r->spec.replacement_enabled = Uniform(3) != 0;
          r->spec.on_scale_down = Uniform(3) == 0 ? Retention::kRetain : Retention::kDelete;
        });
      default:
        if (Uniform(6) != 0) return;
        return EditSpec("deleted", [&](Resource* r) {
          r->spec.on_delete = Uniform(2) == 0 ? Retention::kRetain : Retention::kDelete;
          r->deleting = true;
        });
    }
  }

  // Voters that are left when the directories of these slots are gone are a quorum, with one to
  // spare if the others only may be gone later.
  bool Bearable(const std::set<int>& slots) {
    if (Uniform(25) == 0 || world_.raft() == nullptr) return true;
    std::set<MemberId> intact;
    for (const auto& [slot, claim] : world_.kube.claims) {
      const Directory* directory = world_.DirectoryOf(slot);
      if (slots.contains(slot) || claim.deleting || claim.lost || directory == nullptr) continue;
      if (!directory->damaged && world_.IsFound(slot)) intact.insert(directory->id);
    }
    const Conf& conf = world_.raft()->Latest();
    return Raft::Quorum(conf.voters, intact) && Raft::Quorum(conf.outgoing, intact);
  }

  std::set<int> SlotsOn(const std::string& machine) {
    std::set<int> slots;
    for (const auto& [slot, claim] : world_.kube.claims) {
      if (claim.node == machine) slots.insert(slot);
    }
    return slots;
  }

  void Fault() {
    const int slot = static_cast<int>(Uniform(5));
    auto machine = world_.kube.machines.begin();
    std::advance(machine, Uniform(world_.kube.machines.size()));
    const std::string name = machine->first;
    switch (Uniform(16)) {
      case 15:
      case 14:
        return Bearable({slot}) ? world_.HideData(slot) : void();
      case 13:
        world_.volumes_stay_small = !world_.volumes_stay_small;
        return world_.Note("fault: volumes can grow, or not");
      case 12:
        return world_.Unlabel(slot);
      case 11:
        return world_.RefuseFor(kRefusable[Uniform(std::size(kRefusable))],
                                static_cast<int64_t>(Uniform(400)));
      case 0:
      case 1:
        return world_.Evict(slot, false);
      case 9:
        return Bearable({slot}) ? world_.LetClaimGo(slot) : void();
      case 2:
        return Bearable({slot}) ? world_.Evict(slot, true) : void();
      case 3:
        return Bearable({slot}) ? world_.LoseVolume(slot) : void();
      case 4:
        return Bearable({slot}) ? world_.Damage(slot) : void();
      case 5:
        return world_.MachineDown(name);
      case 6:
        return world_.MachineUp(name);
      case 7:
        return Uniform(4) == 0 && Bearable(SlotsOn(name)) ? world_.MachineGone(name) : void();
      case 8:
        return world_.Hang(slot);
      default:
        if (Uniform(4) == 0) {
          world_.kube.sts.reset();
          for (auto& [other, pod] : world_.kube.pods) pod.deleting = true;
          world_.Note("fault: somebody deletes the StatefulSet");
        } else if (Uniform(2) == 0) {
          world_.now_s += static_cast<int64_t>(Uniform(400));
        }
    }
  }

  // Faults stop, somebody takes broken wishes back and does what refusals say.
  void Converge() {
    world_.Note("--- the faults stop");
    for (auto& [name, machine] : world_.kube.machines) machine = {};
    world_.EndHangs();
    for (int slot = 0; slot < 7; ++slot) {
      if (Uniform(2) == 0) world_.BringDataBack(slot);
    }
    world_.volumes_stay_small = false;
    for (auto& [slot, claim] : world_.kube.claims) {
      claim.foreign = false;
    }
    if (!world_.kube.resource) world_.CreateResource();
    EditSpec("what works", [&](Resource* r) {
      if (world_.broken_images.contains(r->image)) r->image = 1;
      // With one that is in force, a template that is refused holds up nothing else.
      if (!TemplateIsRefused()) r->image = world_.refused_images.contains(r->image) ? 1 : r->image;
      r->spec.paused = r->spec.update_paused = false;
      r->spec.strategy = UpdateStrategy::kRollingUpdate;
      r->spec.replacement_enabled = true;
    });
    Settle();
    if (world_.failed() || quorum_lost_ || !world_.kube.resource || !TemplateIsRefused()) return;
    ++refused_at_the_end_;
    EditSpec("the template is taken back", [](Resource* r) { r->image = 1; });
    Settle();
  }

  // One is in force, and the spec asks for another that the API server does not take.
  bool TemplateIsRefused() const {
    const Kube& kube = world_.kube;
    return kube.resource && world_.refused_images.contains(kube.resource->image) && kube.sts &&
           kube.sts->owner == kube.resource->uid && kube.resource->status.cluster != 0 &&
           !world_.broken_images.contains(kube.sts->image);
  }

  void Settle() {
    int quiet = 0;
    for (int step = 0; step < 4000 && !world_.failed(); ++step) {
      // Whoever was to be added may not be after all, when a leader was elected that had not heard.
      if (step % 500 == 499) world_.EndHangs();
      world_.Tick();
      if (!world_.kube.resource) return;  // it was deleted
      active_->Watch(true);
      const bool busy = active_->Reconcile(false);
      if (!busy) Obey();
      if (!world_.kube.resource->deleting && !world_.QuorumPossible()) {
        if (step > 400) return LostForGood();
        continue;
      }
      quiet = !busy && Reached().empty() ? quiet + 1 : 0;
      if (quiet >= 30) return;
    }
    world_.Fail("P7: not reached: " + Reached() + "\n" + Text(active_->last().status) +
                "plan: " + ToString(active_->last().action));
  }

  // The quorum is gone with its volumes: that is said, and nothing else happens.
  void LostForGood() {
    quorum_lost_ = true;
    if (world_.kube.resource->spec.replicas == 0) return;
    for (const PlannedCondition& c : active_->last().status.conditions) {
      if (c.type == "QuorumLost" && c.status) return;
    }
    world_.Fail("the quorum is lost, and the status does not say so\n" +
                Text(active_->last().status));
  }

  // The refusals name claims that somebody has to delete, and one condition a pod that waits for a
  // snapshot.
  void Obey() {
    for (const PlannedCondition& c : active_->last().status.conditions) {
      if (c.reason == "WaitingForSnapshot") {
        for (int slot = 0; slot < world_.kube.resource->spec.replicas; ++slot) {
          if (c.message.starts_with("Pod " + PodName("db", slot) + " ")) world_.Restore(slot);
        }
      }
      if (c.type != "Degraded" || !c.status) continue;
      if (c.reason == "BootstrapInDoubt") world_.LetBeginAnew();
      const int replicas = world_.kube.resource->spec.replicas;
      if (c.reason == "ClaimGoes" && replicas < 3) {
        EditSpec("3 replicas, as told", [](Resource* r) { r->spec.replicas = 3; });
      }
      if (!c.reason.starts_with("ClaimOf")) continue;
      for (auto& [slot, claim] : world_.kube.claims) {
        if (c.message.find(" data-" + PodName("db", slot) + " ") == std::string::npos) continue;
        world_.Note("somebody deletes the claim of slot " + std::to_string(slot) + " as told");
        claim.deleting = true;
        const auto pod = world_.kube.pods.find(slot);
        if (pod != world_.kube.pods.end()) pod->second.deleting = true;
      }
    }
  }

  bool Says(const std::string& reason) const {
    return std::ranges::any_of(active_->last().status.conditions,
                               [&](const PlannedCondition& c) { return c.reason == reason; });
  }

  // Empty, or what is not as the spec asks.
  std::string Reached() {
    const Kube& kube = world_.kube;
    const Resource& resource = *kube.resource;
    const int wanted = resource.spec.replicas;
    if (resource.deleting) return "it is not deleted";
    if (!kube.sts || kube.sts->replicas != wanted) return "replicas of the StatefulSet";
    if (static_cast<int>(kube.pods.size()) != wanted) return "pods";
    const bool refused = TemplateIsRefused();
    if (refused && !Says("ApplyRefused")) return "nobody says that the template is refused";
    const Operation::Type running = active_->last().status.operation.type;
    if (running != Operation::Type::kNone && !(refused && running == Operation::Type::kRoll)) {
      return "an operation runs";
    }
    if (wanted == 0) return "";
    const Conf& conf = world_.raft()->Latest();
    if (conf.joint() || !conf.learners.empty()) return "joint, or learners";
    if (static_cast<int>(conf.voters.size()) != wanted) return "voters";
    for (const auto& [slot, pod] : kube.pods) {
      if (!pod.ready || pod.image != (refused ? kube.sts->image : resource.image))
        return "pod " + std::to_string(slot);
      if (!conf.voters.contains(world_.DirectoryOf(slot)->id))
        return "member " + std::to_string(slot);
    }
    for (const auto& [slot, claim] : kube.claims) {
      if (slot < wanted && claim.deleting) return "a claim goes";
      if (slot < wanted && claim.capacity < resource.spec.storage_bytes) return "size of a volume";
      const bool ours = claim.member == 0 || conf.removed.contains(claim.member);
      if (slot >= wanted && resource.spec.on_scale_down == Retention::kDelete && ours)
        return "a claim is left";
    }
    if (kube.min_available != Quorum(conf.voters.size())) return "disruption budget";
    if (kube.leader_pod.empty()) return "leader mark";
    const Directory* marked = world_.DirectoryOf(SlotOfPod("db", kube.leader_pod));
    if (marked == nullptr || marked->id != world_.raft()->leader()) return "mark of another";
    return "";
  }

  World world_;
  Operator a_;
  Operator b_;
  Operator* active_;
  Kube old_;
  uint64_t epoch_ = 2;
  int both_ = 0;
  int images_ = 1;
  bool quorum_lost_ = false;
  int refused_at_the_end_ = 0;
};

void Print(const World& world) {
  for (const std::string& line : world.history()) std::cout << line << "\n";
}

TEST(Model, RandomHistories) {
  uint64_t first = 1;
  uint64_t last = kUsualHistories;
  if (const char* text = std::getenv("RAFTKV_RANDOM_SEEDS")) {
    const std::string seeds = text;
    first = last = std::stoull(seeds);
    if (const size_t dash = seeds.find('-'); dash != std::string::npos) {
      last = std::stoull(seeds.substr(dash + 1));
    }
  }
  uint64_t lost = 0;
  int refused = 0;
  int given_back = 0;
  int begun_anew = 0;
  std::map<std::string, int> refusals;
  for (uint64_t seed = first; seed <= last; ++seed) {
    History history(seed);
    const std::string failure = history.Run();
    if (history.quorum_lost()) ++lost;
    refused += history.refused_at_the_end();
    given_back += history.world().addresses_given_back();
    begun_anew += history.world().begun_anew();
    history.CountRefusals(&refusals);
    if (first == last || !failure.empty()) Print(history.world());
    ASSERT_EQ(failure, "") << "seed " << seed << ": run again with RAFTKV_RANDOM_SEEDS=" << seed;
  }
  std::cout << last - first + 1 << " histories, " << lost
            << " of them ended without a quorum for good, " << refused
            << " came to rest with a template that is refused; " << given_back
            << " times a member whose data was back got its address back, " << begun_anew
            << " times people let a cluster begin anew whose beginning was in doubt; refusals by "
               "the API server:";
  for (const auto& [action, count] : refusals) std::cout << " " << action << " " << count;
  std::cout << "\n";
  if (last - first + 1 < kUsualHistories) return;
  EXPECT_GT(refused, 0);
  EXPECT_GT(given_back, 0);
  for (const char* action : kRefusable) EXPECT_GT(refusals[action], 0) << action;
}

TEST(Model, NoClusterIsBegunAnewWithoutAWord) {
  int begun_anew = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    History history(seed);
    const std::string failure = history.RunLossAtTheBeginning();
    if (!failure.empty()) Print(history.world());
    ASSERT_EQ(failure, "") << "seed " << seed;
    begun_anew += history.world().begun_anew();
  }
  EXPECT_GT(begun_anew, 0) << "times people were asked";
}

TEST(Model, AChangeOfSizeIsOneJointChange) {
  constexpr uint64_t kHistories = 40;
  constexpr int kLargest = 7;
  for (uint64_t seed = 1; seed <= kHistories; ++seed) {
    SeededRandom random(seed);
    std::vector<int> sizes{1, 3, 5, 1};
    while (sizes.size() < 12) sizes.push_back(static_cast<int>(1 + random.Uniform(kLargest)));
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    History history(seed);
    const std::string failure = history.RunSizes(sizes);
    if (!failure.empty()) Print(history.world());
    ASSERT_EQ(failure, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace raftkv::op::model
