// Json: what objects are made of.
//
// An operator holds thousands of small JSON objects for as long as it lives. nlohmann's own choice,
// a std::map, takes a node of about 110 bytes for each entry; FlatMap keeps them in one sorted
// array, 48 bytes each.
//
// Thread-safety: values.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "operator/kube/flat_map.h"

namespace raftkv::kube {

using Json = nlohmann::basic_json<FlatMap>;

}  // namespace raftkv::kube
