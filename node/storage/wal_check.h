// Judges the write-ahead logs of the log database before RocksDB opens it, and cuts off what a
// crash left behind their last whole record.
//
// RocksDB drops whatever follows the first damaged record, which is right for a write that a crash
// cut short (a torn tail) and wrong for a record that was once durable: dropping those would forget
// acknowledged entries. The log database syncs every record before it writes the next one. So a
// damaged record with a later record behind it had been durable: that is corruption. A damaged
// record with nothing behind it is the write that the crash interrupted.
//
// Cutting also removes what a recycled file still holds of its former life. RocksDB 7.8 loops for
// ever over such records in the only recovery mode in which it recycles files (LogDbOptions).
//
// Understands RocksDB's record format: blocks of 32 KiB; records of masked CRC-32C (4 bytes),
// length (2), type (1), in recyclable records the log number (4), payload; all little-endian.
//
// Thread-safety: pure functions; the database must be locked and not open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace raftkv::storage {

// What one write-ahead log file looks like.
struct WalVerdict {
  uint64_t records = 0;          // intact, from the start
  uint64_t end = 0;              // offset where they end
  bool torn = false;             // an incomplete or damaged record follows
  bool valid_after_end = false;  // and an intact record after that
};
WalVerdict JudgeWal(std::string_view file, uint64_t log_number);

// Judges all *.log files in `dir` and cuts them after their last whole record, durably; none of
// them if it returns kCorruption, which names the file and the remedy. Otherwise returns what was
// cut off of an interrupted write, for the log of the process; empty if nothing was.
Result<std::string> CutTornTails(const std::string& dir);

}  // namespace raftkv::storage
