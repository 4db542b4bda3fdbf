// Liveness: once everything works again, the cluster has to get well within a bounded time.
//
// Thread-safety: none.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/simulation/history.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

class Liveness {
 public:
  // The writes are put down in the history: older ones may still be on their way behind them.
  Liveness(World* world, Operator* op, History* history)
      : world_(world), operator_(op), history_(history) {}

  // One leader; no joint configuration, no lost member; everybody whom a disk calls a member runs,
  // belongs to the configuration and has applied what is committed. Empty, or what is missing.
  std::string Missing() const;

  // The nodes as they are, one a line.
  std::string Describe() const;

  // Then: a write and a linearizable read through every member.
  void AskEveryMember();
  // Empty when all have been answered.
  std::string Unanswered() const;

  // Some disks are full: each of these members has to answer a delete, and who leads must not wait
  // for space. Deletes go everywhere, again and again.
  void Expect(const std::vector<SimNode*>& with_room);
  void AskToDelete();
  std::string MissingThough() const;

  // The states of all members, which have applied the same, are the same.
  void CompareStates() const;

 private:
  void Ask(SimNode* node);
  void ReadBack(SimNode* node, uint64_t revision);

  World* const world_;
  Operator* const operator_;
  History* const history_;
  std::set<std::string> waiting_;  // names of nodes
};

}  // namespace raftkv::sim
