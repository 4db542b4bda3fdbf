// Admin: status, membership and upkeep of a raftkv cluster, through the admin listeners of its
// nodes.
//
// Any node passes membership and transfer requests on to the leader. Errors as in ctl/client.h; the
// admin API says kConflict also for a configuration index that is out of date.
//
// Thread-safety: none; one instance per thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ctl/http.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::client {

class Admin {
 public:
  Admin(std::vector<Endpoint> endpoints, const Http::Options& options);

  const std::vector<Endpoint>& endpoints() const { return http_.endpoints(); }

  // Of whichever node answers first.
  Result<v1::StatusResponse> Status();
  // Of that node alone.
  Result<v1::StatusResponse> StatusOf(const Endpoint& endpoint);

  Result<v1::InitializeResponse> Initialize(const v1::InitializeRequest& request);
  Result<v1::JoinResponse> Join(const v1::JoinRequest& request);
  Result<v1::ChangeMembershipResponse> ChangeMembership(const v1::ChangeMembershipRequest& request);
  Result<v1::TransferLeadershipResponse> TransferLeadership(
      const v1::TransferLeadershipRequest& request);
  Result<v1::CompactResponse> Compact(const v1::CompactRequest& request);
  // Of that node: makes its own log shorter.
  Result<v1::SnapshotResponse> TakeSnapshot(const Endpoint& endpoint);
  // Of that node: its state as one stream (node/storage/snapshot_stream.h).
  raftkv::Status SaveSnapshot(const Endpoint& endpoint,
                              const std::function<raftkv::Status(std::string_view)>& receive);

  // To that node, which is blank: the next piece of such a stream, from its byte `offset` on. With
  // the last one it becomes a new cluster.
  Result<v1::RestoreResponse> Restore(const Endpoint& endpoint, uint64_t offset,
                                      std::string_view piece);

 private:
  template <typename Response>
  Result<Response> Post(const std::string& target, const google::protobuf::MessageLite& body);

  Http http_;
};

}  // namespace raftkv::client
