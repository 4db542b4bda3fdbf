// member list, add, promote, demote, remove, replace.
//
// Every change names the configuration index it was decided on, so that two people (or an operator)
// who change the membership at once do not undo each other's work: the second gets a conflict.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

#include "base/hex_id.h"
#include "ctl/cluster_view.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/text.h"

namespace raftkv::ctl {
namespace {

using Json = nlohmann::ordered_json;

struct MemberArgs {
  std::vector<std::string> members;  // IDs or names
  std::string old;                   // likewise, of replace
  std::string id;
  std::string peer_address;
  std::string name;
  std::string client_address;
  bool voter = false;
  bool force = false;
  double wait_s = 60;
};
using ArgsPtr = std::shared_ptr<MemberArgs>;

Status ListMembers(const Session& session) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  ASSIGN_OR_RETURN_STATUS(v1::StatusResponse status, admin.Status());
  ClusterView view = ViewOf(status);
  if (view.members.empty()) return NoMembers(view.outside);
  if (session.format == Format::kRaw) {
    for (const MemberView& row : view.members) session.out << HexId(row.member.id()) << '\n';
    return Status::Ok();
  }
  if (session.format == Format::kJson) {
    Json out = {{"cluster_id", HexId(view.cluster.cluster_id())},
                {"config_index", view.cluster.config_index()},
                {"members", Json::array()}};
    for (const MemberView& row : view.members) {
      out["members"].push_back({{"id", HexId(row.member.id())},
                                {"name", row.member.name()},
                                {"kind", row.kind},
                                {"leader", row.member.id() == view.leader},
                                {"peer_address", row.member.peer_address()},
                                {"client_address", row.member.client_address()}});
    }
    session.out << out.dump(2) << '\n';
    return Status::Ok();
  }
  Table table({"ID", "NAME", "KIND", "LEADER", "PEER ADDRESS", "CLIENT ADDRESS"});
  for (const MemberView& row : view.members)
    table.Add({HexId(row.member.id()), row.member.name(), row.kind,
               row.member.id() == view.leader ? "yes" : "", row.member.peer_address(),
               row.member.client_address()});
  table.Print(session.out);
  return Status::Ok();
}

std::string Ids(const google::protobuf::RepeatedField<uint64_t>& ids) {
  std::string out;
  for (uint64_t id : ids) out += (out.empty() ? "" : ",") + HexId(id);
  return out.empty() ? "none" : out;
}

void PrintChange(const Session& session, const v1::ChangeMembershipResponse& response) {
  if (session.format == Format::kTable) {
    session.out << "voters " << Ids(response.conf().voters()) << "; learners "
                << Ids(response.conf().learners()) << '\n';
    return;
  }
  if (session.format == Format::kRaw) {
    session.out << response.config_index() << '\n';
    return;
  }
  Json out = {{"config_index", response.config_index()},
              {"voters", Json::array()},
              {"learners", Json::array()}};
  for (uint64_t id : response.conf().voters()) out["voters"].push_back(HexId(id));
  for (uint64_t id : response.conf().learners()) out["learners"].push_back(HexId(id));
  session.out << out << '\n';
}

Result<v1::Member> NewMember(const MemberArgs& args) {
  v1::Member member;
  if (!args.id.empty()) {
    auto id = ParseHexId(args.id);
    if (!id) return Error(Code::kInvalidArgument, "a member ID has 16 hexadecimal digits");
    member.set_id(*id);
  }
  if (auto address = client::ParseEndpoint(args.peer_address); !address)
    return Error(address.error());
  member.set_peer_address(args.peer_address);
  member.set_name(args.name);
  member.set_client_address(args.client_address);
  return member;
}

const v1::Member* AtAddress(const v1::ClusterState& cluster, const std::string& peer_address) {
  for (const v1::Member& member : cluster.members())
    if (member.peer_address() == peer_address) return &member;
  return nullptr;
}

bool Contains(const google::protobuf::RepeatedField<uint64_t>& ids, uint64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Whether the cluster is as the request wants it.
bool IsDone(const v1::ChangeMembershipRequest& request, const v1::ClusterState& cluster) {
  const v1::ConfState& conf = cluster.conf();
  if (conf.voters_outgoing_size() > 0) return false;
  auto is_voter = [&](uint64_t id) { return Contains(conf.voters(), id); };
  auto is_learner = [&](uint64_t id) { return Contains(conf.learners(), id); };
  auto all = [](const auto& list, auto holds) {
    return std::all_of(list.begin(), list.end(), holds);
  };
  auto at = [&](const v1::Member& wanted) {
    const v1::Member* member = AtAddress(cluster, wanted.peer_address());
    return member == nullptr ? 0 : member->id();
  };
  return all(request.promote(), is_voter) && all(request.demote(), is_learner) &&
         all(request.remove(), [&](uint64_t id) { return !is_voter(id) && !is_learner(id); }) &&
         all(request.add_voters(), [&](const v1::Member& m) { return is_voter(at(m)); }) &&
         all(request.add_learners(), [&](const v1::Member& m) { return is_learner(at(m)); });
}

// Carries out a change, and looks whether it has happened if the answer was lost: the node that was
// asked, or the leader, may be one that the change removes. Nothing is sent twice.
Result<v1::ChangeMembershipResponse> Carry(client::Admin& admin,
                                           const v1::ChangeMembershipRequest& request) {
  auto response = admin.ChangeMembership(request);
  if (response || response.error().code() != Code::kUnknownOutcome) return response;
  for (int i = 0; i < 20; ++i) {
    auto status = admin.Status();
    if (status && status->role() != v1::StatusResponse::REMOVED &&
        IsDone(request, status->cluster())) {
      v1::ChangeMembershipResponse seen;
      seen.set_config_index(status->cluster().config_index());
      *seen.mutable_conf() = status->cluster().conf();
      return seen;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return response;
}

Status AddMember(const Session& session, const MemberArgs& args) {
  ASSIGN_OR_RETURN_STATUS(v1::Member member, NewMember(args));
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  ASSIGN_OR_RETURN_STATUS(v1::StatusResponse status, admin.Status());
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(status.cluster().config_index());
  request.set_force(args.force);
  *(args.voter ? request.add_add_voters() : request.add_add_learners()) = member;
  ASSIGN_OR_RETURN_STATUS(auto response, Carry(admin, request));
  PrintChange(session, response);
  return Status::Ok();
}

enum class Change { kPromote, kDemote, kRemove };

// All of them in one joint change.
Status ChangeMembers(const Session& session, const MemberArgs& args, Change change) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  ASSIGN_OR_RETURN_STATUS(v1::StatusResponse status, admin.Status());
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(status.cluster().config_index());
  request.set_force(args.force);
  for (const std::string& text : args.members) {
    ASSIGN_OR_RETURN_STATUS(v1::Member member, FindMember(status.cluster(), text));
    switch (change) {
      case Change::kPromote:
        request.add_promote(member.id());
        break;
      case Change::kDemote:
        request.add_demote(member.id());
        break;
      case Change::kRemove:
        request.add_remove(member.id());
    }
  }
  ASSIGN_OR_RETURN_STATUS(auto response, Carry(admin, request));
  PrintChange(session, response);
  return Status::Ok();
}

// Names and addresses are unique. So a member whose successor is at its own address gives both up,
// and is called this until it is removed (as the operator does it, docs/design/operator.md).
std::string FormerName(const std::string& name, uint64_t id) { return name + '.' + HexId(id); }

v1::Member GivenUp(const v1::Member& old) {
  v1::Member former;
  former.set_id(old.id());
  former.set_name(FormerName(old.name(), old.id()));
  const std::string& address = old.peer_address();
  former.set_peer_address(HexId(old.id()) + ".former.invalid" + address.substr(address.rfind(':')));
  return former;
}

// The member that is to go. If it has given its name up already (a repeated command), the name may
// be its successor's.
Result<v1::Member> FindOld(const v1::ClusterState& cluster, const MemberArgs& args) {
  if (AtAddress(cluster, args.peer_address) != nullptr) {
    for (const v1::Member& member : cluster.members())
      if (member.name() == FormerName(args.old, member.id())) return member;
  }
  return FindMember(cluster, args.old);
}

// The member at the new address: made a learner unless it is a member already (a repeated command).
Result<v1::Member> EnsureLearner(client::Admin& admin, const MemberArgs& args,
                                 const v1::Member& old, const v1::ClusterState& cluster) {
  const v1::Member* there = AtAddress(cluster, args.peer_address);
  if (there != nullptr && there->id() != old.id()) return *there;
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(cluster.config_index());
  ASSIGN_OR_RETURN(*request.add_add_learners(), NewMember(args));
  if (there != nullptr) *request.add_update() = GivenUp(old);
  auto response = Carry(admin, request);
  // The node at the address said who it is.
  if (!response && response.error().code() == Code::kConflict &&
      response.error().message().find(HexId(old.id())) != std::string::npos)
    return Error(Code::kFailedPrecondition,
                 "the node at " + args.peer_address + " is " + HexId(old.id()) +
                     " itself, with its data: nothing is lost, and nothing was changed. To replace "
                     "it nevertheless, stop it, start it with an empty directory and repeat the "
                     "command");
  if (!response) return Error(response.error());
  ASSIGN_OR_RETURN(v1::StatusResponse status, admin.Status());
  there = AtAddress(status.cluster(), args.peer_address);
  if (there != nullptr && there->id() != old.id()) return *there;
  return Error(Code::kUnavailable, "the node at " + args.peer_address +
                                       " is not in the member list yet; repeat the command");
}

// Swaps the two in one joint change, as soon as the new one has caught up: the number of voters
// that can fail never shrinks.
Status Replace(const Session& session, const MemberArgs& args) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  ASSIGN_OR_RETURN_STATUS(v1::StatusResponse status, admin.Status());
  ASSIGN_OR_RETURN_STATUS(v1::Member old, FindOld(status.cluster(), args));
  ASSIGN_OR_RETURN_STATUS(v1::Member added, EnsureLearner(admin, args, old, status.cluster()));
  // A learner may be what an interrupted command left; with a voter there is nothing to swap, and
  // the old member would only be removed.
  if (Contains(status.cluster().conf().voters(), added.id()))
    return Status(Code::kFailedPrecondition,
                  args.peer_address + " is a voter already, " + HexId(added.id()) + " (" +
                      client::Printable(added.name()) +
                      "): a member is replaced by a new node with an empty directory");
  auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(args.wait_s);
  while (true) {
    ASSIGN_OR_RETURN_STATUS(v1::StatusResponse now, admin.Status());
    v1::ChangeMembershipRequest request;
    request.set_expected_config_index(now.cluster().config_index());
    request.add_remove(old.id());
    const auto& conf = now.cluster().conf();
    if (Contains(conf.voters(), old.id()) && !Contains(conf.voters(), added.id()))
      request.add_promote(added.id());
    auto response = Carry(admin, request);
    if (response) {
      PrintChange(session, *response);
      return Status::Ok();
    }
    // "Has not caught up yet" is the one refusal that time mends.
    bool wait = response.error().code() == Code::kFailedPrecondition &&
                std::chrono::steady_clock::now() < deadline;
    if (!wait)
      return Status(response.error().code(), response.error().message() + "; " + HexId(added.id()) +
                                                 " stays a learner: repeat the command to go on");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void AddNodeOptions(CLI::App* command, const ArgsPtr& args) {
  command->add_option("--name", args->name, "for people (default: as the node calls itself)");
  command->add_option("--client-address", args->client_address,
                      "HOST:PORT of its HTTP API (default: as the node says)");
  command->add_option("--id", args->id, "16 hexadecimal digits (default: as the node says)");
}

void AddChangeCommand(CLI::App* parent, Session& session, const char* name, const char* help,
                      Change change) {
  auto args = std::make_shared<MemberArgs>();
  CLI::App* command = parent->add_subcommand(name, help);
  command->add_option("member", args->members, "IDs or names; all in one joint change")->required();
  if (change == Change::kPromote)
    command->add_flag("--force", args->force, "although it has not caught up");
  command->callback([&session, args, change] {
    session.action = [&session, args, change] { return ChangeMembers(session, *args, change); };
  });
}

}  // namespace

void AddMemberCommands(CLI::App& app, Session& session) {
  CLI::App* member = app.add_subcommand("member", "list and change the members");
  member->require_subcommand(1);
  CLI::App* list = member->add_subcommand("list", "who belongs to the cluster");
  list->callback([&session] { session.action = [&session] { return ListMembers(session); }; });

  auto add_args = std::make_shared<MemberArgs>();
  CLI::App* add = member->add_subcommand("add", "add a node that waits with an empty directory");
  add->add_option("peer", add_args->peer_address, "HOST:PORT of its peer listener")->required();
  AddNodeOptions(add, add_args);
  add->add_flag("--voter", add_args->voter, "as a voter at once (default: as a learner)");
  add->add_flag("--force", add_args->force, "as a voter although it has not caught up");
  add->callback([&session, add_args] {
    session.action = [&session, add_args] { return AddMember(session, *add_args); };
  });
  AddChangeCommand(member, session, "promote", "learners to voters", Change::kPromote);
  AddChangeCommand(member, session, "demote", "voters to learners", Change::kDemote);
  AddChangeCommand(member, session, "remove", "remove for ever: the ID never comes back",
                   Change::kRemove);

  auto replace_args = std::make_shared<MemberArgs>();
  CLI::App* replace = member->add_subcommand(
      "replace", "add a node, wait until it has caught up, then swap it for a member");
  replace->add_option("old", replace_args->old, "ID or name")->required();
  replace
      ->add_option("peer", replace_args->peer_address,
                   "HOST:PORT of the new one's peer listener; the old one's own if the node there "
                   "has lost its data")
      ->required();
  AddNodeOptions(replace, replace_args);
  replace->add_option("--wait", replace_args->wait_s, "seconds for the new one to catch up")
      ->capture_default_str();
  replace->callback([&session, replace_args] {
    session.action = [&session, replace_args] { return Replace(session, *replace_args); };
  });
}

}  // namespace raftkv::ctl
