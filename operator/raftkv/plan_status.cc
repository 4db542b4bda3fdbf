// The status: what is, in numbers and conditions. Nothing in it moves while nothing happens: lags
// are rounded, times are those of the operation.

#include <algorithm>

#include "base/hex_id.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

std::string RoleName(const Facts& facts, int slot, MemberId member) {
  if (facts.Removed(member)) return "removed";
  if (facts.InConfig(member)) {
    if (facts.config()->leader == member) return "leader";
    return facts.IsVoter(member) ? "voter" : "learner";
  }
  return slot >= 0 && facts.Blank(slot) ? "blank" : "unknown";
}

MemberStatus DescribeMember(const Facts& facts, int slot, MemberId member) {
  MemberStatus out;
  out.slot = slot;
  out.member = member;
  out.role = RoleName(facts, slot, member);
  out.lag = facts.LagToTell(member);
  out.healthy = facts.CaughtUp(member) && facts.TakesPart(member);
  if (slot < 0) return out;
  const SlotView& view = facts.slot(slot);
  const bool here = facts.Occupant(slot) == member || member == 0;
  if (view.pod && here) out.pod = view.pod->name;
  if (view.claim && here) out.claim_uid = view.claim->uid;
  if (view.report && view.report->member == member) out.version = view.report->version;
  return out;
}

// Not pods that the kubelet calls ready: those of removed members and of nodes that have died are,
// for a while. Whom the others hear of only a leader knows.
int CountReady(const Facts& facts) {
  if (facts.config() == nullptr) return 0;
  return static_cast<int>(std::ranges::count_if(facts.config()->members, [&](const auto& entry) {
    return facts.TakesPart(entry.first) && (!facts.has_leader() || facts.Active(entry.first));
  }));
}

std::vector<MemberStatus> DescribeMembers(const Facts& facts) {
  std::vector<MemberStatus> out;
  std::set<MemberId> described;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (!view.pod) continue;
    const MemberId occupant = facts.Occupant(slot);
    out.push_back(DescribeMember(facts, slot, occupant));
    described.insert(occupant);
  }
  if (facts.config() != nullptr) {
    for (const auto& [id, view] : facts.config()->members) {
      if (!described.contains(id)) out.push_back(DescribeMember(facts, facts.SlotOf(id), id));
    }
  }
  std::ranges::stable_sort(out, {}, [](const MemberStatus& member) {
    return std::pair(member.slot < 0 ? INT32_MAX : member.slot, member.member);
  });
  return out;
}

// Every voter is there and follows; not whether there are as many as the spec asks for. A change of
// the membership that a follower has not got yet is no reason to worry.
bool VotersWell(const Facts& facts) {
  if (!facts.has_leader()) return false;
  const auto well = [&](MemberId voter) {
    return facts.Active(voter) && facts.Lag(voter) <= kCaughtUpEntries &&
           (facts.SlotOf(voter) < 0 || facts.TakesPart(voter));
  };
  const Membership& config = *facts.config();
  return std::ranges::all_of(config.voters, well) &&
         std::ranges::all_of(config.voters_outgoing, well);
}

// Also while it is to wake and its StatefulSet has not got its size back: nobody is missed. One
// that somebody else has emptied is no sleep.
bool Asleep(const Facts& facts, const Operation& operation) {
  const ObjectsView& objects = facts.seen.objects;
  if (objects.stateful_set_replicas != 0) return false;
  const bool wakes = objects.stateful_set && operation.type == Operation::Type::kWake;
  return facts.spec.replicas == 0 || wakes;
}

// Both, or the one that says something.
std::string Sentences(std::string first, const std::string& second) {
  if (!first.empty() && !second.empty()) first += ' ';
  return std::move(first) + second;
}

// Whatever rule decides: the later ones have not been asked.
bool StillWanted(const Facts& facts, const Decision& decision, const std::string& key) {
  const ObjectsView& objects = facts.seen.objects;
  if (key == RefusalKey(decision.action)) return true;
  if (std::ranges::find(decision.held, key) != decision.held.end()) return true;
  if (facts.seen.deleting) return false;
  if (key == RefusalKey(ApplyObjects{})) return !objects.others_current;
  if (key == RefusalKey(ApplyStatefulSet{})) return !objects.template_current;
  const int budget = WantedMinAvailable(facts);
  return key == RefusalKey(ApplyDisruptionBudget{budget}) && objects.min_available != budget;
}

// That a claim is to be larger: CannotGrow says so.
bool OfAResize(const Facts& facts, const std::string& key) {
  return std::ranges::any_of(facts.seen.slots, [&](const auto& entry) {
    const std::optional<ResizeClaim> resize = Resize(facts, entry.first);
    return resize && key == RefusalKey(*resize);
  });
}

// Empty: the API server refuses nothing that is wanted.
std::string RefusedNow(const Facts& facts, const Decision& decision) {
  std::string out;
  for (const auto& [key, refusal] : facts.seen.refusals) {
    if (OfAResize(facts, key) || !StillWanted(facts, decision, key)) continue;
    out += (out.empty() ? "" : " ") + ("The API server refuses " + refusal.message);
    if (!out.ends_with('.')) out += '.';
  }
  if (out.empty()) return out;
  return out + " It is tried again when the spec changes, and from time to time.";
}

// Nothing else is left to be done.
bool WaitsForConsent(const Facts& facts, const Decision& decision) {
  return decision.at_rest && !decision.held.empty() && !RefusedNow(facts, decision).empty();
}

// All that is left of a roll are pods on somebody else's claims; empty: there is more to do.
std::string HoldsRoll(const Facts& facts, const Decision& decision, const Operation& operation) {
  const bool rests = operation.type == Operation::Type::kRoll && decision.at_rest;
  return rests ? ForeignClaims(facts) : "";
}

// Why volumes do not become as large as the spec asks; empty: nobody says that they do not.
std::string CannotGrow(const Facts& facts) {
  std::string out;
  const auto add = [&](const std::string& text) {
    out += (out.empty() ? "" : " ") + text + (text.ends_with('.') ? "" : ".");
  };
  for (const auto& [key, refusal] : facts.seen.refusals) {
    if (!facts.seen.deleting && OfAResize(facts, key)) {
      add("The API server refuses " + refusal.message);
    }
  }
  for (const auto& [slot, view] : facts.seen.slots) {
    if (!Grows(facts, slot) || view.claim->cannot_grow.empty()) continue;
    add("Claim data-" + PodName(facts.seen.name, slot) +
        " does not grow: " + view.claim->cannot_grow);
  }
  return out;
}

// So many are lost for good that no quorum can come back.
bool GoneForGood(const Facts& facts, const std::set<MemberId>& voters) {
  const auto lost = std::ranges::count_if(
      voters, [&](MemberId voter) { return facts.LossOf(voter) != Loss::kNone; });
  return !voters.empty() && static_cast<int>(voters.size()) - lost < Quorum(voters.size());
}

std::string HowManyAreSilent(const Facts& facts) {
  std::set<MemberId> voters = facts.config()->voters;
  voters.insert(facts.config()->voters_outgoing.begin(), facts.config()->voters_outgoing.end());
  const auto silent =
      std::ranges::count_if(voters, [&](MemberId voter) { return !facts.TakesPart(voter); });
  return std::to_string(silent) + " of " + std::to_string(voters.size()) + " voters do not answer";
}

bool AllBlank(const Facts& facts) {
  int blank = 0;
  for (int slot = 0; slot < facts.seen.objects.stateful_set_replicas; ++slot) {
    if (!facts.Blank(slot)) return false;
    ++blank;
  }
  return blank > 0;
}

// One that people can act on, if the cluster is to be made of a snapshot.
PlannedCondition Bootstrapping(const Facts& facts, const Operation& operation) {
  const char* type = "Available";
  if (operation.step != "WaitForSnapshot") {
    return {type, false, "Bootstrapping", "The cluster has not been formed yet."};
  }
  const std::string pod = FirstBlankPod(facts);
  return {type, false, "WaitingForSnapshot",
          "Pod " + pod + " is blank and waits for a snapshot: kubectl -n " + facts.seen.ns +
              " port-forward pod/" + pod +
              " 7072:7072, and raftkvctl --admin-endpoints 127.0.0.1:7072 snapshot restore FILE. "
              "To one pod only: the others follow by themselves."};
}

PlannedCondition Available(const Facts& facts, const Operation& operation,
                           const PlannedCondition& quorum_lost) {
  const char* type = "Available";
  if (facts.seen.deleting) return {type, false, "Deleting", quorum_lost.message};
  if (facts.has_leader()) {
    if (Healthy(facts)) return {type, true, "QuorumHealthy", "Every member takes part."};
    return {type, true, "QuorumAvailable",
            "A quorum serves; not every member that is asked for takes part."};
  }
  if (quorum_lost.status) {
    const bool unreachable = quorum_lost.reason == "ClusterUnreachable";
    return {type, false, unreachable ? "ClusterUnreachable" : "QuorumLost", quorum_lost.message};
  }
  if (quorum_lost.reason == "Electing") return {type, false, "NoLeader", quorum_lost.message};
  if (quorum_lost.reason == "Hibernated") return {type, false, "Hibernated", quorum_lost.message};
  return Bootstrapping(facts, operation);
}

bool PastDeadline(const Facts& facts, const Operation& operation) {
  return operation.step_since_s != 0 &&
         facts.seen.now_s - operation.step_since_s >= Seconds(facts.spec.progress_deadline);
}

// Pods that answer and go all the same, but whose node cannot say so: nobody but people can know
// whether the process is gone with it.
std::string Hanging(const Facts& facts) {
  std::string out;
  for (const auto& [slot, view] : facts.seen.slots) {
    const std::optional<PodView>& pod = view.pod;
    if (!pod || !pod->deleting || pod->node_lost_since_s == 0 || !view.report) continue;
    out += " Pod " + pod->name + " answers and is being deleted, but its node " + pod->node +
           " is lost: end it there, then delete the pod by force.";
  }
  return out;
}

PlannedCondition Progressing(const Facts& facts, const Decision& decision,
                             const Operation& operation, const PlannedCondition& quorum_lost) {
  const char* type = "Progressing";
  if (facts.spec.paused) return {type, false, "Paused", "spec.paused is true."};
  if (!decision.blocked.empty()) return {type, false, decision.blocked, decision.blocked_message};
  if (WaitsForConsent(facts, decision)) {
    return {type, false, "ApplyRefused", RefusedNow(facts, decision)};
  }
  if (operation.type == Operation::Type::kNone && quorum_lost.status) {
    return {type, false, "QuorumLost", "Nothing can be done without a quorum."};
  }
  if (operation.type == Operation::Type::kNone && !facts.seen.spec_error.empty()) {
    return {type, false, "InvalidSpec", InvalidSpec(facts)};
  }
  if (operation.type == Operation::Type::kNone) {
    return {type, false, "Reconciled", "Nothing is left to be done."};
  }
  if (operation.type == Operation::Type::kResize) {
    const std::string small = CannotGrow(facts);
    if (!small.empty()) return {type, false, "VolumeCannotGrow", small};
  }
  if (const std::string foreign = HoldsRoll(facts, decision, operation); !foreign.empty()) {
    return {type, false, "ForeignObject", foreign};
  }
  const std::string what =
      OperationName(operation.type) + ": " + operation.step +
      (operation.slot >= 0 ? " (slot " + std::to_string(operation.slot) + ")" : "");
  const std::string hanging = Hanging(facts);
  if (PastDeadline(facts, operation)) {
    return {type, false, "DeadlineExceeded",
            what + " takes longer than progressDeadlineSeconds." + hanging};
  }
  return {type, true, OperationName(operation.type), what + (hanging.empty() ? "" : ".") + hanging};
}

// A pod for a new member that is not asked for yet, or has had no time to find a node and a volume,
// to get its image and to start.
bool IsComing(const Facts& facts, const Operation& operation, int slot) {
  if (facts.VoterIn(slot) || operation.type == Operation::Type::kReplace) return false;
  const std::optional<PodView>& pod = facts.slot(slot).pod;
  if (!pod && slot >= facts.seen.objects.stateful_set_replicas) return true;
  const int64_t since_s = pod ? pod->created_s : operation.step_since_s;
  return facts.seen.now_s - since_s < kComingSeconds;
}

// All pods were made together just now: the cluster begins, or wakes.
bool AllBegin(const Facts& facts) {
  const int slots = facts.seen.objects.stateful_set_replicas;
  for (int slot = 0; slot < slots; ++slot) {
    const std::optional<PodView>& pod = facts.slot(slot).pod;
    if (!pod || facts.seen.now_s - pod->created_s >= kComingSeconds) return false;
  }
  return slots > 0;
}

// One sentence for each pod that does not do what it should. With `silence`, also for those of
// which no more is known than that they do not answer.
std::string Complaints(const Facts& facts, const Operation& operation, bool silence) {
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
  if (facts.seen.objects.stateful_set_deleting) {
    add("StatefulSet " + facts.seen.name + " is being deleted; it is made again when it is gone.");
  }
  for (int slot = 0; slot < facts.needed_slots(); ++slot) {
    if (IsComing(facts, operation, slot)) continue;
    const SlotView& view = facts.slot(slot);
    const std::string pod = "Pod " + PodName(facts.seen.name, slot);
    if (view.claim && view.claim->lost) {
      add("The claim of pod " + PodName(facts.seen.name, slot) + " has lost its volume.");
    } else if (!view.pod) {
      add(pod + " does not exist; if it does not come, the events of StatefulSet " +
          facts.seen.name + " say why.");
    } else if (view.pod->node_lost_since_s != 0) {
      add(pod + ": its node is lost.");
    } else if (view.pod->unschedulable) {
      add(pod + " cannot be scheduled.");
    } else if (!view.pod->waiting.empty()) {
      add(pod + " cannot start: " + view.pod->waiting + ".");
    } else if (view.report && view.report->role == NodeReport::Role::kDamaged) {
      const auto& warnings = view.report->warnings;
      add(pod + " says that its data is damaged" +
          (warnings.empty() ? "." : ": " + warnings.front()));
    } else if (view.report && view.report->cluster != 0 &&
               view.report->cluster != facts.seen.cluster) {
      add(pod + " holds data of another cluster.");
    } else if (facts.Stranger(slot)) {
      add(pod + " holds member " + HexId(facts.Occupant(slot)) +
          ", which this cluster does not know.");
    } else if (facts.MemberIn(slot) && facts.Blank(slot)) {
      add(pod + " is blank where a member was.");
    } else if (silence && !view.report && (facts.config() == nullptr || facts.MemberIn(slot))) {
      add(pod + " does not answer.");
    }
  }
  return out;
}

// Whose snapshot loses the least, of those that answer.
std::string NewestState(const Facts& facts) {
  int newest = -1;
  uint64_t index = 0;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (!view.report || !facts.TakesPart(view.report->member)) continue;
    if (newest >= 0 && view.report->applied_index <= index) continue;
    newest = slot;
    index = view.report->applied_index;
  }
  if (newest < 0) return "";
  return " Of those that answer, pod " + PodName(facts.seen.name, newest) +
         " has the newest state (index " + std::to_string(index) + ").";
}

PlannedCondition QuorumLost(const Facts& facts, const Operation& operation) {
  const char* type = "QuorumLost";
  // Members that end because somebody wants it are not missed.
  if (facts.seen.deleting) return {type, false, "Deleting", "The cluster is being deleted."};
  if (facts.seen.cluster == 0) return {type, false, "NotBootstrapped", "There is no cluster yet."};
  if (Asleep(facts, operation))
    return {type, false, "Hibernated", "replicas is 0: the pods are gone, the volumes stay."};
  if (facts.has_leader()) return {type, false, "QuorumPresent", "A leader is known."};
  const auto lost = [&](const char* reason, const std::string& message) {
    const std::string pods = Complaints(facts, operation, true);
    return PlannedCondition{type, true, reason, Sentences(message, pods)};
  };
  const char* recover =
      " Nothing is done about it automatically: see RaftKVQuorumLost in docs/runbooks.md.";
  if (facts.config() == nullptr) {
    if (AllBlank(facts)) {
      return lost("DataLost", std::string("All nodes are blank: the data is gone.") + recover);
    }
    return lost("ClusterUnreachable", "No member answers.");
  }
  const Membership& config = *facts.config();
  if (GoneForGood(facts, config.voters) || GoneForGood(facts, config.voters_outgoing)) {
    return lost("DataLost",
                std::string("Too many members have lost their data or are out of reach.") +
                    recover + NewestState(facts));
  }
  if (!facts.QuorumAnswers()) {
    return lost("MembersDown",
                HowManyAreSilent(facts) + ", which leaves no quorum; they may come back.");
  }
  if (facts.seen.leaderless_since_s != 0 &&
      facts.seen.now_s - facts.seen.leaderless_since_s >= kElectionSeconds) {
    return lost("ElectionsFail",
                "A quorum answers, and has elected no leader for a while: members do not reach "
                "each other, or wait for others that a membership change needs.");
  }
  return {type, false, "Electing", "A quorum answers, and no leader is known yet."};
}

// The voters that do not take part or have not caught up, where nothing worse is known of any.
std::string Stragglers(const Facts& facts) {
  if (facts.config() == nullptr || !facts.has_leader()) return "No leader is known.";
  std::string silent;
  std::string behind;
  for (const MemberId voter : facts.config()->voters) {
    const int slot = facts.SlotOf(voter);
    const std::string name = slot < 0 ? HexId(voter) : PodName(facts.seen.name, slot);
    const bool answers = facts.Active(voter) && (slot < 0 || facts.TakesPart(voter));
    if (answers && facts.Lag(voter) <= kCaughtUpEntries) continue;
    std::string& list = answers ? behind : silent;
    list += (list.empty() ? "" : ", ") + name;
  }
  std::string out;
  if (!silent.empty()) out = "Does not answer: " + silent + ".";
  if (!behind.empty()) out += (out.empty() ? "" : " ") + ("Has not caught up: " + behind + ".");
  return out.empty() ? "Fewer members take part than are asked for." : out;
}

// A learner for which an operation has waited past its deadline; nullopt: there is none.
std::optional<PlannedCondition> LateLearner(const Facts& facts, const Operation& operation) {
  if (operation.step != "CatchUp" || !PastDeadline(facts, operation) || !facts.has_leader()) {
    return std::nullopt;
  }
  std::optional<PlannedCondition> late;
  for (const MemberId learner : facts.config()->learners) {
    const int slot = facts.SlotOf(learner);
    if (slot < 0 || (facts.CaughtUp(learner) && facts.TakesPart(learner))) continue;
    const std::string pod = "Pod " + PodName(facts.seen.name, slot);
    if (!facts.TakesPart(learner)) {
      return PlannedCondition{
          "Degraded", true, "LearnerSilent",
          pod + " holds a learner and does not answer." +
              (facts.spec.replacement_enabled ? " It is replaced after spec.replacement.after."
                                              : " spec.replacement.enabled is false.")};
    }
    if (late) continue;
    late = PlannedCondition{"Degraded", true, "LearnerBehind",
                            pod +
                                " holds a learner that does not catch up (its lag is in "
                                "status.members): look at its disk, at the network to it and at "
                                "its log; deleting its claim and the pod begins anew."};
  }
  return late;
}

// A voter whose claim somebody deletes while it runs; nullopt: there is none.
std::optional<PlannedCondition> GoingClaim(const Facts& facts) {
  if (facts.config() == nullptr) return std::nullopt;
  for (const MemberId voter : facts.config()->voters) {
    if (!facts.ClaimGoes(voter)) continue;
    std::string message = "The claim of pod " + PodName(facts.seen.name, facts.SlotOf(voter)) +
                          " is being deleted, and its data goes with the pod.";
    if (!facts.spec.replacement_enabled) {
      message += " spec.replacement.enabled is false.";
    } else if (facts.SafeWithout(voter)) {
      message += " The member is replaced.";
    } else {
      message += " The others are not enough to go on without it: bring them back, or scale up.";
    }
    return PlannedCondition{"Degraded", true, "ClaimGoes", message};
  }
  return std::nullopt;
}

PlannedCondition Degraded(const Facts& facts, const Decision& decision, const Operation& operation,
                          const PlannedCondition& quorum_lost) {
  const char* type = "Degraded";
  if (!decision.blocked.empty()) return {type, true, decision.blocked, decision.blocked_message};
  if (quorum_lost.status) {
    // It may be why there is none.
    return {type, true, "QuorumLost", Sentences(quorum_lost.message, RefusedNow(facts, decision))};
  }
  // First what cannot wait.
  if (auto going = GoingClaim(facts)) {
    going->message = Sentences(going->message, RefusedNow(facts, decision));
    return *std::move(going);
  }
  if (const std::string wrong = InvalidSpec(facts); !wrong.empty()) {
    return {type, true, "InvalidSpec", Sentences(wrong, Complaints(facts, operation, false))};
  }
  if (const std::string refused = RefusedNow(facts, decision); !refused.empty()) {
    return {type, true, "ApplyRefused", Sentences(refused, Complaints(facts, operation, false))};
  }
  if (const std::string foreign = ForeignClaims(facts); !foreign.empty()) {
    return {type, true, "ForeignObject", foreign};
  }
  if (const std::string small = CannotGrow(facts); !small.empty()) {
    return {type, true, "VolumeCannotGrow", Sentences(small, Complaints(facts, operation, false))};
  }
  if (auto late = LateLearner(facts, operation)) return *std::move(late);
  std::string message = Complaints(facts, operation, false);
  // Fewer voters than are asked for are a wish that is not fulfilled yet, unless one was lost.
  const bool well = (VotersWell(facts) || AllBegin(facts)) && message.empty() &&
                    operation.type != Operation::Type::kReplace;
  if (facts.seen.cluster == 0 || Asleep(facts, operation) || Healthy(facts) || well ||
      facts.seen.deleting) {
    return {type, false, "AsExpected", "Nothing is known to be wrong."};
  }
  if (message.empty()) message = Stragglers(facts);
  const bool lost =
      facts.config() != nullptr && std::ranges::any_of(facts.config()->voters, [&](MemberId voter) {
        return facts.LossOf(voter) != Loss::kNone;
      });
  if (lost && !facts.spec.replacement_enabled) {
    return {type, true, "ReplacementDisabled", message + " spec.replacement.enabled is false."};
  }
  return {type, true, lost ? "MemberLost" : "MembersDown", message};
}

std::string Phase(const Facts& facts, const Decision& decision, const PlannedStatus& status) {
  if (facts.seen.deleting) return "Deleting";
  if (facts.spec.paused) return "Paused";
  if (!decision.blocked.empty()) return "Blocked";
  for (const PlannedCondition& condition : status.conditions) {
    if (condition.type == "QuorumLost" && condition.status &&
        status.operation.type != Operation::Type::kWake &&
        status.operation.type != Operation::Type::kHibernate) {
      return "QuorumLost";
    }
  }
  // An operation that waits for the API server's consent goes on with nothing.
  const bool small = !CannotGrow(facts).empty();
  const bool held =
      decision.at_rest && status.cluster != 0 &&
      (WaitsForConsent(facts, decision) || !HoldsRoll(facts, decision, status.operation).empty() ||
       (small && status.operation.type == Operation::Type::kResize));
  switch (held ? Operation::Type::kNone : status.operation.type) {
    case Operation::Type::kBootstrap:
      return "Bootstrapping";
    case Operation::Type::kScale:
      return "Scaling";
    case Operation::Type::kReplace:
      return "Replacing";
    case Operation::Type::kRoll:
      return "Rolling";
    case Operation::Type::kHibernate:
      return "Hibernating";
    case Operation::Type::kWake:
      return "Waking";
    case Operation::Type::kResize:
      return "Resizing";
    case Operation::Type::kDelete:
      return "Deleting";
    case Operation::Type::kNone:
      break;
  }
  if (Asleep(facts, status.operation)) return "Hibernated";
  if (status.cluster == 0) return "Bootstrapping";
  const bool well = RefusedNow(facts, decision).empty() && ForeignClaims(facts).empty() &&
                    facts.seen.spec_error.empty() && !small;
  return Healthy(facts) && well ? "Available" : "Degraded";
}

Operation WithTimes(const Facts& facts, Operation next) {
  const Operation& before = facts.seen.operation;
  if (next.type == Operation::Type::kNone) return Operation{};
  const bool same = before.type == next.type;
  next.since_s = same && before.since_s != 0 ? before.since_s : facts.seen.now_s;
  const bool same_step = same && before.step == next.step && before.slot == next.slot;
  next.step_since_s =
      same_step && before.step_since_s != 0 ? before.step_since_s : facts.seen.now_s;
  return next;
}

// Something is made ready for an operation that has not begun: a generation that counted as seen
// now would be one that nothing is left to do for.
bool Preparing(const Facts& facts, const Decision& decision) {
  return facts.has_leader() && decision.operation.type == Operation::Type::kNone &&
         !decision.at_rest && decision.blocked.empty() && !facts.spec.paused &&
         !facts.seen.deleting;
}

}  // namespace

bool Healthy(const Facts& facts) {
  if (!facts.has_leader() || facts.config()->joint()) return false;
  const std::set<MemberId>& voters = facts.config()->voters;
  return static_cast<int>(voters.size()) >= facts.target() &&
         std::ranges::all_of(voters, [&](MemberId voter) {
           return facts.CaughtUp(voter) && (facts.SlotOf(voter) < 0 || facts.TakesPart(voter));
         });
}

PlannedStatus MakeStatus(const Facts& facts, const Decision& decision) {
  PlannedStatus status;
  status.observed_generation =
      Preparing(facts, decision) ? facts.seen.observed_generation : facts.seen.generation;
  status.cluster = facts.seen.cluster != 0 ? facts.seen.cluster : decision.cluster;
  if (const Membership* config = facts.config()) {
    status.config_index = config->config_index;
    status.joint = config->joint();
    status.voters = static_cast<int>(config->voters.size());
    status.learners = static_cast<int>(config->learners.size());
    const int leader = facts.has_leader() ? facts.SlotOf(config->leader) : -1;
    if (leader >= 0) {
      status.leader = PodName(facts.seen.name, leader);
      if (facts.slot(leader).report) status.version = facts.slot(leader).report->version;
    }
  }
  status.ready = CountReady(facts);
  status.members = DescribeMembers(facts);
  status.operation = WithTimes(facts, decision.operation);
  if (status.cluster == 0) {
    status.initializing = decision.initializing.value_or(facts.seen.initializing);
  }
  const PlannedCondition quorum_lost = QuorumLost(facts, status.operation);
  status.conditions = {
      Available(facts, status.operation, quorum_lost),
      Progressing(facts, decision, status.operation, quorum_lost),
      Degraded(facts, decision, status.operation, quorum_lost),
      quorum_lost,
      {"Paused", facts.spec.paused, facts.spec.paused ? "Paused" : "NotPaused",
       facts.spec.paused ? "spec.paused is true: only the status is kept up."
                         : "The operator acts."},
  };
  status.phase = Phase(facts, decision, status);
  return status;
}

}  // namespace raftkv::op
