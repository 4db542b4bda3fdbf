#include "operator/raftkv/node_client.h"

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "operator/raftkv/objects.h"

namespace raftkv::op {
namespace {

using Json = nlohmann::json;
using Role = NodeReport::Role;

constexpr std::array<std::pair<std::string_view, Role>, 9> kRoles = {{
    {"FOLLOWER", Role::kFollower},
    {"PRE_CANDIDATE", Role::kCandidate},
    {"CANDIDATE", Role::kCandidate},
    {"LEADER", Role::kLeader},
    {"LEARNER", Role::kLearner},
    {"BLANK", Role::kBlank},
    {"JOINING", Role::kJoining},
    {"REMOVED", Role::kRemoved},
    {"DAMAGED", Role::kDamaged},
}};

const Json kNone;

const Json& Field(const Json& json, const char* name) {
  if (!json.is_object()) return kNone;
  auto found = json.find(name);
  return found == json.end() ? kNone : *found;
}

uint64_t Number(const Json& json, const char* name) {
  const Json& value = Field(json, name);
  return value.is_number_unsigned() ? value.get<uint64_t>() : 0;
}

std::string Text(const Json& json, const char* name) {
  const Json& value = Field(json, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

// 0 for "0000000000000000", which is none, and for anything that is no id.
uint64_t Id(const Json& value) {
  return value.is_string() ? ParseHexId(value.get<std::string>()).value_or(0) : 0;
}

std::set<MemberId> Ids(const Json& list) {
  std::set<MemberId> out;
  if (!list.is_array()) return out;
  for (const Json& value : list) {
    if (uint64_t id = Id(value); id != 0) out.insert(id);
  }
  return out;
}

Membership ParseMembership(const Json& cluster) {
  Membership out;
  const Json& conf = Field(cluster, "conf");
  out.config_index = Number(cluster, "config_index");
  out.voters = Ids(Field(conf, "voters"));
  out.voters_outgoing = Ids(Field(conf, "voters_outgoing"));
  out.learners = Ids(Field(conf, "learners"));
  out.learners_next = Ids(Field(conf, "learners_next"));
  out.removed = Ids(Field(cluster, "removed_ids"));
  out.epoch = Number(cluster, "epoch");
  for (const Json& member : Field(cluster, "members")) {
    MemberView view{.id = Id(Field(member, "id")),
                    .name = Text(member, "name"),
                    .peer_address = Text(member, "peer_address")};
    if (view.id != 0) out.members[view.id] = std::move(view);
  }
  return out;
}

// What only the leader knows.
void AddProgress(const Json& status, const NodeReport& report, Membership& out) {
  out.leader = report.member;
  out.leader_term = report.term;
  out.leader_commit = report.commit_index;
  for (const Json& progress : Field(status, "progress")) {
    auto member = out.members.find(Id(Field(progress, "id")));
    if (member == out.members.end()) continue;
    member->second.match = Number(progress, "match");
    const Json& active = Field(progress, "recently_active");
    member->second.active = active.is_boolean() && active.get<bool>();
  }
  // It is always in touch with itself.
  auto self = out.members.find(report.member);
  if (self != out.members.end()) self->second.active = true;
}

// For people: where the node of this peer address serves clients.
std::string ClientAddress(const std::string& peer_address) {
  size_t colon = peer_address.rfind(':');
  return peer_address.substr(0, colon) + ":" + std::to_string(kClientPort);
}

Json MembersToJson(const std::vector<MemberView>& members) {
  Json out = Json::array();
  for (const MemberView& member : members) {
    out.push_back({{"id", HexId(member.id)},
                   {"name", member.name},
                   {"peer_address", member.peer_address},
                   {"client_address", ClientAddress(member.peer_address)}});
  }
  return out;
}

Json IdsToJson(const std::vector<MemberId>& ids) {
  Json out = Json::array();
  for (MemberId id : ids) out.push_back(HexId(id));
  return out;
}

Code CodeOf(int http_status) {
  switch (http_status) {
    case 400:
    case 404:
      return Code::kInvalidArgument;
    case 409:
      return Code::kConflict;
    case 429:
    case 503:
      return Code::kUnavailable;
    case 504:
      return Code::kUnknownOutcome;
    case 507:
      return Code::kOutOfSpace;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Result<NodeStatus> ParseNodeStatus(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  std::string role = Text(json, "role");
  const auto* known = std::ranges::find_if(kRoles, [&](const auto& r) { return r.first == role; });
  uint64_t member = Id(Field(json, "member_id"));
  // Of a damaged node nobody may know who it was.
  if (known == kRoles.end() || (member == 0 && known->second != Role::kDamaged)) {
    return Error(Code::kInvalidArgument, "not the status of a node");
  }
  NodeStatus out;
  out.name = Text(json, "name");
  NodeReport& report = out.report;
  report.role = known->second;
  report.member = member;
  report.cluster = Id(Field(json, "cluster_id"));
  report.leader = Id(Field(json, "leader"));
  report.term = Number(json, "term");
  report.commit_index = Number(json, "commit_index");
  report.applied_index = Number(json, "applied_index");
  report.version = Text(json, "version");
  for (const Json& warning : Field(json, "warnings")) {
    if (warning.is_string()) report.warnings.push_back(warning.get<std::string>());
  }
  out.membership = ParseMembership(Field(json, "cluster"));
  if (report.role == Role::kLeader) AddProgress(json, report, out.membership);
  return out;
}

std::optional<Membership> JoinMemberships(const std::vector<NodeStatus>& nodes, ClusterId cluster) {
  const NodeStatus* newest = nullptr;
  const NodeStatus* leader = nullptr;
  for (const NodeStatus& node : nodes) {
    bool foreign = cluster != 0 && node.report.cluster != cluster;
    if (foreign || node.membership.config_index == 0) continue;
    auto rank = [](const NodeStatus& n) {
      return std::pair(n.membership.config_index, n.report.applied_index);
    };
    if (newest == nullptr || rank(node) > rank(*newest)) newest = &node;
    bool leads = node.report.role == Role::kLeader;
    if (leads && (leader == nullptr || node.report.term > leader->report.term)) leader = &node;
  }
  if (newest == nullptr) return std::nullopt;
  Membership out = newest->membership;
  // What a leader of an older configuration says of its members is still the best there is.
  out.leader = 0;
  out.leader_commit = 0;
  out.leader_term = 0;
  for (auto& [id, member] : out.members) {
    member.match = 0;
    member.active = false;
  }
  if (leader == nullptr) return out;
  out.leader = leader->report.member;
  out.leader_commit = leader->membership.leader_commit;
  out.leader_term = leader->report.term;
  for (const auto& [id, view] : leader->membership.members) {
    auto member = out.members.find(id);
    if (member == out.members.end()) continue;
    member->second.match = view.match;
    member->second.active = view.active;
  }
  return out;
}

std::map<int, NodeStatus> NodeClient::Statuses(const std::map<int, std::string>& hosts) {
  std::map<int, std::future<Result<NodeAnswer>>> asked;
  for (const auto& [slot, host] : hosts) {
    asked[slot] = Ask({.host = host, .path = "/admin/status", .limit = options_.status_timeout});
  }
  std::map<int, NodeStatus> out;
  for (auto& [slot, future] : asked) {
    auto answer = future.get();
    if (!answer || answer->status != 200) continue;
    if (auto status = ParseNodeStatus(answer->body)) {
      out[slot] = *std::move(status);
    } else {
      log::Warning("a node answers what is not its status", {{"host", hosts.at(slot)}});
    }
  }
  return out;
}

std::future<Result<NodeAnswer>> NodeClient::Ask(NodeRequest request) {
  request.connect_limit = options_.connect_timeout;
  auto promise = std::make_shared<std::promise<Result<NodeAnswer>>>();
  http_->Send(std::move(request),
              [promise](Result<NodeAnswer> answer) { promise->set_value(std::move(answer)); });
  return promise->get_future();
}

Status NodeClient::Post(const std::string& host, const std::string& path, const std::string& body) {
  const std::string what = "POST " + path + " to " + host + ": ";
  auto answer =
      Ask({.host = host, .path = path, .body = body, .limit = options_.change_timeout}).get();
  if (!answer) return {answer.error().code(), what + std::string(answer.error().message())};
  if (answer->status == 200) return Status::Ok();
  std::string detail = Text(Json::parse(answer->body, nullptr, false), "detail");
  return {CodeOf(answer->status), what + (detail.empty() ? answer->body.substr(0, 200) : detail)};
}

Status NodeClient::SendInitialize(const std::string& host, const Initialize& action) {
  Json body = {{"cluster_id", HexId(action.cluster)}, {"members", MembersToJson(action.members)}};
  return Post(host, "/admin/initialize", body.dump());
}

Status NodeClient::SendMembership(const std::string& host, const ChangeMembership& action) {
  Json body = {{"expected_config_index", action.expected_config_index},
               {"epoch", action.epoch},
               {"add_learners", MembersToJson(action.add_learners)},
               {"promote", IdsToJson(action.promote)},
               {"remove", IdsToJson(action.remove)},
               {"update", MembersToJson(action.update)}};
  return Post(host, "/admin/membership", body.dump());
}

Status NodeClient::SendTransfer(const std::string& host, const TransferLeadership& action) {
  Json body = {{"to", HexId(action.to)},
               {"from", HexId(action.from)},
               {"expected_config_index", action.expected_config_index},
               {"epoch", action.epoch}};
  return Post(host, "/admin/transfer", body.dump());
}

}  // namespace raftkv::op
