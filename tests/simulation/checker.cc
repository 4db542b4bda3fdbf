#include "tests/simulation/checker.h"

#include <algorithm>
#include <tuple>

#include "base/hex_id.h"
#include "node/raft/describe.h"
#include "tests/simulation/hash.h"

namespace raftkv::sim {
namespace {

uint64_t HashPayload(const raft::Entry& entry) {
  const raft::ConfChange* change = entry.conf_change();
  if (change == nullptr) return HashBytes(entry.data());
  uint64_t hash = HashBytes(change->context.view());
  hash = Mix(hash, 1 + static_cast<uint64_t>(change->transition));
  for (const raft::ConfChangeStep& step : change->steps) {
    hash = Mix(Mix(hash, static_cast<uint64_t>(step.type)), step.id.value);
  }
  return hash;
}

uint64_t HashResult(const kv::ApplyResult& result) {
  uint64_t hash = Mix(result.origin, result.request_id);
  if (result.command) {
    const kv::CommandResult& command = *result.command;
    hash = Mix(hash, static_cast<uint64_t>(command.status.code()));
    hash = Mix(Mix(hash, command.revision), command.prev_mod_revision);
    hash = Mix(Mix(hash, command.created), command.deleted);
    hash = Mix(hash, command.succeeded);
  }
  if (result.membership) {
    hash = Mix(hash, static_cast<uint64_t>(result.membership->status.code()));
    hash = Mix(hash, result.membership->config_index);
    const raft::ConfState& conf = result.membership->conf;
    for (const auto* list :
         {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
      hash = Mix(hash, list->size());
      for (raft::NodeId id : *list) hash = Mix(hash, id.value);
    }
  }
  return hash;
}

std::string Text(const kv::CommandResult& result) {
  return std::string(CodeName(result.status.code())) + " revision " +
         std::to_string(result.revision) + " created " + std::to_string(result.created) +
         " deleted " + std::to_string(result.deleted) + " succeeded " +
         std::to_string(result.succeeded) + " prev " + std::to_string(result.prev_mod_revision);
}

bool Same(const kv::CommandResult& a, const kv::CommandResult& b) {
  return a.status.code() == b.status.code() && a.revision == b.revision && a.created == b.created &&
         a.deleted == b.deleted && a.succeeded == b.succeeded &&
         a.prev_mod_revision == b.prev_mod_revision;
}

}  // namespace

std::string Checker::Where(raft::NodeId node, raft::Index index) const {
  return "member " + HexId(node.value) + ", index " + std::to_string(index.value);
}

void Checker::BeginWith(const kv::ReferenceModel& model, raft::EntryId applied) {
  decided_.assign(applied.index.value,
                  {.term = applied.term, .committed_by = applied.term, .has_result = true});
  model_ = model;
  memberships_.BeginAt(applied.index.value);
}

// --- Logs ----------------------------------------------------------------------------------------

void Checker::OnLogged(const SimLog& log, raft::NodeId node, const raft::Entry& entry,
                       raft::EntryId previous) {
  if (logged_.size() <= entry.index.value) logged_.resize(entry.index.value + 1);
  const uint64_t hash = HashPayload(entry);
  std::vector<LoggedEntry>& known = logged_[entry.index.value];
  const auto same = std::ranges::find(known, entry.term, &LoggedEntry::term);
  if (same == known.end()) {
    known.push_back({entry.term, previous.term, hash});
  } else if (same->hash != hash || same->previous != previous.term) {
    return Fail("log matching: " + Where(node, entry.index) + ": an entry of term " +
                std::to_string(entry.term.value) + " differs from another log's");
  }
  if (previous.term > entry.term) {
    return Fail("log matching: " + Where(node, entry.index) + ": terms fall");
  }
  const auto leader = leaders_.find(entry.term);
  if (leader != leaders_.end() && leader->second == node) {
    CheckNewLeader(node, entry, previous);
    const NodeView& view = nodes_[node];
    if (view.role == raft::Role::kLeader && view.term == entry.term) {
      CheckPendingChange(log, node, entry);
    }
  }
}

void Checker::AddDecided(const DecidedEntry& entry) {
  // Whoever committed this committed what comes before it.
  for (size_t i = decided_.size(); i > 0 && decided_[i - 1].committed_by > entry.committed_by;) {
    decided_[--i].committed_by = entry.committed_by;
  }
  decided_.push_back(entry);
}

// Its log has everything that was decided in earlier terms: so it begins behind that.
void Checker::CheckNewLeader(raft::NodeId node, const raft::Entry& entry, raft::EntryId previous) {
  if (!first_entries_.emplace(entry.term, entry.index).second) return;
  size_t last = decided_.size();
  while (last > 0 && decided_[last - 1].committed_by >= entry.term) --last;
  if (entry.index.value <= last ||
      (previous.index.value == last && previous.term != decided_[last - 1].term)) {
    Fail("leader completeness: " + Where(node, entry.index) + ": the leader of term " +
         std::to_string(entry.term.value) + " lacks what is decided up to index " +
         std::to_string(last));
  }
}

// The same from the other side: what is decided now was decided before later leaders came.
void Checker::CheckLaterLeaders(raft::NodeId node, const raft::Entry& entry,
                                raft::Term committed_by) {
  for (auto it = first_entries_.upper_bound(committed_by); it != first_entries_.end(); ++it) {
    if (it->second <= entry.index) {
      return Fail("leader completeness: " + Where(node, entry.index) + ": decided in term " +
                  std::to_string(entry.term.value) + ", but the leader of term " +
                  std::to_string(it->first.value) + " lacks it");
    }
  }
}

// All changes before this one are applied at the leader that logs it.
void Checker::CheckPendingChange(const SimLog& log, raft::NodeId node, const raft::Entry& entry) {
  if (!entry.IsConfChange()) return;
  const NodeView& view = nodes_[node];
  const auto& entries = log.all();
  for (auto it = entries.rbegin(); it != entries.rend() && it->index > view.applied; ++it) {
    if (it->index >= entry.index || !it->IsConfChange()) continue;
    return Fail("membership: " + Where(node, entry.index) + ": a change follows one at index " +
                std::to_string(it->index.value) + " that is not applied yet");
  }
}

// --- Applying ------------------------------------------------------------------------------------

void Checker::OnApply(const SimLog& log, raft::NodeId node, std::span<const raft::Entry> entries) {
  const raft::Term committed_by = nodes_[node].term;
  for (const raft::Entry& entry : entries) {
    const raft::LogResult<raft::Term> logged = log.term(entry.index);
    const bool compacted = entry.index < log.first_index();
    if (!compacted && (entry.index > log.durable_last_index() || logged != entry.term)) {
      return Fail("durability: " + Where(node, entry.index) +
                  ": applied, but this entry is not on its disk");
    }
    const size_t position = entry.index.value - 1;
    if (position > decided_.size()) {
      return Fail("state machine safety: " + Where(node, entry.index) + ": applied, while only " +
                  std::to_string(decided_.size()) + " are decided");
    }
    const uint64_t hash = HashPayload(entry);
    if (position == decided_.size()) {
      AddDecided({.term = entry.term, .committed_by = committed_by, .hash = hash});
      CheckLaterLeaders(node, entry, committed_by);
    } else if (decided_[position].term != entry.term || decided_[position].hash != hash) {
      return Fail("state machine safety: " + Where(node, entry.index) +
                  ": another entry was applied there before");
    }
  }
}

void Checker::OnResults(raft::NodeId node, std::span<const raft::Entry> entries,
                        std::span<const kv::ApplyResult> results) {
  size_t next = 0;
  for (const kv::ApplyResult& result : results) {
    while (next < entries.size() && entries[next].index < result.index) ++next;
    if (next == entries.size() || entries[next].index != result.index) {
      return Fail("state machine: " + Where(node, result.index) + ": a result without an entry");
    }
    Decide(node, entries[next], result);
  }
}

void Checker::Decide(raft::NodeId node, const raft::Entry& entry, const kv::ApplyResult& result) {
  DecidedEntry& decided = decided_[result.index.value - 1];
  const uint64_t hash = HashResult(result);
  if (decided.has_result) {
    if (decided.result != hash) {
      Fail("state machine safety: " + Where(node, result.index) +
           ": the result differs from another node's");
    }
    return;
  }
  decided.has_result = true;
  decided.result = hash;
  if (result.membership && entry.IsConfChange()) {
    const std::string wrong = memberships_.OnDecided(entry, *result.membership);
    if (!wrong.empty()) Fail("membership: " + Where(node, result.index) + ": " + wrong);
  }
  if (!result.command) return;
  const RequestId id{result.origin, result.request_id};
  v1::Command command;
  if (!command.ParseFromArray(entry.data().data(), static_cast<int>(entry.data().size()))) {
    return Fail("state machine: " + Where(node, result.index) + ": not a command");
  }
  const kv::CommandResult expected = model_.Do(command);
  if (!Same(*result.command, expected)) {
    return Fail("state machine: " + Where(node, result.index) + ": the result is " +
                Text(*result.command) + ", but the model's " + Text(expected));
  }
  if (command.has_compact() && result.command->status.ok()) {
    coverage_->Hit(Path::history_compacted);
  }
  // Compactions that a leader proposes have no origin.
  if (result.origin == 0) return;
  if (!requests_.emplace(id, Decided{result.index, *result.command}).second) {
    return Fail("clients: " + Where(node, result.index) + ": request " +
                std::to_string(result.request_id) + " of member " + HexId(result.origin) +
                " is carried out for the second time");
  }
  if (refused_.contains(id)) {
    return Fail("clients: " + Where(node, result.index) + ": request " +
                std::to_string(result.request_id) + " of member " + HexId(result.origin) +
                " is carried out, but its client was told that it is not");
  }
  if (unknown_.contains(id)) coverage_->Hit(Path::write_after_unknown);
}

void Checker::CompareKey(raft::NodeId node, const std::string& key,
                         const kv::StateMachine& machine) {
  // The newest one: a read at a revision would write what the store has gathered.
  const Result<std::optional<kv::KeyValue>> held = machine.Get(key, 0);
  const kv::AppliedState applied = machine.applied();
  const std::string where = "state machine safety: " + Where(node, applied.index) + ", revision " +
                            std::to_string(applied.revision) + ": " + key + " ";
  if (!held) return Fail(where + "cannot be read: " + held.error().ToString());
  const std::optional<kv::KeyValue> expected = model_.Get(key, applied.revision);
  if (held->has_value() != expected.has_value()) {
    return Fail(where + (*held ? "exists" : "does not exist") + ", other than in the model");
  }
  if (!expected) return;
  const auto all = [](const kv::KeyValue& item) {
    return std::tie(item.value, item.create_revision, item.mod_revision, item.version);
  };
  if (all(**held) != all(*expected)) Fail(where + "is not what the model has");
}

void Checker::OnApplied(raft::NodeId node, std::span<const raft::Entry> entries, uint64_t before,
                        const kv::StateMachine& machine) {
  const uint64_t now = machine.applied().revision;
  if (now == before || failed()) return;
  std::set<std::string> keys;
  const auto add_deleted = [&](const v1::DeleteCommand& del) {
    if (del.range_end().empty()) return void(keys.insert(del.key()));
    const bool to_the_last = del.range_end() == std::string_view("\0", 1);
    for (const kv::KeyValue& item :
         model_.Range(del.key(), to_the_last ? "" : del.range_end(), before)) {
      keys.insert(item.key);
    }
  };
  for (const raft::Entry& entry : entries) {
    v1::Command command;
    if (entry.IsConfChange() ||
        !command.ParseFromArray(entry.data().data(), static_cast<int>(entry.data().size()))) {
      continue;
    }
    if (command.has_put()) keys.insert(command.put().key());
    if (command.has_delete_()) add_deleted(command.delete_());
    for (const auto* ops : {&command.txn().success(), &command.txn().failure()}) {
      for (const auto& op : *ops) {
        if (op.has_put()) keys.insert(op.put().key());
        if (op.has_delete_()) add_deleted(op.delete_());
      }
    }
  }
  for (const std::string& key : keys) CompareKey(node, key, machine);
}

void Checker::OnReplaced(raft::NodeId node, const kv::StateMachine& machine) {
  const kv::AppliedState applied = machine.applied();
  const std::vector<kv::KeyValue> expected = model_.Range("", "", applied.revision);
  for (const kv::KeyValue& item : expected) CompareKey(node, item.key, machine);
  if (machine.live_keys() != expected.size()) {
    Fail("state machine safety: " + Where(node, applied.index) + ": " +
         std::to_string(machine.live_keys()) + " keys, but " + std::to_string(expected.size()) +
         " in the model");
  }
}

const Checker::Decided* Checker::FindRequest(uint64_t origin, uint64_t request_id) const {
  const auto found = requests_.find({origin, request_id});
  return found == requests_.end() ? nullptr : &found->second;
}

void Checker::OnRefused(uint64_t origin, uint64_t request_id) {
  if (const Decided* decided = FindRequest(origin, request_id)) {
    return Fail("clients: request " + std::to_string(request_id) + " of member " + HexId(origin) +
                " is refused as not carried out, but was, at index " +
                std::to_string(decided->index.value));
  }
  refused_.insert({origin, request_id});
}

void Checker::OnClusterState(raft::NodeId node, const v1::ClusterState& cluster) {
  for (const uint64_t id : cluster.removed_ids()) {
    const auto [known, is_new] = removed_at_.emplace(id, cluster.config_index());
    if (!is_new) known->second = std::min(known->second, cluster.config_index());
  }
  for (const v1::Member& member : cluster.members()) {
    if (std::ranges::binary_search(cluster.removed_ids(), member.id())) {
      Fail("membership: " + Where(node, raft::Index(cluster.config_index())) + ": member " +
           HexId(member.id()) + " is back, though it was removed");
    }
  }
}

void Checker::OnStateHash(raft::NodeId node, const kv::StateHash& hash) {
  const auto [known, is_new] = state_hashes_.emplace(hash.index, hash.hash);
  if (is_new) return;
  coverage_->Hit(Path::states_compared);
  if (known->second != hash.hash) {
    Fail("state machine safety: " + Where(node, hash.index) +
         ": the state differs from another node's");
  }
}

// --- Votes, acknowledgements, leaders ------------------------------------------------------------

void Checker::OnSend(const SimDisk& disk, bool removed, const raft::Message& message) {
  const raft::NodeId node = disk.id();
  if (disk.copied()) {
    const auto* vote = std::get_if<raft::VoteResponse>(&message.body);
    const auto* append = std::get_if<raft::AppendResponse>(&message.body);
    if ((vote != nullptr && !vote->rejected) || (append != nullptr && !append->rejected)) {
      Fail("identity: a copy of the disk of member " + HexId(node.value) +
           " takes part: " + raft::Describe(message));
    }
    return;
  }
  // What is passed on to the leader for another bears that one's name.
  const bool own =
      message.from == node || message.Is<raft::TransferLeader>() || message.Is<raft::ReadIndex>();
  if (lost_.contains(node) || !own) {
    return Fail("identity: member " + HexId(message.from.value) + " speaks, but " +
                (own ? "its disk is lost" : "it is not who sends") + ": " +
                raft::Describe(message));
  }
  const SimLog& log = disk.log();
  if (const auto* vote = std::get_if<raft::VoteResponse>(&message.body)) {
    if (vote->rejected) return;
    if (disk.blank() || removed) {
      return Fail("membership: member " + HexId(node.value) + " votes, though it is " +
                  (removed ? "removed" : "blank"));
    }
    const auto [known, is_new] = votes_.emplace(std::pair(node, message.term), message.to);
    if (!is_new && known->second != message.to) {
      return Fail("election safety: member " + HexId(node.value) + " votes twice in term " +
                  std::to_string(message.term.value));
    }
    const raft::HardState& durable = log.durable_hard_state();
    if (durable.term < message.term ||
        (durable.term == message.term && durable.vote != message.to)) {
      return Fail("durability: member " + HexId(node.value) + " votes in term " +
                  std::to_string(message.term.value) + " before the vote is on its disk");
    }
  } else if (const auto* append = std::get_if<raft::AppendResponse>(&message.body)) {
    if (append->rejected || append->index <= log.durable_last_index()) return;
    // To a former leader: it was on the disk until the next leader's entries cut it off. A late
    // message is as good as one that was late on its way.
    if (message.term < log.hard_state().term) return;
    Fail("durability: " + Where(node, append->index) + ": acknowledged, but only " +
         std::to_string(log.durable_last_index().value) + " are on its disk");
  } else if (message.Is<raft::RequestVote>()) {
    // Its own vote counts when it is durable: only then is it one.
    const auto known = votes_.find(std::pair(node, message.term));
    if (known != votes_.end() && known->second != node) {
      Fail("election safety: member " + HexId(node.value) + " is a candidate in term " +
           std::to_string(message.term.value) + ", in which it voted for another");
    }
  }
}

void Checker::OnCalledRemoved(raft::NodeId node, raft::NodeId removed, raft::Index flushed) {
  const auto known = removed_at_.find(removed.value);
  if (known == removed_at_.end()) {
    return Fail("membership: member " + HexId(node.value) + " calls " + HexId(removed.value) +
                " removed, which it never was");
  }
  if (flushed.value < known->second) {
    Fail("durability: member " + HexId(node.value) + " calls " + HexId(removed.value) +
         " removed, but a crash would make it forget that");
  }
}

// It would ask voters who may have no say any more (thesis, section 4.1: configurations overlap
// only with their neighbours).
void Checker::CheckCampaign(raft::NodeId node, const raft::Core& core, const SimLog& log) {
  for (auto it = log.all().rbegin(); it != log.all().rend() && it->index > core.applied(); ++it) {
    if (it->index > core.committed() || !it->IsConfChange()) continue;
    // What is on the disk may be about to be replaced by what was committed.
    const bool replaced =
        it->index.value <= decided_.size() && decided_[it->index.value - 1].term != it->term;
    if (replaced) continue;
    return Fail("membership: " + Where(node, it->index) +
                ": it campaigns, though it has not applied the change committed there");
  }
}

void Checker::OnStepOfCopy(raft::NodeId node, const raft::Core& core) {
  core.CheckInvariants();
  if (core.role() == raft::Role::kLeader) {
    Fail("identity: a copy of the disk of member " + HexId(node.value) + " leads");
  }
}

bool Checker::OnStep(raft::NodeId node, const raft::Core& core, const SimLog& log) {
  core.CheckInvariants();
  NodeView& view = nodes_[node];
  view.applied = core.applied();
  const raft::Role role = core.role();
  if (role == view.role && core.term() == view.term) return false;
  if (view.role == raft::Role::kLeader && core.term() == view.term &&
      !core.tracker_config().voters.Ids().contains(node)) {
    coverage_->Hit(Path::leader_left_voters);
  }
  const bool campaigns = view.role == raft::Role::kFollower && role != raft::Role::kFollower;
  const bool took_role = role != view.role;
  view.term = core.term();
  view.role = role;
  if (campaigns && role != raft::Role::kLeader) CheckCampaign(node, core, log);
  if (role != raft::Role::kLeader) return took_role;
  const auto [leader, is_new] = leaders_.emplace(core.term(), node);
  if (!is_new && leader->second != node) {
    Fail("election safety: members " + HexId(leader->second.value) + " and " + HexId(node.value) +
         " lead in term " + std::to_string(core.term().value));
    return true;
  }
  coverage_->Hit(Path::leader_elected);
  if (core.tracker_config().joint()) coverage_->Hit(Path::leader_while_joint);
  for (const auto& [id, other] : nodes_) {
    if (id != node && other.role == raft::Role::kLeader) coverage_->Hit(Path::two_leaders);
  }
  return took_role;
}

}  // namespace raftkv::sim
