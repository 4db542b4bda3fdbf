// What both databases share of RocksDB: errors as Status, and options.
//
// Thread-safety: pure functions.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/status.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace raftkv::storage {

// Tells a person how to go on when a database cannot be trusted any more.
extern const char kRebuildRemedy[];

// `what` says what was being done, with the path. Damage (and files that are gone) become
// kCorruption with kRebuildRemedy, a full disk kOutOfSpace, everything else kIoError.
Status FromRocks(const rocksdb::Status& status, const std::string& what);
// Likewise for errors of opening: a database that another process has open is kFailedPrecondition.
Status FromRocksOpen(const rocksdb::Status& status, const std::string& path);

// Refuses a directory that holds database files but no CURRENT file: RocksDB would start an empty
// database over them.
Status CheckHasCurrent(const std::string& path);

// Small memory, few threads (shared by all databases of the process), quiet info log.
rocksdb::DBOptions CommonDbOptions(rocksdb::Env* env);

}  // namespace raftkv::storage
