// One run: a cluster of real nodes behind proxies, the load on it, and what has to hold in the end.
//
// Thread-safety: none; the thread that makes nodes must live as long as they do.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/faults/churn.h"
#include "tests/faults/host_network.h"
#include "tests/faults/load.h"
#include "tests/faults/proxy.h"
#include "tests/faults/sandbox.h"
#include "tests/integration/cluster.h"

namespace raftkv::faults {

// The clocks of a row's nodes and clients, of which the length of an outage follows.
struct Timing {
  std::chrono::milliseconds tick = testing::kTick;
  int election_ticks = 10;
  std::chrono::milliseconds client_timeout{1500};

  // Who hears no leader campaigns after at most so long.
  std::chrono::milliseconds longest_election() const { return tick * 2 * election_ticks; }
};

// The longest time without a finished write, and without a finished linearizable read, that a row
// promises. While there is no majority (Bed::BeginOutage) nothing is promised but that nothing is
// answered.
struct Gaps {
  int elections = 1;                   // each as long as may be, one right after the other
  std::chrono::milliseconds beside{};  // nodes start, and what else has to happen

  // With the request after which a client sees that it is over: another one was under way when it
  // began, and is given up.
  std::chrono::milliseconds Promised(const Timing& timing) const;
  // In a row that was observed for so long. A short one has less: no more than half of that time,
  // but an election less and half of the rest anyhow.
  std::chrono::milliseconds Bound(const Timing& timing, std::chrono::milliseconds observed) const;
};
// kInternal: what the load has seen exceeds the gaps, or was answered in an outage.
Status JudgeGaps(const Gaps& gaps, const Timing& timing, const LoadCounts& counts);
// kInternal: requests were answered with 500, and nothing says why they may be.
Status JudgeErrors(const std::string& why_errors, const LoadCounts& counts);
// kInternal: the history is weaker than it looks, because answers could not be made out, or because
// a kind of request that the load has asked for all the time was never done.
Status JudgeAnswers(const LoadCounts& counts);

// kInternal with `what` unless it holds.
Status Expect(bool holds, const std::string& what);

// What has to be done by the load while a fault is there.
enum class Within {
  kGoesOn,   // there is a majority: writes and reads are done
  kNothing,  // too short for an election
};

struct BedOptions {
  size_t nodes = 3;
  uint64_t seed = 1;
  std::chrono::milliseconds span{6000};  // how long the faults of the row go on, about
  std::vector<std::string> flags;        // of every node
  std::vector<std::string> space_flags = {"--storage-reserve-bytes", "0", "--limits-min-free-bytes",
                                          "0"};
  std::function<Status(class Bed&)> before;  // anything is started. May be empty
  // The prefix of node i's command line (NodeProcess::set_prefix). May be empty.
  std::function<std::vector<std::string>(size_t)> prefix;
  // Hosts of the nodes, and of the spare, in networks of their own; the proxies are then left out.
  // Empty: loopback.
  std::vector<std::string> hosts;
  std::shared_ptr<HostNetwork> network;  // of those hosts
  LoadOptions load;
  bool churn = true;  // the membership is changed all the time
  Gaps gaps;
  std::string why_errors;  // some requests may be answered with 500. Empty: none may

  Timing timing() const { return {.client_timeout = load.timeout}; }
};

class Bed {
 public:
  Bed(const Sandbox* sandbox, std::filesystem::path directory, BedOptions options);
  ~Bed();

  // Starts the nodes as a static list, waits until they serve, and starts the load.
  Status Start();

  size_t size() const { return nodes_.size(); }
  testing::NodeProcess& node(size_t i) { return *nodes_[i].process; }
  std::filesystem::path directory(size_t i) const { return nodes_[i].directory; }
  std::filesystem::path data(size_t i) { return node(i).data_dir(); }
  Proxies& proxies() { return proxies_; }
  const Sandbox& sandbox() const { return *sandbox_; }
  bool has_load() const { return load_ != nullptr; }
  Load& load() { return *load_; }
  const BedOptions& options() const { return options_; }
  std::mt19937_64& random() { return random_; }
  size_t Pick(size_t count) { return random_() % count; }
  // Every node that may have a vote, for the proxies and the network: the spare's place as well.
  std::vector<size_t> Places() const;
  size_t Other(size_t than) { return (than + 1 + Pick(size() - 1)) % size(); }
  // A moment between nothing and `most`, by the seed.
  void Pace(std::chrono::milliseconds most);
  // The span of the row, and the measuring of gaps, begin now and not with the end of Start.
  void Begin();
  // Whether the span of the row is over; not before a fault that is there now has met what it is
  // there for (below), or a minute has passed.
  bool Over() const;

  // Between these two the fault is there, and EndFault waits until it has met what it is there for:
  // requests that were made within it and done, and the first fault of a row a change of the
  // membership. kInternal: not within a minute.
  void BeginFault();
  Status EndFault(Within within = Within::kGoesOn);
  // The same where the fault leaves no majority, and EndOutage comes before there can be one again:
  // requests that were made within it and not done, and a change that was tried. That nothing was
  // done is judged by Verify.
  void BeginOutage();
  Status EndOutage();
  // The fault keeps these nodes from any majority, the spare's vote included: until EndMinority,
  // which comes before they are healed, they may not answer what only a majority may. That they do
  // not is judged by Verify.
  void BeginMinority(const std::vector<size_t>& nodes);
  void EndMinority() { load_->EndMinority(); }

  // A node that ends otherwise than by this, and whose status nobody takes (End), breaks the row.
  void Kill(size_t i);
  // Starts it again, with new flags if there are any.
  void Restart(size_t i);
  void Restart(size_t i, std::vector<std::string> flags);
  void Pause(size_t i);
  void Resume(size_t i);
  // From now on this node need not serve, nor is it started again.
  void Retire(size_t i) { nodes_[i].retired = true; }
  // Another node, not started. Its place.
  size_t Add();

  // Each waits for a minute.
  Result<size_t> Leader();
  Status Ready(size_t i);
  Status AwaitVote(size_t i);
  // The load gets `more` linearizable answers, a quarter of them at least of writes and of reads.
  Status Progress(uint64_t more = 40);
  // The process ends by itself; its status.
  Result<int> End(size_t i);
  Status WaitFor(const std::string& what, const std::function<bool()>& condition);
  // The node's log has this text.
  Status WaitForLog(size_t i, const std::string& text);

  // POST /admin/membership on the leader until it is taken; `body` is JSON.
  Status ChangeMembers(const std::string& body);
  std::string MemberId(size_t i);  // 16 digits; empty: it does not say
  // What docs/operations.md says of a damaged member: it is removed, its directory emptied, and it
  // joins as a new one.
  Status Replace(size_t i);

  // Heals, starts and resumes everything, waits until every node serves, ends the changes of the
  // membership and the load, and checks: the membership is settled, all nodes hold the same, no
  // process ended that should not have, and the history is linearizable (CheckHistory).
  Status Verify(const std::filesystem::path& folder);
  // Ends the load and judges its history; explains a violation in `folder`. The verdict of a row
  // that broke another promise is worth knowing, too.
  Status CheckHistory(const std::filesystem::path& folder);
  bool history_checked() const { return history_checked_; }

  void Note(const std::string& text);
  const std::string& notes() const { return notes_; }
  void KeepLogs(const std::filesystem::path& folder);

 private:
  struct Node {
    std::filesystem::path directory;
    std::unique_ptr<testing::NodeProcess> process;
    std::unique_ptr<Target> target;
    bool paused = false;
    bool retired = false;
    bool end_known = false;  // of a process that runs no more
    std::string id;
  };

  void StartChurn();
  Status ProgressOfBoth();
  bool GoesOnInFault() const;
  Status EndChanges();
  // Takes down that node i has ended without being asked to, if so.
  void NoteEnd(size_t i);
  // What no row expects of any process: that it ends by itself, or that it finds itself wrong.
  Status NoSurprises();
  std::vector<std::string> Flags(std::vector<std::string> own) const;
  Status SameEverywhere();

  const Sandbox* const sandbox_;
  const std::filesystem::path directory_;
  const BedOptions options_;
  std::mt19937_64 random_;
  Proxies proxies_;
  std::deque<Node> nodes_;
  std::unique_ptr<Load> load_;
  std::unique_ptr<Churn> churn_;
  std::chrono::steady_clock::time_point started_;
  std::optional<std::chrono::steady_clock::time_point> fault_;  // the one that is there now
  std::string notes_;
  std::string surprises_;
  bool history_checked_ = false;
};

}  // namespace raftkv::faults
