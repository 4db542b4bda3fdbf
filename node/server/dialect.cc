#include "node/server/dialect.h"

#include "node/server/cluster.h"
#include "node/server/query.h"

namespace raftkv::server {

std::string_view DialectName(Dialect dialect) {
  switch (dialect) {
    case Dialect::kNative:
      return "native";
    case Dialect::kRaftexample:
      return "raftexample";
    case Dialect::kShaj13:
      return "shaj13";
  }
  return "native";
}

Result<Dialect> ParseDialect(std::string_view name) {
  for (Dialect dialect : {Dialect::kNative, Dialect::kRaftexample, Dialect::kShaj13}) {
    if (name == DialectName(dialect)) return dialect;
  }
  return Error(Code::kInvalidArgument,
               "'" + std::string(name) + "' is no dialect; they are native, raftexample, shaj13");
}

void RemoveMember(const Service& service, const ExchangePtr& exchange, const std::string& name) {
  SetRoute(exchange, Route::kMemberRemove);
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  uint64_t id = FindMember(service.node().status()->cluster(), name);
  if (id == 0) {
    return exchange->Respond(
        Problem(404, "No member is called '" + name + "'; GET /cluster lists names and ids."));
  }
  v1::ChangeMembershipRequest change;
  change.add_remove(id);
  auto done = [exchange](Result<v1::ChangeMembershipResponse> result) {
    if (!result) return exchange->Respond(Problem(result.error(), Audience::kAdmin));
    exchange->Respond(HttpResponse{.status = 204});
  };
  service.node().ChangeMembership(std::move(change), service.Deadline(exchange->request()),
                                  std::move(done));
}

}  // namespace raftkv::server
