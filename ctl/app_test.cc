#include "ctl/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/version.h"
#include "ctl/fake_node.h"
#include "ctl/run_util.h"

namespace raftkv::ctl {
namespace {

using client::FakeNode;
using client::Refuse;
using testing::HasSubstr;

TEST(ExitStatusTest, EachKindOfFailureHasItsOwn) {
  struct Case {
    int http;
    const char* code;
    int exit;
  };
  for (Case c : {Case{400, "invalid argument", 2},
                 {404, "not found", 3},
                 {412, "conflict", 4},
                 {503, "failed precondition", 8},
                 {504, "unknown outcome", 6},
                 {507, "out of space", 7},
                 {500, "internal", 1},
                 {500, "corruption", 1}}) {
    FakeNode node(
        [&](const auto&, auto& response) { Refuse(response, c.http, c.code, "because"); });
    Outcome outcome = RunArgs({"--endpoints", node.address(), "put", "k", "v"});
    EXPECT_EQ(outcome.status, c.exit) << c.code;
    EXPECT_THAT(outcome.err, HasSubstr("because"));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(ExitStatusTest, NobodyThereIsUnavailable) {
  Outcome outcome = RunArgs({"--endpoints", client::DeadEndpoint().ToString(), "get", "k"});
  EXPECT_EQ(outcome.status, 5);
}

TEST(ExitStatusTest, WrongUsage) {
  EXPECT_EQ(RunArgs({}).status, 2);
  EXPECT_EQ(RunArgs({"frobnicate"}).status, 2);
  EXPECT_EQ(RunArgs({"get"}).status, 2);
  EXPECT_EQ(RunArgs({"--endpoints", "nonsense", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"--timeout", "0", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"-o", "xml", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"get", "k", "--consistency", "eventual"}).status, 2);
}

TEST(UsageTest, TextsSayWhatIsWrongAndWhatToDo) {
  EXPECT_THAT(RunArgs({"frobnicate"}).err,
              HasSubstr("no command 'frobnicate'; commands here: put, get, del, list,"));
  EXPECT_THAT(RunArgs({"--timeout", "3", "member", "frob", "x"}).err,
              HasSubstr("no command 'member frob'; commands here: list, add, promote"));
  EXPECT_THAT(RunArgs({"member"}).err, HasSubstr("a command is missing; commands here: list,"));
  EXPECT_THAT(RunArgs({}).err, HasSubstr("a command is missing; commands here: put,"));
  EXPECT_THAT(RunArgs({"--bogus"}).err, HasSubstr("there is no option '--bogus'"));
  EXPECT_THAT(RunArgs({"get", "k", "--consistency", "x"}).err,
              HasSubstr("--consistency: 'x' is none of its values; give linearizable, lease or "
                        "stale"));
  EXPECT_THAT(RunArgs({"-o", "xml", "get", "k"}).err, HasSubstr("give table, json or raw"));
  for (const char* bad : {"x", "0", "-1", "1e300", "5s", "nan", ""}) {
    Outcome outcome = RunArgs({"--timeout", bad, "get", "k"});
    EXPECT_EQ(outcome.status, 2) << bad;
    EXPECT_THAT(outcome.err, HasSubstr("--timeout: '" + std::string(bad) +
                                       "' is not a time; give seconds above 0"));
  }
  // Regression: --if-revision 0 was no condition at all, and -1 the largest number.
  for (const char* bad : {"0", "-1", "x", "1.5", "", "18446744073709551616"}) {
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"put", "k", "v", "--if-revision"},
          {"del", "k", "--if-revision"},
          {"get", "k", "--revision"},
          {"list", "--limit"},
          {"compact"}}) {
      std::vector<std::string> args = command;
      args.push_back(bad);
      Outcome outcome = RunArgs(args);
      EXPECT_EQ(outcome.status, 2) << command[0] << " " << bad;
    }
    EXPECT_THAT(RunArgs({"put", "k", "v", "--if-revision", bad}).err,
                HasSubstr("'" + std::string(bad) + "' is not a whole number from 1 on"));
  }
  // The numbers of the enumerators are no values.
  EXPECT_EQ(RunArgs({"get", "k", "--consistency", "1"}).status, 2);
}

TEST(ExitStatusTest, HelpAndVersion) {
  EXPECT_EQ(RunArgs({"--help"}).status, 0);
  EXPECT_THAT(RunArgs({"--help"}).out, HasSubstr("Exit status:"));
  EXPECT_EQ(RunArgs({"version"}).out, std::string(Version()) + "\n");
  EXPECT_EQ(RunArgs({"--version"}).out, std::string(Version()) + "\n");
  EXPECT_EQ(RunArgs({"--version"}).status, 0);
}

// What bash offers when the cursor is behind the last of `words`.
std::string Complete(const std::string& words) {
  std::string path = testing::TempDir() + "/raftkvctl-completion";
  std::ofstream(path) << RunArgs({"completion", "bash"}).out << "COMP_WORDS=(" << words << ")\n"
                      << "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_raftkvctl\n"
                      << "echo \"${COMPREPLY[@]}\"\n";
  FILE* bash = popen(("bash " + path + " 2>&1").c_str(), "r");
  std::string out;
  char buffer[256];
  while (std::fgets(buffer, sizeof buffer, bash) != nullptr) out += buffer;
  pclose(bash);
  std::filesystem::remove(path);
  return out;
}

TEST(CompletionTest, BashKnowsCommandsAndOptions) {
  EXPECT_EQ(Complete("raftkvctl pu"), "put\n");
  EXPECT_EQ(Complete("raftkvctl --endpoints x member pro"), "promote\n");
  EXPECT_EQ(Complete("raftkvctl put k --if-a"), "--if-absent\n");
  EXPECT_EQ(Complete("raftkvctl put k --outp"), "--output\n");
  EXPECT_EQ(Complete("raftkvctl get k --consistency st"), "stale\n");
  EXPECT_EQ(Complete("raftkvctl completion f"), "fish\n");
}

TEST(CompletionTest, OffersEachWordOnce) {
  EXPECT_EQ(Complete("raftkvctl --he"), "--help\n");
  EXPECT_EQ(Complete("raftkvctl put k --he"), "--help\n");
  EXPECT_EQ(Complete("raftkvctl member --he"), "--help\n");
  EXPECT_EQ(Complete("raftkvctl --outp"), "--output\n");
}

TEST(CompletionTest, OtherShells) {
  EXPECT_THAT(RunArgs({"completion", "zsh"}).out, HasSubstr("#compdef raftkvctl"));
  EXPECT_THAT(
      RunArgs({"completion", "fish"}).out,
      HasSubstr("__fish_seen_subcommand_from member; and not __fish_seen_subcommand_from list"));
  EXPECT_EQ(RunArgs({"completion", "tcsh"}).status, 2);
}

}  // namespace
}  // namespace raftkv::ctl
