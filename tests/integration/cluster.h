// Clusters of real raftkv-node processes on loopback, each in a directory of its own.
//
// Thread-safety: none, except where said.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raftkv/v1/admin.pb.h"
#include "tests/integration/process.h"

namespace httplib {
class Client;
}

namespace raftkv::testing {

// Of the nodes that are started here: elections within a second, yet calm on a machine that does
// other things too.
inline constexpr std::chrono::milliseconds kTick{50};

struct HttpReply {
  int status = 0;  // 0: no answer (refused, broken or timed out)
  // Without an answer: certainly nothing was sent, because no connection came about.
  bool refused = false;
  std::string body;
  std::map<std::string, std::string> headers;  // names in lower case
};

using Headers = std::map<std::string, std::string>;

// Requests over one connection that is kept open. One thread at a time.
class HttpClient {
 public:
  explicit HttpClient(int port, std::chrono::milliseconds timeout = std::chrono::seconds(10));
  HttpClient(const std::string& host, int port, std::chrono::milliseconds timeout);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpReply Send(const std::string& method, const std::string& path, const std::string& body = "",
                 const Headers& headers = {});

 private:
  std::unique_ptr<httplib::Client> client_;
};

// One request on a connection of its own to 127.0.0.1. Any thread.
HttpReply Http(const std::string& method, int port, const std::string& path,
               const std::string& body = "", const Headers& headers = {},
               std::chrono::milliseconds timeout = std::chrono::seconds(10));

// A node with the native flags.
class NodeProcess {
 public:
  // It listens on three ports of `host`.
  NodeProcess(std::string name, std::string directory, std::string host = "127.0.0.1");

  // From the next start on: a program and arguments that start the node's command line, such as
  // {"env", "NAME=VALUE"}; it has to exec, so that the process stays the same.
  void set_prefix(std::vector<std::string> prefix) { prefix_ = std::move(prefix); }
  // From the next start on: where the others dial this node, if not where it listens.
  void set_peer_advertise(std::string address) { peer_advertise_ = std::move(address); }

  // Starts it with the flags given at the first start, or new ones.
  void Start();
  void Start(std::vector<std::string> flags);
  // Ends the process with SIGTERM; its exit status.
  int Stop();
  void Kill();
  void Pause();
  void Resume();
  // Removes the data directory of a node that does not run.
  void Wipe();

  HttpReply Client(const std::string& method, const std::string& path, const std::string& body = "",
                   const Headers& headers = {}) const;
  // A body is JSON, if `headers` do not say otherwise.
  HttpReply Admin(const std::string& method, const std::string& path, const std::string& body = "",
                  Headers headers = {}) const;
  // GET /admin/status; nothing while it does not answer.
  std::optional<v1::StatusResponse> Status() const;
  bool IsReady() const;  // GET /readyz

  const std::string& name() const { return name_; }
  std::string data_dir() const { return directory_ + "/data"; }
  std::string peer_address() const;  // where it listens
  std::string advertised_address() const {
    return peer_advertise_.empty() ? peer_address() : peer_advertise_;
  }
  const std::string& host() const { return host_; }
  int client_port() const { return client_port_; }
  int peer_port() const { return peer_port_; }
  int admin_port() const { return admin_port_; }
  int metrics_port() const { return metrics_port_; }
  Process* process() { return process_.get(); }
  std::string Log() const;

 private:
  std::string At(int port) const;

  const std::string name_;
  const std::string directory_;
  const std::string host_;
  const int client_port_;
  const int peer_port_;
  const int admin_port_;
  const int metrics_port_;
  std::vector<std::string> flags_;
  std::vector<std::string> prefix_;
  std::string peer_advertise_;
  std::unique_ptr<Process> process_;
};

class Cluster {
 public:
  // Makes `size` nodes (not started) named n1, n2, ...
  explicit Cluster(int size);

  // Starts all as a static list and waits until every one serves.
  void StartStatic(const std::vector<std::string>& flags = {});
  // Adds a node (not started).
  NodeProcess& AddNode();

  NodeProcess& operator[](size_t i) { return *nodes_[i]; }
  size_t size() const { return nodes_.size(); }

  // Waits until the node answers linearizable reads.
  static bool WaitReady(NodeProcess& node);
  // Waits until some running node says that it leads; its place.
  size_t WaitLeader();
  // All nodes' logs, for a failed test.
  std::string Logs() const;
  std::string StaticList() const;

 private:
  TempDir directory_;
  std::vector<std::unique_ptr<NodeProcess>> nodes_;
};

}  // namespace raftkv::testing
