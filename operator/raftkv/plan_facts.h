// Facts: what the planner's rules ask of an observation. Derived, never stored; internal to
// op_plan.
//
// Who is where: a member of the configuration belongs to the slot whose node reports it, else to
// the one in its name, else to the one whose claim is noted to hold it. The *occupant* of a slot is
// the directory that is there now.
//
// Thread-safety: as a const value; it refers to the observation, which must outlive it.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "operator/raftkv/member_names.h"
#include "operator/raftkv/observation.h"

namespace raftkv::op {

// A learner this close to the leader's commit index is caught up (the node's own bound for a
// promotion, node/runtime).
inline constexpr uint64_t kCaughtUpEntries = 1000;
// A removed member ends by itself when those who remain have refused it, or 30 s after the first
// refusal (docs/design/membership.md, "Leaving"). One that has been silent for longer than this has
// ended, or cannot be asked.
inline constexpr int64_t kLeavingSeconds = 45;
// A node that has been lost for long by the clocks of others, and by the wall clock, is believed to
// be once its member has been silent to this operator, by the monotonic clock, for longer than what
// passes by itself: a process that starts, a connection or an operator that has just come back. Two
// looks would do for that; a clock that is wrong, or a short breakdown of what reports on nodes, is
// to cost no data.
inline constexpr int64_t kOutOfReachSeconds = 30;
// A pod of a new member that has not started after this long is worth a warning.
inline constexpr int64_t kComingSeconds = 30;
// An election among members that reach each other takes a second or two. After this long without a
// leader something keeps them from it that the answers of a quorum do not show.
inline constexpr int64_t kElectionSeconds = 30;

int Quorum(size_t voters);
// What is told of a lag when `told` was last: 0 up to kCaughtUpEntries; else what was told for as
// long as the lag is at least half of it and less than four times as much, and then the power of
// two below it. So it has to become half or twice as much before another value is written.
uint64_t ToldLag(uint64_t lag, uint64_t told);
int64_t Seconds(Duration duration);

std::string PodName(const std::string& name, int slot);
// "NAME-3" -> 3; -1 for anything else.
int SlotOfPod(const std::string& name, const std::string& pod);

// Why a member of the configuration will not come back as itself.
enum class Loss {
  kNone,
  kDataGone,  // another directory is in its slot
  kDamaged,   // it says itself that its disk is corrupt
  // Its volume is lost and no pod of it has a node; or it is out of reach with its node; or it is
  // silent for too long, and its volume is lost or it is a learner.
  kUnreachable,
};

class Facts {
 public:
  explicit Facts(const Observation& seen);

  const Observation& seen;
  const ClusterSpec& spec;

  // The configuration; nullptr while no member answers.
  const Membership* config() const { return seen.membership ? &*seen.membership : nullptr; }
  bool has_leader() const { return config() != nullptr && config()->leader != 0; }

  // How many members there are to be: the target that a running change of size was begun with, or
  // what the spec asks for; the present size when it asks for none.
  int target() const { return target_; }
  // Slots below this are needed: for the target, and for every member of the configuration.
  int needed_slots() const;

  // Slots.
  const SlotView& slot(int slot) const;
  int slot_count() const;  // one more than the highest that has a pod or a claim, or is wanted
  MemberId Occupant(int slot) const;
  bool InConfig(MemberId member) const;
  bool Removed(MemberId member) const;
  bool VoterIn(int slot) const;
  bool MemberIn(int slot) const;
  MemberId LearnerIn(int slot) const;  // 0: none
  // A member that is there takes part, or the leader hears of it.
  bool AliveIn(int slot) const;
  // A blank node that answers and is in no configuration.
  bool Blank(int slot) const;
  // A node answers that is not blank and that the cluster neither has nor removed.
  bool Stranger(int slot) const;
  // Its node has been lost for longer than spec.replacement.after, and it has been silent for
  // kOutOfReachSeconds.
  bool OutOfReach(int slot) const;
  bool SilentForLong(int slot, int64_t seconds) const;
  // No process of a former member runs there: it ended by itself, never began, or is gone. One that
  // reports REMOVED still votes (docs/design/membership.md, "Leaving").
  bool Ended(int slot) const;
  // Its claim has what onScaleDown: Retain keeps, the data of a member that left whole, as far as
  // anybody knows.
  bool Retained(int slot) const;

  // Members.
  int SlotOf(MemberId member) const;  // -1: none
  bool IsVoter(MemberId member) const;
  // The leader hears of it (or it leads).
  bool Active(MemberId member) const;
  // Active, and its log is close to the leader's, this configuration included.
  bool CaughtUp(MemberId member) const;
  // Its node answers, and says that it takes part.
  bool TakesPart(MemberId member) const;
  uint64_t Lag(MemberId member) const;
  // nullopt: there is no leader that would know, it has not heard from it, or it is no member.
  std::optional<uint64_t> LagToTell(MemberId member) const;
  Loss LossOf(MemberId member) const;
  // Somebody deletes its claim while its pod uses it: the data stay as long as the pod does.
  bool ClaimGoes(MemberId member) const;

  // So many voters answer, of both halves of the configuration, that they can elect a leader. False
  // while no member answers.
  bool QuorumAnswers() const;
  // Live voters are a quorum of `voters`.
  bool HaveQuorum(const std::set<MemberId>& voters) const;
  // From the voters in force to `voters` and no quorum is missing before or after.
  bool SafeChange(const std::set<MemberId>& voters) const;
  bool SafeWithout(MemberId voter) const;

  MemberView View(int slot) const;  // of the occupant: name and address
  // Another pod than that of `slot` is going or coming: one at a time (P6).
  bool AnotherPodMoves(int slot) const;

 private:
  int FindTarget() const;

  int target_ = 0;
};

// Slots below this have pods, or are to have some: before there is a cluster, all up to the highest
// claim that may hold one. What they mount has to be known.
int SlotsToLookAt(const Facts& facts);

}  // namespace raftkv::op
