// Profiles: knobs that belong together, for schedules that need several rare things in one run.
// Half of the seeds have one; the others turn their knobs by themselves.
//
// Thread-safety: constants.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "tests/simulation/ambush.h"
#include "tests/simulation/faults.h"

namespace raftkv::sim {

struct Profile {
  std::string_view name;
  AmbushOptions ambushes;
  std::vector<FaultKind> favourites;
  bool busy = false;        // clients that hardly think, mostly at whoever takes itself for leader
  uint64_t leases = 0;      // ... and that read from leases so often between two writes; 0: any mix
  bool slow_links = false;  // entries travel one by one, and slowly
  bool short_log = false;   // snapshots all the time
  bool five = false;        // members at first
  bool clocks_lie = false;  // nobody reads from leases then
  bool full_at_last = false;  // the disks of a minority, when all else is well
  bool restored = false;      // a new cluster is made from the newest snapshot
};

std::span<const Profile> Profiles();
// Null if there is none of this name.
const Profile* FindProfile(std::string_view name);

}  // namespace raftkv::sim
