// DamagedMember: the rules of a member whose data cannot be read any more
// (docs/design/membership.md, "Damaged members"). To its peers it is no member; it asks the leader
// to be replaced, and when one agrees its data are moved aside and the node starts again, blank.
//
// One object driven by events, as Replica: threads and disks stand around it.
//
// Thread-safety: none; every method on one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "node/runtime/options.h"
#include "node/transport/transport.h"
#include "raftkv/v1/cluster.pb.h"

namespace raftkv::runtime {

class DamagedMember final : public transport::Handler {
 public:
  struct Env {
    const Options* options = nullptr;
    const Clock* clock = nullptr;
    // Gives the member up for good and moves its data aside (rebuild.h).
    std::function<Status()> set_aside;
    // That is done: the node is to be started again. Called once.
    std::function<void()> on_set_aside;
    // Why it is not replaced yet, as the member at this address says.
    std::function<void(const std::string& address, const std::string& reason)> on_waiting;
  };

  // `note` is what is known of it (ReadDamagedMember).
  DamagedMember(v1::MemberNote note, Env env);

  // False: others have to care for it (WhomToAsk). It needs no transport then.
  bool asks() const { return !ask_.empty(); }
  const v1::MemberNote& note() const { return note_; }

  // `transport` has this object as its handler.
  void Start(transport::Transport* transport);
  void OnTick();

  // transport::Handler: nobody's messages are for this node.
  void OnMessages(std::vector<raft::Message>) override {}
  void OnCall(raft::NodeId, v1::PeerCall, transport::ReplyFn) override {}
  void OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, transport::ReplyFn reply) override;
  v1::HelloReply::Verdict Admit(raft::NodeId) override { return v1::HelloReply::BUSY; }
  void TellVoters(v1::HelloReply*) const override {}
  void OnPeerUp(raft::NodeId) override {}
  void OnPeerDown(raft::NodeId) override {}
  void OnPeerVerdict(raft::NodeId, const v1::HelloReply&) override {}
  void OnSnapshotReceived(raft::Message, std::string) override {}
  void OnSnapshotSent(raft::NodeId, bool) override {}

 private:
  v1::Member Self() const;
  void Ask();
  void OnAnswer(const std::string& address, const Result<v1::PeerReply>& reply);

  const v1::MemberNote note_;
  const Env env_;
  std::vector<std::string> ask_;
  transport::Transport* transport_ = nullptr;
  size_t next_ = 0;
  MonotonicTime next_ask_{};
  bool asking_ = false;
  bool set_aside_ = false;
};

}  // namespace raftkv::runtime
