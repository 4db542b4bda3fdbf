// The data directory: one process at a time, an identity that belongs to it, and the places of the
// databases inside.
//
//   DIR/LOCK        held (flock) while a process uses the directory
//   DIR/identity    checksummed Identity message; written, synced and renamed into place
//   DIR/log/        the log database
//   DIR/state/      the state database
//   DIR/snapshots/  checkpoints being sent or received; may be removed while no process runs
//
// What node/runtime/rebuild.h keeps there: members, suspect, rebuild, damaged-ID/.
//
// Thread-safety: none; used by the thread that starts the node, later by the raft thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "node/storage/files.h"
#include "node/storage/fs_util.h"
#include "raftkv/v1/cluster.pb.h"

namespace raftkv::storage {

inline constexpr uint32_t kDataFormat = 1;

// Takes the lock of a directory; it is held until the file is closed. kFailedPrecondition names the
// process that holds it.
Result<File> LockDirectory(const std::string& path);
// Reads DIR/identity. kCorruption or kFailedPrecondition name it and the remedy.
Result<v1::Identity> ReadIdentity(const std::string& path, Files& files = SystemFiles());

class DataDir {
 public:
  // Makes the directory if it is missing (with a new random member ID: a blank node), takes the
  // lock, reads and verifies the identity. Errors name the file and the remedy: in use by process
  // N; damaged identity; unknown format; databases without an identity (someone deleted it).
  // `entropy`: member IDs are made of it.
  static Result<std::unique_ptr<DataDir>> Open(
      const std::string& path, const std::string& name, Files& files = SystemFiles(),
      const std::function<uint64_t()>& entropy = SystemEntropy);
  virtual ~DataDir() = default;

  virtual const std::string& path() const = 0;
  virtual std::string log_path() const = 0;
  virtual std::string state_path() const = 0;
  virtual std::string snapshots_path() const = 0;

  virtual const v1::Identity& identity() const = 0;
  // Replaces the identity durably: joins a cluster, becomes a tombstone. The member ID never
  // changes; a cluster ID that is set never changes.
  virtual Status SetIdentity(const v1::Identity& identity) = 0;
};

}  // namespace raftkv::storage
