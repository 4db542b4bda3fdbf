// How a blank node becomes a member: initialize, a static list, join (and adoption, in
// replica_peers.cc).
//
// A member ID is drawn at random for each data directory, so a call that names it proves that the
// caller means exactly this directory and not a wiped predecessor (docs/design/membership.md).

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/host_port.h"
#include "base/log.h"
#include "node/kv/membership.h"
#include "node/runtime/rebuild.h"
#include "node/runtime/replica.h"
#include "node/runtime/restore.h"

namespace raftkv::runtime {
namespace {

// Nodes of a list that find a cluster at another one may just be about to be adopted by it.
constexpr Duration kAdoptionTakes = std::chrono::seconds(5);
constexpr Duration kBootstrapRetry = std::chrono::milliseconds(300);

}  // namespace

v1::Member Replica::Self() const {
  v1::Member self;
  self.set_id(id_.value);
  self.set_name(env_.options->name);
  self.set_peer_address(env_.options->peer_advertise);
  self.set_client_address(env_.options->client_advertise);
  return self;
}

raftkv::Status Replica::NotServing() const {
  if (leaving_) {
    return {Code::kNotServing, "this member was removed from its cluster; ask another one"};
  }
  const bool by_command_line = replacing() ? !env_.options->replaces->ask.empty()
                                           : env_.options->bootstrap.mode != Bootstrap::Mode::kWait;
  if (by_command_line || !join_addresses_.empty()) {
    return {Code::kUnavailable,
            "this node belongs to no cluster yet and waits to become a member (" +
                (last_bootstrap_log_.empty() ? "it has just started" : last_bootstrap_log_) + ")"};
  }
  if (replacing()) {
    return {Code::kNotServing,
            "the damaged data of this node were moved aside, and it belongs to no cluster; let it "
            "join one (raftkvctl join PEER, POST /admin/join)"};
  }
  return {Code::kNotServing,
          "this node is blank: it belongs to no cluster; make a new one of it (raftkvctl "
          "initialize, POST /admin/initialize), or let it join one (raftkvctl join PEER, POST "
          "/admin/join)"};
}

// `initial` has been judged (kv::FirstClusterState): what fails here is the disk, in the middle,
// and only a start empties what a blank node has, and begins anew. The identity is written last: a
// crash before it leaves such a node.
raftkv::Status Replica::BecomeMember(uint64_t cluster_id, const v1::ClusterState* initial,
                                     const v1::ClusterState& seeds) {
  CHECK(core_ == nullptr, "only a blank node becomes a member");
  v1::Identity identity = env_.storage.dir->identity();
  identity.set_cluster_id(cluster_id);
  identity.clear_seeds();
  for (const v1::Member& member : seeds.members()) *identity.add_seeds() = member;
  if (initial != nullptr) {
    // The first configuration stands for the entry at index 1, term 1, which nobody ever sends.
    RETURN_IF_ERROR(env_.storage.machine->InitializeCluster(*initial));
    RETURN_IF_ERROR(env_.storage.store->Flush());
    const raft::EntryId first{raft::Term(1), raft::Index(1)};
    RETURN_IF_ERROR(env_.storage.log->Reset(first, {first.term, raft::kNone, first.index}));
  }
  RETURN_IF_ERROR(env_.storage.dir->SetIdentity(identity));
  if (replacing()) RETURN_IF_ERROR(env_.finish_rebuild());
  transport_->SetIdentity({cluster_id, id_, identity.name()});
  StartCore();
  // Also when a member adopted this node while the answer to its own call was lost.
  AnswerJoins(Joined());
  env_.wake();
  return raftkv::Status::Ok();
}

// --- initialize
// ------------------------------------------------------------------------------------

// First members that are given by ID and address alone are asked for the rest.
void Replica::Initialize(v1::InitializeRequest request, Callback<v1::InitializeResponse> done) {
  for (int i = 0; core_ == nullptr && i < request.members_size(); ++i) {
    v1::Member& member = *request.mutable_members(i);
    if (!member.name().empty() || member.id() == 0 || member.peer_address().empty()) continue;
    if (member.id() != id_.value) return AskFirstMember(i, std::move(request), std::move(done));
    member.set_name(env_.options->name);
    if (member.client_address().empty()) {
      member.set_client_address(env_.options->client_advertise);
    }
  }
  done(InitializeNow(request));
}

void Replica::AskFirstMember(int index, v1::InitializeRequest request,
                             Callback<v1::InitializeResponse> done) {
  const std::string address = request.members(index).peer_address();
  v1::PeerCall who;
  who.mutable_who_are_you();
  transport_->CallAddress(
      address, std::move(who),
      [this, index, address, request = std::move(request),
       done = std::move(done)](Result<v1::PeerReply> reply) mutable {
        v1::Member& member = *request.mutable_members(index);
        if (!reply || !reply->has_i_am()) {
          return done(
              Error(Code::kUnavailable,
                    "nobody answers at " + address + " (" +
                        (reply ? reply->message() : reply.error().message()) +
                        "): start all first members, with empty data directories, before this"));
        }
        const v1::IAm& i_am = reply->i_am();
        if (i_am.member().id() != member.id() || i_am.cluster_id() != 0) {
          return done(
              Error(Code::kFailedPrecondition,
                    "the node at " + address + " is " + HexId(i_am.member().id()) +
                        (i_am.cluster_id() == 0 ? "" : " of cluster " + HexId(i_am.cluster_id())) +
                        ", not the blank " + HexId(member.id())));
        }
        const std::string& name = i_am.member().name();
        member.set_name(name.empty() ? HexId(member.id()) : name);
        if (member.client_address().empty()) {
          member.set_client_address(i_am.member().client_address());
        }
        Initialize(std::move(request), std::move(done));
        env_.wake();
      });
}

Result<v1::InitializeResponse> Replica::InitializeNow(const v1::InitializeRequest& request) {
  v1::InitializeResponse response;
  response.set_member_id(id_.value);
  v1::ClusterState initial;
  for (const v1::Member& member : request.members()) *initial.add_members() = member;
  if (initial.members().empty()) *initial.add_members() = Self();
  std::sort(initial.mutable_members()->begin(), initial.mutable_members()->end(),
            [](const v1::Member& a, const v1::Member& b) { return a.id() < b.id(); });
  bool self = false;
  for (int i = 0; i < initial.members_size(); ++i) {
    v1::Member& member = *initial.mutable_members(i);
    if (member.id() == 0 || member.peer_address().empty()) {
      return Error(Code::kInvalidArgument,
                   "each member needs an id (see its /admin/status) and a peer_address");
    }
    if (i > 0 && member.id() == initial.members(i - 1).id()) {
      return Error(Code::kInvalidArgument, "two members have the same id");
    }
    self = self || member.id() == id_.value;
    member.set_auto_promote(false);
    initial.mutable_conf()->add_voters(member.id());
  }
  if (!self) {
    return Error(Code::kInvalidArgument, "the members do not name this node, " + HexId(id_.value) +
                                             ": send the request to one of them");
  }
  const uint64_t own_cluster = env_.storage.dir->identity().cluster_id();
  if (replacing()) {
    return Error(Code::kFailedPrecondition,
                 "this node is about to take the place of a damaged member of cluster " +
                     HexId(env_.options->replaces->cluster_id) +
                     "; to make a new cluster, start with an empty data directory");
  }
  if (own_cluster != 0) {
    const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
    const bool same = (request.cluster_id() == 0 || request.cluster_id() == own_cluster) &&
                      std::equal(cluster->members().begin(), cluster->members().end(),
                                 initial.members().begin(), initial.members().end(),
                                 [](const auto& a, const auto& b) { return a.id() == b.id(); });
    if (!same && request.cluster_id() != own_cluster) {
      return Error(Code::kFailedPrecondition, "this node belongs to cluster " + HexId(own_cluster) +
                                                  " already; it cannot be initialized again");
    }
    response.set_cluster_id(own_cluster);
    return response;
  }
  uint64_t cluster_id = request.cluster_id();
  while (cluster_id == 0) cluster_id = env_.random->Next();
  initial.set_cluster_id(cluster_id);
  initial.set_config_index(1);
  if (const auto first = kv::FirstClusterState(initial, raft::Index(1)); !first) {
    return Error(first.error());
  }
  const raftkv::Status status = BecomeMember(cluster_id, &initial, initial);
  if (!status.ok()) {
    env_.fatal(status);
    return Error(status);
  }
  log::Info("cluster initialized",
            {{"cluster", log::Hex{cluster_id}}, {"members", initial.members_size()}});
  response.set_cluster_id(cluster_id);
  return response;
}

// --- restore
// ----------------------------------------------------------------------------------------

void Replica::Restore(const std::string& dir, v1::RestoreResponse response,
                      const Callback<v1::RestoreResponse>& done) {
  const bool waits =
      env_.options->bootstrap.mode == Bootstrap::Mode::kWait && join_addresses_.empty();
  if (core_ != nullptr || replacing() || env_.storage.dir->identity().cluster_id() != 0 || !waits) {
    return done(Error(NotBlank(Status())));
  }
  const uint64_t cluster_id = env_.random->Next() | 1;  // never 0
  const raftkv::Status founded = FoundCluster(*env_.options, dir, cluster_id, env_.storage);
  // Blank still, with databases that only a start empties.
  if (!founded.ok()) {
    return env_.fatal({Code::kIoError, "the snapshot is not restored: " + founded.message() +
                                           ". The data directory stays blank."});
  }
  transport_->SetIdentity({cluster_id, id_, env_.storage.dir->identity().name()});
  StartCore();
  log::Info("a new cluster was made from a snapshot",
            {{"cluster", log::Hex{cluster_id}},
             {"revision", env_.storage.machine->applied().revision},
             {"index", env_.storage.machine->applied().index.value}});
  response.set_cluster_id(cluster_id);
  response.set_member_id(id_.value);
  env_.wake();
  done(response);
}

// --- The bootstrap that the command line asks for
// ------------------------------------------------------

void Replica::BootstrapTick() {
  const MonotonicTime now = env_.clock->Now();
  if (bootstrap_call_under_way_ || now < next_bootstrap_) return;
  next_bootstrap_ = now + kBootstrapRetry;
  if (!join_addresses_.empty()) return TryJoin();
  const Bootstrap& bootstrap = env_.options->bootstrap;
  // Whatever the command line says of blank directories, this one was none.
  if (replacing()) {
    join_addresses_ = env_.options->replaces->ask;
    if (!join_addresses_.empty()) TryJoin();
    return;
  }
  switch (bootstrap.mode) {
    case Bootstrap::Mode::kWait:
    case Bootstrap::Mode::kRestore:  // done before the node started
      return;
    case Bootstrap::Mode::kSingle:
      if (core_ == nullptr) {
        const Result<v1::InitializeResponse> done = InitializeNow({});
        if (!done) env_.fatal(done.error());
      }
      return;
    case Bootstrap::Mode::kStaticList:
      if (core_ == nullptr) DiscoverStaticPeers();
      return;
    case Bootstrap::Mode::kJoin:
      join_addresses_ = bootstrap.addresses;
      // A member whose configuration has not come yet knows others who were there, whatever has
      // become of the list meanwhile.
      for (const v1::Member& seed : env_.storage.dir->identity().seeds()) {
        join_addresses_.push_back(seed.peer_address());
      }
      std::erase(join_addresses_, env_.options->peer_advertise);
      if (!join_addresses_.empty()) TryJoin();
      return;
  }
}

void Replica::ExpireJoins() {
  const MonotonicTime now = env_.clock->Now();
  std::erase_if(join_waiters_, [&](auto& waiter) {
    if (waiter.first > now) return false;
    waiter.second(Error(Code::kUnavailable, "no member let this node join yet (" +
                                                last_bootstrap_log_ + "); it goes on trying"));
    return true;
  });
}

v1::JoinResponse Replica::Joined() const {
  v1::JoinResponse response;
  response.set_cluster_id(env_.storage.dir->identity().cluster_id());
  response.set_member_id(id_.value);
  return response;
}

void Replica::AnswerJoins(const Result<v1::JoinResponse>& answer) {
  for (auto& [deadline, done] : std::exchange(join_waiters_, {})) done(answer);
}

void Replica::LogBootstrap(const std::string& text, const std::string& asked) {
  last_bootstrap_log_ = text;
  if (std::exchange(bootstrap_told_[asked], text) == text) return;
  log::Info("waiting to become a member", {{"reason", text}});
}

// The first of the list asks the others who they are. Only if all of them answer and are blank does
// it make a cluster of them: a list that meets an existing cluster is a wiped disk, not a new one.
// Every node of the list asks the others who they are; the first of the list initializes.
void Replica::DiscoverStaticPeers() {
  const std::vector<std::string>& addresses = env_.options->bootstrap.addresses;
  discovered_.clear();
  discover_pending_ = addresses.size() - 1;
  if (discover_pending_ == 0) return OnAllDiscovered();
  bootstrap_call_under_way_ = true;
  for (const std::string& address : addresses) {
    if (address == env_.options->peer_advertise) continue;
    v1::PeerCall call;
    call.mutable_who_are_you();
    transport_->CallAddress(address, std::move(call), [this, address](Result<v1::PeerReply> reply) {
      if (reply && reply->has_i_am()) {
        discovered_[address] = reply->i_am();
      }
      if (--discover_pending_ > 0) return;
      bootstrap_call_under_way_ = false;
      if (core_ == nullptr) OnAllDiscovered();
      env_.wake();
    });
  }
}

void Replica::OnAllDiscovered() {
  const std::vector<std::string>& addresses = env_.options->bootstrap.addresses;
  const bool first = addresses.front() == env_.options->peer_advertise;
  v1::InitializeRequest request;
  *request.add_members() = Self();
  std::string silent;
  for (const std::string& address : addresses) {
    if (address == env_.options->peer_advertise) continue;
    const auto it = discovered_.find(address);
    if (it == discovered_.end()) {
      silent = address;
      continue;
    }
    if (it->second.cluster_id() != 0) {
      // A new cluster adopts its nodes within a moment.
      const MonotonicTime now = env_.clock->Now();
      if (!others_have_cluster_) others_have_cluster_ = now;
      if (now - *others_have_cluster_ < kAdoptionTakes) return;
      return LogBootstrap(
          address + " belongs to cluster " + HexId(it->second.cluster_id()) +
          " already, while this data directory is empty. If its disk was lost, let this node take "
          "the old member's place: raftkvctl --endpoints OTHER:PORT member replace OLD-NAME " +
          env_.options->peer_advertise + "; if not, restore the directory");
    }
    v1::Member member = it->second.member();
    member.set_peer_address(address);
    *request.add_members() = member;
  }
  others_have_cluster_.reset();
  if (!silent.empty()) return LogBootstrap(silent + " does not answer yet");
  if (!first) {
    return LogBootstrap("the first of the list, " + addresses.front() +
                        ", initializes the cluster when all listed nodes are up");
  }
  const Result<v1::InitializeResponse> done = InitializeNow(request);
  if (!done) LogBootstrap(done.error().message());
}

// --- join
// --------------------------------------------------------------------------------------------

void Replica::Join(const v1::JoinRequest& request, MonotonicTime deadline,
                   Callback<v1::JoinResponse> done) {
  if (request.peer_addresses().empty()) {
    return done(Error(Code::kInvalidArgument, "name the peer address of a member to join through"));
  }
  for (const std::string& address : request.peer_addresses()) {
    // Else it would be asked for ever.
    const Result<HostPort> parsed = ParseHostPort(address);
    if (!parsed) return done(Error(parsed.error()));
    if (parsed->IsWildcard() || parsed->port == 0) {
      return done(Error(Code::kInvalidArgument,
                        "'" + address + "' cannot be dialed: name a host and a port other than 0"));
    }
  }
  if (core_ != nullptr) {
    return JoinAgain(request, 0, std::move(done));
  }
  join_addresses_.assign(request.peer_addresses().begin(), request.peer_addresses().end());
  join_remain_learner_ = request.remain_learner();
  joins_by_itself_ = false;
  join_waiters_.emplace_back(deadline, std::move(done));
  next_bootstrap_ = env_.clock->Now();
}

// A member is asked to join: fine if the request is a repeated one, so whoever is named must belong
// to the same cluster.
void Replica::JoinAgain(const v1::JoinRequest& request, int next, Callback<v1::JoinResponse> done) {
  const uint64_t own_cluster = env_.storage.dir->identity().cluster_id();
  const auto names = [&](const v1::Member& member) {
    return std::ranges::find(request.peer_addresses(), member.peer_address()) !=
           request.peer_addresses().end();
  };
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  const auto known =
      cluster->members().empty() ? env_.storage.dir->identity().seeds() : cluster->members();
  if (std::ranges::any_of(known, names)) return done(Joined());
  if (next == request.peer_addresses_size()) {
    return done(Error(Code::kUnavailable,
                      "this node belongs to cluster " + HexId(own_cluster) +
                          ", and none of the members named answers to say whether it is theirs"));
  }
  // Perhaps another name for a member.
  v1::PeerCall who;
  who.mutable_who_are_you();
  transport_->CallAddress(
      request.peer_addresses(next), std::move(who),
      [this, own_cluster, request, next, done](Result<v1::PeerReply> reply) {
        if (!reply || !reply->has_i_am() || reply->i_am().cluster_id() == 0) {
          return JoinAgain(request, next + 1, done);
        }
        const uint64_t theirs = reply->i_am().cluster_id();
        if (theirs == own_cluster) return done(Joined());
        done(Error(Code::kFailedPrecondition,
                   "this node belongs to cluster " + HexId(own_cluster) + " already, not to " +
                       HexId(theirs) +
                       "; to join another one, start with an empty data directory"));
      });
}

void Replica::TryJoin() {
  const std::string address = join_addresses_[next_join_address_++ % join_addresses_.size()];
  v1::PeerCall call;
  *call.mutable_join() = Self();
  call.set_remain_learner(join_remain_learner_);
  if (replacing() && joins_by_itself_) call.set_replaces(env_.options->replaces->member_id);
  bootstrap_call_under_way_ = true;
  transport_->CallAddress(address, std::move(call), [this, address](Result<v1::PeerReply> reply) {
    bootstrap_call_under_way_ = false;
    if (!reply || reply->code() != 0 || !reply->has_join()) {
      if (replacing() && reply &&
          reply->join().cluster_id() == env_.options->replaces->cluster_id) {
        LearnWhomToAsk(*env_.options, reply->join(), &join_addresses_);
      }
      return LogBootstrap(address + ": " + (reply ? reply->message() : reply.error().message()),
                          address);
    }
    OnJoined(reply->join());
    env_.wake();
  });
}

void Replica::OnJoined(const v1::JoinReply& joined) {
  v1::ClusterState seeds;
  for (const v1::Member& member : joined.members()) *seeds.add_members() = member;
  if (core_ == nullptr) {
    const raftkv::Status status = BecomeMember(joined.cluster_id(), nullptr, seeds);
    if (!status.ok()) return env_.fatal(status);
    log::Info("joined the cluster as a learner", {{"cluster", log::Hex{joined.cluster_id()}}});
  }
  // A node that restarts before its configuration arrives asks again only to learn addresses.
  next_bootstrap_ = env_.clock->Now() + std::chrono::seconds(5);
}

}  // namespace raftkv::runtime
