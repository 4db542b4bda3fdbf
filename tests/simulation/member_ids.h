// Sets of members' ids, for the Operator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>

#include "raftkv/v1/cluster.pb.h"

namespace raftkv::sim {

template <typename List>
bool Contains(const List& list, uint64_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

inline std::set<uint64_t> MemberIds(const v1::ClusterState& cluster) {
  std::set<uint64_t> ids;
  for (const v1::Member& member : cluster.members()) ids.insert(member.id());
  return ids;
}

}  // namespace raftkv::sim
