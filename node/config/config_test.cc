#include "node/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "node/config/table.h"

namespace raftkv {
namespace {

using runtime::Bootstrap;
using Environment = std::map<std::string, std::string>;

class ConfigTest : public testing::Test {
 protected:
  ~ConfigTest() override { std::filesystem::remove(file_); }

  // Parses with a configuration file of this content.
  Result<Invocation> ParseFile(const std::string& yaml, std::vector<std::string> args = {},
                               const Environment& environment = {}) {
    std::ofstream(file_) << yaml;
    args.insert(args.end(), {"--config", file_});
    return ParseCommandLine(args, environment);
  }

  static std::string Refusal(const Result<Invocation>& invocation) {
    return invocation ? "accepted" : invocation.error().message();
  }
  static std::string Refusal(const std::vector<std::string>& args, const Environment& env = {}) {
    return Refusal(ParseCommandLine(args, env));
  }

  const std::string file_ =
      testing::TempDir() + "raftkv-config-" + std::to_string(getpid()) + ".yaml";
};

TEST_F(ConfigTest, DefaultsAreValid) {
  Result<Invocation> invocation = ParseCommandLine({}, {});
  ASSERT_TRUE(invocation) << invocation.error().message();
  EXPECT_EQ(invocation->kind, Invocation::Kind::kRun);
  EXPECT_EQ(invocation->config.node.bootstrap.mode, Bootstrap::Mode::kWait);
  EXPECT_EQ(invocation->config.node.peer_advertise, "127.0.0.1:7071");
  EXPECT_EQ(invocation->config.node.client_advertise, "127.0.0.1:7070");
  EXPECT_FALSE(invocation->config.node.name.empty());
}

TEST_F(ConfigTest, BudgetsThatAreNotSetFollowFromTheMemory) {
  const auto budgets = [](const std::vector<std::string>& args) {
    const Result<Invocation> invocation = ParseCommandLine(args, {});
    EXPECT_TRUE(invocation) << Refusal(invocation);
    const NodeConfig& config = invocation->config;
    return std::array<uint64_t, 3>{config.node.max_inflight_bytes,
                                   config.node.max_uncommitted_bytes,
                                   config.http.max_buffered_bytes};
  };
  constexpr uint64_t kMiB = 1 << 20;
  EXPECT_EQ(budgets({"--limits-memory-bytes", "512MiB"}),
            (std::array{56 * kMiB, 56 * kMiB, 56 * kMiB}));
  EXPECT_EQ(budgets({"--limits-memory-bytes", "64GiB"}),
            (std::array{256 * kMiB, 256 * kMiB, 256 * kMiB}));
  EXPECT_EQ(budgets({"--limits-memory-bytes", "512MiB", "--limits-inflight-bytes", "3MiB"}),
            (std::array{3 * kMiB, 56 * kMiB, 56 * kMiB}));
  // The largest value still fits.
  EXPECT_EQ(budgets({"--limits-memory-bytes", "64MiB", "--http-max-value-bytes", "16MiB"}),
            (std::array{32 * kMiB, 32 * kMiB, 32 * kMiB}));
  // None is less than may be set.
  EXPECT_EQ(budgets({"--limits-memory-bytes", "64MiB", "--http-max-value-bytes", "1KiB",
                     "--raft-max-append-bytes", "1KiB"}),
            (std::array{kMiB, kMiB, kMiB}));
  for (const uint64_t budget : budgets({})) EXPECT_GE(budget, 2 * kMiB);
}

TEST_F(ConfigTest, EverySettingHasThreeWaysInAndRoundTrips) {
  NodeConfig defaults;
  std::set<std::string> names;
  for (const SettingGroup& group : MakeTable(&defaults)) {
    for (const Setting& setting : group.settings) {
      EXPECT_TRUE(names.insert(setting.FlagName()).second) << setting.path;
      EXPECT_GT(setting.help.size(), 20u) << setting.path;
      const std::string value = FormatValue(setting.value);
      if (value.empty()) {
        EXPECT_FALSE(setting.default_text.empty()) << setting.path;
        continue;
      }
      EXPECT_TRUE(SetValue(setting.value, value).ok()) << setting.path << ": " << value;
      EXPECT_EQ(Refusal({"--" + setting.FlagName() + "=" + value}), "accepted");
      EXPECT_EQ(Refusal({}, {{setting.VariableName(), value}}), "accepted");
    }
  }
  EXPECT_TRUE(names.contains("raft-election-ticks"));
}

TEST_F(ConfigTest, FlagWinsOverEnvironmentOverFileOverDefault) {
  const std::string yaml =
      "raft:\n  tick: 20ms\n  election_ticks: 20\n  max_inflight_appends: 20\n";
  const Environment environment = {{"RAFTKV_RAFT_TICK", "30ms"},
                                   {"RAFTKV_RAFT_ELECTION_TICKS", "30"}};
  Result<Invocation> invocation = ParseFile(yaml, {"--raft-tick", "40ms"}, environment);
  ASSERT_TRUE(invocation) << invocation.error().message();
  EXPECT_EQ(invocation->config.node.tick, std::chrono::milliseconds(40));
  EXPECT_EQ(invocation->config.node.election_ticks, 30);
  EXPECT_EQ(invocation->config.node.max_inflight_appends, 20);
  EXPECT_EQ(invocation->config.node.heartbeat_ticks, 1);
}

TEST_F(ConfigTest, GoFlagSyntax) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-raft-tick", "50ms"},
                                             {"--raft-tick", "50ms"},
                                             {"-raft-tick=50ms"},
                                             {"--raft-tick=50ms"}}) {
    Result<Invocation> invocation = ParseCommandLine(args, {});
    ASSERT_TRUE(invocation) << invocation.error().message();
    EXPECT_EQ(invocation->config.node.tick, std::chrono::milliseconds(50));
  }
  EXPECT_FALSE(ParseCommandLine({"--raft-pre-vote=false"}, {})->config.node.pre_vote);
  EXPECT_TRUE(ParseCommandLine({"--raft-pre-vote"}, {})->config.node.pre_vote);
  EXPECT_NE(Refusal({"--raft-pre-vote", "false"}).find("'false' is not a flag"), std::string::npos);
  EXPECT_NE(Refusal({"--raft-tick"}).find("needs a value"), std::string::npos);
  EXPECT_NE(Refusal({"raft"}).find("not a flag"), std::string::npos);
  EXPECT_NE(Refusal({""}).find("not a flag"), std::string::npos);
  EXPECT_NE(Refusal({"-"}).find("not a flag"), std::string::npos);
  EXPECT_NE(Refusal({"--"}).find("not a flag"), std::string::npos);
}

TEST_F(ConfigTest, UnknownNamesComeWithAHint) {
  EXPECT_NE(Refusal({"--raft-tik", "1s"}).find("did you mean --raft-tick?"), std::string::npos);
  EXPECT_NE(Refusal({"--bootstap"}).find("did you mean --bootstrap?"), std::string::npos);
  EXPECT_EQ(Refusal({"--bogus"}).find("did you mean"), std::string::npos);
  EXPECT_NE(Refusal(ParseFile("raft:\n  tik: 1s\n"))
                .find(":2: raft.tik is not a setting; did you "
                      "mean raft.tick?"),
            std::string::npos);
  EXPECT_NE(Refusal({}, {{"RAFTKV_RAFT_TIK", "1s"}}).find("did you mean RAFTKV_RAFT_TICK?"),
            std::string::npos);
}

// As a kubelet sets them for Services called raftkv, raftkv-peer and raftkv-client-listen.
TEST_F(ConfigTest, VariablesOfKubernetesServicesAreIgnored) {
  for (const std::string service : {"RAFTKV", "RAFTKV_PEER", "RAFTKV_CLIENT_LISTEN"}) {
    Environment environment = {{service + "_SERVICE_HOST", "10.0.0.1"},
                               {service + "_SERVICE_PORT", "7070"},
                               {service + "_SERVICE_PORT_CLIENT_HTTP", "7070"},
                               {service + "_PORT", "tcp://10.0.0.1:7070"}};
    for (const std::string protocol : {"TCP", "UDP", "SCTP"}) {
      const std::string port = service + "_PORT_7070_" + protocol;
      environment[port] = "tcp://10.0.0.1:7070";
      environment[port + "_PROTO"] = "tcp";
      environment[port + "_PORT"] = "7070";
      environment[port + "_ADDR"] = "10.0.0.1";
    }
    EXPECT_EQ(Refusal({}, environment), "accepted") << service;
  }
  // No setting can be taken for one of them, nor one of them for a setting.
  NodeConfig defaults;
  for (const SettingGroup& group : MakeTable(&defaults)) {
    for (const Setting& setting : group.settings) {
      const std::string name = setting.VariableName();
      EXPECT_FALSE(name.ends_with("_PORT") || name.ends_with("_HOST") || name.ends_with("_ADDR") ||
                   name.ends_with("_PROTO") || name.find("_SERVICE_") != std::string::npos)
          << name;
    }
  }
}

// All but near misses were ignored without a word.
TEST_F(ConfigTest, UnknownVariablesAreErrors) {
  const std::vector<std::pair<std::string, std::string>> meant = {
      {"RAFTKV_HTTP_MAX_VALUE", "RAFTKV_HTTP_MAX_VALUE_BYTES"},
      {"RAFTKV_ELECTION_TICKS", "RAFTKV_RAFT_ELECTION_TICKS"},
      {"RAFTKV_RAFT_HEARTBEAT", "RAFTKV_RAFT_HEARTBEAT_TICKS"},
      {"RAFTKV_SNAPSHOT_BYTES_PER_SECOND", "RAFTKV_LIMITS_SNAPSHOT_BYTES_PER_SECOND"},
      {"RAFTKV_DATADIR", "RAFTKV_DATA_DIR"}};
  for (const auto& [name, setting] : meant) {
    const std::string refusal = Refusal({}, {{name, "1"}});
    EXPECT_NE(refusal.find("the environment variable " + name + " is not a setting; did you mean " +
                           setting + "?"),
              std::string::npos)
        << refusal;
  }
  for (const char* name : {"RAFTKV_BOGUS", "RAFTKV_", "RAFTKV_PORT", "RAFTKV_CLIENT_PORT"}) {
    const std::string refusal = Refusal({}, {{name, "7070"}});
    EXPECT_NE(refusal.find(std::string(name) + " is not a setting"), std::string::npos) << refusal;
    EXPECT_NE(refusal.find("take it out of the environment"), std::string::npos) << refusal;
  }
  EXPECT_EQ(Refusal({}, {{"RAFTKVX", "1"}, {"raftkv_bogus", "1"}, {"HOME", "/"}}), "accepted");
}

// They start nodes with the environment that they have themselves.
TEST_F(ConfigTest, VariablesOfTheTestsAreIgnored) {
  const std::regex read("(getenv\\(|kShim[A-Za-z]* = )\"(RAFTKV_[A-Z_]+)\"");
  Environment environment;
  for (const char* folder : {"base", "ctl", "node", "operator", "tests"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
      if (file.path().extension() != ".cc" && file.path().extension() != ".h") continue;
      std::stringstream content;
      content << std::ifstream(file.path()).rdbuf();
      const std::string text = content.str();
      for (std::sregex_iterator it(text.begin(), text.end(), read), end; it != end; ++it) {
        environment[(*it)[2]] = "x";
      }
    }
  }
  EXPECT_EQ(environment.size(), 8u);
  EXPECT_EQ(Refusal({}, environment), "accepted");
}

TEST_F(ConfigTest, WrongValuesNameTheirSource) {
  EXPECT_NE(Refusal({"--raft-tick", "soon"}).find("--raft-tick: expected a duration"),
            std::string::npos);
  EXPECT_NE(Refusal({}, {{"RAFTKV_LIMITS_QUOTA_BYTES", "lots"}}).find("RAFTKV_LIMITS_QUOTA_BYTES"),
            std::string::npos);
  EXPECT_NE(Refusal(ParseFile("name: a\nraft: {tick: 0s}\n")).find(":2: raft.tick"),
            std::string::npos);
}

// A name that was no text was accepted, and its data directory could not be read again.
TEST_F(ConfigTest, NamesAreText) {
  EXPECT_EQ(Refusal({"--name", "node-1.example"}), "accepted");
  for (const std::string name : {"\xff", "a b", "tab\t", "\xc3\xa4"}) {
    EXPECT_NE(Refusal({"--name", name}).find("printable ASCII"), std::string::npos) << name;
  }
}

TEST_F(ConfigTest, FilesAreChecked) {
  EXPECT_EQ(Refusal(ParseFile("")), "accepted");
  EXPECT_EQ(Refusal(ParseFile("start:\n  mode: join\n  peers: [a:1, b:2]\n")), "accepted");
  EXPECT_NE(Refusal(ParseFile("- a\n")).find("expected a map"), std::string::npos);
  EXPECT_NE(Refusal(ParseFile("raft: 5\n")).find("raft: expected a map"), std::string::npos);
  EXPECT_NE(Refusal(ParseFile("raft: {tick: {a: b}}\n")).find("expected a value"),
            std::string::npos);
  EXPECT_NE(Refusal(ParseFile("raft: [\n")).find(file_), std::string::npos);
  EXPECT_NE(Refusal(ParseFile("start: {peers: [[a]]}\n")).find("expected a list of values"),
            std::string::npos);
  // A list is for the settings that are one.
  EXPECT_NE(Refusal(ParseFile("raft:\n  tick: [150ms]\n"))
                .find(file_ + ":2: raft.tick: expected one value, not a list"),
            std::string::npos);
  EXPECT_NE(Refusal(ParseFile("name: [a, b]\n")).find(file_ + ":1: name: expected one value"),
            std::string::npos);
  EXPECT_NE(Refusal(ParseFile("[a]: b\n")).find("expected"), std::string::npos);
  EXPECT_NE(Refusal({"--config", "/nonexistent/raftkv.yaml"}).find("cannot be read"),
            std::string::npos);
  EXPECT_NE(Refusal({}, {{"RAFTKV_CONFIG", "/nonexistent/raftkv.yaml"}}).find("cannot be read"),
            std::string::npos);
}

TEST_F(ConfigTest, ADuplicateKeyInAFileIsRefused) {
  EXPECT_NE(Refusal(ParseFile("name: a\nname: b\n")).find("set twice"), std::string::npos);
}

// What followed a second "---" was ignored without a word.
TEST_F(ConfigTest, AFileIsOneDocument) {
  EXPECT_EQ(Refusal(ParseFile("---\nname: a\n")), "accepted");
  EXPECT_EQ(Refusal(ParseFile("name: a\n...\n")), "accepted");
  EXPECT_NE(Refusal(ParseFile("name: a\n---\nnonsense: b\n"))
                .find(file_ + ":3: a second document, of nonsense"),
            std::string::npos);
  EXPECT_NE(Refusal(ParseFile("name: a\n---\n")).find("a second document"), std::string::npos);
  EXPECT_NE(Refusal(ParseFile("---\n---\nname: a\n")).find("a second document"), std::string::npos);
  // yaml-cpp finds documents without end in these.
  for (const char* endless : {"name: a\n}", "name: a\n]\n", "}", "name: a\n: }\n"}) {
    EXPECT_NE(Refusal(ParseFile(endless)), "accepted") << endless;
  }
}

TEST_F(ConfigTest, SettingsThatContradictEachOther) {
  EXPECT_NE(Refusal({"--peer-listen", ":7071"}).find("--peer-advertise"), std::string::npos);
  EXPECT_EQ(Refusal({"--peer-listen", ":7071", "--peer-advertise", "node-0:7071"}), "accepted");
  // In a container.
  for (const char* any : {"0.0.0.0:7071", "[::]:7071"}) {
    EXPECT_NE(Refusal({"--peer-listen", any}).find("set --peer-advertise"), std::string::npos);
    EXPECT_EQ(Refusal({"--peer-listen", any, "--client-listen", "0.0.0.0:7070", "--admin-listen",
                       "0.0.0.0:7072", "--peer-advertise", "node-0:7071"}),
              "accepted");
  }
  EXPECT_NE(Refusal({"--client-advertise", "0.0.0.0:7070"}).find("set --client-advertise"),
            std::string::npos);
  EXPECT_NE(Refusal({"--peer-listen", "127.0.0.1:7070"}).find("must differ"), std::string::npos);
  EXPECT_NE(Refusal({"--raft-heartbeat-ticks", "5"}).find("third"), std::string::npos);
  EXPECT_NE(Refusal({"--raft-max-append-bytes", "32MiB", "--raft-max-uncommitted-bytes", "1MiB"})
                .find("max_uncommitted_bytes"),
            std::string::npos);
  EXPECT_NE(Refusal({"--raft-max-append-bytes", "2MiB", "--raft-max-inflight-append-bytes", "1MiB"})
                .find("raft.max_inflight_append_bytes"),
            std::string::npos);
}

TEST_F(ConfigTest, BootstrapSettingsThatABlankNodeCannotFollow) {
  const auto refusal = [](std::vector<std::string> args) {
    const Result<Invocation> invocation = ParseCommandLine(args, {});
    EXPECT_TRUE(invocation) << invocation.error().message();
    return ValidateBootstrap(invocation->config.node).message();
  };
  EXPECT_NE(refusal({"--start-mode", "static"}).find("peer.advertise"), std::string::npos);
  EXPECT_NE(refusal({"--start-mode", "join"}).find("start.peers"), std::string::npos);
  EXPECT_NE(refusal({"--start-mode", "join", "--start-peers", "127.0.0.1:7071"}).find("itself"),
            std::string::npos);
  EXPECT_NE(refusal({"--start-mode", "restore"}).find("start.snapshot"), std::string::npos);
}

TEST_F(ConfigTest, StaticList) {
  Result<Invocation> invocation =
      ParseCommandLine({"--start-mode=static", "--start-peers=127.0.0.1:7071,127.0.0.1:7081"}, {});
  ASSERT_TRUE(invocation) << invocation.error().message();
  EXPECT_EQ(invocation->config.node.bootstrap.mode, Bootstrap::Mode::kStaticList);
  EXPECT_EQ(invocation->config.node.bootstrap.addresses.size(), 2u);
}

TEST_F(ConfigTest, HelpAndVersion) {
  for (const char* flag : {"--help", "-h", "-help"}) {
    Result<Invocation> help = ParseCommandLine({"--raft-tick", "1s", flag}, {});
    ASSERT_TRUE(help);
    EXPECT_EQ(help->kind, Invocation::Kind::kPrint);
    EXPECT_NE(help->text.find("--raft-election-ticks number  (default: 10)"), std::string::npos);
    EXPECT_NE(help->text.find("--state_dir"), std::string::npos);
  }
  EXPECT_TRUE(ParseCommandLine({"--version"}, {})->text.starts_with("raftkv-node "));
}

TEST_F(ConfigTest, DocumentationIsUpToDate) {
  std::ifstream file("docs/configuration.md");
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_TRUE(content.str() == HelpMarkdown())
      << "run: build/bin/raftkv-node --help=markdown > docs/configuration.md";
}

}  // namespace
}  // namespace raftkv
