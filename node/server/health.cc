#include "node/server/health.h"

#include <algorithm>
#include <chrono>

#include "node/server/query.h"

namespace raftkv::server {
namespace {

// Within the default timeout of a Kubernetes probe (1 s).
constexpr Duration kReadTimeout = std::chrono::milliseconds(800);

struct HealthQuery {
  bool verbose = false;
  std::vector<std::string> exclude;
};

Result<HealthQuery> ParseHealth(const HttpRequest& request) {
  HealthQuery result;
  ASSIGN_OR_RETURN(Query query, Query::Parse(request, {"verbose", "exclude"}));
  ASSIGN_OR_RETURN(result.verbose, query.Flag("verbose"));
  std::string names = query.Text("exclude");
  while (!names.empty()) {
    size_t comma = std::min(names.find(','), names.size());
    result.exclude.push_back(names.substr(0, comma));
    names.erase(0, comma + 1);
  }
  return result;
}

// `what`: "livez" or "readyz".
HttpResponse Report(ServiceCounters* counters, std::string_view what, const HealthQuery& query,
                    const std::vector<runtime::HealthCheck>& checks) {
  HttpResponse response;
  std::string lines;
  for (const runtime::HealthCheck& check : checks) {
    if (std::ranges::find(query.exclude, check.name) != query.exclude.end()) {
      lines += "[+]" + check.name + " excluded: ok\n";
    } else if (check.status.ok()) {
      lines += "[+]" + check.name + " ok\n";
    } else if (check.only_warns) {
      lines += "[!]" + check.name + " warning: " + check.status.message() + "\n";
    } else {
      lines += "[-]" + check.name + " failed: " + check.status.message() + "\n";
      response.status = 503;
    }
  }
  // A probe that names a check of another version goes on; whoever looks sees a misspelling.
  for (const std::string& name : query.exclude) {
    if (std::ranges::find(checks, name, &runtime::HealthCheck::name) == checks.end()) {
      lines += "[!]" + name + " excluded: there is no such check\n";
    }
  }
  bool ok = response.status == 200;
  (ok ? counters->health_success : counters->health_failures)
      .fetch_add(1, std::memory_order_relaxed);
  response.Add("Content-Type", "text/plain; charset=utf-8");
  response.Add("Cache-Control", "no-store");
  if (!ok) response.Add("Retry-After", "1");
  if (query.verbose || !ok) {
    response.body = lines + std::string(what) + (ok ? " check passed\n" : " check failed\n");
  } else {
    response.body = "ok\n";
  }
  return response;
}

// Answers what is not a proper GET; else the query.
std::optional<HealthQuery> Accept(const ExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  if (request.method != "GET" && request.method != "HEAD") {
    exchange->Respond(MethodNotAllowed("GET, HEAD"));
    return std::nullopt;
  }
  auto query = ParseHealth(request);
  if (!query) {
    RespondError(exchange, query.error());
    return std::nullopt;
  }
  return *query;
}

}  // namespace

void HandleLivez(const Service& service, const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kLivez);
  auto query = Accept(exchange);
  if (!query) return;
  exchange->Respond(
      Report(&service.counters(), "livez", *query, {{"loop", service.node().Alive()}}));
}

void HandleReadyz(const Service& service, const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kReadyz);
  auto query = Accept(exchange);
  if (!query) return;
  runtime::Node* node = &service.node();
  auto answer = [exchange, node, counters = &service.counters(), query = *query](Status read) {
    std::vector<runtime::HealthCheck> checks = node->Health();
    checks.push_back({"read_index", std::move(read)});
    exchange->Respond(Report(counters, "readyz", query, checks));
  };
  if (std::ranges::find(query->exclude, "read_index") != query->exclude.end()) {
    return answer(Status::Ok());
  }
  auto done = [exchange, answer = std::move(answer)](Status status) {
    exchange->Run([answer, status = std::move(status)] { answer(status); });
  };
  node->ReadBarrier(runtime::Consistency::kLinearizable, Clock::System().Now() + kReadTimeout,
                    std::move(done));
}

}  // namespace raftkv::server
