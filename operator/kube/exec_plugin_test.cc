// Runs of exec plugins: what they are given, how they end, what they print.
#include "operator/kube/exec_plugin.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "operator/kube/test_files.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ExecPluginTest : public FilesTest {
 protected:
  ClientConfig Config(const std::string& script) {
    ClientConfig config;
    config.tls = false;
    config.exec = {.command = Write("plugin", "#!/bin/sh\n" + script, true),
                   .environment = {{"FOLDER", folder_}},
                   .api_version = "client.authentication.k8s.io/v1",
                   .install_hint = "install it"};
    return config;
  }
  std::string Message(const std::string& script) {
    auto credential = RunExecPlugin(Config(script));
    return credential ? "" : credential.error().message;
  }
  // Of the process whose number is in the file: neither running nor a zombie.
  bool IsGone(const std::string& name) {
    std::ifstream status("/proc/" + std::to_string(std::stoi(Read(name))) + "/stat");
    std::string text{std::istreambuf_iterator<char>(status), {}};
    // Whose parent has gone is reaped by somebody else, at his leisure.
    return text.empty() || text.find(") Z ") != std::string::npos;
  }
  // Nothing that was started here is still there, not even as a zombie.
  static bool HasNoChildren() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }
};

// Writes its number and its child's, and hangs.
constexpr char kHangs[] = R"(
sleep 1000 &
echo $! > "$FOLDER/child~" && mv "$FOLDER/child~" "$FOLDER/child"
echo $$ > "$FOLDER/self~" && mv "$FOLDER/self~" "$FOLDER/self"
wait
)";

TEST_F(ExecPluginTest, FailuresAreExplained) {
  EXPECT_NE(Message("echo no ticket >&2; exit 4").find("status 4: no ticket"), std::string::npos);
  EXPECT_NE(Message("exit 4").find("install it"), std::string::npos);
  EXPECT_NE(Message("echo hello").find("no ExecCredential"), std::string::npos);
  EXPECT_NE(Message("head -c 2000000 /dev/zero").find("more than 1 MiB"), std::string::npos);
  ClientConfig config = Config("");
  config.exec.command = folder_ + "/nothing";
  EXPECT_NE(RunExecPlugin(config).error().message.find("cannot be run"), std::string::npos);
  EXPECT_TRUE(HasNoChildren());
}

// A program that takes the first of two variables saw the inherited one.
TEST_F(ExecPluginTest, TheKubeconfigsVariablesWinOverInheritedOnes) {
  auto credential = [](const std::string& token) {
    return R"({"kind":"ExecCredential","status":{"token":")" + token + "\"}}";
  };
  ClientConfig config = Config("");
  config.exec.command = "printenv";  // each variable of the name that there is
  config.exec.arguments = {"CREDENTIAL"};
  config.exec.environment = {{"CREDENTIAL", credential("kubeconfig")}};
  setenv("CREDENTIAL", credential("inherited").c_str(), 1);
  auto run = RunExecPlugin(config);
  config.exec.environment.clear();
  auto inherited = RunExecPlugin(config);
  unsetenv("CREDENTIAL");
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_EQ(run->token, "kubeconfig");
  ASSERT_TRUE(inherited) << inherited.error().message;
  EXPECT_EQ(inherited->token, "inherited");
}

TEST_F(ExecPluginTest, OurExecInfoWinsOverEverything) {
  setenv("KUBERNETES_EXEC_INFO", "inherited", 1);
  ClientConfig config = Config(R"sh(
[ "$(printenv KUBERNETES_EXEC_INFO | wc -l)" = 1 ] || exit 3
printenv KUBERNETES_EXEC_INFO | grep -q '"kind":"ExecCredential"' || exit 4
echo '{"kind":"ExecCredential","status":{"token":"t"}}'
)sh");
  config.exec.environment["KUBERNETES_EXEC_INFO"] = "kubeconfig";
  auto run = RunExecPlugin(config);
  unsetenv("KUBERNETES_EXEC_INFO");
  EXPECT_TRUE(run) << run.error().message;
}

TEST_F(ExecPluginTest, AStopEndsItAndAllThatItHasStarted) {
  ClientConfig config = Config(kHangs);
  std::stop_source stop;
  std::thread stopper([&] {
    EXPECT_TRUE(Eventually([&] { return !Read("self").empty(); }));
    stop.request_stop();
  });
  auto run = RunExecPlugin(config, {.stop = stop.get_token()});
  stopper.join();
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().reason, Reason::kStopped);
  EXPECT_TRUE(HasNoChildren());
  EXPECT_TRUE(IsGone("self"));
  EXPECT_TRUE(Eventually([&] { return IsGone("child"); }));
}

TEST_F(ExecPluginTest, ADeadlineEndsItAndAllThatItHasStarted) {
  ClientConfig config = Config(kHangs);
  // Long enough for it to have begun, on a machine that is busy, most of the time.
  for (auto limit : {milliseconds(500), milliseconds(20'000)}) {
    auto run = RunExecPlugin(config, Wait::For(limit));
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().reason, Reason::kDeadline);
    EXPECT_TRUE(HasNoChildren());
    if (!Read("self").empty()) break;
  }
  EXPECT_TRUE(IsGone("self"));
  EXPECT_TRUE(Eventually([&] { return IsGone("child"); }));
}

// The end of its output was taken for its end, which was then awaited for ever.
TEST_F(ExecPluginTest, OneThatClosesItsOutputAndHangsIsEnded) {
  ClientConfig config = Config("exec >&- 2>&-; exec sleep 1000");
  auto run = RunExecPlugin(config, Wait::For(milliseconds(300)));
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().reason, Reason::kDeadline);
  EXPECT_TRUE(HasNoChildren());
}

TEST_F(ExecPluginTest, OneThatEndsAfterItsOutputIsAwaited) {
  ClientConfig config = Config(
      R"(echo '{"kind":"ExecCredential","status":{"token":"t"}}'; exec >&- 2>&-; sleep 0.1; exit 5)");
  auto run = RunExecPlugin(config);
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().message.find("status 5"), std::string::npos) << run.error().message;
}

TEST(ExecCredential, NeedsTokenOrBothOfCertificateAndKey) {
  EXPECT_FALSE(ParseExecCredential(R"({"kind":"ExecCredential","status":{}})"));
  EXPECT_FALSE(
      ParseExecCredential(R"({"kind":"ExecCredential","status":{"clientCertificateData":"x"}})"));
  EXPECT_FALSE(ParseExecCredential(
      R"({"kind":"ExecCredential","status":{"token":"x","expirationTimestamp":"soon"}})"));
  EXPECT_TRUE(ParseExecCredential(
      R"({"kind":"ExecCredential","status":{"clientCertificateData":"x","clientKeyData":"y"}})"));
}

// It would have been another header of each call.
TEST(ExecCredential, ATokenWithALineBreakIsRefused) {
  for (const char* token : {R"(a\r\nX-Evil: b)", R"(a\n)", R"(\u0000)", R"(\u007f)"}) {
    auto credential = ParseExecCredential(R"({"kind":"ExecCredential","status":{"token":")" +
                                          std::string(token) + "\"}}");
    ASSERT_FALSE(credential) << token;
    EXPECT_NE(credential.error().message().find("control character"), std::string::npos);
  }
}

}  // namespace
}  // namespace raftkv::kube
