// /livez, /readyz: what Kubernetes and load balancers ask.
//
// /livez: the node's own loop turns; never depends on other nodes. /readyz: a real read-index round
// and everything that Node::Health names. Both take ?verbose (a line for each check) and ?exclude=
// (names, separated by commas).
#pragma once

#include "node/server/service.h"

namespace raftkv::server {

void HandleLivez(const Service& service, const ExchangePtr& exchange);
void HandleReadyz(const Service& service, const ExchangePtr& exchange);

}  // namespace raftkv::server
