// Too little of what a process needs from its machine: memory, processor time, a reader of its log.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "base/out_of_memory.h"
#include "tests/faults/cpu_quota.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

constexpr size_t kLittleMemory = size_t{512} << 20;

// What RLIMIT_DATA counts, as the kernel tells; 0: the process is gone.
size_t DataKilobytes(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmData:")) return std::strtoull(line.c_str() + 7, nullptr, 10);
  }
  return 0;
}

// Large values, many at once, with little memory.
Status LittleMemory(Bed& bed) {
  std::atomic<int> answered = 0;
  std::atomic<int> refused = 0;
  std::atomic<int> unanswered = 0;
  std::vector<std::thread> writers;
  // On a machine that is busy with other things the first answer may take longer than the row.
  const auto last = std::chrono::steady_clock::now() + seconds(30);
  const auto goes_on = [&] {
    return !bed.Over() || (answered == 0 && std::chrono::steady_clock::now() < last);
  };
  const std::string value(size_t{1000} << 10, 'v');
  bed.BeginFault();
  for (size_t t = 0; t < 24; ++t) {
    writers.emplace_back([&, t] {
      // Conditions that never hold: nothing is changed that the history does not know of.
      testing::HttpClient client(bed.node(t % bed.size()).client_port(), seconds(5));
      while (goes_on()) {
        const testing::HttpReply reply =
            client.Send("PUT", "/kv/large", value, {{"If-Match", "\"1\""}});
        ++(reply.status == 412 ? answered : reply.status > 0 ? refused : unanswered);
      }
    });
  }
  size_t most_kb = 0;
  while (goes_on()) {
    for (size_t i = 0; i < bed.size(); ++i) {
      most_kb = std::max(most_kb, DataKilobytes(bed.node(i).process()->pid()));
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
  for (std::thread& writer : writers) writer.join();
  RETURN_IF_ERROR(bed.EndFault());
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(Expect(bed.node(i).process()->IsRunning(), bed.node(i).name() + " runs"));
  }
  bed.Note(std::to_string(answered) + " values of 1 MB taken, " + std::to_string(refused) +
           " refused, " + std::to_string(unanswered) + " unanswered; at most " +
           std::to_string(most_kb >> 10) + " of " + std::to_string(kLittleMemory >> 20) + " MiB");
  return Expect(answered > 0, "some large values are taken");
}

// The process gets so many bytes more than it has; negative: as many as it likes.
void LimitMemory(pid_t pid, int64_t more) {
  const rlim_t most =
      more < 0 ? RLIM_INFINITY : (DataKilobytes(pid) << 10) + static_cast<rlim_t>(more);
  const rlimit limit{most, RLIM_INFINITY};
  (void)prlimit(pid, RLIMIT_DATA, &limit, nullptr);
}

// Large values come to a node that gets no more memory.
Status NoMemory(Bed& bed) {
  std::atomic<size_t> target = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  const std::string value(size_t{1000} << 10, 'v');
  for (size_t t = 0; t < 3; ++t) {
    writers.emplace_back([&] {
      // Conditions that never hold: nothing is changed that the history does not know of.
      while (!stop) {
        testing::HttpClient client(bed.node(target).client_port(), seconds(2));
        (void)client.Send("PUT", "/kv/large", value, {{"If-Match", "\"1\""}});
      }
    });
  }
  int ended = 0;
  int survived = 0;
  const auto round = [&]() -> Status {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    target = victim;
    LimitMemory(bed.node(victim).process()->pid(), static_cast<int64_t>(bed.Pick(4 << 20)));
    (void)testing::WaitUntil([&] { return !bed.node(victim).process()->IsRunning(); },
                             milliseconds(2000));
    if (bed.node(victim).process()->IsRunning()) {
      LimitMemory(bed.node(victim).process()->pid(), -1);
      ++survived;
    } else {
      ASSIGN_OR_RETURN_STATUS(const int status, bed.End(victim));
      RETURN_IF_ERROR(
          Expect(status == kExitOutOfMemory, "it ends with 71, not " + std::to_string(status)));
      RETURN_IF_ERROR(bed.Progress());
      bed.Restart(victim);
      ++ended;
    }
    return bed.Ready(victim);
  };
  Status status = Status::Ok();
  bed.BeginFault();
  while (status.ok() && !bed.Over()) status = round();
  if (status.ok()) status = bed.EndFault();
  stop = true;
  for (std::thread& writer : writers) writer.join();
  RETURN_IF_ERROR(status);
  bed.Note(std::to_string(ended) + " nodes were refused memory and ended with 71, " +
           std::to_string(survived) + " did with what they had");
  return Expect(ended > 0, "an allocation was refused");
}

// Each node gets a fifth of a processor, in slices.
Status StarvedCpu(Bed& bed) {
  bed.BeginFault();
  while (!bed.Over()) {
    for (size_t i = 0; i < bed.size(); ++i) bed.Pause(i);
    std::this_thread::sleep_for(milliseconds(80));
    for (size_t i = 0; i < bed.size(); ++i) bed.Resume(i);
    std::this_thread::sleep_for(milliseconds(20));
  }
  RETURN_IF_ERROR(bed.EndFault());
  return bed.Progress();
}

// Where the groups of a row are: its own, and gone with it.
using Quotas = std::vector<std::unique_ptr<CpuQuota>>;

// So much of one processor, in slices: 4 ms of each 100.
constexpr int kQuotaPercent = 4;

// Each node has a bound of its own. All of them, or the leader alone beside others that have time.
Status LittleCpu(Bed& bed, const Quotas& quotas) {
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(quotas[i]->Add(bed.node(i).process()->pid()));
  }
  Calm reign(bed);
  int rounds = 0;
  bed.BeginFault();
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(reign.BeginRound());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const bool all = rounds % 2 == 0;
    for (size_t i = 0; i < bed.size(); ++i) {
      if (all || i == leader) RETURN_IF_ERROR(quotas[i]->Set(kQuotaPercent));
    }
    // Several election timeouts.
    std::this_thread::sleep_for(milliseconds(2500));
    RETURN_IF_ERROR(bed.Progress(20));
    RETURN_IF_ERROR(reign.EndRound());
    for (const std::unique_ptr<CpuQuota>& quota : quotas) RETURN_IF_ERROR(quota->Set(0));
    ++rounds;
  }
  RETURN_IF_ERROR(bed.EndFault());
  uint64_t throttled = 0;
  for (const std::unique_ptr<CpuQuota>& quota : quotas) throttled += quota->throttled();
  bed.Note("the kernel took the processor away " + std::to_string(throttled) + " times");
  RETURN_IF_ERROR(Expect(throttled > 0, "nodes want more than they get"));
  return reign.Judge();
}

Status MakeQuotas(size_t nodes, Quotas& quotas) {
  for (size_t i = 0; i < nodes; ++i) {
    ASSIGN_OR_RETURN_STATUS(
        std::unique_ptr<CpuQuota> quota,
        CpuQuota::Make("raftkv-faults-" + std::to_string(getpid()) + "-" + std::to_string(i)));
    quotas.push_back(std::move(quota));
  }
  return Status::Ok();
}

Row LittleCpuRow() {
  const auto quotas = std::make_shared<Quotas>();
  return {.name = "little-cpu",
          .injected =
              "4 % of a processor for each node, or for the leader alone (the kernel's cpu "
              "controller), at some 150 requests a second",
          .promised = "goes on; no false failover: leader and term stay",
          .gaps = kNoElection,
          .run =
              [quotas](Bed& bed) {
                const Status status = LittleCpu(bed, *quotas);
                for (const std::unique_ptr<CpuQuota>& quota : *quotas) (void)quota->Set(0);
                return status;
              },
          .prepare =
              [quotas](BedOptions& options) {
                options.load.pause = milliseconds(90);
                options.before = [quotas](Bed& bed) {
                  quotas->clear();
                  return MakeQuotas(bed.size(), *quotas);
                };
              }};
}

std::string FifoOf(Bed& bed, size_t i) { return bed.directory(i).string() + "/stderr"; }

// Nobody reads what the nodes log, and they log much.
Status BlockedLog(Bed& bed) {
  std::vector<int> fds;
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(Expect(mkfifo(FifoOf(bed, i).c_str(), 0600) == 0, "a pipe can be made"));
    // Open at both ends, so that nobody waits for a reader.
    fds.push_back(open(FifoOf(bed, i).c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    const std::string filler(4096, '\n');
    while (write(fds.back(), filler.data(), filler.size()) > 0) {
    }
    bed.Kill(i);
    bed.node(i).set_prefix({"bash", "-c", "exec \"$@\" 2>\"" + FifoOf(bed, i) + "\"", "node"});
    bed.Restart(i);
    RETURN_IF_ERROR(bed.Ready(i));
  }
  RETURN_IF_ERROR(bed.Progress());
  bed.Begin();
  bed.BeginFault();
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(ExpectHealthy(bed));
    // Nobody hangs, and readiness says so: it reads as a client does.
    for (size_t i = 0; i < bed.size(); ++i) RETURN_IF_ERROR(bed.Ready(i));
    // Things to log: an election.
    (void)bed.node(bed.Pick(bed.size())).Admin("POST", "/admin/transfer");
    bed.Pace(milliseconds(300));
  }
  RETURN_IF_ERROR(bed.EndFault());
  for (const int fd : fds) close(fd);
  return Status::Ok();
}

}  // namespace

std::vector<Row> StarvedRows() {
  return {
      {.name = "little-memory",
       .injected = "24 clients send values of 1 MB to nodes with 512 MiB of memory (RLIMIT_DATA)",
       .promised = "takes or refuses them; no node ends",
       .gaps = {.elections = 3, .beside = seconds(40)},
       .run = LittleMemory,
       .prepare =
           [](BedOptions& options) {
             options.flags = {"--limits-memory-bytes", "256MiB"};
             options.prefix = [](size_t) {
               return std::vector<std::string>{"prlimit",
                                               "--data=" + std::to_string(kLittleMemory)};
             };
           }},
      {.name = "no-memory",
       .injected =
           "a node gets at most 4 MiB more memory than it has (RLIMIT_DATA), while 3 clients "
           "send it values of 1 MB",
       .promised = "it goes on or ends with 71; nothing acknowledged is lost, it starts again when "
                   "it gets memory",
       .run = NoMemory,
       .shim = true},
      {.name = "starved-cpu",
       .injected = "every node runs 20 ms of each 100 ms (SIGSTOP, SIGCONT)",
       .promised = "goes on",
       .gaps = kAfterOutage,
       .run = StarvedCpu},
      LittleCpuRow(),
      {.name = "blocked-log",
       .injected = "stderr of every node is a full pipe that nobody reads",
       .promised = "no outage, health answers, all are ready",
       .run = BlockedLog},
  };
}

}  // namespace raftkv::faults
