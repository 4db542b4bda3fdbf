#include "node/transport/dial.h"

#include <algorithm>
#include <utility>

namespace raftkv::transport {

Dial::Dial(ContextPtr context)
    : context_(std::move(context)), socket_(context_->io), timer_(context_->io) {}

std::shared_ptr<Dial> Dial::Start(ContextPtr context, const std::string& address,
                                  const v1::Hello& hello, size_t attempt, Done done) {
  auto dial = std::make_shared<Dial>(std::move(context));
  dial->address_ = address;
  dial->hello_ = hello;
  dial->attempt_ = attempt;
  dial->done_ = std::move(done);
  dial->timer_.expires_after(dial->context_->options.dial_timeout);
  dial->timer_.async_wait([dial](const asio::error_code& error) {
    if (!error) dial->OnTimeout();
  });
  dial->context_->resolver->Resolve(
      address, [weak = std::weak_ptr(dial)](const Result<std::vector<Endpoint>>& endpoints) {
        if (const auto self = weak.lock()) self->OnResolved(endpoints);
      });
  return dial;
}

void Dial::Cancel() {
  done_ = nullptr;
  timer_.cancel();
  asio::error_code ignored;
  socket_.close(ignored);
  if (connection_ != nullptr) connection_->Close();
}

void Dial::OnResolved(const Result<std::vector<Endpoint>>& endpoints) {
  if (!done_) return;
  if (!endpoints) return Finish(Error(endpoints.error()));
  endpoints_ = *endpoints;
  const auto first = static_cast<ptrdiff_t>(attempt_ % endpoints_.size());
  std::rotate(endpoints_.begin(), endpoints_.begin() + first, endpoints_.end());
  last_error_ = "timed out connecting";
  ConnectNext();
}

void Dial::ConnectNext() {
  asio::error_code ignored;
  socket_.close(ignored);
  socket_.async_connect(
      endpoints_[next_++],
      [self = shared_from_this()](const asio::error_code& error) { self->OnConnected(error); });
}

void Dial::OnConnected(const asio::error_code& error) {
  if (!done_) return;
  if (error) {
    last_error_ = error.message();
    if (next_ < endpoints_.size()) return ConnectNext();
    return Finish(Error(Code::kUnavailable, address_ + ": " + last_error_));
  }
  last_error_ = "no answer to the handshake";
  connection_ = std::make_shared<Connection>(std::move(socket_), context_->connection_options(),
                                             kMaxHandshakeBytes);
  connection_->Start(weak_from_this());
  connection_->SendFrame(hello_);
}

bool Dial::OnFrame(std::string_view body) {
  Dialed dialed;
  if (!dialed.reply.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  if (dialed.reply.verdict() == v1::HelloReply::OK) {
    if (dialed.reply.protocol_version() != hello_.protocol_version()) return false;
    dialed.connection = std::move(connection_);
  }
  const auto keep = shared_from_this();
  Finish(std::move(dialed));
  return true;
}

void Dial::OnClosed(const std::string& reason) {
  Finish(Error(Code::kUnavailable, address_ + ": handshake: " + reason));
}

void Dial::OnTimeout() { Finish(Error(Code::kUnavailable, address_ + ": " + last_error_)); }

void Dial::Finish(Result<Dialed> result) {
  if (!done_) return;
  const Done done = std::exchange(done_, nullptr);
  Cancel();
  done(std::move(result));
}

}  // namespace raftkv::transport
