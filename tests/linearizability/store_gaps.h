// Revisions that no answered write has made, and the writes that may have made them: those of
// unknown outcome and those that did not tell their revision.
//
// Thread-safety: immutable after construction.
#pragma once

#include <map>
#include <vector>

#include "tests/linearizability/store_problem.h"

namespace raftkv::linearizability {

class Gaps {
 public:
  explicit Gaps(const StoreProblem& problem);

  // A revision that nobody can have made; kOk if each has a candidate.
  const Finding& finding() const { return finding_; }

  // The writes that can have made the revision, the most urgent first: those that can make no later
  // one. `revision` has no known writer; it may lie above all that were seen.
  const std::vector<size_t>& CandidatesFor(uint64_t revision) const;

  // All free and open writes.
  const std::vector<size_t>& writes() const { return writes_; }

 private:
  bool CanMake(size_t op, uint64_t revision) const;
  void FindCandidates();
  void GiveOutSingles();
  void SortByUrgency();
  void NobodyMade(uint64_t first, uint64_t count);

  const StoreProblem& problem_;
  std::vector<size_t> writes_;
  std::map<uint64_t, std::vector<size_t>> candidates_;  // of each gap
  std::vector<size_t> beyond_;                          // for revisions above those seen
  Finding finding_;
};

}  // namespace raftkv::linearizability
