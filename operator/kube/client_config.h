// Where the API server is and how to prove who we are: from a kubeconfig file or from the files
// that Kubernetes mounts into a pod.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace raftkv::kube {

// Bytes given inline, or a file that is read again from time to time because it rotates.
struct Material {
  std::string data;
  std::string file;
  bool empty() const { return data.empty() && file.empty(); }
  friend bool operator==(const Material&, const Material&) = default;
};

// A program that prints an ExecCredential (client.authentication.k8s.io/v1 or v1beta1).
struct ExecPlugin {
  std::string command;  // looked up in PATH, or relative to the kubeconfig's folder if it has a '/'
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // added to ours
  std::string api_version;
  bool provide_cluster_info = false;
  std::string install_hint;
  friend bool operator==(const ExecPlugin&, const ExecPlugin&) = default;
};

struct ClientConfig {
  std::string host;
  uint16_t port = 443;
  bool tls = true;
  std::string path_prefix;  // of a server behind a proxy: "/k8s/clusters/c-1"
  std::string server_name;  // for the certificate and SNI; empty: host
  Material ca;              // empty: the system's authorities
  bool insecure_skip_verify = false;

  Material client_certificate;
  Material client_key;
  Material token;
  ExecPlugin exec;  // command empty: none

  std::string default_namespace = "default";
  friend bool operator==(const ClientConfig&, const ClientConfig&) = default;
};

// The file that $KUBECONFIG names (one path), or ~/.kube/config. `context` empty: the current one.
// Refuses what it does not support (auth providers, user name and password, proxies) by name.
Result<ClientConfig> LoadKubeconfig(const std::string& path, std::string_view context = {});
Result<ClientConfig> ParseKubeconfig(const std::string& yaml, const std::string& folder,
                                     std::string_view context = {});

// From KUBERNETES_SERVICE_HOST and _PORT and `folder`'s token, ca.crt and namespace.
inline constexpr std::string_view kServiceAccountFolder =
    "/var/run/secrets/kubernetes.io/serviceaccount";
Result<ClientConfig> InClusterConfig(
    const std::string& folder = std::string(kServiceAccountFolder));

// `kubeconfig` if it is not empty; else $KUBECONFIG if set; else in-cluster if this is a pod; else
// ~/.kube/config.
Result<ClientConfig> DefaultConfig(const std::string& kubeconfig = {});

}  // namespace raftkv::kube
