#include "tests/linearizability/store_projection.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tests/linearizability/describe.h"

namespace raftkv::linearizability {
namespace {

// More states than these at one revision are not followed: the key can then be in any.
constexpr size_t kMaxStates = 64;

}  // namespace

// --- What happens to which key
// --------------------------------------------------------------------

Projection::Projection(const StoreProblem& problem)
    : problem_(problem),
      events_(problem.keys.size()),
      loose_(problem.keys.size()),
      initial_(InitialState(problem)) {
  for (size_t op = 0; op < problem.ops.size(); ++op) {
    const PreparedOp& prepared = problem.ops[op];
    if (prepared.role == Role::kWrite) {
      events_[prepared.key].push_back(
          {.revision = problem.op(op).revision, .type = Event::Type::kWrite, .op = op});
    } else if (prepared.role == Role::kRead || prepared.role == Role::kStaleRead) {
      Observe(op);
    }
  }
}

void Projection::Observe(size_t number) {
  const PreparedOp& prepared = problem_.ops[number];
  if (prepared.held_at == 0) {
    loose_[prepared.key].push_back(number);
  } else if (prepared.held_at < problem_.history->initial_revision) {
    return;
  } else if (problem_.op(number).kind == Kind::kRange) {
    ObserveRange(number);
  } else {
    events_[prepared.key].push_back(
        {.revision = prepared.held_at, .type = Event::Type::kObservation, .op = number});
  }
}

void Projection::ObserveRange(size_t number) {
  const Operation& op = problem_.op(number);
  const PreparedOp& prepared = problem_.ops[number];
  if (op.count_only) return;
  std::map<std::string_view, const Item*> items;
  for (const Item& item : op.items) items.emplace(item.key, &item);
  for (size_t key = prepared.key; key < prepared.end_key; ++key) {
    const std::string& name = problem_.keys[key];
    // Behind the last item of a page nothing is known.
    const bool behind =
        op.more && (op.items.empty() ||
                    (op.descending ? name < op.items.back().key : name > op.items.back().key));
    if (behind) continue;
    const auto item = items.find(name);
    events_[key].push_back({.revision = prepared.held_at,
                            .type = Event::Type::kObservation,
                            .op = number,
                            .item = item == items.end() ? nullptr : item->second});
  }
}

// --- One key
// --------------------------------------------------------------------------------------

class Projection::Walk {
 public:
  Walk(const Projection& projection, size_t key, std::vector<Event> events)
      : problem_(projection.problem_), key_(key), events_(std::move(events)) {
    std::ranges::stable_sort(events_, {}, [](const Event& event) {
      return std::pair(event.revision, event.type == Event::Type::kObservation);
    });
    layers_.push_back({problem_.history->initial_revision, {projection.initial_.keys[key]}});
  }

  // From the first revision to the last: the states that can be reached.
  Finding Forward() {
    for (const Event& event : events_) {
      Layer next{.revision = event.revision};
      if (layers_.back().any) {
        next.any = true;
        if (event.type == Event::Type::kObservation) Resume(event, &next);
      } else {
        Follow(event, &next);
        if (next.states.empty()) return Contradiction(event);
        if (next.states.size() > kMaxStates) next = {.revision = event.revision, .any = true};
      }
      layers_.push_back(std::move(next));
    }
    return {};
  }

  // From the last to the first: of these, the states from which it goes on to the end.
  void Backward() {
    layers_.back().alive.assign(layers_.back().states.size(), true);
    for (size_t i = layers_.size() - 1; i > 0; --i) {
      const Layer& layer = layers_[i];
      Layer& before = layers_[i - 1];
      // Where states were not followed, any of those before may go on.
      before.alive.assign(before.states.size(), layer.any);
      for (const Edge& edge : layer.edges) {
        if (layer.alive[edge.to]) before.alive[edge.from] = true;
      }
    }
  }

  // Which of the key's candidates remain for each gap, and whether the key must have made it.
  template <typename Visit>
  void VisitGaps(const Visit& visit) const {
    for (size_t i = 0; i < events_.size(); ++i) {
      const Layer& layer = layers_[i + 1];
      if (events_[i].type != Event::Type::kGap || layer.any) continue;
      std::vector<size_t> remaining;
      bool may_stay = false;
      for (const Edge& edge : layer.edges) {
        if (!layer.alive[edge.to]) continue;
        may_stay |= edge.op == kNoOp;
        if (edge.op != kNoOp) remaining.push_back(edge.op);
      }
      visit(events_[i].revision, remaining, !may_stay);
    }
  }

  // The states behind each gap from which the key goes on to the end.
  void KeepWays(Ways* ways) const {
    for (size_t i = 0; i < events_.size(); ++i) {
      const Layer& layer = layers_[i + 1];
      if (events_[i].type != Event::Type::kGap || layer.any) continue;
      std::vector<KeyState> alive;
      for (size_t state = 0; state < layer.states.size(); ++state) {
        if (layer.alive[state]) alive.push_back(layer.states[state]);
      }
      (*ways)[events_[i].revision].push_back({key_, std::move(alive)});
    }
  }

  // Whether a read that does not tell its revision fits one that it can have seen.
  bool HasPlace(size_t op) const {
    const PreparedOp& prepared = problem_.ops[op];
    const uint64_t low = prepared.role == Role::kRead ? prepared.after : 0;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const uint64_t next = i + 1 < layers_.size() ? layers_[i + 1].revision : UINT64_MAX;
      if (next <= low) continue;
      if (layer.revision > prepared.before) break;
      if (next == layer.revision) continue;  // more happens to the key at this revision
      if (layer.any) return true;
      for (size_t state = 0; state < layer.states.size(); ++state) {
        if (layer.alive[state] && FitsKey(problem_.op(op), layer.states[state])) return true;
      }
    }
    return false;
  }

 private:
  struct Edge {
    size_t from;
    size_t to;
    size_t op;  // kNoOp: the key did not change
  };
  struct Layer {
    uint64_t revision = 0;
    std::vector<KeyState> states;
    std::vector<Edge> edges = {};  // from the layer before
    std::vector<bool> alive = {};
    bool any = false;  // states are not followed
  };

  void Add(Layer* layer, size_t from, const KeyState& state, size_t op) const {
    const auto same = std::ranges::find_if(
        layer->states, [&](const auto& each) { return LookAlike(problem_, key_, each, state); });
    const auto to = static_cast<size_t>(same - layer->states.begin());
    if (same == layer->states.end()) layer->states.push_back(state);
    layer->edges.push_back({from, to, op});
  }

  void Follow(const Event& event, Layer* next) const {
    const std::vector<KeyState>& states = layers_.back().states;
    for (size_t from = 0; from < states.size() && next->states.size() <= kMaxStates; ++from) {
      const KeyState& state = states[from];
      if (event.type == Event::Type::kObservation) {
        if (Shows(event, state)) Add(next, from, state, kNoOp);
        continue;
      }
      if (event.type == Event::Type::kWrite) {
        Write(event, event.op, from, state, next);
        continue;
      }
      if (event.others) Add(next, from, state, kNoOp);
      for (const size_t op : *event.candidates) Write(event, op, from, state, next);
    }
  }

  void Write(const Event& event, size_t op, size_t from, const KeyState& state, Layer* next) const {
    if (!CanWrite(problem_.op(op), state)) return;
    Add(next, from, AfterWrite(problem_.op(op), op, event.revision, state), op);
  }

  bool Shows(const Event& event, const KeyState& state) const {
    if (problem_.op(event.op).kind != Kind::kRange) return FitsKey(problem_.op(event.op), state);
    return event.item == nullptr ? !state.exists : ShowsKey(*event.item, state);
  }

  // An observation that tells everything ends not knowing.
  void Resume(const Event& event, Layer* next) const {
    const Operation& op = problem_.op(event.op);
    const Item* item = op.kind == Kind::kGet && !op.items.empty() ? op.items.data() : event.item;
    if (item == nullptr || !item->value || item->create_revision == 0 || item->mod_revision == 0 ||
        item->version == 0) {
      return;
    }
    next->any = false;
    next->states = {
        {true, item->create_revision, item->mod_revision, item->version, &*item->value, kNoOp}};
  }

  Finding Contradiction(const Event& event) const {
    const KeyState& state = layers_.back().states[0];
    Finding finding{Verdict::kNotLinearizable, "", {}, {}};
    if (state.writer != kNoOp) finding.involved.push_back(state.writer);
    std::string at = " at revision " + std::to_string(event.revision);
    if (event.type == Event::Type::kGap) {  // no write of another key, and none of this one's
      finding.reason = "revision " + std::to_string(event.revision) +
                       " was made by nobody: " + DescribeKey(problem_.keys[key_], state) +
                       " before it";
      finding.involved.insert(finding.involved.end(), event.candidates->begin(),
                              event.candidates->end());
      return finding;
    }
    finding.involved.push_back(event.op);
    for (const Item& item : problem_.op(event.op).items) {
      const auto writer = problem_.writer.find(item.mod_revision);
      if (item.key == problem_.keys[key_] && writer != problem_.writer.end()) {
        finding.involved.push_back(writer->second);
      }
    }
    finding.reason = Describe(problem_.op(event.op));
    finding.reason +=
        event.type == Event::Type::kWrite
            ? " cannot have made revision " + std::to_string(event.revision) + ": before it "
            : " is wrong:" + at + " ";
    finding.reason += DescribeKey(problem_.keys[key_], state);
    if (layers_.back().states.size() > 1) {
      finding.reason += ", or what one of the writes of unknown outcome has made of it";
    }
    return finding;
  }

  const StoreProblem& problem_;
  const size_t key_;
  std::vector<Event> events_;
  std::vector<Layer> layers_;  // the initial one, then one after each event
};

// --- All keys
// -------------------------------------------------------------------------------------

Finding Projection::Prune(Candidates* candidates, const std::vector<size_t>& beyond, Ways* ways,
                          bool* changed) const {
  *changed = false;
  ways->clear();
  for (size_t key = 0; key < problem_.keys.size(); ++key) {
    const auto is_own = [&](size_t op) { return problem_.ops[op].key == key; };
    std::map<uint64_t, std::vector<size_t>> own;
    std::vector<Event> events = events_[key];
    for (const auto& [revision, ops] : *candidates) {
      std::vector<size_t> mine;
      std::ranges::copy_if(ops, std::back_inserter(mine), is_own);
      if (mine.empty()) continue;
      const bool others = mine.size() < ops.size();
      const auto& kept = own.emplace(revision, std::move(mine)).first->second;
      events.push_back(
          {.revision = revision, .type = Event::Type::kGap, .candidates = &kept, .others = others});
    }
    Walk walk(*this, key, std::move(events));
    Finding finding = walk.Forward();
    if (finding.verdict != Verdict::kLinearizable) return finding;
    walk.Backward();
    walk.KeepWays(ways);
    walk.VisitGaps([&](uint64_t revision, const std::vector<size_t>& remaining, bool must) {
      const size_t taken = std::erase_if((*candidates)[revision], [&](size_t op) {
        return is_own(op) ? std::ranges::find(remaining, op) == remaining.end() : must;
      });
      if (taken > 0) *changed = true;
    });
    // A write that comes after everything that was seen can explain any of them.
    if (std::ranges::any_of(beyond, is_own)) continue;
    for (const size_t op : loose_[key]) {
      if (walk.HasPlace(op)) continue;
      return {Verdict::kNotLinearizable,
              Describe(problem_.op(op)) +
                  " has no place: it fits no revision between its call and its answer",
              {op},
              {}};
    }
  }
  return {};
}

}  // namespace raftkv::linearizability
