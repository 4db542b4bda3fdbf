#include "node/kv/garbage.h"

#include <string>

namespace raftkv::kv {
namespace {

class Collector {
 public:
  Collector(storage::StateStore& store, storage::StateBatch* batch, Meta* meta)
      : store_(store), batch_(*batch), meta_(*meta) {}

  Status Collect(Revision revision, const Row& row) {
    if (row.previous != Revision()) {
      DeleteHistory(row.key, row.previous);
      DeleteValue(row.previous);
      --meta_.stored_versions;
    }
    if (revision.main < meta_.compact_revision) {
      if (row.kind == RecordKind::kTombstone) RETURN_IF_ERROR(DropTombstone(revision, row.key));
      batch_.Delete(RowKey(revision));
    } else if (row.previous != Revision()) {
      Row rest = row;
      rest.previous = {};
      std::string bytes;
      AppendRow(rest, &bytes);
      batch_.Put(RowKey(revision), bytes);
    }
    return Status::Ok();
  }

 private:
  static std::string RowKey(Revision revision) {
    std::string key;
    AppendRevisionKey(revision, &key);
    return key;
  }

  void DeleteHistory(std::string_view key, Revision revision) {
    std::string history_key;
    AppendHistoryKey(key, revision, &history_key);
    batch_.Delete(history_key);
  }

  void DeleteValue(Revision revision) {
    std::string value_key;
    AppendValueKey(revision, &value_key);
    batch_.Delete(value_key);
  }

  // It is the key's current record, or in the history if the key was made anew.
  Status DropTombstone(Revision revision, std::string_view key) {
    std::string current_key;
    AppendCurrentKey(key, &current_key);
    ASSIGN_OR_RETURN_STATUS(const auto current, store_.Get(current_key));
    const auto header = current ? ParseHeader(*current) : std::nullopt;
    if (!header) return Unreadable("a deleted key's record");
    if (header->mod == revision) {
      batch_.Delete(current_key);
    } else {
      DeleteHistory(key, revision);
    }
    --meta_.stored_versions;
    return Status::Ok();
  }

  storage::StateStore& store_;
  storage::StateBatch& batch_;
  Meta& meta_;
};

}  // namespace

Status CollectGarbage(storage::StateStore& store, size_t max_rows, storage::StateBatch* batch,
                      Meta* meta, GcProgress* progress) {
  if (progress->target != meta->compact_revision) {
    // The rows of the old target stayed; they are the first that can go now.
    *progress = {.target = meta->compact_revision, .next = {progress->next.main, 0}, .done = false};
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
    const auto row = ParseRow(it->value());
    if (!revision || !row) return Unreadable("a row of the revision table");
    RETURN_IF_ERROR(collector.Collect(*revision, *row));
    progress->next = {revision->main, revision->sub + 1};
  }
  RETURN_IF_ERROR(it->status());
  if (!it->Valid()) {
    progress->next = {progress->target, 0};
    progress->done = true;
  }
  return Status::Ok();
}

}  // namespace raftkv::kv
