// Rows with clients and dialers that send what nobody should.

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "tests/faults/crowd.h"
#include "tests/faults/malformed_frames.h"
#include "tests/faults/malformed_http.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

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

size_t Entries(const std::string& directory) {
  std::error_code error;
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory, error),
                                           std::filesystem::directory_iterator()));
}

#ifdef RAFTKV_SANITIZED
constexpr uint64_t kMoreMemory = uint64_t{512} << 20;  // what is freed is kept for a while
#else
constexpr uint64_t kMoreMemory = uint64_t{64} << 20;
#endif
// Readers of large answers start when they are first needed.
constexpr size_t kMoreThreads = 8;
constexpr size_t kMoreFiles = 50;
// A second of the load and of the changes of the membership is worth some hundred bytes.
constexpr uint64_t kMoreLog = uint64_t{128} << 10;

// What a node takes of the machine, against what it took before.
class Watch {
 public:
  // `connections`: so many of those that are made to it may be there at once.
  Watch(Bed& bed, size_t node, size_t connections)
      : bed_(bed), node_(node), connections_(connections), before_(Now()), most_(before_) {}

  void Look() {
    const Use now = Now();
    most_.memory = std::max(most_.memory, now.memory);
    most_.threads = std::max(most_.threads, now.threads);
    most_.files = std::max(most_.files, now.files);
    most_.log = std::max(most_.log, now.log);
  }

  // After a while without anything.
  Status Judge() {
    Look();
    const auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20); };
    bed_.Note("memory " + mib(before_.memory) + " MiB, at most " + mib(most_.memory) +
              "; threads " + std::to_string(before_.threads) + ", at most " +
              std::to_string(most_.threads) + "; files " + std::to_string(before_.files) +
              ", at most " + std::to_string(most_.files) + "; log " +
              std::to_string((most_.log - before_.log) >> 10) + " KiB more");
    RETURN_IF_ERROR(Expect(before_.memory > 0 && before_.files > 0, "it can be looked at"));
    RETURN_IF_ERROR(Expect(most_.memory < before_.memory + kMoreMemory, "memory stays bounded"));
    RETURN_IF_ERROR(
        Expect(most_.threads <= before_.threads + kMoreThreads, "threads stay bounded"));
    RETURN_IF_ERROR(
        Expect(most_.files <= before_.files + connections_ + kMoreFiles, "files stay bounded"));
    RETURN_IF_ERROR(
        Expect(most_.log < before_.log + kMoreLog, "the log does not tell of each of them"));
    return bed_.WaitFor("the connections are gone",
                        [&] { return Now().files < before_.files + kMoreFiles; });
  }

 private:
  struct Use {
    uint64_t memory = 0;  // resident, bytes
    size_t threads = 0;
    size_t files = 0;
    uint64_t log = 0;  // bytes
  };

  Use Now() const {
    const std::string process = "/proc/" + std::to_string(bed_.node(node_).process()->pid());
    Use use;
    std::ifstream pages(process + "/statm");
    uint64_t all = 0;
    pages >> all >> use.memory;
    use.memory *= static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    use.threads = Entries(process + "/task");
    use.files = Entries(process + "/fd");
    std::error_code error;
    use.log = std::filesystem::file_size(bed_.directory(node_) / "log", error);
    return use;
  }

  Bed& bed_;
  const size_t node_;
  const size_t connections_;
  const Use before_;
  Use most_;
};

// What the load keeps of its rate at least, and how that is looked at: in turn with and without.
// Other work on the machine comes and goes, and so do members and elections; half of the times may
// be worse.
constexpr double kShareOfRate = 0.8;
constexpr milliseconds kWindow{1000};
constexpr size_t kLeastRounds = 7;
constexpr size_t kMostRounds = 21;
// Of whoever sends what nobody should, in a second: the load has the processors with it, too.
constexpr int kSentRate = 400;

using SteadyTime = std::chrono::steady_clock::time_point;

// Lets one go on so often in a second, and does not make up for what it could not.
class Pace {
 public:
  explicit Pace(int rate) : gap_(std::chrono::nanoseconds(seconds(1)) / rate) {}
  void Await() {
    const SteadyTime now = std::chrono::steady_clock::now();
    next_ = std::max(next_ + gap_, now);
    std::this_thread::sleep_until(next_);
  }

 private:
  const std::chrono::nanoseconds gap_;
  SteadyTime next_{};
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return values.empty() ? 0 : *middle;
}

// How the load goes beside something, against how it goes right before and right after.
class Beside {
 public:
  explicit Beside(Bed& bed) : bed_(bed) {}

  // Something happens until the time that it is given, or a little longer.
  void Round(const std::function<void(SteadyTime)>& work) {
    const auto nothing = [](SteadyTime end) { std::this_thread::sleep_until(end); };
    if (without_.empty()) without_.push_back(Rate(nothing));
    with_.push_back(Rate(work));
    without_.push_back(Rate(nothing));
    const double usual = (without_[without_.size() - 2] + without_.back()) / 2;
    shares_.push_back(usual > 0 ? with_.back() / usual : 0);
  }
  bool WantsMore() const { return rounds() < kLeastRounds || (!Holds() && rounds() < kMostRounds); }
  size_t rounds() const { return shares_.size(); }
  Status Judge() const {
    const auto whole = [](double number) { return std::to_string(static_cast<int>(number)); };
    bed_.Note("load " + whole(Median(without_)) + "/s without and " + whole(Median(with_)) +
              "/s with them, " + whole(100 * Median(shares_)) + " % in the middle of " +
              std::to_string(rounds()) + " turns (" + whole(100 * std::ranges::min(shares_)) +
              " to " + whole(100 * std::ranges::max(shares_)) + ")");
    return Expect(Holds(), "the load keeps four fifths of its rate");
  }

 private:
  bool Holds() const { return Median(shares_) >= kShareOfRate; }
  // What the load does in a second meanwhile.
  double Rate(const std::function<void(SteadyTime)>& work) const {
    const SteadyTime begin = std::chrono::steady_clock::now();
    const uint64_t done = bed_.load().done();
    work(begin + kWindow);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    return static_cast<double>(bed_.load().done() - done) / passed.count();
  }

  Bed& bed_;
  std::vector<double> without_;
  std::vector<double> with_;
  std::vector<double> shares_;
};

// What came back for a malformed request; empty: what is right. What is behind one is not looked
// at. Ports other than the clients' know other paths and methods: there it may be refused for
// these, too.
std::string Misjudged(const MalformedRequest& request, int port, bool clients) {
  const std::string answer = Exchange(port, request.bytes);
  const int status = answer.starts_with("HTTP/1.") ? std::atoi(answer.c_str() + 9) : 0;
  const bool refusal = (status >= 400 && status < 500) || status == 501 || status == 505;
  const bool refused_otherwise = !clients && request.status != 0 && refusal;
  const bool right = (status == request.status || refused_otherwise) &&
                     Answers(answer) == (status != 0 ? 1 : 0) && !answer.starts_with('(');
  if (right) return "";
  return request.category + " at port " + std::to_string(port) + ": " +
         request.bytes.substr(0, 100) + "\n -> not " + std::to_string(request.status) + " but " +
         answer.substr(0, 300) + "\n";
}

Status MalformedHttp(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  const testing::NodeProcess& node = bed.node(victim);
  const int ports[] = {node.client_port(), node.admin_port(), node.metrics_port()};
  const std::vector<MalformedRequest> requests = MalformedRequests();
  const size_t all = std::size(ports) * requests.size();
  Watch watch(bed, victim, 1);
  Beside beside(bed);
  std::set<std::string> categories;
  std::string wrong;
  size_t count = 0;
  bed.BeginFault();
  // All of them to one port after the other.
  while (!bed.Over() || count < all || beside.WantsMore()) {
    beside.Round([&](SteadyTime end) {
      Pace pace(kSentRate);
      while (std::chrono::steady_clock::now() < end) {
        pace.Await();
        const size_t turn = count / requests.size() % std::size(ports);
        const MalformedRequest& request = requests[count % requests.size()];
        wrong += Misjudged(request, ports[turn], turn == 0);
        categories.insert(request.category);
        if (++count % 50 == 0) watch.Look();
      }
    });
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(count) + " requests of " + std::to_string(categories.size()) +
           " categories, " + std::to_string(kSentRate) + " a second at most");
  RETURN_IF_ERROR(Expect(wrong.empty(), "each is refused or closed:\n" + wrong));
  RETURN_IF_ERROR(beside.Judge());
  return watch.Judge();
}

// Of connections to the peer port: in the handshake, with a stranger's call, and with an answer on
// its way (docs/design/transport.md).
constexpr size_t kMostHandshakes = 64;
constexpr size_t kMostPeerConnections = 3 * kMostHandshakes;
constexpr size_t kSilent = 300;
// Lines about them in the log: a hundred are named, and the other member's streams are its own.
constexpr size_t kMostNamed = 200;

size_t Named(Bed& bed, size_t i, size_t log_before) {
  const std::string log = bed.node(i).Log();
  size_t count = 0;
  for (size_t at = log_before; (at = log.find(" remote=", at)) != std::string::npos; ++at) ++count;
  return count;
}

// Whose frames are dialed: a member whose stream nobody else's progress needs.
Result<DialedNode> Dialed(Bed& bed, size_t victim) {
  ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
  size_t other = 0;
  while (other == victim || other == leader) ++other;
  std::optional<v1::StatusResponse> own;
  std::optional<v1::StatusResponse> others;
  RETURN_UNEXPECTED_IF_ERROR(bed.WaitFor("the ids of two members", [&] {
    own = bed.node(victim).Status();
    others = bed.node(other).Status();
    return own && others;
  }));
  return DialedNode{own->cluster_id(), own->member_id(), others->member_id()};
}

Status MalformedFrames(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  const int port = bed.node(victim).peer_port();
  const size_t log_before = bed.node(victim).Log().size();
  Watch watch(bed, victim, kMostPeerConnections);
  Beside beside(bed);
  std::set<std::string> categories;
  std::string wrong;
  size_t most_open = 0;
  size_t count = 0;
  size_t all = 0;
  size_t knocks = 0;
  Calm reign(bed);
  bed.BeginFault();
  while (!bed.Over() || count < all || beside.WantsMore() || reign.WantsMore()) {
    ASSIGN_OR_RETURN_STATUS(const DialedNode dialed, Dialed(bed, victim));
    const std::vector<MalformedDial> dials = MalformedDials(dialed, bed.random());
    all = dials.size();
    RETURN_IF_ERROR(reign.BeginRound());
    beside.Round([&](SteadyTime end) {
      // Who says nothing, begins, and does not go on.
      Crowd silent(port, kSilent);
      Crowd begun(port, kSilent);
      Crowd callers(port, kSilent);
      const std::string hello = CallersHello(bed.random());
      begun.Say(hello.substr(0, hello.size() / 2));
      callers.Say(hello);
      // Until all of them are connected, the time may be over.
      const SteadyTime last = std::max(end, std::chrono::steady_clock::now() + kWindow);
      Pace pace(kSentRate / 2);
      while (std::chrono::steady_clock::now() < last) {
        pace.Await();
        const MalformedDial& dial = dials[count % dials.size()];
        const std::string why = MisjudgedDial(dial, Exchange(port, dial.bytes, dial.hang_up));
        if (!why.empty()) wrong += dial.category + ": " + why + "\n";
        categories.insert(dial.category);
        if (Knock(port)) ++knocks;
        if (++count % 50 == 0) watch.Look();
      }
      watch.Look();
      for (Crowd* crowd : {&silent, &begun, &callers}) {
        crowd->Listen();
        most_open = std::max(most_open, crowd->open());
      }
    });
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.EndRound());
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(count) + " dials of " + std::to_string(categories.size()) +
           " categories and " + std::to_string(knocks) + " that break off at once, " +
           std::to_string(kSentRate / 2) + " of each a second at most, and each time " +
           std::to_string(3 * kSilent) + " that do not go on");
  RETURN_IF_ERROR(Expect(wrong.empty(), "each is refused or closed:\n" + wrong));
  RETURN_IF_ERROR(Expect(knocks > 0, "connections are taken that break off"));
  RETURN_IF_ERROR(
      Expect(most_open <= kMostHandshakes,
             "the oldest of those who do not go on give way: " + std::to_string(most_open)));
  const size_t named = Named(bed, victim, log_before);
  bed.Note("the log names " + std::to_string(named));
  RETURN_IF_ERROR(Expect(named <= kMostNamed, "the log does not name each of them"));
  RETURN_IF_ERROR(beside.Judge());
  RETURN_IF_ERROR(watch.Judge());
  return reign.Judge();
}

}  // namespace

std::vector<Row> HostileRows() {
  return {
      {.name = "malformed-http",
       .injected = "more than 1,000 malformed requests (tests/faults/malformed_http.cc) to the "
                   "client port of one node, and as many to its ports of admin and of metrics",
       .promised = "each is refused with the right status or closed; the load keeps four "
                   "fifths of its rate; memory, threads, files and the log stay bounded",
       .run = MalformedHttp},
      {.name = "malformed-frames",
       .injected = "more than 1,000 dials of the peer port of one node that no member would make "
                   "(tests/faults/malformed_frames.cc), beside crowds that do not go on or break "
                   "off",
       .promised =
           "each is refused with the right verdict or closed, crowds are bounded; the load "
           "keeps four fifths of its rate, leader and term stay; memory, threads, files and the "
           "log stay bounded",
       .run = MalformedFrames},
  };
}

}  // namespace raftkv::faults
