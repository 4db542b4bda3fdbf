// etcd's contrib/raftexample: the path is the key, the body is the value; POST and DELETE of a
// number change the membership. Unlike there, nothing is answered before it is committed, and reads
// are linearizable.
#include <algorithm>
#include <memory>

#include "base/host_port.h"
#include "node/server/cluster.h"
#include "node/server/dialect.h"
#include "node/server/query.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

constexpr std::string_view kMethods = "PUT, GET, HEAD, POST, DELETE";

// "http://127.0.0.1:42379" as a peer address, 127.0.0.1:42379.
Result<std::string> PeerAddress(std::string_view url) {
  while (!url.empty() && (url.back() == '\n' || url.back() == '\r' || url.back() == '/')) {
    url.remove_suffix(1);
  }
  for (std::string_view scheme : {"http://", "https://"}) {
    if (url.starts_with(scheme)) url.remove_prefix(scheme.size());
  }
  const Result<HostPort> address = ParseHostPort(url);
  if (!address || address->IsWildcard() || address->port == 0) {
    return Error(Code::kInvalidArgument,
                 "The body must be the peer URL of the new member, e.g. http://127.0.0.1:42379.");
  }
  return std::string(url);
}

void Invitation(Service* service, const ExchangePtr& exchange, v1::InviteCommand invite) {
  v1::Command command;
  *command.mutable_invite() = std::move(invite);
  auto done = [exchange](Result<kv::CommandResult> result) {
    const Status status = result ? result->status : result.error();
    exchange->Respond(status.ok() ? HttpResponse{.status = 204}
                                  : Problem(status, Audience::kAdmin));
  };
  service->Write(exchange, std::move(command), std::move(done));
}

void AddMember(Service* service, const ExchangePtr& exchange, const std::string& id) {
  SetRoute(exchange, Route::kMemberAdd);
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  auto number = ParseDecimal(id);
  if (!number || *number == 0) {
    return exchange->Respond(
        Problem(400, "POST /ID adds a member: ID must be a number, the new node's --id."));
  }
  auto address = PeerAddress(exchange->request().body);
  if (!address) return RespondError(exchange, address.error());
  v1::InviteCommand invite;
  invite.set_name(id);
  invite.set_peer_address(*address);
  Invitation(service, exchange, std::move(invite));
}

// A member, or one that was announced and has not come.
void Remove(Service* service, const ExchangePtr& exchange, const std::string& id) {
  const std::shared_ptr<const v1::StatusResponse> status = service->node().status();
  const auto& invited = status->cluster().invited();
  const bool announced = std::ranges::find(invited, id, &v1::Member::name) != invited.end();
  if (!announced || FindMember(status->cluster(), id) != 0) {
    return RemoveMember(*service, exchange, id);
  }
  SetRoute(exchange, Route::kMemberRemove);
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  v1::InviteCommand withdraw;
  withdraw.set_name(id);
  withdraw.set_withdraw(true);
  Invitation(service, exchange, std::move(withdraw));
}

}  // namespace

void HandleRaftexample(Service* service, const ExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  KvApi api(service);
  auto key = PercentDecode(request.raw_path.substr(1));
  if (!key) return RespondError(exchange, key.error());
  if (request.method == "PUT") {
    api.Put(exchange, std::move(*key), request.body, [](const kv::CommandResult& result) {
      HttpResponse response = WriteAnswer(result);
      response.status = 204;  // there, new keys are not told apart
      return response;
    });
  } else if (request.method == "GET" || request.method == "HEAD") {
    api.Get(exchange, std::move(*key), ValueAnswer);
  } else if (request.method == "POST") {
    AddMember(service, exchange, *key);
  } else if (request.method == "DELETE") {
    Remove(service, exchange, *key);
  } else {
    exchange->Respond(MethodNotAllowed(kMethods));
  }
}

}  // namespace raftkv::server
