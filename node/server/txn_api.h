// POST /txn: compare keys, then carry out one list of operations or the other, at one revision
// (docs/api.md).
//
// Thread-safety: any thread.
#pragma once

#include <string_view>

#include "base/status.h"
#include "node/server/service.h"
#include "raftkv/v1/txn.pb.h"

namespace raftkv::server {

void HandleTxn(Service* service, const ExchangePtr& exchange);

// The JSON form of a request. kInvalidArgument says what is wrong and where.
Result<v1::TxnRequest> TxnFromJson(std::string_view json);
std::string TxnToJson(const v1::TxnResponse& response);

}  // namespace raftkv::server
