#include "node/server/server.h"

#include <prometheus/registry.h>

#include <algorithm>
#include <thread>

#include "base/proc.h"
#include "node/server/admin_api.h"
#include "node/server/cluster.h"
#include "node/server/health.h"
#include "node/server/kv_api.h"
#include "node/server/message_codec.h"
#include "node/server/metrics.h"
#include "node/server/query.h"
#include "node/server/service.h"
#include "node/server/txn_api.h"

namespace raftkv::server {
namespace {

constexpr size_t kMaxAdminBody = 1 << 20;
constexpr std::string_view kSnapshotType = "application/vnd.raftkv.snapshot";

// The JSON of a dialect can be several times as long as the value in it.
size_t MaxBody(const ServerOptions& options) {
  bool json = options.dialect == Dialect::kShaj13;
  return json ? 6 * options.max_value_bytes + (64 << 10) : options.max_value_bytes;
}

bool TimeoutIsValid(const ExchangePtr& exchange) {
  Status valid = CheckTimeout(exchange->request());
  if (!valid.ok()) RespondError(exchange, valid);
  return valid.ok();
}

// Of the files that the process may open clients get a quarter, and all beyond this many: without
// one for its databases a node ends.
constexpr uint64_t kFilesForOthers = 2048;
// The ports of admin and metrics get at most such a share each.
constexpr uint64_t kAdminShare = 16;

size_t ClientsWithin(size_t wanted, uint64_t max_files) {
  return std::min<uint64_t>(wanted, max_files - std::min(max_files / 4 * 3, kFilesForOthers));
}

size_t AdminsWithin(size_t wanted, uint64_t max_files) {
  return std::min<uint64_t>(wanted, max_files / kAdminShare);
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, runtime::Node* node,
             const prometheus::Registry* registry)
      : dialect_(options.dialect),
        open_snapshot_(options.open_snapshot),
        service_(node, options.request_timeout, options.max_value_bytes),
        kv_(&service_),
        admin_(&service_),
        client_metrics_("client"),
        admin_metrics_("admin"),
        metrics_metrics_("metrics"),
        service_metrics_(&service_),
        sources_{registry, &client_metrics_, &admin_metrics_, &service_metrics_,
                 &process_metrics_} {
    if (!options.metrics_listen.empty()) sources_.push_back(&metrics_metrics_);
  }

  ~ServerImpl() override { Stop(Duration::zero()); }

  Status Open(const ServerOptions& options) {
    Limits limits = options.limits;
    limits.max_connections = AdminsWithin(options.max_admin_connections, MaxFds());
    limits.max_body_bytes = kMaxAdminBody;
    limits.event_loops = 1;
    auto admin = HttpServer::Start(
        options.admin_listen, limits, [this](const ExchangePtr& e) { HandleAdmin(e); },
        &admin_metrics_);
    if (!admin) return admin.error();
    admin_server_ = std::move(*admin);
    admin_port_ = admin_server_->port();
    admin_metrics_.SetServer(admin_server_.get());
    if (!options.metrics_listen.empty()) {
      auto metrics = HttpServer::Start(
          options.metrics_listen, limits, [this](const ExchangePtr& e) { HandleMetricsOnly(e); },
          &metrics_metrics_);
      if (!metrics) return metrics.error();
      metrics_server_ = std::move(*metrics);
      metrics_metrics_.SetServer(metrics_server_.get());
    }
    limits = options.limits;
    limits.max_body_bytes = MaxBody(options);
    limits.max_connections = ClientsWithin(limits.max_connections, MaxFds());
    auto client = HttpServer::Start(
        options.client_listen, limits, [this](const ExchangePtr& e) { HandleClient(e); },
        &client_metrics_);
    if (!client) return client.error();
    client_server_ = std::move(*client);
    client_metrics_.SetServer(client_server_.get());
    return Status::Ok();
  }

  void Stop(Duration grace) override {
    // At the same time, so that the grace is that of all.
    const auto stop = [grace](const std::unique_ptr<HttpServer>& server) {
      if (server) server->Stop(grace);
    };
    const std::jthread admin([this, stop] { stop(admin_server_); });
    const std::jthread metrics([this, stop] { stop(metrics_server_); });
    stop(client_server_);
  }

  uint16_t client_port() const override { return client_server_->port(); }
  uint16_t admin_port() const override { return admin_port_; }
  uint16_t metrics_port() const override { return metrics_server_ ? metrics_server_->port() : 0; }

 private:
  void HandleClient(const ExchangePtr& exchange) {
    if (!TimeoutIsValid(exchange)) return;
    std::string_view path = exchange->request().raw_path;
    if (path.starts_with("/kv") && (path.size() == 3 || path[3] == '/')) {
      return kv_.Handle(exchange);
    }
    // In the other dialects it is a key.
    if (path == "/txn" && dialect_ == Dialect::kNative) return HandleTxn(&service_, exchange);
    if (path == "/cluster") return HandleCluster(service_, admin_port_, exchange);
    if (path == "*") {
      return exchange->Respond(
          NoSuchResource("There is nothing to be said of the server as such."));
    }
    switch (dialect_) {
      case Dialect::kNative:
        return exchange->Respond(
            NoSuchResource("There is no such resource; keys are at /kv/KEY, transactions "
                           "at /txn, members at /cluster."));
      case Dialect::kRaftexample:
        return HandleRaftexample(&service_, exchange);
      case Dialect::kShaj13:
        return HandleShaj13(&service_, exchange);
    }
  }

  void HandleAdmin(const ExchangePtr& exchange) {
    if (!TimeoutIsValid(exchange)) return;
    if (TellsHealth(exchange)) return;
    std::string_view path = exchange->request().raw_path;
    if (path == "/admin/snapshot/file" && open_snapshot_) return HandleSnapshotFile(exchange);
    if (path == "/admin/restore") return HandleRestore(exchange);
    if (admin_.Handle(exchange)) return;
    exchange->Respond(
        NoSuchResource("There is no such resource; this is the admin listener: /admin/..., "
                       "/livez, /readyz, /metrics."));
  }

  void HandleMetricsOnly(const ExchangePtr& exchange) {
    if (!TimeoutIsValid(exchange) || TellsHealth(exchange)) return;
    exchange->Respond(
        NoSuchResource("There is no such resource; this listener has /livez, /readyz and /metrics "
                       "alone."));
  }

  bool TellsHealth(const ExchangePtr& exchange) {
    const std::string_view path = exchange->request().raw_path;
    if (path == "/livez") {
      HandleLivez(service_, exchange);
    } else if (path == "/readyz") {
      HandleReadyz(service_, exchange);
    } else if (path == "/metrics") {
      HandleMetrics(&service_, sources_, exchange);
    } else {
      return false;
    }
    return true;
  }

  void HandleSnapshotFile(const ExchangePtr& exchange) {
    SetRoute(exchange, Route::kAdminSnapshotFile);
    if (exchange->request().method != "GET") return exchange->Respond(MethodNotAllowed("GET"));
    open_snapshot_(service_.Deadline(exchange->request()),
                   [exchange](Result<SnapshotPieces> pieces) {
                     if (!pieces)
                       return exchange->Respond(Problem(pieces.error(), Audience::kAdmin));
                     HttpResponse response;
                     response.Add("Content-Type", std::string(kSnapshotType));
                     response.stream = std::move(*pieces);
                     exchange->Respond(std::move(response));
                   });
  }

  // The body is a piece of a file, which is verified and written to the disk.
  void HandleRestore(const ExchangePtr& exchange) {
    SetRoute(exchange, Route::kAdminRestore);
    const HttpRequest& request = exchange->request();
    if (request.method != "POST") return exchange->Respond(MethodNotAllowed("POST"));
    if (request.Header("content-type") != kSnapshotType) {
      return exchange->Respond(Problem(415, "Send Content-Type: " + std::string(kSnapshotType)));
    }
    Result<uint64_t> offset = OffsetOf(request);
    if (!offset) return exchange->Respond(Problem(offset.error(), Audience::kAdmin));
    service_.RunBlocking(exchange, [this, exchange, offset = *offset, piece = request.body] {
      service_.node().Restore(offset, piece, [exchange](Result<v1::RestoreResponse> result) {
        exchange->Run([exchange, result = std::move(result)] {
          exchange->Respond(result ? MessageAnswer(*result, FormatOfAnswer(exchange->request()))
                                   : Problem(result.error(), Audience::kAdmin));
        });
      });
    });
  }

  static Result<uint64_t> OffsetOf(const HttpRequest& request) {
    ASSIGN_OR_RETURN(const Query query, Query::Parse(request, {"offset"}));
    return query.Number("offset", 0);
  }

  const Dialect dialect_;
  const SnapshotOpener open_snapshot_;
  Service service_;
  KvApi kv_;
  AdminApi admin_;
  HttpMetrics client_metrics_;
  HttpMetrics admin_metrics_;
  HttpMetrics metrics_metrics_;
  ServiceMetrics service_metrics_;
  ProcessMetrics process_metrics_;
  std::vector<const prometheus::Collectable*> sources_;
  uint16_t admin_port_ = 0;
  std::unique_ptr<HttpServer> admin_server_;
  std::unique_ptr<HttpServer> metrics_server_;
  std::unique_ptr<HttpServer> client_server_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, runtime::Node* node,
                                              const prometheus::Registry* registry) {
  auto server = std::make_unique<ServerImpl>(options, node, registry);
  RETURN_UNEXPECTED_IF_ERROR(server->Open(options));
  return server;
}

}  // namespace raftkv::server
