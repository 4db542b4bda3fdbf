#include "ctl/admin.h"

#include <utility>

namespace raftkv::client {
namespace {

constexpr const char* kProtobuf = "application/protobuf";

template <typename Message>
Result<Message> Parse(const Answer& answer) {
  if (answer.status >= 400) return Error(ProblemOf(answer));
  Message message;
  if (answer.status != 200 || answer.Header("content-type") != kProtobuf ||
      !message.ParseFromString(answer.body))
    return Error(Code::kInternal, "unexpected answer " + std::to_string(answer.status) + " from " +
                                      answer.endpoint.ToString() +
                                      ": is it the admin listener of a raftkv node?");
  return message;
}

Request PostOf(const std::string& target, const google::protobuf::MessageLite& body) {
  return Request{.method = "POST",
                 .target = target,
                 .body = body.SerializeAsString(),
                 .headers = {{"Content-Type", kProtobuf}, {"Accept", kProtobuf}}};
}

Request StatusRequest() {
  return Request{.method = "GET",
                 .target = "/admin/status",
                 .body = {},
                 .headers = {{"Accept", kProtobuf}},
                 .safe = true};
}

}  // namespace

Admin::Admin(std::vector<Endpoint> endpoints, const Http::Options& options)
    : http_(std::move(endpoints), options) {}

template <typename Response>
Result<Response> Admin::Post(const std::string& target, const google::protobuf::MessageLite& body) {
  ASSIGN_OR_RETURN(Answer answer, http_.Send(PostOf(target, body)));
  return Parse<Response>(answer);
}

Result<v1::StatusResponse> Admin::Status() {
  ASSIGN_OR_RETURN(Answer answer, http_.Send(StatusRequest()));
  return Parse<v1::StatusResponse>(answer);
}

Result<v1::StatusResponse> Admin::StatusOf(const Endpoint& endpoint) {
  ASSIGN_OR_RETURN(Answer answer, http_.SendTo(endpoint, StatusRequest()));
  return Parse<v1::StatusResponse>(answer);
}

Result<v1::InitializeResponse> Admin::Initialize(const v1::InitializeRequest& request) {
  return Post<v1::InitializeResponse>("/admin/initialize", request);
}

Result<v1::JoinResponse> Admin::Join(const v1::JoinRequest& request) {
  return Post<v1::JoinResponse>("/admin/join", request);
}

Result<v1::ChangeMembershipResponse> Admin::ChangeMembership(
    const v1::ChangeMembershipRequest& request) {
  return Post<v1::ChangeMembershipResponse>("/admin/membership", request);
}

Result<v1::TransferLeadershipResponse> Admin::TransferLeadership(
    const v1::TransferLeadershipRequest& request) {
  return Post<v1::TransferLeadershipResponse>("/admin/transfer", request);
}

Result<v1::CompactResponse> Admin::Compact(const v1::CompactRequest& request) {
  return Post<v1::CompactResponse>("/admin/compact", request);
}

Result<v1::SnapshotResponse> Admin::TakeSnapshot(const Endpoint& endpoint) {
  ASSIGN_OR_RETURN(Answer answer,
                   http_.SendTo(endpoint, PostOf("/admin/snapshot", v1::SnapshotRequest())));
  return Parse<v1::SnapshotResponse>(answer);
}

raftkv::Status Admin::SaveSnapshot(const Endpoint& endpoint,
                                   const std::function<raftkv::Status(std::string_view)>& receive) {
  return http_.Stream(endpoint, "/admin/snapshot/file", receive);
}

Result<v1::RestoreResponse> Admin::Restore(const Endpoint& endpoint, uint64_t offset,
                                           std::string_view piece) {
  ASSIGN_OR_RETURN(
      Answer answer,
      http_.SendTo(endpoint,
                   Request{.method = "POST",
                           .target = "/admin/restore?offset=" + std::to_string(offset),
                           .body = std::string(piece),
                           .headers = {{"Content-Type", "application/vnd.raftkv.snapshot"},
                                       {"Accept", kProtobuf}}}));
  return Parse<v1::RestoreResponse>(answer);
}

}  // namespace raftkv::client
