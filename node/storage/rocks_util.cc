#include "node/storage/rocks_util.h"

#include <cerrno>
#include <cstring>

#include "node/storage/fs_util.h"

namespace raftkv::storage {

const char kRebuildRemedy[] =
    "remove the data directory and let the member be replaced; it is rebuilt from its peers";

namespace {

bool IsOutOfSpace(const rocksdb::Status& status) {
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit) return true;
  // Of a write that waits for a flush which has failed RocksDB says "incomplete", and of why only
  // the text.
  return status.IsIncomplete() &&
         status.ToString().find(std::strerror(ENOSPC)) != std::string::npos;
}

}  // namespace

Status FromRocks(const rocksdb::Status& status, const std::string& what) {
  if (status.ok()) return Status::Ok();
  const std::string message = what + ": " + status.ToString();
  if (status.IsCorruption()) return Status(Code::kCorruption, message + "; " + kRebuildRemedy);
  if (IsOutOfSpace(status)) {
    return Status(Code::kOutOfSpace, message + "; free space on that file system");
  }
  return Status(Code::kIoError, message);
}

Status FromRocksOpen(const rocksdb::Status& status, const std::string& path) {
  if (status.ok()) return Status::Ok();
  const std::string text = status.ToString();
  // RocksDB has no code of its own for either of these.
  if (text.find("lock hold by current process") != std::string::npos ||
      text.find("While lock file") != std::string::npos) {
    return Status(Code::kFailedPrecondition,
                  "the database " + path + " is in use by another process (" + text + ")");
  }
  if (status.IsPathNotFound()) {
    return Status(Code::kCorruption,
                  "a file of the database " + path + " is gone: " + text + "; " + kRebuildRemedy);
  }
  if (status.IsInvalidArgument() || status.IsNotSupported()) {
    return Status(Code::kFailedPrecondition,
                  "the database " + path +
                      " was written by another version; start the version that wrote it (" + text +
                      ")");
  }
  return FromRocks(status, "cannot open the database " + path);
}

Status CheckHasCurrent(const std::string& path) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, ListDir(path));
  for (const std::string& name : names) {
    if (name == "CURRENT") return Status::Ok();
  }
  for (const std::string& name : names) {
    if (name.ends_with(".sst") || name.ends_with(".log")) {
      return Status(Code::kCorruption, "the file CURRENT of the database " + path +
                                           " is missing, but " + name + " is there; " +
                                           kRebuildRemedy);
    }
  }
  return Status::Ok();
}

rocksdb::DBOptions CommonDbOptions(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.env = env;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  // One thread for flushes, one for compactions: two cores are shared with everybody else.
  options.max_background_jobs = 2;
  options.max_subcompactions = 1;
  // A table file leaves in pieces: its sync at the end would hold up the log's.
  options.bytes_per_sync = 512 << 10;
  options.max_open_files = 256;
  options.max_file_opening_threads = 1;
  options.skip_stats_update_on_db_open = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_log_file_size = 1 << 20;
  options.keep_log_file_num = 2;
  options.max_manifest_file_size = 1 << 20;
  return options;
}

}  // namespace raftkv::storage

#if defined(__SANITIZE_THREAD__)
// The packaged library is not instrumented: its own locking is invisible to the sanitizer, which
// then takes what happens inside for races. Ours have no frame in it.
extern "C" const char* __tsan_default_suppressions() {
  return "race:librocksdb\ncalled_from_lib:librocksdb\n";
}
#endif
