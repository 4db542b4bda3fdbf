#include "node/raft/test_network.h"

#include <algorithm>

#include "base/check.h"

namespace raftkv::raft {

bool RecordingLogger::Contains(std::string_view part) const {
  return std::ranges::any_of(
      lines_, [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

std::vector<NodeId> Ids(std::initializer_list<uint64_t> ids) {
  std::vector<NodeId> out;
  for (uint64_t id : ids) out.emplace_back(id);
  return out;
}

std::vector<Entry> EntriesWithTerms(Index first, const std::vector<uint64_t>& terms) {
  std::vector<Entry> entries;
  for (uint64_t term : terms) {
    entries.push_back({Term(term), first, {}});
    ++first;
  }
  return entries;
}

std::vector<uint64_t> TermsOf(const std::vector<Entry>& entries) {
  std::vector<uint64_t> terms;
  for (const Entry& entry : entries) terms.push_back(entry.term.value);
  return terms;
}

TestNode::TestNode(const TestNodeOptions& options) : random_(options.seed * 1000 + options.id) {
  conf_state_.voters = options.voters;
  conf_state_.learners = options.learners;
  log_.InstallSnapshot({Index(), Term(), conf_state_, {}});
  log_.Append(EntriesWithTerms(Index(1), options.log));
  log_.SetHardState(options.hard_state);
  config_.id = NodeId(options.id);
  config_.max_inflight_messages = 256;
  Restart(options.tweak);
}

void TestNode::Restart(const std::function<void(Config&)>& tweak) {
  if (tweak) tweak(config_);
  config_.log = &log_;
  config_.logger = &logger_;
  config_.random = &random_;
  // What was applied is volatile here, but for the snapshot.
  const Snapshot snapshot = *log_.snapshot();
  applied_.clear();
  if (!snapshot.IsEmpty()) applied_.push_back({snapshot.term, snapshot.index, snapshot.data});
  conf_state_ = snapshot.conf;
  core_ = std::make_unique<Core>(config_);
  core_->CheckInvariants();
}

std::vector<std::string> TestNode::AppliedData() const {
  std::vector<std::string> out;
  for (const Entry& entry : applied_) {
    if (!entry.data().empty()) out.emplace_back(entry.data());
  }
  return out;
}

std::vector<Entry> TestNode::AllEntries() {
  Drain();
  if (log_.last_index() < log_.first_index()) return {};
  return *log_.entries(log_.first_index(), log_.last_index().Next(), kNoLimit);
}

StepResult TestNode::Step(Message message) {
  StepResult result = core_->Step(std::move(message));
  core_->CheckInvariants();
  return result;
}

StepResult TestNode::Step(uint64_t from, uint64_t term, MessageBody body) {
  return Step({NodeId(from), core_->id(), Term(term), std::move(body)});
}

StepResult TestNode::Propose(std::string data) {
  StepResult result = core_->Propose(Buffer(std::move(data)));
  core_->CheckInvariants();
  return result;
}

void TestNode::Tick(int count) {
  for (int i = 0; i < count; ++i) {
    core_->Tick();
    core_->CheckInvariants();
  }
}

std::vector<Message> TestNode::Drain() {
  std::vector<Message> out;
  while (core_->HasReady()) {
    for (Message& m : HandleReady()) out.push_back(std::move(m));
  }
  return out;
}

std::vector<Message> TestNode::HandleReady() {
  Ready ready = core_->TakeReady();
  core_->CheckInvariants();
  std::vector<Message> out;
  reads_.insert(reads_.end(), ready.read_states.begin(), ready.read_states.end());
  if (!config_.async_storage_writes) {
    Persist(ready.entries, ready.hard_state, ready.snapshot);
    Apply(ready.committed);
    core_->Advance();
    core_->CheckInvariants();
    return std::move(ready.messages);
  }
  for (Message& m : ready.messages) {
    if (auto* append = std::get_if<StorageAppend>(&m.body)) {
      Persist(append->entries, append->hard_state, append->snapshot);
      Route(std::move(append->responses), out);
    } else if (auto* apply = std::get_if<StorageApply>(&m.body)) {
      Apply(apply->entries);
      Route(std::move(apply->responses), out);
    } else {
      out.push_back(std::move(m));
    }
  }
  return out;
}

void TestNode::Persist(const std::vector<Entry>& entries,
                       const std::optional<HardState>& hard_state,
                       const std::optional<Snapshot>& snapshot) {
  if (hard_state) log_.SetHardState(*hard_state);
  if (snapshot) {
    CHECK(log_.InstallSnapshot(*snapshot));
    conf_state_ = snapshot->conf;
    applied_.assign({{snapshot->term, snapshot->index, snapshot->data}});
  }
  log_.Append(entries);
}

void TestNode::Apply(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    applied_.push_back(entry);
    if (const ConfChange* change = entry.conf_change()) {
      conf_state_ = core_->ApplyConfChange(*change);
      core_->CheckInvariants();
    }
  }
}

void TestNode::Route(std::vector<Message> messages, std::vector<Message>& out) {
  for (Message& m : messages) {
    if (m.to == core_->id()) {
      CHECK(Step(std::move(m)));
    } else {
      out.push_back(std::move(m));
    }
  }
}

std::vector<Message> TestNode::BecomeLeader() {
  CHECK(core_->StartCampaign());
  Drain();
  if (core_->role() == Role::kPreCandidate) {
    for (NodeId voter : conf_state_.voters) {
      if (core_->role() != Role::kPreCandidate) break;
      if (voter == core_->id()) continue;
      CHECK(Step(voter.value, core_->term().value + 1, PreVoteResponse{}));
    }
    Drain();
  }
  for (NodeId voter : conf_state_.voters) {
    if (voter != core_->id()) CHECK(Step(voter.value, core_->term().value, VoteResponse{}));
  }
  CHECK(core_->role() == Role::kLeader);
  return Drain();
}

void TestNode::BecomeFollower(uint64_t term, uint64_t leader) {
  CHECK(Step(leader, term, Heartbeat{}));
  Drain();
  CHECK(core_->role() == Role::kFollower && core_->term() == Term(term));
}

void TestNode::SnapshotAndCompact() {
  std::string state;
  for (const Entry& entry : applied_) state += entry.data();
  CHECK(log_.CreateSnapshot(core_->applied(), conf_state_, Buffer(std::move(state))));
  CHECK(log_.CompactTo(core_->applied()));
  core_->CheckInvariants();
}

TestNetwork::TestNetwork(size_t size, std::function<void(Config&)> tweak) {
  TestNodeOptions options{.voters = {}, .tweak = std::move(tweak)};
  for (uint64_t id = 1; id <= size; ++id) options.voters.emplace_back(id);
  for (options.id = 1; options.id <= size; ++options.id) Add(options);
}

void TestNetwork::Add(const TestNodeOptions& options) {
  nodes_[NodeId(options.id)] = std::make_unique<TestNode>(options);
}

void TestNetwork::Settle() {
  std::deque<Message> under_way;
  const auto collect = [&](TestNode& node) {
    for (Message& m : node.Drain()) under_way.push_back(std::move(m));
  };
  for (auto& [id, node] : nodes_) collect(*node);
  while (!under_way.empty()) {
    Message m = std::move(under_way.front());
    under_way.pop_front();
    if (!Delivers(m)) continue;
    TestNode& target = *nodes_.at(m.to);
    (void)target.Step(std::move(m));  // refusals are the sender's loss, as on a real network
    collect(target);
  }
}

bool TestNetwork::Delivers(const Message& m) const {
  return nodes_.contains(m.to) && !cut_.contains({m.from, m.to}) && (!filter || filter(m));
}

void TestNetwork::Campaign(uint64_t id) {
  CHECK((*this)[id]->StartCampaign());
  Settle();
}

void TestNetwork::Propose(uint64_t id, std::string data) {
  (void)(*this)[id].Propose(std::move(data));
  Settle();
}

void TestNetwork::Tick(int count) {
  for (int i = 0; i < count; ++i) {
    for (auto& [id, node] : nodes_) {
      node->Tick();
      Settle();
    }
  }
}

void TestNetwork::Send(uint64_t to, uint64_t from, uint64_t term, MessageBody body) {
  (void)(*this)[to].Step(from, term, std::move(body));
  Settle();
}

void TestNetwork::Cut(uint64_t a, uint64_t b) {
  cut_.insert({NodeId(a), NodeId(b)});
  cut_.insert({NodeId(b), NodeId(a)});
}

void TestNetwork::Isolate(uint64_t id) {
  for (const auto& [other, node] : nodes_) {
    if (other != NodeId(id)) Cut(id, other.value);
  }
}

void TestNetwork::Heal() {
  cut_.clear();
  filter = {};
}

}  // namespace raftkv::raft
