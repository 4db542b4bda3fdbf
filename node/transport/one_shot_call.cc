#include "node/transport/one_shot_call.h"

#include <utility>

#include "node/transport/handshake.h"

namespace raftkv::transport {

OneShotCall::OneShotCall(ContextPtr context, v1::PeerCall call, CallDone done)
    : context_(std::move(context)),
      call_(std::move(call)),
      done_(std::move(done)),
      timer_(context_->io) {}

void OneShotCall::Start(const std::string& address) {
  dial_ =
      Dial::Start(context_, address, MakeHello(context_->identity, v1::Hello::CALL, raft::kNone), 0,
                  [weak = weak_from_this()](const Result<Dialed>& result) {
                    if (const auto self = weak.lock()) self->OnDialed(result);
                  });
}

void OneShotCall::Close() {
  done_ = nullptr;
  timer_.cancel();
  if (dial_ != nullptr) std::exchange(dial_, nullptr)->Cancel();
  if (connection_ != nullptr) connection_->Close();
}

void OneShotCall::OnDialed(const Result<Dialed>& result) {
  dial_ = nullptr;
  if (!result) return Finish(Error(result.error()));
  if (result->connection == nullptr) {
    return Finish(Error(Code::kUnavailable, "refused: " + result->reply.message()));
  }
  connection_ = result->connection;
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(kMaxStrangerCallBytes);
  timer_.expires_after(context_->options.call_timeout);
  timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (error || self == nullptr) return;
    self->Finish(Error(Code::kUnknownOutcome, "no reply in time"));
  });
  call_.set_id(1);
  connection_->SendFrame(call_);
}

bool OneShotCall::OnFrame(std::string_view body) {
  v1::PeerReply reply;
  if (!reply.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  Finish(std::move(reply));
  return true;
}

void OneShotCall::OnClosed(const std::string& reason) {
  Finish(Error(Code::kUnknownOutcome, "no reply: " + reason));
}

void OneShotCall::Finish(Result<v1::PeerReply> result) {
  if (!done_) return;
  const auto keep = shared_from_this();
  const CallDone done = std::move(done_);
  Close();
  done(std::move(result));
}

}  // namespace raftkv::transport
