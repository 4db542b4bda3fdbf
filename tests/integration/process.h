// Real processes for tests: they die with the test, however it ends.
//
// Thread-safety: none; a Process belongs to the thread that made it, which must live as long (Linux
// ends the child when the thread that forked it ends).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace raftkv::testing {

// The time limit of waits in tests: long, because it only matters when a test fails.
inline constexpr std::chrono::seconds kPatience{60};

// Calls `condition` every few milliseconds until it is true or the time is over.
bool WaitUntil(const std::function<bool()>& condition, std::chrono::milliseconds limit = kPatience);

// A port of 127.0.0.1 that nobody uses and that no other test process gets while this one lives.
// Outside of the range from which the kernel takes ports for outgoing connections.
int ReservePort();

// A directory of its own, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Process {
 public:
  // Starts `args[0]` (searched for in PATH) in `directory`; stdout and stderr go to the end of the
  // file `log`.
  Process(const std::vector<std::string>& args, const std::string& directory,
          const std::string& log);
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool IsRunning();
  void Signal(int number);
  // Waits for the end: the exit status, or 128 + the signal; -1 if it still runs after `limit`.
  int Wait(std::chrono::milliseconds limit = kPatience);
  // SIGKILL, and waits.
  void Kill();
  // What it has written so far.
  std::string Log() const;
  pid_t pid() const { return pid_; }

 private:
  void Reap(int flags);

  std::string log_;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
};

// Runs `command` with bash in `directory`.
struct CommandResult {
  int status = 0;
  std::string output;  // of stdout
};
CommandResult RunShell(const std::string& command, const std::string& directory);

// The raftkv-node that was built beside this test.
std::string NodeBinary();
std::string ReadFileOrEmpty(const std::string& path);

}  // namespace raftkv::testing
