// The client APIs of the programs that raftkv goes back to. They take over what is not native:
// /kv, /kv/... and /cluster stay what they are in every dialect (docs/api.md).
//
// Thread-safety: any thread; the Service must outlive every exchange's loop.
#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "node/server/kv_api.h"
#include "node/server/service.h"

namespace raftkv::server {

enum class Dialect {
  kNative,
  kRaftexample,  // PUT /KEY, GET /KEY, POST /ID, DELETE /ID
  kShaj13,       // PUT|POST / with JSON, GET /KEY, /mgmt/nodes
};

std::string_view DialectName(Dialect dialect);  // "native", "raftexample", "shaj13"
Result<Dialect> ParseDialect(std::string_view name);

void HandleRaftexample(Service* service, const ExchangePtr& exchange);
void HandleShaj13(Service* service, const ExchangePtr& exchange);

// Removes the member with this name or id from the cluster; answers 204 when it is gone.
void RemoveMember(const Service& service, const ExchangePtr& exchange, const std::string& name);

}  // namespace raftkv::server
