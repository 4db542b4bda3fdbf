#include "tests/simulation/shrink.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "base/check.h"

namespace raftkv::sim {
namespace {

// How much longer than its processor time a run may take on a busy machine.
constexpr int kPatience = 5;

// What the child sends: the numbers as they are, then the text of the failure.
struct Header {
  SimTime failed_at;
  SimTime simulated;
  uint64_t hash;
  uint64_t events;
  uint64_t operations;
  uint64_t members;
  uint64_t faults;
  Coverage coverage;
  uint64_t failure_bytes;
};
static_assert(std::is_trivially_copyable_v<Header>);

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

[[noreturn]] void Child(const RunOptions& options, Duration limit, int results, int errors) {
  const auto seconds = static_cast<rlim_t>(std::chrono::ceil<std::chrono::seconds>(limit).count());
  const rlimit cpu{seconds, seconds + 1};
  setrlimit(RLIMIT_CPU, &cpu);
  dup2(errors, STDERR_FILENO);
  // All of its memory goes with the process, soon enough.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 16 << 20);
  const RunResult result = Run(options);
  const Header header{result.failed_at, result.simulated,  result.hash,
                      result.events,    result.operations, result.members,
                      result.faults,    result.coverage,   result.failure.size()};
  const bool sent = WriteAll(results, reinterpret_cast<const char*>(&header), sizeof(header)) &&
                    WriteAll(results, result.failure.data(), result.failure.size());
  _exit(sent ? 0 : 1);
}

// Reads both pipes to their end, or until the time is up; true if the ends came.
bool ReadBoth(int a, std::string* out_a, int b, std::string* out_b, MonotonicTime until) {
  pollfd fds[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
  std::string* outs[] = {out_a, out_b};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::System().Now());
    if (left.count() <= 0 || poll(fds, 2, static_cast<int>(left.count())) < 0) return false;
    for (size_t i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t n = read(fds[i].fd, buffer, sizeof(buffer));
      if (n > 0) {
        outs[i]->append(buffer, static_cast<size_t>(n));
      } else {
        fds[i].fd = -1;
      }
    }
  }
  return true;
}

}  // namespace

RunResult RunApart(const RunOptions& options, Duration limit) {
  int results[2];
  int errors[2];
  CHECK(pipe(results) == 0 && pipe(errors) == 0, "pipes for a run");
  const pid_t pid = fork();
  CHECK(pid >= 0, "a process for a run");
  if (pid == 0) {
    close(results[0]);
    close(errors[0]);
    Child(options, limit, results[1], errors[1]);
  }
  close(results[1]);
  close(errors[1]);
  std::string sent;
  std::string said;
  const bool ended =
      ReadBoth(results[0], &sent, errors[0], &said, Clock::System().Now() + limit * kPatience);
  if (!ended) kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  close(results[0]);
  close(errors[0]);

  RunResult result;
  Header header;
  if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 && sent.size() >= sizeof(header)) {
    std::memcpy(static_cast<void*>(&header), sent.data(), sizeof(header));
    result.failed_at = header.failed_at;
    result.simulated = header.simulated;
    result.hash = header.hash;
    result.events = header.events;
    result.operations = header.operations;
    result.members = header.members;
    result.faults = header.faults;
    result.coverage = header.coverage;
    result.failure = sent.substr(sizeof(header));
    if (!said.empty() && options.print_events) WriteAll(STDERR_FILENO, said.data(), said.size());
    return result;
  }
  const bool too_long = !ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
  result.failure = (too_long ? "the run does not end: " : "the process died: ") + said;
  return result;
}

double ProcessorSeconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    CHECK(getrusage(who, &usage) == 0);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    }
  }
  return seconds;
}

// Halves first, then smaller parts; from the end, where the failure is.
std::vector<size_t> Shortest(std::vector<size_t> whole,
                             const std::function<bool(const std::vector<size_t>&)>& fails,
                             const std::function<bool(size_t left)>& more) {
  std::vector<size_t> kept = std::move(whole);
  size_t part = std::max<size_t>(kept.size() / 2, 1);
  while (!kept.empty()) {
    bool shorter = false;
    for (size_t end = kept.size(); end > 0;) {
      if (!more(kept.size())) return kept;
      const size_t begin = end > part ? end - part : 0;
      std::vector<size_t> trial(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(begin));
      trial.insert(trial.end(), kept.begin() + static_cast<ptrdiff_t>(end), kept.end());
      if (fails(trial)) {
        kept = std::move(trial);
        shorter = true;
      }
      end = begin;
    }
    if (part == 1 && !shorter) break;
    if (part > 1) part /= 2;
  }
  return kept;
}

std::string KindOf(const std::string& failure) {
  const std::string line = failure.substr(0, failure.find('\n'));
  std::string kind;
  std::string word;
  for (const char c : line + '\n') {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += c;
      continue;
    }
    // Words with a digit in them are of one run.
    const bool names =
        std::ranges::any_of(word, [](unsigned char letter) { return std::isdigit(letter) != 0; });
    if (!word.empty() && !names) kind += word + ' ';
    word.clear();
  }
  return kind;
}

std::vector<size_t> Shrink(const RunOptions& options, const std::string& failure, Duration limit,
                           const std::function<void(size_t left)>& progress) {
  const MonotonicTime until = Clock::System().Now() + limit;
  std::vector<size_t> kept;
  if (options.keep) {
    kept = *options.keep;
  } else {
    kept.resize(FaultsOf(options).size());
    std::iota(kept.begin(), kept.end(), size_t{0});
  }
  const std::string kind = KindOf(failure);
  const auto fails = [&](const std::vector<size_t>& keep) {
    RunOptions trial = options;
    trial.keep = keep;
    trial.print_events = false;
    trial.history_file.clear();
    const std::string other = RunApart(trial).failure;
    return !other.empty() && KindOf(other) == kind;
  };
  return Shortest(std::move(kept), fails, [&](size_t left) {
    progress(left);
    return Clock::System().Now() < until;
  });
}

}  // namespace raftkv::sim
