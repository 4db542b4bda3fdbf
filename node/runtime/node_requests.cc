// What others ask of a node, from any thread.

#include <asio/post.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "node/runtime/node_impl.h"
#include "node/runtime/restore.h"

namespace raftkv::runtime {

void NodeImpl::Write(v1::Command command, MonotonicTime deadline, WriteCallback done) {
  (void)loop_->Write(std::move(command), deadline, std::move(done));
}

void NodeImpl::ReadBarrier(Consistency consistency, MonotonicTime deadline, BarrierCallback done) {
  loop_->Read(consistency, deadline, std::move(done));
}

std::shared_ptr<const v1::StatusResponse> NodeImpl::status() const {
  std::lock_guard lock(status_mutex_);
  return status_;
}

template <typename T, typename Work>
void NodeImpl::OnRaftThread(Callback<T> done, Work work) {
  if (loop_->refuses_requests()) return done(Error(NodeLoop::Refusal()));
  Post([done = std::move(done), work = std::move(work)]() mutable { work(std::move(done)); });
}

void NodeImpl::FreshStatus(MonotonicTime, Callback<v1::StatusResponse> done) {
  OnRaftThread(std::move(done), [this](Callback<v1::StatusResponse> answer) {
    PublishStatus();
    answer(*status());
  });
}

Status NodeImpl::Alive() const { return pulse_.Check(Clock::System().Now()); }

std::vector<HealthCheck> NodeImpl::Health() const {
  const std::shared_ptr<const v1::StatusResponse> now = status();
  std::vector<HealthCheck> checks;
  const auto check = [&](std::string name, bool ok, std::string why) {
    checks.push_back(
        {std::move(name), ok ? Status::Ok() : Status(Code::kUnavailable, std::move(why))});
  };
  check("member",
        now->cluster_id() != 0 && now->role() != v1::StatusResponse::REMOVED &&
            now->role() != v1::StatusResponse::JOINING,
        "this node belongs to no cluster (yet)");
  check("space", !space_.refuses(),
        "the disk or the quota is full: writes that grow the store are refused");
  // Reads and deletes go on; and when all members are full, somebody has to take the deletes.
  checks.back().only_warns = true;
  check("loop", Alive().ok(), Alive().message());
  check("running", !loop_->refuses_requests(), "this node is stopping");
  return checks;
}

void NodeImpl::Initialize(v1::InitializeRequest request, MonotonicTime,
                          Callback<v1::InitializeResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request)](auto answer) {
    loop_->replica().Initialize(request, std::move(answer));
  });
}
void NodeImpl::Join(v1::JoinRequest request, MonotonicTime deadline,
                    Callback<v1::JoinResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request), deadline](auto answer) {
    loop_->replica().Join(request, deadline, std::move(answer));
  });
}
void NodeImpl::ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                                Callback<v1::ChangeMembershipResponse> done) {
  OnRaftThread(std::move(done),
               [this, request = std::move(request), deadline](auto answer) mutable {
                 loop_->replica().ChangeMembership(std::move(request), deadline, std::move(answer));
               });
}
void NodeImpl::TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                                  Callback<v1::TransferLeadershipResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request), deadline](auto answer) {
    loop_->replica().TransferLeadership(request, deadline, std::move(answer));
  });
}
void NodeImpl::TakeSnapshot(v1::SnapshotRequest, MonotonicTime deadline,
                            Callback<v1::SnapshotResponse> done) {
  OnRaftThread(std::move(done), [this, deadline](auto answer) {
    loop_->replica().TakeSnapshot(deadline, std::move(answer));
  });
}

// A checkpoint pins deleted files and is read twice: one at a time is enough.
void NodeImpl::ExportSnapshot(MonotonicTime deadline, Callback<SnapshotPieces> done) {
  if (exporting_.exchange(true)) {
    return done(Error(Code::kResourceExhausted, "a snapshot is being saved already; repeat later"));
  }
  using Checkpoint = std::pair<std::string, raft::Snapshot>;
  Callback<Checkpoint> made = [this, done = std::move(done)](Result<Checkpoint> checkpoint) {
    if (!checkpoint) {
      exporting_ = false;
      return done(Error(checkpoint.error()));
    }
    const uint64_t cluster_id = storage_.dir->identity().cluster_id();  // on the raft thread
    PostToJanitor([this, done, cluster_id, checkpoint = std::move(*checkpoint)] {
      const std::string& dir = checkpoint.first;
      done(OpenExport(dir, checkpoint.second, cluster_id, [this, dir] {
        loop_->RemoveDir(dir);
        exporting_ = false;
      }));
    });
  };
  OnRaftThread(std::move(made), [this, deadline](auto answer) {
    loop_->replica().MakeExport(deadline, std::move(answer));
  });
}

void NodeImpl::Restore(uint64_t offset, std::string_view piece,
                       Callback<v1::RestoreResponse> done) {
  std::lock_guard lock(restore_mutex_);
  // Before the disk is written; what counts is what the raft thread finds.
  const std::shared_ptr<const v1::StatusResponse> now = status();
  if (now->cluster_id() != 0 || options_.bootstrap.mode != Bootstrap::Mode::kWait) {
    return done(Error(NotBlank(*now)));
  }
  if (!upload_) upload_.emplace(UploadsPath(options_));
  const Status taken = upload_->Take(offset, piece);
  if (!taken.ok()) {
    if (taken.code() != Code::kCorruption) return done(Error(taken));
    return done(Error(Code::kInvalidArgument, "the snapshot is damaged: " + taken.message()));
  }
  v1::RestoreResponse response;
  response.set_received(upload_->received());
  if (!upload_->complete()) return done(response);
  Result<std::string> checkpoint = upload_->Finish();
  upload_.reset();
  if (!checkpoint) return done(Error(checkpoint.error()));
  OnRaftThread(std::move(done), [this, response, checkpoint = *checkpoint](auto answer) {
    loop_->replica().Restore(checkpoint, response, std::move(answer));
  });
}

void NodeImpl::Compact(v1::CompactRequest request, MonotonicTime deadline,
                       Callback<v1::CompactResponse> done) {
  v1::Command command;
  command.mutable_compact()->set_revision(request.revision());
  Write(std::move(command), deadline,
        [revision = request.revision(), done = std::move(done)](Result<kv::CommandResult> result) {
          if (!result) return done(Error(result.error()));
          if (!result->status.ok()) return done(Error(result->status));
          v1::CompactResponse response;
          response.set_revision(revision);
          done(response);
        });
}

void NodeImpl::OnEnd(std::function<void(End)> callback) {
  std::lock_guard lock(status_mutex_);
  on_end_ = std::move(callback);
  if (removed_ && on_end_) asio::post(io_, [end = on_end_] { end(End::kRemoved); });
}

}  // namespace raftkv::runtime
