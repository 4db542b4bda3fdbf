// snapshot save, inspect, restore, take.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/hex_id.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "node/storage/snapshot_stream.h"

namespace raftkv::ctl {
namespace {

using Json = nlohmann::ordered_json;

// Of a file that is read: as much as a node takes in one request, and half of it.
constexpr size_t kPieceBytes = 512 << 10;

Status OsError(const std::string& what) {
  return Status(Code::kIoError, what + ": " + std::strerror(errno));
}

// A file that appears under its name only when it is complete and on disk.
class NewFile {
 public:
  static Result<std::unique_ptr<NewFile>> Create(const std::string& path) {
    auto file = std::unique_ptr<NewFile>(new NewFile(path));
    // Readable by the owner alone: it holds everything that the cluster holds.
    file->fd_ = open(file->partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file->fd_ < 0) return Error(OsError("cannot write " + file->partial_));
    return file;
  }
  ~NewFile() {
    if (fd_ >= 0) close(fd_);
    if (!done_) unlink(partial_.c_str());
  }

  Status Append(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return OsError("cannot write " + partial_);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return Status::Ok();
  }

  Status Finish() {
    if (fsync(fd_) != 0) return OsError("cannot sync " + partial_);
    if (rename(partial_.c_str(), path_.c_str()) != 0) return OsError("cannot rename to " + path_);
    done_ = true;
    auto folder = std::filesystem::absolute(path_).parent_path();
    int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return synced ? Status::Ok() : OsError("cannot sync " + folder.string());
  }

 private:
  explicit NewFile(const std::string& path) : path_(path), partial_(path + ".partial") {}

  std::string path_;
  std::string partial_;
  int fd_ = -1;
  bool done_ = false;
};

void PrintSnapshot(const Session& session, const storage::SnapshotStreamReader& reader) {
  const v1::Snapshot& snapshot = reader.snapshot();
  const v1::SnapshotManifest& manifest = reader.manifest();
  if (session.format == Format::kRaw) {
    session.out << snapshot.index() << '\n';
    return;
  }
  if (session.format == Format::kJson) {
    Json out = {{"cluster_id", HexId(manifest.cluster_id())},
                {"index", snapshot.index()},
                {"term", snapshot.term()},
                {"bytes", manifest.total_bytes()},
                {"voters", Json::array()},
                {"learners", Json::array()},
                {"files", Json::array()}};
    for (uint64_t id : snapshot.conf().voters()) out["voters"].push_back(HexId(id));
    for (uint64_t id : snapshot.conf().learners()) out["learners"].push_back(HexId(id));
    for (const auto& file : manifest.files())
      out["files"].push_back({{"name", file.name()}, {"bytes", file.bytes()}});
    session.out << out.dump(2) << '\n';
    return;
  }
  session.out << "cluster " << HexId(manifest.cluster_id()) << ", index " << snapshot.index()
              << ", term " << snapshot.term() << ", " << manifest.files_size() << " files, "
              << client::FormatBytes(manifest.total_bytes()) << "; complete, all checksums match\n";
  Table table({"FILE", "SIZE"});
  for (const auto& file : manifest.files())
    table.Add({file.name(), client::FormatBytes(file.bytes())});
  if (manifest.files_size() > 0) table.Print(session.out);
}

Status SaveFrom(const Session& session, client::Admin& admin, const client::Endpoint& endpoint,
                const std::string& path) {
  ASSIGN_OR_RETURN_STATUS(auto file, NewFile::Create(path));
  storage::SnapshotStreamReader reader;
  auto receive = [&](std::string_view bytes) {
    RETURN_IF_ERROR(reader.Feed(bytes));
    return file->Append(bytes);
  };
  RETURN_IF_ERROR(admin.SaveSnapshot(endpoint, receive));
  RETURN_IF_ERROR(reader.Finish());
  RETURN_IF_ERROR(file->Finish());
  PrintSnapshot(session, reader);
  return Status::Ok();
}

Status Save(const Session& session, const std::string& path, bool force) {
  if (!force && std::filesystem::exists(path))
    return Status(Code::kFailedPrecondition, path + " is there already; --force replaces it");
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  Status last;
  for (const auto& endpoint : admin.endpoints()) {
    last = SaveFrom(session, admin, endpoint, path);
    if (last.code() != Code::kUnavailable) break;
  }
  return last;
}

using Piece = std::function<Status(std::string_view)>;

// The whole file, checked on the way; each piece is handed on before the next is read.
Status Read(const std::string& path, storage::SnapshotStreamReader& reader, const Piece& piece) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return OsError("cannot open " + path);
  std::vector<char> buffer(kPieceBytes);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    const std::string_view bytes(buffer.data(), static_cast<size_t>(in.gcount()));
    RETURN_IF_ERROR(reader.Feed(bytes));
    if (piece) RETURN_IF_ERROR(piece(bytes));
  }
  if (in.bad()) return OsError("cannot read " + path);
  return reader.Finish();
}

Status Inspect(const Session& session, const std::string& path) {
  storage::SnapshotStreamReader reader;
  RETURN_IF_ERROR(Read(path, reader, nullptr));
  PrintSnapshot(session, reader);
  return Status::Ok();
}

void PrintRestored(const Session& session, const v1::RestoreResponse& restored,
                   const storage::SnapshotStreamReader& reader) {
  const std::string cluster = HexId(restored.cluster_id());
  const std::string member = HexId(restored.member_id());
  if (session.format == Format::kRaw) {
    session.out << cluster << ' ' << member << '\n';
  } else if (session.format == Format::kJson) {
    session.out << Json{{"cluster_id", cluster},
                        {"member_id", member},
                        {"index", reader.snapshot().index()}}
                       .dump(2)
                << '\n';
  } else {
    session.out << "cluster " << cluster << " of member " << member
                << " alone has the state of index " << reader.snapshot().index() << '\n';
  }
}

// A file that is damaged is found out before the node hears of it.
Status Restore(const Session& session, const std::string& path) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdminOfOneNode());
  storage::SnapshotStreamReader whole;
  RETURN_IF_ERROR(Read(path, whole, nullptr));
  storage::SnapshotStreamReader reader;
  v1::RestoreResponse response;
  RETURN_IF_ERROR(Read(path, reader, [&](std::string_view bytes) {
    ASSIGN_OR_RETURN_STATUS(response,
                            admin.Restore(admin.endpoints().front(), response.received(), bytes));
    return Status::Ok();
  }));
  if (response.cluster_id() == 0) {
    return Status(Code::kInternal, "the node has the whole file and made no cluster of it");
  }
  PrintRestored(session, response, reader);
  return Status::Ok();
}

Status Take(const Session& session) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  for (const auto& endpoint : admin.endpoints()) {
    ASSIGN_OR_RETURN_STATUS(v1::SnapshotResponse response, admin.TakeSnapshot(endpoint));
    if (session.format == Format::kJson) {
      session.out << Json{{"node", endpoint.ToString()},
                          {"index", response.index()},
                          {"term", response.term()}}
                  << '\n';
    } else {
      session.out << endpoint.ToString() << " index " << response.index() << " term "
                  << response.term() << '\n';
    }
  }
  return Status::Ok();
}

}  // namespace

void AddSnapshotCommands(CLI::App& app, Session& session) {
  CLI::App* snapshot =
      app.add_subcommand("snapshot", "save, inspect and restore snapshots of the state");
  snapshot->require_subcommand(1);

  struct SaveArgs {
    std::string path;
    bool force = false;
  };
  auto save_args = std::make_shared<SaveArgs>();
  CLI::App* save = snapshot->add_subcommand("save", "write the state of one node to a file");
  save->add_option("file", save_args->path, "appears when it is complete and checked")->required();
  save->add_flag("--force", save_args->force, "replace the file if it is there");
  save->callback([&session, save_args] {
    session.action = [&session, save_args] {
      return Save(session, save_args->path, save_args->force);
    };
  });

  auto path = std::make_shared<std::string>();
  CLI::App* inspect = snapshot->add_subcommand("inspect", "check a saved file; needs no cluster");
  inspect->add_option("file", *path, "written by snapshot save")->required();
  inspect->callback(
      [&session, path] { session.action = [&session, path] { return Inspect(session, *path); }; });

  auto restore_path = std::make_shared<std::string>();
  CLI::App* restore = snapshot->add_subcommand(
      "restore", "make a new cluster of one blank node, with the content of a saved file");
  restore->add_option("file", *restore_path, "written by snapshot save")->required();
  restore->callback([&session, restore_path] {
    session.action = [&session, restore_path] { return Restore(session, *restore_path); };
  });

  CLI::App* take = snapshot->add_subcommand(
      "take", "let each node of the endpoints flush its state now, so that its log can shrink");
  take->callback([&session] { session.action = [&session] { return Take(session); }; });
}

}  // namespace raftkv::ctl
