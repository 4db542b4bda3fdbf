#include "node/transport/peer_link.h"

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "node/transport/handshake.h"

namespace raftkv::transport {
namespace {

// Calls run out in steps of this: one timer for a crowd of them.
constexpr Duration kCallTimerStep = std::chrono::milliseconds(10);

std::string VerdictName(v1::HelloReply::Verdict verdict) {
  return v1::HelloReply::Verdict_Name(verdict);
}

}  // namespace

PeerLink::PeerLink(ContextPtr context, raft::NodeId id, std::string address)
    : context_(std::move(context)),
      id_(id),
      address_(std::move(address)),
      redial_timer_(context_->io),
      call_timer_(context_->io),
      calls_(context_->options.call_timeout) {}

void PeerLink::Begin() {
  if (attempts_ == 0) Poke();
}

void PeerLink::Poke() {
  if (closed_ || connection_ != nullptr || dial_ != nullptr) return;
  redial_timer_.cancel();
  StartDial();
}

void PeerLink::Close() {
  if (closed_) return;
  closed_ = true;
  redial_timer_.cancel();
  call_timer_.cancel();
  if (dial_ != nullptr) std::exchange(dial_, nullptr)->Cancel();
  if (connection_ == nullptr) return;
  const uint64_t handed_over = connection_->handed_over();
  connection_->Close();
  LeaveConnection();
  if (context_->stopped) {
    calls_.Clear();
  } else {
    calls_.OnBroken(handed_over);
  }
}

void PeerLink::CloseWhenSent() {
  const std::shared_ptr<Connection> connection = connection_;
  if (connection == nullptr) return Close();
  log::Info("peer is no longer kept connected", {{"peer", log::Hex{id_.value}}});
  closed_ = true;
  call_timer_.cancel();
  LeaveConnection();
  context_->CloseWhenSent(connection);
  calls_.OnBroken(UINT64_MAX);  // whatever is queued still leaves
}

void PeerLink::Send(const raft::Message& message) {
  CHECK(!message.Is<raft::InstallSnapshot>(), "snapshots are sent by SendSnapshot");
  const bool heartbeat = message.Is<raft::Heartbeat>();
  if (connection_ == nullptr) {
    ++past_.dropped_messages;
    past_.dropped_heartbeats += heartbeat ? 1 : 0;
    return;
  }
  const size_t limit = context_->options.max_frame_bytes / 2;
  ByteBuffer& out = connection_->OpenFrame();
  const size_t before = out.size();
  if (connection_->HasRoom(1)) AppendMessage(message, context_->identity.member_id, out);
  const size_t added = out.size() - before;
  if (added == 0 || added > limit || !connection_->HasRoom(0)) {
    out.Truncate(before);
    ++past_.dropped_messages;
    past_.dropped_heartbeats += heartbeat ? 1 : 0;
    if (context_->logged.First(address_, "full")) {
      log::Warning("messages to a peer are dropped: it takes them too slowly, or one is too large",
                   {{"peer", log::Hex{id_.value}}, {"queued_bytes", connection_->queued_bytes()}});
    }
    return;
  }
  ++past_.sent_messages;
}

void PeerLink::Flush() {
  if (connection_ != nullptr) connection_->Flush();
}

// Calls come in crowds: what is forwarded together leaves, and is proposed, together.
void PeerLink::FlushSoon() {
  if (std::exchange(flush_posted_, true)) return;
  asio::post(context_->io, [self = shared_from_this()] {
    self->flush_posted_ = false;
    self->Flush();
  });
}

void PeerLink::Call(v1::PeerCall call, std::variant<CallDone, Refused> waiter) {
  const char* why = "no connection to the peer";
  calls_.MakeRoom();
  if (connection_ != nullptr) {
    const bool has_room = connection_->HasRoom(1);
    ByteBuffer& out = connection_->OpenFrame();
    const size_t before = out.size();
    call.set_id(calls_.Add(connection_->position(), std::move(waiter), Clock::System().Now()));
    if (has_room) AppendField(v1::PeerFrame::kCallsFieldNumber, call, out);
    const size_t added = out.size() - before;
    if (added > 0 && added <= context_->options.max_frame_bytes / 2 && connection_->HasRoom(0)) {
      FlushSoon();
      return ArmCallTimer();
    }
    out.Truncate(before);
    FlushSoon();
    waiter = calls_.TakeBack();
    why = "the queue to the peer is full, or the call too large";
  }
  FailCall(std::move(waiter), why);
}

void PeerLink::ArmCallTimer() {
  if (call_timer_armed_ || closed_ || calls_.empty()) return;
  call_timer_armed_ = true;
  call_timer_.expires_at(std::max(calls_.next_deadline(), Clock::System().Now() + kCallTimerStep));
  call_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    self->call_timer_armed_ = false;
    if (error || self->closed_) return;
    self->calls_.Expire(Clock::System().Now());
    self->ArmCallTimer();
  });
}

void PeerLink::StartDial() {
  const v1::Hello hello = MakeHello(context_->identity, v1::Hello::MESSAGES, id_);
  dial_ = Dial::Start(context_, address_, hello, attempts_++,
                      [weak = weak_from_this()](Result<Dialed> result) {
                        if (const auto self = weak.lock()) self->OnDialed(std::move(result));
                      });
}

void PeerLink::OnDialed(Result<Dialed> result) {
  dial_ = nullptr;
  if (closed_) return;
  if (!result) {
    LogState("unreachable", result.error().message());
    return Down(NextWait());
  }
  if (result->connection == nullptr) return OnVerdict(result->reply);
  if (result->reply.member_id() != id_.value) {
    result->connection->Close();
    LogState("unreachable", "it answered as another member");
    return Down(NextWait());
  }
  OnUp(std::move(result->connection));
}

void PeerLink::OnVerdict(const v1::HelloReply& reply) {
  LogState(VerdictName(reply.verdict()), reply.message());
  const auto keep = shared_from_this();
  context_->handler->OnPeerVerdict(id_, reply);
  // Asking again at once would not change the answer; a poke comes when something else does.
  if (!closed_) Down(context_->options.redial_max);
}

void PeerLink::OnUp(std::shared_ptr<Connection> connection) {
  connection_ = std::move(connection);
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(context_->options.max_frame_bytes);
  up_since_ = Clock::System().Now();
  LogState("connected", "");
  OnTick();
  const auto keep = shared_from_this();
  context_->handler->OnPeerUp(id_);
}

void PeerLink::Down(Duration wait) {
  ++past_.connection_failures;
  redial_timer_.expires_after(wait);
  redial_timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (!error && self != nullptr) self->Poke();
  });
  context_->handler->OnPeerDown(id_);
}

Duration PeerLink::NextWait() {
  const Options& options = context_->options;
  wait_ = std::clamp(wait_ * 2, options.redial_min, options.redial_max);
  // Half of it is jitter, so that members that lost each other do not redial in step.
  const auto half = static_cast<uint64_t>(std::max<int64_t>(wait_.count() / 2, 1));
  return Duration(static_cast<int64_t>(half + context_->random.Uniform(half)));
}

bool PeerLink::OnFrame(std::string_view body) {
  v1::PeerFrame* frame = parser_.Parse(body);
  if (frame == nullptr || frame->messages_size() > 0 || frame->calls_size() > 0) return false;
  if (frame->pong() != 0) OnPong(frame->pong());
  for (v1::PeerReply& reply : *frame->mutable_replies()) {
    calls_.OnReply(std::move(reply));
    if (closed_ || connection_ == nullptr) return true;
  }
  return true;
}

void PeerLink::OnTick() {
  v1::PeerFrame frame;
  frame.set_ping(static_cast<uint64_t>(Clock::System().Now().time_since_epoch().count()));
  connection_->SendFrame(frame);
}

void PeerLink::OnPong(uint64_t value) {
  // The value is the time at which the ping left.
  const MonotonicTime sent(Duration(static_cast<int64_t>(value)));
  const MonotonicTime now = Clock::System().Now();
  if (sent < up_since_ || sent > now) return;
  const Duration sample = now - sent;
  Duration& smoothed = past_.round_trip;
  smoothed = smoothed == Duration::zero() ? sample : (smoothed * 7 + sample) / 8;
}

void PeerLink::OnClosed(const std::string& reason) {
  const uint64_t handed_over = connection_->handed_over();
  const Duration lasted = Clock::System().Now() - up_since_;
  // A stream that breaks as soon as it is up counts as a failed attempt.
  if (lasted >= context_->options.redial_max) wait_ = Duration::zero();
  LeaveConnection();
  LogState("unreachable", reason);
  calls_.OnBroken(handed_over);
  if (!closed_) Down(NextWait());
}

void PeerLink::LeaveConnection() {
  past_.sent_bytes += connection_->sent_bytes();
  past_.received_bytes += connection_->received_bytes();
  connection_ = nullptr;
}

void PeerLink::LogState(const std::string& state, const std::string& reason) {
  if (std::exchange(state_, state) == state) return;
  const log::Hex peer{id_.value};
  if (state == "connected") {
    context_->logged.Forget(address_);
    log::Info("peer connected", {{"peer", peer}, {"address", address_}});
  } else if (state == "unreachable") {
    log::Warning("peer unreachable; dialing it until it answers",
                 {{"peer", peer}, {"address", address_}, {"reason", reason}});
  } else {
    log::Warning("peer refuses our connection",
                 {{"peer", peer}, {"address", address_}, {"verdict", state}, {"reason", reason}});
  }
}

PeerStats PeerLink::stats() const {
  PeerStats stats = past_;
  stats.connected = connection_ != nullptr;
  if (connection_ != nullptr) {
    stats.sent_bytes += connection_->sent_bytes();
    stats.received_bytes += connection_->received_bytes();
    stats.queued_bytes = connection_->queued_bytes();
  }
  return stats;
}

}  // namespace raftkv::transport
