#include "operator/kube/exec_plugin.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/kube/http_connection.h"
#include "operator/kube/object.h"
#include "operator/kube/timing.h"

extern char** environ;

namespace raftkv::kube {
namespace {

constexpr size_t kMaxErrorText = 1000;
// How often to look for the end of a program that has closed its output before.
constexpr Duration kExitPause = std::chrono::milliseconds(10);

std::string Name(const ClientConfig& config) { return "exec plugin '" + config.exec.command + "'"; }

std::unexpected<ApiError> Failed(const ClientConfig& config, const std::string& why) {
  std::string message = Name(config) + ": " + why;
  if (!config.exec.install_hint.empty()) message += "; " + config.exec.install_hint;
  return Fail(Reason::kCredentials, std::move(message));
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

std::vector<std::string> Environment(const ClientConfig& config) {
  std::map<std::string, std::string> values;
  for (char** one = environ; *one != nullptr; ++one) {
    std::string_view text = *one;
    size_t equals = text.find('=');
    // Of two the first, as getenv().
    if (equals != std::string_view::npos) values.emplace(text.substr(0, equals), text);
  }
  auto set = [&values](const std::string& name, const std::string& value) {
    values[name] = name + "=" + value;
  };
  for (const auto& [name, value] : config.exec.environment) set(name, value);
  set("KUBERNETES_EXEC_INFO", ExecInfo(config));
  std::vector<std::string> out;
  for (auto& [name, variable] : values) out.push_back(std::move(variable));
  return out;
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() { Close(); }
  void Close() {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

// What the parent reads of the child.
struct Pipe {
  Descriptor read;
  Descriptor write;
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read.fd = ends[0];
    write.fd = ends[1];
    return true;
  }
};

// The program and what it has started, a process group.
class Child {
 public:
  ~Child() {
    if (pid_ <= 0) return;
    // Not reaped yet, so the number is still its own.
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // 0 or an errno.
  int Start(const ClientConfig& config, int out, int err) {
    std::vector<std::string> variables = Environment(config);
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
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawnp(&pid_, config.exec.command.c_str(), &files, &attributes,
                             Pointers(arguments).data(), Pointers(variables).data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) pid_ = -1;
    return error;
  }

  // The exit status; -1: killed by a signal; nullopt: it is still running.
  std::optional<int> Reap() {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
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

// One run of a plugin.
class Run {
 public:
  Run(const ClientConfig& config, const Wait& wait)
      : config_(config), wait_(wait), latest_(std::chrono::steady_clock::now() + kExecTimeout) {}

  ApiResult<ExecCredential> ToItsEnd() {
    Pipe out;
    Pipe err;
    if (interrupt_.fd < 0 || !out.Open() || !err.Open()) {
      return Failed(config_, "no file descriptors left");
    }
    Child child;
    if (int error = child.Start(config_, out.write.fd, err.write.fd); error != 0) {
      return Failed(config_, std::string("cannot be run: ") + std::strerror(error));
    }
    out.write.Close();
    err.write.Close();
    if (auto read = ReadBoth(out.read.fd, err.read.fd); !read) {
      return std::unexpected(read.error());
    }
    std::optional<int> status;
    while (!(status = child.Reap())) {
      if (auto slept = Poll(nullptr, 0, kExitPause); !slept) return std::unexpected(slept.error());
    }
    if (*status != 0) {
      size_t from = complaint_.size() > kMaxErrorText ? complaint_.size() - kMaxErrorText : 0;
      return Failed(
          config_, "ended with status " + std::to_string(*status) + ": " + complaint_.substr(from));
    }
    auto credential = ParseExecCredential(printed_);
    if (!credential) return Failed(config_, credential.error().message());
    return std::move(*credential);
  }

 private:
  // Waits for one of the two, at most `most`; an error when the run has to end.
  ApiResult<void> Poll(pollfd* files, size_t count, Duration most = Duration::max()) {
    pollfd waits[3] = {{interrupt_.fd, POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}};
    std::copy_n(files, count, waits + 1);
    MonotonicTime end = std::min(latest_, wait_.deadline);
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    left = std::min(left, std::chrono::ceil<std::chrono::milliseconds>(most));
    int ready = poll(waits, 1 + count, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno != EINTR) return Failed(config_, "poll failed");
    if (wait_.stop.stop_requested()) return Fail(Reason::kStopped, "stopped");
    if (wait_.IsOver()) {
      return Fail(Reason::kDeadline, Name(config_) + " had not ended when the call had to");
    }
    if (std::chrono::steady_clock::now() >= latest_) {
      return Failed(config_, "did not end within 60 s");
    }
    std::copy_n(waits + 1, count, files);
    return {};
  }

  ApiResult<void> ReadBoth(int out, int err) {
    pollfd files[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
    std::string* texts[2] = {&printed_, &complaint_};
    while (files[0].fd >= 0 || files[1].fd >= 0) {
      if (auto polled = Poll(files, 2); !polled) return polled;
      for (int i = 0; i < 2; ++i) {
        if (files[i].fd < 0 || files[i].revents == 0) continue;
        char buffer[4096];
        ssize_t got = read(files[i].fd, buffer, sizeof(buffer));
        if (got <= 0) {
          files[i].fd = -1;  // poll ignores it
          continue;
        }
        if (texts[i]->size() < kMaxExecOutput) texts[i]->append(buffer, static_cast<size_t>(got));
      }
      if (printed_.size() >= kMaxExecOutput) return Failed(config_, "printed more than 1 MiB");
    }
    return {};
  }

  const ClientConfig& config_;
  const Wait& wait_;
  const MonotonicTime latest_;
  Descriptor interrupt_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::stop_callback<std::function<void()>> on_stop_{wait_.stop,
                                                     [this] { eventfd_write(interrupt_.fd, 1); }};
  std::string printed_;
  std::string complaint_;
};

}  // namespace

ApiResult<ExecCredential> RunExecPlugin(const ClientConfig& config, const Wait& wait) {
  return Run(config, wait).ToItsEnd();
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
  if (!IsHeaderText(out.token)) {
    return Error(Code::kFailedPrecondition, "printed a token with a control character in it");
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
