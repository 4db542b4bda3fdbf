#include "node/transport/listener.h"

#include <asio/error.hpp>
#include <asio/ip/v6_only.hpp>
#include <optional>
#include <utility>

#include "base/log.h"
#include "node/transport/handshake.h"
#include "node/transport/inbound.h"
#include "node/transport/snapshot_receiver.h"

namespace raftkv::transport {
namespace {

constexpr int kBacklog = 512;
constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);

template <typename List, typename Session>
void Erase(List& list, const Session* session) {
  std::erase_if(list, [session](const auto& entry) { return entry.get() == session; });
}

// Makes room for one more: what is oldest has had its chance.
template <typename List>
void Shrink(List& list, size_t limit) {
  while (!list.empty() && list.size() >= limit) {
    list.front()->Close();
    list.pop_front();
  }
}

std::string MemberKey(uint64_t id) { return "member " + std::to_string(id); }

}  // namespace

Listener::Listener(ContextPtr context, std::function<void(raft::NodeId)> on_member)
    : context_(std::move(context)),
      on_member_(std::move(on_member)),
      acceptor_(context_->io),
      accept_timer_(context_->io) {}

Status Listener::Start() {
  const std::string& text = context_->options.listen_address;
  ASSIGN_OR_RETURN_STATUS(const HostPort address, ParseHostPort(text));
  Status status;
  if (address.host.empty()) {
    status = Open(Endpoint(asio::ip::tcp::v6(), address.port), true);
    // Machines without IPv6.
    if (!status.ok()) status = Open(Endpoint(asio::ip::tcp::v4(), address.port), false);
  } else {
    ASSIGN_OR_RETURN_STATUS(const auto endpoints, ResolveBlocking(address));
    for (const Endpoint& endpoint : endpoints) {
      status = Open(endpoint, false);
      if (status.ok()) break;
    }
  }
  RETURN_IF_ERROR(status);
  Accept();
  return Status::Ok();
}

Status Listener::Open(const Endpoint& endpoint, bool any) {
  asio::error_code error;
  asio::error_code ignored;
  acceptor_.close(ignored);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (!error && any) acceptor_.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(kBacklog, error);
  if (error) {
    return Status(
        Code::kFailedPrecondition,
        "cannot listen for peers on " + context_->options.listen_address + ": " + error.message());
  }
  port_ = acceptor_.local_endpoint(ignored).port();
  return Status::Ok();
}

void Listener::Stop() {
  asio::error_code ignored;
  acceptor_.close(ignored);
  accept_timer_.cancel();
  for (const auto& handshake : handshakes_) handshake->Close();
  for (const auto& call : calls_) call->Close();
  for (const auto& [id, member] : members_) member->Close();
  if (receiver_ != nullptr) receiver_->Close();
  handshakes_.clear();
  calls_.clear();
  members_.clear();
  receiver_ = nullptr;
}

void Listener::Accept() {
  acceptor_.async_accept(
      [weak = weak_from_this()](const asio::error_code& error, asio::ip::tcp::socket socket) {
        if (const auto self = weak.lock()) self->OnAccepted(error, std::move(socket));
      });
}

void Listener::OnAccepted(const asio::error_code& error, asio::ip::tcp::socket socket) {
  if (!acceptor_.is_open()) return;
  if (error && error != asio::error::connection_aborted) {
    // Out of file descriptors, most likely: accepting again at once would spin.
    if (!std::exchange(accept_failing_, true)) {
      log::Error("cannot accept connections of peers; trying on", {{"reason", error.message()}});
    }
    accept_timer_.expires_after(kAcceptRetry);
    accept_timer_.async_wait([weak = weak_from_this()](const asio::error_code& stopped) {
      const auto self = weak.lock();
      if (!stopped && self != nullptr) self->Accept();
    });
    return;
  }
  if (!error) {
    if (std::exchange(accept_failing_, false)) log::Info("accepting connections of peers again");
    Shrink(handshakes_, context_->options.max_handshakes);
    if (connections() < context_->options.max_connections) {
      handshakes_.push_back(
          std::make_shared<Handshake>(context_, weak_from_this(), std::move(socket)));
      handshakes_.back()->Start();
    } else if (context_->logged.First("listener", "full")) {
      log::Warning("too many connections to the peer port; new ones are closed",
                   {{"limit", context_->options.max_connections}});
    }
  }
  Accept();
}

size_t Listener::connections() const {
  return handshakes_.size() + calls_.size() + members_.size() + (receiver_ != nullptr ? 1 : 0);
}

void Listener::AddTo(raft::NodeId member, PeerStats* stats) const {
  if (const auto found = members_.find(member); found != members_.end()) {
    stats->received_bytes += found->second->received_bytes();
  }
  if (const auto found = snapshots_.find(member); found != snapshots_.end()) {
    stats->snapshots_received = found->second.snapshots_received;
    stats->snapshots_receive_failed = found->second.snapshots_receive_failed;
    stats->snapshot_receive_time = found->second.snapshot_receive_time;
  }
  stats->receiving_snapshot = receiver_ != nullptr && receiver_->from() == member;
}

void Listener::CountSnapshot(const SnapshotReceiver& receiver) {
  PeerStats& stats = snapshots_[receiver.from()];
  ++(receiver.received() ? stats.snapshots_received : stats.snapshots_receive_failed);
  stats.snapshot_receive_time += Clock::System().Now() - receiver.since();
}

void Listener::OnHello(const std::shared_ptr<Handshake>& handshake, const v1::Hello& hello) {
  std::optional<raft::NodeId> receiving_from;
  if (receiver_ != nullptr) receiving_from = receiver_->from();
  const v1::HelloReply reply =
      JudgeHello(context_->identity, hello, receiving_from, *context_->handler);
  const std::shared_ptr<Connection> connection = handshake->Take();
  Remove(handshake.get());
  if (connection->closed()) return;  // Admit may have stopped us
  connection->SendFrame(reply);
  if (reply.verdict() != v1::HelloReply::OK) {
    LogRefusal(hello, reply, connection->remote());
    return context_->CloseWhenSent(connection);
  }
  Welcome(hello, connection);
}

void Listener::LogRefusal(const v1::Hello& hello, const v1::HelloReply& reply,
                          const std::string& remote) {
  const std::string verdict = v1::HelloReply::Verdict_Name(reply.verdict());
  if (!context_->logged_dialers.First(MemberKey(hello.member_id()), verdict)) return;
  log::Warning("refused the connection of a peer", {{"peer", log::Hex{hello.member_id()}},
                                                    {"remote", remote},
                                                    {"its_cluster", log::Hex{hello.cluster_id()}},
                                                    {"verdict", verdict},
                                                    {"reason", reply.message()}});
}

void Listener::Welcome(const v1::Hello& hello, std::shared_ptr<Connection> connection) {
  const raft::NodeId from(hello.member_id());
  switch (hello.purpose()) {
    case v1::Hello::CALL: {
      Shrink(calls_, context_->options.max_stranger_calls);
      calls_.push_back(
          std::make_shared<StrangerCall>(context_, weak_from_this(), hello, std::move(connection)));
      return calls_.back()->Start();
    }
    case v1::Hello::SNAPSHOT: {
      // The member lost its connection before we noticed.
      if (receiver_ != nullptr) {
        receiver_->Close();
        CountSnapshot(*receiver_);
      }
      receiver_ = std::make_shared<SnapshotReceiver>(context_, weak_from_this(), from,
                                                     std::move(connection));
      return receiver_->Start();
    }
    default: {
      context_->logged_dialers.Forget(MemberKey(from.value));
      auto& member = members_[from];
      if (member != nullptr) member->Close();  // likewise
      member =
          std::make_shared<MemberStream>(context_, weak_from_this(), from, std::move(connection));
      member->Start();
      on_member_(from);
    }
  }
}

void Listener::Readmit() {
  std::erase_if(members_, [this](const auto& entry) {
    if (context_->handler->Admit(entry.first) == v1::HelloReply::OK) return false;
    entry.second->Close();
    return true;
  });
}

void Listener::Remove(const Handshake* handshake) { Erase(handshakes_, handshake); }
void Listener::Remove(const StrangerCall* call) { Erase(calls_, call); }
void Listener::Remove(const SnapshotReceiver* receiver) {
  if (receiver_.get() != receiver) return;
  CountSnapshot(*receiver_);
  receiver_ = nullptr;
}
void Listener::Remove(const MemberStream* stream) {
  const auto found = members_.find(stream->from());
  if (found != members_.end() && found->second.get() == stream) members_.erase(found);
}

}  // namespace raftkv::transport
