#include "node/runtime/rebuild.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/hex_id.h"
#include "base/log.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/files.h"
#include "node/storage/fs_util.h"

namespace raftkv::runtime {
namespace {

using storage::Files;

constexpr std::string_view kMagic = "RAFTKVNT";
constexpr size_t kHeaderBytes = 12;
constexpr std::string_view kDamaged = "damaged-";
constexpr size_t kMostAsked = 64;

std::string MembersFile(const std::string& dir) { return dir + "/members"; }
std::string SuspectFile(const std::string& dir) { return dir + "/suspect"; }
std::string RebuildFile(const std::string& dir) { return dir + "/rebuild"; }

Status WriteNote(Files& files, const std::string& path, const v1::MemberNote& note) {
  const std::string message = note.SerializeAsString();
  std::string bytes(kMagic);
  storage::PutFixed32(&bytes, storage::Crc32c(message));
  return files.ReplaceFile(path, bytes + message);
}

Result<v1::MemberNote> ReadNote(Files& files, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, files.ReadFile(path));
  v1::MemberNote note;
  const std::string_view message =
      std::string_view(bytes).substr(std::min(kHeaderBytes, bytes.size()));
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic) ||
      storage::GetFixed32(bytes.data() + kMagic.size()) != storage::Crc32c(message) ||
      !note.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return Error(Code::kCorruption, path +
                                        " is damaged. Remove the data directory and let the "
                                        "member be replaced; its peers hold the data");
  }
  return note;
}

// The identity goes last: as long as it is there, the files beside it are the given up member's.
constexpr const char* kFiles[] = {"log", "state", "snapshots", "members", "suspect", "identity"};

// Whether DIR still holds files of the member that was given up.
bool HoldsFilesOf(Files& files, const std::string& dir, const v1::MemberNote& note) {
  if (files.Exists(dir + "/" + note.moved_to() + "/identity")) return false;
  // Perhaps it was missing from the start. The new member's is made before its other files.
  if (!files.Exists(dir + "/identity")) {
    // Without it these are damage.
    return !files.Exists(dir + "/log") && !files.Exists(dir + "/state") &&
           !files.Exists(dir + "/members");
  }
  const Result<v1::Identity> identity = storage::ReadIdentity(dir, files);
  return !identity || identity->member_id() == note.member_id();
}

Status MoveFiles(Files& files, const std::string& dir, const v1::MemberNote& note) {
  const std::string target = dir + "/" + note.moved_to();
  RETURN_IF_ERROR(files.MakeDirs(target));
  for (const char* name : kFiles) {
    const std::string from = dir + "/" + name;
    if (!files.Exists(from)) continue;
    if (name == std::string_view("identity")) {
      RETURN_IF_ERROR(files.SyncDir(target));
      RETURN_IF_ERROR(files.SyncDir(dir));
    }
    RETURN_IF_ERROR(files.Rename(from, target + "/" + name));
  }
  RETURN_IF_ERROR(files.SyncDir(target));
  return files.SyncDir(dir);
}

// One damaged copy is enough to look into; disks are not endless.
Status RemoveOlderCopies(Files& files, const std::string& dir) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, files.ListDir(dir));
  for (const std::string& name : names) {
    if (name.starts_with(kDamaged)) RETURN_IF_ERROR(files.RemoveTree(dir + "/" + name));
  }
  return Status::Ok();
}

void AddAddress(const Options& options, const std::string& address,
                std::vector<std::string>* addresses) {
  if (address.empty() || address == options.peer_advertise) return;
  if (std::ranges::find(*addresses, address) == addresses->end()) addresses->push_back(address);
}

}  // namespace

v1::MemberNote NoteOf(const v1::ClusterState& cluster, uint64_t member_id) {
  v1::MemberNote note;
  note.set_cluster_id(cluster.cluster_id());
  note.set_member_id(member_id);
  note.set_config_index(cluster.config_index());
  *note.mutable_members() = cluster.members();
  return note;
}

Status SaveMemberNote(const std::string& dir, const v1::MemberNote& note, Files& files) {
  return WriteNote(files, MembersFile(dir), note);
}

void MarkSuspect(const std::string& dir, const Status& reason) {
  const Status marked =
      storage::SystemFiles().ReplaceFile(SuspectFile(dir), reason.message() + "\n");
  if (!marked.ok()) log::Error("cannot note the damage", {{"error", marked.message()}});
}

bool IsBlank(const std::string& dir) {
  Files& files = storage::SystemFiles();
  if (files.Exists(RebuildFile(dir))) return false;
  if (!files.Exists(dir + "/identity")) return true;
  const Result<v1::Identity> identity = storage::ReadIdentity(dir);
  return identity && identity->cluster_id() == 0;
}

Result<std::optional<v1::MemberNote>> FinishSetAside(const std::string& dir, Files& files) {
  std::optional<v1::MemberNote> given_up;
  if (!files.Exists(RebuildFile(dir))) return given_up;
  ASSIGN_OR_RETURN(given_up, ReadNote(files, RebuildFile(dir)));
  ASSIGN_OR_RETURN(const storage::File lock, files.Lock(dir));
  if (HoldsFilesOf(files, dir, *given_up)) {
    RETURN_UNEXPECTED_IF_ERROR(MoveFiles(files, dir, *given_up));
  }
  return given_up;
}

Status TakePlaceOf(const std::optional<v1::MemberNote>& given_up, const v1::Identity& identity,
                   Options* options, Files& files) {
  options->replaces.reset();
  if (!given_up) return Status::Ok();
  if (identity.cluster_id() != 0) return FinishRebuild(options->data_dir, files);
  options->replaces = Replaced{.cluster_id = given_up->cluster_id(),
                               .member_id = given_up->member_id(),
                               .ask = WhomToAsk(*options, *given_up),
                               .moved_to = given_up->moved_to()};
  return Status::Ok();
}

Result<OpenedStorage> OpenDirectory(Options* options, const storage::LogOptions& log_options,
                                    const storage::WriteBehindOptions& gathering) {
  const std::string& dir = options->data_dir;
  ASSIGN_OR_RETURN(const std::optional<v1::MemberNote> given_up, FinishSetAside(dir));
  const bool suspect = storage::Exists(SuspectFile(dir));
  if (suspect) log::Info("reading everything: damage was met before", {{"data", dir}});
  ASSIGN_OR_RETURN(OpenedStorage opened, OpenStorage(*options, log_options, gathering, suspect));
  if (suspect) RETURN_UNEXPECTED_IF_ERROR(storage::RemoveTree(SuspectFile(dir)));
  RETURN_UNEXPECTED_IF_ERROR(TakePlaceOf(given_up, opened.dir->identity(), options));
  return opened;
}

Status FinishRebuild(const std::string& dir, Files& files) {
  RETURN_IF_ERROR(files.RemoveTree(RebuildFile(dir)));
  return files.SyncDir(dir);
}

v1::MemberNote ReadDamagedMember(const Options& options, Files& files) {
  const Result<v1::Identity> identity = storage::ReadIdentity(options.data_dir, files);
  Result<v1::MemberNote> saved = ReadNote(files, MembersFile(options.data_dir));
  v1::MemberNote note = saved ? std::move(*saved) : v1::MemberNote();
  if (!identity) return note;
  if (identity->member_id() != note.member_id()) {
    note.Clear();
    *note.mutable_members() = identity->seeds();
  }
  note.set_member_id(identity->member_id());
  note.set_cluster_id(identity->cluster_id());
  return note;
}

std::vector<std::string> WhomToAsk(const Options& options, const v1::MemberNote& note) {
  using Mode = Bootstrap::Mode;
  const Mode mode = options.bootstrap.mode;
  const bool others_care = mode == Mode::kWait || mode == Mode::kRestore;
  if (!options.rebuild_damaged || others_care || note.member_id() == 0 || note.cluster_id() == 0) {
    return {};
  }
  std::vector<std::string> addresses;
  for (const v1::Member& member : note.members()) {
    AddAddress(options, member.peer_address(), &addresses);
  }
  for (const std::string& address : options.bootstrap.addresses) {
    AddAddress(options, address, &addresses);
  }
  return addresses;
}

void LearnWhomToAsk(const Options& options, const v1::JoinReply& told,
                    std::vector<std::string>* ask) {
  for (const v1::Member& member : told.members()) {
    if (ask->size() >= kMostAsked) return;
    AddAddress(options, member.peer_address(), ask);
  }
}

Status SetAside(const Options& options, v1::MemberNote note, Files& files) {
  const std::string& dir = options.data_dir;
  RETURN_IF_ERROR(RemoveOlderCopies(files, dir));
  note.set_moved_to(std::string(kDamaged) + HexId(note.member_id()));
  RETURN_IF_ERROR(WriteNote(files, RebuildFile(dir), note));
  RETURN_IF_ERROR(MoveFiles(files, dir, note));
  log::Warning("damaged data were moved aside",
               {{"member", log::Hex{note.member_id()}}, {"to", dir + "/" + note.moved_to()}});
  return Status::Ok();
}

}  // namespace raftkv::runtime
