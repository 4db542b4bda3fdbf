// Runs a kubeconfig's exec plugin.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "operator/kube/client_config.h"

namespace raftkv::kube {

struct ExecCredential {
  std::string token;
  std::string client_certificate;  // PEM
  std::string client_key;          // PEM
  std::optional<int64_t> expires_wall_micros;
};

inline constexpr Duration kExecTimeout = std::chrono::seconds(60);
inline constexpr size_t kMaxExecOutput = 1 << 20;

// Blocks until the program has ended, at most kExecTimeout. kFailedPrecondition: it could not be
// run, failed (with the end of what it wrote to stderr) or printed something else.
Result<ExecCredential> RunExecPlugin(const ClientConfig& config);
// What a plugin printed.
Result<ExecCredential> ParseExecCredential(std::string_view output);

}  // namespace raftkv::kube
