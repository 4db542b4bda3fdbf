#include "node/storage/space_recovery.h"

#include "node/storage/rocks_util.h"

namespace raftkv::storage {

void SpaceRecovery::Refused() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

Status SpaceRecovery::Resume(rocksdb::DB* db) {
  {
    // RocksDB 7.8 does not remember that it goes on: asked again, it would flush again.
    const std::lock_guard lock(mutex_);
    if (!stopped_) return Status::Ok();
  }
  const rocksdb::Status status = db->Resume();
  // Somebody else is at it.
  if (status.IsBusy()) {
    return {Code::kOutOfSpace, "the database " + db->GetName() + " is about to go on"};
  }
  return FromRocks(status, "cannot go on with the database " + db->GetName());
}

void SpaceRecovery::OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status error,
                                         bool* auto_recovery) {
  if (!error.IsNoSpace()) return;
  const std::lock_guard lock(mutex_);
  const bool stops = error.severity() >= rocksdb::Status::kHardError;
  stopped_ = stopped_ || stops;
  if (lead_ == Lead::kNobody) lead_ = stops ? Lead::kOwner : Lead::kRocksDb;
  *auto_recovery = lead_ == Lead::kRocksDb;
}

void SpaceRecovery::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  if (!info.new_bg_error.ok()) return;
  const std::lock_guard lock(mutex_);
  lead_ = Lead::kNobody;
  stopped_ = false;
}

}  // namespace raftkv::storage
