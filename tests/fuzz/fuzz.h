// Fuzz targets: one for each decoder that reads bytes which others wrote. A target returns for
// every input; a broken promise is a failed CHECK.
//
// libFuzzer drives them (`./dev fuzz`); a plain test replays the seeds, the corpora in
// tests/fuzz/corpus, and some mutations of both in every build, also under the sanitizers.
//
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace raftkv::fuzz {

struct Target {
  const char* name;
  void (*run)(std::string_view input);
  // Valid inputs, made with our own encoders: where a fuzzer starts.
  std::vector<std::string> (*seeds)();
};

const std::vector<Target>& Targets();
const Target* FindTarget(std::string_view name);  // null: none

std::vector<Target> WireTargets();      // peer frames and messages, commands
std::vector<Target> StorageTargets();   // log records, write-ahead logs, state records, snapshots
std::vector<Target> HttpTargets();      // heads, queries, conditions, bodies
std::vector<Target> SettingsTargets();  // flags, variables and files of settings
std::vector<Target> TextTargets();      // kubeconfigs, Kubernetes objects and watches
std::vector<Target> StreamTargets();    // HTTP and peer connections, answers of nodes
std::vector<Target> DialectTargets();   // the client APIs of the example programs
std::vector<Target> KubeTargets();      // framing of the API server's answers, exec plugins
std::vector<Target> OperatorTargets();  // RaftKV resources, answers of nodes and the API server

// Cuts an input into parts, for targets that take several: bytes 0xff 0xfe end a part.
std::vector<std::string_view> Split(std::string_view input);
std::string Join(const std::vector<std::string>& parts);

// As YAML has it, whatever its bytes.
std::string QuotedForYaml(std::string_view text);

}  // namespace raftkv::fuzz
