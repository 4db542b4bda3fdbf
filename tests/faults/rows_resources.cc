#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/out_of_memory.h"
#include "tests/faults/malformed_http.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

// Connections that say what they are told and look at answers only when they are asked to.
class Crowd {
 public:
  Crowd(int port, size_t count) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    for (size_t i = 0; i < count; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (fd < 0) break;
      (void)connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
      fds_.push_back(fd);
    }
    answers_.resize(fds_.size());
    closed_.resize(fds_.size());
  }
  ~Crowd() {
    for (const int fd : fds_) close(fd);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  void Say(const std::string& bytes) {
    for (const int fd : fds_) (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  // Takes what has come until now.
  void Listen() {
    for (size_t i = 0; i < fds_.size(); ++i) {
      std::array<char, 4096> buffer;
      ssize_t n = 0;
      while (!closed_[i] && (n = recv(fds_[i], buffer.data(), buffer.size(), 0)) != 0) {
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n < 0) n = 0;
        if (n == 0) break;
        answers_[i].append(buffer.data(), static_cast<size_t>(n));
      }
      if (n == 0) closed_[i] = true;
    }
  }
  // As of the last Listen.
  size_t open() const { return static_cast<size_t>(std::ranges::count(closed_, false)); }
  // Whose last answer has this status.
  size_t answered(int status) const {
    const std::string begin = "HTTP/1.1 " + std::to_string(status);
    return static_cast<size_t>(std::ranges::count_if(answers_, [&](const std::string& answer) {
      const size_t last = answer.rfind("HTTP/1.1 ");
      return last != std::string::npos && answer.compare(last, begin.size(), begin) == 0;
    }));
  }
  size_t size() const { return fds_.size(); }

 private:
  std::vector<int> fds_;
  std::vector<std::string> answers_;
  std::vector<bool> closed_;
};

// Health is not the clients' business: it has its own listener.
Status ExpectHealthy(Bed& bed) {
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(bed.WaitFor(bed.node(i).name() + " is alive",
                                [&] { return bed.node(i).Admin("GET", "/livez").status == 200; }));
  }
  return Status::Ok();
}

uint64_t Number(const std::string& metrics, const std::string& name) {
  const size_t at = metrics.find("\n" + name + " ");
  if (at == std::string::npos) return 0;
  return static_cast<uint64_t>(std::stod(metrics.substr(at + name.size() + 2)));
}

// What the node itself says of its clients' connections.
uint64_t Connections(Bed& bed, size_t i) {
  return Number(bed.node(i).Admin("GET", "/metrics").body,
                R"(raftkv_http_connections{listener="client"})");
}

// Nodes of these rows have shorter limits than usual, so that their end is seen.
constexpr seconds kIdleTimeout{8};
constexpr seconds kHeadTimeout{4};
constexpr seconds kBodyTimeout{7};
// Before a limit nobody may close, but on a busy machine nobody looks in time.
constexpr seconds kBeforeLimit{2};
constexpr size_t kIdle = 1000;

void ShortLimits(BedOptions& options) {
  options.flags = {"--http-idle-timeout", std::to_string(kIdleTimeout.count()) + "s",
                   "--http-head-timeout", std::to_string(kHeadTimeout.count()) + "s",
                   "--http-body-timeout", std::to_string(kBodyTimeout.count()) + "s"};
}

// The load goes on and everybody is healthy; `within` of the beginning nobody of the crowd may be
// gone.
Status GoOnBeside(Bed& bed, Crowd& crowd, std::chrono::steady_clock::time_point begin,
                  seconds within) {
  RETURN_IF_ERROR(bed.Progress(20));
  RETURN_IF_ERROR(ExpectHealthy(bed));
  crowd.Listen();
  const bool early = std::chrono::steady_clock::now() - begin < within;
  return Expect(!early || crowd.open() == crowd.size(),
                "connections stay open until their time is up: " + std::to_string(crowd.open()) +
                    " of " + std::to_string(crowd.size()));
}

// One request on each connection, and then nothing.
Status IdleConnections(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  uint64_t seen = 0;
  size_t closed = 0;
  Calm reign(bed);
  bed.BeginFault();
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(reign.BeginRound());
    Crowd idle(bed.node(victim).client_port(), kIdle);
    const auto begin = std::chrono::steady_clock::now();
    idle.Say("GET /kv/k1?consistency=stale HTTP/1.1\r\nHost: x\r\n\r\n");
    RETURN_IF_ERROR(bed.WaitFor("the node has them all", [&] {
      seen = std::max(seen, Connections(bed, victim));
      return seen >= kIdle;
    }));
    while (std::chrono::steady_clock::now() - begin < kIdleTimeout - kBeforeLimit) {
      RETURN_IF_ERROR(GoOnBeside(bed, idle, begin, kIdleTimeout - kBeforeLimit));
    }
    RETURN_IF_ERROR(bed.WaitFor("idle connections are closed", [&] {
      idle.Listen();
      return idle.open() == 0;
    }));
    const size_t answered = idle.answered(200) + idle.answered(404);
    RETURN_IF_ERROR(
        Expect(answered == kIdle, "each had its answer before: " + std::to_string(answered)));
    closed += kIdle;
    RETURN_IF_ERROR(reign.EndRound());
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(seen) + " connections at once as the node counts, " +
           std::to_string(closed) + " closed by it when they had been idle for " +
           std::to_string(kIdleTimeout.count()) + " s");
  return reign.Judge();
}

Status SlowLoris(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  uint64_t seen = 0;
  size_t ended = 0;
  Calm reign(bed);
  bed.BeginFault();
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(reign.BeginRound());
    Crowd heads(bed.node(victim).client_port(), 300);
    Crowd bodies(bed.node(victim).client_port(), 300);
    const auto begin = std::chrono::steady_clock::now();
    heads.Say("GET /kv/k1 HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    bodies.Say("PUT /kv/other HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    RETURN_IF_ERROR(bed.WaitFor("the node has them all", [&] {
      seen = std::max(seen, Connections(bed, victim));
      return seen >= heads.size() + bodies.size();
    }));
    // However often a byte comes, the whole has its time and no more.
    while (heads.open() + bodies.open() > 0 &&
           std::chrono::steady_clock::now() - begin < std::chrono::minutes(1)) {
      heads.Say("a");
      bodies.Say("a");
      RETURN_IF_ERROR(GoOnBeside(bed, heads, begin, kHeadTimeout - kBeforeLimit));
      RETURN_IF_ERROR(GoOnBeside(bed, bodies, begin, kBodyTimeout - kBeforeLimit));
    }
    RETURN_IF_ERROR(Expect(heads.open() + bodies.open() == 0, "they are closed in the end"));
    const size_t refused = heads.answered(408) + bodies.answered(408);
    RETURN_IF_ERROR(Expect(refused == heads.size() + bodies.size(),
                           "each is told 408: " + std::to_string(refused)));
    ended += refused;
    RETURN_IF_ERROR(reign.EndRound());
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(seen) + " connections at once as the node counts, " +
           std::to_string(ended) + " ended by it with 408");
  return reign.Judge();
}

// What the server answers before it closes; something in brackets if it does not close within some
// seconds or takes no connection.
std::string Exchange(int port, const std::string& bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    std::array<char, 4096> buffer;
    ssize_t n = 0;
    while ((n = recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
      answer.append(buffer.data(), static_cast<size_t>(n));
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) answer = "(left open)";
  } else {
    answer = "(no connection)";
  }
  close(fd);
  return answer;
}

// Status lines in what came back.
size_t Answers(const std::string& bytes) {
  constexpr std::string_view kBegin = "HTTP/1.1 ";
  size_t count = 0;
  for (size_t at = 0; (at = bytes.find(kBegin, at)) != std::string::npos; at += kBegin.size()) {
    // A text may speak of the protocol.
    const size_t code = at + kBegin.size();
    if (code < bytes.size() && std::isdigit(static_cast<unsigned char>(bytes[code])) != 0) ++count;
  }
  return count;
}

size_t Threads(pid_t pid) {
  std::error_code error;
  return static_cast<size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", error),
      std::filesystem::directory_iterator()));
}

// The load's answers in a second, from its making on.
class Rate {
 public:
  explicit Rate(const Load& load) : load_(load), done_(load.done()) {}
  double Now() const {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun_;
    return static_cast<double>(load_.done() - done_) / passed.count();
  }

 private:
  const Load& load_;
  const uint64_t done_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

#ifdef RAFTKV_SANITIZED
constexpr uint64_t kMoreMemory = uint64_t{512} << 20;  // what is freed is kept for a while
#else
constexpr uint64_t kMoreMemory = uint64_t{64} << 20;
#endif
// Readers of large answers start when they are first needed.
constexpr size_t kMoreThreads = 8;
// The load has the processors with the client that sends these; what it keeps of its rate at least.
constexpr double kShareOfRate = 0.2;

Status Malformed(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  const pid_t pid = bed.node(victim).process()->pid();
  const auto metrics = [&] { return bed.node(victim).Admin("GET", "/metrics").body; };
  const Rate undisturbed(bed.load());
  std::this_thread::sleep_for(seconds(2));
  const double rate_before = undisturbed.Now();
  const std::string before = metrics();
  const size_t threads_before = Threads(pid);
  size_t most_threads = 0;
  const Rate disturbed(bed.load());
  std::map<std::string, int> categories;
  std::string wrong;
  int count = 0;
  int closed = 0;
  bed.BeginFault();
  do {
    for (const MalformedRequest& request : MalformedRequests()) {
      const std::string answer = Exchange(bed.node(victim).client_port(), request.bytes);
      const int status = answer.starts_with("HTTP/1.") ? std::atoi(answer.c_str() + 9) : 0;
      // What is behind a malformed request is not looked at.
      const bool right = status == request.status && Answers(answer) == (status != 0 ? 1 : 0) &&
                         !answer.starts_with('(');
      if (!right) {
        wrong += request.category + ": " + request.bytes.substr(0, 100) + "\n -> not " +
                 std::to_string(request.status) + " but " + answer.substr(0, 300) + "\n";
      }
      ++categories[request.category];
      if (status == 0) ++closed;
      ++count;
      if (count % 50 == 0) most_threads = std::max(most_threads, Threads(pid));
    }
  } while (!bed.Over());
  const double rate = disturbed.Now();
  RETURN_IF_ERROR(bed.EndFault());
  const std::string after = metrics();
  const uint64_t memory_before = Number(before, "process_resident_memory_bytes");
  const uint64_t memory = Number(after, "process_resident_memory_bytes");
  const auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20); };
  bed.Note(std::to_string(count) + " requests of " + std::to_string(categories.size()) +
           " categories, " + std::to_string(closed) + " closed without an answer; load " +
           std::to_string(static_cast<int>(rate_before)) + "/s before and " +
           std::to_string(static_cast<int>(rate)) + "/s; memory " + mib(memory_before) + " to " +
           mib(memory) + " MiB; threads " + std::to_string(threads_before) + ", at most " +
           std::to_string(most_threads));
  RETURN_IF_ERROR(Expect(wrong.empty(), "each is refused or closed:\n" + wrong));
  RETURN_IF_ERROR(Expect(rate >= rate_before * kShareOfRate, "the load keeps its rate"));
  RETURN_IF_ERROR(
      Expect(memory > 0 && memory < memory_before + kMoreMemory, "memory stays bounded"));
  RETURN_IF_ERROR(Expect(most_threads <= threads_before + kMoreThreads, "threads stay bounded"));
  RETURN_IF_ERROR(Expect(Number(after, "process_open_fds") > 0, "it says what it has open"));
  return Expect(Number(after, "process_open_fds") < Number(before, "process_open_fds") + 50,
                "the connections are gone");
}

// More connections than the process may open files.
Status FewFiles(Bed& bed) {
  int rounds = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    const size_t victim = bed.Pick(bed.size());
    {
      const Crowd crowd(bed.node(victim).client_port(), 300);
      bed.Pace(milliseconds(2000));
      // The clients of the others go on; whether the victim's do is not promised.
      RETURN_IF_ERROR(bed.Progress());
    }
    RETURN_IF_ERROR(Expect(bed.node(victim).process()->IsRunning(), "it outlives the crowd"));
    RETURN_IF_ERROR(bed.Ready(victim));
    ++rounds;
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(rounds) + " crowds");
  return Status::Ok();
}

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
    // Things to log: an election.
    (void)bed.node(bed.Pick(bed.size())).Admin("POST", "/admin/transfer");
    bed.Pace(milliseconds(300));
  }
  RETURN_IF_ERROR(bed.EndFault());
  for (const int fd : fds) close(fd);
  return Status::Ok();
}

}  // namespace

std::vector<Row> ResourceRows() {
  return {
      {.name = "idle-connections",
       .injected = "1,000 connections to one node that are idle after one request each",
       .promised =
           "no outage, health answers, leader and term stay; the node keeps them until their "
           "time is up, and closes them then",
       .gaps = kNoElection,
       .run = IdleConnections,
       .prepare = ShortLimits},
      {.name = "slowloris",
       .injected = "300 heads and 300 bodies that never end, a byte now and then, to one node",
       .promised =
           "no outage, health answers, leader and term stay; the node keeps them until their "
           "time is up, and ends them with 408 then",
       .gaps = kNoElection,
       .run = SlowLoris,
       .prepare = ShortLimits},
      {.name = "malformed-http",
       .injected =
           "more than 1,000 malformed requests (tests/faults/malformed_http.cc) to one node",
       .promised =
           "each is refused with the right status or closed; the load keeps its rate; memory, "
           "threads and files stay bounded",
       .run = Malformed},
      {.name = "few-files",
       .injected = "300 connections to a node that may open 128 files",
       .promised = "it lives on and serves when they are gone; the others go on",
       .gaps = kNoElection,
       .run = FewFiles,
       .prepare =
           [](BedOptions& options) {
             options.prefix = [](size_t) {
               return std::vector<std::string>{"prlimit", "--nofile=128"};
             };
           }},
      {.name = "little-memory",
       .injected = "24 clients send values of 1 MB to nodes with 512 MiB of memory (RLIMIT_DATA)",
       .promised = "takes or refuses them; no node ends",
       .gaps = {seconds(45), seconds(45), seconds(20)},
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
      {.name = "blocked-log",
       .injected = "stderr of every node is a full pipe that nobody reads",
       .promised = "no outage, health answers",
       .run = BlockedLog},
  };
}

}  // namespace raftkv::faults
