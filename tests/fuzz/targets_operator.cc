#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "operator/kube/api_error.h"
#include "operator/raftkv/node_client.h"
#include "operator/raftkv/quantity.h"
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

// A RaftKV whose spec says what `spec` means.
kube::Object ResourceOf(const op::ClusterSpec& spec) {
  const auto retention = [](op::Retention kept) {
    return kept == op::Retention::kDelete ? "Delete" : "Retain";
  };
  const auto nanos = [](Duration duration) { return std::to_string(duration.count()) + "ns"; };
  return kube::Object(kube::Json(
      {{"spec",
        {{"bootstrap", {{"mode", spec.restore ? "Restore" : "New"}}},
         {"replicas", spec.replicas},
         {"storage",
          {{"size", std::to_string(spec.storage_bytes)},
           {"retention",
            {{"onDelete", retention(spec.on_delete)},
             {"onScaleDown", retention(spec.on_scale_down)}}}}},
         {"update",
          {{"strategy",
            spec.strategy == op::UpdateStrategy::kOnDelete ? "OnDelete" : "RollingUpdate"},
           {"paused", spec.update_paused}}},
         {"replacement",
          {{"enabled", spec.replacement_enabled}, {"after", nanos(spec.replacement_after)}}},
         {"disruptionBudget", {{"enabled", spec.disruption_budget}}},
         {"paused", spec.paused},
         {"progressDeadlineSeconds",
          std::chrono::duration_cast<std::chrono::seconds>(spec.progress_deadline).count()}}}}));
}

// The pointer to the field that a refusal names; it, or what stands in the place of the object that
// it would be in, is in the resource.
std::string PointerToRefused(const kube::Object& resource, const std::string& message) {
  CHECK(message.starts_with("spec.") && message.find(" is '") != std::string::npos,
        "a refusal says which field: " + message);
  std::string pointer = "/" + message.substr(0, message.find(" is '"));
  std::ranges::replace(pointer, '.', '/');
  while (resource.At(pointer).is_null()) {
    pointer.resize(pointer.rfind('/'));
    CHECK(pointer.starts_with("/spec"), "what is refused is there: " + message);
  }
  return pointer;
}

// Whatever is refused is there and wrong: without all that, the rest means what was read of it.
void CheckSpec(kube::Object resource) {
  Status wrong;
  const op::ClusterSpec readable = op::ReadReadable(resource, &wrong);
  CHECK(readable.on_delete != op::Retention::kDelete ||
            resource.String("/spec/storage/retention/onDelete") == "Delete",
        "data are deleted if that is asked for in so many letters");
  CHECK(readable.replicas >= -1 && readable.replicas <= 9, "replicas are within their limits");
  constexpr int kMostFields = 20;
  for (int fields = 0;; ++fields) {
    CHECK(fields < kMostFields, "a field that is gone is refused no more");
    const Result<op::ClusterSpec> spec = op::ReadSpec(resource);
    if (!spec) {
      CHECK(fields > 0 || spec.error() == wrong, "what is named is what is refused");
      resource.Erase(PointerToRefused(resource, spec.error().message()));
      continue;
    }
    CHECK(fields > 0 || (wrong.ok() && readable == *spec), "what can be read is what is meant");
    CHECK(spec->replicas >= 0 && spec->replacement_after >= Duration::zero() &&
              spec->progress_deadline >= Duration::zero(),
          "nothing is negative");
    const Result<op::ClusterSpec> again = op::ReadSpec(ResourceOf(*spec));
    CHECK(again && *again == *spec, "what is written means the same");
    return;
  }
}

// What a status said is said again, and once it is written there is nothing to write.
void CheckStatus(const kube::Object& resource) {
  constexpr int64_t kWallMicros = 1'700'000'000'000'000;
  op::PlannedStatus status;
  status.observed_generation = 7;
  status.cluster = op::ReadCluster(resource);
  status.operation = op::ReadOperation(resource);
  std::map<std::string, std::string> reasons = op::ReadReasons(resource);
  kube::Object written = resource;
  written.Set("/status", op::StatusToJson(status, resource, kWallMicros));
  CHECK(op::ReadCluster(written) == status.cluster, "the cluster is the same");
  CHECK(op::ReadOperation(written) == status.operation, "the operation is the same");
  CHECK(op::ReadReasons(written) == reasons, "conditions that nobody names stay");

  status.conditions = {{.type = "Available", .status = true, .reason = "Serving", .message = "m"}};
  written.Set("/status", op::StatusToJson(status, resource, kWallMicros));
  reasons["Available"] = "Serving";
  CHECK(op::ReadReasons(written) == reasons, "a condition that is named is set, and no other");
  CHECK(op::StatusToJson(status, written, kWallMicros + 5'000'000) == written.At("/status"),
        "what is written need not be written again");
}

void RunResource(std::string_view input) {
  const Result<kube::Object> object = kube::Object::Parse(input);
  if (!object) return;
  CheckSpec(*object);
  CheckStatus(*object);
}

std::vector<std::string> ResourceSeeds() {
  return {
      R"({"apiVersion":"raftkv.dev/v1alpha1","kind":"RaftKV","metadata":{"name":"a","namespace":"n",)"
      R"("uid":"u","generation":3},"spec":{"replicas":3,"storage":{"size":"10Gi"},)"
      R"("replacement":{"after":"5m"},"progressDeadlineSeconds":600},)"
      R"("status":{"clusterID":"00000000000000c1","operation":{"type":"Scaling"},)"
      R"("conditions":[{"type":"Available","status":"True","reason":"Serving"}]}})",
      R"({"metadata":{"name":"c"},"spec":{"replicas":0,"bootstrap":{"mode":"Restore"},)"
      R"("storage":{"retention":{"onDelete":"Delete","onScaleDown":"Retain"}},"image":"i",)"
      R"("update":{"strategy":"OnDelete","paused":true},"replacement":{"enabled":false},)"
      R"("disruptionBudget":{"enabled":false},"paused":true,"version":"1"},)"
      R"("status":{"operation":{"type":"Replace","step":"Leave","since":"2026-01-02T03:04:05Z",)"
      R"("stepSince":"2026-01-02T03:04:06Z","slot":0,"oldMember":"00000000000000a1",)"
      R"("newMember":"00000000000000b2"}}})",
      R"({"spec":{"storage":{"size":"10Gi","retention":5},"replicas":"3"},)"
      R"("status":{"operation":{"type":"Bootstrap","target":3,"clusterID":"00000000000000c1",)"
      R"("seed":"00000000000000a1"}}})",
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

// A Status object that says the same.
kube::Object StatusOf(const kube::ApiError& error) {
  static const std::map<kube::Reason, const char*> kReasons = {
      {kube::Reason::kAlreadyExists, "AlreadyExists"},
      {kube::Reason::kExpired, "Expired"},
      {kube::Reason::kTimeout, "Timeout"}};
  kube::Json causes = kube::Json::array();
  for (const kube::Cause& cause : error.causes) {
    causes.push_back(
        {{"reason", cause.reason}, {"field", cause.field}, {"message", cause.message}});
  }
  const auto reason = kReasons.find(error.reason);
  return kube::Object(kube::Json(
      {{"kind", "Status"},
       {"message", error.message},
       {"reason", reason == kReasons.end() ? "" : reason->second},
       {"code", error.http_status},
       {"details",
        {{"causes", causes},
         {"retryAfterSeconds",
          std::chrono::duration_cast<std::chrono::seconds>(error.retry_after).count()}}}}));
}

void CheckError(const kube::ApiError& error) {
  CHECK(error.http_status == 0 || (error.http_status >= 100 && error.http_status <= 599),
        "a code is one of HTTP's, or there is none");
  CHECK(error.retry_after >= Duration::zero() && error.retry_after <= std::chrono::hours(24),
        "nobody waits for more than a day");
  CHECK(!error.message.empty(), "an error says what is wrong");
  const Status status = error.ToStatus();
  CHECK(!status.ok() && status.message().find(error.message) != std::string::npos &&
            error.ToString().find(error.message) != std::string::npos,
        "what was said is passed on");
  CHECK(!error.IsTransient() || !error.IsRefusal(),
        "what is refused as it is is not worth the same call again");
  CHECK(!error.SaysGone() || error.http_status == 404, "only 404 says that an object is gone");
  const kube::ApiError again = kube::ErrorFromStatus(StatusOf(error));
  CHECK(again.reason == error.reason && again.http_status == error.http_status &&
            again.message == error.message && again.retry_after == error.retry_after &&
            again.ToString() == error.ToString() && again.ToStatus() == status &&
            again.IsOfAWebhook() == error.IsOfAWebhook(),
        "the same words mean the same");
}

// What the API server, or a proxy before it, says to a call that failed.
void RunApiErrors(std::string_view input) {
  if (input.empty()) return;
  constexpr int kStatuses[] = {400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504, 302};
  const auto number = static_cast<unsigned char>(input.front());
  input.remove_prefix(1);
  const int http_status = kStatuses[number % std::size(kStatuses)];
  const std::chrono::seconds retry_after(number);
  const kube::ApiError error = kube::ErrorFromAnswer(http_status, input, retry_after);
  CHECK(error.http_status == http_status, "the status is the one of the answer");
  CHECK(error.retry_after >= retry_after, "no wait is shorter than the header wants");
  CHECK(error.message.size() <= input.size() + 100, "a message is not longer than its cause");
  CheckError(error);
  if (const Result<kube::Object> object = kube::Object::Parse(input)) {
    CheckError(kube::ErrorFromStatus(*object));
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
