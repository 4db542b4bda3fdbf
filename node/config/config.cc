#include "node/config/config.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <utility>

#include "base/version.h"
#include "node/config/seeds.h"
#include "node/config/table.h"

namespace raftkv {
namespace {

// How far from a known name a hint may be: a name of few letters resembles everything.
size_t HintEdits(const std::string& name) { return std::min<size_t>(4, name.size() / 3); }

std::unexpected<Status> Invalid(const std::string& message) {
  return Error(Code::kInvalidArgument, message);
}

std::string DidYouMean(const std::string& nearest) {
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

// The table, bound to a configuration that is being put together.
class Settings {
 public:
  explicit Settings(NodeConfig* config) {
    for (SettingGroup& group : MakeTable(config)) {
      for (Setting& setting : group.settings) all_.push_back(std::move(setting));
    }
  }

  const std::vector<Setting>& all() const { return all_; }

  // The setting with this path, flag or variable; null if there is none.
  const Setting* Find(const std::string& word, std::string (*name_of)(const Setting&)) const {
    auto found = std::ranges::find_if(all_, [&](const Setting& s) { return name_of(s) == word; });
    return found == all_.end() ? nullptr : &*found;
  }

  std::vector<std::string> Names(std::string (*name_of)(const Setting&)) const {
    std::vector<std::string> names;
    for (const Setting& setting : all_) names.push_back(name_of(setting));
    return names;
  }

 private:
  std::vector<Setting> all_;
};

std::string PathOf(const Setting& setting) { return setting.path; }
std::string FlagOf(const Setting& setting) { return setting.FlagName(); }
std::string VariableOf(const Setting& setting) { return setting.VariableName(); }

Status Assign(const Setting& setting, const std::string& value, const std::string& source) {
  Status status = SetValue(setting.value, value);
  if (status.ok()) return status;
  const std::string quoted = "'" + value + "'";
  const bool told = status.message().find(quoted) != std::string::npos;
  return Status(status.code(),
                source + ": " + status.message() + (told ? "" : " (got " + quoted + ")"));
}

// --- File ---------------------------------------------------------------------------------------

std::string Place(const std::string& file, const YAML::Node& node) {
  return file + ":" + std::to_string(node.Mark().line + 1);
}

Result<std::string> TextOf(const YAML::Node& node, const Setting& setting,
                           const std::string& where) {
  if (node.IsScalar()) return node.Scalar();
  if (!node.IsSequence()) return Invalid(where + ": expected a value");
  if (!std::holds_alternative<AddressListValue>(setting.value)) {
    return Invalid(where + ": expected one value, not a list");
  }
  std::string text;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return Invalid(where + ": expected a list of values");
    text += (text.empty() ? "" : ",") + item.Scalar();
  }
  return text;
}

Status ApplyMap(const Settings& settings, const std::string& file, const YAML::Node& map,
                const std::string& prefix) {
  std::set<std::string> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) {
      return Status(Code::kInvalidArgument,
                    Place(file, entry.first) + ": expected the name of a setting");
    }
    const std::string path = prefix + entry.first.Scalar();
    const std::string where = Place(file, entry.first) + ": " + path;
    if (!seen.insert(path).second) {
      return Status(Code::kInvalidArgument, where + " is set twice");
    }
    const Setting* setting = settings.Find(path, PathOf);
    if (setting != nullptr) {
      ASSIGN_OR_RETURN_STATUS(const std::string value, TextOf(entry.second, *setting, where));
      RETURN_IF_ERROR(Assign(*setting, value, where));
      continue;
    }
    const bool is_section = std::ranges::any_of(
        settings.all(), [&](const Setting& s) { return s.path.starts_with(path + "."); });
    if (!is_section) {
      return Status(Code::kInvalidArgument,
                    where + " is not a setting" +
                        DidYouMean(Nearest(path, settings.Names(PathOf), HintEdits(path))));
    }
    if (!entry.second.IsMap()) {
      return Status(Code::kInvalidArgument, where + ": expected a map of settings");
    }
    RETURN_IF_ERROR(ApplyMap(settings, file, entry.second, path + "."));
  }
  return Status::Ok();
}

// Where a document begins, and its first word.
class Document : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { line_ = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string& value) override {
    if (word_.empty()) {
      word_ = value;
      line_ = mark.line + 1;
    }
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  int line() const { return line_; }
  const std::string& word() const { return word_; }

 private:
  int line_ = 0;
  std::string word_;
};

// Load reads the first and ignores the rest. (LoadAll finds documents without end in
// some of what is no YAML, such as a lone bracket.)
Status RefuseSecondDocument(const std::string& file, const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Document first;
  Document second;
  if (!parser.HandleNextDocument(first) || !parser.HandleNextDocument(second)) return Status::Ok();
  return Status(Code::kInvalidArgument,
                file + ":" + std::to_string(second.line()) + ": a second document" +
                    (second.word().empty() ? "" : ", of " + second.word()) +
                    "; all settings must stand in one (without --- between them)");
}

Status ApplyFile(const Settings& settings, const std::string& file) {
  // Read once: it may be a pipe.
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  std::error_code ignored;
  if (!stream.is_open() || stream.bad() || std::filesystem::is_directory(file, ignored)) {
    return Status(Code::kIoError, "--config: " + file + " cannot be read");
  }
  // yaml-cpp reports by exceptions; they end here.
  try {
    const YAML::Node root = YAML::Load(text);
    RETURN_IF_ERROR(RefuseSecondDocument(file, text));
    if (root.IsNull()) return Status::Ok();
    if (!root.IsMap()) {
      return Status(Code::kInvalidArgument, file + ": expected a map of settings");
    }
    return ApplyMap(settings, file, root, "");
  } catch (const YAML::Exception& error) {
    return Status(Code::kInvalidArgument,
                  file + ":" + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
}

// --- Environment --------------------------------------------------------------------------------

constexpr std::string_view kVariablePrefix = "RAFTKV_";

// Of the tests and tools of this repository, which start nodes with the environment that they have
// themselves.
constexpr std::array<std::string_view, 8> kToolVariables = {
    "RAFTKV_CONFORMANCE",  "RAFTKV_FAULT_POINT",  "RAFTKV_FUZZ_TARGET", "RAFTKV_MUTATION",
    "RAFTKV_RANDOM_SEEDS", "RAFTKV_SHIM_CONTROL", "RAFTKV_SHIM_SHADOW", "RAFTKV_WRITE_API_DOCS"};

// What Kubernetes sets in every pod beside a Service called raftkv or raftkv-..., if the pod does
// not decline it (enableServiceLinks): the kubelet's envvars.FromServices. Told from a setting that
// somebody hoped for (RAFTKV_PORT=7070) by the value.
bool IsOfAService(const std::string& name, const std::string& value) {
  static const std::regex kUrl("RAFTKV_(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?");
  static const std::regex kPart(
      "RAFTKV_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|"
      "PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))");
  return std::regex_match(name, kPart) ||
         (std::regex_match(name, kUrl) && value.find("://") != std::string::npos);
}

std::string NearestVariable(const std::string& name, const Settings& settings) {
  std::vector<std::string> names;
  for (const std::string& variable : settings.Names(VariableOf)) {
    names.push_back(variable.substr(kVariablePrefix.size()));
  }
  const std::string word = name.substr(kVariablePrefix.size());
  const std::string nearest = Nearest(word, names, HintEdits(word));
  return nearest.empty() ? "" : std::string(kVariablePrefix) + nearest;
}

Status ApplyEnvironment(const Settings& settings,
                        const std::map<std::string, std::string>& environment) {
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(kVariablePrefix) || name == "RAFTKV_CONFIG") continue;
    if (const Setting* setting = settings.Find(name, VariableOf)) {
      RETURN_IF_ERROR(Assign(*setting, value, name));
      continue;
    }
    if (IsOfAService(name, value) ||
        std::ranges::find(kToolVariables, name) != kToolVariables.end())
      continue;
    const std::string nearest = NearestVariable(name, settings);
    return Status(Code::kInvalidArgument,
                  "the environment variable " + name + " is not a setting" +
                      (nearest.empty() ? "." : DidYouMean(nearest)) +
                      " Names that begin with RAFTKV_ are settings of the node (see --help): "
                      "correct it, or take it out of the environment");
  }
  return Status::Ok();
}

// --- Flags --------------------------------------------------------------------------------------

// What a flag does, whoever it belongs to; decides whether the next word is its value.
enum class Arity { kSwitch, kValue, kOptionalValue };

std::optional<Arity> ArityOf(const std::string& name, const Settings& settings) {
  if (name == "help" || name == "h" || name == "version") return Arity::kSwitch;
  if (name == "config") return Arity::kValue;
  if (const Setting* setting = settings.Find(name, FlagOf)) {
    return std::holds_alternative<SwitchValue>(setting->value) ? Arity::kSwitch : Arity::kValue;
  }
  std::optional<Arity> arity;
  for (const SeedDialect& dialect : SeedDialects()) {
    auto flag = std::ranges::find(dialect.flags, name, &SeedFlag::name);
    if (flag == dialect.flags.end()) continue;
    const Arity here = flag->is_switch ? Arity::kSwitch : Arity::kValue;
    arity = !arity || *arity == here ? here : Arity::kOptionalValue;
  }
  return arity;
}

std::string NearestFlag(const std::string& name, const Settings& settings) {
  std::vector<std::string> names = settings.Names(FlagOf);
  names.insert(names.end(), {"config", "help", "version"});
  for (const SeedDialect& dialect : SeedDialects()) {
    for (const SeedFlag& flag : dialect.flags) names.push_back(flag.name);
  }
  const std::string nearest = Nearest(name, names, HintEdits(name));
  return nearest.empty() ? "" : "--" + nearest;
}

// Go's syntax: one dash or two, "=" or the next word; switches take a value only with "=".
Result<std::vector<FlagUse>> ReadFlags(const std::vector<std::string>& args,
                                       const Settings& settings) {
  std::vector<FlagUse> uses;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (word.size() < 2 || word[0] != '-' || word == "--") {
      return Invalid("'" + word + "' is not a flag; see --help");
    }
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    FlagUse use;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      use.value = name.substr(equals + 1);
      name.resize(equals);
    }
    use.name = name;
    const std::optional<Arity> arity = ArityOf(name, settings);
    if (!arity) {
      return Invalid(word + " is not a flag" + DidYouMean(NearestFlag(name, settings)) +
                     " (see --help)");
    }
    const bool more = i + 1 < args.size();
    const bool takes_next = *arity == Arity::kValue ||
                            (*arity == Arity::kOptionalValue && more && args[i + 1][0] != '-');
    if (!use.value && takes_next) {
      if (!more) return Invalid(word + " needs a value");
      use.value = args[++i];
      use.separate = true;
    }
    uses.push_back(std::move(use));
  }
  return uses;
}

const FlagUse* FindUse(const std::vector<FlagUse>& uses, const std::string& name) {
  auto found = std::ranges::find(uses, name, &FlagUse::name);
  return found == uses.end() ? nullptr : &*found;
}

Status ApplyAssignments(const Settings& settings, const std::vector<Assignment>& assignments) {
  for (const Assignment& assignment : assignments) {
    RETURN_IF_ERROR(
        Assign(*settings.Find(assignment.path, PathOf), assignment.value, assignment.source));
  }
  return Status::Ok();
}

Status ApplyFlags(const Settings& settings, const std::vector<FlagUse>& uses,
                  const SeedSettings& seed) {
  RETURN_IF_ERROR(ApplyAssignments(settings, seed.explicit_settings));
  for (const FlagUse& use : uses) {
    const Setting* setting = settings.Find(use.name, FlagOf);
    if (setting == nullptr) continue;
    auto twice = std::ranges::find(seed.explicit_settings, setting->path, &Assignment::path);
    if (twice != seed.explicit_settings.end()) {
      return Status(Code::kInvalidArgument, "--" + use.name + " and " + twice->source +
                                                " set the same thing (" + setting->path +
                                                "): use one of them");
    }
    RETURN_IF_ERROR(Assign(*setting, use.value.value_or("true"), "--" + use.name));
  }
  return Status::Ok();
}

Invocation Print(std::string text) {
  Invocation invocation;
  invocation.kind = Invocation::Kind::kPrint;
  invocation.text = std::move(text);
  return invocation;
}

}  // namespace

NodeConfig::NodeConfig() {
  node.data_dir = "raftkv-data";
  node.peer_listen = "127.0.0.1:7071";
  node.max_inflight_bytes = node.max_uncommitted_bytes = http.max_buffered_bytes = 0;
}

Result<Invocation> ParseCommandLine(const std::vector<std::string>& args,
                                    const std::map<std::string, std::string>& environment) {
  Invocation invocation;
  const Settings settings(&invocation.config);
  ASSIGN_OR_RETURN(const std::vector<FlagUse> uses, ReadFlags(args, settings));
  if (FindUse(uses, "version")) return Print("raftkv-node " + std::string(Version()) + "\n");
  if (const FlagUse* help = FindUse(uses, FindUse(uses, "h") ? "h" : "help")) {
    return Print(help->value == "markdown" ? HelpMarkdown() : HelpText());
  }
  ASSIGN_OR_RETURN(const SeedSettings seed, TranslateSeedFlags(uses));

  RETURN_UNEXPECTED_IF_ERROR(ApplyAssignments(settings, seed.defaults));
  const FlagUse* config_flag = FindUse(uses, "config");
  auto config_variable = environment.find("RAFTKV_CONFIG");
  if (config_flag != nullptr) {
    RETURN_UNEXPECTED_IF_ERROR(ApplyFile(settings, *config_flag->value));
  } else if (config_variable != environment.end()) {
    RETURN_UNEXPECTED_IF_ERROR(ApplyFile(settings, config_variable->second));
  }
  RETURN_UNEXPECTED_IF_ERROR(ApplyEnvironment(settings, environment));
  RETURN_UNEXPECTED_IF_ERROR(ApplyFlags(settings, uses, seed));
  RETURN_UNEXPECTED_IF_ERROR(CompleteAndValidate(&invocation.config));
  return invocation;
}

}  // namespace raftkv
