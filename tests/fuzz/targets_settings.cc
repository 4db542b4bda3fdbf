#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>

#include "base/check.h"
#include "node/config/config.h"
#include "node/config/table.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/scratch_directory.h"

namespace raftkv::fuzz {
namespace {

using Args = std::vector<std::string>;
using Variables = std::map<std::string, std::string>;
// Setting by setting, as they would be written; without those that are empty.
using Written = std::map<std::string, std::string>;

Written Write(NodeConfig config) {
  Written written;
  for (const SettingGroup& group : MakeTable(&config)) {
    for (const Setting& setting : group.settings) {
      if (std::string value = FormatValue(setting.value); !value.empty()) {
        written[setting.path] = std::move(value);
      }
    }
  }
  return written;
}

const std::vector<Setting>& AllSettings() {
  static NodeConfig unused;
  static const std::vector<Setting> all = [] {
    std::vector<Setting> settings;
    for (const SettingGroup& group : MakeTable(&unused)) {
      settings.insert(settings.end(), group.settings.begin(), group.settings.end());
    }
    return settings;
  }();
  return all;
}

const Setting& SettingOf(const std::string& path) {
  return *std::ranges::find(AllSettings(), path, &Setting::path);
}

Args AsFlags(const Written& written) {
  Args args;
  for (const auto& [path, value] : written) {
    args.push_back("--" + SettingOf(path).FlagName() + "=" + value);
  }
  return args;
}

Variables AsVariables(const Written& written) {
  Variables variables;
  for (const auto& [path, value] : written) variables[SettingOf(path).VariableName()] = value;
  return variables;
}

// In one line.
std::string AsYaml(const Written& written) {
  std::map<std::string, std::string> sections;
  for (const auto& [path, value] : written) {
    const size_t dot = path.find('.');
    std::string& section = sections[dot == std::string::npos ? "" : path.substr(0, dot)];
    section +=
        path.substr(dot == std::string::npos ? 0 : dot + 1) + ": " + QuotedForYaml(value) + ", ";
  }
  std::string yaml = "{";
  for (const auto& [name, content] : sections) {
    yaml += name.empty() ? content : name + ": {" + content + "}, ";
  }
  return yaml + "}\n";
}

const std::string& FileName() {
  static const ScratchDirectory scratch("settings");
  static const std::string name = (scratch.Made() / "settings.yaml").string();
  return name;
}

Result<Invocation> ParseFile(std::string_view yaml, const Variables& variables = {}) {
  std::ofstream(FileName(), std::ios::binary | std::ios::trunc) << yaml;
  return ParseCommandLine({"--config", FileName()}, variables);
}

void CheckSame(const Result<Invocation>& again, const Written& expected, const std::string& how) {
  CHECK(again,
        how + ": what was accepted is accepted again: " + (again ? "" : again.error().message()));
  const Written written = Write(again->config);
  for (const auto& [path, value] : expected) {
    const auto found = written.find(path);
    CHECK(found != written.end() && found->second == value,
          how + ": " + path + " is the same again");
  }
  CHECK(written.size() == expected.size(), how + ": nothing else is set");
}

// What was accepted is complete, valid, and the same again whichever way it comes in.
void CheckAccepted(const NodeConfig& config) {
  static const Written defaults = Write(NodeConfig());
  const Written written = Write(config);
  for (const auto& [path, value] : written) {
    CHECK(value.find('\0') == std::string::npos, path + " can be handed to the system");
  }
  NodeConfig again = config;
  CHECK(CompleteAndValidate(&again).ok(), "what was accepted is valid");
  CHECK(Write(again) == written, "what is complete needs no completion");
  CheckSame(ParseCommandLine(AsFlags(written), AsVariables(defaults)), written, "as flags");
  CheckSame(ParseFile(AsYaml(defaults), AsVariables(written)), written, "as variables");
  CheckSame(ParseFile(AsYaml(written)), written, "as a file");
}

bool Contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

// A setting by its path, or a flag, also of the example programs.
bool NamesASetting(const std::string& message) {
  static constexpr const char* kOthers[] = {"-id",        "-cluster",   "-port",  "-join",
                                            "-addr",      "-http",      "-raft",  "-api",
                                            "-state_dir", "-bootstrap", "-config"};
  return std::ranges::any_of(
             AllSettings(),
             [&](const Setting& setting) {
               return Contains(message, "--" + setting.FlagName()) ||
                      (Contains(setting.path, ".") && Contains(message, setting.path));
             }) ||
         std::ranges::any_of(kOthers, [&](const char* flag) { return Contains(message, flag); });
}

// What a message says of the value, without where it came from; all of it if it does not begin so.
std::string WithoutSource(const std::string& message, const std::string& source) {
  return message.starts_with(source + ": ") ? message.substr(source.size() + 2) : message;
}

// One setting, by itself: a flag, a variable and a line of a file mean the same.
void CheckThreeWays(const Setting& setting, const std::string& value) {
  const Written one = {{setting.path, value}};
  const Result<Invocation> flag = ParseCommandLine(AsFlags(one), {});
  const Result<Invocation> variable = ParseCommandLine({}, AsVariables(one));
  const Result<Invocation> file = ParseFile(AsYaml(one));
  CHECK(flag.has_value() == variable.has_value() && flag.has_value() == file.has_value(),
        setting.path + ": all ways in accept it, or none");
  if (flag) {
    CHECK(Write(flag->config) == Write(variable->config) &&
              Write(flag->config) == Write(file->config),
          setting.path + ": all ways in mean the same");
    return;
  }
  const std::string why = WithoutSource(flag.error().message(), "--" + setting.FlagName());
  CHECK(why == WithoutSource(variable.error().message(), setting.VariableName()) &&
            why == WithoutSource(file.error().message(), FileName() + ":1: " + setting.path),
        setting.path + ": all ways in refuse it for the same reason");
}

// Lines are arguments.
void RunFlags(std::string_view input) {
  Args args(1);
  for (const char c : input) {
    if (c == '\0') return;  // cannot stand in an argument
    if (c == '\n') {
      args.emplace_back();
    } else {
      args.back() += c;
    }
  }
  for (const std::string& arg : args) {
    if (arg.find("config") != std::string::npos) return;  // reads files
  }
  for (const std::string& arg : args) {
    const size_t equals = std::min(arg.find('='), arg.size());
    for (const Setting& setting : AllSettings()) {
      if (arg.substr(0, equals) != "--" + setting.FlagName() || equals == arg.size()) continue;
      CheckThreeWays(setting, arg.substr(equals + 1));
    }
  }
  const Result<Invocation> invocation = ParseCommandLine(args, {});
  if (!invocation) {
    const std::string& message = invocation.error().message();
    const bool names_argument = std::ranges::any_of(args, [&](const std::string& arg) {
      return Contains(message, "'" + arg + "'") || message.starts_with(arg + " ");
    });
    CHECK(names_argument || NamesASetting(message), "a refusal says of what: " + message);
  } else if (invocation->kind == Invocation::Kind::kPrint) {
    CHECK(!invocation->text.empty(), "there is something to print");
  } else {
    CheckAccepted(invocation->config);
  }
}

std::vector<std::string> FlagSeeds() {
  return {"--raft-tick\n50ms\n--start-mode\nstatic\n--start-peers\n127.0.0.1:7071",
          "--id\n1\n--cluster\nhttp://127.0.0.1:12379\n--port\n12380",
          "-state_dir\ndata/1\n-raft\n:8080\n-api\n:9090",
          "--http-max-value-bytes=2MiB\n--help",
          "--raft-pre-vote=f\n--limits-quota-bytes=18446744073709551615\n--start-peers=[::1]:1,b:2",
          "--limits-memory-bytes=64MiB\n--http-max-value-bytes=1KiB\n--raft-max-append-bytes=1KiB"};
}

// The line that a message about the file names; 0: none.
size_t LineOf(const std::string& message) {
  const std::string before = FileName() + ":";
  size_t line = 0;
  if (message.starts_with(before)) {
    std::from_chars(message.data() + before.size(), message.data() + message.size(), line);
  }
  return line;
}

void RunConfigFile(std::string_view input) {
  const Result<Invocation> invocation = ParseFile(input);
  if (invocation) return CheckAccepted(invocation->config);
  const std::string& message = invocation.error().message();
  const auto lines = static_cast<size_t>(std::ranges::count(input, '\n') + 1);
  CHECK(invocation.error().code() == Code::kInvalidArgument, "a file that is there can be read");
  CHECK(LineOf(message) <= lines, "the line that is named is there: " + message);
  CHECK(LineOf(message) > 0 || message == FileName() + ": expected a map of settings" ||
            (!message.starts_with(FileName()) && NamesASetting(message)),
        "a refusal says of what: " + message);
}

std::vector<std::string> ConfigFileSeeds() {
  return {"raft: {tick: 100ms, pre_vote: true}\nname: a\n",
          "client:\n  listen: 127.0.0.1:0\nstart:\n  mode: join\n  peers: [a:1, b:2]\n",
          "http:\n  max_value_bytes: 2MiB\n  idle_timeout: 1m30s\n"};
}

}  // namespace

std::vector<Target> SettingsTargets() {
  return {{"flags", RunFlags, FlagSeeds}, {"config_file", RunConfigFile, ConfigFileSeeds}};
}

}  // namespace raftkv::fuzz
