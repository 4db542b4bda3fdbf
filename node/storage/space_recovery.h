// SpaceRecovery: how a database of RocksDB goes on after its work in the background has met a full
// disk. While that is so, it refuses writes.
//
// RocksDB itself would look for space every five seconds only. Its owner looks more often, so it
// says when to go on. A compaction that found no space is left to RocksDB: that stops no writes,
// and RocksDB holds compactions back until there is enough for one. Whatever else finds no space
// until then is left to it too: two cannot recover one database.
//
// Thread-safety: any thread. RocksDB calls it while it holds no lock.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/listener.h>

#include <mutex>

#include "base/status.h"

namespace raftkv::storage {

class SpaceRecovery final : public rocksdb::EventListener {
 public:
  const char* Name() const override { return "raftkv.SpaceRecovery"; }

  // `db` has refused a call for want of space.
  void Refused();
  // Lets `db` go on if it was stopped, and flushes what it holds in memory. kOutOfSpace: there was
  // too little space for that; anything else that is not ok ends what is done with `db`.
  Status Resume(rocksdb::DB* db);

  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status error,
                            bool* auto_recovery) override;
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override;

 private:
  enum class Lead { kNobody, kOwner, kRocksDb };

  std::mutex mutex_;           // of what follows
  Lead lead_ = Lead::kNobody;  // who looks for space
  bool stopped_ = false;
};

}  // namespace raftkv::storage
