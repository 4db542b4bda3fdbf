#include "node/runtime/rebuild.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/hex_id.h"
#include "base/log.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/fs_util.h"

namespace raftkv::runtime {
namespace {

using storage::Exists;

constexpr std::string_view kMagic = "RAFTKVNT";
constexpr size_t kHeaderBytes = 12;
constexpr std::string_view kDamaged = "damaged-";
constexpr size_t kMostAsked = 64;

std::string MembersFile(const std::string& dir) { return dir + "/members"; }
std::string SuspectFile(const std::string& dir) { return dir + "/suspect"; }
std::string RebuildFile(const std::string& dir) { return dir + "/rebuild"; }

Status WriteNote(const std::string& path, const v1::MemberNote& note) {
  const std::string message = note.SerializeAsString();
  std::string bytes(kMagic);
  storage::PutFixed32(&bytes, storage::Crc32c(message));
  return storage::ReplaceFile(path, bytes + message);
}

Result<v1::MemberNote> ReadNote(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, storage::ReadFile(path));
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
bool HoldsFilesOf(const std::string& dir, const v1::MemberNote& note) {
  if (Exists(dir + "/" + note.moved_to() + "/identity")) return false;
  // Perhaps it was missing from the start. The new member's is made before its other files.
  if (!Exists(dir + "/identity")) return true;
  const Result<v1::Identity> identity = storage::ReadIdentity(dir);
  return !identity || identity->member_id() == note.member_id();
}

Status MoveFiles(const std::string& dir, const v1::MemberNote& note) {
  const std::string target = dir + "/" + note.moved_to();
  RETURN_IF_ERROR(storage::MakeDirs(target));
  for (const char* name : kFiles) {
    const std::string from = dir + "/" + name;
    if (!Exists(from)) continue;
    if (name == std::string_view("identity")) {
      RETURN_IF_ERROR(storage::SyncDir(target));
      RETURN_IF_ERROR(storage::SyncDir(dir));
    }
    RETURN_IF_ERROR(storage::Rename(from, target + "/" + name));
  }
  RETURN_IF_ERROR(storage::SyncDir(target));
  return storage::SyncDir(dir);
}

// One damaged copy is enough to look into; disks are not endless.
Status RemoveOlderCopies(const std::string& dir) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, storage::ListDir(dir));
  for (const std::string& name : names) {
    if (name.starts_with(kDamaged)) RETURN_IF_ERROR(storage::RemoveTree(dir + "/" + name));
  }
  return Status::Ok();
}

void AddAddress(const Options& options, const std::string& address,
                std::vector<std::string>* addresses) {
  if (address.empty() || address == options.peer_advertise) return;
  if (std::ranges::find(*addresses, address) == addresses->end()) addresses->push_back(address);
}

}  // namespace

Status SaveMemberNote(const std::string& dir, const v1::MemberNote& note) {
  return WriteNote(MembersFile(dir), note);
}

void MarkSuspect(const std::string& dir, const Status& reason) {
  const Status marked = storage::ReplaceFile(SuspectFile(dir), reason.message() + "\n");
  if (!marked.ok()) log::Error("cannot note the damage", {{"error", marked.message()}});
}

bool IsBlank(const std::string& dir) {
  if (Exists(RebuildFile(dir))) return false;
  if (!Exists(dir + "/identity")) return true;
  const Result<v1::Identity> identity = storage::ReadIdentity(dir);
  return identity && identity->cluster_id() == 0;
}

Result<OpenedStorage> OpenDirectory(Options* options, const storage::LogOptions& log_options,
                                    const storage::WriteBehindOptions& gathering) {
  const std::string& dir = options->data_dir;
  options->replaces.reset();
  std::optional<v1::MemberNote> pending;
  if (Exists(RebuildFile(dir))) {
    ASSIGN_OR_RETURN(pending, ReadNote(RebuildFile(dir)));
    ASSIGN_OR_RETURN(const storage::File lock, storage::LockDirectory(dir));
    if (HoldsFilesOf(dir, *pending)) RETURN_UNEXPECTED_IF_ERROR(MoveFiles(dir, *pending));
  }
  const bool suspect = Exists(SuspectFile(dir));
  if (suspect) log::Info("reading everything: damage was met before", {{"data", dir}});
  ASSIGN_OR_RETURN(OpenedStorage opened, OpenStorage(*options, log_options, gathering, suspect));
  if (suspect) RETURN_UNEXPECTED_IF_ERROR(storage::RemoveTree(SuspectFile(dir)));
  if (!pending) return opened;
  if (opened.dir->identity().cluster_id() != 0) {
    RETURN_UNEXPECTED_IF_ERROR(FinishRebuild(dir));
    return opened;
  }
  options->replaces = PlaceOf(*options, *pending);
  return opened;
}

Replaced PlaceOf(const Options& options, const v1::MemberNote& given_up) {
  return {.cluster_id = given_up.cluster_id(),
          .member_id = given_up.member_id(),
          .ask = WhomToAsk(options, given_up),
          .moved_to = given_up.moved_to()};
}

Status FinishRebuild(const std::string& dir) {
  RETURN_IF_ERROR(storage::RemoveTree(RebuildFile(dir)));
  return storage::SyncDir(dir);
}

v1::MemberNote ReadDamagedMember(const Options& options) {
  const Result<v1::Identity> identity = storage::ReadIdentity(options.data_dir);
  const Result<v1::MemberNote> saved = ReadNote(MembersFile(options.data_dir));
  return DamagedMemberFrom(identity ? std::optional(*identity) : std::nullopt,
                           saved ? std::optional(*saved) : std::nullopt);
}

v1::MemberNote DamagedMemberFrom(const std::optional<v1::Identity>& identity,
                                 const std::optional<v1::MemberNote>& saved) {
  v1::MemberNote note = saved.value_or(v1::MemberNote());
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

Status SetAside(const Options& options, v1::MemberNote note) {
  const std::string& dir = options.data_dir;
  RETURN_IF_ERROR(RemoveOlderCopies(dir));
  note.set_moved_to(std::string(kDamaged) + HexId(note.member_id()));
  RETURN_IF_ERROR(WriteNote(RebuildFile(dir), note));
  RETURN_IF_ERROR(MoveFiles(dir, note));
  log::Warning("damaged data were moved aside",
               {{"member", log::Hex{note.member_id()}}, {"to", dir + "/" + note.moved_to()}});
  return Status::Ok();
}

}  // namespace raftkv::runtime
