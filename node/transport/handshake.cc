#include "node/transport/handshake.h"

namespace raftkv::transport {
namespace {

bool OpenToStrangers(const v1::PeerCall& call) {
  return call.has_join() || call.has_who_are_you() || call.has_adopt();
}

}  // namespace

v1::Hello MakeHello(const LocalIdentity& identity, v1::Hello::Purpose purpose,
                    raft::NodeId target) {
  v1::Hello hello;
  hello.set_protocol_version(kProtocolVersion);
  hello.set_purpose(purpose);
  hello.set_cluster_id(identity.cluster_id);
  hello.set_member_id(identity.member_id.value);
  hello.set_target_id(target.value);
  return hello;
}

v1::HelloReply JudgeHello(const LocalIdentity& us, const v1::Hello& hello,
                          std::optional<raft::NodeId> receiving_from, Handler& handler) {
  v1::HelloReply reply;
  reply.set_protocol_version(kProtocolVersion);
  reply.set_cluster_id(us.cluster_id);
  reply.set_member_id(us.member_id.value);
  const auto refuse = [&reply](v1::HelloReply::Verdict verdict, const char* why) {
    reply.set_verdict(verdict);
    reply.set_message(why);
    return reply;
  };
  if (hello.protocol_version() != kProtocolVersion ||
      !v1::Hello::Purpose_IsValid(hello.purpose())) {
    return refuse(v1::HelloReply::WRONG_VERSION, "this node speaks another protocol version");
  }
  const bool call = hello.purpose() == v1::Hello::CALL;
  const bool right_target =
      hello.target_id() == us.member_id.value || (call && hello.target_id() == 0);
  if (!call) {
    if (us.cluster_id == 0) return refuse(v1::HelloReply::BLANK, "this node is blank");
    if (hello.cluster_id() != us.cluster_id) {
      return refuse(v1::HelloReply::WRONG_CLUSTER, "this node belongs to another cluster");
    }
  }
  if (!right_target) return refuse(v1::HelloReply::WRONG_TARGET, "another member listens here");
  if (call) return reply;
  const raft::NodeId from(hello.member_id());
  if (from == us.member_id) {
    return refuse(v1::HelloReply::NOT_A_MEMBER, "the dialer carries this member's own id");
  }
  const v1::HelloReply::Verdict verdict = handler.Admit(from);
  handler.TellVoters(&reply);
  if (verdict == v1::HelloReply::REMOVED) {
    return refuse(verdict, "the dialer was removed from the cluster");
  }
  if (verdict != v1::HelloReply::OK) return refuse(verdict, "the dialer is no member here");
  if (hello.purpose() == v1::Hello::SNAPSHOT && receiving_from && *receiving_from != from) {
    return refuse(v1::HelloReply::BUSY, "a snapshot is being received from another member");
  }
  return reply;
}

Status JudgeStrangerCall(const LocalIdentity& us, const v1::Hello& hello,
                         const v1::PeerCall& call) {
  if (!OpenToStrangers(call)) {
    return {Code::kInvalidArgument, "this call needs the stream of a member"};
  }
  if (!call.has_who_are_you() && hello.cluster_id() != 0 && us.cluster_id != 0 &&
      hello.cluster_id() != us.cluster_id) {
    return {Code::kFailedPrecondition, "this node belongs to another cluster"};
  }
  return Status::Ok();
}

}  // namespace raftkv::transport
