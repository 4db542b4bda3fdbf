#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>

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

#ifdef RAFTKV_SANITIZED
constexpr uint64_t kMoreMemory = uint64_t{512} << 20;  // what is freed is kept for a while
#else
constexpr uint64_t kMoreMemory = uint64_t{64} << 20;
#endif
// Readers of large answers start when they are first needed.
constexpr size_t kMoreThreads = 8;
// The load has the processors with the client that sends these; what it keeps at least of the rate
// that it has right before.
constexpr double kShareOfRate = 0.5;
constexpr int kMostBatches = 6;  // until it has: other work on the machine comes and goes

// The load's answers, and the seconds that they took.
struct Sum {
  uint64_t done = 0;
  double seconds = 0;
  double Rate() const { return seconds > 0 ? static_cast<double>(done) / seconds : 0; }
};

// Adds what the load does from its making to its end.
class Measure {
 public:
  Measure(const Load& load, Sum& sum) : load_(load), sum_(sum), done_(load.done()) {}
  ~Measure() {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun_;
    sum_.done += load_.done() - done_;
    sum_.seconds += passed.count();
  }
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;

 private:
  const Load& load_;
  Sum& sum_;
  const uint64_t done_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

// What came back for a malformed request; empty: what is right. What is behind one is not looked
// at. The admin port knows other paths and methods: there it may be refused for these, too.
std::string Misjudged(const MalformedRequest& request, int port, bool admin) {
  const std::string answer = Exchange(port, request.bytes);
  const int status = answer.starts_with("HTTP/1.") ? std::atoi(answer.c_str() + 9) : 0;
  const bool refused_otherwise = admin && request.status != 0 && status >= 400 && status < 600;
  const bool right = (status == request.status || refused_otherwise) &&
                     Answers(answer) == (status != 0 ? 1 : 0) && !answer.starts_with('(');
  if (right) return "";
  return request.category + (admin ? " (admin)" : "") + ": " + request.bytes.substr(0, 100) +
         "\n -> not " + std::to_string(request.status) + " but " + answer.substr(0, 300) + "\n";
}

Status Malformed(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  const pid_t pid = bed.node(victim).process()->pid();
  const auto metrics = [&] { return bed.node(victim).Admin("GET", "/metrics").body; };
  const std::string before = metrics();
  const size_t threads_before = Threads(pid);
  size_t most_threads = 0;
  Sum undisturbed;
  Sum disturbed;
  const auto keeps_rate = [&] { return disturbed.Rate() >= undisturbed.Rate() * kShareOfRate; };
  std::map<std::string, int> categories;
  std::string wrong;
  int count = 0;
  int batches = 0;
  bed.BeginFault();
  do {
    // To either port in turn, each time after as long without.
    const bool admin = batches++ % 2 == 1;
    const int port = admin ? bed.node(victim).admin_port() : bed.node(victim).client_port();
    {
      const Measure measure(bed.load(), undisturbed);
      std::this_thread::sleep_for(seconds(2));
    }
    const Measure measure(bed.load(), disturbed);
    for (const MalformedRequest& request : MalformedRequests()) {
      wrong += Misjudged(request, port, admin);
      ++categories[request.category];
      ++count;
      if (count % 50 == 0) most_threads = std::max(most_threads, Threads(pid));
    }
  } while (!bed.Over() || batches < 2 || (!keeps_rate() && batches < kMostBatches));
  RETURN_IF_ERROR(bed.EndFault());
  const std::string after = metrics();
  const uint64_t memory_before = Number(before, "process_resident_memory_bytes");
  const uint64_t memory = Number(after, "process_resident_memory_bytes");
  const auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20); };
  bed.Note(std::to_string(count) + " requests of " + std::to_string(categories.size()) +
           " categories in " + std::to_string(batches) + " batches; load " +
           std::to_string(static_cast<int>(undisturbed.Rate())) + "/s before and " +
           std::to_string(static_cast<int>(disturbed.Rate())) + "/s; memory " + mib(memory_before) +
           " to " + mib(memory) + " MiB; threads " + std::to_string(threads_before) + ", at most " +
           std::to_string(most_threads));
  RETURN_IF_ERROR(Expect(wrong.empty(), "each is refused or closed:\n" + wrong));
  RETURN_IF_ERROR(Expect(keeps_rate(), "the load keeps half of its rate"));
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
       .injected = "more than 1,000 malformed requests (tests/faults/malformed_http.cc) to the "
                   "client port of "
                   "one node, and as many to its admin port",
       .promised = "each is refused with the right status or closed; the load keeps half of its "
                   "rate; memory, "
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
  };
}

}  // namespace raftkv::faults
