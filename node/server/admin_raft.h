// GET /admin/raft: the inside of consensus, for people: where each follower's log is, and how the
// leader sends to it (probe, replicate, snapshot).
#pragma once

#include "node/server/http.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::server {

HttpResponse DescribeRaft(const v1::StatusResponse& status);

}  // namespace raftkv::server
