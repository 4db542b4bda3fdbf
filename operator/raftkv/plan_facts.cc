#include "operator/raftkv/plan_facts.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>

namespace raftkv::op {

int Quorum(size_t voters) { return static_cast<int>(voters / 2) + 1; }

uint64_t ToldLag(uint64_t lag, uint64_t told) {
  if (lag <= kCaughtUpEntries) return 0;
  const bool still = lag >= told / 2 && lag / 4 < told;
  return still ? told : std::bit_floor(lag);
}

int64_t Seconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

std::string PodName(const std::string& name, int slot) { return name + "-" + std::to_string(slot); }

int SlotOfPod(const std::string& name, const std::string& pod) {
  if (pod.size() < name.size() + 2 || !pod.starts_with(name) || pod[name.size()] != '-') return -1;
  int slot = -1;
  const char* end = pod.data() + pod.size();
  const auto [rest, error] = std::from_chars(pod.data() + name.size() + 1, end, slot);
  return error == std::errc() && rest == end && PodName(name, slot) == pod ? slot : -1;
}

Facts::Facts(const Observation& observation)
    : seen(observation), spec(observation.spec), target_(FindTarget()) {}

// A change of size that has taken members out is finished before a new wish is looked at: their
// pods and claims are in slots that the new wish may need. Before that nothing is lost by turning
// round.
int Facts::FindTarget() const {
  const Operation& running = seen.operation;
  const bool finishing = running.type == Operation::Type::kScale &&
                         (running.step == "WaitForLeaving" || running.step == "RemovePods" ||
                          running.step == "DeleteClaims");
  if (finishing && running.target > 0) return running.target;
  if (spec.replicas > 0) return spec.replicas;
  int present = 0;
  if (config() != nullptr) {
    for (const MemberId voter : config()->voters) present = std::max(present, SlotOf(voter) + 1);
  }
  return present;
}

int Facts::needed_slots() const {
  int needed = target_;
  if (config() != nullptr) {
    for (const auto& [id, view] : config()->members) needed = std::max(needed, SlotOf(id) + 1);
  }
  return needed;
}

const SlotView& Facts::slot(int slot) const {
  static const SlotView kEmpty;
  const auto found = seen.slots.find(slot);
  return found == seen.slots.end() ? kEmpty : found->second;
}

int Facts::slot_count() const {
  const int seen_slots = seen.slots.empty() ? 0 : seen.slots.rbegin()->first + 1;
  return std::max({seen_slots, seen.objects.stateful_set_replicas, target_});
}

MemberId Facts::Occupant(int index) const {
  const SlotView& view = slot(index);
  if (view.report && view.report->member != 0) return view.report->member;
  return view.claim ? view.claim->member : 0;
}

bool Facts::InConfig(MemberId member) const {
  return member != 0 && config() != nullptr && config()->members.contains(member);
}

bool Facts::Removed(MemberId member) const {
  return member != 0 && config() != nullptr && config()->removed.contains(member);
}

bool Facts::VoterIn(int index) const {
  if (config() == nullptr) return false;
  return std::ranges::any_of(config()->voters,
                             [&](MemberId voter) { return SlotOf(voter) == index; });
}

bool Facts::MemberIn(int index) const {
  if (config() == nullptr) return false;
  return std::ranges::any_of(config()->members,
                             [&](const auto& entry) { return SlotOf(entry.first) == index; });
}

// By the slots of members, because a slot that gives no answer now may have a claim without a note.
bool Facts::AliveIn(int index) const {
  if (config() == nullptr) return false;
  return std::ranges::any_of(config()->members, [&](const auto& entry) {
    return SlotOf(entry.first) == index && (Active(entry.first) || TakesPart(entry.first));
  });
}

MemberId Facts::LearnerIn(int index) const {
  if (config() == nullptr) return 0;
  for (const MemberId learner : config()->learners) {
    if (SlotOf(learner) == index && LossOf(learner) == Loss::kNone) return learner;
  }
  return 0;
}

bool Facts::Blank(int index) const {
  const std::optional<NodeReport>& report = slot(index).report;
  return report && report->role == NodeReport::Role::kBlank && report->member != 0 &&
         report->cluster == 0 && !InConfig(report->member) && !Removed(report->member);
}

bool Facts::Stranger(int index) const {
  const MemberId occupant = Occupant(index);
  return config() != nullptr && slot(index).report && !Blank(index) && !InConfig(occupant) &&
         !Removed(occupant);
}

bool Facts::OutOfReach(int index) const {
  const std::optional<PodView>& pod = slot(index).pod;
  const int64_t after = Seconds(spec.replacement_after);
  if (!pod || pod->node_lost_since_s == 0 || seen.now_s - pod->node_lost_since_s < after) {
    return false;
  }
  // The node of a pod that waits for one is where its volume was made, which others may reach.
  return SilentForLong(index, pod->node.empty() ? after : std::min(after, kOutOfReachSeconds));
}

bool Facts::SilentForLong(int index, int64_t seconds) const {
  const SlotView& view = slot(index);
  return !view.report && view.silent_since_s != 0 && seen.now_s - view.silent_since_s >= seconds;
}

bool Facts::Ended(int index) const {
  const SlotView& view = slot(index);
  if (!view.pod || view.pod->finished) return true;
  if (view.report) {
    return view.report->role == NodeReport::Role::kBlank ||
           view.report->role == NodeReport::Role::kDamaged;
  }
  return view.pod->node.empty() || !view.pod->waiting.empty() ||
         SilentForLong(index, kLeavingSeconds);
}

bool Facts::Retained(int index) const {
  const SlotView& view = slot(index);
  if (!view.claim || view.claim->deleting || view.claim->lost) return false;
  if (spec.on_scale_down != Retention::kRetain || !Removed(view.claim->member)) return false;
  return !view.report || view.report->role != NodeReport::Role::kDamaged;
}

int Facts::SlotOf(MemberId member) const {
  for (const auto& [index, view] : seen.slots) {
    if (view.report && view.report->member == member) return index;
  }
  if (InConfig(member)) {
    const int named = SlotOfPod(seen.name, PodOfMember(config()->members.at(member).name));
    if (named >= 0) return named;
  }
  for (const auto& [index, view] : seen.slots) {
    if (view.claim && view.claim->member == member) return index;
  }
  return -1;
}

bool Facts::IsVoter(MemberId member) const {
  return config() != nullptr &&
         (config()->voters.contains(member) || config()->voters_outgoing.contains(member));
}

bool Facts::Active(MemberId member) const {
  if (!has_leader() || !InConfig(member)) return false;
  return member == config()->leader || config()->members.at(member).active;
}

uint64_t Facts::Lag(MemberId member) const {
  if (!has_leader() || !InConfig(member) || member == config()->leader) return 0;
  const uint64_t match = config()->members.at(member).match;
  return match < config()->leader_commit ? config()->leader_commit - match : 0;
}

std::optional<uint64_t> Facts::LagToTell(MemberId member) const {
  if (!has_leader() || !InConfig(member)) return std::nullopt;
  // A new leader knows of nobody's log before it has heard from them.
  if (!Active(member) && config()->members.at(member).match == 0) return std::nullopt;
  const auto told = seen.told_lags.find(member);
  return ToldLag(Lag(member), told == seen.told_lags.end() ? 0 : told->second);
}

bool Facts::CaughtUp(MemberId member) const {
  if (!Active(member)) return false;
  if (member == config()->leader) return true;
  return config()->members.at(member).match >= config()->config_index &&
         Lag(member) <= kCaughtUpEntries;
}

bool Facts::TakesPart(MemberId member) const {
  const int index = SlotOf(member);
  if (index < 0) return false;
  const std::optional<NodeReport>& report = slot(index).report;
  if (!report || report->member != member || report->cluster != seen.cluster) return false;
  switch (report->role) {
    case NodeReport::Role::kFollower:
    case NodeReport::Role::kCandidate:
    case NodeReport::Role::kLeader:
    case NodeReport::Role::kLearner:
      return true;
    case NodeReport::Role::kBlank:
    case NodeReport::Role::kJoining:
    case NodeReport::Role::kRemoved:
    case NodeReport::Role::kDamaged:
      return false;
  }
  return false;
}

Loss Facts::LossOf(MemberId member) const {
  const int index = SlotOf(member);
  if (index < 0) return Loss::kNone;
  const SlotView& view = slot(index);
  const bool damaged = view.report && view.report->role == NodeReport::Role::kDamaged;
  if (damaged && (view.report->member == member || Occupant(index) == member)) {
    return Loss::kDamaged;
  }
  // Whoever is heard of is there, whatever a cache or a late answer says.
  if (Active(member) || TakesPart(member)) return Loss::kNone;
  const MemberId occupant = Occupant(index);
  if (occupant != 0 && occupant != member &&
      (Blank(index) || InConfig(occupant) || Removed(occupant))) {
    return Loss::kDataGone;
  }
  const bool volume_lost = view.claim && view.claim->lost;
  // A pod that has no node has no volume, and gets none. On a node its container may come back on
  // the volume that it has.
  const bool placed = view.pod && !view.pod->node.empty();
  if (volume_lost && !view.report && !placed) return Loss::kUnreachable;
  if (OutOfReach(index)) return Loss::kUnreachable;
  const int64_t after = Seconds(spec.replacement_after);
  if (!SilentForLong(index, after)) return Loss::kNone;
  // A learner has nothing that others lack: one whose pod has had its time and does not answer is
  // rather made anew. A voter's pod may be waited for by people.
  const bool useless = spec.replacement_enabled && !IsVoter(member) && view.pod &&
                       seen.now_s - view.pod->created_s >= after;
  return volume_lost || useless ? Loss::kUnreachable : Loss::kNone;
}

bool Facts::ClaimGoes(MemberId member) const {
  const int index = SlotOf(member);
  const SlotView& view = slot(index);
  return view.pod && view.claim && view.claim->deleting && Occupant(index) == member;
}

bool Facts::QuorumAnswers() const {
  if (config() == nullptr) return false;
  const auto answers = [&](const std::set<MemberId>& voters) {
    const auto count =
        std::ranges::count_if(voters, [&](MemberId voter) { return TakesPart(voter); });
    return voters.empty() || count >= Quorum(voters.size());
  };
  return answers(config()->voters) && answers(config()->voters_outgoing);
}

bool Facts::HaveQuorum(const std::set<MemberId>& voters) const {
  const auto live = std::ranges::count_if(voters, [&](MemberId voter) { return Active(voter); });
  return !voters.empty() && live >= Quorum(voters.size());
}

bool Facts::SafeChange(const std::set<MemberId>& voters) const {
  if (config() == nullptr || config()->joint()) return false;
  return HaveQuorum(config()->voters) && HaveQuorum(voters);
}

bool Facts::SafeWithout(MemberId voter) const {
  std::set<MemberId> rest = config()->voters;
  rest.erase(voter);
  return SafeChange(rest);
}

MemberView Facts::View(int index) const {
  MemberView view;
  view.id = Occupant(index);
  view.name = PodName(seen.name, index);
  view.peer_address = PeerAddress(seen.ns, seen.name, view.name);
  return view;
}

bool Facts::AnotherPodMoves(int index) const {
  for (int other = 0; other < seen.objects.stateful_set_replicas; ++other) {
    if (other == index) continue;
    const std::optional<PodView>& pod = slot(other).pod;
    // One that is deleted on a lost node may stay for long.
    const bool stuck = pod && pod->node_lost_since_s != 0 && !pod->node_gone;
    if (!pod || (pod->deleting && !stuck)) return true;
  }
  return false;
}

int SlotsToLookAt(const Facts& facts) {
  const int present = facts.seen.objects.stateful_set_replicas;
  if (facts.seen.deleting) return present;
  return facts.seen.cluster == 0 ? facts.slot_count() : std::max(present, facts.target());
}

}  // namespace raftkv::op
