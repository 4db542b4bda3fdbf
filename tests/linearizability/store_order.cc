// The search for an order of a store's operations, one revision after the other.
#include <algorithm>
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
    floating_.insert(floating_.end(), gaps.writes().begin(), gaps.writes().end());
    for (const size_t op : gaps.writes()) free_keys_.push_back(problem.ops[op].key);
    std::ranges::sort(free_keys_);
    free_keys_.erase(std::ranges::unique(free_keys_).begin(), free_keys_.end());
  }

  Finding Run() {
    if (!FactsHold()) return Finish(Verdict::kNotLinearizable);
    while (true) {
      TakeReads();
      if (IsComplete() && StaleReadsFit()) return Finish(Verdict::kLinearizable);
      // A stale read may have seen a write of unknown outcome that comes after all others.
      frames_.push_back(Choose());
      if (!GoOn()) {
        return Finish(budget_->reached().empty() ? Verdict::kNotLinearizable : Verdict::kUnknown);
      }
    }
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

  // --- Taking operations into the order ---

  void Take(size_t op) {
    if (problem_.ops[op].role != Role::kOpenWrite) events_.TakeOut(op);
    taken_[op] = true;
    order_.push_back(op);
  }

  void GiveBack() {
    const size_t op = order_.back();
    order_.pop_back();
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
      if (is_seen || useful_keys_.contains(problem_.ops[op].key)) frame.candidates.push_back(op);
    }
    if (frame.candidates.empty()) NoteBlocked(next, kNoOp);
    return frame;
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

  bool HasBeenHere() {
    // Stale reads that do not tell their revision look back: for them the way here matters too.
    return !has_loose_stale_reads_ && !seen_.Insert(ConfigKey());
  }

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
      key.insert(key.end(), {each.writer, each.mod_revision, each.create_revision, each.version});
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
    return FactsHold();
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
  std::vector<bool> taken_;
  std::vector<size_t> order_;
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
