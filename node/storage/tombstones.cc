#include "node/storage/tombstones.h"

#include <string>

namespace raftkv::storage {
namespace {

// Fewer are not worth a compaction, which may have to rewrite a whole level. A key that is deleted
// for good takes five (docs/design/state-machine.md).
constexpr uint64_t kFew = 256;

// Steady overwriting makes three tombstones for four records and is left alone: its garbage goes as
// the levels grow.
bool IsMost(uint64_t tombstones, uint64_t records, double share) {
  return tombstones >= kFew && static_cast<double>(tombstones) >= share * records;
}

class Collector final : public rocksdb::TablePropertiesCollector {
 public:
  rocksdb::Status AddUserKey(const rocksdb::Slice&, const rocksdb::Slice&, rocksdb::EntryType type,
                             rocksdb::SequenceNumber, uint64_t) override {
    ++records_;
    if (type == rocksdb::kEntryDelete || type == rocksdb::kEntrySingleDelete) ++tombstones_;
    return rocksdb::Status::OK();
  }
  rocksdb::Status Finish(rocksdb::UserCollectedProperties*) override {
    return rocksdb::Status::OK();
  }
  rocksdb::UserCollectedProperties GetReadableProperties() const override { return {}; }
  const char* Name() const override { return "raftkv.CompactTombstones"; }
  bool NeedCompact() const override { return IsMost(tombstones_, records_, 0.75); }

 private:
  uint64_t records_ = 0;
  uint64_t tombstones_ = 0;
};

class CollectorFactory final : public rocksdb::TablePropertiesCollectorFactory {
 public:
  rocksdb::TablePropertiesCollector* CreateTablePropertiesCollector(Context) override {
    return new Collector;
  }
  const char* Name() const override { return "raftkv.CompactTombstones"; }
};

}  // namespace

std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> CompactTombstones() {
  return std::make_shared<CollectorFactory>();
}

bool IsMostlyTombstones(rocksdb::DB* db) {
  uint64_t records = 0;
  uint64_t tombstones = 0;
  (void)db->GetIntProperty(rocksdb::DB::Properties::kNumEntriesActiveMemTable, &records);
  (void)db->GetIntProperty(rocksdb::DB::Properties::kNumDeletesActiveMemTable, &tombstones);
  return IsMost(tombstones, records, 0.6);
}

}  // namespace raftkv::storage
