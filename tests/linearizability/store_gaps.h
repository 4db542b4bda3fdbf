// Revisions that no answered write has made, and the writes that may have made them: those of
// unknown outcome and those that did not tell their revision.
//
// Thread-safety: immutable after construction.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "tests/linearizability/store_problem.h"
#include "tests/linearizability/store_projection.h"

namespace raftkv::linearizability {

class Gaps {
 public:
  explicit Gaps(const StoreProblem& problem);

  // A revision that nobody can have made; kOk if each has a candidate.
  const Finding& finding() const { return finding_; }

  // The writes that can have made the revision. First the one that leaves a writer for each other
  // gap, then the most urgent: those that can make no later one. `revision` has no known writer; it
  // may lie above all that were seen.
  const std::vector<size_t>& CandidatesFor(uint64_t revision) const;

  // Of the keys that may have changed at this gap: what leads to what was read of them later.
  const std::vector<Way>& WaysFrom(uint64_t revision) const;

  // All free and open writes.
  const std::vector<size_t>& writes() const { return writes_; }

 private:
  bool CanMake(size_t op, uint64_t revision) const;
  void FindCandidates();
  bool GiveOutSingles();
  void Prune();
  void SortByUrgency();
  void Match();
  bool FindWriter(uint64_t revision, std::set<size_t>* tried);
  void NobodyMade(uint64_t first, uint64_t count);

  const StoreProblem& problem_;
  std::vector<size_t> writes_;
  Candidates candidates_;              // of each gap
  std::map<size_t, uint64_t> gap_of_;  // of matched writes
  std::vector<size_t> beyond_;         // for revisions above those seen
  Ways ways_;
  Finding finding_;
};

}  // namespace raftkv::linearizability
