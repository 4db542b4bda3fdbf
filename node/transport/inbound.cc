#include "node/transport/inbound.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "node/transport/call_table.h"
#include "node/transport/handshake.h"

namespace raftkv::transport {
namespace {

std::string HostOf(const std::string& remote) { return remote.substr(0, remote.rfind(':')); }

bool IsHttpRequest(std::string_view bytes) {
  constexpr std::array<std::string_view, 7> kMethods = {"GET ",    "HEAD ",  "PUT ",    "POST ",
                                                        "DELETE ", "PATCH ", "OPTIONS "};
  return std::ranges::any_of(kMethods, [&](auto method) { return bytes.starts_with(method); });
}

// A problem (RFC 9457), as the other two ports answer with.
std::string MisdirectedAnswer() {
  const std::string body =
      "{\"title\":\"This port speaks no HTTP\",\"status\":421,\"detail\":\"This is the peer port "
      "of a node (peer.listen), which serves other members only: ask its client port "
      "(client.listen) or its admin port (admin.listen).\",\"code\":\"" +
      std::string(CodeName(Code::kInternal)) + "\"}\n";
  return "HTTP/1.1 421 Misdirected Request\r\nContent-Type: application/problem+json\r\n"
         "Connection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace

// --- Handshake -----------------------------------------------------------------------------------

Handshake::Handshake(ContextPtr context, std::weak_ptr<Listener> listener,
                     asio::ip::tcp::socket socket)
    : context_(std::move(context)),
      listener_(std::move(listener)),
      connection_(std::make_shared<Connection>(std::move(socket), context_->connection_options(),
                                               kMaxHandshakeBytes)),
      timer_(context_->io) {}

void Handshake::Start() {
  timer_.expires_after(context_->options.dial_timeout);
  timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (error || self == nullptr) return;
    self->connection_->Close();
    self->OnClosed("no handshake in time");
  });
  connection_->Start(weak_from_this());
}

void Handshake::Close() {
  timer_.cancel();
  connection_->Close();
}

std::shared_ptr<Connection> Handshake::Take() {
  timer_.cancel();
  return connection_;
}

bool Handshake::OnFrame(std::string_view body) {
  v1::Hello hello;
  if (!hello.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  if (const auto listener = listener_.lock()) listener->OnHello(shared_from_this(), hello);
  return true;
}

// Somebody has taken this port for one of the other two.
bool Handshake::OnForeign(std::string_view bytes) {
  if (!IsHttpRequest(bytes)) return false;
  const auto self = shared_from_this();
  connection_->SendForeign(MisdirectedAnswer());
  context_->CloseWhenSent(connection_);
  OnClosed("protocol error: does not speak the peer protocol, but HTTP");
  return true;
}

void Handshake::OnClosed(const std::string& reason) {
  timer_.cancel();
  // Port scanners and probes that just connect are no news; one line for each host that talks.
  if (reason.starts_with("protocol error") &&
      context_->logged_dialers.First(HostOf(remote()), reason)) {
    log::Warning("a connection to the peer port was closed",
                 {{"remote", remote()}, {"reason", reason}});
  }
  if (const auto listener = listener_.lock()) listener->Remove(this);
}

// --- MemberStream --------------------------------------------------------------------------------

MemberStream::MemberStream(ContextPtr context, std::weak_ptr<Listener> listener, raft::NodeId from,
                           std::shared_ptr<Connection> connection)
    : context_(std::move(context)),
      listener_(std::move(listener)),
      from_(from),
      connection_(std::move(connection)) {}

void MemberStream::Start() {
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(context_->options.max_frame_bytes);
}

void MemberStream::Close() { connection_->Close(); }

bool MemberStream::OnFrame(std::string_view body) {
  v1::PeerFrame* frame = parser_.Parse(body);
  if (frame == nullptr || frame->replies_size() > 0) return false;
  const Status status = TakeMessages(frame, from_, context_->identity.member_id, &messages_);
  if (!status.ok()) {
    log::Error("a peer sent a message that cannot be; closing its stream",
               {{"peer", log::Hex{from_.value}}, {"reason", status.message()}});
    return false;
  }
  for (v1::PeerCall& call : *frame->mutable_calls()) {
    // A call is carried out at most once, whatever has repeated its bytes on the way.
    if (call.id() <= last_call_) continue;
    last_call_ = call.id();
    calls_.push_back(std::move(call));
  }
  if (frame->ping() != 0) {
    v1::PeerFrame pong;
    pong.set_pong(frame->ping());
    connection_->SendFrame(pong);
  }
  return true;
}

void MemberStream::OnReadEnd() {
  if (!messages_.empty()) {
    std::vector<raft::Message> messages;
    messages.reserve(messages_.size());
    std::swap(messages, messages_);
    context_->handler->OnMessages(std::move(messages));
  }
  std::vector<v1::PeerCall> calls = std::exchange(calls_, {});
  for (v1::PeerCall& call : calls) {
    if (connection_->closed()) return;
    ReplyFn reply = [weak = std::weak_ptr(connection_), id = call.id()](v1::PeerReply answer) {
      const auto connection = weak.lock();
      if (connection == nullptr || connection->closed()) return;
      // A peer that calls without reading the replies loses them.
      if (!connection->HasRoom(answer.ByteSizeLong())) return;
      answer.set_id(id);
      AppendField(v1::PeerFrame::kRepliesFieldNumber, answer, connection->OpenFrame());
      connection->Flush();
    };
    context_->handler->OnCall(from_, std::move(call), std::move(reply));
  }
}

void MemberStream::OnClosed(const std::string& reason) {
  log::Debug("stream of a peer ended", {{"peer", log::Hex{from_.value}}, {"reason", reason}});
  if (const auto listener = listener_.lock()) listener->Remove(this);
}

// --- StrangerCall --------------------------------------------------------------------------------

StrangerCall::StrangerCall(ContextPtr context, std::weak_ptr<Listener> listener, v1::Hello hello,
                           std::shared_ptr<Connection> connection)
    : context_(std::move(context)),
      listener_(std::move(listener)),
      hello_(std::move(hello)),
      connection_(std::move(connection)),
      timer_(context_->io) {}

void StrangerCall::Start() {
  connection_->SetUser(weak_from_this());
  connection_->SetMaxFrameBytes(kMaxStrangerCallBytes);
  timer_.expires_after(context_->options.dial_timeout + context_->options.call_timeout);
  timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const auto self = weak.lock();
    if (error || self == nullptr) return;
    self->connection_->Close();
    self->OnClosed("no call in time");
  });
}

void StrangerCall::Close() {
  timer_.cancel();
  connection_->Close();
}

bool StrangerCall::OnFrame(std::string_view body) {
  v1::PeerCall call;
  if (called_ || !call.ParseFromArray(body.data(), static_cast<int>(body.size()))) return false;
  called_ = true;
  call_id_ = call.id();
  const Status allowed = JudgeStrangerCall(context_->identity, hello_, call);
  if (!allowed.ok()) {
    Reply(RefusalReply(allowed.code(), allowed.message()));
    return true;
  }
  context_->handler->OnStrangerCall(hello_, std::move(call),
                                    [weak = weak_from_this()](v1::PeerReply reply) {
                                      if (const auto self = weak.lock()) {
                                        self->Reply(std::move(reply));
                                      }
                                    });
  return true;
}

void StrangerCall::Reply(v1::PeerReply reply) {
  if (connection_->closed()) return;
  timer_.cancel();
  reply.set_id(call_id_);
  connection_->SendFrame(reply);
  context_->CloseWhenSent(connection_);
  if (const auto listener = listener_.lock()) listener->Remove(this);
}

void StrangerCall::OnClosed(const std::string&) {
  timer_.cancel();
  if (const auto listener = listener_.lock()) listener->Remove(this);
}

}  // namespace raftkv::transport
