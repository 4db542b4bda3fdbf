// Runs a kubeconfig's exec plugin.
//
// Thread-safety: every function from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "operator/kube/api_error.h"
#include "operator/kube/byte_stream.h"
#include "operator/kube/client_config.h"

namespace raftkv::kube {

struct ExecCredential {
  std::string token;               // can stand in a header (IsHeaderText)
  std::string client_certificate;  // PEM
  std::string client_key;          // PEM
  std::optional<int64_t> expires_wall_micros;
};

inline constexpr Duration kExecTimeout = std::chrono::seconds(60);
inline constexpr size_t kMaxExecOutput = 1 << 20;

// Blocks until the program has ended: at most kExecTimeout, and no longer than `wait` says. The
// program is the leader of a process group of its own; when its time is over, the whole group is
// killed. Its environment is ours, then the kubeconfig's, then KUBERNETES_EXEC_INFO: of two of one
// name the later one is all that it sees (client-go).
//
// kStopped and kDeadline as `wait` says. kCredentials: it could not be run, took too long, failed
// (with the end of what it wrote to stderr) or printed something else.
ApiResult<ExecCredential> RunExecPlugin(const ClientConfig& config, const Wait& wait = {});
// What a plugin printed; kFailedPrecondition says what is wrong with it.
Result<ExecCredential> ParseExecCredential(std::string_view output);

}  // namespace raftkv::kube
