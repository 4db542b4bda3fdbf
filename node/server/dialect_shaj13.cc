// The key-value example of shaj13/raft: JSON in, text out. Unlike there, a missing key is a 404 and
// not an empty line, and a body without Value is refused and stores no empty value.
#include <nlohmann/json.hpp>

#include "base/hex_id.h"
#include "node/server/cluster.h"
#include "node/server/dialect.h"
#include "node/server/query.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kNodes = "/mgmt/nodes";

struct KeyAndValue {
  std::string key;
  std::string value;
};

// {"Key": "...", "Value": "..."}; member names in any case, as Go reads them.
Result<KeyAndValue> ParseBody(std::string_view body) {
  constexpr std::string_view kForm =
      "The body must be JSON: {\"Key\": \"hello\", \"Value\": \"medium\"}.";
  // Deep nesting is dropped while it is read.
  auto flat = [](int depth, Json::parse_event_t, Json&) { return depth <= 1; };
  Json json = Json::parse(body, flat, false);
  if (!json.is_object()) return Error(Code::kInvalidArgument, std::string(kForm));
  KeyAndValue pair;
  bool has_value = false;
  for (auto& [name, value] : json.items()) {
    bool is_key = EqualsIgnoreCase(name, "Key");
    if (!is_key && !EqualsIgnoreCase(name, "Value")) {
      return Error(Code::kInvalidArgument, "Unknown member in the body. " + std::string(kForm));
    }
    if (!value.is_string()) {
      return Error(Code::kInvalidArgument, "Key and Value must be strings. " + std::string(kForm));
    }
    (is_key ? pair.key : pair.value) = value.get<std::string>();
    has_value |= !is_key;
  }
  // A value that was forgotten must not become an empty one.
  if (!has_value) return Error(Code::kInvalidArgument, "Value is missing. " + std::string(kForm));
  return pair;
}

void Save(Service* service, const ExchangePtr& exchange) {
  auto pair = ParseBody(exchange->request().body);
  if (!pair) {
    SetRoute(exchange, Route::kKeyPut);
    return RespondError(exchange, pair.error());
  }
  KvApi(service).Put(exchange, std::move(pair->key), pair->value,
                     [](const kv::CommandResult& result) {
                       HttpResponse response = WriteAnswer(result);
                       response.status = 204;
                       return response;
                     });
}

void Get(Service* service, const ExchangePtr& exchange) {
  auto key = PercentDecode(exchange->request().raw_path.substr(1));
  if (!key) return RespondError(exchange, key.error());
  KvApi(service).Get(exchange, std::move(*key), [](const kv::KeyValue& item) {
    HttpResponse response;
    response.Add("Content-Type", "text/plain; charset=utf-8");
    response.body = item.value + "\n";
    return response;
  });
}

void ListNodes(const Service& service, const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kCluster);
  if (auto query = Query::Parse(exchange->request(), {}); !query) {
    return RespondError(exchange, query.error());
  }
  auto status = service.node().status();
  Json nodes = Json::array();
  for (const v1::Member& member : status->cluster().members()) {
    nodes.push_back({{"id", HexId(member.id())},
                     {"name", member.name()},
                     {"address", member.peer_address()},
                     {"type", IsVoter(status->cluster(), member.id()) ? "voter" : "learner"},
                     {"leader", member.id() == status->leader()}});
  }
  HttpResponse response;
  response.Add("Content-Type", "application/json");
  response.body = nodes.dump() + "\n";
  exchange->Respond(std::move(response));
}

}  // namespace

void HandleShaj13(Service* service, const ExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  std::string_view path = request.raw_path;
  bool reads = request.method == "GET" || request.method == "HEAD";
  if (path == "/") {
    bool saves = request.method == "PUT" || request.method == "POST";
    return saves ? Save(service, exchange) : exchange->Respond(MethodNotAllowed("PUT, POST"));
  }
  if (path == kNodes) {
    return reads ? ListNodes(*service, exchange) : exchange->Respond(MethodNotAllowed("GET, HEAD"));
  }
  if (path.starts_with(kNodes) && path[kNodes.size()] == '/') {
    if (request.method != "DELETE") return exchange->Respond(MethodNotAllowed("DELETE"));
    auto name = PercentDecode(path.substr(kNodes.size() + 1));
    return name ? RemoveMember(*service, exchange, *name) : RespondError(exchange, name.error());
  }
  if (!reads) return exchange->Respond(MethodNotAllowed("GET, HEAD"));
  Get(service, exchange);
}

}  // namespace raftkv::server
