// The clients of a run: a weighted mix of requests over few keys, with retries, in the manner of
// etcd's robustness suite (tests/robustness/traffic). Everything is recorded as a history for the
// linearizability checker; what was not answered stays open.
//
// Each node has clients of its own, and some more ask any node. Every value is written once. One
// more compacts the history now and then: reads at revisions before that are refused.
//
// A range that was cut at its limit is mostly read on, page by page, as its answer says.
//
// A transaction writes its key if nobody has since the client last saw it, else a mark beside it,
// and reads another key: in the history these are a write with a condition or the mark's, and a
// read at the transaction's revision.
//
// Thread-safety: methods from any thread, but Start and Stop once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/cluster.h"
#include "tests/linearizability/history.h"

namespace raftkv::faults {

// A node as clients know it.
struct Target {
  std::string name;
  std::string host;
  int port = 0;
  int admin_port = 0;
  // Grows with each start and end of the process: an answer whose life did not change meanwhile
  // came from that life.
  std::atomic<uint64_t> life = 0;
};

struct LoadOptions {
  uint64_t seed = 1;
  size_t keys = 10;
  size_t value_bytes = 64;
  size_t clients_per_node = 2;
  size_t clients_of_all = 2;
  std::chrono::milliseconds pause{15};           // most between two requests of one client
  std::chrono::milliseconds timeout{1500};       // of a request, for the client
  std::chrono::milliseconds compact_every{700};  // 0: never
  bool leases = true;                            // reads that trust in clocks
};

struct LoadCounts {
  uint64_t operations = 0;
  uint64_t done = 0;     // ok, not found or conflict
  uint64_t refused = 0;  // certainly no effect
  uint64_t unknown = 0;
  uint64_t out_of_space = 0;  // of the refused: 507
  uint64_t errors = 0;        // answers with 500, to whatever the load asked for
  std::string first_error;    // what was asked of whom, and the answer
  // Answers that lack what the API promises (a revision, say): a history without that is checked
  // less strictly.
  uint64_t unreadable = 0;
  std::string first_unreadable;  // what was asked of whom, and what is wrong
  uint64_t writes = 0;           // done
  uint64_t gets = 0;             // done
  uint64_t ranges = 0;           // done
  uint64_t pages = 0;            // of these: behind the first
  uint64_t transactions = 0;     // done
  uint64_t old_reads = 0;        // done: at a revision
  uint64_t compactions = 0;      // done
  // Without a finished write, without a finished linearizable read. Outages do not count; a gap
  // that is open when one begins, or when the load stops, does.
  std::chrono::milliseconds write_gap{0};
  std::chrono::milliseconds read_gap{0};
  std::chrono::milliseconds observed{0};  // the time in which gaps were measured
  // What was asked for and answered within an outage, and by a node without a majority.
  std::string answered_in_outage;
  std::string answered_by_minority;
};

// What was asked for within a fault, and done or not: writes, and reads that are linearizable
// whatever the clocks do.
struct InFault {
  uint64_t writes_done = 0;
  uint64_t reads_done = 0;
  uint64_t writes_failed = 0;
  uint64_t reads_failed = 0;
};

class Load {
 public:
  // `targets` must outlive this.
  Load(std::vector<Target*> targets, LoadOptions options);
  ~Load() { Stop(); }

  void Start();
  // No more requests; waits for the answers.
  void Stop();

  LoadCounts counts() const;
  // The longest gaps are measured from now on.
  void ForgetGaps();
  // What is asked for from now on counts as within the fault.
  void BeginFault();
  InFault in_fault() const;
  // From now on nobody can write, or read linearizably: there is no majority. Gaps are measured
  // again from EndOutage on, which comes before there can be one.
  void BeginOutage();
  void EndOutage();
  // From now on nobody can write, or read linearizably, through these: they reach no majority.
  // EndMinority comes before they may.
  void BeginMinority(std::vector<const Target*> targets);
  void EndMinority();
  // Finished writes and linearizable reads so far.
  uint64_t done() const { return writes_done_ + reads_done_; }
  uint64_t writes_done() const { return writes_done_; }
  uint64_t reads_done() const { return reads_done_; }
  // After Stop: reads every key once from each target that answers, and returns it all.
  linearizability::History Finish();

 private:
  struct Client;
  using Operation = linearizability::Operation;

  using Time = std::chrono::steady_clock::time_point;

  void Run(size_t number, Target* only);
  void Compact();
  Operation Choose(Client& client);
  // Of a read: which of the states it wants to see.
  void ChooseState(Client& client, Operation& operation) const;
  // Sends it and fills in the answer; whether it is worth another try.
  bool Perform(Client& client, Target& target, Operation& operation);
  bool PerformAt(Client& client, Target& target, Operation& operation, const std::string& path);
  // What comes behind a page.
  void ReadOn(Client& client, Target* only, Operation page, size_t most);
  // Sends `put` as a transaction and records what it did and saw.
  void PerformTxn(Client& client, Target& target, Operation put);
  void Record(Operation operation);
  void Count(const Target& target, const Operation& operation, const testing::HttpReply& reply);
  // An answer that cannot be made out; with mutex_.
  void CountUnreadable(const std::string& asked, const Target& target, const std::string& wrong);
  // An answer with 500; with mutex_.
  void CountError(const std::string& asked, const Target& target, const testing::HttpReply& reply);
  void CountInFault(const Operation& operation, bool write);
  void CountInMinority(const Target& target, const Operation& operation);
  void Learn(const Operation& operation, bool write, Time now);
  // Takes what is open until now into account; with mutex_.
  void CloseGaps(Time now);

  const std::vector<Target*> targets_;
  const LoadOptions options_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> writes_done_ = 0;
  std::atomic<uint64_t> reads_done_ = 0;
  std::atomic<uint64_t> seen_ = 0;  // the greatest revision that anybody has
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  std::vector<Operation> operations_;
  LoadCounts counts_;
  InFault in_fault_;
  Time fault_;
  Time observed_since_;
  Time last_write_;
  Time last_read_;
  std::optional<Time> outage_;
  std::vector<const Target*> minority_;
  Time minority_since_;
};

}  // namespace raftkv::faults
