// Memberships: what the configurations of a cluster were, by the log, and whether the answers to
// changes fit. A change that names the configuration it was decided on is carried out on that one
// alone; one that names an epoch, only if no later one has been there; and what was answered is
// there for whoever asks next.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "node/kv/state_machine.h"
#include "node/raft/entry.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::sim {

// Each On... returns what is wrong, or nothing.
class Memberships {
 public:
  // Of a new cluster, or of one that was made from a snapshot.
  void BeginAt(uint64_t config_index) { config_index_ = config_index; }

  // The first node that applies this entry has come to this result. In the order of the log.
  std::string OnDecided(const raft::Entry& entry, const kv::MembershipResult& result);

  // The index of the newest configuration that anybody was told of.
  uint64_t told() const { return told_; }
  // A member has answered so; `told_before`: told() when it was asked. `by_itself`: it was to
  // remove itself, and may know no more than that this is done.
  std::string OnAnswer(const v1::ChangeMembershipRequest& request, uint64_t told_before,
                       bool by_itself, const v1::ChangeMembershipResponse& response);
  // A linearizable read that began when told() was `told_before` is served from a state with this
  // configuration.
  std::string OnRead(uint64_t told_before, uint64_t config_index) const;

 private:
  struct Made {
    uint64_t expected = 0;
    raft::ConfState conf;
  };
  uint64_t config_index_ = 1;
  uint64_t epoch_ = 0;
  std::map<uint64_t, Made> made_;  // by the index of the configuration
  uint64_t told_ = 0;
};

}  // namespace raftkv::sim
