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
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "tests/integration/cluster.h"

namespace raftkv::faults {

// How a process that runs no more has ended, and its last words.
std::string DescribeEnd(testing::NodeProcess& node);

// The node says that it is a voter.
bool SaysItVotes(const v1::StatusResponse& status);

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

  // What a fault has to see of the changes: with a majority one that is done, without one that is
  // under way.
  enum class Wanted { kDone, kTried };

  // The fault of the row is there from now on, or is over. An end waits until some fault of the row
  // has seen what is wanted; false: not within a minute. From one thread.
  void BeginFault();
  bool EndFault(Wanted wanted);
  // Whether some fault of the row has.
  bool Seen(Wanted wanted) const {
    return (wanted == Wanted::kDone ? done_in_fault_ : begun_in_fault_) > 0;
  }
  // Of a cluster that works: the spare has joined as a voter, and was removed as one; false: not
  // within a minute.
  bool AwaitWholeRound() const;

  void Start();
  // With a cluster that works: the spare ends what it has begun and is gone, and no change of the
  // membership is under way any more.
  Status Stop();

  int joined() const { return joined_; }    // became a voter
  int removed() const { return removed_; }  // as a voter
  // Changes that were under way within a fault, and those that were also ended there.
  int begun_in_fault() const { return begun_in_fault_; }
  int done_in_fault() const { return done_in_fault_; }
  const testing::NodeProcess& spare() const { return *spare_; }
  // After Stop: a removal that was answered with 500, and by what. Empty: none was.
  const std::string& error() const { return error_; }
  // After Stop: how the spare ended though nobody asked it to. Empty: it did not.
  const std::string& surprises() const { return surprises_; }

 private:
  void Run();
  void Round();
  // A change is under way from here to there.
  void BeginChange();
  void EndChange(bool done);
  // The spare ended by itself: because it is removed, or for no good reason.
  void TakeEnd();
  // Asks one member after the other until one says that it is done, or that there is no such
  // member: 200 or 404, else 0. Ends with stop_ as well.
  int Remove(uint64_t id, std::chrono::milliseconds limit);
  bool Await(const std::function<bool()>& condition, std::chrono::milliseconds limit) const;

  const std::unique_ptr<testing::NodeProcess> spare_;
  const std::vector<std::string> flags_;
  const std::vector<Admin> members_;
  const std::function<void(uint64_t)> know_;
  size_t next_ = 0;  // member to ask
  std::atomic<bool> stop_ = false;
  std::atomic<int> joined_ = 0;
  std::atomic<int> removed_ = 0;
  std::mutex mutex_;
  bool in_fault_ = false;
  bool changing_ = false;
  bool counted_ = false;  // the change under way, as one within the fault
  std::atomic<int> begun_in_fault_ = 0;
  std::atomic<int> done_in_fault_ = 0;
  std::string surprises_;  // of the thread, until it has ended
  std::string error_;      // likewise
  std::thread thread_;
};

}  // namespace raftkv::faults
