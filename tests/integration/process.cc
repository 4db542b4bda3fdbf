#include "tests/integration/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/check.h"

namespace raftkv::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kFirstPort = 10'000;
constexpr int kLastPort = 29'999;

bool CanBind(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool ok = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return ok;
}

// Held for the life of this process: the lock keeps other test processes off the port.
bool Lock(int port) {
  const fs::path folder = fs::temp_directory_path() / "raftkv-test-ports";
  fs::create_directories(folder);
  const int fd = open((folder / std::to_string(port)).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0) return false;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  close(fd);
  return false;
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const Clock::time_point deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

int ReservePort() {
  constexpr int kPorts = kLastPort - kFirstPort + 1;
  static int next = getpid() * 17 % kPorts;
  for (int tries = 0; tries < kPorts; ++tries) {
    const int port = kFirstPort + next;
    next = (next + 1) % kPorts;
    if (Lock(port) && CanBind(port)) return port;
  }
  CHECK(false, "no free port");
}

TempDir::TempDir() {
  std::string pattern = fs::temp_directory_path() / "raftkv-test-XXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr, "mkdtemp");
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Process::Process(const std::vector<std::string>& args, const std::string& directory,
                 const std::string& log)
    : log_(log) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  CHECK(pid_ >= 0, "fork");
  if (pid_ > 0) return;
  // In the child; only calls that are safe between fork and exec.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int in = open("/dev/null", O_RDONLY);
  if (out < 0 || in < 0 || chdir(directory.c_str()) != 0) _exit(127);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execvp(argv[0], argv.data());
  _exit(127);
}

Process::~Process() { Kill(); }

void Process::Reap(int flags) {
  if (!reaped_ && waitpid(pid_, &status_, flags) == pid_) reaped_ = true;
}

bool Process::IsRunning() {
  Reap(WNOHANG);
  return !reaped_;
}

void Process::Signal(int number) {
  if (IsRunning()) kill(pid_, number);
}

int Process::Wait(std::chrono::milliseconds limit) {
  if (!WaitUntil([&] { return !IsRunning(); }, limit)) return -1;
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

void Process::Kill() {
  Signal(SIGKILL);
  Reap(0);
}

std::string Process::Log() const { return ReadFileOrEmpty(log_); }

CommandResult RunShell(const std::string& command, const std::string& directory) {
  const TempDir folder;
  const std::string output = folder.path() + "/output";
  // stderr stays apart: curl's words about itself are no part of what a command prints.
  Process shell({"bash", "-c", "{ " + command + "\n} 2>/dev/null"}, directory, output);
  CommandResult result;
  result.status = shell.Wait();
  result.output = shell.Log();
  return result;
}

std::string NodeBinary() {
  return fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-node";
}

std::string ReadFileOrEmpty(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

}  // namespace raftkv::testing
