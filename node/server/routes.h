// The routes, as metrics name them.
#pragma once

#include <string_view>

namespace raftkv::server {

enum class Route : int {
  kNone,  // refused before or while the route was looked for
  kKeyGet,
  kKeyPut,
  kKeyDelete,
  kRange,
  kTxn,
  kCluster,
  kMemberAdd,     // of the seeds' APIs
  kMemberRemove,  // likewise
  kAdminStatus,
  kAdminRaft,
  kAdminInitialize,
  kAdminJoin,
  kAdminMembership,
  kAdminTransfer,
  kAdminSnapshot,
  kAdminSnapshotFile,
  kAdminRestore,
  kAdminCompact,
  kLivez,
  kReadyz,
  kMetrics,
};
inline constexpr int kRouteCount = static_cast<int>(Route::kMetrics) + 1;

std::string_view RouteName(Route route);

}  // namespace raftkv::server
