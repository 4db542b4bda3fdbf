// A model of one cluster's consensus for the planner's model run: a single log, joint changes,
// elections that need a quorum of both halves, learners that catch up, and removed members that end
// by themselves (docs/design/membership.md). No messages: what is live decides what can happen.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "operator/raftkv/action.h"

namespace raftkv::op::model {

// A data directory: lives on a volume, dies with it.
struct Directory {
  MemberId id = 0;
  ClusterId cluster = 0;  // 0: blank
  uint64_t match = 0;     // it has the log up to here
  bool damaged = false;
  bool hangs = false;      // its disk: whatever runs on it neither answers nor takes part
  bool tombstone = false;  // it was removed and has ended; it never starts again
  int64_t refused_since_s = 0;
};

struct Conf {
  uint64_t index = 0;
  uint64_t epoch = 0;
  std::set<MemberId> voters;
  std::set<MemberId> outgoing;  // empty unless joint
  std::set<MemberId> learners;
  std::set<MemberId> removed;  // for ever
  std::map<MemberId, std::string> names;
  std::map<MemberId, std::string> addresses;
  // The voters that the last change of size left, or the beginning: a replacement may be below.
  size_t size = 0;
  bool leader_goes = false;  // in one more change, because nobody had stayed beside it

  bool joint() const { return !outgoing.empty(); }
  // The others find at this address whoever has this id. Nobody is looked for of whom they know
  // none: it may ask them itself, as removed members do.
  bool Finds(MemberId id, const std::string& address) const {
    const auto known = addresses.find(id);
    return known == addresses.end() || known->second == address;
  }
};

class Raft {
 public:
  explicit Raft(const std::vector<MemberView>& members);

  // Time passes. `all` are the cluster's directories, `live` those whose process runs and is
  // reached by the others. Returns what it did, for the history; an empty string: nothing of note.
  std::string Tick(const std::vector<Directory*>& all, const std::vector<Directory*>& live,
                   int64_t now_s, Random& random);

  // The leader's answer: empty if it was done. `target`: of the change of size that it is part of.
  std::string Change(const ChangeMembership& change, std::optional<int> target,
                     const std::vector<Directory*>& live);
  std::string Transfer(const TransferLeadership& transfer, const std::vector<Directory*>& live);

  const Conf& Latest() const { return confs_.back(); }
  // Every configuration that was not lost, joint ones among them.
  const std::vector<Conf>& all() const { return confs_; }
  // In force, and not to be lost any more.
  const Conf& Committed() const { return Appended(commit_); }
  // What a member knows that has the log up to `match`.
  const Conf& Applied(uint64_t match) const;
  // Members take in whom a configuration names that they have applied, never one that could be
  // lost.
  bool KnownIn(const Directory& directory, MemberId id) const;
  static bool Quorum(const std::set<MemberId>& voters, const std::set<MemberId>& live);

  // Who of these, if they were all that is live, would be elected; nullptr: nobody.
  Directory* Candidate(const std::vector<Directory*>& live) const;

  MemberId leader() const { return leader_; }
  uint64_t commit() const { return commit_; }
  uint64_t term() const { return term_; }
  // A leader was elected that lacks what was committed: acknowledged writes are lost.
  bool lost_writes() const { return lost_writes_; }

 private:
  const Conf& Appended(uint64_t match) const;
  bool Elect(const std::vector<Directory*>& all, const std::vector<Directory*>& live);
  void Replicate(const std::vector<Directory*>& live, Random& random);
  void Commit(const std::vector<Directory*>& live);
  void Leave(const std::vector<Directory*>& live, int64_t now_s, Random& random);

  std::vector<Conf> confs_;
  uint64_t last_ = 1;
  uint64_t commit_ = 0;
  uint64_t term_ = 1;
  MemberId leader_ = 0;
  bool lost_writes_ = false;
};

}  // namespace raftkv::op::model
