// The faults of a run, drawn before it begins: a list that can be shortened until only what breaks
// the cluster is left.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/ambush.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

// X(name, weight)
#define RAFTKV_SIM_FAULTS(X) \
  X(crash, 10)               \
  X(crash_leader, 8)         \
  X(crash_some, 4)           \
  X(crash_all, 2)            \
  X(crash_at_event, 12)      \
  X(shut_down, 3)            \
  X(pause, 8)                \
  X(pause_leader, 6)         \
  X(cut_one_way, 8)          \
  X(isolate, 6)              \
  X(isolate_leader, 6)       \
  X(split, 6)                \
  X(bridge, 4)               \
  X(swizzle, 4)              \
  X(clog, 6)                 \
  X(bad_network, 8)          \
  X(stall_leader, 6)         \
  X(busy_leader, 5)          \
  X(slow_disk, 6)            \
  X(slow_apply, 6)           \
  X(fail_sync, 5)            \
  X(full_disk, 3)            \
  X(lose_disk, 6)            \
  X(rot_disk, 3)             \
  X(rot_some, 4)             \
  X(keep_copy, 8)            \
  X(copied_disk, 4)          \
  X(old_part, 4)             \
  X(clock, 6)                \
  X(change, 14)              \
  X(changes_at_once, 4)      \
  X(remove_leader, 4)        \
  X(removed_id, 2)           \
  X(used_id, 2)              \
  X(join, 5)                 \
  X(transfer, 7)             \
  X(snapshot, 5)             \
  X(backup, 5)               \
  X(lag, 6)                  \
  X(ambush, 30)

enum class FaultKind {
#define X(name, weight) k_##name,
  RAFTKV_SIM_FAULTS(X)
#undef X
      kCount
};

struct Fault {
  SimTime at{0};
  FaultKind kind = FaultKind::k_crash;
  uint64_t number = 0;  // seeds what it decides when it happens

  std::string Text() const;
};

struct FaultOptions {
  Duration begin = std::chrono::seconds(3);
  Duration end = std::chrono::seconds(60);
  Duration mean_gap = std::chrono::seconds(2);
  // Of these there are many more.
  std::vector<FaultKind> favourites;
};

std::vector<Fault> DrawFaults(Random& random, const FaultOptions& options);

class Injector {
 public:
  // Clocks that lie do what no clock should; else they keep to the bounds.
  Injector(World* world, Operator* op, Clients* clients, AmbushOptions ambushes, bool clocks_lie)
      : world_(world),
        operator_(op),
        clients_(clients),
        clocks_lie_(clocks_lie),
        ambushes_(world, this, std::move(ambushes)) {
    world_->on_moment = [this](Moment moment, SimNode& node) {
      if (!healed_) ambushes_.OnMoment(moment, node);
    };
  }

  void Inject(const Fault& fault);
  // Everything works again: network, disks, clocks; what runs goes on, what does not is started.
  void HealAll();
  bool healed() const { return healed_; }

  // --- Blows; each ends by itself

  void CutFor(size_t from, size_t to, Duration duration);
  void SeparateFor(const std::vector<bool>& side, Duration duration);
  void CrashFor(SimNode& node, Duration duration);
  void PauseFor(SimNode& node, Duration duration);
  void SlowDiskFor(SimNode& node, Duration each, Duration duration);
  void SlowApplyFor(SimNode& node, Duration each, Duration duration);
  // Others fill the disk, and now and then take or give back some.
  void FillDiskFor(SimNode& node, Random& random, Duration duration);
  // It reaches nobody, and hears late what is said to it: it goes on believing what was.
  void Stall(SimNode& node, Random& random);

 private:
  void Swizzle(Random& random);
  void Lag(Random& random);
  void CrashAtEvent(Random& random);
  void BadNetwork(Random& random);
  void BusyLeader(Random& random);
  void InjectNetwork(const Fault& fault, Random& random);
  void InjectDisk(const Fault& fault, Random& random);
  void InjectProcess(const Fault& fault, Random& random);
  void InjectClock(Random& random);
  void ClockSpeedFor(SimNode& node, int64_t parts_per_million, Duration duration);
  SimNode& AnyNode(Random& random);
  SimNode& LeaderOrAny(Random& random);

  World* const world_;
  Operator* const operator_;
  Clients* const clients_;
  const bool clocks_lie_;
  Ambushes ambushes_;
  uint64_t network_changes_ = 0;
  bool healed_ = false;
};

}  // namespace raftkv::sim
