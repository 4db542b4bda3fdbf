#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "node/config/config.h"
#include "operator/kube/client_config.h"
#include "operator/kube/object.h"
#include "operator/kube/watch_decoder.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

// Lines are arguments.
void RunFlags(std::string_view input) {
  std::vector<std::string> args(1);
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
  const Result<Invocation> invocation = ParseCommandLine(args, {});
  if (!invocation) CHECK(!invocation.error().message().empty(), "a refusal says why");
}

std::vector<std::string> FlagSeeds() {
  return {"--raft-tick\n50ms\n--start-mode\nstatic\n--start-peers\n127.0.0.1:7071",
          "--id\n1\n--cluster\nhttp://127.0.0.1:12379\n--port\n12380",
          "-state_dir\ndata/1\n-raft\n:8080\n-api\n:9090", "--http-max-value-bytes=2MiB\n--help"};
}

void RunConfigFile(std::string_view input) {
  static const std::string file = std::filesystem::temp_directory_path() /
                                  ("raftkv-fuzz-" + std::to_string(getpid()) + ".yaml");
  std::ofstream(file, std::ios::binary | std::ios::trunc) << input;
  const Result<Invocation> invocation = ParseCommandLine({"--config", file}, {});
  if (!invocation) CHECK(!invocation.error().message().empty(), "a refusal says why");
  std::filesystem::remove(file);
}

std::vector<std::string> ConfigFileSeeds() {
  return {"raft: {tick: 100ms, pre_vote: true}\nname: a\n",
          "client:\n  listen: 127.0.0.1:0\nstart:\n  mode: join\n  peers: [a:1, b:2]\n",
          "http:\n  max_value_bytes: 2MiB\n  idle_timeout: 1m30s\n"};
}

void RunKubeconfig(std::string_view input) {
  const Result<kube::ClientConfig> config = kube::ParseKubeconfig(std::string(input), "/none");
  if (!config) CHECK(!config.error().message().empty(), "a refusal says why");
}

std::vector<std::string> KubeconfigSeeds() {
  return {R"(apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]
clusters: [{name: k, cluster: {server: "https://h:6443/p", certificate-authority-data: QUJD}}]
users: [{name: u, user: {token: t}}]
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
  return {{"flags", RunFlags, FlagSeeds},
          {"config_file", RunConfigFile, ConfigFileSeeds},
          {"kubeconfig", RunKubeconfig, KubeconfigSeeds},
          {"kube_object", RunObject, ObjectSeeds},
          {"kube_watch", RunWatch, WatchSeeds}};
}

}  // namespace raftkv::fuzz
