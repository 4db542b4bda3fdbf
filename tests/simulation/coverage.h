// Counters of the paths that a simulation wants to have taken: a test that never meets a
// conflicting suffix shows nothing about conflicting suffixes.
//
// Thread-safety: none.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace raftkv::sim {

// X(name, what it means)
#define RAFTKV_SIM_COVERAGE(X)                                                       \
  X(leader_elected, "a leader was elected")                                          \
  X(two_leaders, "two nodes took themselves for leaders at the same time")           \
  X(conflicting_suffix, "a log cut a conflicting suffix")                            \
  X(log_truncated, "a log dropped its beginning")                                    \
  X(log_read, "entries that were not in memory were read from a log")                \
  X(log_reset, "a log was reset after a snapshot")                                   \
  X(crash_in_append, "a crash hit a write whose fsync had not ended")                \
  X(crash_kept_part, "... and a part of it survived")                                \
  X(crash_tore_write, "... of which some sectors had been written, and others not")  \
  X(crash_left_hole, "... and a whole record behind a torn one, which is cut, too")  \
  X(crash_lost_commit, "a crash lost a commit index that was not synced")            \
  X(crash_in_files, "a crash came while files of a data directory were replaced")    \
  X(crash_lost_name, "... and lost a new name, or the end of an old one")            \
  X(crash_kept_name, "... and kept one that was not synced")                         \
  X(crash_lost_state, "a crash lost applied state")                                  \
  X(crash_after_apply, "a crash came when a batch was applied, and nobody knew")     \
  X(crash_in_replace, "a crash hit the installation of a snapshot")                  \
  X(reconciled, "a node started with its state ahead of its log")                    \
  X(fsync_failed, "an fsync failed and ended the process")                           \
  X(disk_full, "others filled the disk of a host")                                   \
  X(log_waits, "a write of the log waited for space")                                \
  X(log_gave_back, "... and what the log had dropped was given back meanwhile")      \
  X(state_waits, "the state waited for space")                                       \
  X(leader_waits, "a leader waited for space")                                       \
  X(leader_hands_over, "... and handed over")                                        \
  X(reserve_given_back, "the reserve for a full disk was given back")                \
  X(growth_refused, "a write was refused, because a disk was full")                  \
  X(snapshot_without_room, "a snapshot found no room at its receiver")               \
  X(too_full_to_start, "a node did not start, because its disk was full")            \
  X(ended_without_room, "a process ended while it waited for space")                 \
  X(stopped_without_room, "... because it was told to")                              \
  X(full_disks_borne, "the disks of a minority stayed full, and the others went on") \
  X(disk_rotten, "a damaged disk did not open")                                      \
  X(majority_rotten, "the disks of a majority could not be read for a while")        \
  X(damage_only_told, "a damaged member left its replacement to others")             \
  X(replacement_refused, "a damaged member was not promised a replacement")          \
  X(replacement_agreed, "a leader agreed to replace a damaged member")               \
  X(member_set_aside, "the data of a damaged member were moved aside")               \
  X(set_aside_interrupted, "... and a crash came in between")                        \
  X(member_rebuilt, "a new member took the place of a damaged one by itself")        \
  X(disk_wiped, "a disk was wiped")                                                  \
  X(disk_copied, "a copy of a member's disk was started on another host")            \
  X(copy_of_old_disk, "... as it had been some time ago")                            \
  X(old_state_replayed, "a member started with an older copy of its state")          \
  X(old_state_refused, "... which its log does not continue: it did not start")      \
  X(old_log_refused, "a member did not start with an older copy of its log")         \
  X(other_format_refused, "a state of another format was refused, and left alone")   \
  X(other_program_back, "... and the program that wrote it went on with it")         \
  X(other_format_replaced, "... and its member was replaced")                        \
  X(clock_jumped, "a monotonic clock jumped ahead")                                  \
  X(clock_went_back, "a monotonic clock went back")                                  \
  X(clock_stood_still, "a monotonic clock hardly moved")                             \
  X(clock_raced, "a monotonic clock ran much too fast")                              \
  X(clock_drifted, "a monotonic clock changed its speed within the bounds")          \
  X(node_paused, "a node was paused")                                                \
  X(apply_slow, "the apply thread of a node was slow to apply something")            \
  X(applied_at_once, "the raft thread applied a few entries itself")                 \
  X(ambush, "a fault waited for its moment and struck a process")                    \
  X(crash_at_point, "a node crashed at a chosen kind of event")                      \
  X(message_lost, "a raft message was lost")                                         \
  X(message_duplicated, "a raft message came twice")                                 \
  X(message_reordered, "a raft message overtook another")                            \
  X(message_to_restarted, "a raft message outlived the process that it was for")     \
  X(snapshot_made, "a snapshot was made")                                            \
  X(snapshot_sent, "a snapshot was sent")                                            \
  X(snapshot_lost, "a snapshot did not arrive")                                      \
  X(snapshot_installed, "a snapshot was installed")                                  \
  X(snapshot_while_joint, "a snapshot carried a joint configuration")                \
  X(snapshot_over_log, "a snapshot replaced a log that had entries after it")        \
  X(joint_entered, "a joint configuration came into force")                          \
  X(joint_left, "a joint configuration was left")                                    \
  X(joint_disjoint, "the halves of a joint configuration had no voter in common")    \
  X(leader_while_joint, "a leader was elected in a joint configuration")             \
  X(leader_left_voters, "a leader applied its own removal or demotion")              \
  X(leader_removed_itself, "a leader that was asked to remove itself said: done")    \
  X(leader_left_alone, "... and nobody could take over before")                      \
  X(learner_promoted, "a learner became a voter")                                    \
  X(voter_demoted, "a voter became a learner")                                       \
  X(member_removed, "a member was removed")                                          \
  X(member_replaced, "a lost member was removed or replaced by others")              \
  X(change_answered, "a membership change was answered as made")                     \
  X(change_refused, "a membership change was refused")                               \
  X(change_stale_index, "... because it was decided on an older configuration")      \
  X(change_old_epoch, "... or by an operator that another one has replaced")         \
  X(removed_id_refused, "a removed id asked to come back, and was refused")          \
  X(used_id_refused, "the id of a member was refused to another node")               \
  X(changes_at_once, "changes of the membership were asked for at the same time")    \
  X(node_tombstoned, "a removed node stopped for good")                              \
  X(node_adopted, "a blank node was adopted")                                        \
  X(node_joined, "a blank node joined by its own call")                              \
  X(transfer_done, "leadership was transferred")                                     \
  X(transfer_failed, "a transfer of leadership failed")                              \
  X(write_acknowledged, "a write was acknowledged")                                  \
  X(write_conflict, "a condition did not hold")                                      \
  X(write_refused, "a write was refused as certainly not carried out")               \
  X(write_unknown, "the outcome of a write stayed unknown")                          \
  X(write_overwritten, "a proposed write lost its place to another leader")          \
  X(write_after_unknown, "a write with unknown outcome happened after the answer")   \
  X(write_forwarded, "a follower passed a write on")                                 \
  X(write_repeated, "a refused write was repeated at another node")                  \
  X(unknown_repeated, "a write with unknown outcome was asked for again")            \
  X(range_confirmed, "a linearizable read of many keys was served")                  \
  X(range_cut, "... and was cut at its limit")                                       \
  X(read_confirmed, "a linearizable read was served")                                \
  X(read_at_follower, "... by a follower")                                           \
  X(read_failed, "a linearizable read was not confirmed")                            \
  X(read_lease, "a read was served from a lease")                                    \
  X(read_stale, "a stale read was behind an acknowledged write")                     \
  X(read_index_stale, "an answer to an old read round came in")                      \
  X(history_compacted, "history was compacted")                                      \
  X(read_compacted, "a read asked for a compacted revision")                         \
  X(answers_checked, "the answers of a run went through the checker")                \
  X(states_compared, "the whole state of two nodes was compared")                    \
  X(backup_taken, "a snapshot was taken away from the cluster")                      \
  X(cluster_restored, "a new cluster was made from it")                              \
  X(restore_lost_writes, "... which lacks writes that the old one acknowledged")     \
  X(restore_interrupted, "... and began anew after a crash in between")

enum class Path {
#define X(name, text) name,
  RAFTKV_SIM_COVERAGE(X)
#undef X
      kCount
};

class Coverage {
 public:
  void Hit(Path path) { ++counts_[static_cast<size_t>(path)]; }
  uint64_t count(Path path) const { return counts_[static_cast<size_t>(path)]; }
  void Add(const Coverage& other);

  // One line for each path: count and meaning.
  std::string Table() const;
  // The paths never taken, one a line; empty if there are none.
  std::string Missing() const;
  // Their names alone, in one line; empty if there are none.
  std::string MissingNames() const;

 private:
  std::array<uint64_t, static_cast<size_t>(Path::kCount)> counts_{};
};

std::string_view Name(Path path);

}  // namespace raftkv::sim
