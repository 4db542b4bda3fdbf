#include "node/transport/snapshot_receiver.h"

#include <filesystem>
#include <utility>

#include "base/log.h"
#include "node/storage/codec.h"

namespace raftkv::transport {
namespace {

constexpr int kMaxWaitingChunks = 4;

}  // namespace

SnapshotReceiver::SnapshotReceiver(ContextPtr context, std::weak_ptr<Listener> listener,
                                   raft::NodeId from, std::shared_ptr<Connection> connection)
    : context_(std::move(context)),
      listener_(std::move(listener)),
      from_(from),
      connection_(std::move(connection)) {}

void SnapshotReceiver::Start() {
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(kMaxSnapshotFrameBytes);
}

void SnapshotReceiver::Close() {
  state_ = State::kClosed;
  connection_->Close();
}

void SnapshotReceiver::OnFileThread(std::function<void(Files&)> work,
                                    void (SnapshotReceiver::*then)()) {
  context_->files->Run([files = files_, work = std::move(work)] { work(*files); },
                       [weak = weak_from_this(), then] {
                         const auto self = weak.lock();
                         if (self != nullptr && self->state_ != State::kClosed) {
                           (self.get()->*then)();
                         }
                       });
}

bool SnapshotReceiver::OnFrame(std::string_view body) {
  if (state_ == State::kOffer) return OnOffer(body);
  if (state_ == State::kChunks) return OnChunk(body);
  return false;
}

bool SnapshotReceiver::OnOffer(std::string_view body) {
  v1::SnapshotOffer offer;
  if (!offer.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  if (!offer.message().has_install_snapshot()) return false;
  Result<raft::Message> message =
      storage::FromProto(std::move(*offer.mutable_message()), from_, context_->identity.member_id);
  if (!message) return false;
  message_ = *std::move(message);
  const std::string_view data = message_.As<raft::InstallSnapshot>().snapshot.data.view();
  v1::SnapshotManifest manifest;
  if (!manifest.ParseFromArray(data.data(), static_cast<int>(data.size()))) return false;
  if (manifest.cluster_id() != context_->identity.cluster_id) {
    Refuse("the snapshot belongs to another cluster");
    return true;
  }
  // A new transfer removes what others have left, and whoever installs a snapshot may be slow.
  std::error_code ignored;
  if (std::filesystem::exists(context_->handed_over, ignored)) {
    Refuse("a snapshot that was received waits to be installed");
    return true;
  }
  state_ = State::kOpening;
  OnFileThread(
      [manifest, dir = context_->options.snapshots_dir,
       max_bytes = context_->options.max_snapshot_bytes](Files& files) {
        auto sink = storage::SnapshotSink::Open(dir, manifest, max_bytes);
        if (sink) {
          files.sink = *std::move(sink);
        } else {
          files.status = sink.error();
        }
      },
      &SnapshotReceiver::OnOpened);
  return true;
}

void SnapshotReceiver::OnOpened() {
  // No task is under way: the file thread's things may be looked at here.
  if (!files_->status.ok()) return Refuse(files_->status.ToString());
  v1::SnapshotResume resume = files_->sink->Resume();
  resume.set_accept(true);
  log::Info("receiving a snapshot",
            {{"peer", log::Hex{from_.value}},
             {"index", message_.As<raft::InstallSnapshot>().snapshot.index.value},
             {"files_already_here", resume.have_size()},
             {"bytes_of_the_next", resume.partial_bytes()}});
  state_ = State::kChunks;
  connection_->SendFrame(resume);
}

bool SnapshotReceiver::OnChunk(std::string_view body) {
  auto chunk = std::make_shared<v1::SnapshotChunk>();
  if (!chunk->ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  idle_ticks_ = 0;
  if (chunk->end()) {
    Finish();
    return true;
  }
  if (++waiting_ >= kMaxWaitingChunks) connection_->PauseReading();
  OnFileThread(
      [chunk](Files& files) {
        if (files.status.ok()) files.status = files.sink->Write(*chunk);
        chunk->Clear();
      },
      &SnapshotReceiver::OnWritten);
  return true;
}

void SnapshotReceiver::OnWritten() {
  --waiting_;
  // The status may be looked at only when no task can be writing it; a failure shows a little
  // later.
  if (waiting_ == 0 && !files_->status.ok()) return Fail(files_->status);
  if (waiting_ <= kMaxWaitingChunks / 2) connection_->ResumeReading();
}

void SnapshotReceiver::Finish() {
  state_ = State::kFinishing;
  OnFileThread(
      [](Files& files) {
        if (!files.status.ok()) return;
        Result<std::string> dir = files.sink->Finish();
        if (dir) {
          files.done_dir = *std::move(dir);
        } else {
          files.status = dir.error();
        }
        files.sink.reset();
      },
      &SnapshotReceiver::OnFinished);
}

void SnapshotReceiver::OnFinished() {
  if (!files_->status.ok()) return Fail(files_->status);
  v1::SnapshotDone done;
  done.set_ok(true);
  connection_->SendFrame(done);
  context_->CloseWhenSent(connection_);
  log::Info("received a snapshot",
            {{"peer", log::Hex{from_.value}}, {"directory", files_->done_dir}});
  const auto keep = shared_from_this();
  received_ = true;
  context_->handed_over = files_->done_dir;
  Leave();
  context_->handler->OnSnapshotReceived(std::move(message_), std::move(files_->done_dir));
}

void SnapshotReceiver::Refuse(const std::string& why) {
  log::Warning("refused a snapshot", {{"peer", log::Hex{from_.value}}, {"reason", why}});
  v1::SnapshotResume resume;
  resume.set_accept(false);
  resume.set_message(why);
  connection_->SendFrame(resume);
  context_->CloseWhenSent(connection_);
  Leave();
}

void SnapshotReceiver::Fail(const Status& status) {
  log::Error("receiving a snapshot failed",
             {{"peer", log::Hex{from_.value}}, {"reason", status.ToString()}});
  v1::SnapshotDone done;
  done.set_ok(false);
  done.set_message(status.ToString());
  connection_->SendFrame(done);
  context_->CloseWhenSent(connection_);
  Leave();
}

void SnapshotReceiver::OnTick() {
  connection_->SendKeepAlive();
  const bool sender_s_turn = state_ == State::kOffer || (state_ == State::kChunks && waiting_ == 0);
  if (!sender_s_turn) return;
  if (++idle_ticks_ * context_->options.ping_interval > context_->options.snapshot_idle_limit) {
    Fail(Status(Code::kUnavailable, "the sender sends nothing"));
  }
}

void SnapshotReceiver::OnClosed(const std::string& reason) {
  log::Warning("the connection of a snapshot broke; what has arrived is kept for the next attempt",
               {{"peer", log::Hex{from_.value}}, {"reason", reason}});
  Leave();
}

void SnapshotReceiver::Leave() {
  state_ = State::kClosed;
  if (const auto listener = listener_.lock()) listener->Remove(this);
}

}  // namespace raftkv::transport
