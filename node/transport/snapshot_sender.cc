#include "node/transport/snapshot_sender.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "node/storage/codec.h"
#include "node/transport/handshake.h"

namespace raftkv::transport {
namespace {

constexpr size_t kMaxQueuedChunkBytes = 2 * storage::kSnapshotChunkBytes;

}  // namespace

SnapshotSender::SnapshotSender(ContextPtr context, raft::Message message, std::string dir,
                               std::function<void(bool)> done)
    : context_(std::move(context)),
      message_(std::move(message)),
      dir_(std::move(dir)),
      done_(std::move(done)),
      rate_timer_(context_->io) {}

void SnapshotSender::Start(const std::string& address) {
  const std::string_view data = message_.As<raft::InstallSnapshot>().snapshot.data.view();
  if (!manifest_.ParseFromArray(data.data(), static_cast<int>(data.size())) ||
      manifest_.files_size() == 0) {
    // Not from here: the caller's own caller may not expect an answer yet.
    asio::post(context_->io, [self = shared_from_this()] {
      self->Finish(false, "the snapshot message carries no manifest");
    });
    return;
  }
  dial_ = Dial::Start(context_, address,
                      MakeHello(context_->identity, v1::Hello::SNAPSHOT, message_.to), 0,
                      [weak = weak_from_this()](const Result<Dialed>& result) {
                        if (const auto self = weak.lock()) self->OnDialed(result);
                      });
}

void SnapshotSender::Close() {
  state_ = State::kClosed;
  rate_timer_.cancel();
  if (dial_ != nullptr) std::exchange(dial_, nullptr)->Cancel();
  if (connection_ != nullptr) connection_->Close();
}

void SnapshotSender::OnDialed(const Result<Dialed>& result) {
  dial_ = nullptr;
  if (!result) return Finish(false, result.error().message());
  if (result->connection == nullptr) return Finish(false, result->reply.message());
  connection_ = result->connection;
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(kMaxSnapshotFrameBytes);
  log::Info("sending a snapshot",
            {{"peer", log::Hex{message_.to.value}},
             {"index", message_.As<raft::InstallSnapshot>().snapshot.index.value},
             {"bytes", manifest_.total_bytes()}});
  v1::SnapshotOffer offer;
  storage::ToProto(message_, context_->identity.member_id, offer.mutable_message());
  state_ = State::kOffered;
  connection_->SendFrame(offer);
}

bool SnapshotSender::OnFrame(std::string_view body) {
  idle_ticks_ = 0;
  return state_ == State::kOffered ? OnResume(body) : OnDone(body);
}

bool SnapshotSender::OnResume(std::string_view body) {
  v1::SnapshotResume resume;
  if (!resume.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  if (!resume.accept()) {
    Finish(false, "refused: " + resume.message());
    return true;
  }
  state_ = State::kOpening;
  OnFileThread([dir = dir_, manifest = manifest_, resume](Files& files) {
    auto source = storage::SnapshotSource::Open(dir, manifest, resume);
    if (!source) {
      files.more = Error(source.error());
      return;
    }
    files.source = *std::move(source);
    files.more = files.source->Next(&files.chunk);
  });
  return true;
}

void SnapshotSender::OnFileThread(std::function<void(Files&)> work) {
  reading_ = true;
  context_->files->Run([files = files_, work = std::move(work)] { work(*files); },
                       [weak = weak_from_this()] {
                         const auto self = weak.lock();
                         if (self == nullptr || self->state_ == State::kClosed) return;
                         self->reading_ = false;
                         self->OnChunk();
                       });
}

void SnapshotSender::OnChunk() {
  if (!files_->more) return Finish(false, files_->more.error().ToString());
  idle_ticks_ = 0;
  v1::SnapshotChunk end;
  end.set_end(true);
  if (*files_->more) {
    state_ = State::kSending;
    const uint64_t bytes = files_->chunk.data().size();
    sent_bytes_ += bytes;
    if (const uint64_t rate = context_->options.snapshot_bytes_per_second; rate > 0) {
      next_chunk_at_ = std::max(next_chunk_at_, Clock::System().Now()) +
                       Duration(static_cast<int64_t>(bytes * 1'000'000'000 / rate));
    }
    connection_->SendFrame(files_->chunk);
  } else {
    state_ = State::kSent;
    connection_->SendFrame(end);
  }
  Pump();
}

void SnapshotSender::Pump() {
  if (state_ != State::kSending || reading_ || rate_waiting_) return;
  if (connection_->queued_bytes() >= kMaxQueuedChunkBytes || WaitForRate()) return;
  OnFileThread([](Files& files) {
    files.chunk.Clear();
    files.more = files.source->Next(&files.chunk);
  });
}

bool SnapshotSender::WaitForRate() {
  if (next_chunk_at_ <= Clock::System().Now()) return false;
  rate_waiting_ = true;
  rate_timer_.expires_at(next_chunk_at_);
  rate_timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (error || self == nullptr || self->state_ == State::kClosed) return;
    self->rate_waiting_ = false;
    self->Pump();
  });
  return true;
}

void SnapshotSender::OnDrained() {
  idle_ticks_ = 0;
  Pump();
}

bool SnapshotSender::OnDone(std::string_view body) {
  v1::SnapshotDone done;
  if (!done.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  if (done.ok() && state_ != State::kSent) return false;
  Finish(done.ok(), done.message());
  return true;
}

void SnapshotSender::OnTick() {
  // While the peer opens, verifies or syncs, its keep-alives are all there is to hear.
  const bool moving = state_ == State::kSending && !rate_waiting_;
  if (moving &&
      ++idle_ticks_ * context_->options.ping_interval > context_->options.snapshot_idle_limit) {
    return Finish(false, "nothing moved for too long");
  }
  if (connection_->queued_bytes() == 0) connection_->SendKeepAlive();
}

void SnapshotSender::OnClosed(const std::string& reason) { Finish(false, reason); }

void SnapshotSender::Finish(bool ok, const std::string& reason) {
  if (state_ == State::kClosed) return;
  const auto keep = shared_from_this();
  Close();
  const log::Hex peer{message_.to.value};
  if (ok) {
    log::Info("sent a snapshot", {{"peer", peer}, {"bytes_sent", sent_bytes_}});
  } else if (context_->logged.First("snapshot to " + std::to_string(peer.value), reason)) {
    log::Warning("sending a snapshot failed", {{"peer", peer}, {"reason", reason}});
  }
  if (ok) context_->logged.Forget("snapshot to " + std::to_string(peer.value));
  done_(ok);
}

}  // namespace raftkv::transport
