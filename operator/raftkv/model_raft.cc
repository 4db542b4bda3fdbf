#include "operator/raftkv/model_raft.h"

#include <algorithm>

#include "base/hex_id.h"

namespace raftkv::op::model {
namespace {

constexpr uint64_t kCaughtUp = 1000;

std::set<MemberId> Ids(const std::vector<Directory*>& directories) {
  std::set<MemberId> out;
  for (const Directory* directory : directories) out.insert(directory->id);
  return out;
}

Directory* Find(const std::vector<Directory*>& directories, MemberId id) {
  for (Directory* directory : directories) {
    if (directory->id == id) return directory;
  }
  return nullptr;
}

void Forget(Conf* conf, MemberId id) {
  conf->names.erase(id);
  conf->addresses.erase(id);
}

// Names and addresses, among the members that stay.
bool Unique(const Conf& conf) {
  std::set<std::string> taken;
  return std::ranges::all_of(conf.names, [&](const auto& member) {
    const auto& [id, name] = member;
    return conf.removed.contains(id) ||
           (taken.insert(name).second && taken.insert(conf.addresses.at(id)).second);
  });
}

}  // namespace

Raft::Raft(const std::vector<MemberView>& members) {
  Conf first;
  first.index = 1;
  for (const MemberView& member : members) {
    first.voters.insert(member.id);
    first.names[member.id] = member.name;
    first.addresses[member.id] = member.peer_address;
  }
  first.size = first.voters.size();
  confs_.push_back(first);
}

bool Raft::Quorum(const std::set<MemberId>& voters, const std::set<MemberId>& live) {
  const auto count = std::ranges::count_if(voters, [&](MemberId id) { return live.contains(id); });
  return voters.empty() || static_cast<size_t>(count) > voters.size() / 2;
}

const Conf& Raft::Appended(uint64_t match) const {
  size_t at = 0;
  while (at + 1 < confs_.size() && confs_[at + 1].index <= match) ++at;
  return confs_[at];
}

const Conf& Raft::Applied(uint64_t match) const { return Appended(std::min(match, commit_)); }

bool Raft::KnownIn(const Directory& directory, MemberId id) const {
  return Applied(directory.match).names.contains(id);
}

Directory* Raft::Candidate(const std::vector<Directory*>& live) const {
  std::vector<Directory*> candidates = live;
  std::ranges::stable_sort(candidates, std::greater(), [](const Directory* d) { return d->match; });
  for (Directory* candidate : candidates) {
    const Conf& conf = Appended(candidate->match);
    if (!conf.voters.contains(candidate->id) && !conf.outgoing.contains(candidate->id)) continue;
    std::set<MemberId> votes;
    for (const Directory* voter : live) {
      if (voter->match <= candidate->match) votes.insert(voter->id);
    }
    if (Quorum(conf.voters, votes) && Quorum(conf.outgoing, votes)) return candidate;
  }
  return nullptr;
}

bool Raft::Elect(const std::vector<Directory*>& all, const std::vector<Directory*>& live) {
  Directory* elected = Candidate(live);
  if (elected == nullptr) return false;
  if (elected->match < commit_) lost_writes_ = true;
  last_ = elected->match;
  while (confs_.size() > 1 && confs_.back().index > last_) confs_.pop_back();
  for (Directory* directory : all) directory->match = std::min(directory->match, last_);
  elected->match = ++last_;
  leader_ = elected->id;
  ++term_;
  return true;
}

void Raft::Replicate(const std::vector<Directory*>& live, Random& random) {
  last_ += random.Uniform(30) == 0 ? 5000 : random.Uniform(4);
  for (Directory* directory : live) {
    if (directory->id == leader_) {
      directory->match = last_;
    } else if (Latest().names.contains(directory->id) && random.Uniform(10) != 0) {
      directory->match = std::min(last_, directory->match + 500 + random.Uniform(3000));
    }
  }
}

void Raft::Commit(const std::vector<Directory*>& live) {
  std::vector<uint64_t> points;
  for (const Directory* directory : live) points.push_back(directory->match);
  std::ranges::sort(points, std::greater());
  for (const uint64_t point : points) {
    std::set<MemberId> have;
    for (const Directory* directory : live) {
      if (directory->match >= point) have.insert(directory->id);
    }
    if (!Quorum(Latest().voters, have) || !Quorum(Latest().outgoing, have)) continue;
    commit_ = std::max(commit_, point);
    break;
  }
  if (!Latest().joint() || Latest().index > commit_) return;
  Conf final = Latest();
  final.outgoing.clear();
  final.index = ++last_;
  for (const MemberId id : final.removed) Forget(&final, id);
  confs_.push_back(final);
  Find(live, leader_)->match = last_;
}

// A removed member learns of it from those who know, and ends when a majority of those who remain
// has refused it, or some time after the first has.
void Raft::Leave(const std::vector<Directory*>& live, int64_t now_s, Random& random) {
  const Conf& conf = Applied(commit_);
  if (conf.joint()) return;
  std::set<MemberId> refusing;
  for (const Directory* directory : live) {
    if (directory->match >= conf.index) refusing.insert(directory->id);
  }
  const bool any =
      std::ranges::any_of(conf.voters, [&](MemberId id) { return refusing.contains(id); });
  for (Directory* directory : live) {
    if (!conf.removed.contains(directory->id) || !any || random.Uniform(3) != 0) continue;
    if (directory->refused_since_s == 0) directory->refused_since_s = now_s;
    if (Quorum(conf.voters, refusing) || now_s - directory->refused_since_s >= 30) {
      directory->tombstone = true;
    }
  }
}

std::string Raft::Tick(const std::vector<Directory*>& all, const std::vector<Directory*>& live,
                       int64_t now_s, Random& random) {
  std::string did;
  const std::set<MemberId> ids = Ids(live);
  const bool leads = leader_ != 0 && ids.contains(leader_) && Quorum(Latest().voters, ids) &&
                     Quorum(Latest().outgoing, ids) &&
                     (Latest().voters.contains(leader_) || Latest().index > commit_);
  if (!leads) {
    leader_ = 0;
    if (random.Uniform(4) != 0 && Elect(all, live)) did = "elected " + HexId(leader_);
  }
  if (leader_ != 0) {
    Replicate(live, random);
    Commit(live);
  }
  Leave(live, now_s, random);
  return did;
}

std::string Raft::Transfer(const TransferLeadership& transfer,
                           const std::vector<Directory*>& live) {
  if (leader_ != transfer.from) return "does not lead";
  if (transfer.expected_config_index != Latest().index) return "the configuration has changed";
  if (transfer.epoch < Latest().epoch) return "an older operator";
  Directory* successor = Find(live, transfer.to);
  if (successor == nullptr || !Latest().voters.contains(transfer.to)) return "no such voter";
  successor->match = last_;
  leader_ = transfer.to;
  ++term_;
  return "";
}

std::string Raft::Change(const ChangeMembership& change, std::optional<int> target,
                         const std::vector<Directory*>& live) {
  if (leader_ == 0) return "no leader";
  const Conf& now = Latest();
  if (now.joint() || now.index > commit_) return "another change is under way";
  if (change.expected_config_index != now.index) return "the configuration has changed";
  if (change.epoch < now.epoch) return "an older operator";
  Conf next = now;
  next.epoch = change.epoch;
  for (const MemberView& member : change.add_learners) {
    if (now.removed.contains(member.id) || now.names.contains(member.id)) return "cannot be added";
    next.learners.insert(member.id);
    next.names[member.id] = member.name;
    next.addresses[member.id] = member.peer_address;
  }
  for (const MemberView& member : change.update) {
    if (!now.names.contains(member.id)) return "is not a member";
    next.names[member.id] = member.name;
    next.addresses[member.id] = member.peer_address;
  }
  for (const MemberId id : change.promote) {
    const Directory* directory = Find(live, id);
    if (!now.learners.contains(id)) return "is not a learner";
    if (directory == nullptr || directory->match + kCaughtUp < last_) return "has not caught up";
    next.learners.erase(id);
    next.voters.insert(id);
  }
  for (const MemberId id : change.remove) {
    if (!now.names.contains(id)) return "is not a member";
    next.learners.erase(id);
    next.voters.erase(id);
    next.removed.insert(id);
  }
  if (next.voters.empty()) return "the last voter";
  if (!Unique(next)) return "another member has the name or the peer address";
  if (next.voters != now.voters) {
    next.outgoing = now.voters;
    if (target) {
      next.size = next.voters.size();
      next.leader_goes = static_cast<int>(next.size) > *target;
    }
  } else {
    for (const MemberId id : change.remove) Forget(&next, id);
  }
  next.index = ++last_;
  confs_.push_back(next);
  Find(live, leader_)->match = last_;
  return "";
}

}  // namespace raftkv::op::model
