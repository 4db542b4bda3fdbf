// The search for an order of a store's operations, one revision after the other.
#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "tests/linearizability/config_set.h"
#include "tests/linearizability/describe.h"
#include "tests/linearizability/event_list.h"
#include "tests/linearizability/store_gaps.h"
#include "tests/linearizability/store_problem.h"
#include "tests/linearizability/store_stale.h"
#include "tests/linearizability/store_state.h"

namespace raftkv::linearizability {
namespace {

std::vector<Interval> IntervalsOf(const StoreProblem& problem) {
  std::vector<Interval> intervals;
  for (const PreparedOp& op : problem.ops) intervals.push_back(op.interval);
  return intervals;
}

// What has to have its place in the order.
std::vector<size_t> OrderedOps(const StoreProblem& problem) {
  std::vector<size_t> ops;
  for (size_t op = 0; op < problem.ops.size(); ++op) {
    const Role role = problem.ops[op].role;
    if (role == Role::kWrite || role == Role::kFreeWrite || role == Role::kRead) ops.push_back(op);
  }
  return ops;
}

class OrderSearch {
 public:
  OrderSearch(const StoreProblem& problem, const Gaps& gaps, Budget* budget)
      : problem_(problem),
        gaps_(gaps),
        budget_(budget),
        intervals_(IntervalsOf(problem)),
        events_(intervals_, OrderedOps(problem)),
        taken_(problem.ops.size()),
        seen_(budget),
        state_(InitialState(problem)) {
    for (size_t op = 0; op < problem.ops.size(); ++op) {
      const PreparedOp& prepared = problem.ops[op];
      if (prepared.held_at != 0) continue;
      if (prepared.role == Role::kRead) floating_.push_back(op);
      has_loose_stale_reads_ |= prepared.role == Role::kStaleRead;
      if (prepared.role == Role::kRead || prepared.role == Role::kStaleRead ||
          prepared.role == Role::kFreeWrite) {
        useful_keys_.insert(prepared.key);
      }
    }
    NoteWhoIsWanted();
    floating_.insert(floating_.end(), gaps.writes().begin(), gaps.writes().end());
    for (const size_t op : gaps.writes()) free_keys_.push_back(problem.ops[op].key);
    std::ranges::sort(free_keys_);
    free_keys_.erase(std::ranges::unique(free_keys_).begin(), free_keys_.end());
  }

  Finding Run() {
    Verdict verdict = Search();
    // For stale reads that do not tell their revision the way to a configuration matters, too: what
    // was left out because it had been tried could have fitted them.
    if (verdict == Verdict::kNotLinearizable && stale_reads_misfit_) {
      remembers_ = false;
      verdict = Search();
    }
    return Finish(verdict);
  }

 private:
  // A state before a write, and the writes that may come.
  struct Frame {
    std::vector<size_t> candidates;
    size_t next = 0;
    size_t order_size = 0;
    size_t changed_key = 0;
    KeyState before;  // of changed_key, while a candidate is being tried
    bool is_trying = false;
  };

  Verdict Search() {
    if (!FactsHold()) return Verdict::kNotLinearizable;
    while (true) {
      TakeReads();
      if (IsComplete() && StaleReadsFit()) return Verdict::kLinearizable;
      // A stale read may have seen a write of unknown outcome that comes after all others.
      frames_.push_back(Choose());
      if (!GoOn()) {
        return budget_->reached().empty() ? Verdict::kNotLinearizable : Verdict::kUnknown;
      }
    }
  }

  void NoteWhoIsWanted() {
    wanted_until_.resize(problem_.ops.size());
    for (const auto& [revision, evidence] : problem_.evidence) {
      if (revision <= state_.revision || problem_.writer.contains(revision)) continue;
      if (std::ranges::none_of(evidence, [](const Evidence& each) { return each.value; })) continue;
      for (const size_t op : gaps_.CandidatesFor(revision)) {
        wanted_until_[op] = std::max(wanted_until_[op], revision);
      }
    }
  }

  // --- Taking operations into the order ---

  void Take(size_t op) {
    if (problem_.ops[op].role != Role::kOpenWrite) events_.TakeOut(op);
    taken_[op] = true;
    order_.push_back(op);
    const PreparedOp& prepared = problem_.ops[op];
    const bool tells_time =
        prepared.role != Role::kRead || (prepared.held_at != 0 && problem_.op(op).at_revision == 0);
    latest_call_.push_back(tells_time ? std::max(LatestCall(), problem_.op(op).call)
                                      : LatestCall());
  }

  // Of the operations taken, as CheckStaleReads counts them: the present revision is no older.
  int64_t LatestCall() const {
    return latest_call_.empty() ? std::numeric_limits<int64_t>::min() : latest_call_.back();
  }

  void GiveBack() {
    const size_t op = order_.back();
    order_.pop_back();
    latest_call_.pop_back();
    taken_[op] = false;
    if (problem_.ops[op].role != Role::kOpenWrite) events_.PutBack(op);
  }

  bool IsComplete() const {
    return events_.ending() == 0 && state_.revision >= problem_.max_revision;
  }

  // Nothing is lost by taking a read at the first chance: it only makes room for others.
  void TakeReads() {
    bool again = true;
    while (again) {
      again = false;
      EventList::Event* event = events_.first();
      while (event != nullptr && event->is_call) {
        EventList::Event* next = event->next;
        if (problem_.ops[event->op].role == Role::kRead && CanRead(event->op)) {
          Take(event->op);
          again = true;
        }
        event = next;
      }
    }
  }

  bool CanRead(size_t number) {
    budget_->Step();
    const PreparedOp& prepared = problem_.ops[number];
    if (state_.revision < prepared.after || state_.revision > prepared.before) return false;
    if (problem_.op(number).at_revision != 0) return state_.revision >= prepared.held_at;
    if (prepared.held_at != 0) return state_.revision == prepared.held_at;
    return Fits(problem_.op(number), prepared, problem_, state_);
  }

  // --- Choosing the next write ---

  Frame Choose() {
    Frame frame{.order_size = order_.size()};
    if (const size_t left = LeftBehind(); left != kNoOp) {
      NoteDeadEnd("at revision " + std::to_string(state_.revision) + " " +
                      Describe(problem_.op(left)) + " has to come after " +
                      Describe(problem_.op(FirstToEnd())) + ", which does not fit before it",
                  {left, FirstToEnd()});
      return frame;
    }
    const uint64_t next = state_.revision + 1;
    const int64_t first_end = events_.FirstEnd();
    const auto writer = problem_.writer.find(next);
    if (writer != problem_.writer.end()) {
      if (intervals_[writer->second].call <= first_end) {
        frame.candidates = {writer->second};
      } else {
        NoteBlocked(next, writer->second);
      }
      return frame;
    }
    if (HasBeenHere()) return frame;
    const bool is_seen = next <= problem_.max_revision;
    for (const size_t op : gaps_.CandidatesFor(next)) {
      if (taken_[op] || intervals_[op].call > first_end || HasTwin(frame.candidates, op)) continue;
      // Where no revision was seen any more, a write can only help what tells no revision.
      if (is_seen || useful_keys_.contains(problem_.ops[op].key)) Add(op, &frame.candidates);
    }
    if (frame.candidates.empty()) NoteBlocked(next, kNoOp);
    return frame;
  }

  // Unless one of them is as good, and no better later; nor stay those that this one is as good as.
  void Add(size_t op, std::vector<size_t>* candidates) const {
    if (std::ranges::any_of(*candidates, [&](size_t other) { return CanStandFor(other, op); })) {
      return;
    }
    std::erase_if(*candidates, [&](size_t other) { return CanStandFor(op, other); });
    candidates->push_back(op);
  }

  // Two writes of unknown outcome: whether in any order that has `other` next, `op` can be there
  // instead; and, if that order has `op` later, `other` in its place. See
  // docs/design/linearizability.md.
  bool CanStandFor(size_t op, size_t other) const {
    const PreparedOp& prepared = problem_.ops[op];
    if (prepared.role != Role::kOpenWrite || problem_.ops[other].role != Role::kOpenWrite ||
        prepared.key != problem_.ops[other].key) {
      return false;
    }
    const Operation& a = problem_.op(op);
    const Operation& b = problem_.op(other);
    if (a.kind != b.kind || !CanWrite(a, state_.keys[prepared.key])) return false;
    if (a.condition != b.condition && b.condition.type != Condition::Type::kNone) return false;
    if (has_loose_stale_reads_ && a.call > std::max(b.call, LatestCall())) return false;
    if (a.value == b.value) return true;
    const uint64_t next = state_.revision + 1;
    return !problem_.mentioned.contains(next) && wanted_until_[op] <= next &&
           !problem_.shows_value_alone[prepared.key];
  }

  // A read that holds at this revision and cannot be taken any more once it has passed.
  size_t LeftBehind() const {
    const auto held = problem_.held.find(state_.revision);
    if (held == problem_.held.end()) return kNoOp;
    for (const size_t op : held->second) {
      const bool newest = problem_.op(op).at_revision == 0;
      if (problem_.ops[op].role == Role::kRead && newest && !taken_[op]) return op;
    }
    return kNoOp;
  }

  // Of the operations not taken yet.
  size_t FirstToEnd() {
    const EventList::Event* event = events_.first();
    while (event->is_call) event = event->next;
    return event->op;
  }

  // Of two writes of unknown outcome that do the same, the first to be called goes first; the
  // candidates that may come later were called no earlier.
  bool HasTwin(const std::vector<size_t>& candidates, size_t op) const {
    if (problem_.ops[op].role != Role::kOpenWrite) return false;
    return std::ranges::any_of(candidates, [&](size_t other) {
      return problem_.ops[other].role == Role::kOpenWrite &&
             problem_.op(other).call <= problem_.op(op).call &&
             (DoTheSame(op, other) || (MakesNoDifference(op) && MakesNoDifference(other)));
    });
  }

  bool DoTheSame(size_t one, size_t other) const {
    const Operation& a = problem_.op(one);
    const Operation& b = problem_.op(other);
    return a.kind == b.kind && a.key == b.key && a.value == b.value && a.condition == b.condition;
  }

  // From here on, to anybody else, but for the revision that it makes.
  bool MakesNoDifference(size_t op) const {
    return problem_.observed_until[problem_.ops[op].key] <= state_.revision;
  }

  bool HasBeenHere() { return remembers_ && !seen_.Insert(ConfigKey()); }

  // Everything that the future depends on. What else has been taken follows from these.
  std::vector<uint64_t> ConfigKey() const {
    std::vector<uint64_t> key = {state_.revision};
    for (size_t i = 0; i < floating_.size(); ++i) {
      if (i % 64 == 0) key.push_back(0);
      if (taken_[floating_[i]]) key.back() |= uint64_t{1} << (i % 64);
    }
    for (const size_t number : free_keys_) {
      if (problem_.observed_until[number] <= state_.revision) continue;
      const KeyState& each = state_.keys[number];
      // As LookAlike.
      if (!each.exists) {
        key.insert(key.end(), {0, 0, 0, 0, 0});
        continue;
      }
      const bool shown =
          problem_.mentioned.contains(each.mod_revision) || problem_.shows_value_alone[number];
      key.insert(key.end(),
                 {each.exists, shown ? each.writer : kNoOp, shown ? each.mod_revision : 0,
                  problem_.mentioned.contains(each.create_revision) ? each.create_revision : 0,
                  each.version});
    }
    return key;
  }

  // --- Going on ---

  // Tries the next candidate of the last frame that has one. False: there is none, or a limit was
  // reached.
  bool GoOn() {
    while (!frames_.empty()) {
      if (!budget_->Step()) return false;
      Frame& frame = frames_.back();
      Undo(&frame);
      if (frame.next == frame.candidates.size()) {
        frames_.pop_back();
      } else if (Write(&frame, frame.candidates[frame.next++])) {
        return true;
      }
    }
    return false;
  }

  void Undo(Frame* frame) {
    while (order_.size() > frame->order_size) GiveBack();
    if (!frame->is_trying) return;
    frame->is_trying = false;
    state_.keys[frame->changed_key] = frame->before;
    --state_.revision;
  }

  bool Write(Frame* frame, size_t number) {
    const Operation& op = problem_.op(number);
    KeyState& key = state_.keys[problem_.ops[number].key];
    if (!CanWrite(op, key)) {
      NoteCannotWrite(number, key);
      return false;
    }
    frame->changed_key = problem_.ops[number].key;
    frame->before = key;
    frame->is_trying = true;
    key = AfterWrite(op, number, ++state_.revision, key);
    Take(number);
    return LeadsOn() && FactsHold();
  }

  // Whether each key, if it were alone, could get from here to what was read of it later.
  bool LeadsOn() {
    for (const Way& way : gaps_.WaysFrom(state_.revision)) {
      budget_->Step();
      const KeyState& key = state_.keys[way.key];
      const auto is_it = [&](const KeyState& state) {
        return LookAlike(problem_, way.key, key, state);
      };
      if (std::ranges::any_of(way.states, is_it)) continue;
      if (!IsFurther()) return false;
      std::vector<size_t> involved;
      if (key.writer != kNoOp) involved.push_back(key.writer);
      NoteDeadEnd("at revision " + std::to_string(state_.revision) + " " +
                      DescribeKey(problem_.keys[way.key], key) +
                      ", which does not lead to what was read of it later",
                  std::move(involved));
      return false;
    }
    return true;
  }

  // What anybody read of the present revision, whenever that was.
  bool FactsHold() {
    const auto held = problem_.held.find(state_.revision);
    if (held == problem_.held.end()) return true;
    for (const size_t op : held->second) {
      budget_->Step();
      if (!Fits(problem_.op(op), problem_.ops[op], problem_, state_)) {
        NoteMisfit(op);
        return false;
      }
    }
    return true;
  }

  bool StaleReadsFit() {
    const Finding finding = CheckStaleReads(problem_, order_, budget_);
    if (finding.verdict == Verdict::kLinearizable) return true;
    stale_reads_misfit_ = true;
    NoteDeadEnd(finding.reason, finding.involved);
    return false;
  }

  // --- Saying why not ---

  // Keeps the reason of the dead end that came furthest.
  void NoteDeadEnd(std::string reason, std::vector<size_t> involved) {
    if (!best_.reason.empty() && order_.size() <= best_.order.size()) return;
    best_.reason = std::move(reason);
    best_.involved = std::move(involved);
    best_.order = order_;
  }

  bool IsFurther() const { return best_.reason.empty() || order_.size() > best_.order.size(); }

  void NoteBlocked(uint64_t next, size_t writer) {
    if (!IsFurther()) return;
    if (events_.ending() == 0) {  // every write that could have made the next revision is used
      return NoteDeadEnd("revision " + std::to_string(next) + " was made by nobody", {});
    }
    const size_t blocker = FirstToEnd();
    std::string reason = Describe(problem_.op(blocker)) + " has no place: at revision " +
                         std::to_string(state_.revision) + " " + DescribeKeys(blocker);
    std::vector<size_t> involved = WritersOf(blocker);
    involved.push_back(blocker);
    if (writer != kNoOp) {
      reason += ", and revision " + std::to_string(next) + " was made by " +
                Describe(problem_.op(writer)) + ", which began later";
      involved.push_back(writer);
    } else {
      reason += ", and no write that began early enough can have changed that";
    }
    NoteDeadEnd(std::move(reason), std::move(involved));
  }

  void NoteCannotWrite(size_t op, const KeyState& key) {
    if (!IsFurther()) return;
    std::vector<size_t> involved = {op};
    if (key.writer != kNoOp) involved.push_back(key.writer);
    NoteDeadEnd(Describe(problem_.op(op)) + " cannot have made revision " +
                    std::to_string(state_.revision + 1) + ": before it " + DescribeKeys(op),
                std::move(involved));
  }

  void NoteMisfit(size_t op) {
    if (!IsFurther()) return;
    std::vector<size_t> involved = WritersOf(op);
    involved.push_back(op);
    NoteDeadEnd(Describe(problem_.op(op)) + " is wrong: at revision " +
                    std::to_string(state_.revision) + " " + DescribeKeys(op),
                std::move(involved));
  }

  // The writes that the present state of the operation's keys, and the values that it shows, come
  // from.
  std::vector<size_t> WritersOf(size_t op) const {
    std::vector<size_t> writers;
    for (size_t key = problem_.ops[op].key; key < problem_.ops[op].end_key; ++key) {
      if (state_.keys[key].writer != kNoOp) writers.push_back(state_.keys[key].writer);
    }
    for (const Item& item : problem_.op(op).items) {
      const auto writer = problem_.writer.find(item.mod_revision);
      if (writer != problem_.writer.end()) writers.push_back(writer->second);
    }
    return writers;
  }

  std::string DescribeKeys(size_t op) const {
    std::string text;
    constexpr size_t kMaxKeys = 5;
    const PreparedOp& prepared = problem_.ops[op];
    for (size_t number = prepared.key; number < prepared.end_key; ++number) {
      if (number == prepared.key + kMaxKeys) return text + ", ...";
      text += text.empty() ? "" : ", ";
      text += DescribeKey(problem_.keys[number], state_.keys[number]);
    }
    return text.empty() ? "there is no such key" : text;
  }

  Finding Finish(Verdict verdict) {
    if (verdict == Verdict::kLinearizable) return {verdict, "", {}, order_};
    best_.verdict = verdict;
    if (verdict == Verdict::kUnknown) best_.reason = budget_->reached() + " was reached";
    return std::move(best_);
  }

  const StoreProblem& problem_;
  const Gaps& gaps_;
  Budget* const budget_;
  const std::vector<Interval> intervals_;
  EventList events_;
  std::vector<size_t> floating_;   // whose place no revision tells
  std::vector<size_t> free_keys_;  // that writes without a known revision may change
  std::set<size_t> useful_keys_;   // of operations that have happened and tell no revision
  bool has_loose_stale_reads_ = false;
  bool stale_reads_misfit_ = false;  // an order that fitted all others
  bool remembers_ = true;
  std::vector<uint64_t> wanted_until_;  // open writes: the last revision known by its value
  std::vector<bool> taken_;
  std::vector<size_t> order_;
  std::vector<int64_t> latest_call_;  // up to each of order_
  std::vector<Frame> frames_;
  ConfigSet seen_;
  StoreState state_;
  Finding best_;
};

}  // namespace

Finding SearchOrder(const StoreProblem& problem, Budget* budget) {
  const Gaps gaps(problem);
  if (gaps.finding().verdict != Verdict::kLinearizable) return gaps.finding();
  return OrderSearch(problem, gaps, budget).Run();
}

}  // namespace raftkv::linearizability
