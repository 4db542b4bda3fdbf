#include "tests/linearizability/search.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "tests/linearizability/config_set.h"
#include "tests/linearizability/event_list.h"

namespace raftkv::linearizability {
namespace {

constexpr size_t kNone = SIZE_MAX;
constexpr size_t kLookAhead = 128;  // events

// For each operation without an end: its last twin that was called before it.
std::vector<size_t> EarlierTwins(std::span<const Interval> intervals, const Model& model) {
  std::vector<size_t> open;
  for (size_t op = 0; op < intervals.size(); ++op) {
    if (intervals[op].end == kNever) open.push_back(op);
  }
  std::vector<size_t> twins(intervals.size(), kNone);
  for (const size_t op : open) {
    for (const size_t other : open) {
      const auto before = [&](size_t a, size_t b) {
        return std::pair(intervals[a].call, a) < std::pair(intervals[b].call, b);
      };
      const bool nearer = twins[op] == kNone || before(twins[op], other);
      if (nearer && before(other, op) && model.AreTwins(op, other)) twins[op] = other;
    }
  }
  return twins;
}

std::vector<size_t> AllOf(std::span<const Interval> intervals) {
  std::vector<size_t> ops(intervals.size());
  std::iota(ops.begin(), ops.end(), size_t{0});
  return ops;
}

class Searcher {
 public:
  Searcher(std::span<const Interval> intervals, Model* model, Budget* budget)
      : intervals_(intervals),
        model_(model),
        budget_(budget),
        events_(intervals, AllOf(intervals)),
        twins_(EarlierTwins(intervals, *model)),
        seen_(budget),
        config_((intervals.size() + 63) / 64 + 1),
        state_(model->Initial()) {}

  SearchResult Run() {
    EventList::Event* event = events_.first();
    while (events_.ending() > 0) {
      if (event != nullptr && event->is_call) {
        event = TryNext(event->op) ? events_.first() : event->next;
        if (!budget_->reached().empty()) return Finish(Verdict::kUnknown);
        continue;
      }
      // An end: what follows it comes after its operation, which fits nowhere.
      KeepLongest();
      event = Backtrack();
      if (event == nullptr) return Finish(Verdict::kNotLinearizable);
    }
    KeepLongest();
    return Finish(Verdict::kLinearizable);
  }

 private:
  struct Done {
    size_t op;
    Model::State before;
    // Nothing is lost by taking a read at the first chance: it only makes room for others.
    bool no_alternative;
  };

  bool Contains(size_t op) const { return (config_[op / 64] >> (op % 64) & 1) != 0; }
  void Flip(size_t op) { config_[op / 64] ^= uint64_t{1} << (op % 64); }

  bool TryNext(size_t op) {
    if (!budget_->Step()) return false;
    const bool open = intervals_[op].end == kNever;
    // Of twins the first goes first.
    if (open && twins_[op] != kNone && !Contains(twins_[op])) return false;
    const std::optional<Model::State> next = model_->Step(state_, op);
    if (!next || (open && *next == state_)) return false;
    const bool read_only = model_->IsReadOnly(op);
    Flip(op);
    events_.TakeOut(op);
    if (!read_only && !IsWorthTrying(*next)) {
      Flip(op);
      events_.PutBack(op);
      return false;
    }
    done_.push_back({op, state_, read_only});
    state_ = *next;
    return true;
  }

  bool IsWorthTrying(Model::State state) {
    config_.back() = state;
    return seen_.Insert(config_) && NextReadsCanFollow(state);
  }

  // Without this, a wrong order of appends goes unnoticed until the next read has to take its
  // place, and all orders of everything in between would be tried in vain. The next reads can only
  // have their answers if the state, or what one of the writes that can come before them leaves,
  // leads there.
  bool NextReadsCanFollow(Model::State state) {
    starts_.assign(1, state);
    size_t left = kLookAhead;
    for (auto* event = events_.first(); event != nullptr && left > 0; event = event->next, --left) {
      if (event->is_call) {
        if (const auto leaves = model_->Leaves(event->op)) starts_.push_back(*leaves);
      } else if (model_->ShowsState(event->op)) {
        const auto leads = [&](Model::State start) { return model_->CanLeadTo(start, event->op); };
        if (std::ranges::none_of(starts_, leads)) return false;
      }
    }
    return true;
  }

  // Undoes up to the last choice, and returns the event to go on from; null: no choice is left.
  EventList::Event* Backtrack() {
    while (!done_.empty()) {
      const Done last = done_.back();
      done_.pop_back();
      Flip(last.op);
      state_ = last.before;
      events_.PutBack(last.op);
      if (!last.no_alternative) return events_.call_of(last.op)->next;
    }
    return nullptr;
  }

  void KeepLongest() {
    if (done_.size() <= longest_.size() && !longest_.empty()) return;
    longest_.clear();
    for (const Done& done : done_) longest_.push_back(done.op);
  }

  SearchResult Finish(Verdict verdict) { return {verdict, std::move(longest_)}; }

  const std::span<const Interval> intervals_;
  Model* const model_;
  Budget* const budget_;
  EventList events_;
  const std::vector<size_t> twins_;
  ConfigSet seen_;
  std::vector<uint64_t> config_;  // a bit for each operation, then the state
  Model::State state_;
  std::vector<Done> done_;
  std::vector<size_t> longest_;
  std::vector<Model::State> starts_;  // of NextReadsCanFollow
};

}  // namespace

SearchResult Search(std::span<const Interval> intervals, Model* model, Budget* budget) {
  return Searcher(intervals, model, budget).Run();
}

}  // namespace raftkv::linearizability
