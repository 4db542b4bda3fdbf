#include "node/server/server.h"

#include <prometheus/registry.h>

#include <thread>

#include "node/server/admin_api.h"
#include "node/server/cluster.h"
#include "node/server/health.h"
#include "node/server/kv_api.h"
#include "node/server/metrics.h"
#include "node/server/service.h"
#include "node/server/txn_api.h"

namespace raftkv::server {
namespace {

constexpr size_t kMaxAdminBody = 1 << 20;

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
        service_metrics_(&service_),
        sources_{registry, &client_metrics_, &admin_metrics_, &service_metrics_,
                 &process_metrics_} {}

  ~ServerImpl() override { Stop(Duration::zero()); }

  Status Open(const ServerOptions& options) {
    Limits limits = options.limits;
    limits.max_connections = options.max_admin_connections;
    limits.max_body_bytes = kMaxAdminBody;
    limits.event_loops = 1;
    auto admin = HttpServer::Start(
        options.admin_listen, limits, [this](const ExchangePtr& e) { HandleAdmin(e); },
        &admin_metrics_);
    if (!admin) return admin.error();
    admin_server_ = std::move(*admin);
    admin_port_ = admin_server_->port();
    admin_metrics_.SetServer(admin_server_.get());
    limits = options.limits;
    limits.max_body_bytes = MaxBody(options);
    auto client = HttpServer::Start(
        options.client_listen, limits, [this](const ExchangePtr& e) { HandleClient(e); },
        &client_metrics_);
    if (!client) return client.error();
    client_server_ = std::move(*client);
    client_metrics_.SetServer(client_server_.get());
    return Status::Ok();
  }

  void Stop(Duration grace) override {
    // At the same time, so that the grace is that of both.
    std::jthread admin([this, grace] {
      if (admin_server_) admin_server_->Stop(grace);
    });
    if (client_server_) client_server_->Stop(grace);
  }

  uint16_t client_port() const override { return client_server_->port(); }
  uint16_t admin_port() const override { return admin_port_; }

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
    std::string_view path = exchange->request().raw_path;
    if (path == "/livez") return HandleLivez(service_, exchange);
    if (path == "/readyz") return HandleReadyz(service_, exchange);
    if (path == "/metrics") return HandleMetrics(&service_, sources_, exchange);
    if (path == "/admin/snapshot/file" && open_snapshot_) return HandleSnapshotFile(exchange);
    if (admin_.Handle(exchange)) return;
    exchange->Respond(
        NoSuchResource("There is no such resource; this is the admin listener: /admin/..., "
                       "/livez, /readyz, /metrics."));
  }

  void HandleSnapshotFile(const ExchangePtr& exchange) {
    SetRoute(exchange, Route::kAdminSnapshotFile);
    if (exchange->request().method != "GET") return exchange->Respond(MethodNotAllowed("GET"));
    open_snapshot_(service_.Deadline(exchange->request()),
                   [exchange](Result<SnapshotPieces> pieces) {
                     if (!pieces)
                       return exchange->Respond(Problem(pieces.error(), Audience::kAdmin));
                     HttpResponse response;
                     response.Add("Content-Type", "application/vnd.raftkv.snapshot");
                     response.stream = std::move(*pieces);
                     exchange->Respond(std::move(response));
                   });
  }

  const Dialect dialect_;
  const SnapshotOpener open_snapshot_;
  Service service_;
  KvApi kv_;
  AdminApi admin_;
  HttpMetrics client_metrics_;
  HttpMetrics admin_metrics_;
  ServiceMetrics service_metrics_;
  ProcessMetrics process_metrics_;
  const std::vector<const prometheus::Collectable*> sources_;
  uint16_t admin_port_ = 0;
  std::unique_ptr<HttpServer> admin_server_;
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
