#include "node/kv/reader.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace raftkv::kv {
namespace {

using storage::StateIterator;
using storage::StateView;

Status CheckRevision(uint64_t revision, const Meta& meta) {
  if (revision > meta.revision) {
    return Status(Code::kInvalidArgument, "revision " + std::to_string(revision) +
                                              " lies in the future: the store is at " +
                                              std::to_string(meta.revision));
  }
  if (revision < meta.compact_revision) {
    return Status(Code::kConflict, "revision " + std::to_string(revision) +
                                       " is compacted: the oldest that can be read is " +
                                       std::to_string(meta.compact_revision));
  }
  return Status::Ok();
}

Result<RecordHeader> ToHeader(std::string_view bytes) {
  const auto header = ParseHeader(bytes);
  if (!header) return Error(Unreadable("a record"));
  return *header;
}

// Of a live version that the view shows.
Result<std::string> ReadValue(const StateView& view, Revision revision) {
  std::string value_key;
  AppendValueKey(revision, &value_key);
  ASSIGN_OR_RETURN(auto value, view.Get(value_key));
  if (!value) return Error(Unreadable("a value"));
  return *std::move(value);
}

// The older versions of keys.
class HistoryReader {
 public:
  explicit HistoryReader(const StateView& view) : view_(view) {}

  // The key's newest version not newer than `revision`, which is older than the current one; none:
  // a header of kind kNone.
  Result<RecordHeader> Find(std::string_view key, uint64_t revision) {
    if (!it_) {
      it_ = view_.NewIterator(std::string(1, kHistoryTable), TableEnd(kHistoryTable));
    }
    seek_.clear();
    AppendHistoryKey(key, {revision, UINT32_MAX}, &seek_);
    it_->Seek(seek_);
    RETURN_UNEXPECTED_IF_ERROR(it_->status());
    const std::string_view prefix = std::string_view(seek_).substr(
        0, seek_.size() - sizeof(Revision::main) - sizeof(Revision::sub));
    if (!it_->Valid() || !it_->key().starts_with(prefix)) return RecordHeader();
    return ToHeader(it_->value());
  }

 private:
  const StateView& view_;
  std::unique_ptr<StateIterator> it_;
  std::string seek_;
};

KeyValue MakeKeyValue(std::string_view key, const RecordHeader& header, std::string value) {
  return {.key = std::string(key),
          .value = std::move(value),
          .create_revision = header.create,
          .mod_revision = header.mod.main,
          .version = header.version};
}

// Collects one range at one revision.
class RangeReader {
 public:
  RangeReader(const StateView& view, const RangeRequest& request, uint64_t revision)
      : view_(view),
        request_(request),
        limit_(request.limit == 0 ? kMaxRangeItems : std::min(request.limit, kMaxRangeItems)),
        history_(view) {
    result_.revision = revision;
  }

  Result<RangeResult> Run() {
    if (!request_.end.empty() && request_.end <= request_.start) return std::move(result_);
    std::string lower;
    AppendCurrentKey(request_.start, &lower);
    std::string upper = TableEnd(kCurrentTable);
    if (!request_.end.empty()) {
      upper.clear();
      AppendCurrentKey(request_.end, &upper);
    }
    const auto it = view_.NewIterator(lower, upper);
    request_.descending ? it->SeekToLast() : it->SeekToFirst();
    while (it->Valid() && !result_.more) {
      RETURN_UNEXPECTED_IF_ERROR(Visit(it->key().substr(1), it->value()));
      request_.descending ? it->Prev() : it->Next();
    }
    RETURN_UNEXPECTED_IF_ERROR(it->status());
    return std::move(result_);
  }

 private:
  Status Visit(std::string_view key, std::string_view current) {
    ASSIGN_OR_RETURN_STATUS(RecordHeader header, ToHeader(current));
    if (header.mod.main > result_.revision) {
      ASSIGN_OR_RETURN_STATUS(header, history_.Find(key, result_.revision));
    }
    return header.live() ? Add(key, header) : Status::Ok();
  }

  Status Add(std::string_view key, const RecordHeader& header) {
    if (request_.count_only) {
      ++result_.count;
      return Status::Ok();
    }
    if (result_.items.size() >= limit_) {
      result_.more = true;
      return Status::Ok();
    }
    std::string value;
    if (!request_.keys_only) {
      ASSIGN_OR_RETURN_STATUS(value, ReadValue(view_, header.mod));
    }
    bytes_ += key.size() + value.size();
    if (!result_.items.empty() && bytes_ > request_.max_bytes) {
      result_.more = true;
      return Status::Ok();
    }
    result_.items.push_back(MakeKeyValue(key, header, std::move(value)));
    return Status::Ok();
  }

  const StateView& view_;
  const RangeRequest& request_;
  const uint64_t limit_;
  HistoryReader history_;
  RangeResult result_;
  uint64_t bytes_ = 0;
};

// A 64-bit hash of a sequence of strings and numbers, the same on every machine.
class Hasher {
 public:
  void Add(uint64_t word) {
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15;
    state_ ^= state_ >> 29;
  }
  void Add(std::string_view bytes) {
    Add(bytes.size());
    for (; !bytes.empty(); bytes.remove_prefix(std::min<size_t>(8, bytes.size()))) {
      uint64_t word = 0;
      for (size_t i = 0; i < std::min<size_t>(8, bytes.size()); ++i) {
        word |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
      }
      Add(word);
    }
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

// Adds what reads at revisions from compact_revision on can see of a version that ended at `end`
// (0: it did not). A tombstone not newer than compact_revision reads like nothing, collected or
// not.
Status AddVersion(const StateView& view, const RecordHeader& header, uint64_t end,
                  uint64_t compact_revision, Hasher* hasher) {
  if (end != 0 && end <= compact_revision) return Status::Ok();
  if (!header.live() && header.mod.main <= compact_revision) return Status::Ok();
  hasher->Add(static_cast<uint64_t>(header.kind));
  hasher->Add(header.mod.main);
  hasher->Add(header.mod.sub);
  hasher->Add(header.create);
  hasher->Add(header.version);
  std::string value;
  if (header.live()) {
    ASSIGN_OR_RETURN_STATUS(value, ReadValue(view, header.mod));
  }
  hasher->Add(value);
  return Status::Ok();
}

Status HashTables(const StateView& view, uint64_t compact_revision, Hasher* hasher) {
  const auto current = view.NewIterator(std::string(1, kCurrentTable), TableEnd(kCurrentTable));
  const auto history = view.NewIterator(std::string(1, kHistoryTable), TableEnd(kHistoryTable));
  std::string prefix;
  // Both tables are in the order of the keys, and a key with history has a current record.
  history->SeekToFirst();
  for (current->SeekToFirst(); current->Valid(); current->Next()) {
    ASSIGN_OR_RETURN_STATUS(const RecordHeader newest, ToHeader(current->value()));
    Hasher versions;
    RETURN_IF_ERROR(AddVersion(view, newest, 0, compact_revision, &versions));
    uint64_t end = newest.mod.main;
    prefix.clear();
    AppendHistoryPrefix(current->key().substr(1), &prefix);
    for (; history->Valid() && history->key().starts_with(prefix); history->Next()) {
      ASSIGN_OR_RETURN_STATUS(const RecordHeader older, ToHeader(history->value()));
      RETURN_IF_ERROR(AddVersion(view, older, end, compact_revision, &versions));
      end = older.mod.main;
    }
    if (versions.value() == Hasher().value()) continue;
    hasher->Add(current->key());
    hasher->Add(versions.value());
  }
  RETURN_IF_ERROR(current->status());
  RETURN_IF_ERROR(history->status());
  return history->Valid() ? Unreadable("the history of a key without a record") : Status::Ok();
}

}  // namespace

Result<Meta> ReadMeta(const StateView& view) {
  ASSIGN_OR_RETURN(const auto bytes, view.Get(kMetaKey));
  if (!bytes) return Meta();
  const auto meta = ParseMeta(*bytes);
  if (!meta) return Error(Unreadable("the applied index"));
  return *meta;
}

Result<std::optional<KeyValue>> GetNewest(const storage::StateStore& store,
                                          const HeaderCache& cache, std::string_view key) {
  std::string stored_key;
  std::optional<RecordHeader> header = cache.Find(key);
  if (!header) {
    AppendCurrentKey(key, &stored_key);
    ASSIGN_OR_RETURN(const auto bytes, store.Get(stored_key));
    if (!bytes) return std::nullopt;
    ASSIGN_OR_RETURN(header, ToHeader(*bytes));
  }
  if (!header->live()) return std::nullopt;
  stored_key.clear();
  AppendValueKey(header->mod, &stored_key);
  ASSIGN_OR_RETURN(auto value, store.Get(stored_key));
  if (value) return MakeKeyValue(key, *header, *std::move(value));
  // The version was overwritten and collected between the two reads. In a view it cannot be.
  return GetAt(*store.View(), key, 0);
}

Result<std::optional<KeyValue>> GetAt(const StateView& view, std::string_view key,
                                      uint64_t revision) {
  ASSIGN_OR_RETURN(const Meta meta, ReadMeta(view));
  if (revision == 0) revision = meta.revision;
  RETURN_UNEXPECTED_IF_ERROR(CheckRevision(revision, meta));
  std::string current_key;
  AppendCurrentKey(key, &current_key);
  ASSIGN_OR_RETURN(const auto bytes, view.Get(current_key));
  if (!bytes) return std::nullopt;
  ASSIGN_OR_RETURN(RecordHeader header, ToHeader(*bytes));
  if (header.mod.main > revision) {
    ASSIGN_OR_RETURN(header, HistoryReader(view).Find(key, revision));
  }
  if (!header.live()) return std::nullopt;
  ASSIGN_OR_RETURN(std::string value, ReadValue(view, header.mod));
  return MakeKeyValue(key, header, std::move(value));
}

Result<RangeResult> ReadRange(const StateView& view, const RangeRequest& request) {
  ASSIGN_OR_RETURN(const Meta meta, ReadMeta(view));
  const uint64_t revision = request.revision == 0 ? meta.revision : request.revision;
  RETURN_UNEXPECTED_IF_ERROR(CheckRevision(revision, meta));
  return RangeReader(view, request, revision).Run();
}

Result<StateHash> HashState(const StateView& view) {
  ASSIGN_OR_RETURN(const Meta meta, ReadMeta(view));
  ASSIGN_OR_RETURN(const auto cluster, view.Get(kClusterKey));
  Hasher hasher;
  for (uint64_t counter :
       {meta.index.value, meta.term.value, meta.revision, meta.compact_revision, meta.live_keys}) {
    hasher.Add(counter);
  }
  hasher.Add(cluster.value_or(""));
  RETURN_UNEXPECTED_IF_ERROR(HashTables(view, meta.compact_revision, &hasher));
  return StateHash{.index = meta.index, .hash = hasher.value()};
}

}  // namespace raftkv::kv
