// What a member tidies by itself: the log behind the state, and the history of keys.

#include <algorithm>

#include "base/mutations.h"
#include "node/kv/commands.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

// A leader whose disk is full hands over in its second round of housekeeping, and tries again after
// so many: a transfer has ended by then.
constexpr uint64_t kHandOverRounds = 10;
// The state is flushed that often while the disk lacks space, so that the log can be cut.
constexpr uint64_t kFlushAfterIfShort = 1 << 20;
// And of the tail that is kept for slow followers this share stays.
constexpr uint64_t kKeptShareIfShort = 16;

}  // namespace

void Replica::TruncateLog() {
  if (installing_) return;
  // The database flushes by itself too.
  flushed_ = std::max(flushed_, env_.flushed_index());
  const Options& options = *env_.options;
  const raft::Index applied = core_->applied();
  const raft::Index durable =
      MUTATION(truncate_to_unflushed) ? applied : std::min(flushed_, applied);
  // What is kept for those who lag a little goes before the disk is full; who lags gets a snapshot.
  const bool is_short = env_.space_is_short && env_.space_is_short();
  const bool waits = env_.waits_for_space && env_.waits_for_space();
  const uint64_t share = is_short ? kKeptShareIfShort : 1;
  const uint64_t keep_bytes = options.log_keep_bytes / share;
  const uint64_t keep_entries = options.log_keep_entries / share;
  uint64_t durable_bytes = 0;  // applied bytes up to `durable`
  raft::Index keep_from;
  for (const auto& [index, bytes] : applied_sizes_) {
    if (index <= durable) durable_bytes = bytes;
    if (bytes + keep_bytes < applied_bytes_total_) keep_from = index;
  }
  if (applied.value > keep_entries) keep_from = std::max(keep_from, applied - keep_entries);
  if (waits) keep_from = applied;
  raft::Index target = std::min(durable, keep_from);
  if (!snapshot_targets_.empty() && replica_log_.ready_snapshot()) {
    target = std::min(target, replica_log_.ready_snapshot()->index);
  }
  // Single entries are not worth a write, unless the disk lacks their space.
  if (target.value >= truncated_to_.value + (waits ? 1 : 100)) {
    truncated_to_ = target;
    env_.ports->SubmitTruncate(target);
    while (applied_sizes_.size() > 1 && applied_sizes_.front().first < target) {
      applied_sizes_.pop_front();
    }
  }
  const uint64_t flush_after = is_short ? std::min(kFlushAfterIfShort, options.flush_after_bytes)
                                        : options.flush_after_bytes;
  if (!flush_under_way_ && applied_bytes_total_ - durable_bytes > flush_after &&
      durable < applied) {
    flush_under_way_ = true;
    env_.ports->SubmitApply(FlushState{});
  }
  const uint64_t compacted = env_.storage.machine->applied().compact_revision;
  if (!garbage_under_way_ && compacted > garbage_done_for_) {
    garbage_under_way_ = true;
    env_.ports->SubmitApply(CollectGarbage{});
  }
}

// A leader that cannot write cannot answer writes either, although the others carry them out. Nor
// can it be elected again before there is space.
void Replica::HandOverWhileFull() {
  const bool waits = env_.waits_for_space && env_.waits_for_space();
  full_rounds_ = waits ? full_rounds_ + 1 : 0;
  if (full_rounds_ % kHandOverRounds != 2 || MUTATION(lead_without_room)) return;
  // Once an election timeout the core forgets who has answered: at that tick nobody is there. Both
  // beats can fall together for ever, so it is tried again in the next round.
  if (!HandOver("the disk is full") && !MUTATION(hand_over_in_step)) --full_rounds_;
}

void Replica::SampleRevision() {
  const Duration keep = env_.options->compact_keep_age;
  if (keep <= Duration::zero()) return;
  const MonotonicTime now = env_.clock->Now();
  // Old enough, and so is the next: of no use any more.
  while (revision_samples_.size() > 1 && now - revision_samples_[1].first >= keep) {
    revision_samples_.pop_front();
  }
  // However long the age is, some thousand samples measure it well enough.
  const Duration step = std::max<Duration>(std::chrono::seconds(1), keep / 1000);
  if (revision_samples_.empty() || now - revision_samples_.back().first >= step) {
    revision_samples_.emplace_back(now, env_.storage.machine->applied().revision);
  }
}

// The leader alone decides how much history to keep, so that every replica forgets the same.
void Replica::ProposeCompaction() {
  if (!is_leader()) return;
  const Options& options = *env_.options;
  const kv::AppliedState applied = env_.storage.machine->applied();
  uint64_t target = applied.revision;
  if (options.compact_keep_age > Duration::zero()) {
    const bool old_enough =
        !revision_samples_.empty() &&
        env_.clock->Now() - revision_samples_.front().first >= options.compact_keep_age;
    target = old_enough ? revision_samples_.front().second : 0;
  }
  if (options.compact_keep_revisions > 0) {
    const uint64_t keep = options.compact_keep_revisions;
    target = std::min(target, applied.revision > keep ? applied.revision - keep : 0);
  }
  if (options.compact_keep_age <= Duration::zero() && options.compact_keep_revisions == 0) return;
  // In steps of a tenth: a compaction is a log entry and a walk over the history.
  const uint64_t step = std::max<uint64_t>(options.compact_keep_revisions / 10, 1000);
  if (target < applied.compact_revision + step) return;
  v1::Command command;
  command.mutable_compact()->set_revision(target);
  command.set_version(kv::VersionOf(command));
  (void)core_->Propose(Buffer(command.SerializeAsString()));
}

}  // namespace raftkv::runtime
