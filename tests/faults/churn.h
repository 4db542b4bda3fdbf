// Changes of the membership beside whatever a row does: a spare member joins, is promoted, serves
// for a moment, is removed, and comes again as a new one.
//
// Thread-safety: none; Start and Stop from one thread, the work is done on one of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "tests/integration/cluster.h"

namespace raftkv::faults {

// How a process that runs no more has ended, and its last words.
std::string DescribeEnd(testing::NodeProcess& node);

class Churn {
 public:
  // Where a member takes membership changes.
  struct Admin {
    std::string host;
    int port = 0;
  };

  // `spare` joins with `flags`. `know` hears of each new identity of it.
  Churn(std::unique_ptr<testing::NodeProcess> spare, std::vector<std::string> flags,
        std::vector<Admin> members, std::function<void(uint64_t id)> know);
  ~Churn();

  void Start();
  // With a cluster that works: the spare ends what it has begun and is gone, and no change of the
  // membership is under way any more.
  Status Stop();

  int joined() const { return joined_; }    // became a voter
  int removed() const { return removed_; }  // as a voter
  const testing::NodeProcess& spare() const { return *spare_; }
  // After Stop: how the spare ended though nobody asked it to. Empty: it did not.
  const std::string& surprises() const { return surprises_; }

 private:
  void Run();
  void Round();
  // The spare ended by itself: because it is removed, or for no good reason.
  void TakeEnd();
  // Asks one member after the other until one says that it is done. Ends with stop_ as well.
  bool Remove(uint64_t id, std::chrono::milliseconds limit);
  bool Await(const std::function<bool()>& condition, std::chrono::milliseconds limit) const;

  const std::unique_ptr<testing::NodeProcess> spare_;
  const std::vector<std::string> flags_;
  const std::vector<Admin> members_;
  const std::function<void(uint64_t)> know_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> joined_ = 0;
  std::atomic<int> removed_ = 0;
  std::string surprises_;  // of the thread, until it has ended
  std::thread thread_;
};

}  // namespace raftkv::faults
