// SimWal: what a crash leaves of a write-ahead log, sector by sector, and what recovery makes of it
// (storage/wal_check.h, the real one).
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <span>

#include "base/random.h"
#include "node/storage/wal_check.h"
#include "tests/simulation/coverage.h"

namespace raftkv::sim {

// A file, recycled or new, that holds a record which is durable, and then these (their sizes), of
// which none is: any subset of their sectors has been written. The verdict counts the first one,
// too.
storage::WalVerdict JudgeTornWal(std::span<const size_t> unsynced, Random& random,
                                 Coverage* coverage);

}  // namespace raftkv::sim
