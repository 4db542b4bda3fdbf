#include "node/kv/state_machine.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/mutations.h"
#include "node/kv/commands.h"
#include "node/kv/format.h"
#include "node/kv/garbage.h"
#include "node/kv/header_cache.h"
#include "node/kv/membership.h"
#include "node/kv/reader.h"
#include "node/kv/slice_writer.h"
#include "node/storage/codec.h"

namespace raftkv::kv {
namespace {

using raft::Entry;
using From = SliceWriter::From;
using v1::ClusterState;

// A slice whose changes take more than this is written in parts, each as whole as the slice.
constexpr size_t kMaxBatchBytes = 64 << 20;

constexpr raft::Index kFirstIndex{1};
constexpr raft::Term kFirstTerm{1};

Status UnreadableEntry(raft::Index index, std::string_view what) {
  return Status(Code::kCorruption, "log entry " + std::to_string(index.value) + ": " +
                                       std::string(what) +
                                       " cannot be read: stop this member, remove its data "
                                       "directory and let it join again under a new id");
}

class StateMachineImpl final : public StateMachine {
 public:
  explicit StateMachineImpl(storage::StateStore* store) : store_(store) {}

  Status Load();

  Status InitializeCluster(const ClusterState& initial) override;
  Result<std::vector<ApplyResult>> Apply(std::span<const Entry> entries) override;
  std::optional<std::vector<ApplyResult>> ApplyInMemory(std::span<const Entry> entries) override;
  Result<bool> CollectGarbage(size_t max_versions) override;
  void PrepareReplace() override {
    cache_.BeginChange();
    cache_.Clear();
  }
  Status ReloadAfterReplace() override {
    PrepareReplace();
    cache_.EndChange();
    return Load();
  }

  AppliedState applied() const override {
    const Meta meta = published_meta();
    return {.index = meta.index,
            .term = meta.term,
            .revision = meta.revision,
            .compact_revision = meta.compact_revision};
  }
  Result<raft::Index> FlushedIndex() const override;
  std::shared_ptr<const ClusterState> cluster() const override {
    const std::lock_guard lock(mutex_);
    return cluster_;
  }

  Result<std::optional<KeyValue>> Get(std::string_view key, uint64_t revision) const override;
  Result<RangeResult> Range(const RangeRequest& request) const override {
    Result<RangeResult> range = ReadRange(*store_->View(), request);
    if (range) NoteShown(range->revision);
    return range;
  }
  uint64_t readable_revision() const override {
    const uint64_t shown = shown_.load(std::memory_order_acquire);
    return std::max(shown, published_meta().revision);
  }
  Result<StateHash> Hash() const override { return HashState(*store_->View()); }

  uint64_t live_keys() const override { return published_meta().live_keys; }
  uint64_t stored_versions() const override { return published_meta().stored_versions; }

 private:
  // A batch in the making, and the membership as of its last entry.
  struct Slice {
    SliceWriter writer;
    std::shared_ptr<const ClusterState> cluster;
  };

  Result<ApplyResult> ApplyEntry(const Entry& entry, Slice* slice);
  Status ApplyCommand(const Entry& entry, Slice* slice, ApplyResult* result);
  Status ApplyConfChange(const Entry& entry, Slice* slice, ApplyResult* result);
  Status Commit(Slice& slice);

  Meta published_meta() const {
    const std::lock_guard lock(mutex_);
    return meta_;
  }
  void Publish(const Meta& meta, std::shared_ptr<const ClusterState> cluster) {
    const std::lock_guard lock(mutex_);
    meta_ = meta;
    cluster_ = std::move(cluster);
  }

  void NoteShown(uint64_t revision) const {
    uint64_t shown = shown_.load(std::memory_order_relaxed);
    while (shown < revision &&
           !shown_.compare_exchange_weak(shown, revision, std::memory_order_acq_rel)) {
    }
  }

  storage::StateStore* const store_;
  HeaderCache cache_;
  mutable std::atomic<uint64_t> shown_{0};  // the newest revision that a reader was shown
  google::protobuf::Arena arena_;           // of the command in progress
  GcProgress gc_;
  bool format_stored_ = false;

  // Written by the applying thread only, which therefore reads them without the lock. Held for no
  // longer than a copy takes.
  mutable std::mutex mutex_;
  Meta meta_;
  std::shared_ptr<const ClusterState> cluster_ = std::make_shared<ClusterState>();
};

// --- Loading
// --------------------------------------------------------------------------------------

Status CheckFormat(const std::string& bytes) {
  const auto format = ParseFormat(bytes);
  if (!format) return Unreadable("the format number");
  if (*format == kStateFormat || MUTATION(read_any_format)) return Status::Ok();
  return Status(Code::kFailedPrecondition,
                "the state database has format " + std::to_string(*format) +
                    ", this program reads format " + std::to_string(kStateFormat) +
                    ": start the raftkv version that wrote it, or one that can convert it");
}

Status CheckEmpty(const storage::StateView& view) {
  const auto it = view.NewIterator({}, {});
  it->SeekToFirst();
  RETURN_IF_ERROR(it->status());
  return it->Valid() ? Unreadable("the format number (there is none)") : Status::Ok();
}

Status StateMachineImpl::Load() {
  const auto view = store_->View();
  ASSIGN_OR_RETURN_STATUS(const auto format, view->Get(kFormatKey));
  format_stored_ = format.has_value();
  RETURN_IF_ERROR(format ? CheckFormat(*format) : CheckEmpty(*view));

  ASSIGN_OR_RETURN_STATUS(const Meta meta, ReadMeta(*view));
  ASSIGN_OR_RETURN_STATUS(const auto cluster_bytes, view->Get(kClusterKey));
  auto cluster = std::make_shared<ClusterState>();
  if (cluster_bytes && !cluster->ParseFromString(*cluster_bytes)) {
    return Unreadable("the membership");
  }
  ASSIGN_OR_RETURN_STATUS(const auto gc_bytes, view->Get(kGarbageKey));
  const auto gc = gc_bytes ? ParseGcProgress(*gc_bytes) : GcProgress();
  if (!gc) return Unreadable("the progress of garbage collection");
  gc_ = *gc;
  Publish(meta, std::move(cluster));
  return Status::Ok();
}

Status StateMachineImpl::InitializeCluster(const ClusterState& initial) {
  ASSIGN_OR_RETURN_STATUS(const ClusterState first, FirstClusterState(initial, kFirstIndex));
  if (meta_.index != raft::Index()) {
    // Later entries have changed the first state; the id tells that it was this cluster's.
    const bool same =
        cluster_->cluster_id() == first.cluster_id() &&
        (meta_.index != kFirstIndex || cluster_->SerializeAsString() == first.SerializeAsString());
    return same ? store_->Flush()
                : Status(Code::kConflict, "this node belongs to cluster " +
                                              std::to_string(cluster_->cluster_id()) +
                                              " already, with other members or another id");
  }
  Slice slice{SliceWriter(store_, &cache_, meta_, From::kAnywhere),
              std::make_shared<const ClusterState>(first)};
  slice.writer.meta().index = kFirstIndex;
  slice.writer.meta().term = kFirstTerm;
  RETURN_IF_ERROR(Commit(slice));
  // No log entry can make this state again.
  return store_->Flush();
}

// --- Applying
// -------------------------------------------------------------------------------------

Result<std::vector<ApplyResult>> StateMachineImpl::Apply(std::span<const Entry> entries) {
  std::vector<ApplyResult> results;
  results.reserve(entries.size());
  size_t written = 0;  // of the results
  std::optional<Slice> slice;
  const auto commit = [&] {
    RETURN_IF_ERROR(Commit(*slice));
    slice.reset();
    written = results.size();
    return Status::Ok();
  };
  // What was written is not applied again: its results are told now or never.
  const auto fail = [&](Status error) -> Result<std::vector<ApplyResult>> {
    if (written == 0) return Error(std::move(error));
    results.resize(written);
    return std::move(results);
  };
  for (const Entry& entry : entries) {
    const raft::Index last = slice ? slice->writer.meta().index : meta_.index;
    if (entry.index <= last) continue;
    if (entry.index != last.Next()) {
      return Error(Code::kInternal, "entry " + std::to_string(entry.index.value) +
                                        " was to be applied after entry " +
                                        std::to_string(last.value));
    }
    if (!slice) slice.emplace(SliceWriter(store_, &cache_, meta_, From::kAnywhere), cluster_);
    ASSIGN_OR_RETURN(ApplyResult result, ApplyEntry(entry, &*slice));
    results.push_back(std::move(result));
    if (slice->writer.memory_bytes() <= kMaxBatchBytes) continue;
    if (Status status = commit(); !status.ok()) return fail(std::move(status));
  }
  if (slice) {
    if (Status status = commit(); !status.ok()) return fail(std::move(status));
  }
  return results;
}

std::optional<std::vector<ApplyResult>> StateMachineImpl::ApplyInMemory(
    std::span<const Entry> entries) {
  Slice slice{SliceWriter(store_, &cache_, meta_, From::kMemory), cluster_};
  std::vector<ApplyResult> results;
  results.reserve(entries.size());
  for (const Entry& entry : entries) {
    if (entry.index != slice.writer.meta().index.Next() || entry.IsConfChange()) {
      return std::nullopt;
    }
    Result<ApplyResult> result = ApplyEntry(entry, &slice);
    if (!result) return std::nullopt;
    results.push_back(*std::move(result));
  }
  if (!Commit(slice).ok()) return std::nullopt;
  return results;
}

Result<ApplyResult> StateMachineImpl::ApplyEntry(const Entry& entry, Slice* slice) {
  ApplyResult result{.index = entry.index};
  if (entry.IsConfChange()) {
    RETURN_UNEXPECTED_IF_ERROR(ApplyConfChange(entry, slice, &result));
  } else if (!entry.data().empty()) {
    const Status applied = ApplyCommand(entry, slice, &result);
    arena_.Reset();
    if (!applied.ok()) return Error(applied);
  }
  slice->writer.meta().index = entry.index;
  slice->writer.meta().term = entry.term;
  return result;
}

Status StateMachineImpl::ApplyCommand(const Entry& entry, Slice* slice, ApplyResult* result) {
  auto* command = google::protobuf::Arena::CreateMessage<v1::Command>(&arena_);
  const std::string_view data = entry.data();
  if (!command->ParseFromArray(data.data(), static_cast<int>(data.size())) ||
      command->version() == 0) {
    return UnreadableEntry(entry.index, "the command");
  }
  if (command->version() > kCommandVersion) {
    return Status(Code::kFailedPrecondition,
                  "log entry " + std::to_string(entry.index.value) + " has command version " +
                      std::to_string(command->version()) + ", this program understands " +
                      std::to_string(kCommandVersion) +
                      ": upgrade this member to the version of the others");
  }
  result->origin = command->origin();
  result->request_id = command->request_id();
  if (!command->has_invite()) {
    ASSIGN_OR_RETURN_STATUS(result->command, ExecuteCommand(*command, slice->writer));
    return Status::Ok();
  }
  result->command.emplace().revision = slice->writer.meta().revision;
  auto next = Invite(*slice->cluster, command->invite());
  if (next) {
    slice->cluster = std::make_shared<const ClusterState>(*std::move(next));
  } else {
    result->command->status = next.error();
  }
  return Status::Ok();
}

Status StateMachineImpl::ApplyConfChange(const Entry& entry, Slice* slice, ApplyResult* result) {
  const auto& change = std::get<std::shared_ptr<const raft::ConfChange>>(entry.payload);
  const std::string_view context = change->context.view();
  v1::MembershipChange request;
  if (!request.ParseFromArray(context.data(), static_cast<int>(context.size()))) {
    return UnreadableEntry(entry.index, "the context of the configuration change");
  }
  result->origin = request.origin();
  result->request_id = request.request_id();
  MembershipResult& membership = result->membership.emplace();
  auto next = ChangeMembership(*slice->cluster, *change, request, entry.index);
  if (next) {
    slice->cluster = std::make_shared<const ClusterState>(*std::move(next));
    result->accepted_change = change;
  } else {
    membership.status = next.error();
  }
  membership.config_index = slice->cluster->config_index();
  membership.conf = storage::FromProto(slice->cluster->conf());
  return Status::Ok();
}

Status StateMachineImpl::Commit(Slice& slice) {
  if (!format_stored_) slice.writer.PutMeta(kFormatKey, EncodeFormat(kStateFormat));
  if (slice.cluster != cluster_) {
    slice.writer.PutMeta(kClusterKey, slice.cluster->SerializeAsString());
  }
  RETURN_IF_ERROR(slice.writer.Commit());
  format_stored_ = true;
  Publish(slice.writer.meta(), std::move(slice.cluster));
  return Status::Ok();
}

Result<bool> StateMachineImpl::CollectGarbage(size_t max_versions) {
  CHECK(max_versions > 0);
  if (gc_.done && gc_.target == meta_.compact_revision) return false;
  Meta meta = meta_;
  GcProgress progress = gc_;
  const auto batch = store_->NewBatch();
  RETURN_UNEXPECTED_IF_ERROR(
      kv::CollectGarbage(*store_, max_versions, batch.get(), &meta, &progress));
  batch->Put(kGarbageKey, EncodeGcProgress(progress));
  batch->Put(kMetaKey, EncodeMeta(meta));
  RETURN_UNEXPECTED_IF_ERROR(store_->Write(*batch));
  gc_ = progress;
  Publish(meta, cluster_);
  return !progress.done;
}

// --- Reading
// --------------------------------------------------------------------------------------

Result<raft::Index> StateMachineImpl::FlushedIndex() const {
  ASSIGN_OR_RETURN(const auto bytes, store_->FlushedGet(kMetaKey));
  if (!bytes) return raft::Index();
  const auto meta = ParseMeta(*bytes);
  if (!meta) return Error(Unreadable("the flushed applied index"));
  // The store may have written a batch out before Apply has announced it.
  return std::min(meta->index, published_meta().index);
}

Result<std::optional<KeyValue>> StateMachineImpl::Get(std::string_view key,
                                                      uint64_t revision) const {
  if (revision != 0) return GetAt(*store_->View(), key, revision);
  Result<std::optional<KeyValue>> newest = GetNewest(*store_, cache_, key);
  if (newest && *newest) NoteShown((*newest)->mod_revision);
  return newest;
}

}  // namespace

Result<std::unique_ptr<StateMachine>> StateMachine::Open(storage::StateStore* store) {
  auto machine = std::make_unique<StateMachineImpl>(store);
  RETURN_UNEXPECTED_IF_ERROR(machine->Load());
  return machine;
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) ++end.back();
  return end;
}

}  // namespace raftkv::kv
