// What the storage tests share: temporary directories, child processes, damaged files.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "node/storage/fs_util.h"

namespace raftkv::storage {

// A directory below the current TMPDIR (or /tmp) that vanishes with the test.
class TempDir {
 public:
  TempDir() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/raftkv-storage-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TempDir() { (void)RemoveTree(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Runs `body` in a child process and returns what waitpid says about its end.
inline int RunInChild(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

// This test program, running one (disabled) test in a process of its own: a forked child of a
// process that uses RocksDB would lack its threads. `environment` is added to ours.
class Subprocess {
 public:
  using Environment = std::vector<std::pair<std::string, std::string>>;
  Subprocess(const std::string& test, const Environment& environment) {
    int fds[2];
    if (::pipe(fds) != 0) std::abort();
    const std::string filter = "--gtest_filter=" + test;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(fds[1], kPipe);
      for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
      ::execl("/proc/self/exe", "child", filter.c_str(), "--gtest_also_run_disabled_tests",
              "--gtest_brief=1", nullptr);
      ::_exit(127);
    }
    ::close(fds[1]);
    pipe_ = fds[0];
  }
  ~Subprocess() {
    Kill();
    ::close(pipe_);
  }
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  // Where the child writes what the parent shall read.
  static constexpr int kPipe = 100;
  int pipe() const { return pipe_; }
  // waitpid's status; SIGKILL first.
  int Kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    return Wait();
  }
  int Wait() {
    if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status_, 0);
    return status_;
  }

 private:
  pid_t pid_;
  int pipe_;
  int status_ = 0;
};

// Its exit status: 0 if the test passed.
inline int RunSelf(const std::string& test, const Subprocess::Environment& environment) {
  Subprocess child(test, environment);
  return WEXITSTATUS(child.Wait());
}

// Files in `dir` with this extension (".log", ".sst"), sorted by name, as full paths.
inline std::vector<std::string> FilesWith(const std::string& dir, const std::string& extension) {
  std::vector<std::string> paths;
  const std::vector<std::string> names = ListDir(dir).value();
  for (const std::string& name : names) {
    if (name.ends_with(extension)) paths.push_back(dir + "/" + name);
  }
  return paths;
}

// Copies a directory whose databases are open, with what was written to files, as it was at one
// moment: RocksDB's own threads may still make and remove files.
inline void CopyAtRest(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  using Listing = std::map<std::string, std::pair<uintmax_t, fs::file_time_type>>;
  const auto list = [&from]() -> std::optional<Listing> {
    Listing files;
    std::error_code error;
    for (fs::recursive_directory_iterator it(from, error), end; it != end && !error;
         it.increment(error)) {
      if (!it->is_regular_file(error)) continue;
      const auto size = it->file_size(error);
      if (error) return std::nullopt;
      files[it->path()] = {size, it->last_write_time(error)};
      if (error) return std::nullopt;
    }
    return error ? std::nullopt : std::optional(files);
  };
  for (int attempt = 0; attempt < 1000; ++attempt) {
    fs::remove_all(to);
    const std::optional<Listing> before = list();
    std::error_code error;
    fs::copy(from, to, fs::copy_options::recursive, error);
    if (!error && before && list() == before) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ADD_FAILURE() << "the databases in " << from << " do not come to rest";
}

inline void WriteRaw(const std::string& path, const std::string& bytes) {
  FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
  std::fclose(file);
}

inline void FlipBit(const std::string& path, size_t offset) {
  std::string bytes = ReadFile(path).value();
  ASSERT_LT(offset, bytes.size());
  bytes[offset] = static_cast<char>(bytes[offset] ^ 0x10);
  WriteRaw(path, bytes);
}

}  // namespace raftkv::storage

// gtest's matchers for Status and Result.
#define ASSERT_OK(expr)                    \
  do {                                     \
    const ::raftkv::Status s_ = (expr);    \
    ASSERT_TRUE(s_.ok()) << s_.ToString(); \
  } while (false)
