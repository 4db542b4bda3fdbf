// The definition of the RaftKV resource, as the chart has it.
#pragma once

#include "operator/kube/json.h"

namespace raftkv::kube {

const Json& Definition();

}  // namespace raftkv::kube
