#include "tests/simulation/profiles.h"

namespace raftkv::sim {

std::span<const Profile> Profiles() {
  using enum FaultKind;
  static const std::vector<Profile> profiles = {
      // A leader that hands over is cut off before it hears of its successor.
      {.name = "handover",
       .ambushes = {{Moment::transfer_sent}, {Blow::isolate_it, Blow::deafen, Blow::pause_it}},
       .favourites = {k_transfer, k_ambush},
       .busy = true,
       .leases = 2},
      // The halves of a joint configuration, or of one that is about to come, lose each other.
      {.name = "halves",
       .ambushes = {{Moment::change_sent, Moment::joint_entered}, {Blow::halves, Blow::half_deaf}},
       .favourites = {k_change, k_ambush}},
      // A leader hears confirmations that are older than its questions.
      {.name = "stalled",
       .ambushes = {{Moment::campaign}, {Blow::silence_rival}},
       .favourites = {k_stall_leader},
       .busy = true},
      // Leaders that come and go before anybody has their entries (paper, figure 8).
      {.name = "figure-eight",
       .ambushes = {{Moment::leader_elected, Moment::log_conflict},
                    {Blow::cut_some, Blow::isolate_it, Blow::slow_disk}},
       .favourites = {k_ambush, k_busy_leader},
       .slow_links = true,
       .five = true},
      // The same while a write takes as long as three elections.
      {.name = "slow-syncs",
       .ambushes = {{Moment::leader_elected}, {Blow::cut_some}},
       .favourites = {k_ambush, k_slow_disk, k_slow_disk},
       .five = true},
      // Crashes inside the installation of a snapshot.
      {.name = "installation",
       .ambushes = {{Moment::snapshot_received, Moment::replacing, Moment::state_replaced},
                    {Blow::crash_it, Blow::slow_apply}},
       .favourites = {k_lag, k_ambush, k_slow_apply},
       .short_log = true},
      // Members go while those who stay do not know it yet, or forget it.
      {.name = "departure",
       .ambushes = {{Moment::change_sent, Moment::joint_left},
                    {Blow::half_deaf, Blow::silence, Blow::crash_it, Blow::slow_apply}},
       .favourites = {k_change, k_remove_leader, k_ambush, k_slow_apply},
       .short_log = true},
      // Somebody campaigns against a leader that lives. It has no chance unless nothing was written
      // since it last heard that one.
      {.name = "usurper",
       .ambushes = {{Moment::campaign}, {Blow::isolate_rival, Blow::pause_rival}},
       .favourites = {k_cut_one_way, k_ambush},
       .busy = true,
       .leases = 60},
      // Long tails of entries that come to nothing, and short logs to replace them.
      {.name = "tails",
       .ambushes = {{Moment::leader_elected}, {Blow::isolate_it, Blow::slow_apply}},
       .favourites = {k_busy_leader},
       .short_log = true},
      // Changes on top of changes.
      {.name = "changes",
       .ambushes = {{Moment::change_sent, Moment::joint_entered},
                    {Blow::crash_it, Blow::slow_apply, Blow::isolate_it}},
       .favourites = {k_changes_at_once, k_change, k_ambush}},
      // Clocks that jump, go back, stand still and race, around elections.
      {.name = "clocks",
       .ambushes = {{Moment::campaign, Moment::leader_elected}, {Blow::isolate_it, Blow::pause_it}},
       .favourites = {k_clock, k_clock, k_ambush},
       .busy = true,
       .clocks_lie = true},
      // Disks that cannot be read, of one or of many at once; the members rebuild themselves.
      {.name = "damage",
       .ambushes = {{Moment::leader_elected, Moment::change_sent, Moment::joint_entered},
                    {Blow::crash_it, Blow::isolate_it, Blow::pause_it}},
       .favourites = {k_rot_disk, k_rot_some, k_ambush},
       .short_log = true},
      // Old copies of disks, and of parts of them; and in the end all that is left is a snapshot.
      {.name = "copies",
       .ambushes = {{Moment::leader_elected, Moment::joint_left},
                    {Blow::crash_it, Blow::slow_apply}},
       .favourites = {k_copied_disk, k_old_part, k_backup},
       .busy = true,
       .short_log = true,
       .restored = true},
      // Disks that are full, of one or of many; and in the end for good, of a minority.
      {.name = "space",
       .ambushes = {{Moment::waits_for_space, Moment::leader_elected},
                    {Blow::crash_it, Blow::isolate_it, Blow::pause_it, Blow::slow_apply}},
       .favourites = {k_full_disk, k_lag, k_shut_down, k_ambush},
       .busy = true,
       .short_log = true,
       .full_at_last = true},
  };
  return profiles;
}

const Profile* FindProfile(std::string_view name) {
  for (const Profile& profile : Profiles()) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

}  // namespace raftkv::sim
