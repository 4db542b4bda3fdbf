// A correct store, and clients that record what it answers.
#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

constexpr size_t kNodes = 3;

class SimulatedStore {
 public:
  uint64_t revision() const { return revision_; }

  std::optional<Item> Get(const std::string& key, uint64_t revision) const {
    const auto versions = keys_.find(key);
    if (versions == keys_.end()) return std::nullopt;
    const auto after = versions->second.upper_bound(revision);
    if (after == versions->second.begin()) return std::nullopt;
    return std::prev(after)->second;
  }

  std::vector<Item> Range(const std::string& start, const std::string& end,
                          uint64_t revision) const {
    std::vector<Item> items;
    for (const auto& [key, versions] : keys_) {
      if (key < start || (!end.empty() && key >= end)) continue;
      if (const auto item = Get(key, revision)) items.push_back(*item);
    }
    return items;
  }

  void Write(Operation* op) {
    const std::optional<Item> before = Get(op->key, revision_);
    if (!Holds(op->condition, before)) {
      op->outcome = Outcome::kConflict;
      op->key_revision = before ? before->mod_revision : 0;
      return;
    }
    if (op->kind == Kind::kDelete && !before) {
      op->outcome = Outcome::kNotFound;
      return;
    }
    op->outcome = Outcome::kOk;
    op->revision = ++revision_;
    if (op->kind == Kind::kDelete) {
      keys_[op->key][revision_] = std::nullopt;
      return;
    }
    op->created = !before;
    keys_[op->key][revision_] =
        Item{op->key, op->value, before ? before->create_revision : revision_, revision_,
             before ? before->version + 1 : 1};
  }

  void Read(Operation* op, uint64_t revision) const {
    if (op->at_revision != 0) revision = op->at_revision;
    op->revision = revision;
    if (op->kind == Kind::kGet) {
      const auto item = Get(op->key, revision);
      op->outcome = item ? Outcome::kOk : Outcome::kNotFound;
      if (item) op->items = {*item};
      // As the HTTP API: a 404 does not tell the revision.
      if (!item && op->at_revision == 0) op->revision = 0;
      return;
    }
    op->outcome = Outcome::kOk;
    std::vector<Item> items = Range(op->key, op->end, revision);
    if (op->count_only) {
      op->count = items.size();
      return;
    }
    if (op->descending) std::ranges::reverse(items);
    op->more = op->limit != 0 && items.size() > op->limit;
    if (op->more) items.resize(op->limit);
    op->items = std::move(items);
  }

 private:
  static bool Holds(const Condition& condition, const std::optional<Item>& item) {
    switch (condition.type) {
      case Condition::Type::kNone:
        return true;
      case Condition::Type::kAbsent:
        return !item;
      case Condition::Type::kPresent:
        return item.has_value();
      case Condition::Type::kRevision:
        return item && item->mod_revision == condition.revision;
    }
    return false;
  }

  uint64_t revision_ = 1;
  std::map<std::string, std::map<uint64_t, std::optional<Item>>> keys_;
};

class Workload {
 public:
  Workload(const WorkloadOptions& options, Random* random) : options_(options), random_(*random) {}

  History Run() {
    Schedule();
    for (const auto& [moment, number] : moments_) Execute(&history_.operations[number]);
    for (const size_t number : never_) Ask(&history_.operations[number]);
    for (Operation& op : history_.operations) Forget(&op);
    return std::move(history_);
  }

 private:
  bool Percent(unsigned percent) { return random_.Uniform(100) < percent; }

  // When each client calls and is answered, and when the operation takes effect.
  void Schedule() {
    std::vector<int64_t> free(options_.clients);
    for (size_t i = 0; i < options_.operations; ++i) {
      const size_t client = i % options_.clients;
      Operation op{.client = client};
      op.call = free[client] + 1 + static_cast<int64_t>(random_.Uniform(20));
      const auto length = static_cast<int64_t>(random_.Uniform(100));
      const bool unknown = Percent(options_.unknown_percent);
      op.completed = op.call + length;
      free[client] = *op.completed;
      int64_t moment =
          op.call + static_cast<int64_t>(random_.Uniform(static_cast<uint64_t>(length) + 1));
      if (unknown) {
        op.completed.reset();
        moment += static_cast<int64_t>(random_.Uniform(500));
      }
      if (unknown && Percent(50)) {
        never_.push_back(i);
      } else {
        moments_.emplace_back(moment, i);
      }
      history_.operations.push_back(op);
    }
    std::ranges::sort(moments_);
  }

  std::string RandomKey() { return "k" + std::to_string(random_.Uniform(options_.keys)); }

  void Ask(Operation* op) {
    const uint64_t kind = random_.Uniform(100);
    op->key = RandomKey();
    if (kind < 40) {
      op->kind = Kind::kPut;
      op->value = "v" + std::to_string(random_.Uniform(options_.values));
      if (Percent(40)) AskCondition(op);
    } else if (kind < 52) {
      op->kind = Kind::kDelete;
      if (Percent(30)) AskCondition(op);
    } else {
      op->kind = kind < 85 ? Kind::kGet : Kind::kRange;
      AskRead(op);
    }
  }

  void AskCondition(Operation* op) {
    const auto item = store_.Get(op->key, store_.revision());
    op->condition.type = static_cast<Condition::Type>(1 + random_.Uniform(3));
    if (op->condition.type != Condition::Type::kRevision) return;
    op->condition.revision =
        item && Percent(70) ? item->mod_revision : 1 + random_.Uniform(store_.revision());
  }

  void AskRead(Operation* op) {
    if (Percent(30)) op->node = "n" + std::to_string(random_.Uniform(kNodes));
    if (options_.stale_reads && Percent(25)) op->consistency = Consistency::kStale;
    if (Percent(10)) op->at_revision = 1 + random_.Uniform(store_.revision());
    if (op->kind == Kind::kGet) return;
    if (Percent(30)) op->key.clear();
    if (Percent(50)) op->end = PrefixEnd("k");
    if (Percent(30)) op->limit = 1 + random_.Uniform(3);
    op->descending = Percent(20);
    op->count_only = Percent(10);
  }

  void Execute(Operation* op) {
    Ask(op);
    if (op->kind == Kind::kPut || op->kind == Kind::kDelete) return store_.Write(op);
    uint64_t& seen = seen_on_node_[op->node];
    if (op->node.empty()) seen = 0;
    uint64_t revision = store_.revision();
    if (op->consistency == Consistency::kStale) {
      const uint64_t oldest = std::max<uint64_t>({seen, op->at_revision, 1});
      revision = oldest + random_.Uniform(revision - oldest + 1);
    }
    seen = std::max(seen, revision);
    store_.Read(op, revision);
  }

  // What the client does not learn.
  void Forget(Operation* op) {
    const bool write = op->kind == Kind::kPut || op->kind == Kind::kDelete;
    if (!op->completed) {
      op->outcome = Outcome::kUnknown;
      op->revision = op->count = 0;
      op->created.reset();
      op->key_revision.reset();
      op->items.clear();
      op->more = false;
    } else if (write && op->outcome == Outcome::kOk && Percent(options_.silent_percent)) {
      op->revision = 0;
    }
  }

  const WorkloadOptions options_;
  Random& random_;
  SimulatedStore store_;
  History history_;
  std::vector<std::pair<int64_t, size_t>> moments_;
  std::vector<size_t> never_;  // that never take effect
  std::map<std::string, uint64_t> seen_on_node_;
};

}  // namespace

History SimulateStore(const WorkloadOptions& options, Random* random) {
  return Workload(options, random).Run();
}

}  // namespace raftkv::linearizability
