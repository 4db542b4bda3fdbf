#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/memory_limit.h"
#include "node/config/config.h"
#include "node/config/values.h"

namespace raftkv {
namespace {

using runtime::Bootstrap;

constexpr size_t kMaxNameBytes = 256;  // as the state machine has it

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "raftkv";
  return name.data();
}

// Budgets of memory that are not set. Together with what a node takes beside them they stay well
// below the limit at which the kernel would end it.
void CompleteBudgets(NodeConfig* config) {
  constexpr uint64_t kMost = 256 << 20;
  constexpr uint64_t kBeside = 64 << 20;  // caches, tables in memory, buffers of connections
  runtime::Options& node = config->node;
  if (config->memory_bytes == 0) config->memory_bytes = MemoryLimit();
  // Of what is allowed at all something fits, however little memory there is.
  const uint64_t least =
      std::max({kMinBudgetBytes, 2 * config->max_value_bytes, node.max_append_bytes});
  const uint64_t memory = std::max(config->memory_bytes, kBeside) - kBeside;
  const uint64_t share = std::max(std::min(memory / 8, kMost), least);
  for (uint64_t* budget :
       {&node.max_inflight_bytes, &node.max_uncommitted_bytes, &config->http.max_buffered_bytes}) {
    if (*budget == 0) *budget = share;
  }
}

Status Invalid(const std::string& message) { return Status(Code::kInvalidArgument, message); }

// It is stored, replicated and shown: in the identity, in the membership, in logs and metrics.
Status ValidateName(const std::string& name) {
  const auto plain = [](char c) { return c > ' ' && c < 0x7f; };
  if (name.size() <= kMaxNameBytes && std::ranges::all_of(name, plain)) return Status::Ok();
  return Invalid("name must be 1 to " + std::to_string(kMaxNameBytes) +
                 " printable ASCII characters without spaces; set --name");
}

Status CompleteAddresses(NodeConfig* config) {
  runtime::Options& node = config->node;
  const std::array<const std::string*, 4> listeners = {
      &config->client_listen, &node.peer_listen, &config->admin_listen, &config->metrics_listen};
  for (size_t i = 0; i < listeners.size(); ++i) {
    for (size_t j = i + 1; j < listeners.size(); ++j) {
      if (*listeners[i] == *listeners[j] && !listeners[i]->ends_with(":0")) {
        return Invalid(
            "client.listen, peer.listen, admin.listen and metrics.listen must differ: two of them "
            "are " +
            *listeners[i]);
      }
    }
  }

  if (node.peer_advertise.empty()) node.peer_advertise = node.peer_listen;
  ASSIGN_OR_RETURN_STATUS(const HostPort peer, ParseHostPort(node.peer_advertise));
  if (peer.IsWildcard() || peer.port == 0) {
    return Invalid("peer.advertise: other members cannot dial " + node.peer_advertise +
                   "; set --peer-advertise to the host and port at which they reach this node, "
                   "such as node-0.example:7071 (--peer-listen may stay every interface)");
  }
  ASSIGN_OR_RETURN_STATUS(const HostPort client, ParseHostPort(config->client_listen));
  if (node.client_advertise.empty() && !client.IsWildcard() && client.port != 0) {
    node.client_advertise = config->client_listen;
  }
  if (node.client_advertise.empty()) return Status::Ok();
  ASSIGN_OR_RETURN_STATUS(const HostPort shown, ParseHostPort(node.client_advertise));
  if (shown.IsWildcard() || shown.port == 0) {
    return Invalid("client.advertise: clients cannot dial " + node.client_advertise +
                   "; set --client-advertise to the host and port at which they reach this node");
  }
  return Status::Ok();
}

}  // namespace

Status ValidateBootstrap(const runtime::Options& node) {
  const Bootstrap& start = node.bootstrap;
  const bool has_self = std::ranges::count(start.addresses, node.peer_advertise) > 0;
  switch (start.mode) {
    case Bootstrap::Mode::kStaticList:
      if (!has_self) {
        return Invalid("start.peers must hold this node's own peer.advertise (" +
                       node.peer_advertise + ") when start.mode is static");
      }
      return Status::Ok();
    case Bootstrap::Mode::kJoin:
      if (start.addresses.empty()) {
        return Invalid("start.peers must name a member to join when start.mode is join");
      }
      if (has_self) {
        return Invalid("start.peers holds this node's own peer.advertise (" + node.peer_advertise +
                       "): a node cannot join through itself");
      }
      return Status::Ok();
    case Bootstrap::Mode::kRestore:
      if (start.snapshot.empty()) {
        return Invalid("start.snapshot must name a saved snapshot when start.mode is restore");
      }
      break;
    case Bootstrap::Mode::kWait:
    case Bootstrap::Mode::kSingle:
      break;
  }
  return Status::Ok();
}

Status CompleteAndValidate(NodeConfig* config) {
  runtime::Options& node = config->node;
  if (node.name.empty()) node.name = HostName();
  RETURN_IF_ERROR(ValidateName(node.name));
  RETURN_IF_ERROR(CompleteAddresses(config));
  CompleteBudgets(config);
  if (node.heartbeat_ticks * 3 > node.election_ticks) {
    return Invalid("raft.heartbeat_ticks must be at most a third of raft.election_ticks");
  }
  if (node.max_append_bytes > node.max_uncommitted_bytes) {
    return Invalid("raft.max_append_bytes must not be larger than raft.max_uncommitted_bytes");
  }
  if (node.max_append_bytes > node.max_inflight_append_bytes) {
    return Invalid("raft.max_append_bytes must not be larger than raft.max_inflight_append_bytes");
  }
  return Status::Ok();
}

}  // namespace raftkv
