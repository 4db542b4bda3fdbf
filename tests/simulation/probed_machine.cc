#include "tests/simulation/probed_machine.h"

#include <algorithm>

#include "tests/simulation/refusals.h"

namespace raftkv::sim {
namespace {

template <typename List>
bool Contains(const List& list, uint64_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

}  // namespace

Result<std::vector<kv::ApplyResult>> ProbedMachine::Apply(std::span<const raft::Entry> entries) {
  checker_->OnApply(*log_, node_, entries);
  const std::shared_ptr<const v1::ClusterState> before = real_->cluster();
  const uint64_t revision = real_->applied().revision;
  Result<std::vector<kv::ApplyResult>> results = real_->Apply(entries);
  if (!results) return results;
  checker_->OnResults(node_, entries, *results);
  checker_->OnApplied(node_, entries, revision, *real_);
  bool changed = false;
  for (const kv::ApplyResult& result : *results) {
    if (!result.membership) continue;
    changed = changed || result.membership->status.ok();
    if (!result.membership->status.ok()) coverage_->Hit(Path::change_refused);
    if (ForStaleIndex(result.membership->status)) coverage_->Hit(Path::change_stale_index);
  }
  if (changed) {
    const std::shared_ptr<const v1::ClusterState> after = real_->cluster();
    checker_->OnClusterState(node_, *after);
    CountChange(before->conf(), *after);
    on_change_(*before, *after);
  }
  return results;
}

std::optional<std::vector<kv::ApplyResult>> ProbedMachine::ApplyInMemory(
    std::span<const raft::Entry> entries) {
  if (!in_memory_()) return std::nullopt;
  const uint64_t revision = real_->applied().revision;
  std::optional<std::vector<kv::ApplyResult>> results = real_->ApplyInMemory(entries);
  if (!results) return std::nullopt;
  coverage_->Hit(Path::applied_at_once);
  checker_->OnApply(*log_, node_, entries);
  checker_->OnResults(node_, entries, *results);
  checker_->OnApplied(node_, entries, revision, *real_);
  return results;
}

Status ProbedMachine::ReloadAfterReplace() {
  RETURN_IF_ERROR(real_->ReloadAfterReplace());
  checker_->OnReplaced(node_, *real_);
  return Status::Ok();
}

void ProbedMachine::CountChange(const v1::ConfState& before, const v1::ClusterState& after) {
  const v1::ConfState& now = after.conf();
  if (before.voters_outgoing().empty() && !now.voters_outgoing().empty()) {
    coverage_->Hit(Path::joint_entered);
    const bool disjoint = std::none_of(now.voters().begin(), now.voters().end(), [&](uint64_t id) {
      return Contains(now.voters_outgoing(), id);
    });
    if (disjoint) coverage_->Hit(Path::joint_disjoint);
  }
  if (!before.voters_outgoing().empty() && now.voters_outgoing().empty()) {
    coverage_->Hit(Path::joint_left);
  }
  for (const uint64_t id : now.voters()) {
    if (Contains(before.learners(), id)) coverage_->Hit(Path::learner_promoted);
  }
  for (const uint64_t id : before.voters()) {
    if (Contains(now.learners(), id) || Contains(now.learners_next(), id)) {
      coverage_->Hit(Path::voter_demoted);
    }
  }
  for (const auto* list : {&before.voters(), &before.learners(), &before.voters_outgoing()}) {
    for (const uint64_t id : *list) {
      if (Contains(after.removed_ids(), id)) coverage_->Hit(Path::member_removed);
    }
  }
}

}  // namespace raftkv::sim
