// What the owner takes out of the core, and how it reports back that the work is done.
#include "base/check.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {

bool Core::Impl::HasReady() const {
  const HardState hard = hard_state();
  return !messages_.empty() || !messages_after_append_.empty() ||
         log_.unstable().HasNextEntries() || log_.HasNextCommitted(ApplyUnstable()) ||
         !read_states_.empty() || soft_state() != previous_soft_ ||
         (!hard.IsEmpty() && hard != previous_hard_) || log_.unstable().HasNextSnapshot();
}

Ready Core::Impl::TakeReady() {
  Ready ready;
  ready.entries = log_.unstable().NextEntries();
  ready.committed = log_.NextCommitted(ApplyUnstable());
  ready.messages = std::exchange(messages_, {});
  ready.read_states = std::exchange(read_states_, {});
  if (log_.unstable().HasNextSnapshot()) ready.snapshot = log_.unstable().snapshot();
  if (const SoftState soft = soft_state(); soft != previous_soft_) {
    ready.soft_state = previous_soft_ = soft;
  }
  const HardState hard = hard_state();
  // The commit index alone need not survive a crash (paper, figure 2: volatile state).
  ready.must_sync = !ready.entries.empty() || hard.term != previous_hard_.term ||
                    hard.vote != previous_hard_.vote;
  if (hard != previous_hard_) ready.hard_state = previous_hard_ = hard;

  if (config_.async_storage_writes) {
    AddStorageMessages(ready);
  } else {
    QueueOwnSteps(ready);
  }
  log_.AcceptUnstable();
  if (!ready.committed.empty()) {
    log_.AcceptApplying(ready.committed.back().index, EntrySize(ready.committed), ApplyUnstable());
  }
  return ready;
}

void Core::Impl::AddStorageMessages(Ready& ready) {
  std::vector<Message> responses = std::exchange(messages_after_append_, {});
  if (!ready.entries.empty() || ready.hard_state || ready.snapshot || !responses.empty()) {
    // After the leader's own acknowledgement, so that what commits by it is still in the unstable
    // log, where its term is found without asking the storage.
    if (NeedsStableReport(ready)) responses.push_back(MakeStorageAppendResponse(ready));
    ready.messages.push_back(
        {id(), kAppendThread, Term(),
         StorageAppend{ready.entries, ready.hard_state, ready.snapshot, std::move(responses)}});
  }
  if (!ready.committed.empty()) {
    StorageApply apply{ready.committed, {}};
    apply.responses.push_back(MakeStorageApplyResponse(ready.committed));
    ready.messages.push_back({id(), kApplyThread, Term(), std::move(apply)});
  }
}

// The owner persists each Ready before it sends its messages, so all of them may leave; those to
// this node itself are stepped by Advance().
void Core::Impl::QueueOwnSteps(Ready& ready) {
  CHECK(steps_on_advance_.empty(), "two accepted Ready structs without call to Advance");
  for (Message& m : messages_after_append_) {
    (m.to == id() ? steps_on_advance_ : ready.messages).push_back(std::move(m));
  }
  messages_after_append_.clear();
  if (NeedsStableReport(ready)) steps_on_advance_.push_back(MakeStorageAppendResponse(ready));
  if (!ready.committed.empty()) {
    steps_on_advance_.push_back(MakeStorageApplyResponse(ready.committed));
  }
}

void Core::Impl::Advance() {
  CHECK(!config_.async_storage_writes, "Advance must not be called when using AsyncStorageWrites");
  // A step may add messages for the next Ready, but never to this list.
  for (Message& m : steps_on_advance_) (void)Step(std::move(m));
  steps_on_advance_.clear();
}

bool Core::Impl::NeedsStableReport(const Ready& ready) const {
  return !log_.unstable().entries().empty() || ready.snapshot.has_value();
}

// Reports that everything up to the current end of the log is stable. It carries the term at which
// the write was ordered, and is ignored (as far as entries go) if the term has changed when it
// comes back. (index, term) of the last entry would not be enough: a newer leader may have had the
// entry replaced, and a third one, the first again, may have had it restored, with writes for both
// still under way; if the unstable log were dropped on the report of the first write, the entry of
// the second would show through until the third is done. While the term stays the same, nobody
// replaces what is being written.
//
// So that ignored reports are made good for, one goes with every write while anything is unstable,
// whether that write has entries or not; and each change of term is a write.
Message Core::Impl::MakeStorageAppendResponse(const Ready& ready) const {
  StorageAppendResponse response;
  if (!log_.unstable().entries().empty()) response.last = log_.LastId();
  response.snapshot = ready.snapshot;
  return {kAppendThread, id(), term_, std::move(response)};
}

// Without a term: committed entries are the same in all.
Message Core::Impl::MakeStorageApplyResponse(const std::vector<Entry>& entries) const {
  return {kApplyThread, id(), Term(), StorageApplyResponse{entries}};
}

}  // namespace raftkv::raft
