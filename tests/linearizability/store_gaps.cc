#include "tests/linearizability/store_gaps.h"

#include <algorithm>
#include <string>

#include "tests/linearizability/describe.h"

namespace raftkv::linearizability {

Gaps::Gaps(const StoreProblem& problem) : problem_(problem) {
  for (size_t op = 0; op < problem.ops.size(); ++op) {
    const Role role = problem.ops[op].role;
    if (role == Role::kFreeWrite || role == Role::kOpenWrite) writes_.push_back(op);
  }
  const uint64_t initial = problem.history->initial_revision;
  const uint64_t gaps = problem.max_revision - initial - problem.writer.size();
  if (gaps > writes_.size()) {
    uint64_t first = initial + 1;
    while (problem.writer.contains(first)) ++first;
    NobodyMade(first, gaps);
    return;
  }
  FindCandidates();
  if (finding_.verdict == Verdict::kLinearizable) Prune();
  if (finding_.verdict == Verdict::kLinearizable) SortByUrgency();
  if (finding_.verdict == Verdict::kLinearizable) Match();
}

const std::vector<size_t>& Gaps::CandidatesFor(uint64_t revision) const {
  const auto gap = candidates_.find(revision);
  return gap == candidates_.end() ? beyond_ : gap->second;
}

const std::vector<Way>& Gaps::WaysFrom(uint64_t revision) const {
  static const std::vector<Way> none;
  const auto gap = ways_.find(revision);
  return gap == ways_.end() ? none : gap->second;
}

bool Gaps::CanMake(size_t op, uint64_t revision) const {
  const PreparedOp& prepared = problem_.ops[op];
  if (revision <= prepared.after || revision > prepared.before) return false;
  if (problem_.IsUnchanged(prepared.key, revision)) return false;
  const auto evidence = problem_.evidence.find(revision);
  if (evidence == problem_.evidence.end()) return true;
  return std::ranges::all_of(evidence->second, [&](const Evidence& each) {
    const Operation& write = problem_.op(op);
    return each.key == prepared.key && write.kind == Kind::kPut &&
           (each.value == nullptr || *each.value == write.value);
  });
}

void Gaps::FindCandidates() {
  const uint64_t initial = problem_.history->initial_revision;
  for (uint64_t revision = initial + 1; revision <= problem_.max_revision; ++revision) {
    if (problem_.writer.contains(revision)) continue;
    std::vector<size_t>& candidates = candidates_[revision];
    for (const size_t op : writes_) {
      if (CanMake(op, revision)) candidates.push_back(op);
    }
    if (candidates.empty()) return NobodyMade(revision, 1);
  }
  beyond_ = writes_;
}

// What one key, or the gaps among themselves, do not allow; each may tell the other more.
void Gaps::Prune() {
  constexpr int kMaxRounds = 10;
  const Projection projection(problem_);
  bool changed = true;
  for (int round = 0; changed && round < kMaxRounds; ++round) {
    if (!GiveOutSingles()) return;
    finding_ = projection.Prune(&candidates_, beyond_, &ways_, &changed);
    if (finding_.verdict != Verdict::kLinearizable) return;
    for (const auto& [revision, candidates] : candidates_) {
      if (candidates.empty()) return NobodyMade(revision, 1);
    }
  }
}

// A write that is the only one for some revision can make no other. False if nothing is left for
// one.
bool Gaps::GiveOutSingles() {
  std::vector<uint64_t> singles;
  for (const auto& [revision, candidates] : candidates_) {
    if (candidates.size() == 1) singles.push_back(revision);
  }
  while (!singles.empty()) {
    const uint64_t owner = singles.back();
    singles.pop_back();
    const size_t op = candidates_[owner].front();
    std::erase(beyond_, op);
    for (auto& [revision, candidates] : candidates_) {
      if (revision == owner || std::erase(candidates, op) == 0) continue;
      if (candidates.empty()) {
        NobodyMade(revision, 1);
        return false;
      }
      if (candidates.size() == 1) singles.push_back(revision);
    }
  }
  return true;
}

void Gaps::SortByUrgency() {
  std::vector<uint64_t> last(problem_.ops.size());
  for (const auto& [revision, candidates] : candidates_) {
    for (const size_t op : candidates) last[op] = revision;
  }
  // Those that have to happen at all before those that need not.
  const auto urgency = [&](size_t op) {
    return std::tuple(last[op], problem_.ops[op].role != Role::kFreeWrite,
                      problem_.ops[op].interval.call, op);
  };
  const auto less = [&](size_t a, size_t b) { return urgency(a) < urgency(b); };
  for (auto& [revision, candidates] : candidates_) std::ranges::sort(candidates, less);
  std::ranges::sort(beyond_, less);
}

// A writer for each gap, no one for two (Kuhn's algorithm): without one there is no order, and with
// one the search does not use up early what a later gap needs.
void Gaps::Match() {
  for (const auto& [revision, candidates] : candidates_) {
    std::set<size_t> tried;
    if (!FindWriter(revision, &tried)) return NobodyMade(revision, 1);
  }
  for (const auto& [op, revision] : gap_of_) {
    std::vector<size_t>& candidates = candidates_[revision];
    const auto at = std::ranges::find(candidates, op);
    std::rotate(candidates.begin(), at, at + 1);
  }
}

bool Gaps::FindWriter(uint64_t revision, std::set<size_t>* tried) {
  for (const size_t op : candidates_[revision]) {
    if (!tried->insert(op).second) continue;
    const auto taken = gap_of_.find(op);
    if (taken == gap_of_.end() || FindWriter(taken->second, tried)) {
      gap_of_[op] = revision;
      return true;
    }
  }
  return false;
}

void Gaps::NobodyMade(uint64_t first, uint64_t count) {
  finding_.verdict = Verdict::kNotLinearizable;
  finding_.reason = "revision " + std::to_string(first) + " was made by nobody: ";
  if (count == 1) {
    finding_.reason += "no answered write has it, and no other write can have made it";
  } else {
    finding_.reason += std::to_string(count) + " revisions from there on belong to no answered " +
                       "write, and only " + std::to_string(writes_.size()) +
                       " other writes can have made some";
  }
  // For the reader: who saw such a revision, or else the neighbours; and who else was writing.
  constexpr size_t kMaxShown = 6;
  for (size_t op = 0; op < problem_.ops.size(); ++op) {
    if (problem_.ops[op].role == Role::kIdle) continue;
    const uint64_t seen = SeenRevision(problem_.op(op));
    const bool shows_it =
        count == 1 ? seen == first : seen >= first && !problem_.writer.contains(seen);
    if (shows_it && finding_.involved.size() < kMaxShown) finding_.involved.push_back(op);
  }
  for (const uint64_t neighbour : {first - 1, first + 1}) {
    const auto writer = problem_.writer.find(neighbour);
    if (writer != problem_.writer.end()) finding_.involved.push_back(writer->second);
  }
  if (count > 1 && writes_.size() <= kMaxShown) {
    finding_.involved.insert(finding_.involved.end(), writes_.begin(), writes_.end());
  }
}

}  // namespace raftkv::linearizability
