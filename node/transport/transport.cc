#include "node/transport/transport.h"

#include <algorithm>
#include <asio/post.hpp>
#include <set>
#include <utility>

#include "base/check.h"
#include "node/transport/context.h"
#include "node/transport/listener.h"
#include "node/transport/one_shot_call.h"
#include "node/transport/peer_link.h"
#include "node/transport/snapshot_sender.h"

namespace raftkv::transport {
namespace {

constexpr size_t kMaxOneShotCalls = 64;

class AsioTransport final : public Transport {
 public:
  AsioTransport(asio::io_context& io, const Options& options, Handler* handler)
      : context_(std::make_shared<Context>(io, options, handler)),
        listener_(std::make_shared<Listener>(context_, [this](raft::NodeId from) { Poke(from); })) {
  }
  ~AsioTransport() override { Stop(); }

  Status Start() override { return listener_->Start(); }
  uint16_t port() const override { return listener_->port(); }
  void Stop() override;

  void SetIdentity(const LocalIdentity& identity) override;
  void SetPeers(const std::map<raft::NodeId, std::string>& peers) override;
  void Poke(raft::NodeId peer) override;

  void Send(std::vector<raft::Message> messages) override;
  void Call(raft::NodeId to, v1::PeerCall call, CallDone done) override {
    CallOver(to, std::move(call), std::move(done));
  }
  void Forward(raft::NodeId to, v1::PeerCall call, Refused refused) override {
    CallOver(to, std::move(call), std::move(refused));
  }
  void CallAddress(const std::string& address, v1::PeerCall call, CallDone done) override;
  void SendSnapshot(raft::Message message, std::string dir) override;

  std::map<raft::NodeId, PeerStats> stats() const override;

 private:
  PeerLink* FindLink(raft::NodeId id) const;
  void CallOver(raft::NodeId to, v1::PeerCall call, std::variant<CallDone, Refused> waiter);

  const ContextPtr context_;
  const std::shared_ptr<Listener> listener_;
  std::map<raft::NodeId, std::shared_ptr<PeerLink>> links_;
  std::map<raft::NodeId, std::shared_ptr<SnapshotSender>> senders_;
  std::set<std::shared_ptr<OneShotCall>> calls_;
  uint64_t unknown_targets_ = 0;    // messages to them
  std::vector<PeerLink*> touched_;  // by the Send under way
};

void AsioTransport::Stop() {
  if (std::exchange(context_->stopped, true)) return;
  context_->resolver->Stop();
  listener_->Stop();
  for (const auto& [id, link] : links_) link->Close();
  for (const auto& [id, sender] : senders_) sender->Close();
  for (const auto& call : calls_) call->Close();
  links_.clear();
  senders_.clear();
  calls_.clear();
  for (const auto& connection : context_->leaving) connection->Close();
  context_->leaving.clear();
  context_->files->Stop();
}

void AsioTransport::SetIdentity(const LocalIdentity& identity) {
  const LocalIdentity before = std::exchange(context_->identity, identity);
  if (before.cluster_id == identity.cluster_id && before.member_id == identity.member_id) return;
  // Whoever refused what we were may take what we are.
  const auto links = links_;
  for (const auto& [id, link] : links) link->Poke();
}

void AsioTransport::SetPeers(const std::map<raft::NodeId, std::string>& peers) {
  if (context_->stopped) return;
  auto before = std::exchange(links_, {});
  for (const auto& [id, address] : peers) {
    auto& link = links_[id];
    const auto found = before.find(id);
    if (found != before.end() && found->second->address() == address) {
      link = std::move(found->second);
      before.erase(found);
    } else {
      link = std::make_shared<PeerLink>(context_, id, address);
    }
  }
  const auto after = links_;  // what follows calls back
  for (const auto& [id, link] : before) {
    if (peers.contains(id)) {
      const bool was_up = link->stats().connected;
      link->Close();
      if (was_up && !context_->stopped) context_->handler->OnPeerDown(id);
    } else {
      link->CloseWhenSent();
    }
  }
  for (const auto& [id, link] : after) link->Begin();
  listener_->Readmit();
}

void AsioTransport::Poke(raft::NodeId peer) {
  if (PeerLink* link = FindLink(peer)) link->Poke();
}

PeerLink* AsioTransport::FindLink(raft::NodeId id) const {
  const auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second.get();
}

void AsioTransport::Send(std::vector<raft::Message> messages) {
  for (const raft::Message& message : messages) {
    PeerLink* link = FindLink(message.to);
    if (link == nullptr) {
      ++unknown_targets_;
      continue;
    }
    link->Send(message);
    if (std::find(touched_.begin(), touched_.end(), link) == touched_.end()) {
      touched_.push_back(link);
    }
  }
  for (PeerLink* link : touched_) link->Flush();
  touched_.clear();
}

void AsioTransport::CallOver(raft::NodeId to, v1::PeerCall call,
                             std::variant<CallDone, Refused> waiter) {
  if (context_->stopped) return;
  if (const auto found = links_.find(to); found != links_.end()) {
    const auto link = found->second;
    return link->Call(std::move(call), std::move(waiter));
  }
  FailCall(std::move(waiter), "not a peer of this node");
}

void AsioTransport::CallAddress(const std::string& address, v1::PeerCall call, CallDone done) {
  if (context_->stopped) return;
  if (calls_.size() >= kMaxOneShotCalls) {
    return done(Error(Code::kResourceExhausted, "too many calls to addresses are under way"));
  }
  // The call's own pointer, to find it by when it is done.
  const auto slot = std::make_shared<std::weak_ptr<OneShotCall>>();
  const auto one = std::make_shared<OneShotCall>(
      context_, std::move(call),
      [this, slot, done = std::move(done)](Result<v1::PeerReply> result) {
        calls_.erase(slot->lock());
        done(std::move(result));
      });
  *slot = one;
  calls_.insert(one);
  one->Start(address);
}

void AsioTransport::SendSnapshot(raft::Message message, std::string dir) {
  if (context_->stopped) return;
  CHECK(message.Is<raft::InstallSnapshot>());
  const raft::NodeId to = message.to;
  if (const auto found = senders_.find(to); found != senders_.end()) {
    // The core knows of one transfer for each peer: the one it asked for last.
    found->second->Close();
    senders_.erase(found);
  }
  auto sender = std::make_shared<SnapshotSender>(context_, std::move(message), std::move(dir),
                                                 [this, to](bool ok) {
                                                   senders_.erase(to);
                                                   context_->handler->OnSnapshotSent(to, ok);
                                                 });
  senders_[to] = sender;
  const PeerLink* link = FindLink(to);
  sender->Start(link == nullptr ? "" : link->address());
}

std::map<raft::NodeId, PeerStats> AsioTransport::stats() const {
  std::map<raft::NodeId, PeerStats> all;
  for (const auto& [id, link] : links_) {
    PeerStats stats = link->stats();
    listener_->AddTo(id, &stats);
    all.emplace(id, stats);
  }
  if (unknown_targets_ > 0) all[raft::kNone].dropped_messages = unknown_targets_;
  return all;
}

}  // namespace

std::unique_ptr<Transport> MakeTransport(asio::io_context& io, const Options& options,
                                         Handler* handler) {
  return std::make_unique<AsioTransport>(io, options, handler);
}

}  // namespace raftkv::transport
