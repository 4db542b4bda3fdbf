#include "operator/raftkv/resource.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "operator/kube/conditions.h"
#include "operator/kube/timing.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;

constexpr int64_t kMicros = 1'000'000;

constexpr std::array<std::pair<Operation::Type, std::string_view>, 8> kOperations = {{
    {Operation::Type::kBootstrap, "Bootstrap"},
    {Operation::Type::kScale, "Scale"},
    {Operation::Type::kReplace, "Replace"},
    {Operation::Type::kRoll, "Roll"},
    {Operation::Type::kHibernate, "Hibernate"},
    {Operation::Type::kWake, "Wake"},
    {Operation::Type::kResize, "Resize"},
    {Operation::Type::kDelete, "Delete"},
}};

struct Suffix {
  std::string_view text;
  double factor;
};
constexpr std::array<Suffix, 15> kQuantitySuffixes = {{{"", 1},
                                                       {"m", 1e-3},
                                                       {"k", 1e3},
                                                       {"M", 1e6},
                                                       {"G", 1e9},
                                                       {"T", 1e12},
                                                       {"P", 1e15},
                                                       {"E", 1e18},
                                                       {"Ki", 1024.0},
                                                       {"Mi", 1048576.0},
                                                       {"Gi", 1073741824.0},
                                                       {"Ti", 1099511627776.0},
                                                       {"Pi", 1125899906842624.0},
                                                       {"Ei", 1152921504606846976.0},
                                                       {"u", 1e-6}}};
constexpr std::array<Suffix, 7> kDurationUnits = {
    {{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};

template <size_t N>
std::optional<double> FactorOf(const std::array<Suffix, N>& table, std::string_view text) {
  for (const Suffix& suffix : table) {
    if (suffix.text == text) return suffix.factor;
  }
  return std::nullopt;
}

// Takes the longest decimal number off the front.
std::optional<double> TakeNumber(std::string_view& text, std::chars_format format) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, format);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

Status Malformed(std::string_view field, std::string_view value, std::string_view expected) {
  return {Code::kInvalidArgument, std::string(field) + " is '" + std::string(value) +
                                      "', which is not " + std::string(expected)};
}

bool BoolOr(const Object& object, std::string_view pointer, bool otherwise) {
  const Json& value = object.At(pointer);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

int64_t Seconds(const Object& object, std::string_view pointer) {
  auto micros = kube::ParseTime(object.String(pointer));
  return micros ? *micros / kMicros : 0;
}

uint64_t Id(const Object& object, std::string_view pointer) {
  return ParseHexId(object.String(pointer)).value_or(0);
}

Json OperationToJson(const Operation& operation) {
  Json out = {{"type", std::string(OperationName(operation.type))},
              {"step", operation.step},
              {"since", kube::FormatTime(operation.since_s * kMicros)},
              {"stepSince", kube::FormatTime(operation.step_since_s * kMicros)}};
  bool has_target = operation.type == Operation::Type::kScale ||
                    operation.type == Operation::Type::kBootstrap || operation.target != 0;
  if (has_target) out["target"] = operation.target;
  if (operation.cluster != 0) out["clusterID"] = HexId(operation.cluster);
  if (operation.seed != 0) out["seed"] = HexId(operation.seed);
  if (operation.slot >= 0) out["slot"] = operation.slot;
  if (operation.old_member != 0) out["oldMember"] = HexId(operation.old_member);
  if (operation.new_member != 0) out["newMember"] = HexId(operation.new_member);
  return out;
}

Json MemberToJson(const MemberStatus& member) {
  Json out = {{"role", member.role}, {"healthy", member.healthy}, {"lag", member.lag}};
  if (member.slot >= 0) out["slot"] = member.slot;
  if (member.member != 0) out["memberID"] = HexId(member.member);
  if (!member.version.empty()) out["version"] = member.version;
  if (!member.pod.empty()) out["pod"] = member.pod;
  if (!member.claim_uid.empty()) out["claimUID"] = member.claim_uid;
  return out;
}

}  // namespace

std::string_view OperationName(Operation::Type type) {
  for (const auto& [known, name] : kOperations) {
    if (known == type) return name;
  }
  return "None";
}

std::string PodSelector(std::string_view name) {
  return "app.kubernetes.io/name=raftkv,app.kubernetes.io/instance=" + std::string(name);
}

std::optional<uint64_t> ParseQuantity(std::string_view text) {
  auto number = TakeNumber(text, std::chars_format::general);
  if (!number || *number < 0) return std::nullopt;
  auto factor = FactorOf(kQuantitySuffixes, text);
  if (!factor) return std::nullopt;
  double value = std::ceil(*number * *factor);
  if (value >= 9223372036854775808.0) return std::nullopt;
  return static_cast<uint64_t>(value);
}

std::optional<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration::zero();
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    auto number = TakeNumber(text, std::chars_format::fixed);
    if (!number || *number < 0) return std::nullopt;
    size_t unit = text.find_first_of("0123456789.");
    auto factor = FactorOf(kDurationUnits, text.substr(0, unit));
    if (!factor) return std::nullopt;
    text.remove_prefix(std::min(unit, text.size()));
    total += *number * *factor;
  }
  if (total >= 9e18) return std::nullopt;
  return Duration(std::llround(total));
}

Result<ClusterSpec> ReadSpec(const Object& resource) {
  ClusterSpec spec;
  spec.restore = resource.String("/spec/bootstrap/mode") == "Restore";
  spec.replicas = static_cast<int>(resource.Int("/spec/replicas").value_or(spec.replicas));
  if (spec.replicas < 0 || spec.replicas > 9) {
    return Error(Malformed("spec.replicas", std::to_string(spec.replicas), "0 to 9"));
  }
  std::string_view size = resource.String("/spec/storage/size");
  if (size.empty()) size = kDefaultStorage;
  auto bytes = ParseQuantity(size);
  if (!bytes) return Error(Malformed("spec.storage.size", size, "a quantity such as 10Gi"));
  spec.storage_bytes = *bytes;

  // Whatever is not the word that destroys keeps the data.
  spec.on_delete = resource.String("/spec/storage/retention/onDelete") == "Delete"
                       ? Retention::kDelete
                       : Retention::kRetain;
  std::string_view down = resource.String("/spec/storage/retention/onScaleDown");
  spec.on_scale_down = down.empty() || down == "Delete" ? Retention::kDelete : Retention::kRetain;

  if (resource.String("/spec/update/strategy") == "OnDelete") {
    spec.strategy = UpdateStrategy::kOnDelete;
  }
  spec.update_paused = resource.Bool("/spec/update/paused");
  spec.replacement_enabled = BoolOr(resource, "/spec/replacement/enabled", true);
  if (std::string_view after = resource.String("/spec/replacement/after"); !after.empty()) {
    auto duration = ParseDuration(after);
    if (!duration) {
      return Error(Malformed("spec.replacement.after", after, "a duration such as 5m"));
    }
    spec.replacement_after = *duration;
  }
  spec.disruption_budget = BoolOr(resource, "/spec/disruptionBudget/enabled", true);
  spec.paused = resource.Bool("/spec/paused");
  if (auto seconds = resource.Int("/spec/progressDeadlineSeconds")) {
    spec.progress_deadline = std::chrono::seconds(*seconds);
  }
  return spec;
}

ClusterId ReadCluster(const Object& resource) { return Id(resource, "/status/clusterID"); }

Operation ReadOperation(const Object& resource) {
  Operation out;
  std::string_view name = resource.String("/status/operation/type");
  for (const auto& [type, known] : kOperations) {
    if (known == name) out.type = type;
  }
  if (out.type == Operation::Type::kNone) return out;
  out.step = resource.String("/status/operation/step");
  out.since_s = Seconds(resource, "/status/operation/since");
  out.step_since_s = Seconds(resource, "/status/operation/stepSince");
  out.target = static_cast<int>(resource.Int("/status/operation/target").value_or(0));
  out.cluster = Id(resource, "/status/operation/clusterID");
  out.seed = Id(resource, "/status/operation/seed");
  out.slot = static_cast<int>(resource.Int("/status/operation/slot").value_or(-1));
  out.old_member = Id(resource, "/status/operation/oldMember");
  out.new_member = Id(resource, "/status/operation/newMember");
  return out;
}

std::map<std::string, std::string> ReadReasons(const Object& resource) {
  std::map<std::string, std::string> out;
  const Json& conditions = resource.At("/status/conditions");
  if (!conditions.is_array()) return out;
  for (const Json& json : conditions) {
    Object condition(json);
    out[std::string(condition.String("/type"))] = condition.String("/reason");
  }
  return out;
}

Json StatusToJson(const PlannedStatus& status, const Object& resource, int64_t wall_micros) {
  Json out = {{"observedGeneration", status.observed_generation},
              {"configIndex", status.config_index},
              {"joint", status.joint},
              {"leader", status.leader},
              {"voters", status.voters},
              {"learners", status.learners},
              {"ready", status.ready},
              {"version", status.version},
              {"phase", status.phase},
              {"selector", PodSelector(resource.name())},
              {"members", Json::array()}};
  if (status.cluster != 0) out["clusterID"] = HexId(status.cluster);
  if (status.operation.type != Operation::Type::kNone) {
    out["operation"] = OperationToJson(status.operation);
  }
  for (const MemberStatus& member : status.members) {
    out["members"].push_back(MemberToJson(member));
  }
  Json conditions = resource.At("/status/conditions");
  if (!conditions.is_array()) conditions = Json::array();
  for (const PlannedCondition& condition : status.conditions) {
    kube::SetCondition(conditions,
                       {.type = condition.type,
                        .status = condition.status ? "True" : "False",
                        .reason = condition.reason,
                        .message = condition.message,
                        .observed_generation = status.observed_generation},
                       wall_micros);
  }
  out["conditions"] = std::move(conditions);
  return out;
}

}  // namespace raftkv::op
