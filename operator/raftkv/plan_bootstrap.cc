// The first cluster of a resource: once, of blank nodes, by one call; or by people, of a snapshot.

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "base/hex_id.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

// From the resource's UID and the seed's random identity: as random as that, and the same whenever
// the planner looks. A 64-bit FNV-1a, then a finalizer (both public domain).
ClusterId NewClusterId(const std::string& uid, MemberId seed) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const char c : uid) mix(static_cast<uint8_t>(c));
  for (int shift = 0; shift < 64; shift += 8) mix(static_cast<uint8_t>(seed >> shift));
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  hash ^= hash >> 33;
  return hash == 0 ? 1 : hash;
}

std::set<ClusterId> Clusters(const Facts& facts) {
  std::set<ClusterId> clusters;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (view.report && view.report->cluster != 0) clusters.insert(view.report->cluster);
  }
  return clusters;
}

Decision Adopt(ClusterId cluster) {
  Decision decision = Wait(Operation{});
  decision.cluster = cluster;
  return decision;
}

// Something lies in a slot from an earlier life: a new cluster beside it could be mistaken for the
// old one, and its claims for our leftovers.
std::optional<Decision> OldData(const Facts& facts, const Operation& operation) {
  for (const auto& [slot, view] : facts.seen.slots) {
    const std::string claim = "data-" + PodName(facts.seen.name, slot);
    if (view.report && view.report->role == NodeReport::Role::kRemoved) {
      return Blocked(operation, "ClaimOfRemovedMember",
                     "claim " + claim +
                         " holds a member that an earlier cluster removed: delete the claim "
                         "and its pod");
    }
    // A pod that has just been started may answer yet.
    const bool may_answer = view.pod && !view.report && !view.pod->finished &&
                            !facts.SilentForLong(slot, kLeavingSeconds);
    const bool noted = view.claim && view.claim->member != 0;
    const bool answers = noted && view.report && view.report->member == view.claim->member;
    if (noted && !answers && !may_answer) {
      return Blocked(
          operation, "ClaimOfUnknownMember",
          "claim " + claim + " is noted to hold member " + HexId(view.claim->member) +
              ", which does not answer: if its data is not wanted any more, delete the claim "
              "(and its pod); if it is, give replicas back the number they had");
    }
  }
  return std::nullopt;
}

bool MayHoldData(const SlotView& view) {
  return view.claim && view.claim->bound && !view.claim->lost && !view.claim->deleting;
}

// Of those that were to be made a cluster so many have lost their data that they may have been one,
// and have acknowledged writes, before anybody wrote status.clusterID. Only the seed makes it:
// where its blank directory is there, it has not. Of the others a quorum has to have followed, and
// whoever is blank has not. Asked when nobody is silent who may know.
bool MayHaveBegun(const Facts& facts) {
  const std::vector<MemberId>& recorded = facts.seen.initializing;
  if (recorded.empty()) return false;
  std::set<MemberId> blank;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (facts.Blank(slot)) blank.insert(view.report->member);
  }
  if (blank.contains(recorded.front())) return false;
  const auto gone =
      std::ranges::count_if(recorded, [&](MemberId member) { return !blank.contains(member); });
  return gone >= Quorum(recorded.size());
}

// Nobody can tell whether the call was made, so people say whether anything is missed.
Decision InDoubt(const Facts& facts, const Operation& operation) {
  const Observation& seen = facts.seen;
  return Blocked(
      operation, "BootstrapInDoubt",
      "members " + ListIds(seen.initializing, ", ") +
          " were to be made a cluster, and so many of them have lost their data since that it may "
          "have been one, with writes that it acknowledged: if their volumes can come back, bring "
          "them back; if nothing is missed, let another one begin: kubectl -n " +
          seen.ns + " patch rkv " + seen.name +
          R"( --subresource=status --type=json -p '[{"op":"remove","path":"/status/initializing"}]')");
}

// Every claim is known to be blank, or holds nothing: a node that is silent may know a cluster to
// which blank ones belong, also while its claim is being deleted.
bool AllBlank(const Facts& facts) {
  return std::ranges::all_of(facts.seen.slots, [&](const auto& entry) {
    const std::optional<ClaimView>& claim = entry.second.claim;
    return !claim || !claim->bound || claim->lost || facts.Blank(entry.first);
  });
}

// Whoever may hold data of an earlier life is started and asked, also above the wanted number; pods
// go only when all are blank and no claim of theirs is left. With no replicas wanted at all, all
// volumes stay, and whatever they hold is found when the pods come back.
int PodsToAsk(const Facts& facts) {
  const int wanted = facts.spec.replicas;
  if (wanted == 0) return 0;
  int slots = wanted;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (MayHoldData(view)) slots = std::max(slots, slot + 1);
  }
  return AllBlank(facts) ? slots : std::max(slots, facts.seen.objects.stateful_set_replicas);
}

// A volume that is lost, or a blank one that somebody deletes, gives way to another.
std::optional<Decision> CleanVolume(const Facts& facts, int slot, const Operation& operation) {
  const std::optional<ClaimView>& claim = facts.slot(slot).claim;
  const bool goes = claim && (claim->lost || (claim->deleting && facts.Blank(slot)));
  return goes ? CleanSlot(facts, slot, operation) : std::nullopt;
}

// People give a snapshot to one of the nodes, which makes the cluster; that is seen like every
// other cluster that is there already, so that nothing here can happen twice.
Decision AwaitSnapshot(const Facts& facts, Operation operation) {
  for (int slot = 0; slot < facts.spec.replicas; ++slot) {
    std::optional<Decision> clean = CleanVolume(facts, slot, operation);
    if (clean && !std::holds_alternative<Nothing>(clean->action)) return *std::move(clean);
  }
  operation.step = FirstBlankPod(facts).empty() ? "WaitForNodes" : "WaitForSnapshot";
  return Wait(operation);
}

std::optional<Decision> DeleteBlankClaims(const Facts& facts, const Operation& operation) {
  if (!AllBlank(facts)) return std::nullopt;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (slot < facts.spec.replicas || !MayHoldData(view)) continue;
    Decision deletion =
        Do(DeleteClaim{slot, view.claim->uid, "it is blank, and not wanted", view.claim->member},
           operation);
    // Who is known to be blank is not to be missed.
    deletion.initializing.emplace();
    return deletion;
  }
  return std::nullopt;
}

}  // namespace

std::string FirstBlankPod(const Facts& facts) {
  for (int slot = 0; slot < facts.spec.replicas; ++slot) {
    if (facts.slot(slot).pod && facts.Blank(slot)) return PodName(facts.seen.name, slot);
  }
  return "";
}

namespace {

// Of the pods that are there, which are as many as are to be asked.
std::optional<Decision> Begin(const Facts& facts, Operation operation) {
  if (facts.spec.replicas == 0) return std::nullopt;
  if (std::optional<Decision> old = OldData(facts, operation)) return old;
  if (!facts.spec.restore && AllBlank(facts) && MayHaveBegun(facts)) {
    return InDoubt(facts, operation);
  }
  if (std::optional<Decision> blank = DeleteBlankClaims(facts, operation)) return blank;

  if (facts.spec.restore) return AwaitSnapshot(facts, operation);

  // A node that is silent may be the one that has been initialized.
  operation.step = "WaitForNodes";
  Initialize initialize;
  initialize.slot = -1;
  std::set<MemberId> ids;
  for (int slot = 0; slot < facts.slot_count(); ++slot) {
    const bool wanted = slot < facts.spec.replicas;
    const std::optional<ClaimView>& claim = facts.slot(slot).claim;
    // What lies there of an earlier life is asked, or gone, before a new cluster forms: its pod may
    // only not have been started yet.
    const bool holds =
        MayHoldData(facts.slot(slot)) || (claim && claim->deleting && claim->member != 0);
    if (!wanted && !facts.slot(slot).pod && !holds) continue;
    if (wanted) {
      if (auto clean = CleanVolume(facts, slot, operation)) return clean;
    }
    if (!wanted || !facts.Blank(slot) || !claim) return Wait(operation);
    const MemberView member = facts.View(slot);
    ids.insert(member.id);
    if (member.id == operation.seed) {
      initialize.slot = slot;
      initialize.members.insert(initialize.members.begin(), member);
    } else {
      initialize.members.push_back(member);
    }
  }
  if (ids.size() != initialize.members.size()) return Wait(operation);  // a directory seen twice
  if (initialize.slot < 0) {  // no seed yet, or its directory is gone and nobody knows the cluster
    initialize.slot = 0;
    operation.seed = initialize.members.front().id;
    operation.cluster = NewClusterId(facts.seen.uid, operation.seed);
  }
  initialize.cluster = operation.cluster;
  operation.step = "Initialize";
  std::vector<MemberId> members;
  for (const MemberView& member : initialize.members) members.push_back(member.id);
  Decision begin = Do(std::move(initialize), operation);
  begin.initializing = std::move(members);
  return begin;
}

}  // namespace

std::optional<Decision> PlanBootstrap(const Facts& facts) {
  const Observation& seen = facts.seen;
  if (seen.cluster != 0) return std::nullopt;
  // Its data is not ours to begin with, nor to go on with.
  if (const std::string foreign = ForeignClaims(facts); !foreign.empty()) {
    return Blocked(Continue(facts, Operation::Type::kBootstrap, ""), "ForeignObject", foreign);
  }
  // What a node reports may be somebody else's.
  const auto unknown = [](const auto& slot) {
    return slot.second.hidden_claim == HiddenClaim::kUnknown;
  };
  if (std::ranges::any_of(seen.slots, unknown)) {
    return Wait(Continue(facts, Operation::Type::kBootstrap, "WaitForClaim"));
  }
  const std::set<ClusterId> clusters = Clusters(facts);
  if (clusters.size() > 1) {
    return Blocked(
        Continue(facts, Operation::Type::kBootstrap, "ClustersDiffer"), "ClustersDiffer",
        "the nodes hold data of different clusters: keep the claims of one, delete the others and "
        "their pods");
  }
  if (!clusters.empty()) return Adopt(*clusters.begin());

  Operation operation = Continue(facts, Operation::Type::kBootstrap, "StartPods");
  operation.target = facts.spec.replicas;
  const ObjectsView& objects = seen.objects;
  const int replicas = PodsToAsk(facts);
  // Pods of a template from before are as good to begin with as none.
  const bool may_change = !objects.template_current && !Refused(facts, ApplyStatefulSet{replicas});
  if (!objects.stateful_set || may_change || objects.stateful_set_replicas != replicas) {
    return Do(may_change ? ApplyStatefulSet{replicas} : WithReplicas(facts, replicas), operation);
  }
  // Only here, where it changes no size.
  std::optional<Decision> begin = Begin(facts, operation);
  if (!begin || !TemplateRefused(facts)) return begin;
  return Beside(facts, Do(ApplyStatefulSet{replicas}, operation), *std::move(begin));
}

}  // namespace raftkv::op
