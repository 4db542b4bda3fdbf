// The clients of a run: a weighted mix of requests over few keys, with retries, in the manner of
// etcd's robustness suite (tests/robustness/traffic). Everything is recorded as a history for the
// linearizability checker; what was not answered stays open.
//
// Each node has clients of its own, and some more ask any node. Every value is written once.
//
// Thread-safety: methods from any thread, but Start and Stop once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/linearizability/history.h"

namespace raftkv::faults {

// A node as clients know it.
struct Target {
  std::string name;
  std::string host;
  int port = 0;
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
  std::chrono::milliseconds pause{15};      // most between two requests of one client
  std::chrono::milliseconds timeout{1500};  // of a request, for the client
};

struct LoadCounts {
  uint64_t operations = 0;
  uint64_t done = 0;     // ok, not found or conflict
  uint64_t refused = 0;  // certainly no effect
  uint64_t unknown = 0;
  uint64_t out_of_space = 0;                 // of the refused: 507
  uint64_t errors = 0;                       // answers with 500
  std::chrono::milliseconds longest_gap{0};  // without a finished linearizable operation
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
  // The longest gap is measured from now on.
  void ForgetGap();
  // Finished writes and linearizable reads so far.
  uint64_t done() const { return done_; }
  // After Stop: reads every key once from each target that answers, and returns it all.
  linearizability::History Finish();

 private:
  struct Client;
  using Operation = linearizability::Operation;

  void Run(size_t number, Target* only);
  Operation Choose(Client& client);
  // Sends it and fills in the answer; whether it is worth another try.
  bool Perform(Client& client, Target& target, Operation& operation);
  void Record(Operation operation);
  void Learn(const std::chrono::steady_clock::time_point& now);

  const std::vector<Target*> targets_;
  const LoadOptions options_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> done_ = 0;
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  std::vector<Operation> operations_;
  LoadCounts counts_;
  std::chrono::steady_clock::time_point last_done_;
};

}  // namespace raftkv::faults
