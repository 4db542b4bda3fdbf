// Clients: a weighted mix of requests over a few keys, one at a time each, with time limits,
// repetition of what was refused, and outcomes that stay unknown.
//
// Thread-safety: none.
#pragma once

#include <memory>
#include <vector>

#include "tests/simulation/history.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

struct ClientOptions {
  size_t clients = 5;
  size_t keys = 5;
  // Percent of the requests that go to whoever takes itself for the leader, if anybody does.
  uint64_t to_leaders_percent = 0;
  // Of each kind; empty: the usual mix.
  std::vector<uint64_t> weights;
  bool leases = true;              // whether anybody reads from leases
  std::string value_prefix = "c";  // what no earlier client has written begins otherwise
  Duration think_time = std::chrono::milliseconds(600);  // mean
  size_t max_value_bytes = 200;
};

class Clients {
 public:
  Clients(World* world, const ClientOptions& options);

  // What a write sends.
  static v1::Command CommandFor(const Operation& operation);

  void Start();
  // No new requests.
  void Stop() { stopped_ = true; }
  // So many writes at this process, at once, each by a client of its own.
  void Burst(SimNode* node, uint64_t writes);
  // Nobody waits for an answer.
  bool idle() const;
  // The requests at this process end with it.
  void OnProcessEnd(const SimNode& node);

  History& history() { return history_; }

 private:
  struct Client {
    size_t operation = 0;     // the one under way
    SimNode* node = nullptr;  // where; null: none
    uint64_t incarnation = 0;
    int repeats = 0;    // of the last request, because it was refused
    bool once = false;  // asks nothing after its one request
  };

  void Think(size_t client);
  void Begin(size_t client);
  Operation Choose(size_t client);
  SimNode* ChooseNode();
  void Ask(size_t client, Operation operation);
  void AskAt(SimNode* node, size_t client, Operation operation);
  void AskWrite(size_t client, size_t number, SimNode* node, Duration limit);
  void AskRead(size_t client, size_t number, SimNode* node, Duration limit);
  void Next(size_t client, size_t number);
  std::string NewValue(size_t client);
  Duration Latency() { return std::chrono::microseconds(50 + random_.Uniform(400)); }
  Duration Exponential(Duration mean);

  World* const world_;
  const ClientOptions options_;
  SeededRandom random_;
  History history_;
  std::vector<Client> clients_;
  std::vector<uint64_t> weights_;
  uint64_t values_ = 0;
  bool stopped_ = false;
};

}  // namespace raftkv::sim
