// status, transfer, compact, initialize, join.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/hex_id.h"
#include "ctl/choices.h"
#include "ctl/cluster_view.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/text.h"

namespace raftkv::ctl {
namespace {

using Json = nlohmann::ordered_json;

std::string Number(const std::optional<uint64_t>& number) {
  return number ? std::to_string(*number) : "";
}

Json OptionalNumber(const std::optional<uint64_t>& number) {
  return number ? Json(*number) : Json(nullptr);
}

Json IdOrNull(uint64_t id) { return id != 0 ? Json(HexId(id)) : Json(nullptr); }

Json MemberJson(const MemberView& row, uint64_t leader_commit) {
  Json out = {{"id", HexId(row.member.id())},
              {"name", row.member.name()},
              {"kind", row.kind},
              {"role", row.RoleName()},
              {"peer_address", row.member.peer_address()},
              {"client_address", row.member.client_address()},
              {"lag", OptionalNumber(row.Lag(leader_commit))}};
  if (row.status) {
    out["term"] = row.status->term();
    out["commit_index"] = row.status->commit_index();
    out["applied_index"] = row.status->applied_index();
    out["revision"] = row.status->revision();
    out["state_bytes"] = row.status->state_bytes();
    out["log_bytes"] = row.status->log_bytes();
    out["version"] = row.status->version();
    out["warnings"] = Json::array();
    for (const auto& warning : row.status->warnings()) out["warnings"].push_back(warning);
  }
  if (row.progress) out["replication"] = row.progress->state();
  return out;
}

// A node that belongs to no cluster (blank, or removed), like a member.
MemberView OutsideRow(const v1::StatusResponse& status) {
  MemberView row{.member = {}, .kind = "", .status = status, .progress = {}};
  row.member.set_id(status.member_id());
  row.member.set_name(status.name());
  return row;
}

Json StatusJson(const ClusterView& view) {
  Json out = {{"cluster_id", IdOrNull(view.cluster.cluster_id())},
              {"leader", IdOrNull(view.leader)},
              {"term", view.term},
              {"config_index", view.cluster.config_index()},
              {"joint", view.cluster.conf().voters_outgoing_size() > 0},
              {"members", Json::array()},
              {"outside", Json::array()}};
  for (const MemberView& row : view.members)
    out["members"].push_back(MemberJson(row, view.leader_commit));
  for (const auto& status : view.outside) {
    out["outside"].push_back({{"id", HexId(status.member_id())},
                              {"name", status.name()},
                              {"role", OutsideRow(status).RoleName()}});
  }
  return out;
}

void AddStatusRow(const MemberView& row, uint64_t leader_commit, Table* table) {
  const auto& status = row.status;
  auto field = [&](uint64_t value) { return status ? std::to_string(value) : std::string(); };
  table->Add({HexId(row.member.id()), row.member.name(), row.RoleName(), row.kind,
              status ? field(status->term()) : "", status ? field(status->applied_index()) : "",
              Number(row.Lag(leader_commit)),
              status ? client::FormatBytes(status->state_bytes()) : "",
              row.member.client_address()});
}

void PrintStatus(std::ostream& out, const ClusterView& view) {
  Table table({"ID", "NAME", "ROLE", "KIND", "TERM", "INDEX", "LAG", "SIZE", "CLIENT ADDRESS"});
  for (const MemberView& row : view.members) AddStatusRow(row, view.leader_commit, &table);
  for (const auto& status : view.outside) {
    AddStatusRow(OutsideRow(status), 0, &table);
  }
  table.Print(out);
  if (view.cluster.conf().voters_outgoing_size() > 0)
    out << "A membership change is under way (joint configuration).\n";
  const auto warn = [&](const v1::StatusResponse& status) {
    for (const auto& warning : status.warnings())
      out << HexId(status.member_id()) << ": " << client::Printable(warning) << '\n';
  };
  for (const MemberView& row : view.members)
    if (row.status) warn(*row.status);
  for (const auto& status : view.outside) warn(status);
}

Status ShowStatus(const Session& session) {
  ASSIGN_OR_RETURN_STATUS(ClusterView view, LookAround(session));
  switch (session.format) {
    case Format::kTable:
      PrintStatus(session.out, view);
      break;
    case Format::kJson:
      session.out << StatusJson(view).dump(2) << '\n';
      break;
    case Format::kRaw:
      for (const MemberView& row : view.members)
        session.out << HexId(row.member.id()) << ' ' << row.RoleName() << '\n';
      for (const auto& status : view.outside)
        session.out << HexId(status.member_id()) << ' ' << OutsideRow(status).RoleName() << '\n';
  }
  if (view.leader != 0) return Status::Ok();
  if (!view.members.empty()) return Status(Code::kUnavailable, "no node knows a leader");
  return NoMembers(view.outside);
}

// One fact as text or JSON: "leader 00...01", {"leader": "00...01"}; raw: the value alone.
void PrintFact(const Session& session, const char* name, const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  switch (session.format) {
    case Format::kTable:
      session.out << name << ' ' << text << '\n';
      break;
    case Format::kJson:
      session.out << Json{{name, value}} << '\n';
      break;
    case Format::kRaw:
      session.out << text << '\n';
  }
}

Status Transfer(const Session& session, const std::string& to) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  v1::TransferLeadershipRequest request;
  if (!to.empty()) {
    ASSIGN_OR_RETURN_STATUS(v1::StatusResponse status, admin.Status());
    ASSIGN_OR_RETURN_STATUS(v1::Member member, FindMember(status.cluster(), to));
    request.set_to(member.id());
  }
  ASSIGN_OR_RETURN_STATUS(auto response, admin.TransferLeadership(request));
  PrintFact(session, "leader", HexId(response.leader()));
  return Status::Ok();
}

Status Compact(const Session& session, uint64_t revision) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdmin());
  v1::CompactRequest request;
  request.set_revision(revision);
  ASSIGN_OR_RETURN_STATUS(auto response, admin.Compact(request));
  PrintFact(session, "compacted", response.revision());
  return Status::Ok();
}

template <typename Response>
void PrintIdentity(const Session& session, const Response& response) {
  if (session.format == Format::kJson) {
    session.out << Json{{"cluster_id", HexId(response.cluster_id())},
                        {"member_id", HexId(response.member_id())}}
                << '\n';
    return;
  }
  const char* separator = session.format == Format::kTable ? ", member " : " ";
  session.out << (session.format == Format::kTable ? "cluster " : "")
              << HexId(response.cluster_id()) << separator << HexId(response.member_id()) << '\n';
}

// "ID=HOST:PORT": a first voter and its peer address.
Result<v1::Member> ParseFirstMember(const std::string& text) {
  size_t equals = text.find('=');
  auto id = ParseHexId(text.substr(0, equals));
  if (!id || equals == std::string::npos)
    return Error(Code::kInvalidArgument,
                 "\"" + text + "\": want ID=HOST:PORT, the ID with 16 hexadecimal digits");
  v1::Member member;
  member.set_id(*id);
  ASSIGN_OR_RETURN(client::Endpoint address, client::ParseEndpoint(text.substr(equals + 1)));
  member.set_peer_address(address.ToString());
  return member;
}

Status Initialize(const Session& session, const std::string& cluster_id,
                  const std::vector<std::string>& members) {
  v1::InitializeRequest request;
  if (!cluster_id.empty()) {
    auto id = ParseHexId(cluster_id);
    if (!id) return Status(Code::kInvalidArgument, "a cluster ID has 16 hexadecimal digits");
    request.set_cluster_id(*id);
  }
  for (const std::string& text : members) {
    ASSIGN_OR_RETURN_STATUS(*request.add_members(), ParseFirstMember(text));
  }
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdminOfOneNode());
  ASSIGN_OR_RETURN_STATUS(auto response, admin.Initialize(request));
  PrintIdentity(session, response);
  return Status::Ok();
}

Status Join(const Session& session, const v1::JoinRequest& request) {
  ASSIGN_OR_RETURN_STATUS(client::Admin admin, session.MakeAdminOfOneNode());
  ASSIGN_OR_RETURN_STATUS(auto response, admin.Join(request));
  PrintIdentity(session, response);
  return Status::Ok();
}

void AddStartCommands(CLI::App& app, Session& session) {
  struct InitializeArgs {
    std::string cluster_id;
    std::vector<std::string> members;
  };
  auto first = std::make_shared<InitializeArgs>();
  CLI::App* initialize =
      app.add_subcommand("initialize", "make a new cluster of a blank node (--admin-endpoints)");
  initialize->add_option("--cluster-id", first->cluster_id,
                         "16 hexadecimal digits (default: a random one); makes it safe to repeat");
  initialize
      ->add_option("--member", first->members,
                   "ID=PEER-HOST:PORT of a first voter, once for each (default: this node alone)")
      ->allow_extra_args(false);
  initialize->callback([&session, first] {
    session.action = [&session, first] {
      return Initialize(session, first->cluster_id, first->members);
    };
  });

  struct JoinArgs {
    std::vector<std::string> peers;
    bool learner = false;
  };
  auto joining = std::make_shared<JoinArgs>();
  CLI::App* join =
      app.add_subcommand("join", "let a blank node (--admin-endpoints) join a cluster");
  join->add_option("peer", joining->peers, "HOST:PORT of members' peer listeners")->required();
  join->add_flag("--learner", joining->learner, "stay a learner instead of becoming a voter");
  join->callback([&session, joining] {
    session.action = [&session, joining]() -> Status {
      v1::JoinRequest request;
      for (const std::string& peer : joining->peers) {
        ASSIGN_OR_RETURN_STATUS(client::Endpoint address, client::ParseEndpoint(peer));
        request.add_peer_addresses(address.ToString());
      }
      request.set_remain_learner(joining->learner);
      return Join(session, request);
    };
  });
}

}  // namespace

void AddClusterCommands(CLI::App& app, Session& session) {
  CLI::App* status = app.add_subcommand("status", "all members: role, term, index, lag");
  status->callback([&session] { session.action = [&session] { return ShowStatus(session); }; });

  auto to = std::make_shared<std::string>();
  CLI::App* transfer = app.add_subcommand("transfer", "hand leadership over");
  transfer->add_option("member", *to, "ID or name (default: the most up-to-date voter)");
  transfer->callback(
      [&session, to] { session.action = [&session, to] { return Transfer(session, *to); }; });

  auto revision = std::make_shared<uint64_t>(0);
  CLI::App* compact = app.add_subcommand("compact", "forget the history before a revision");
  compact->add_option("revision", *revision, "reads at older revisions fail from now on")
      ->required()
      ->check(WholeNumber(1));
  compact->callback([&session, revision] {
    session.action = [&session, revision] { return Compact(session, *revision); };
  });
  AddStartCommands(app, session);
}

}  // namespace raftkv::ctl
