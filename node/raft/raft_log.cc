#include "node/raft/raft_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/mutations.h"

namespace raftkv::raft {

RaftLog::RaftLog(const LogReader& stable, Report report, uint64_t max_applying_bytes)
    : stable_(stable),
      report_(report),
      unstable_(stable.last_index().Next(), report),
      committed_(stable.first_index().Prev()),
      applying_(committed_),
      applied_(committed_),
      max_applying_bytes_(max_applying_bytes) {
  CHECK(max_applying_bytes > 0);
}

Index RaftLog::first_index() const {
  if (unstable_.snapshot()) return unstable_.snapshot()->index.Next();
  return stable_.first_index();
}

Index RaftLog::last_index() const {
  if (const auto index = unstable_.LastIndex()) return *index;
  return stable_.last_index();
}

LogResult<Term> RaftLog::TermAt(Index index) const {
  // The unstable part first: it answers most questions without a call to storage.
  if (const auto term = unstable_.TermAt(index)) return *term;
  if (index.Next() < first_index()) return std::unexpected(LogError::kCompacted);
  if (index > last_index()) return std::unexpected(LogError::kUnavailable);
  return stable_.term(index);
}

EntryId RaftLog::LastId() const {
  const Index last = last_index();
  const LogResult<Term> term = TermAt(last);
  CHECK(term, Text("unexpected error when getting the last term at ", last));
  return {*term, last};
}

bool RaftLog::Matches(EntryId id) const {
  const LogResult<Term> term = TermAt(id.index);
  return term && *term == id.term;
}

bool RaftLog::IsUpToDate(EntryId their_last) const {
  const EntryId ours = LastId();
  return their_last.term > ours.term ||
         (their_last.term == ours.term && their_last.index >= ours.index);
}

bool RaftLog::AtHand(Index index) const {
  return index >= unstable_.offset() || stable_.AtHand(index);
}

// They may be compacted in this very moment: another thread does that.
LogResult<std::vector<Entry>> RaftLog::SliceStable(Index low, Index high,
                                                   uint64_t max_bytes) const {
  LogResult<std::vector<Entry>> entries = stable_.entries(low, high, max_bytes);
  CHECK(entries || entries.error() == LogError::kCompacted,
        Text("entries[", low, ":", high, ") is unavailable from storage"));
  return entries;
}

LogResult<std::vector<Entry>> RaftLog::Slice(Index low, Index high, uint64_t max_bytes) const {
  CHECK(low <= high, Text("invalid slice ", low, " > ", high));
  if (low < first_index()) return std::unexpected(LogError::kCompacted);
  CHECK(high <= last_index().Next(),
        Text("slice[", low, ",", high, ") out of bound [", first_index(), ",", last_index(), "]"));
  if (low == high) return std::vector<Entry>();
  const Index offset = unstable_.offset();
  if (low >= offset) return unstable_.Slice(low, high, max_bytes);

  const Index cut = std::min(high, offset);
  LogResult<std::vector<Entry>> entries = SliceStable(low, cut, max_bytes);
  // Shorter than asked: the next entry would exceed the limit.
  if (!entries || high <= offset || entries->size() < cut - low) return entries;
  const uint64_t size = max_bytes == kNoLimit ? 0 : EntrySize(*entries);
  const uint64_t first_unstable = EntrySize(unstable_.entries().front());
  if (size >= max_bytes || first_unstable > max_bytes - size) return entries;
  std::vector<Entry> rest = unstable_.Slice(offset, high, max_bytes - size);
  entries->insert(entries->end(), std::make_move_iterator(rest.begin()),
                  std::make_move_iterator(rest.end()));
  return entries;
}

LogResult<std::vector<Entry>> RaftLog::EntriesFrom(Index from, uint64_t max_bytes) const {
  const Index last = last_index();
  if (from > last) return std::vector<Entry>();
  return Slice(from, last.Next(), max_bytes);
}

size_t RaftLog::FindConflict(const std::vector<Entry>& entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (Matches(entry.id())) continue;
    if (entry.index <= last_index()) {
      report_.Info("found conflict at index ", entry.index,
                   " [existing term: ", TermOrZero(entry.index), ", conflicting term: ", entry.term,
                   "]");
    }
    return i;
  }
  return entries.size();
}

std::optional<Index> RaftLog::MaybeAppend(EntryId prev, std::vector<Entry>&& entries,
                                          Index committed) {
  // The consistency check that induction rests on (paper, section 5.3).
  const bool fits =
      MUTATION(append_without_check) && prev.index <= last_index() && prev.index >= committed_;
  if (!fits && !Matches(prev)) return std::nullopt;
  const Index last_new = prev.index + entries.size();
  size_t conflict = FindConflict(entries);
  if (MUTATION(late_append_cuts_the_log) && !entries.empty() && entries[0].index > committed_) {
    conflict = 0;
  }
  if (conflict < entries.size()) {
    CHECK(entries[conflict].index > committed_,
          Text("entry ", entries[conflict].index, " conflict with committed entry [committed(",
               committed_, ")]"));
    Append(std::move(entries), conflict);
  }
  CommitTo(std::min(committed, last_new));
  return last_new;
}

void RaftLog::Append(std::vector<Entry>&& entries, size_t from) {
  if (from >= entries.size()) return;
  const Index after = entries[from].index.Prev();
  CHECK(after >= committed_,
        Text("after(", after, ") is out of range [committed(", committed_, ")]"));
  unstable_.TruncateAndAppend(std::move(entries), from);
}

RaftLog::Hint RaftLog::FindConflictByTerm(Index index, Term term) const {
  for (; index; index = index.Prev()) {
    const LogResult<Term> ours = TermAt(index);
    // Compacted or not yet there: it may match.
    if (!ours) return {index, Term()};
    if (*ours <= term) return {index, *ours};
  }
  return {};
}

void RaftLog::CommitTo(Index index) {
  if (index <= committed_) return;
  CHECK(index <= last_index(),
        Text("tocommit(", index, ") is out of range [lastIndex(", last_index(),
             ")]. Was the raft log corrupted, truncated, or lost?"));
  committed_ = index;
}

bool RaftLog::MaybeCommit(EntryId at) {
  // Term 0 is never a leader's, but it is what an unknown term looks like.
  if (!at.term || at.index <= committed_) return false;
  if (!Matches(at)) return false;
  CommitTo(at.index);
  return true;
}

Index RaftLog::MaxAppliable(bool allow_unstable) const {
  if (MUTATION(apply_before_commit)) return std::min(last_index(), unstable_.offset().Prev());
  return allow_unstable ? committed_ : std::min(committed_, unstable_.offset().Prev());
}

bool RaftLog::HasNextCommitted(bool allow_unstable) const {
  // Nothing beside a snapshot: what should be applied first?
  if (applying_paused_ || HasPendingSnapshot()) return false;
  return applying_ < MaxAppliable(allow_unstable) && AtHand(applying_.Next());
}

std::vector<Entry> RaftLog::NextCommitted(bool allow_unstable) const {
  if (!HasNextCommitted(allow_unstable)) return {};
  CHECK(applying_bytes_ < max_applying_bytes_, "applying entry size not positive");
  LogResult<std::vector<Entry>> entries =
      Slice(applying_.Next(), MaxAppliable(allow_unstable).Next(),
            max_applying_bytes_ == kNoLimit ? kNoLimit : max_applying_bytes_ - applying_bytes_);
  CHECK(entries, "unexpected error when getting unapplied entries");
  return std::move(*entries);
}

void RaftLog::AcceptApplying(Index index, uint64_t bytes, bool allow_unstable) {
  CHECK(index <= committed_ || MUTATION(apply_before_commit),
        Text("applying(", index, ") is out of range [prevApplying(", applying_, "), committed(",
             committed_, ")]"));
  applying_ = index;
  applying_bytes_ += bytes;
  // If less was handed out than there is, the next entry would exceed the limit.
  applying_paused_ = applying_bytes_ >= max_applying_bytes_ || index < MaxAppliable(allow_unstable);
}

void RaftLog::AppliedTo(Index index, uint64_t bytes) {
  CHECK(applied_ <= index && index <= committed_,
        Text("applied(", index, ") is out of range [prevApplied(", applied_, "), committed(",
             committed_, ")]"));
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(bytes, applying_bytes_);
  applying_paused_ = applying_bytes_ >= max_applying_bytes_;
}

LogResult<Snapshot> RaftLog::LatestSnapshot() const {
  if (unstable_.snapshot()) return *unstable_.snapshot();
  return stable_.snapshot();
}

void RaftLog::RestoreSnapshot(Snapshot snapshot) {
  report_.Info("log [", *this, "] starts to restore snapshot [index: ", snapshot.index,
               ", term: ", snapshot.term, "]");
  committed_ = snapshot.index;
  unstable_.Restore(std::move(snapshot));
}

std::string RaftLog::ToString() const {
  return Text("committed=", committed_, ", applied=", applied_, ", applying=", applying_,
              ", unstable.offset=", unstable_.offset(),
              ", unstable.offsetInProgress=", unstable_.accepted(),
              ", len(unstable.Entries)=", unstable_.entries().size());
}

}  // namespace raftkv::raft
