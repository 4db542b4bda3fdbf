// OpenRocksState on a file system of the caller's choice: how tests inject faults.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>

#include "node/storage/state_store.h"

namespace raftkv::storage {

Result<std::unique_ptr<StateStore>> OpenRocksStateOn(
    const std::string& path, const StateOptions& options,
    const std::shared_ptr<rocksdb::FileSystem>& file_system);

}  // namespace raftkv::storage
