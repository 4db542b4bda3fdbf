// Specs of RaftKV in which each field that shapes an object is set at least once, to something that
// differs from what is so without it (where there is such a value).
#pragma once

#include <vector>

#include "operator/kube/json.h"

namespace raftkv::op {

std::vector<kube::Json> ExampleSpecs();

}  // namespace raftkv::op
