#include "node/kv/garbage.h"

#include <string>

namespace raftkv::kv {
namespace {

class Collector {
 public:
  Collector(storage::StateStore& store, storage::StateBatch* batch, Meta* meta)
      : store_(store), batch_(*batch), meta_(*meta) {}

  // What the row has ended goes, unless that was done before.
  void FreePrevious(const Row& row) {
    // A tombstone goes by itself.
    if (!IsLive(row.previous_kind)) return;
    DeleteVersion(row.previous);
    if (row.previous_kind != RecordKind::kLargeValue) return;
    std::string key;
    AppendValueKey(row.previous, &key);
    batch_.Delete(key);
  }

  // A tombstone that nothing can show any more.
  Status DropTombstone(const Row& row) {
    std::string current_key;
    AppendCurrentKey(row.key, &current_key);
    ASSIGN_OR_RETURN_STATUS(const auto current, store_.Get(current_key));
    const auto header = current ? ParseHeader(*current) : std::nullopt;
    if (!header) return Unreadable("a deleted key's record");
    // If the key was made anew, its version names this one, which nobody follows any more.
    if (header->mod == row.mod) batch_.Delete(current_key);
    DeleteVersion(row.mod);
    return Status::Ok();
  }

 private:
  void DeleteVersion(Revision revision) {
    std::string key;
    AppendRevisionKey(revision, &key);
    batch_.Delete(key);
    --meta_.stored_versions;
  }

  storage::StateStore& store_;
  storage::StateBatch& batch_;
  Meta& meta_;
};

}  // namespace

Status CollectGarbage(storage::StateStore& store, size_t max_rows, storage::StateBatch* batch,
                      Meta* meta, GcProgress* progress) {
  if (progress->target != meta->compact_revision) {
    // Tombstones at the old target stayed; they are the first that can go now.
    *progress = {.target = meta->compact_revision,
                 .next = {progress->next.main, 0},
                 .freed = progress->freed,
                 .done = false};
  }
  std::string lower;
  AppendRevisionKey(progress->next, &lower);
  std::string upper;
  AppendRevisionKey({progress->target + 1, 0}, &upper);
  const auto view = store.View();
  const auto it = view->NewIterator(lower, upper);
  Collector collector(store, batch, meta);
  size_t rows = 0;
  for (it->SeekToFirst(); it->Valid() && rows < max_rows; it->Next(), ++rows) {
    const auto revision = ParseRevisionKey(it->key());
    const auto row = revision ? ParseRow(*revision, it->value()) : std::nullopt;
    if (!row) return Unreadable("a row of the revision table");
    progress->next = {revision->main, revision->sub + 1};
    if (*revision >= progress->freed) {
      collector.FreePrevious(*row);
      progress->freed = progress->next;
    }
    if (row->kind == RecordKind::kTombstone && revision->main < progress->target) {
      RETURN_IF_ERROR(collector.DropTombstone(*row));
    }
  }
  RETURN_IF_ERROR(it->status());
  if (!it->Valid()) {
    progress->next = {progress->target, 0};
    progress->done = true;
  }
  return Status::Ok();
}

}  // namespace raftkv::kv
