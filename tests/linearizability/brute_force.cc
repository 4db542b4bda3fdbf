// The definition of linearizability, word for word, with no thought of time: every order of every
// subset of the operations. Shares nothing with the checker but the history.
#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

using Contents = std::map<std::string, Item>;

struct Moment {
  uint64_t revision;
  Contents contents;
  int64_t earliest;  // it cannot have been before
};

bool IsWrite(const Operation& op) { return op.kind == Kind::kPut || op.kind == Kind::kDelete; }

bool Shows(const Item& shown, const Item& item) {
  const auto told = [](uint64_t a, uint64_t b) { return a == 0 || a == b; };
  return shown.key == item.key && (!shown.value || shown.value == item.value) &&
         told(shown.create_revision, item.create_revision) &&
         told(shown.mod_revision, item.mod_revision) && told(shown.version, item.version);
}

bool Holds(const Condition& condition, const Item* item) {
  switch (condition.type) {
    case Condition::Type::kNone:
      return true;
    case Condition::Type::kAbsent:
      return item == nullptr;
    case Condition::Type::kPresent:
      return item != nullptr;
    case Condition::Type::kRevision:
      return item != nullptr ? item->mod_revision == condition.revision : condition.revision == 0;
  }
  return false;
}

bool RangeAnswers(const Operation& op, const Contents& contents) {
  std::vector<Item> items;
  for (const auto& [key, item] : contents) {
    if (key >= op.key && (op.end.empty() || key < op.end)) items.push_back(item);
  }
  if (op.count_only) return items.size() == op.count;
  if (op.descending) std::ranges::reverse(items);
  // Here no page is cut for its size.
  if (op.limit != 0 ? op.items.size() > op.limit : op.more) return false;
  if (op.more && op.items.size() != op.limit) return false;
  if (op.more ? items.size() <= op.items.size() : items.size() != op.items.size()) return false;
  return std::equal(op.items.begin(), op.items.end(), items.begin(), Shows);
}

// Whether an operation that changes nothing is answered so by these contents.
bool Answers(const Operation& op, const Contents& contents) {
  if (op.kind == Kind::kRange) return RangeAnswers(op, contents);
  const auto at = contents.find(op.key);
  const Item* item = at == contents.end() ? nullptr : &at->second;
  if (op.outcome == Outcome::kConflict) {
    return !Holds(op.condition, item) &&
           (!op.key_revision || *op.key_revision == (item != nullptr ? item->mod_revision : 0));
  }
  if (!Holds(op.condition, item)) return false;
  if (op.outcome == Outcome::kNotFound) return item == nullptr;
  return item != nullptr && Shows(op.items[0], *item);
}

class BruteForce {
 public:
  explicit BruteForce(const History& history) : history_(history) {
    Moment first{history.initial_revision, {}, std::numeric_limits<int64_t>::min()};
    for (const Item& item : history.initial_items) first.contents[item.key] = item;
    moments_.push_back(first);
    for (size_t i = 0; i < history.operations.size(); ++i) {
      const Operation& op = history.operations[i];
      const bool idle =
          op.outcome == Outcome::kFail || (op.outcome == Outcome::kUnknown && !IsWrite(op));
      if (idle) continue;
      (op.consistency == Consistency::kStale ? stale_ : ordered_).push_back(i);
    }
    std::ranges::sort(stale_, {}, [&](size_t i) { return history.operations[i].call; });
  }

  bool Try(std::vector<size_t> left, int64_t earliest) {
    const bool complete =
        std::ranges::all_of(left, [&](size_t i) { return op(i).outcome == Outcome::kUnknown; });
    if (complete && PlaceStale(0)) return true;
    for (size_t i = 0; i < left.size(); ++i) {
      const size_t number = left[i];
      if (!MayComeNext(number, left)) continue;
      std::vector<size_t> rest = left;
      rest.erase(rest.begin() + static_cast<ptrdiff_t>(i));
      if (TryNext(number, std::move(rest), std::max(earliest, op(number).call))) return true;
    }
    return false;
  }

  bool Run() { return Try(ordered_, std::numeric_limits<int64_t>::min()); }

 private:
  const Operation& op(size_t number) const { return history_.operations[number]; }

  bool MayComeNext(size_t number, const std::vector<size_t>& left) const {
    return std::ranges::none_of(left, [&](size_t other) {
      return other != number && op(other).outcome != Outcome::kUnknown &&
             *op(other).completed < op(number).call;
    });
  }

  bool TryNext(size_t number, std::vector<size_t> rest, int64_t earliest) {
    const Operation& next = op(number);
    const bool changes =
        IsWrite(next) && (next.outcome == Outcome::kOk || next.outcome == Outcome::kUnknown);
    if (!changes) return Fits(number) && Try(std::move(rest), earliest);
    Moment after = moments_.back();
    if (!Change(next, &after)) return false;
    after.earliest = earliest;
    moments_.push_back(after);
    const bool found = Try(std::move(rest), earliest);
    moments_.pop_back();
    return found;
  }

  bool Fits(size_t number) const {
    const Operation& read = op(number);
    if (read.at_revision != 0) return FitsOld(read);
    const Moment& now = moments_.back();
    return (read.revision == 0 || read.revision == now.revision) && Answers(read, now.contents);
  }

  bool FitsOld(const Operation& read) const {
    if (read.at_revision > moments_.back().revision) return false;
    if (read.at_revision < history_.initial_revision) return true;
    return Answers(read, moments_[read.at_revision - history_.initial_revision].contents);
  }

  static bool Change(const Operation& write, Moment* moment) {
    const auto at = moment->contents.find(write.key);
    const Item* item = at == moment->contents.end() ? nullptr : &at->second;
    if (!Holds(write.condition, item)) return false;
    if (write.created && *write.created == (item != nullptr)) return false;
    const uint64_t revision = ++moment->revision;
    if (write.revision != 0 && write.revision != revision) return false;
    if (write.kind == Kind::kDelete) return moment->contents.erase(write.key) > 0;
    const Item before = item != nullptr ? *item : Item{write.key, "", revision, 0, 0};
    moment->contents[write.key] = {write.key, write.value, before.create_revision, revision,
                                   before.version + 1};
    return true;
  }

  // What reads on the same node showed before this one was called.
  uint64_t SeenOnNode(const Operation& read) const {
    uint64_t seen = 0;
    if (read.node.empty()) return 0;
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      const Operation& other = op(i);
      if (other.node != read.node || !other.completed || *other.completed >= read.call) continue;
      seen = std::max({seen, other.revision, other.at_revision});
      for (const Item& item : other.items) seen = std::max(seen, item.mod_revision);
      const auto placed = placed_.find(i);
      if (placed != placed_.end()) seen = std::max(seen, placed->second);
    }
    return seen;
  }

  bool PlaceStale(size_t index) {
    if (index == stale_.size()) return NodesNeverGoBack();
    const Operation& read = op(stale_[index]);
    for (const Moment& moment : moments_) {
      if (moment.earliest > *read.completed) break;
      const uint64_t shown = read.at_revision != 0 ? read.at_revision : read.revision;
      if (read.at_revision == 0 && moment.revision < SeenOnNode(read)) continue;
      if (shown != 0 && shown != moment.revision &&
          !(read.at_revision != 0 && shown < history_.initial_revision)) {
        continue;
      }
      if (shown >= history_.initial_revision || shown == 0) {
        if (!Answers(read, moment.contents)) continue;
      }
      if (read.at_revision == 0) placed_[stale_[index]] = moment.revision;
      if (PlaceStale(index + 1)) return true;
      placed_.erase(stale_[index]);
    }
    return false;
  }

  // Linearizable reads too.
  bool NodesNeverGoBack() const {
    return std::ranges::all_of(ordered_, [&](size_t i) {
      const Operation& read = op(i);
      return IsWrite(read) || read.at_revision != 0 || read.revision == 0 ||
             read.revision >= SeenOnNode(read);
    });
  }

  const History& history_;
  std::vector<size_t> ordered_;
  std::vector<size_t> stale_;
  std::vector<Moment> moments_;
  std::map<size_t, uint64_t> placed_;  // revisions that stale reads saw
};

}  // namespace

bool IsLinearizableByBruteForce(const History& history) { return BruteForce(history).Run(); }

}  // namespace raftkv::linearizability
