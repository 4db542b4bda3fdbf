// Nodes of many clusters as an operator sees them, on addresses of their own on loopback
// (127.77.CLUSTER.SLOT + 1, the admin port): blank until they are initialized, then well for ever,
// and at work: each answer has newer indexes, and followers that are some entries behind. Real
// ones, hundreds of them, would be most of what a test of the operator's cost measures;
// `./dev chart --live at_rest` has those.
//
// Thread-safety: as a whole of one thread; it answers on one of its own.
#pragma once

#include <poll.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace raftkv::kube {

class StandInNodes {
 public:
  // The RaftKV called `prefix` and the cluster's number has pods whose names its nodes tell.
  StandInNodes(std::string prefix, int clusters, int members);
  ~StandInNodes();
  StandInNodes(const StandInNodes&) = delete;
  StandInNodes& operator=(const StandInNodes&) = delete;

  // Empty: they listen.
  const std::string& error() const { return error_; }
  static std::string Address(int cluster, int slot);

 private:
  struct Cluster {
    std::string id;  // empty: its nodes are blank
    nlohmann::json members;
    int leader = 0;
    uint64_t answers = 0;  // of its nodes
  };
  struct Connection {
    int cluster = 0;
    int slot = 0;
    std::string in;
  };

  void Listen(int cluster, int slot);
  void Serve();
  // False: it has ended.
  bool Read(int fd, Connection& connection);
  // The answer to one request: status line and body.
  std::string Answer(const Connection& connection, std::string_view path, std::string_view body);
  nlohmann::json Status(const Connection& connection) const;

  const std::string prefix_;
  const int members_;
  std::string error_;
  int stop_[2] = {-1, -1};  // a pipe
  std::vector<Cluster> clusters_;
  std::map<int, std::pair<int, int>> listeners_;  // by file descriptor: cluster and slot
  std::map<int, Connection> connections_;
  std::thread thread_;
};

}  // namespace raftkv::kube
