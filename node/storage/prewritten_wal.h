// Gives the log database write-ahead logs that have their size and blocks from the start.
//
// A synced write into a file that grows makes the file system commit its journal, and with it
// whatever else waits there: the state's table files, the other members' logs on the same disk.
// RocksDB recycles its logs for that reason, but has none to recycle until it has filled a few.
// (docs/performance-parts.md has the measurements.)
//
// Thread-safety: as rocksdb::FileSystem.
#pragma once

#include <rocksdb/file_system.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace raftkv::storage {

// `base`, but a new file NUMBER.log holds `bytes` zeros, on disk, and is written over from its
// start. A crash leaves zeros behind the last record, which CutTornTails cuts off. Where the zeros
// cannot be written the file is as `base` makes it: they only save time.
//
// `*failed` becomes true when a write or a sync of such a file fails: what is in the file then,
// nobody can tell.
std::shared_ptr<rocksdb::FileSystem> PrewriteWals(const std::shared_ptr<rocksdb::FileSystem>& base,
                                                  uint64_t bytes,
                                                  std::shared_ptr<std::atomic<bool>> failed);

}  // namespace raftkv::storage
