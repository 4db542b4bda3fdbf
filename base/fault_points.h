// FAULT_POINT(name): a place where tests let a process die or sleep. In a build with
// RAFTKV_FAULT_POINTS the file that the environment variable RAFTKV_FAULT_POINT names is read at
// each point; its one line is
//
//   NAME kill N      SIGKILL when the point is passed for the N-th time since the line changed
//   NAME stop N      likewise SIGSTOP, once
//   NAME sleep MS    sleep each time
//
// `*REST` as NAME is every point whose name ends in REST. Who is killed or stopped, or sleeps
// for the first time since the line changed, says where on stderr.
//
// In every other build the macro leaves nothing behind. docs/testing-faults.md lists the points.
//
// Thread-safety: from any thread.
#pragma once

#ifdef RAFTKV_FAULT_POINTS

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

namespace raftkv {

inline void SayFaultPoint(std::string_view point, const std::string& action) {
  dprintf(STDERR_FILENO, "fault point %s: %s\n", std::string(point).c_str(), action.c_str());
}

inline void ReachFaultPoint(std::string_view point) {
  static const char* const path = std::getenv("RAFTKV_FAULT_POINT");
  if (path == nullptr) return;
  std::string line;
  std::getline(std::ifstream(path), line);
  std::istringstream words(line);
  std::string name;
  std::string action;
  int number = 0;
  if (!(words >> name >> action >> number)) return;
  if (name.starts_with('*') ? !point.ends_with(name.substr(1)) : name != point) return;
  static std::mutex mutex;
  static std::string last_line;
  static int passes = 0;
  std::unique_lock lock(mutex);
  if (line != last_line) {
    last_line = line;
    passes = 0;
  }
  ++passes;
  if (action == "sleep") {
    if (passes == 1) SayFaultPoint(point, action);
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(number));
    return;
  }
  const bool stops = action == "stop";
  if (stops ? passes != number : passes < number) return;
  SayFaultPoint(point, action);
  // To this thread, which goes no further; a signal to the process may stop another one first.
  raise(stops ? SIGSTOP : SIGKILL);
}

}  // namespace raftkv

#define FAULT_POINT(name) ::raftkv::ReachFaultPoint(#name)
#else
#define FAULT_POINT(name) static_cast<void>(0)
#endif
