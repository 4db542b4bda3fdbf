// Kubeconfig files, in-cluster files, exec plugins, and credentials that rotate.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "operator/kube/client_config.h"
#include "operator/kube/credentials.h"
#include "operator/kube/exec_plugin.h"
#include "operator/kube/rest_client.h"
#include "operator/kube/test_server.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr char kYaml[] = R"(
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: raftkv-system}}
- {name: two, context: {cluster: d, user: v}}
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Y2E=}
- name: d
  cluster: {server: "https://[fd00::1]/k8s/prefix/", certificate-authority: pki/ca.crt, tls-server-name: api}
users:
- {name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}
- name: v
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: bin/get-token
      args: ["--cluster", "d"]
      env: [{name: A, value: b}]
      installHint: install get-token
)";

TEST(Kubeconfig, ReadsInlineCertificates) {
  auto config = ParseKubeconfig(kYaml, "/folder");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->host, "10.0.0.1");
  EXPECT_EQ(config->port, 6443);
  EXPECT_EQ(config->ca.data, "ca");
  EXPECT_EQ(config->client_certificate.data, "cert");
  EXPECT_EQ(config->client_key.data, "key");
  EXPECT_EQ(config->default_namespace, "raftkv-system");
}

TEST(Kubeconfig, ReadsAnotherContextWithFilesAndExec) {
  auto config = ParseKubeconfig(kYaml, "/folder", "two");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->host, "fd00::1");
  EXPECT_EQ(config->port, 443);
  EXPECT_EQ(config->path_prefix, "/k8s/prefix");
  EXPECT_EQ(config->ca.file, "/folder/pki/ca.crt");
  EXPECT_EQ(config->server_name, "api");
  EXPECT_EQ(config->exec.command, "/folder/bin/get-token");
  EXPECT_EQ(config->exec.arguments, (std::vector<std::string>{"--cluster", "d"}));
  EXPECT_EQ(config->exec.environment.at("A"), "b");
}

TEST(Kubeconfig, SaysWhatIsWrong) {
  auto message = [](std::string from, const std::string& to) {
    std::string yaml = kYaml;
    yaml.replace(yaml.find(from), from.size(), to);
    auto config = ParseKubeconfig(yaml, "/folder");
    return config ? "" : config.error().message();
  };
  EXPECT_NE(message("cluster: c,", "cluster: x,").find("no cluster 'x'"), std::string::npos);
  EXPECT_NE(message("https://10.0.0.1:6443", "10.0.0.1").find("'10.0.0.1'"), std::string::npos);
  for (const std::string server :
       {"https://user@10.0.0.1", "https://10.0.0.1/p?q", "https://10.0.0.1#f",
        "https://10.0.0.1/p q", "https://10.0 .0.1", "https://[::1"}) {
    EXPECT_NE(message("https://10.0.0.1:6443", server).find("kubeconfig's server"),
              std::string::npos)
        << server;
  }
  const auto exec = [&message](const std::string& more) {
    return message("client-key-data: a2V5",
                   "client-key-data: a2V5, exec: {command: p, apiVersion: "
                   "client.authentication.k8s.io/v1, " +
                       more + "}");
  };
  EXPECT_EQ(exec("args: [a], env: [{name: A, value: b}]"), "");
  EXPECT_NE(exec("args: [{a: b}]").find("args"), std::string::npos);
  EXPECT_NE(exec("env: [{value: b}]").find("env"), std::string::npos);
  EXPECT_NE(exec("env: [{name: A=B, value: b}]").find("env"), std::string::npos);
  EXPECT_NE(message("Y2E=", "Y2E").find("certificate-authority-data"), std::string::npos);
  EXPECT_NE(message(", client-key-data: a2V5", "").find("only one of"), std::string::npos);
  EXPECT_NE(message("client-key-data: a2V5", "auth-provider: {}").find("auth-provider"),
            std::string::npos);
  EXPECT_NE(message("\ncontexts:", "\ncontexts: [").find("no YAML"), std::string::npos);
  EXPECT_NE(message("current-context: one", "").find("names no current-context"),
            std::string::npos);
  EXPECT_FALSE(LoadKubeconfig("/does/not/exist"));
}

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    char pattern[] = "/tmp/raftkv-kube-test-XXXXXX";
    folder_ = mkdtemp(pattern);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& content, bool executable = false) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    if (executable) chmod(path.c_str(), 0755);
    return path;
  }
  std::string Read(const std::string& name) {
    std::ifstream in(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string folder_;
  FakeTiming timing_{FakeTiming::Mode::kJump};
};

TEST_F(FilesTest, InCluster) {
  Write("token", "t\n");
  Write("ca.crt", "x");
  Write("namespace", "raftkv-system\n");
  setenv("KUBERNETES_SERVICE_HOST", "fd00::10", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  auto config = InClusterConfig(folder_);
  unsetenv("KUBERNETES_SERVICE_HOST");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->host, "fd00::10");
  EXPECT_EQ(config->token.file, folder_ + "/token");
  EXPECT_EQ(config->default_namespace, "raftkv-system");
  EXPECT_EQ(InClusterConfig(folder_).error().code(), Code::kFailedPrecondition);
}

TEST_F(FilesTest, TokenFilesAreReadAgainEveryMinuteLessTenSeconds) {
  ClientConfig config;
  config.tls = false;
  config.token.file = Write("token", "one\n");
  Credentials credentials(config, &timing_);
  EXPECT_EQ(credentials.Current()->token, "one");
  Write("token", "two\n");
  timing_.Advance(seconds(49));
  EXPECT_EQ(credentials.Current()->token, "one");
  timing_.Advance(seconds(1));
  EXPECT_EQ(credentials.Current()->token, "two");
  // Gone for a moment, as an atomic replacement by a careless tool: the last one stays.
  std::filesystem::remove(config.token.file);
  timing_.Advance(minutes(1));
  EXPECT_EQ(credentials.Current()->token, "two");
  // A refusal does not wait.
  Write("token", "three\n");
  credentials.Refused();
  EXPECT_EQ(credentials.Current()->token, "three");
}

TEST_F(FilesTest, ATokenWithALineBreakIsRefused) {
  ClientConfig config;
  config.tls = false;
  config.token.data = "a\r\nX-Evil: b";
  EXPECT_EQ(Credentials(config, &timing_).Current().error().reason, Reason::kCredentials);
}

// Another authority and server certificate after 5 minutes, and no connection under the old one.
TEST_F(FilesTest, AuthoritiesRotate) {
  TestServer server([](TestExchange& exchange) { exchange.Respond(200, "{}"); });
  ClientConfig config = server.config();
  config.ca = {.file = Write("ca.crt", server.authority().pem())};
  RestClient client(config, {}, &timing_);
  EXPECT_TRUE(client.GetRaw("/version"));
  TestAuthority other;
  server.UseIdentity(other.Issue("server"));
  Write("ca.crt", other.pem());
  EXPECT_TRUE(client.GetRaw("/version")) << "the kept connection still works";
  EXPECT_EQ(server.connections(), 1);
  timing_.Advance(minutes(5));
  auto version = client.GetRaw("/version");
  EXPECT_TRUE(version) << version.error().ToString();
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(FilesTest, ClientCertificatesRotateAndHalfWrittenOnesAreNotUsed) {
  TestServer server([](TestExchange& exchange) { exchange.Respond(200, exchange.client_name); });
  TestIdentity first = server.authority().Issue("first");
  TestIdentity second = server.authority().Issue("second");
  ClientConfig config = server.config();
  config.client_certificate.file = Write("tls.crt", first.certificate);
  config.client_key.file = Write("tls.key", first.key);
  RestClient client(config, {}, &timing_);
  EXPECT_EQ(client.GetRaw("/").value(), "first");
  Write("tls.crt", second.certificate);  // the key is still the first one's
  timing_.Advance(minutes(5));
  EXPECT_EQ(client.GetRaw("/").value(), "first");
  Write("tls.key", second.key);
  timing_.Advance(minutes(5));
  EXPECT_EQ(client.GetRaw("/").value(), "second");
}

constexpr char kPlugin[] = R"(#!/bin/sh
printf x >> "$FOLDER/runs"
[ -n "$KUBERNETES_EXEC_INFO" ] || exit 3
token=token-$(wc -c < "$FOLDER/runs" | tr -d ' ')
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"%s}}' "$token" "$EXPIRES"
)";

class ExecTest : public FilesTest {
 protected:
  ClientConfig Config(const std::string& expires = "") {
    ClientConfig config;
    config.tls = false;
    config.exec = {.command = Write("plugin", kPlugin, true),
                   .environment = {{"FOLDER", folder_}, {"EXPIRES", expires}},
                   .api_version = "client.authentication.k8s.io/v1",
                   .install_hint = "install it"};
    return config;
  }
};

TEST_F(ExecTest, ACredentialIsKeptUntilItEnds) {
  std::string in_an_hour = FormatTime(timing_.WallMicros() + 3'600'000'000);
  Credentials credentials(Config(R"(,"expirationTimestamp":")" + in_an_hour + "\""), &timing_);
  EXPECT_EQ(credentials.Current()->token, "token-1");
  // A clock that is set must not make it end early or late.
  timing_.JumpWall(std::chrono::hours(48));
  timing_.Advance(minutes(59));
  EXPECT_EQ(credentials.Current()->token, "token-1");
  timing_.Advance(seconds(51));  // within 10 s of its end
  EXPECT_EQ(credentials.Current()->token, "token-2");
}

TEST_F(ExecTest, Unauthorized401RunsThePluginAgainOnce) {
  ClientConfig exec = Config();
  TestServer server(
      [](TestExchange& exchange) {
        if (exchange.headers["authorization"] == "Bearer token-2") {
          return exchange.Respond(200, "{}");
        }
        exchange.Refuse(401, "Unauthorized");
      },
      false);
  ClientConfig config = server.config();
  config.exec = exec.exec;
  RestClient client(config, {}, &timing_);
  EXPECT_TRUE(client.GetRaw("/version"));
  EXPECT_EQ(Read("runs"), "xx");
  EXPECT_TRUE(client.GetRaw("/version"));
  EXPECT_EQ(Read("runs"), "xx");
}

TEST_F(ExecTest, FailuresAreExplained) {
  ClientConfig config = Config();
  auto message = [&](const std::string& script) {
    Write("plugin", "#!/bin/sh\n" + script, true);
    auto credential = RunExecPlugin(config);
    return credential ? "" : credential.error().message();
  };
  EXPECT_NE(message("echo no ticket >&2; exit 4").find("status 4: no ticket"), std::string::npos);
  EXPECT_NE(message("exit 4").find("install it"), std::string::npos);
  EXPECT_NE(message("echo hello").find("no ExecCredential"), std::string::npos);
  EXPECT_NE(message("head -c 2000000 /dev/zero").find("more than 1 MiB"), std::string::npos);
  config.exec.command = folder_ + "/nothing";
  EXPECT_NE(RunExecPlugin(config).error().message().find("cannot be run"), std::string::npos);
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

// " b" was looked after, of which there is none, and a comma alone was every namespace.
TEST(Namespaces, AreNamesEachOnceInOrder) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(*ReadNamespaces({}), Names());
  EXPECT_EQ(*ReadNamespaces({""}), Names());
  EXPECT_EQ(*ReadNamespaces({"b-2,a"}), (Names{"a", "b-2"}));
  EXPECT_EQ(*ReadNamespaces({"b", "a,b", "a"}), (Names{"a", "b"}));
  EXPECT_EQ(*ReadNamespaces({std::string(63, 'a')}), Names{std::string(63, 'a')});
  for (const char* wrong : {",", "a,", ",a", "a,,b", "a, b", " ", "A", "a.b", "-a", "a-", "a_b"}) {
    EXPECT_FALSE(ReadNamespaces({wrong})) << wrong;
  }
  EXPECT_FALSE(ReadNamespaces({std::string(64, 'a')}));
  EXPECT_FALSE(ReadNamespaces({"a", ""}));
}

}  // namespace
}  // namespace raftkv::kube
