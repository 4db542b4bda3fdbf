#include "node/raft/config.h"

namespace raftkv::raft {
namespace {

Status Invalid(const char* text) { return Status(Code::kInvalidArgument, text); }

}  // namespace

Status Config::Validate() const {
  if (id == kNone) return Invalid("cannot use none as id");
  if (IsLocalTarget(id)) return Invalid("cannot use local target as id");
  if (heartbeat_ticks <= 0) return Invalid("heartbeat tick must be greater than 0");
  if (election_ticks <= heartbeat_ticks) {
    return Invalid("election tick must be greater than heartbeat tick");
  }
  if (log == nullptr) return Invalid("storage cannot be nil");
  if (max_inflight_messages <= 0) return Invalid("max inflight messages must be greater than 0");
  if (max_inflight_bytes != 0 && max_inflight_bytes < max_bytes_per_append) {
    return Invalid("max inflight bytes must be >= max message size");
  }
  if (read_only == ReadOnlyOption::kLeaseBased && !check_quorum) {
    return Invalid("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  }
  if (logger == nullptr) return Invalid("logger cannot be nil");
  if (random == nullptr) return Invalid("random cannot be nil");
  return Status::Ok();
}

}  // namespace raftkv::raft
