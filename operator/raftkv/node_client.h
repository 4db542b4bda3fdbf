// NodeClient: the admin API of a node (docs/api.md), as the operator uses it.
//
// JSON to a pod's IP, over NodeHttp. Every call is bounded: 1 s to connect, 2 s for a status, and
// as long as the calls themselves may take on the node. No call is repeated here: the reconciler
// looks again instead.
//
// Thread-safety: every method from any thread; calls block.
#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "operator/raftkv/action.h"
#include "operator/raftkv/node_http.h"
#include "operator/raftkv/observation.h"

namespace raftkv::op {

struct NodeStatus {
  std::string name;  // the pod's, in which it runs
  NodeReport report;
  // As this node knows it; config_index 0: it has none. `leader` is set if it leads itself, and
  // then match and active of the members, leader_commit and leader_term are.
  Membership membership;
};

// kInvalidArgument if it is not the answer of a node.
Result<NodeStatus> ParseNodeStatus(std::string_view json);

// The configuration with the greatest index, and the leader of the newest term, of all these;
// nodes of another cluster than `cluster` are left out (0: none is). nullopt: nobody is a member.
std::optional<Membership> JoinMemberships(const std::vector<NodeStatus>& nodes, ClusterId cluster);

// The calls. A simulator may take their place.
class NodeApi {
 public:
  virtual ~NodeApi() = default;

  // GET /admin/status of each, at the same time; who does not answer is missing from the result.
  virtual std::map<int, NodeStatus> Statuses(const std::map<int, std::string>& hosts) = 0;

  // Errors: kConflict (the node refuses: another configuration, epoch or state), kUnavailable
  // (nothing has happened), kUnknownOutcome (it may have), others as the node says.
  virtual Status SendInitialize(const std::string& host, const Initialize& action) = 0;
  virtual Status SendMembership(const std::string& host, const ChangeMembership& action) = 0;
  virtual Status SendTransfer(const std::string& host, const TransferLeadership& action) = 0;
};

struct NodeClientOptions {
  Duration connect_timeout = std::chrono::seconds(1);
  Duration status_timeout = std::chrono::seconds(2);
  Duration change_timeout = std::chrono::seconds(15);
};

class NodeClient final : public NodeApi {
 public:
  // `http` must outlive it.
  explicit NodeClient(NodeHttp* http, NodeClientOptions options = {})
      : http_(http), options_(options) {}

  std::map<int, NodeStatus> Statuses(const std::map<int, std::string>& hosts) override;
  Status SendInitialize(const std::string& host, const Initialize& action) override;
  Status SendMembership(const std::string& host, const ChangeMembership& action) override;
  Status SendTransfer(const std::string& host, const TransferLeadership& action) override;

 private:
  std::future<Result<NodeAnswer>> Ask(NodeRequest request);
  Status Post(const std::string& host, const std::string& path, const std::string& body);

  NodeHttp* const http_;
  const NodeClientOptions options_;
};

}  // namespace raftkv::op
