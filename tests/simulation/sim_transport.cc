// SimNode's network side: what node/transport does with sockets. A member keeps a stream to each
// peer; the handshake decides who may talk; a stream breaks when the other process ends, or when
// nothing passes for long enough.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "node/transport/call_table.h"
#include "node/transport/handshake.h"
#include "node/transport/message_codec.h"
#include "tests/simulation/hash.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

constexpr Duration kSilenceLimit = std::chrono::seconds(5);
constexpr Duration kCallTimeout = std::chrono::seconds(5);
constexpr Duration kSnapshotTimeout = std::chrono::seconds(10);
constexpr size_t kKeptWireBytes = size_t{64} << 10;

template <typename T>
std::shared_ptr<T> Share(T value) {
  return std::make_shared<T>(std::move(value));
}

}  // namespace

// --- Streams -------------------------------------------------------------------------------------

void SimNode::SetPeers(const std::map<raft::NodeId, std::string>& peers) {
  std::erase_if(streams_, [&](const auto& item) {
    const auto found = peers.find(item.first);
    return found == peers.end() || found->second != item.second.address;
  });
  for (const auto& [id, address] : peers) {
    Stream& stream = streams_[id];
    if (stream.target != nullptr) continue;
    stream.address = address;
    stream.target = world_->ByAddress(address);
    stream.next_dial = world_->scheduler.now();
  }
  // Who is no longer admitted is cut off.
  for (const auto& node : world_->nodes) {
    for (auto& [id_there, stream] : node->streams_) {
      if (stream.target != this || !stream.up) continue;
      if (replica().Admit(node->id()) == v1::HelloReply::OK) continue;
      stream.up = false;
      stream.next_dial = world_->scheduler.now() + Jitter(500'000);
    }
  }
}

void SimNode::Poke(raft::NodeId peer) {
  const auto found = streams_.find(peer);
  if (found != streams_.end()) found->second.next_dial = world_->scheduler.now();
}

void SimNode::MaintainStreams() {
  const SimTime now = world_->scheduler.now();
  // By id: handlers may change the peers.
  std::vector<raft::NodeId> peers;
  peers.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) peers.push_back(id);
  for (const raft::NodeId peer : peers) {
    const auto found = streams_.find(peer);
    if (found == streams_.end()) continue;
    Stream& stream = found->second;
    if (stream.target == nullptr || stream.target == this) continue;
    if (stream.up) {
      const bool passes = world_->network.Connects(host_, stream.target->host_);
      if (passes) stream.cut_since = SimTime(-1);
      if (!passes && stream.cut_since < SimTime(0)) stream.cut_since = now;
      if (stream.target_incarnation != stream.target->incarnation_ ||
          (!passes && now - stream.cut_since > kSilenceLimit)) {
        stream.up = false;
        stream.next_dial = now + Jitter(500'000);
        replica().OnPeerDown(peer);
      }
    } else if (now >= stream.next_dial) {
      Dial(peer, stream);
    }
  }
}

void SimNode::Dial(raft::NodeId peer, Stream& stream) {
  const SimNode& target = *stream.target;
  stream.next_dial = world_->scheduler.now() + Jitter(1'000'000);
  if (!target.listens() || target.paused_ || !world_->network.Connects(host_, target.host_)) {
    replica().OnPeerDown(peer);
    return;
  }
  const v1::HelloReply reply = target.Judge(*this, v1::Hello::MESSAGES, peer);
  if (reply.verdict() != v1::HelloReply::OK) {
    replica().OnPeerVerdict(peer, reply);
    return;
  }
  stream.up = true;
  stream.target_incarnation = target.incarnation_;
  stream.cut_since = SimTime(-1);
  replica().OnPeerUp(peer);
}

v1::HelloReply SimNode::Judge(const SimNode& dialer, v1::Hello::Purpose purpose,
                              raft::NodeId target) const {
  std::optional<raft::NodeId> receiving_from;
  if (receiving_from_ != SIZE_MAX) receiving_from = world_->nodes[receiving_from_]->id();
  v1::HelloReply reply =
      transport::JudgeHello(identity_, transport::MakeHello(dialer.identity_, purpose, target),
                            receiving_from, handler());
  if (reply.verdict() == v1::HelloReply::REMOVED) {
    const Result<raft::Index> flushed = machine_->FlushedIndex();
    if (flushed) world_->checker.OnCalledRemoved(id(), dialer.id(), *flushed);
  }
  return reply;
}

// --- Raft messages -------------------------------------------------------------------------------

void SimNode::Send(std::vector<raft::Message> messages) {
  Network& network = world_->network;
  const LinkProfile& profile = network.profile();
  const bool removed = disk_->identity().removed();
  std::map<raft::NodeId, std::vector<raft::Message>> frames;
  bool sends_change = false;
  bool hands_over = false;
  for (raft::Message& message : messages) {
    world_->checker.OnSend(*disk_, removed, message);
    hands_over = hands_over || message.Is<raft::TimeoutNow>();
    if (const auto* append = std::get_if<raft::AppendEntries>(&message.body)) {
      sends_change =
          sends_change || std::ranges::any_of(append->entries, [](const raft::Entry& entry) {
            return entry.IsConfChange();
          });
    }
    const auto found = streams_.find(message.to);
    if (found == streams_.end() || !found->second.up) continue;
    const Stream& stream = found->second;
    const size_t to = stream.target->host_;
    if (!network.Reaches(host_, to) || network.Percent(profile.loss_percent)) {
      world_->coverage.Hit(Path::message_lost);
      continue;
    }
    if (network.Percent(profile.duplicate_percent)) {
      world_->coverage.Hit(Path::message_duplicated);
      SendOn(stream, {message}, network.ArrivalOutOfOrder(host_, to));
    }
    if (network.Percent(profile.reorder_percent)) {
      world_->coverage.Hit(Path::message_reordered);
      SendOn(stream, {std::move(message)}, network.ArrivalOutOfOrder(host_, to));
      continue;
    }
    frames[message.to].push_back(std::move(message));
  }
  for (auto& [to, frame] : frames) {
    const Stream& stream = streams_.find(to)->second;
    SendOn(stream, std::move(frame), network.ArrivalInOrder(host_, stream.target->host_));
  }
  if (sends_change) Announce(Moment::change_sent);
  if (hands_over) Announce(Moment::transfer_sent);
}

void SimNode::SendOn(const Stream& stream, std::vector<raft::Message> messages, SimTime arrival) {
  world_->scheduler.At(
      arrival, [target = stream.target, from = id(), cluster = identity_.cluster_id,
                incarnation = stream.target_incarnation, messages = Share(std::move(messages))] {
        if (target->incarnation_ != incarnation && target->running()) {
          target->world_->coverage.Hit(Path::message_to_restarted);
        }
        target->Arrive(from, cluster, std::move(*messages));
      });
}

// As the bytes that would come: another message is another run.
void SimNode::Trace(const raft::Message& message) {
  wire_.Clear(kKeptWireBytes);
  transport::AppendMessage(message, message.from, wire_);
  world_->scheduler.Trace(HashBytes(wire_.view()));
}

void SimNode::Arrive(raft::NodeId from, uint64_t cluster, std::vector<raft::Message> messages) {
  if (!running() || identity_.cluster_id == 0 || identity_.cluster_id != cluster ||
      messages.front().to != id()) {
    return;
  }
  Fire(incarnation_, EventKind::kMessages, [this, from, messages = Share(std::move(messages))] {
    if (replica().Admit(from) != v1::HelloReply::OK) return;
    for (const raft::Message& message : *messages) Trace(message);
    if (world_->print_events) {
      for (const raft::Message& message : *messages) {
        std::fprintf(stderr, "             %s <- %016llx body %zu term %llu\n",
                     options_.name.c_str(), static_cast<unsigned long long>(from.value),
                     message.body.index(), static_cast<unsigned long long>(message.term.value));
      }
    }
    replica().OnMessages(std::move(*messages));
  });
}

// --- Calls ---------------------------------------------------------------------------------------

uint64_t SimNode::Expect(CallDone done) {
  const uint64_t call = next_call_++;
  calls_.emplace(call, std::move(done));
  Schedule(EventKind::kTimer, kCallTimeout,
           [this, call] { Answer(call, Error(Code::kUnknownOutcome, "no answer in time")); });
  return call;
}

void SimNode::Answer(uint64_t call, Result<v1::PeerReply> reply) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  const CallDone done = std::move(found->second);
  calls_.erase(found);
  done(std::move(reply));
}

// A reply travels like a call: on a stream, in order, lost if that is cut.
transport::ReplyFn SimNode::ReplyTo(SimNode* caller, uint64_t call) {
  return [this, caller, call, to = caller->incarnation_](v1::PeerReply reply) {
    if (!world_->network.Reaches(host_, caller->host_)) return;
    const SimTime arrival = world_->network.ArrivalInOrder(host_, caller->host_);
    world_->scheduler.At(arrival, [caller, call, to, reply = std::move(reply)] {
      caller->Fire(to, EventKind::kReply, [caller, call, reply] {
        caller->world_->scheduler.Trace(HashBytes(reply.SerializeAsString()));
        caller->Answer(call, reply);
      });
    });
  };
}

void SimNode::CallOver(raft::NodeId to, v1::PeerCall call, CallDone done, bool only_refusals) {
  const auto found = streams_.find(to);
  if (found == streams_.end() || !found->second.up) {
    Post(EventKind::kPost,
         [done = std::move(done)] { done(Error(Code::kUnavailable, "not connected")); });
    return;
  }
  SimNode* target = found->second.target;
  const uint64_t incarnation = found->second.target_incarnation;
  const uint64_t id_of_call =
      Expect(only_refusals ? CallDone([done = std::move(done)](Result<v1::PeerReply> reply) {
        // A lost call is no refusal: nobody knows how far it got.
        if (reply) done(std::move(reply));
      })
                           : std::move(done));
  if (!world_->network.Reaches(host_, target->host_)) return;
  const SimTime arrival = world_->network.ArrivalInOrder(host_, target->host_);
  world_->scheduler.At(arrival, [this, caller = incarnation_, from = id(), target, incarnation,
                                 id_of_call, shared = Share(std::move(call))] {
    target->Fire(incarnation, EventKind::kCall, [this, caller, from, target, id_of_call, shared] {
      if (caller != incarnation_ || target->replica().Admit(from) != v1::HelloReply::OK) return;
      world_->scheduler.Trace(HashBytes(shared->SerializeAsString()));
      target->replica().OnCall(from, std::move(*shared), target->ReplyTo(this, id_of_call));
    });
  });
}

void SimNode::Call(raft::NodeId to, v1::PeerCall call, CallDone done) {
  CallOver(to, std::move(call), std::move(done), false);
}

void SimNode::Forward(raft::NodeId to, v1::PeerCall call,
                      std::function<void(v1::PeerReply)> refused) {
  world_->coverage.Hit(Path::write_forwarded);
  CallOver(
      to, std::move(call),
      [refused = std::move(refused)](Result<v1::PeerReply> reply) {
        if (reply) return refused(std::move(*reply));
        // It surely did not leave.
        v1::PeerReply refusal;
        refusal.set_code(static_cast<uint32_t>(reply.error().code()));
        refusal.set_message(reply.error().message());
        refused(std::move(refusal));
      },
      true);
}

void SimNode::CallAddress(const std::string& address, v1::PeerCall call, CallDone done) {
  SimNode* target = world_->ByAddress(address);
  if (target == nullptr || !target->listens() || !world_->network.Connects(host_, target->host_)) {
    Schedule(EventKind::kPost, Jitter(100'000),
             [done = std::move(done)] { done(Error(Code::kUnavailable, "nobody listens there")); });
    return;
  }
  const v1::Hello hello = transport::MakeHello(identity_, v1::Hello::CALL, raft::kNone);
  const uint64_t id_of_call = Expect(std::move(done));
  const SimTime arrival = world_->network.ArrivalInOrder(host_, target->host_);
  world_->scheduler.At(arrival, [this, caller = incarnation_, target,
                                 incarnation = target->incarnation_, id_of_call, hello,
                                 shared = Share(std::move(call))] {
    target->Fire(incarnation, EventKind::kCall, [this, caller, target, id_of_call, hello, shared] {
      if (caller != incarnation_) return;
      world_->scheduler.Trace(HashBytes(shared->SerializeAsString()));
      if (shared->has_adopt()) world_->coverage.Hit(Path::node_adopted);
      transport::ReplyFn reply = target->ReplyTo(this, id_of_call);
      const Status allowed = transport::JudgeStrangerCall(target->identity_, hello, *shared);
      if (!allowed.ok()) return reply(transport::RefusalReply(allowed.code(), allowed.message()));
      if (shared->check_only()) {
        reply = target->CheckAgreement(shared->replaces(), std::move(reply));
      }
      target->handler().OnStrangerCall(hello, std::move(*shared), std::move(reply));
    });
  });
}

// What a damaged member gives up its data for: of the others, a majority was sound when it asked.
transport::ReplyFn SimNode::CheckAgreement(uint64_t damaged, transport::ReplyFn reply) {
  return [this, damaged, asked = world_->scheduler.now(),
          reply = std::move(reply)](v1::PeerReply answer) {
    if (answer.code() == 0 && answer.has_join()) {
      world_->coverage.Hit(Path::replacement_agreed);
      const auto cluster = machine_->cluster();
      for (const auto* voters : {&cluster->conf().voters(), &cluster->conf().voters_outgoing()}) {
        size_t sound = 0;
        for (const uint64_t id : *voters) {
          const SimNode* node = world_->ById(raft::NodeId(id));
          if (id == damaged || node == nullptr) continue;
          sound += !node->disk().rotten() || node->disk().rotten_since() >= asked ? 1 : 0;
        }
        if (!voters->empty() && sound <= static_cast<size_t>(voters->size()) / 2) {
          world_->checker.Fail("recovery: member " + HexId(id().value) + " lets member " +
                               HexId(damaged) + " give up its data, though a majority is damaged");
        }
      }
    }
    reply(std::move(answer));
  };
}

// --- Snapshots -----------------------------------------------------------------------------------

void SimNode::SendSnapshot(raft::Message message, std::string dir) {
  world_->checker.OnSend(*disk_, disk_->identity().removed(), message);
  const raft::NodeId to = message.to;
  const uint64_t transfer = next_transfer_++;
  transfers_[to] = transfer;
  const auto found = streams_.find(to);
  SimNode* target = found == streams_.end() ? nullptr : found->second.target;
  if (target == nullptr || !target->running() || target->paused_ ||
      !world_->network.Connects(host_, target->host_) ||
      target->Judge(*this, v1::Hello::SNAPSHOT, to).verdict() != v1::HelloReply::OK) {
    return SnapshotOver(to, transfer, false, Jitter(200'000));
  }
  if (!message.As<raft::InstallSnapshot>().snapshot.conf.voters_outgoing.empty()) {
    world_->coverage.Hit(Path::snapshot_while_joint);
  }
  target->receiving_from_ = host_;
  // Mostly quick, sometimes as long as a large state on a slow line takes.
  const Duration takes = random_.Uniform(4) == 0 ? Jitter(5'000'000) : Jitter(50'000);
  Schedule(EventKind::kSnapshotSent, takes,
           [this, target, incarnation = target->incarnation_, transfer,
            message = std::move(message), dir = std::move(dir)] {
             if (target->incarnation_ != incarnation) {
               return SnapshotOver(message.to, transfer, false, Jitter(1000));
             }
             target->receiving_from_ = SIZE_MAX;
             FinishSnapshot(target, transfer, message, dir);
           });
}

void SimNode::FinishSnapshot(SimNode* target, uint64_t transfer, const raft::Message& message,
                             const std::string& dir) {
  // A newer one has taken its place: nobody hears of this one.
  if (transfers_[message.to] != transfer) return;
  const auto found = disk_->checkpoints().find(dir);
  if (found == disk_->checkpoints().end() || !world_->network.Connects(host_, target->host_)) {
    return SnapshotOver(message.to, transfer, false, Jitter(1000));
  }
  // Unless it answers before.
  SnapshotOver(message.to, transfer, false, kSnapshotTimeout);
  const SimTime arrival = world_->network.ArrivalInOrder(host_, target->host_);
  world_->scheduler.At(
      arrival, [this, self = incarnation_, target, incarnation = target->incarnation_, transfer,
                message, checkpoint = found->second] {
        target->Fire(
            incarnation, EventKind::kSnapshotReceived,
            [this, self, target, transfer, message, checkpoint] {
              if (target->replica().Admit(message.from) != v1::HelloReply::OK) return;
              uint64_t bytes = 0;
              for (const auto& [key, value] : *checkpoint) bytes += key.size() + value.size();
              if (!target->disk_->space().Fits(bytes)) {
                world_->coverage.Hit(Path::snapshot_without_room);
                if (self == incarnation_) SnapshotOver(message.to, transfer, false, Jitter(5000));
                return;
              }
              const std::string received = target->disk_->dir().snapshots_path() + "/received-" +
                                           std::to_string(transfer) + "-" + std::to_string(host_);
              target->disk_->checkpoints()[received] = checkpoint;
              target->replica().OnSnapshotReceived(message, received);
              target->Announce(Moment::snapshot_received);
              if (self == incarnation_) {
                const bool heard = world_->network.Reaches(target->host_, host_);
                SnapshotOver(message.to, transfer, heard, heard ? Jitter(5000) : kSnapshotTimeout);
              }
            });
      });
}

void SimNode::SnapshotOver(raft::NodeId to, uint64_t transfer, bool ok, Duration delay) {
  Schedule(EventKind::kSnapshotSent, delay, [this, to, transfer, ok] {
    if (transfers_[to] != transfer) return;
    transfers_[to] = 0;  // over: nothing more is heard of it
    world_->coverage.Hit(ok ? Path::snapshot_sent : Path::snapshot_lost);
    replica().OnSnapshotSent(to, ok);
  });
}

}  // namespace raftkv::sim
