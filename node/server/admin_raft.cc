#include "node/server/admin_raft.h"

#include <nlohmann/json.hpp>

#include "base/hex_id.h"
#include "node/server/message_codec.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::ordered_json;

std::string_view Explain(const v1::PeerProgress& peer) {
  if (peer.state() == "probe") {
    return "one append at a time, until it is known where the follower's log ends";
  }
  if (peer.state() == "snapshot") {
    return "appends wait while a snapshot is on its way, because the log no longer reaches back";
  }
  return peer.paused() ? "as many appends are on their way as may be"
                       : "appends are sent without waiting for the answers";
}

std::string NameOf(const v1::ClusterState& cluster, uint64_t id) {
  for (const v1::Member& member : cluster.members()) {
    if (member.id() == id) return member.name();
  }
  return "";
}

Json Progress(const v1::StatusResponse& status, const v1::PeerProgress& peer) {
  bool behind = status.last_index() > peer.match();
  return {{"id", HexId(peer.id())},
          {"name", NameOf(status.cluster(), peer.id())},
          {"learner", peer.learner()},
          {"state", peer.state()},
          {"meaning", Explain(peer)},
          {"match", peer.match()},
          {"next", peer.next()},
          {"lag", behind ? status.last_index() - peer.match() : 0},
          {"inflight_messages", peer.inflight_messages()},
          {"inflight_bytes", peer.inflight_bytes()},
          {"paused", peer.paused()},
          {"pending_snapshot", peer.pending_snapshot()},
          {"recently_active", peer.recently_active()},
          {"connected", peer.connected()}};
}

}  // namespace

HttpResponse DescribeRaft(const v1::StatusResponse& status) {
  Json progress = Json::array();
  for (const v1::PeerProgress& peer : status.progress()) {
    progress.push_back(Progress(status, peer));
  }
  Json leader = status.leader() == 0 ? Json(nullptr) : Json(HexId(status.leader()));
  Json body = {{"member_id", HexId(status.member_id())},
               {"name", status.name()},
               {"role", v1::StatusResponse::Role_Name(status.role())},
               {"term", status.term()},
               {"leader", std::move(leader)},
               {"log",
                {{"first_index", status.first_index()},
                 {"last_index", status.last_index()},
                 {"commit_index", status.commit_index()},
                 {"applied_index", status.applied_index()},
                 {"flushed_applied_index", status.flushed_applied_index()}}},
               {"config_index", status.cluster().config_index()},
               {"conf", MessageToJson(status.cluster().conf())},
               {"progress", std::move(progress)}};
  if (status.role() != v1::StatusResponse::LEADER) {
    body["note"] = "Only the leader knows the progress of the others; ask it.";
  }
  HttpResponse response;
  response.Add("Content-Type", "application/json");
  response.body = body.dump(2) + "\n";
  return response;
}

}  // namespace raftkv::server
