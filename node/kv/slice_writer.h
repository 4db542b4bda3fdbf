// SliceWriter: one batch of changes in the making, and the newest version of each key as the
// commands of the batch see it.
//
// Thread-safety: none; the applying thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "node/kv/format.h"
#include "node/kv/header_cache.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

class SliceWriter {
 public:
  // The newest version of a key. Stays where it is while the writer lives.
  struct Slot {
    RecordHeader header;
    // In values_, if this batch has put it.
    size_t value_at = 0;
    size_t value_size = 0;
    bool put_here = false;
    bool cached = false;  // the cache has the header
  };

  enum class From {
    kAnywhere,
    // Never waits for a disk: calls answer kUnavailable instead, and the batch is to be given up.
    kMemory,
  };

  // `store` and `cache` must outlive the writer, and nobody else writes to them meanwhile.
  SliceWriter(storage::StateStore* store, HeaderCache* cache, const Meta& meta, From from);

  // The revision of the command in progress, if it changes something.
  uint64_t next_revision() const { return meta_.revision + 1; }
  // The state after the commands so far.
  Meta& meta() { return meta_; }

  // Never null; a slot without a live record for a key that does not exist.
  Result<Slot*> Find(std::string_view key);
  // Of a live key; valid until the next call.
  Result<std::string_view> Value(const Slot& slot);
  // Changes of the command in progress. `slot` is the key's, from Find.
  void Put(Slot* slot, std::string_view key, std::string_view value);
  void Delete(Slot* slot, std::string_view key);  // of a live key
  // The command is complete: its changes, if any, make a revision.
  void EndCommand();

  // The live keys in [start, end) in order (end empty: no end), up to one more than `max_keys`.
  Result<std::vector<std::string>> LiveKeys(std::string_view start, std::string_view end,
                                            size_t max_keys);

  // Another key of the meta table.
  void PutMeta(std::string_view key, std::string_view value) { batch_->Put(key, value); }

  // Roughly what the batch and the remembered keys take.
  size_t memory_bytes() const { return batch_->bytes() + slot_bytes_ + values_.size(); }
  // Writes everything, with meta(), in one step. The last call.
  Status Commit();

 private:
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>{}(key); }
  };

  // Puts another header in the slot's place, and a row that names what was there.
  void Change(Slot* slot, std::string_view key, RecordHeader header, std::string_view row_value);

  storage::StateStore* const store_;
  HeaderCache* const cache_;
  const From from_;
  std::unique_ptr<storage::StateBatch> batch_;
  Meta meta_;
  uint32_t sub_ = 0;
  // By the key in the `c` table, so that one string serves for the lookup here and there.
  std::unordered_map<std::string, Slot, KeyHash, std::equal_to<>> slots_;
  size_t slot_bytes_ = 0;
  std::string values_;       // put by this batch, which cannot be asked for them
  std::string current_key_;  // scratch
  std::string other_key_;
  std::string bytes_;
  std::string value_;
};

}  // namespace raftkv::kv
