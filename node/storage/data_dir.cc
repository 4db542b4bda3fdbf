#include "node/storage/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/mutations.h"
#include "node/raft/types.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/fs_util.h"

namespace raftkv::storage {
namespace {

// identity: magic, then little-endian 32-bit version, CRC-32C of what follows it, and the message.
constexpr std::string_view kMagic = "RAFTKVID";
constexpr size_t kHeaderBytes = 16;

std::string EncodeIdentity(const v1::Identity& identity) {
  const std::string message = identity.SerializeAsString();
  std::string out(kMagic);
  PutFixed32(&out, kDataFormat);
  PutFixed32(&out, Crc32c(message));
  return out + message;
}

Result<v1::Identity> DecodeIdentity(const std::string& path, std::string_view bytes) {
  const auto damaged = [&path] {
    return Error(Code::kCorruption, path +
                                        " is damaged. Remove the data directory and let the member "
                                        "be replaced; its peers hold the data");
  };
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return damaged();
  const uint32_t version = GetFixed32(bytes.data() + 8);
  const std::string_view message = bytes.substr(kHeaderBytes);
  const bool intact =
      Crc32c(message) == GetFixed32(bytes.data() + 12) || MUTATION(ignore_identity_checksum);
  v1::Identity identity;
  const bool readable = intact &&
                        identity.ParseFromArray(message.data(), static_cast<int>(message.size())) &&
                        identity.member_id() != 0;
  // The message says the format once more: an intact one of this format has a damaged head.
  if (version != kDataFormat && !(readable && identity.format() == kDataFormat)) {
    return Error(Code::kFailedPrecondition,
                 path + " has format " + std::to_string(version) + ", this program knows format " +
                     std::to_string(kDataFormat) + ". Start the version that wrote it");
  }
  if (!readable || version != kDataFormat) return damaged();
  return identity;
}

uint64_t NewMemberId(const std::function<uint64_t()>& entropy) {
  raft::NodeId id;
  do {
    id = raft::NodeId(entropy());
  } while (id == raft::kNone || raft::IsLocalTarget(id));
  return id.value;
}

}  // namespace

Result<File> LockDirectory(const std::string& dir) {
  const std::string path = dir + "/LOCK";
  ASSIGN_OR_RETURN(File lock, File::Open(path, O_RDWR | O_CREAT));
  if (::flock(lock.fd(), LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK) return Error(ErrnoStatus("lock", path, error));
    std::string pid;
    RETURN_UNEXPECTED_IF_ERROR(lock.ReadAt(0, 32, &pid));
    return Error(Code::kFailedPrecondition,
                 "the data directory " + dir + " is in use by process " +
                     (pid.empty() ? "(unknown)" : pid) +
                     ". Stop that process, or give this one a directory of its own");
  }
  RETURN_UNEXPECTED_IF_ERROR(lock.Truncate(0));
  RETURN_UNEXPECTED_IF_ERROR(lock.WriteAll(std::to_string(::getpid())));
  return lock;
}

namespace {

class DataDirImpl final : public DataDir {
 public:
  DataDirImpl(std::string path, Files& files, File lock, v1::Identity identity)
      : path_(std::move(path)),
        files_(files),
        lock_(std::move(lock)),
        identity_(std::move(identity)) {}

  const std::string& path() const override { return path_; }
  std::string log_path() const override { return path_ + "/log"; }
  std::string state_path() const override { return path_ + "/state"; }
  std::string snapshots_path() const override { return path_ + "/snapshots"; }
  const v1::Identity& identity() const override { return identity_; }

  Status SetIdentity(const v1::Identity& identity) override {
    if (identity.member_id() != identity_.member_id()) {
      return Status(Code::kFailedPrecondition, "the member ID of " + path_ + " never changes");
    }
    if (identity_.cluster_id() != 0 && identity.cluster_id() != identity_.cluster_id()) {
      return Status(Code::kFailedPrecondition,
                    path_ +
                        " holds the data of another cluster. Start this member with an empty data "
                        "directory to join a new one");
    }
    v1::Identity next = identity;
    next.set_format(kDataFormat);
    RETURN_IF_ERROR(files_.ReplaceFile(path_ + "/identity", EncodeIdentity(next)));
    identity_ = std::move(next);
    return Status::Ok();
  }

 private:
  const std::string path_;
  Files& files_;
  const File lock_;
  v1::Identity identity_;
};

Result<bool> HasDatabases(Files& files, const std::string& dir) {
  for (const char* name : {"/log", "/state"}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, files.ListDir(dir + name));
    if (!names.empty()) return true;
  }
  return false;
}

Result<v1::Identity> MakeIdentity(Files& files, const std::string& dir, const std::string& name,
                                  const std::function<uint64_t()>& entropy) {
  ASSIGN_OR_RETURN(const bool used, HasDatabases(files, dir));
  if (used) {
    return Error(Code::kCorruption,
                 dir +
                     " holds databases, but the file identity is missing: whose data they are "
                     "cannot be known. Restore the file, or remove the data directory and let the "
                     "member be replaced");
  }
  v1::Identity identity;
  identity.set_format(kDataFormat);
  identity.set_member_id(NewMemberId(entropy));
  identity.set_name(name);
  RETURN_UNEXPECTED_IF_ERROR(files.ReplaceFile(dir + "/identity", EncodeIdentity(identity)));
  return identity;
}

}  // namespace

Result<v1::Identity> ReadIdentity(const std::string& path, Files& files) {
  const std::string file = path + "/identity";
  ASSIGN_OR_RETURN(const std::string bytes, files.ReadFile(file));
  return DecodeIdentity(file, bytes);
}

Result<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path, const std::string& name,
                                               Files& files,
                                               const std::function<uint64_t()>& entropy) {
  RETURN_UNEXPECTED_IF_ERROR(files.MakeDirs(path));
  ASSIGN_OR_RETURN(File lock, files.Lock(path));
  ASSIGN_OR_RETURN(v1::Identity identity, files.Exists(path + "/identity")
                                              ? ReadIdentity(path, files)
                                              : MakeIdentity(files, path, name, entropy));
  RETURN_UNEXPECTED_IF_ERROR(files.MakeDirs(path + "/snapshots"));
  return std::make_unique<DataDirImpl>(path, files, std::move(lock), std::move(identity));
}

}  // namespace raftkv::storage
