// GET /cluster: who is in the cluster, as this node sees it.
#pragma once

#include "node/server/service.h"

namespace raftkv::server {

// `admin_port`: of this node's admin listener, for tools that know only the client address.
void HandleCluster(const Service& service, uint16_t admin_port, const ExchangePtr& exchange);

// The member that people call `name`: by name, or by id (16 hexadecimal digits). 0: there is none.
uint64_t FindMember(const v1::ClusterState& cluster, const std::string& name);

bool IsVoter(const v1::ClusterState& cluster, uint64_t id);  // of the incoming configuration

}  // namespace raftkv::server
