// Leadership transfer (thesis, section 3.10): no new proposals, bring the target up to date, tell
// it to campaign at once. The transfer is given up after an election timeout (see TickHeartbeat).
#include "node/raft/core_impl.h"

namespace raftkv::raft {

void Core::Impl::On(Leader& leader, TransferLeader&, Message& m) {
  const NodeId target = m.from;
  Progress* progress = ProgressOf(target);
  if (progress == nullptr) return;
  if (progress->is_learner) {
    report_.Debug(id(), " is learner. Ignored transferring leadership");
    return;
  }
  if (leader.transferee == target) {
    report_.Info(id(), " [term ", term_, "] transfer leadership to ", target,
                 " is in progress, ignores request to same node ", target);
    return;
  }
  if (leader.transferee != kNone) {
    report_.Info(id(), " [term ", term_, "] abort previous transferring leadership to ",
                 std::exchange(leader.transferee, kNone));
  }
  if (target == id()) {
    report_.Debug(id(), " is already leader. Ignored transferring leadership to self");
    return;
  }
  report_.Info(id(), " [term ", term_, "] starts to transfer leadership to ", target);
  election_elapsed_ = 0;  // it has one election timeout from now
  leader.transferee = target;
  if (progress->match == log_.last_index()) {
    Send(target, TimeoutNow{});
    report_.Info(id(), " sends MsgTimeoutNow to ", target, " immediately as ", target,
                 " already has up-to-date log");
  } else {
    SendAppend(target, *progress);
  }
}

}  // namespace raftkv::raft
