// Makes RocksDB compact files that hold little but tombstones, so that what was deleted leaves the
// disk although nothing more is written. RocksDB by itself waits for a level to grow too large,
// and tombstones are small.
//
// Thread-safety: any thread.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/table_properties.h>

#include <memory>

namespace raftkv::storage {

// For ColumnFamilyOptions::table_properties_collector_factories. A file that is mostly tombstones
// moves down the levels, in the background, until they meet what they delete.
std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> CompactTombstones();

// Whether the memtable of `db` holds little but tombstones: then a flush is worth it, from which
// the above goes on. The puts that they delete may be in there too.
bool IsMostlyTombstones(rocksdb::DB* db);

}  // namespace raftkv::storage
