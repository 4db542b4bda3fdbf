// The HTTP listeners of a node: clients; admin with health and metrics; and, for those who must not
// reach the admin API, health and metrics alone.
//
// Thread-safety: any thread; Stop once.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "node/server/dialect.h"
#include "node/server/http.h"

namespace prometheus {
class Registry;
}
namespace raftkv::runtime {
class Node;
}

namespace raftkv::server {

// Makes a checkpoint of the state and gives its bytes (node/storage/snapshot_stream.h), piece by
// piece until an empty one. The callback may come from any thread; the pieces are asked for on
// worker threads, one after another, and may block.
using SnapshotPieces = std::function<Result<std::string>()>;
using SnapshotOpener =
    std::function<void(MonotonicTime deadline, std::function<void(Result<SnapshotPieces>)> done)>;

struct ServerOptions {
  std::string client_listen;  // host:port
  std::string admin_listen;
  std::string metrics_listen;  // empty: none
  Dialect dialect = Dialect::kNative;
  size_t max_value_bytes = 1 << 20;
  // Bounds every wait for the node: no leader, no quorum, a slow disk.
  Duration request_timeout = std::chrono::seconds(5);
  // Of the client listener; max_body_bytes follows from max_value_bytes.
  Limits limits;
  // The admin and metrics listeners have their own, so that clients cannot shut operators out.
  size_t max_admin_connections = 256;
  // For GET /admin/snapshot/file; without it there is no such route.
  SnapshotOpener open_snapshot;
};

class Server {
 public:
  // `node` and `registry` must outlive the server. Errors name the address that cannot be had.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, runtime::Node* node,
                                               const prometheus::Registry* registry);
  virtual ~Server() = default;

  // Ends all listeners at the same time (see HttpServer::Stop).
  virtual void Stop(Duration grace) = 0;

  virtual uint16_t client_port() const = 0;
  virtual uint16_t admin_port() const = 0;
  virtual uint16_t metrics_port() const = 0;  // 0: none
};

}  // namespace raftkv::server
