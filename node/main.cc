// raftkv-node: settings -> logging -> node -> HTTP listeners, then waits for the signal to stop.
//
// Exit statuses: 0 stopped as asked, or removed from the cluster; 1 could not start; 2 wrong
// settings; 74 the disk failed while it ran.

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include <prometheus/registry.h>

#include "base/check.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/out_of_memory.h"
#include "base/scheduling.h"
#include "base/version.h"
#include "node/config/config.h"
#include "node/runtime/node.h"
#include "node/runtime/rebuild.h"
#include "node/server/server.h"

extern char** environ;

// Read by jemalloc when the process starts (docs/design/allocator.md). One arena serves a dozen
// threads that have caches of their own, and keeps less than one for each would; what nobody used
// for half a second goes back to the kernel.
extern "C" const char* const malloc_conf;
extern "C" const char* const malloc_conf =
    "narenas:1,retain:false,dirty_decay_ms:500,muzzy_decay_ms:0";

namespace raftkv {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// Turns SIGTERM and SIGINT, and the node's own wish to end, into something that main waits for.
class EndOfProcess {
 public:
  using Wish = runtime::Node::End;

  // Before any thread starts, because threads inherit the mask.
  EndOfProcess() : wish_(eventfd(0, EFD_CLOEXEC)) {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    CHECK(pthread_sigmask(SIG_BLOCK, &set_, nullptr) == 0);
    signals_ = signalfd(-1, &set_, SFD_CLOEXEC);
    CHECK(signals_ >= 0 && wish_ >= 0, "no file descriptors left");
    signal(SIGPIPE, SIG_IGN);
  }
  ~EndOfProcess() {
    close(signals_);
    close(wish_);
  }
  EndOfProcess(const EndOfProcess&) = delete;
  EndOfProcess& operator=(const EndOfProcess&) = delete;

  // The node's. Any thread.
  void Wishes(Wish wish) { CHECK(eventfd_write(wish_, wish == Wish::kRestart ? 1 : 2) == 0); }

  // Why the node ends; empty if it is to be started again. Else the next signal kills the process.
  const char* Wait(WakeupPolicy& wakeups) {
    std::array<pollfd, 2> events = {pollfd{signals_, POLLIN, 0}, pollfd{wish_, POLLIN, 0}};
    for (int ready = 0; ready <= 0;) {
      const Duration period = wakeups.period();
      const MonotonicTime due = Clock::System().Now() + period;
      ready = poll(events.data(), events.size(),
                   static_cast<int>(period / std::chrono::milliseconds(1)));
      if (ready == 0) wakeups.Woke(Clock::System().Now() - due);
    }
    const char* reason = "removed from the cluster";
    if (events[0].revents == 0) {
      eventfd_t wish = 0;
      CHECK(eventfd_read(wish_, &wish) == 0);
      if (wish == 1) return "";
    } else {
      signalfd_siginfo info{};
      CHECK(read(signals_, &info, sizeof(info)) == sizeof(info));
      reason = info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
    }
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set_, nullptr) == 0);
    return reason;
  }

 private:
  sigset_t set_;
  int signals_ = -1;
  const int wish_;
};

std::map<std::string, std::string> Environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

void SetUpLogging(const NodeConfig& config) {
  // Both were checked when the settings were read.
  log::SetLevel(log::ParseLevel(config.log_level).value());
  log::SetFormat(log::ParseFormat(config.log_format).value());
}

server::ServerOptions MakeServerOptions(const NodeConfig& config) {
  server::ServerOptions options;
  options.client_listen = config.client_listen;
  options.admin_listen = config.admin_listen;
  options.metrics_listen = config.metrics_listen;
  options.dialect = server::ParseDialect(config.client_dialect).value();
  options.max_value_bytes = config.max_value_bytes;
  options.request_timeout = config.request_timeout;
  options.limits = config.http;
  options.max_admin_connections = config.max_admin_connections;
  return options;
}

// A listener's address, with the port that it really got.
std::string WithPort(const std::string& listen, uint16_t port) {
  HostPort address = ParseHostPort(listen).value();
  address.port = port;
  return address.ToString();
}

// Says where the admin listener is, for scripts that let it take a free port.
Status WriteAdminAddress(const std::string& data_dir, const std::string& address) {
  const std::filesystem::path file = std::filesystem::path(data_dir) / "admin.addr";
  const std::filesystem::path draft = std::filesystem::path(data_dir) / "admin.addr.new";
  std::ofstream(draft) << address << '\n';
  std::error_code error;
  std::filesystem::rename(draft, file, error);
  if (!error) return Status::Ok();
  return Status(Code::kIoError, file.string() + " cannot be written: " + error.message());
}

// Until the process is to end (false), or the node to be started again.
Result<bool> RunNode(const NodeConfig& config, EndOfProcess& end) {
  WakeupPolicy wakeups;
  prometheus::Registry registry;
  ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Node> node,
                   runtime::Node::Start(config.node, &registry));
  node->OnEnd([&end](EndOfProcess::Wish wish) { end.Wishes(wish); });
  server::ServerOptions server_options = MakeServerOptions(config);
  server_options.open_snapshot = [&node](MonotonicTime deadline, auto done) {
    node->ExportSnapshot(deadline, std::move(done));
  };
  ASSIGN_OR_RETURN(const std::unique_ptr<server::Server> server,
                   server::Server::Start(server_options, node.get(), &registry));
  const std::string admin = WithPort(config.admin_listen, server->admin_port());
  RETURN_UNEXPECTED_IF_ERROR(WriteAdminAddress(config.node.data_dir, admin));
  log::Info("serving", {{"version", Version()},
                        {"name", config.node.name},
                        {"data", config.node.data_dir},
                        {"clients", WithPort(config.client_listen, server->client_port())},
                        {"peers", config.node.peer_advertise},
                        {"admin", admin}});

  const std::string reason = end.Wait(wakeups);
  log::Info("stopping", {{"reason", reason.empty() ? "to start as a new member" : reason},
                         {"grace_s", config.stop_grace / std::chrono::seconds(1)}});
  const MonotonicTime deadline = Clock::System().Now() + config.stop_grace;
  // First, because a client may take its time over a request, and the others need a leader that
  // stays.
  node->HandOver(config.stop_grace / 4);
  // Requests that are under way need the node to finish.
  server->Stop(config.stop_grace / 2);
  node->Stop(std::max(deadline - Clock::System().Now(), Duration::zero()));
  log::Info("stopped");
  return reason.empty();
}

Status Run(const NodeConfig& config) {
  EndWhenOutOfMemory();
  EndOfProcess end;
  SetUpLogging(config);
  bool again = true;
  while (again) {
    ASSIGN_OR_RETURN_STATUS(again, RunNode(config, end));
  }
  return Status::Ok();
}

int Main(const std::vector<std::string>& args) {
  const Result<Invocation> invocation = ParseCommandLine(args, Environment());
  if (!invocation) {
    std::fprintf(stderr, "raftkv-node: %s\n", invocation.error().message().c_str());
    return kExitUsage;
  }
  if (invocation->kind == Invocation::Kind::kPrint) {
    std::fputs(invocation->text.c_str(), stdout);
    return 0;
  }
  if (runtime::IsBlank(invocation->config.node.data_dir)) {
    if (const Status start = ValidateBootstrap(invocation->config.node); !start.ok()) {
      std::fprintf(stderr, "raftkv-node: %s\n", start.message().c_str());
      return kExitUsage;
    }
  }
  const Status status = Run(invocation->config);
  if (!status.ok()) log::Error("cannot run", {{"error", status.message()}});
  (void)log::Flush(std::chrono::seconds(1));
  return status.ok() ? 0 : kExitFailed;
}

}  // namespace
}  // namespace raftkv

int main(int argc, char** argv) {
  return raftkv::Main(std::vector<std::string>(argv + 1, argv + argc));
}
