#include "node/kv/reader.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace raftkv::kv {
namespace {

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
Result<std::string> ReadValue(const StateView& view, const RecordHeader& header) {
  const auto get = [&view](std::string_view stored_key) { return view.Get(stored_key); };
  ASSIGN_OR_RETURN(auto value, kv::ReadValue(header, get));
  if (!value) return Error(Unreadable("a value"));
  return *std::move(value);
}

// Walks the chains of keys' versions.
class ChainReader {
 public:
  explicit ChainReader(const StateView& view) : view_(view) {}

  // The row of a version that the view shows; valid until the next call.
  Result<Row> ReadRow(Revision revision) {
    row_key_.clear();
    AppendRevisionKey(revision, &row_key_);
    ASSIGN_OR_RETURN(auto bytes, view_.Get(row_key_));
    bytes_ = std::move(bytes).value_or("");
    const auto row = ParseRow(revision, bytes_);
    if (!row) return Error(Unreadable("a row of the revision table"));
    return *row;
  }

  // The version before the row's, if it can be read at `revision`, which is not compacted. Only
  // tombstones may be collected then, and what a row says tells them apart.
  Result<RecordHeader> Previous(const Row& row, uint64_t revision) {
    if (row.previous_kind == RecordKind::kNone) return RecordHeader();
    if (row.previous_kind == RecordKind::kTombstone && row.previous.main <= revision) {
      return RecordHeader();
    }
    ASSIGN_OR_RETURN(const Row previous, ReadRow(row.previous));
    return HeaderOf(previous);
  }

  // The newest version not newer than `revision` of a key whose current one is newer; none, or a
  // tombstone: a header that is not live.
  Result<RecordHeader> Find(const RecordHeader& current, uint64_t revision) {
    Revision at = current.jump.main > revision ? current.jump : current.mod;
    while (true) {
      ASSIGN_OR_RETURN(const Row row, ReadRow(at));
      if (row.jump.main > revision) {
        at = row.jump;
      } else if (row.previous.main > revision) {
        at = row.previous;
      } else {
        return Previous(row, revision);
      }
    }
  }

 private:
  const StateView& view_;
  std::string row_key_;
  std::string bytes_;
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
        chain_(view) {
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
      ASSIGN_OR_RETURN_STATUS(header, chain_.Find(header, result_.revision));
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
      ASSIGN_OR_RETURN_STATUS(value, ReadValue(view_, header));
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
  ChainReader chain_;
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
    ASSIGN_OR_RETURN_STATUS(value, ReadValue(view, header));
  }
  hasher->Add(value);
  return Status::Ok();
}

Status HashTables(const StateView& view, uint64_t compact_revision, Hasher* hasher) {
  ChainReader chain(view);
  const auto current = view.NewIterator(std::string(1, kCurrentTable), TableEnd(kCurrentTable));
  for (current->SeekToFirst(); current->Valid(); current->Next()) {
    ASSIGN_OR_RETURN_STATUS(RecordHeader header, ToHeader(current->value()));
    Hasher versions;
    uint64_t end = 0;
    while (header.exists()) {
      RETURN_IF_ERROR(AddVersion(view, header, end, compact_revision, &versions));
      if (header.mod.main <= compact_revision) break;  // what is older cannot be read
      end = header.mod.main;
      ASSIGN_OR_RETURN_STATUS(const Row row, chain.ReadRow(header.mod));
      ASSIGN_OR_RETURN_STATUS(header, chain.Previous(row, compact_revision));
    }
    if (versions.value() == Hasher().value()) continue;
    hasher->Add(current->key());
    hasher->Add(versions.value());
  }
  return current->status();
}

}  // namespace

Result<Meta> ReadMeta(const StateView& view) {
  ASSIGN_OR_RETURN(const auto bytes, view.Get(kMetaKey));
  if (!bytes) return Meta();
  const auto meta = ParseMeta(*bytes);
  if (!meta) return Error(Unreadable("the applied index"));
  return *meta;
}

Result<std::optional<std::string>> ReadValue(const RecordHeader& header, const GetBytes& get) {
  std::string stored_key;
  if (header.kind == RecordKind::kLargeValue) {
    AppendValueKey(header.mod, &stored_key);
    return get(stored_key);
  }
  AppendRevisionKey(header.mod, &stored_key);
  ASSIGN_OR_RETURN(auto bytes, get(stored_key));
  if (!bytes) return std::nullopt;
  const auto row = ParseRow(header.mod, *bytes);
  if (!row || row->kind != RecordKind::kValue) {
    return Error(Unreadable("a row of the revision table"));
  }
  bytes->erase(0, bytes->size() - row->value.size());
  return bytes;
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
  const auto get = [&store](std::string_view stored) { return store.Get(stored); };
  ASSIGN_OR_RETURN(auto value, ReadValue(*header, get));
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
    ASSIGN_OR_RETURN(header, ChainReader(view).Find(header, revision));
  }
  if (!header.live()) return std::nullopt;
  ASSIGN_OR_RETURN(std::string value, ReadValue(view, header));
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
