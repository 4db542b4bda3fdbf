#include "node/runtime/damaged_member.h"

#include <utility>

#include "node/runtime/rebuild.h"

namespace raftkv::runtime {
namespace {

constexpr Duration kAskEvery = std::chrono::seconds(1);

}  // namespace

DamagedMember::DamagedMember(v1::MemberNote note, Env env)
    : note_(std::move(note)), env_(std::move(env)), ask_(WhomToAsk(*env_.options, note_)) {}

void DamagedMember::Start(transport::Transport* transport) {
  transport_ = transport;
  transport_->SetIdentity(
      {note_.cluster_id(), raft::NodeId(note_.member_id()), env_.options->name});
}

void DamagedMember::OnTick() {
  if (asks() && !asking_ && !set_aside_ && env_.clock->Now() >= next_ask_) Ask();
}

v1::Member DamagedMember::Self() const {
  v1::Member self;
  self.set_id(note_.member_id());
  self.set_name(env_.options->name);
  self.set_peer_address(env_.options->peer_advertise);
  self.set_client_address(env_.options->client_advertise);
  return self;
}

// A new cluster must not be made of this node, and nobody may take it for blank.
void DamagedMember::OnStrangerCall(const v1::Hello&, v1::PeerCall call, transport::ReplyFn reply) {
  v1::PeerReply answer;
  if (call.has_who_are_you()) {
    answer.mutable_i_am()->set_cluster_id(note_.cluster_id());
    *answer.mutable_i_am()->mutable_member() = Self();
  } else {
    answer.set_code(static_cast<uint32_t>(Code::kUnavailable));
    answer.set_message("the data of this member are damaged");
  }
  reply(std::move(answer));
}

// Only when a leader has said that it would do it are the data moved: while more members are
// damaged than the cluster can spare, there is no leader, and everything stays where it is.
void DamagedMember::Ask() {
  const std::string address = ask_[next_++ % ask_.size()];
  v1::PeerCall call;
  *call.mutable_join() = Self();
  call.set_replaces(note_.member_id());
  call.set_check_only(true);
  asking_ = true;
  transport_->CallAddress(address, std::move(call), [this, address](Result<v1::PeerReply> reply) {
    asking_ = false;
    next_ask_ = env_.clock->Now() + kAskEvery;
    OnAnswer(address, reply);
  });
}

void DamagedMember::OnAnswer(const std::string& address, const Result<v1::PeerReply>& reply) {
  if (!reply || reply->code() != 0 || !reply->has_join()) {
    if (reply && reply->join().cluster_id() == note_.cluster_id()) {
      LearnWhomToAsk(*env_.options, reply->join(), &ask_);
    }
    return env_.on_waiting(address, reply ? reply->message() : reply.error().message());
  }
  if (reply->join().cluster_id() != note_.cluster_id()) {
    return env_.on_waiting(address, "it belongs to another cluster");
  }
  if (const Status moved = env_.set_aside(); !moved.ok())
    return env_.on_waiting(address, moved.message());
  set_aside_ = true;
  env_.on_set_aside();
}

}  // namespace raftkv::runtime
