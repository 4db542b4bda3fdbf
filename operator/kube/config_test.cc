// Kubeconfig files, in-cluster files, namespaces.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "operator/kube/client_config.h"
#include "operator/kube/resource.h"
#include "operator/kube/test_files.h"

namespace raftkv::kube {
namespace {

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
