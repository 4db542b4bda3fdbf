#include "node/server/cluster.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex_id.h"
#include "node/server/query.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::ordered_json;

Json IdOrNull(uint64_t id) { return id == 0 ? Json(nullptr) : Json(HexId(id)); }

template <typename Ids>
Json IdList(const Ids& ids) {
  Json list = Json::array();
  for (uint64_t id : ids) list.push_back(HexId(id));
  return list;
}

Json MemberJson(const v1::StatusResponse& status, const v1::Member& member) {
  return {{"id", HexId(member.id())},
          {"name", member.name()},
          {"role", IsVoter(status.cluster(), member.id()) ? "voter" : "learner"},
          {"peer_address", member.peer_address()},
          {"client_address", member.client_address()},
          {"leader", member.id() == status.leader()}};
}

Json Describe(const v1::StatusResponse& status, uint16_t admin_port) {
  const v1::ClusterState& cluster = status.cluster();
  Json members = Json::array();
  for (const v1::Member& member : cluster.members()) members.push_back(MemberJson(status, member));
  Json described = {{"cluster_id", IdOrNull(status.cluster_id())},
                    {"config_index", cluster.config_index()},
                    {"term", status.term()},
                    {"revision", status.revision()},
                    {"leader", IdOrNull(status.leader())},
                    {"joint", cluster.conf().voters_outgoing_size() > 0},
                    {"voters", IdList(cluster.conf().voters())},
                    {"learners", IdList(cluster.conf().learners())},
                    {"members", std::move(members)},
                    {"answered_by", IdOrNull(status.member_id())},
                    {"admin_port", admin_port}};
  // Only the dialect of raftexample invites.
  for (const v1::Member& guest : cluster.invited()) {
    described["invited"].push_back(
        {{"name", guest.name()}, {"peer_address", guest.peer_address()}});
  }
  return described;
}

}  // namespace

bool IsVoter(const v1::ClusterState& cluster, uint64_t id) {
  return std::ranges::find(cluster.conf().voters(), id) != cluster.conf().voters().end();
}

uint64_t FindMember(const v1::ClusterState& cluster, const std::string& name) {
  std::optional<uint64_t> id = ParseId(name);
  for (const v1::Member& member : cluster.members()) {
    if (member.name() == name || member.id() == id) return member.id();
  }
  return 0;
}

void HandleCluster(const Service& service, uint16_t admin_port, const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kCluster);
  const HttpRequest& request = exchange->request();
  if (request.method != "GET" && request.method != "HEAD") {
    return exchange->Respond(MethodNotAllowed("GET, HEAD"));
  }
  if (auto query = Query::Parse(request, {}); !query) return RespondError(exchange, query.error());
  HttpResponse response;
  response.Add("Content-Type", "application/json");
  response.body = Describe(*service.node().status(), admin_port).dump(2) + "\n";
  exchange->Respond(std::move(response));
}

}  // namespace raftkv::server
