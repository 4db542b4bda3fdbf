#include <algorithm>

#include "base/check.h"
#include "base/encoding.h"
#include "operator/kube/client_config.h"
#include "operator/kube/object.h"
#include "operator/kube/watch_decoder.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

// "name: value, " for a mapping in one line; nothing for what is not set.
std::string Field(const char* name, const std::string& value) {
  return value.empty() ? "" : std::string(name) + ": " + QuotedForYaml(value) + ", ";
}

std::string Field(const std::string& name, const kube::Material& material) {
  return Field(name.c_str(), material.file) +
         Field((name + "-data").c_str(), Base64Encode(material.data));
}

std::string ExecToYaml(const kube::ExecPlugin& exec) {
  std::string yaml = Field("command", exec.command) + Field("apiVersion", exec.api_version) +
                     Field("installHint", exec.install_hint) + "args: [";
  for (const std::string& argument : exec.arguments) yaml += QuotedForYaml(argument) + ", ";
  yaml += "], env: [";
  for (const auto& [name, value] : exec.environment) {
    yaml += "{name: " + QuotedForYaml(name) + ", value: " + QuotedForYaml(value) + "}, ";
  }
  return yaml + "], provideClusterInfo: " + (exec.provide_cluster_info ? "true" : "false");
}

// A kubeconfig that means `config`, with a context of the name "c" beside one that means nothing.
std::string KubeconfigOf(const kube::ClientConfig& config) {
  const bool v6 = config.host.find(':') != std::string::npos;
  const std::string server = std::string(config.tls ? "https://" : "http://") +
                             (v6 ? "[" + config.host + "]" : config.host) + ":" +
                             std::to_string(config.port) + config.path_prefix;
  return "current-context: other\ncontexts: [{name: other, context: {cluster: none}}, {name: c, "
         "context: {cluster: k, user: u, " +
         Field("namespace", config.default_namespace) + "}}]\nclusters: [{name: k, cluster: {" +
         Field("server", server) + Field("tls-server-name", config.server_name) +
         Field("certificate-authority", config.ca) +
         "insecure-skip-tls-verify: " + (config.insecure_skip_verify ? "true" : "false") +
         "}}]\nusers: [{name: u, user: {" + Field("client-certificate", config.client_certificate) +
         Field("client-key", config.client_key) + Field("token", config.token.data) +
         Field("tokenFile", config.token.file) +
         (config.exec.command.empty() ? "" : "exec: {" + ExecToYaml(config.exec) + "}") + "}}]\n";
}

bool IsPlain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsPath(const kube::Material& material) {
  return material.file.empty() || material.file.starts_with('/');
}

void CheckKubeconfig(const kube::ClientConfig& config) {
  CHECK(!config.host.empty() && config.port != 0, "there is somebody to call");
  CHECK(IsPlain(config.host) && config.host.find_first_of("/?#@[]\\") == std::string::npos,
        "a host is one");
  CHECK(IsPlain(config.path_prefix), "a request can begin with the prefix");
  CHECK(config.path_prefix.empty() ||
            (config.path_prefix.starts_with('/') && !config.path_prefix.ends_with('/')),
        "a path can follow the prefix");
  CHECK(config.path_prefix.find_first_of("?#") == std::string::npos, "a prefix is of a path");
  CHECK(IsPath(config.ca) && IsPath(config.client_certificate) && IsPath(config.client_key) &&
            IsPath(config.token),
        "where files are does not depend on where we are");
  CHECK(config.client_certificate.empty() == config.client_key.empty(), "a pair is whole");
  CHECK(config.token.file.empty() || config.token.data.empty(), "there is one token");
  for (const auto& [name, value] : config.exec.environment) {
    CHECK(!name.empty() && name.find_first_of(std::string_view("=\0", 2)) == std::string::npos &&
              value.find('\0') == std::string::npos,
          "a process can be given the variable");
  }
  const Result<kube::ClientConfig> again =
      kube::ParseKubeconfig(KubeconfigOf(config), "/none", "c");
  CHECK(again, "what was accepted is accepted again: " + (again ? "" : again.error().message()));
  CHECK(*again == config, "what is written means the same");
}

void RunKubeconfig(std::string_view input) {
  const Result<kube::ClientConfig> config = kube::ParseKubeconfig(std::string(input), "/none");
  if (config) return CheckKubeconfig(*config);
  static constexpr const char* kPlaces[] = {"context",
                                            "cluster",
                                            "user",
                                            "server",
                                            "certificate-authority-data",
                                            "exec",
                                            "client-certificate",
                                            "client-key",
                                            "proxy-url",
                                            " at line ",
                                            "no YAML mapping"};
  const std::string& message = config.error().message();
  CHECK(std::ranges::any_of(
            kPlaces, [&](const char* place) { return message.find(place) != std::string::npos; }),
        "a refusal says of what: " + message);
}

std::vector<std::string> KubeconfigSeeds() {
  return {R"(apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]
clusters: [{name: k, cluster: {server: "https://h:6443/p", certificate-authority-data: QUJD}}]
users: [{name: u, user: {token: t}}]
)",
          R"(current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "http://[::1]/p//", certificate-authority: ca.crt}}]
users: [{name: u, user: {client-certificate-data: QQ==, client-key: k.pem, exec: {command: ./p,
  apiVersion: client.authentication.k8s.io/v1, args: [a], env: [{name: A, value: b}]}}}]
)"};
}

void RunObject(std::string_view input) {
  const Result<kube::Object> object = kube::Object::Parse(input);
  if (!object) return;
  (void)object->Owners();
  (void)object->Controller();
  (void)object->generation();
  (void)object->HasFinalizer("f");
  (void)object->Label("l");
  (void)object->At("/spec/replicas");
  (void)kube::ParseResourceVersion(object->resource_version());
  const Result<kube::Object> again = kube::Object::Parse(object->Dump());
  CHECK(again && *again == *object, "what we write can be read");
}

constexpr const char* kPod =
    R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u",)"
    R"("resourceVersion":"17","labels":{"l":"v"},"finalizers":["f"],)"
    R"("ownerReferences":[{"kind":"Set","name":"s","uid":"u2","controller":true}]},)"
    R"("spec":{"replicas":3}})";

std::vector<std::string> ObjectSeeds() { return {kPod}; }

// The same events however the bytes arrive.
void RunWatch(std::string_view input) {
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input.front()) + size_t{1};
  input.remove_prefix(1);
  const auto read = [input](size_t most) {
    kube::WatchDecoder decoder(4096);
    size_t events = 0;
    bool stopped = false;
    for (size_t at = 0; at < input.size() && !stopped; at += most) {
      const auto fed = decoder.Feed(
          input.substr(at, most),
          [&events](const kube::WatchEvent&) {
            ++events;
            return true;
          },
          &stopped);
      if (!fed) break;
      if (most > input.size()) break;
    }
    return events;
  };
  CHECK(read(piece) == read(input.size() + 1), "events do not depend on how the bytes arrive");
}

std::vector<std::string> WatchSeeds() {
  const std::string event = R"({"type":"ADDED","object":)" + std::string(kPod) + "}\n";
  const std::string error =
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
      "\n";
  return {"\x07" + event + event, "\x40" + event + error,
          "\x01{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n"};
}

}  // namespace

std::vector<Target> TextTargets() {
  return {{"kubeconfig", RunKubeconfig, KubeconfigSeeds},
          {"kube_object", RunObject, ObjectSeeds},
          {"kube_watch", RunWatch, WatchSeeds}};
}

}  // namespace raftkv::fuzz
