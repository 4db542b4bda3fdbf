#include "operator/kube/exec_plugin.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/kube/object.h"
#include "operator/kube/timing.h"

extern char** environ;

namespace raftkv::kube {
namespace {

constexpr size_t kMaxErrorText = 1000;

std::unexpected<Status> Failed(const ClientConfig& config, const std::string& why) {
  std::string message = "exec plugin '" + config.exec.command + "': " + why;
  if (!config.exec.install_hint.empty()) message += "; " + config.exec.install_hint;
  return Error(Code::kFailedPrecondition, message);
}

std::string ExecInfo(const ClientConfig& config) {
  Json info = {{"apiVersion", config.exec.api_version},
               {"kind", "ExecCredential"},
               {"spec", {{"interactive", false}}}};
  if (config.exec.provide_cluster_info) {
    bool v6 = config.host.find(':') != std::string::npos;
    info["spec"]["cluster"] = {{"server", (config.tls ? "https://" : "http://") +
                                              (v6 ? "[" + config.host + "]" : config.host) + ":" +
                                              std::to_string(config.port) + config.path_prefix},
                               {"insecure-skip-tls-verify", config.insecure_skip_verify}};
  }
  return info.dump();
}

// What the parent reads of the child.
struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    if (read >= 0) close(read);
    CloseWrite();
  }
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  void CloseWrite() {
    if (write >= 0) close(write);
    write = -1;
  }
};

class Child {
 public:
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      Reap();
    }
  }

  // 0 or an errno.
  int Start(const ClientConfig& config, int out, int err) {
    std::vector<std::string> variables;
    for (char** one = environ; *one != nullptr; ++one) variables.emplace_back(*one);
    for (const auto& [name, value] : config.exec.environment) {
      variables.push_back(name + "=" + value);
    }
    variables.push_back("KUBERNETES_EXEC_INFO=" + ExecInfo(config));
    std::vector<std::string> arguments = {config.exec.command};
    arguments.insert(arguments.end(), config.exec.arguments.begin(), config.exec.arguments.end());

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    // Our blocked and ignored signals are not the child's.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigset_t usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawnp(&pid_, config.exec.command.c_str(), &files, &attributes,
                             Pointers(arguments).data(), Pointers(variables).data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) pid_ = -1;
    return error;
  }

  // The exit status; -1: killed by a signal.
  int Reap() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  static std::vector<char*> Pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
  }

  pid_t pid_ = -1;
};

// Reads both to their ends. An empty text is success.
std::string ReadBoth(int out_fd, int err_fd, MonotonicTime deadline, std::string* out,
                     std::string* err) {
  pollfd waits[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
  std::string* texts[2] = {out, err};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return "did not end within 60 s";
    if (poll(waits, 2, static_cast<int>(left.count())) < 0 && errno != EINTR) return "poll failed";
    for (int i = 0; i < 2; ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      char buffer[4096];
      ssize_t got = read(waits[i].fd, buffer, sizeof(buffer));
      if (got <= 0) {
        waits[i].fd = -1;  // poll ignores it
        continue;
      }
      if (texts[i]->size() < kMaxExecOutput) texts[i]->append(buffer, static_cast<size_t>(got));
    }
    if (out->size() >= kMaxExecOutput) return "printed more than 1 MiB";
  }
  return "";
}

}  // namespace

Result<ExecCredential> RunExecPlugin(const ClientConfig& config) {
  Pipe out;
  Pipe err;
  if (!out.Open() || !err.Open()) return Failed(config, "no pipes left");
  Child child;
  if (int error = child.Start(config, out.write, err.write); error != 0) {
    return Failed(config, std::string("cannot be run: ") + std::strerror(error));
  }
  out.CloseWrite();
  err.CloseWrite();
  std::string printed;
  std::string complaint;
  std::string failed = ReadBoth(out.read, err.read, std::chrono::steady_clock::now() + kExecTimeout,
                                &printed, &complaint);
  if (!failed.empty()) return Failed(config, failed);
  if (int status = child.Reap(); status != 0) {
    size_t from = complaint.size() > kMaxErrorText ? complaint.size() - kMaxErrorText : 0;
    return Failed(config,
                  "ended with status " + std::to_string(status) + ": " + complaint.substr(from));
  }
  auto credential = ParseExecCredential(printed);
  if (!credential) return Failed(config, credential.error().message());
  return credential;
}

Result<ExecCredential> ParseExecCredential(std::string_view output) {
  auto object = Object::Parse(output);
  if (!object || object->kind() != "ExecCredential") {
    return Error(Code::kFailedPrecondition, "printed no ExecCredential");
  }
  ExecCredential out;
  out.token = object->String("/status/token");
  out.client_certificate = object->String("/status/clientCertificateData");
  out.client_key = object->String("/status/clientKeyData");
  if (out.client_certificate.empty() != out.client_key.empty()) {
    return Error(Code::kFailedPrecondition, "printed a client certificate or a key but not both");
  }
  if (out.token.empty() && out.client_certificate.empty()) {
    return Error(Code::kFailedPrecondition, "printed neither a token nor a client certificate");
  }
  std::string_view expires = object->String("/status/expirationTimestamp");
  if (!expires.empty()) {
    out.expires_wall_micros = ParseTime(expires);
    if (!out.expires_wall_micros) {
      return Error(Code::kFailedPrecondition, "printed an expirationTimestamp that is no time");
    }
  }
  return out;
}

}  // namespace raftkv::kube
