#include "node/runtime/write_request.h"

#include <utility>

#include "node/kv/commands.h"

namespace raftkv::runtime {

std::optional<Proposal> PrepareWrite(v1::Command command, uint64_t member_id, uint64_t request_id,
                                     MonotonicTime deadline, WriteCallback done, SpaceGuard& space,
                                     WaiterTable& waiters) {
  if (Grows(command) && !space.Admit(command.ByteSizeLong())) {
    done(Error(Code::kOutOfSpace,
               "the disk or the quota of this member is full: delete keys, compact, or give it "
               "more space; reads and deletes go on"));
    return std::nullopt;
  }
  command.set_version(kv::VersionOf(command));
  command.set_origin(member_id);
  command.set_request_id(request_id);
  Proposal proposal{request_id, Buffer(command.SerializeAsString()), deadline};
  // Of all commands only invitations carry text.
  if (command.has_invite()) {
    if (Status readable = kv::CheckReadable(proposal.command.view()); !readable.ok()) {
      done(Error(std::move(readable)));
      return std::nullopt;
    }
  }
  Waiter waiter{deadline, proposal.command.size(), std::move(done), proposal.command};
  if (const Status added = waiters.Add(request_id, waiter); !added.ok()) {
    waiter.Fail(added);
    return std::nullopt;
  }
  return proposal;
}

}  // namespace raftkv::runtime
