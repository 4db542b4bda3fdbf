// What runs in the place of a member whose data are damaged: it tells so on the admin listener
// (role DAMAGED), serves nobody, and is no member to its peers. If it may, it asks the leader to be
// replaced; when one agrees, it moves the data aside and wants to be started again.
#pragma once

#include <memory>

#include "base/status.h"
#include "node/runtime/node.h"
#include "node/runtime/options.h"

namespace raftkv::runtime {

// `damage` names the file. Errors: the directory cannot be locked, the peer port is taken.
Result<std::unique_ptr<Node>> StartDamagedNode(const Options& options, const Status& damage);

}  // namespace raftkv::runtime
