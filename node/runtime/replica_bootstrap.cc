// How a blank node becomes a member: initialize, a static list, join, or adoption by a member.
//
// A member ID is drawn at random for each data directory, so a call that names it proves that the
// caller means exactly this directory and not a wiped predecessor (docs/design/membership.md).

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/runtime/replica.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {
namespace {

// Nodes of a list that find a cluster at another one may just be about to be adopted by it.
constexpr Duration kAdoptionTakes = std::chrono::seconds(5);
constexpr Duration kBootstrapRetry = std::chrono::milliseconds(300);
constexpr Duration kHelpEvery = std::chrono::seconds(1);  // each candidate
// A majority has to confirm the leader who agrees to a replacement; less than the caller waits.
constexpr Duration kConfirmWithin = std::chrono::seconds(3);

v1::PeerReply Refusal(const raftkv::Status& status) {
  v1::PeerReply reply;
  reply.set_code(static_cast<uint32_t>(status.code()));
  reply.set_message(status.message());
  return reply;
}

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
    return {Code::kUnavailable, "this member was removed from its cluster; ask another one"};
  }
  return {Code::kUnavailable,
          "this node is blank: it belongs to no cluster yet; initialize it, or let it join one "
          "(docs/operations.md)"};
}

// The identity is written last: a crash before it leaves a blank node, whose databases are emptied
// at the next start.
raftkv::Status Replica::BecomeMember(uint64_t cluster_id, const v1::ClusterState* initial,
                                     const v1::ClusterState& seeds) {
  CHECK(core_ == nullptr, "only a blank node becomes a member");
  v1::Identity identity = env_.data_dir->identity();
  identity.set_cluster_id(cluster_id);
  identity.clear_seeds();
  for (const v1::Member& member : seeds.members()) *identity.add_seeds() = member;
  if (initial != nullptr) {
    // The first configuration stands for the entry at index 1, term 1, which nobody ever sends.
    RETURN_IF_ERROR(env_.machine->InitializeCluster(*initial));
    RETURN_IF_ERROR(env_.store->Flush());
    const raft::EntryId first{raft::Term(1), raft::Index(1)};
    RETURN_IF_ERROR(env_.log->Reset(first, {first.term, raft::kNone, first.index}));
  }
  RETURN_IF_ERROR(env_.data_dir->SetIdentity(identity));
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

void Replica::Initialize(const v1::InitializeRequest& request,
                         Callback<v1::InitializeResponse> done) {
  done(InitializeNow(request));
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
  const uint64_t own_cluster = env_.data_dir->identity().cluster_id();
  if (replacing()) {
    return Error(Code::kFailedPrecondition,
                 "this node is about to take the place of a damaged member of cluster " +
                     HexId(env_.options->replaces->cluster_id) +
                     "; to make a new cluster, start with an empty data directory");
  }
  if (own_cluster != 0) {
    const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
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
  const raftkv::Status status = BecomeMember(cluster_id, &initial, initial);
  if (!status.ok()) return Error(status);
  log::Info("cluster initialized",
            {{"cluster", log::Hex{cluster_id}}, {"members", initial.members_size()}});
  response.set_cluster_id(cluster_id);
  return response;
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
      return TryJoin();
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
  response.set_cluster_id(env_.data_dir->identity().cluster_id());
  response.set_member_id(id_.value);
  return response;
}

void Replica::AnswerJoins(const Result<v1::JoinResponse>& answer) {
  for (auto& [deadline, done] : std::exchange(join_waiters_, {})) done(answer);
}

void Replica::LogBootstrap(const std::string& text) {
  if (text == last_bootstrap_log_) return;
  last_bootstrap_log_ = text;
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
          " already, while this data directory is empty. If its disk was lost: remove the old "
          "member and start this node with --start-mode join; if not, restore the directory");
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
  const uint64_t own_cluster = env_.data_dir->identity().cluster_id();
  const auto names = [&](const v1::Member& member) {
    return std::ranges::find(request.peer_addresses(), member.peer_address()) !=
           request.peer_addresses().end();
  };
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  const auto known =
      cluster->members().empty() ? env_.data_dir->identity().seeds() : cluster->members();
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
      return LogBootstrap(address + ": " + (reply ? reply->message() : reply.error().message()));
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

// At a member: a damaged one, or the new one at its place, asks to be replaced. Nobody else may
// want the old one back: it says itself that it cannot go on, and the leader does not hear of it.
Result<v1::ChangeMembershipRequest> Replica::PlanReplacement(const v1::PeerCall& call) const {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  const uint64_t old = call.replaces();
  if (!is_leader()) {
    return Error(Code::kUnavailable, "only the leader replaces a damaged member");
  }
  const auto& removed = cluster->removed_ids();
  if (std::find(removed.begin(), removed.end(), old) != removed.end()) {
    return Error(Code::kFailedPrecondition,
                 "member " + HexId(old) +
                     " was removed from the cluster meanwhile: nothing is left to replace. To add "
                     "this node as a new member, POST /admin/join");
  }
  const auto found = std::ranges::find(cluster->members(), old, &v1::Member::id);
  if (found == cluster->members().end()) {
    return Error(Code::kNotFound, HexId(old) + " is not a member");
  }
  if (found->peer_address() != call.join().peer_address()) {
    return Error(Code::kFailedPrecondition,
                 "member " + HexId(old) + " is at " + found->peer_address() + ", not at " +
                     call.join().peer_address() + ": this may be a copy of its data");
  }
  const raft::CoreStatus status = core_->status();
  const auto progress = status.progress.find(raft::NodeId(old));
  if (progress != status.progress.end() && progress->second.recently_active) {
    return Error(Code::kUnavailable, "member " + HexId(old) + " was heard of a moment ago");
  }
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(cluster->config_index());
  request.add_remove(old);
  v1::Member& learner = *request.add_add_learners();
  learner = call.join();
  const auto& voters = cluster->conf().voters();
  const bool voted = std::find(voters.begin(), voters.end(), old) != voters.end();
  learner.set_auto_promote(voted || found->auto_promote());
  return request;
}

// At a member: a damaged one asks whether it would be replaced, before its data are moved. The
// answer has to rest on a majority that is alive at this moment: a leader that has not heard of the
// others since its last look at them does not know yet that they are damaged too. No damaged member
// takes part in a round that begins after it asked; so whoever is the last of a majority to ask
// finds none left that confirms, and the data of all of them stay where they are.
void Replica::AgreeToReplace(v1::PeerCall call, transport::ReplyFn reply) {
  const auto refusal = [this](const v1::PeerCall& asked) -> raftkv::Status {
    const Result<v1::ChangeMembershipRequest> planned = PlanReplacement(asked);
    if (!planned) return planned.error();
    // Who has no say in the configuration to come cannot answer for it.
    if (ChangeUnderWay()) return {Code::kUnavailable, "another change is under way"};
    return raftkv::Status::Ok();
  };
  if (const raftkv::Status refused = refusal(call); !refused.ok()) return reply(Refusal(refused));
  if (MUTATION(agree_unconfirmed)) return reply(JoinAnswer());
  Read(Consistency::kLinearizable, env_.clock->Now() + kConfirmWithin,
       [this, refusal, call = std::move(call), reply](const raftkv::Status& confirmed) {
         if (!confirmed.ok()) return reply(Refusal(confirmed));
         const raftkv::Status refused = refusal(call);
         reply(refused.ok() ? JoinAnswer() : Refusal(refused));
       });
}

v1::PeerReply Replica::JoinAnswer() const {
  v1::PeerReply joined;
  joined.mutable_join()->set_cluster_id(env_.data_dir->identity().cluster_id());
  *joined.mutable_join()->mutable_members() = env_.machine->cluster()->members();
  return joined;
}

// At a member: somebody wants to join.
void Replica::HandleJoin(const v1::PeerCall& call, transport::ReplyFn reply) {
  const v1::Member& member = call.join();
  if (member.id() == 0 || member.peer_address().empty()) {
    return reply(Refusal({Code::kInvalidArgument, "a joining node has an id and an address"}));
  }
  if (call.check_only()) return AgreeToReplace(call, std::move(reply));
  for (const v1::Member& known : env_.machine->cluster()->members()) {
    if (known.id() == member.id()) return reply(JoinAnswer());  // a repeated call
  }
  v1::ChangeMembershipRequest request;
  if (call.replaces() != 0) {
    Result<v1::ChangeMembershipRequest> planned = PlanReplacement(call);
    if (!planned) return reply(Refusal(planned.error()));
    request = std::move(*planned);
    log::Warning("a member with damaged data is replaced",
                 {{"member", log::Hex{call.replaces()}}, {"by", log::Hex{member.id()}}});
  } else {
    v1::Member& learner = *request.add_add_learners();
    learner = member;
    learner.set_auto_promote(!call.remain_learner());
  }
  const MonotonicTime deadline = env_.clock->Now() + std::chrono::seconds(5);
  ChangeMembership(std::move(request), deadline,
                   [this, reply](Result<v1::ChangeMembershipResponse> response) {
                     reply(response ? JoinAnswer() : Refusal(response.error()));
                   });
}

// --- Calls from strangers
// --------------------------------------------------------------------------------

void Replica::OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, transport::ReplyFn reply) {
  env_.wake();
  switch (call.body_case()) {
    case v1::PeerCall::kWhoAreYou: {
      v1::PeerReply answer;
      v1::IAm& i_am = *answer.mutable_i_am();
      // Whoever takes the place of a member is not free for a new cluster.
      i_am.set_cluster_id(replacing() ? env_.options->replaces->cluster_id
                                      : env_.data_dir->identity().cluster_id());
      i_am.set_removed(leaving_);
      *i_am.mutable_member() = Self();
      return reply(std::move(answer));
    }
    case v1::PeerCall::kJoin:
      if (!serving()) return reply(Refusal(NotServing()));
      return HandleJoin(call, std::move(reply));
    case v1::PeerCall::kAdopt:
      return HandleAdopt(call.adopt(), std::move(reply));
    default:
      log::Warning("a stranger sent a call that is not for strangers",
                   {{"member", log::Hex{hello.member_id()}}});
      return reply(Refusal({Code::kInvalidArgument, "this call is for members only"}));
  }
}

void Replica::HandleAdopt(const v1::Adopt& adopt, transport::ReplyFn reply) {
  const uint64_t own_cluster = env_.data_dir->identity().cluster_id();
  if (adopt.member_id() != id_.value) {
    return reply(Refusal(
        {Code::kFailedPrecondition, "another node listens here: member " + HexId(id_.value)}));
  }
  if (own_cluster != 0) {
    if (own_cluster == adopt.cluster_id()) {
      Introduce(adopt);
      if (core_ != nullptr && !MUTATION(no_help_for_candidates)) {
        core_->LearnCommitted({raft::Term(adopt.config_term()), raft::Index(adopt.config_index())});
        env_.wake();
      }
      return reply({});
    }
    return reply(
        Refusal({Code::kFailedPrecondition, "this node belongs to cluster " + HexId(own_cluster)}));
  }
  if (adopt.cluster_id() == 0) {
    return reply(Refusal({Code::kInvalidArgument, "a cluster has an id"}));
  }
  if (replacing() && adopt.cluster_id() != env_.options->replaces->cluster_id) {
    return reply(Refusal(
        {Code::kFailedPrecondition, "this node takes the place of a member of another cluster"}));
  }
  v1::ClusterState seeds;
  *seeds.mutable_members() = adopt.members();
  const raftkv::Status status =
      BecomeMember(adopt.cluster_id(), adopt.has_initial() ? &adopt.initial() : nullptr, seeds);
  if (!status.ok()) return env_.fatal(status);
  log::Info("adopted by a cluster", {{"cluster", log::Hex{adopt.cluster_id()}},
                                     {"first configuration", adopt.has_initial()}});
  reply({});
}

// A member that was away while the membership changed may not know who leads now: it has to let
// that member in, and to have an address for the answers (thesis, section 4.1: a server accepts
// requests of a leader that is not in its own configuration).
void Replica::Introduce(const v1::Adopt& adopt) {
  if (adopt.config_index() <=
      std::max(introduced_index_, env_.machine->cluster()->config_index())) {
    return;
  }
  if (MUTATION(no_introduction)) return;
  introduced_index_ = adopt.config_index();
  introduced_.clear();
  for (const v1::Member& member : adopt.members()) {
    introduced_[raft::NodeId(member.id())] = member.peer_address();
  }
  log::Info("told of members that this one does not know yet",
            {{"configuration", introduced_index_}, {"members", introduced_.size()}});
  PublishPeers();
}

// --- The peers' side
// -------------------------------------------------------------------------------------

void Replica::OnPeerVerdict(raft::NodeId peer, const v1::HelloReply& reply) {
  if (core_ == nullptr || removed_) return;
  const bool own_cluster = reply.cluster_id() == env_.data_dir->identity().cluster_id();
  if (reply.member_id() == peer.value &&
      (reply.verdict() == v1::HelloReply::BLANK ||
       (reply.verdict() == v1::HelloReply::NOT_A_MEMBER && own_cluster))) {
    AdoptPeer(peer);
  } else if (reply.verdict() == v1::HelloReply::REMOVED && own_cluster) {
    OnRefusedAsRemoved(peer, reply);
  }
}

// A member of our configuration whose directory is still blank: it has exactly the id that was
// configured, so it is the one that was meant. Or one that has missed changes of the membership.
void Replica::AdoptPeer(raft::NodeId peer) {
  if (adopting_.contains(peer)) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  for (const v1::Member& member : cluster->members()) {
    if (member.id() != peer.value) continue;
    v1::PeerCall call;
    v1::Adopt& adopt = *call.mutable_adopt();
    adopt.set_cluster_id(cluster->cluster_id());
    adopt.set_member_id(peer.value);
    *adopt.mutable_members() = cluster->members();
    adopt.set_config_index(cluster->config_index());
    const raft::LogResult<raft::Term> term =
        replica_log_.term(raft::Index(cluster->config_index()));
    if (term) adopt.set_config_term(term->value);
    // Later configurations arrive with the log or a snapshot; without the first nobody could vote.
    if (cluster->config_index() == 1) *adopt.mutable_initial() = *cluster;
    adopting_.insert(peer);
    transport_->CallAddress(
        member.peer_address(), std::move(call), [this, peer](Result<v1::PeerReply> answer) {
          adopting_.erase(peer);
          if (answer && answer->code() == 0) {
            unintroduced_.erase(peer);
            transport_->Poke(peer);
          } else {
            log::Warning("a member could not be told that it is one",
                         {{"member", log::Hex{peer.value}},
                          {"reason", answer ? answer->message() : answer.error().message()}});
          }
        });
  }
}

v1::HelloReply::Verdict Replica::Admit(raft::NodeId id) {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  if (durably_removed_.contains(id.value)) return v1::HelloReply::REMOVED;
  const auto& removed = cluster->removed_ids();
  if (std::find(removed.begin(), removed.end(), id.value) != removed.end()) {
    return v1::HelloReply::OK;  // for the moment
  }
  for (const v1::Member& member : cluster->members()) {
    if (member.id() == id.value) return v1::HelloReply::OK;
  }
  if (introduced_index_ > cluster->config_index() && introduced_.contains(id)) {
    return v1::HelloReply::OK;
  }
  // Without a configuration yet: the cluster id was checked, and the leader has to get through.
  if (cluster->members().empty()) return v1::HelloReply::OK;
  return v1::HelloReply::NOT_A_MEMBER;
}

void Replica::TellVoters(v1::HelloReply* reply) const {
  reply->set_voter(core_ != nullptr && core_->tracker_config().voters.incoming.contains(id_));
  for (const uint64_t voter : durable_voters_) reply->add_voters(voter);
}

// It takes messages from us; whether it knows where to send the answers is another question.
void Replica::OnPeerUp(raft::NodeId peer) {
  if (core_ == nullptr || removed_) return;
  connected_.insert(peer);
  unintroduced_.insert(peer);
  IntroduceSelf();
  if (MUTATION(introduce_once)) unintroduced_.clear();
}

// Again and again until it is heard: the call may get lost, and at first this member may itself not
// know that it is one. The first configuration is known to all who are in it.
void Replica::IntroduceSelf() {
  if (env_.machine->cluster()->config_index() <= 1) return;
  for (const raft::NodeId peer : std::set<raft::NodeId>(unintroduced_)) AdoptPeer(peer);
}

// Whoever still goes by a configuration that we know is over may need votes of members that will
// not give them: their logs are longer, by entries that nobody can commit any more. Or it is the
// only one that can be elected, and waits for votes that it does not need. (Only applied
// configurations count; by the paper's rule it would have used the next one as soon as it was in
// its log.)
void Replica::HelpCandidate(const raft::Message& message) {
  const bool asks = message.Is<raft::RequestVote>() || message.Is<raft::RequestPreVote>();
  if (!asks || env_.machine->cluster()->config_index() <= 1) return;
  const MonotonicTime now = env_.clock->Now();
  const auto [helped, is_new] = helped_.try_emplace(message.from, now);
  if (!is_new && now - helped->second < kHelpEvery) return;
  helped->second = now;
  AdoptPeer(message.from);
}

void Replica::OnPeerDown(raft::NodeId peer) {
  if (core_ == nullptr) return;
  connected_.erase(peer);
  unintroduced_.erase(peer);
  core_->ReportUnreachable(peer);
  env_.wake();
}

void Replica::OnMessages(std::vector<raft::Message> messages) {
  if (core_ == nullptr || removed_) return;
  for (raft::Message& message : messages) {
    // Snapshots come with their files, on a stream of their own.
    if (message.Is<raft::InstallSnapshot>() || WithheldAfterRestart(message)) continue;
    HelpCandidate(message);
    (void)core_->Step(std::move(message));
  }
  env_.wake();
}

}  // namespace raftkv::runtime
