#include "operator/raftkv/resource.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "operator/kube/conditions.h"
#include "operator/kube/timing.h"
#include "operator/raftkv/quantity.h"

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

struct Unit {
  std::string_view text;
  double factor;
};
constexpr std::array<Unit, 7> kDurationUnits = {
    {{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};

std::optional<double> FactorOf(std::string_view text) {
  for (const Unit& unit : kDurationUnits) {
    if (unit.text == text) return unit.factor;
  }
  return std::nullopt;
}

// Takes the longest decimal number off the front.
std::optional<double> TakeNumber(std::string_view& text) {
  double value = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

int64_t Seconds(const Object& object, std::string_view pointer) {
  auto micros = kube::ParseTime(object.String(pointer));
  return micros ? *micros / kMicros : 0;
}

uint64_t Id(const Object& object, std::string_view pointer) {
  return ParseHexId(object.String(pointer)).value_or(0);
}

// Reads fields of a spec one by one, and keeps the first that cannot be understood.
class FieldReader {
 public:
  FieldReader(const Object& resource, Status* wrong) : resource_(resource), wrong_(wrong) {}

  bool Bool(const char* field, bool otherwise, bool wrong) {
    const Json& value = At(field);
    if (value.is_boolean()) return value.get<bool>();
    if (value.is_null()) return otherwise;
    Refuse(field, value, "true or false");
    return wrong;
  }
  // Nobody here needs the text; but it has to be one.
  void Text(const char* field) {
    const Json& value = At(field);
    if (!value.is_null() && !value.is_string()) Refuse(field, value, "text");
  }
  int64_t Int(const char* field, int64_t otherwise, int64_t most, int64_t wrong) {
    const Json& value = At(field);
    if (value.is_null()) return otherwise;
    auto number = value.is_number() ? resource_.Int(std::string("/spec/") + field) : std::nullopt;
    if (number && *number >= 0 && *number <= most) return *number;
    Refuse(field, value, "a number from 0 to " + std::to_string(most));
    return wrong;
  }
  // One of two words; the first one is the default.
  bool IsSecond(const char* field, std::string_view first, std::string_view second, bool wrong) {
    const Json& value = At(field);
    if (value.is_null() || value == first || value == "") return false;
    if (value == second) return true;
    Refuse(field, value, std::string(first) + " or " + std::string(second));
    return wrong;
  }
  template <typename T>
  T Parsed(const char* field, std::optional<T> (*parse)(std::string_view), T otherwise, T wrong,
           const char* expected) {
    const Json& value = At(field);
    if (value.is_null() || value == "") return otherwise;
    auto parsed = value.is_string() ? parse(value.get<std::string>()) : std::nullopt;
    if (parsed) return *parsed;
    Refuse(field, value, expected);
    return wrong;
  }

 private:
  // What stands where an object is expected is the value of every field in it.
  const Json& At(const char* field) const {
    const std::string pointer = std::string("/spec/") + field;
    for (size_t slash = pointer.find('/', 6); slash != std::string::npos;
         slash = pointer.find('/', slash + 1)) {
      const Json& outer = resource_.At(pointer.substr(0, slash));
      if (!outer.is_null() && !outer.is_object()) return outer;
    }
    return resource_.At(pointer);
  }

  void Refuse(std::string field, const Json& value, const std::string& expected) {
    if (!wrong_->ok()) return;
    std::ranges::replace(field, '/', '.');
    *wrong_ = {Code::kInvalidArgument,
               "spec." + field + " is '" +
                   (value.is_string() ? value.get<std::string>() : value.dump()) +
                   "', which is not " + expected};
  }

  const Object& resource_;
  Status* const wrong_;
};

}  // namespace

ClusterSpec ReadReadable(const Object& resource, Status* wrong) {
  FieldReader reader(resource, wrong);
  ClusterSpec spec;
  spec.restore = reader.IsSecond("bootstrap/mode", "New", "Restore", true);
  spec.replicas = static_cast<int>(reader.Int("replicas", spec.replicas, 9, -1));
  // Claims are not raised to a size that nobody knows.
  spec.storage_bytes = reader.Parsed<uint64_t>(
      "storage/size", ParseQuantity, *ParseQuantity(kDefaultStorage), 0, "a quantity such as 10Gi");

  // Whatever cannot be read keeps the data, and changes nothing.
  spec.on_delete = reader.IsSecond("storage/retention/onDelete", "Retain", "Delete", false)
                       ? Retention::kDelete
                       : Retention::kRetain;
  spec.on_scale_down = reader.IsSecond("storage/retention/onScaleDown", "Delete", "Retain", true)
                           ? Retention::kRetain
                           : Retention::kDelete;

  spec.strategy = reader.IsSecond("update/strategy", "RollingUpdate", "OnDelete", true)
                      ? UpdateStrategy::kOnDelete
                      : UpdateStrategy::kRollingUpdate;
  spec.update_paused = reader.Bool("update/paused", false, true);
  spec.replacement_enabled = reader.Bool("replacement/enabled", true, false);
  const Duration after = spec.replacement_after;
  // Nobody is given up sooner than was meant.
  spec.replacement_after = reader.Parsed<Duration>("replacement/after", ParseDuration, after,
                                                   Duration::max(), "a duration such as 5m");
  if (spec.replacement_after == Duration::max()) {
    spec.replacement_after = after;
    spec.replacement_enabled = false;
  }
  spec.disruption_budget = reader.Bool("disruptionBudget/enabled", true, true);
  reader.Text("image");
  reader.Text("version");
  spec.paused = reader.Bool("paused", false, true);
  const int64_t deadline_s =
      std::chrono::duration_cast<std::chrono::seconds>(spec.progress_deadline).count();
  spec.progress_deadline = std::chrono::seconds(
      reader.Int("progressDeadlineSeconds", deadline_s, INT32_MAX, deadline_s));
  return spec;
}

Result<ClusterSpec> ReadSpec(const Object& resource) {
  Status wrong;
  ClusterSpec spec = ReadReadable(resource, &wrong);
  if (!wrong.ok()) return Error(std::move(wrong));
  return spec;
}

namespace {

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
  Json out = {{"slot", member.slot}, {"role", member.role}, {"healthy", member.healthy}};
  if (member.lag) out["lag"] = *member.lag;
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

std::optional<Duration> ParseDuration(std::string_view text) {
  if (text == "0") return Duration::zero();
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    auto number = TakeNumber(text);
    if (!number || *number < 0) return std::nullopt;
    size_t unit = text.find_first_of("0123456789.");
    auto factor = FactorOf(text.substr(0, unit));
    if (!factor) return std::nullopt;
    text.remove_prefix(std::min(unit, text.size()));
    total += *number * *factor;
  }
  if (total >= 9e18) return std::nullopt;
  return Duration(std::llround(total));
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

// One that is none is nobody's, and counts as gone.
std::vector<MemberId> ReadInitializing(const Object& resource) {
  std::vector<MemberId> out;
  const Json& ids = resource.At("/status/initializing");
  if (!ids.is_array()) return out;
  for (const Json& id : ids) {
    out.push_back(id.is_string() ? ParseHexId(id.get<std::string>()).value_or(0) : 0);
  }
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

std::map<MemberId, uint64_t> ReadLags(const Object& resource) {
  std::map<MemberId, uint64_t> out;
  const Json& members = resource.At("/status/members");
  if (!members.is_array()) return out;
  for (const Json& json : members) {
    const Object member(json);
    const std::optional<int64_t> lag = member.Int("/lag");
    if (lag && *lag >= 0) out[Id(member, "/memberID")] = static_cast<uint64_t>(*lag);
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
  for (const MemberId id : status.initializing) out["initializing"].push_back(HexId(id));
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
