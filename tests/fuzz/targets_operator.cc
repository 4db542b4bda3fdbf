#include <nlohmann/json.hpp>

#include "base/check.h"
#include "operator/kube/api_error.h"
#include "operator/raftkv/node_client.h"
#include "operator/raftkv/resource.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

// Lines are quantities, or durations: both are read of each.
void RunQuantities(std::string_view input) {
  while (!input.empty()) {
    const std::string_view line = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(line.size() + 1, input.size()));
    if (const std::optional<uint64_t> bytes = op::ParseQuantity(line)) {
      CHECK(*bytes < uint64_t{1} << 63, "a quantity fits into what Kubernetes has for it");
      CHECK(op::ParseQuantity(std::to_string(*bytes)) == bytes, "the same in plain bytes");
    }
    if (const std::optional<Duration> duration = op::ParseDuration(line)) {
      CHECK(*duration >= Duration::zero(), "no duration is negative");
    }
  }
}

std::vector<std::string> QuantitySeeds() {
  return {"10Gi", "1500M\n1e9\n0.5Ti", "90s\n1h30m\n1.5h", "9223372036854775807\n1E\n8Ei", "1ms"};
}

void RunResource(std::string_view input) {
  const Result<kube::Object> object = kube::Object::Parse(input);
  if (!object) return;
  const Result<op::ClusterSpec> spec = op::ReadSpec(*object);
  if (!spec) CHECK(!spec.error().message().empty(), "a refusal says which field");
  (void)op::ReadCluster(*object);
  (void)op::ReadOperation(*object);
  (void)op::ReadReasons(*object);
  const kube::Json status = op::StatusToJson({}, *object, 1);
  CHECK(status.is_object(), "a status can be written whatever was there");
}

std::vector<std::string> ResourceSeeds() {
  return {
      R"({"apiVersion":"raftkv.dev/v1alpha1","kind":"RaftKV","metadata":{"name":"a","namespace":"n",)"
      R"("uid":"u","generation":3},"spec":{"replicas":3,"storage":{"size":"10Gi"},)"
      R"("replacement":{"after":"5m"},"progressDeadlineSeconds":600},)"
      R"("status":{"clusterID":"00000000000000c1","operation":{"type":"Scaling"},)"
      R"("conditions":[{"type":"Available","status":"True","reason":"Serving"}]}})",
      R"({"apiVersion":"raftkv.dev/v1alpha1","kind":"RaftKV","metadata":{"name":"b"},)"
      R"("spec":{"replicas":5,"storage":{"size":"1.5Ti","deletionPolicy":"Delete"}}})"};
}

// What a node says of itself.
void RunNodeStatus(std::string_view input) {
  const Result<op::NodeStatus> status = op::ParseNodeStatus(input);
  if (!status) {
    CHECK(!status.error().message().empty(), "a refusal says why");
    return;
  }
  (void)op::JoinMemberships({*status, *status}, status->report.cluster);
}

std::vector<std::string> NodeStatusSeeds() {
  return {R"({"member_id":"00000000000000a1","role":"LEADER","term":3,"commit_index":9,)"
          R"("cluster":{"cluster_id":"00000000000000c1","config_index":1,"epoch":2,)"
          R"("conf":{"voters":["00000000000000a1","00000000000000b2"],"learners":[]},)"
          R"("members":[{"id":"00000000000000a1","name":"a","peer_address":"h:1"},)"
          R"({"id":"00000000000000b2","name":"b","peer_address":"i:1"}],"removed_ids":[]},)"
          R"("progress":[{"id":"00000000000000b2","match":7,"recently_active":true}]})",
          R"({"member_id":"0000000000000000","role":"DAMAGED"})",
          R"({"member_id":"00000000000000a1","role":"BLANK"})"};
}

// What the API server, or a proxy before it, says to a call that failed.
void RunApiErrors(std::string_view input) {
  if (input.empty()) return;
  constexpr int kStatuses[] = {400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504, 200};
  const auto number = static_cast<unsigned char>(input.front());
  input.remove_prefix(1);
  const kube::ApiError error = kube::ErrorFromAnswer(kStatuses[number % std::size(kStatuses)],
                                                     input, std::chrono::seconds(number));
  CHECK(!error.ToString().empty() && !error.ToStatus().ok(), "an error is one, and says which");
  if (const Result<kube::Object> object = kube::Object::Parse(input)) {
    CHECK(!kube::ErrorFromStatus(*object).ToString().empty());
  }
}

std::vector<std::string> ApiErrorSeeds() {
  const std::string status =
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"m",)"
      R"("reason":"Invalid","details":{"name":"n","retryAfterSeconds":3,)"
      R"("causes":[{"reason":"FieldValueInvalid","message":"c","field":"spec.x"}]},"code":422})";
  return {"\x06" + status, "\x09<html>bad gateway</html>", "\x05" + status};
}

}  // namespace

std::vector<Target> OperatorTargets() {
  return {{"quantities", RunQuantities, QuantitySeeds},
          {"raftkv_resource", RunResource, ResourceSeeds},
          {"node_status", RunNodeStatus, NodeStatusSeeds},
          {"api_errors", RunApiErrors, ApiErrorSeeds}};
}

}  // namespace raftkv::fuzz
