#include "operator/kube/client_config.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <yaml-cpp/yaml.h>

#include "operator/kube/base64.h"

namespace raftkv::kube {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string out;
  char buffer[4096];
  while (in && out.size() <= kMaxConfigBytes) {
    in.read(buffer, sizeof(buffer));
    out.append(buffer, static_cast<size_t>(in.gcount()));
  }
  if (in.bad() || (!in.eof() && !in)) return Error(Code::kIoError, "cannot read '" + path + "'");
  if (out.size() > kMaxConfigBytes) {
    return Error(Code::kInvalidArgument, "'" + path + "' is larger than 1 MiB");
  }
  return out;
}

std::string Text(const YAML::Node& node, const char* name) {
  YAML::Node value = node.IsMap() ? node[name] : YAML::Node();
  return value && value.IsScalar() ? value.Scalar() : "";
}

bool Flag(const YAML::Node& node, const char* name) { return Text(node, name) == "true"; }

// The entry of that name in a list of {name: ..., <what>: {...}}.
Result<YAML::Node> Named(const YAML::Node& root, const char* list, const char* what,
                         const std::string& name) {
  const YAML::Node entries = root[list];
  if (entries && entries.IsSequence()) {
    for (const auto& entry : entries) {
      if (Text(entry, "name") != name) continue;
      YAML::Node found = entry[what];
      if (found && found.IsMap()) return found;
      return YAML::Node(YAML::NodeType::Map);
    }
  }
  return Error(Code::kInvalidArgument,
               "the kubeconfig has no " + std::string(what) + " '" + name + "'");
}

std::string Absolute(const std::string& path, const std::string& folder) {
  return path.empty() || path[0] == '/' ? path : folder + "/" + path;
}

// NAME-data holds base64, NAME the path of a file.
Result<Material> ReadMaterial(const YAML::Node& node, const std::string& name,
                              const std::string& folder) {
  Material out;
  if (std::string data = Text(node, (name + "-data").c_str()); !data.empty()) {
    auto decoded = DecodeBase64(data);
    if (!decoded) {
      return Error(Code::kInvalidArgument, "the kubeconfig's " + name + "-data is not base64");
    }
    out.data = std::move(*decoded);
    return out;
  }
  out.file = Absolute(Text(node, name.c_str()), folder);
  return out;
}

bool IsPlain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// "https://host:port/prefix", with [brackets] around an IPv6 address.
Status ParseServer(const std::string& server, ClientConfig* config) {
  std::string_view rest = server;
  Status bad(Code::kInvalidArgument,
             "the kubeconfig's server '" + server + "' is no http(s)://host:port address");
  config->tls = rest.starts_with("https://");
  if (!config->tls && !rest.starts_with("http://")) return bad;
  rest.remove_prefix(config->tls ? 8 : 7);
  size_t slash = std::min(rest.find('/'), rest.size());
  config->path_prefix = rest.substr(slash);
  while (config->path_prefix.ends_with('/')) config->path_prefix.pop_back();
  std::string_view authority = rest.substr(0, slash);
  size_t host_end = authority.starts_with('[') ? authority.find(']') : authority.find(':');
  if (authority.starts_with('[')) {
    if (host_end == std::string_view::npos) return bad;
    config->host = authority.substr(1, host_end - 1);
    ++host_end;
  } else {
    host_end = std::min(host_end, authority.size());
    config->host = authority.substr(0, host_end);
  }
  config->port = config->tls ? 443 : 80;
  if (std::string_view port = authority.substr(host_end); !port.empty()) {
    auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), config->port);
    if (port[0] != ':' || error != std::errc() || end != port.data() + port.size()) return bad;
  }
  // Neither a user before the host nor a query behind the prefix.
  const bool is_host = !config->host.empty() && IsPlain(config->host) &&
                       config->host.find_first_of("?#@[]\\") == std::string::npos;
  const bool is_prefix =
      IsPlain(config->path_prefix) && config->path_prefix.find_first_of("?#") == std::string::npos;
  return is_host && is_prefix && config->port != 0 ? Status::Ok() : bad;
}

Status ReadCluster(const YAML::Node& cluster, const std::string& folder, ClientConfig* config) {
  RETURN_IF_ERROR(ParseServer(Text(cluster, "server"), config));
  config->server_name = Text(cluster, "tls-server-name");
  config->insecure_skip_verify = Flag(cluster, "insecure-skip-tls-verify");
  ASSIGN_OR_RETURN_STATUS(config->ca, ReadMaterial(cluster, "certificate-authority", folder));
  if (!Text(cluster, "proxy-url").empty()) {
    return {Code::kInvalidArgument,
            "the kubeconfig wants a proxy (proxy-url), which is not "
            "supported"};
  }
  return Status::Ok();
}

// A process gets its arguments and variables as text that a NUL byte ends.
bool IsForProcess(std::string_view text) { return text.find('\0') == std::string_view::npos; }

Status ReadExec(const YAML::Node& exec, const std::string& folder, ExecPlugin* out) {
  out->command = Text(exec, "command");
  if (out->command.empty()) {
    return {Code::kInvalidArgument, "the kubeconfig's exec plugin has no command"};
  }
  if (out->command.find('/') != std::string::npos) out->command = Absolute(out->command, folder);
  out->api_version = Text(exec, "apiVersion");
  if (out->api_version != "client.authentication.k8s.io/v1" &&
      out->api_version != "client.authentication.k8s.io/v1beta1") {
    return {Code::kInvalidArgument, "the kubeconfig's exec plugin speaks '" + out->api_version +
                                        "'; client.authentication.k8s.io/v1 or v1beta1 is needed"};
  }
  out->provide_cluster_info = Flag(exec, "provideClusterInfo");
  out->install_hint = Text(exec, "installHint");
  if (const YAML::Node arguments = exec["args"]; arguments && arguments.IsSequence()) {
    for (const auto& argument : arguments) {
      if (!argument.IsScalar() || !IsForProcess(argument.Scalar())) {
        return {Code::kInvalidArgument, "the kubeconfig's exec plugin has args that are no text"};
      }
      out->arguments.push_back(argument.Scalar());
    }
  }
  if (const YAML::Node variables = exec["env"]; variables && variables.IsSequence()) {
    for (const auto& one : variables) {
      const std::string name = Text(one, "name");
      const std::string value = Text(one, "value");
      if (name.empty() || name.find('=') != std::string::npos || !IsForProcess(name + value)) {
        return {Code::kInvalidArgument,
                "the kubeconfig's exec plugin has an env that is no name with a value"};
      }
      out->environment[name] = value;
    }
  }
  return Status::Ok();
}

Status ReadUser(const YAML::Node& user, const std::string& folder, ClientConfig* config) {
  for (const char* unsupported : {"auth-provider", "username", "as"}) {
    if (user[unsupported]) {
      return {Code::kInvalidArgument,
              "the kubeconfig's user has '" + std::string(unsupported) +
                  "', which is not supported; use a client certificate, a token or exec"};
    }
  }
  ASSIGN_OR_RETURN_STATUS(config->client_certificate,
                          ReadMaterial(user, "client-certificate", folder));
  ASSIGN_OR_RETURN_STATUS(config->client_key, ReadMaterial(user, "client-key", folder));
  if (config->client_certificate.empty() != config->client_key.empty()) {
    return {Code::kInvalidArgument,
            "the kubeconfig's user has only one of client-certificate and client-key"};
  }
  // The file wins: it rotates.
  config->token.file = Absolute(Text(user, "tokenFile"), folder);
  if (config->token.file.empty()) config->token.data = Text(user, "token");
  if (const YAML::Node exec = user["exec"]; exec && exec.IsMap()) {
    return ReadExec(exec, folder, &config->exec);
  }
  return Status::Ok();
}

Result<ClientConfig> FromYaml(const YAML::Node& root, const std::string& folder,
                              std::string_view context) {
  if (!root.IsMap()) return Error(Code::kInvalidArgument, "the kubeconfig is no YAML mapping");
  std::string name(context.empty() ? Text(root, "current-context") : std::string(context));
  if (name.empty()) {
    return Error(Code::kInvalidArgument, "the kubeconfig names no current-context");
  }
  ASSIGN_OR_RETURN(YAML::Node chosen, Named(root, "contexts", "context", name));
  ASSIGN_OR_RETURN(YAML::Node cluster, Named(root, "clusters", "cluster", Text(chosen, "cluster")));
  ASSIGN_OR_RETURN(YAML::Node user, Named(root, "users", "user", Text(chosen, "user")));
  ClientConfig config;
  RETURN_UNEXPECTED_IF_ERROR(ReadCluster(cluster, folder, &config));
  RETURN_UNEXPECTED_IF_ERROR(ReadUser(user, folder, &config));
  if (std::string ns = Text(chosen, "namespace"); !ns.empty()) config.default_namespace = ns;
  return config;
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Result<ClientConfig> ParseKubeconfig(const std::string& yaml, const std::string& folder,
                                     std::string_view context) {
  try {
    return FromYaml(YAML::Load(yaml), folder, context);
  } catch (const YAML::Exception& e) {
    return Error(Code::kInvalidArgument, std::string("the kubeconfig is no YAML: ") + e.what());
  }
}

Result<ClientConfig> LoadKubeconfig(const std::string& path, std::string_view context) {
  ASSIGN_OR_RETURN(std::string yaml, ReadFile(path));
  size_t slash = path.rfind('/');
  auto config =
      ParseKubeconfig(yaml, slash == std::string::npos ? "." : path.substr(0, slash), context);
  if (!config) return Error(config.error().code(), path + ": " + config.error().message());
  return config;
}

Result<ClientConfig> InClusterConfig(const std::string& folder) {
  std::string host = Environment("KUBERNETES_SERVICE_HOST");
  std::string port = Environment("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return Error(Code::kFailedPrecondition,
                 "not in a pod: KUBERNETES_SERVICE_HOST and _PORT are not set; give a kubeconfig");
  }
  ClientConfig config;
  bool v6 = host.find(':') != std::string::npos;
  RETURN_UNEXPECTED_IF_ERROR(
      ParseServer("https://" + (v6 ? "[" + host + "]" : host) + ":" + port, &config));
  config.ca.file = folder + "/ca.crt";
  config.token.file = folder + "/token";
  auto ns = ReadFile(folder + "/namespace");
  if (ns && !ns->empty()) config.default_namespace = ns->substr(0, ns->find_last_not_of("\n ") + 1);
  return config;
}

Result<ClientConfig> DefaultConfig(const std::string& kubeconfig) {
  if (!kubeconfig.empty()) return LoadKubeconfig(kubeconfig);
  if (std::string path = Environment("KUBECONFIG"); !path.empty()) return LoadKubeconfig(path);
  if (!Environment("KUBERNETES_SERVICE_HOST").empty()) return InClusterConfig();
  return LoadKubeconfig(Environment("HOME") + "/.kube/config");
}

}  // namespace raftkv::kube
