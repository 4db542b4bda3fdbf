#include "node/runtime/snapshot_export.h"

#include <utility>

#include "base/random.h"
#include "node/storage/codec.h"
#include "node/storage/snapshot_files.h"
#include "node/storage/snapshot_stream.h"

namespace raftkv::runtime {
namespace {

// Calls its function when the last copy of what holds it is gone.
class OnExit {
 public:
  explicit OnExit(std::function<void()> call) : call_(std::move(call)) {}
  ~OnExit() { call_(); }
  OnExit(const OnExit&) = delete;
  OnExit& operator=(const OnExit&) = delete;

 private:
  const std::function<void()> call_;
};

class Export {
 public:
  Export(std::shared_ptr<OnExit> release, std::string begin,
         std::unique_ptr<storage::SnapshotSource> source)
      : release_(std::move(release)), begin_(std::move(begin)), source_(std::move(source)) {}

  Result<std::string> Next() {
    if (!begin_.empty()) return std::exchange(begin_, {});
    if (ended_) return std::string();
    v1::SnapshotChunk chunk;
    const Result<bool> more = source_->Next(&chunk);
    if (more && *more) return storage::SnapshotStreamFrame(chunk);
    ended_ = true;
    // An error ends the stream with a frame that says so: a file that is cut short is found out.
    return storage::SnapshotStreamEnd(more ? Status::Ok() : more.error());
  }

 private:
  const std::shared_ptr<OnExit> release_;
  std::string begin_;
  const std::unique_ptr<storage::SnapshotSource> source_;
  bool ended_ = false;
};

}  // namespace

Result<SnapshotPieces> OpenExport(const std::string& dir, const raft::Snapshot& snapshot,
                                  uint64_t cluster_id, std::function<void()> release) {
  auto on_exit = std::make_shared<OnExit>(std::move(release));
  ASSIGN_OR_RETURN(const v1::SnapshotManifest manifest,
                   storage::DescribeCheckpoint(dir, cluster_id, SystemEntropy()));
  raft::Snapshot described = snapshot;
  described.data = Buffer(manifest.SerializeAsString());
  ASSIGN_OR_RETURN(std::unique_ptr<storage::SnapshotSource> source,
                   storage::SnapshotSource::Open(dir, manifest, {}));
  auto pieces = std::make_shared<Export>(std::move(on_exit),
                                         storage::SnapshotStreamBegin(storage::ToProto(described)),
                                         std::move(source));
  return SnapshotPieces([pieces] { return pieces->Next(); });
}

}  // namespace raftkv::runtime
