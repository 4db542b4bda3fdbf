#include "tests/conformance/interaction_env.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "node/raft/describe.h"

namespace raftkv::conformance {

using raft::Entry;
using raft::Message;
using raft::NodeId;
using raft::StorageAppend;
using raft::StorageApply;

namespace {

constexpr size_t kMaxRounds = 1000;

Status Failed(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

// Local messages are not lost: no network is between.
bool IsLocal(const Message& message) {
  return message.from == message.to || raft::IsLocalTarget(message.from) ||
         raft::IsLocalTarget(message.to);
}

Status Install(Node& node, const raft::Snapshot& snapshot) {
  if (node.log.InstallSnapshot(snapshot)) return Status::Ok();
  return Failed("requested index is older than the existing snapshot");
}

std::string Header(NodeId id, std::string_view what) {
  return "> " + std::to_string(id.value) + " " + std::string(what);
}

}  // namespace

Node& InteractionEnv::node(NodeId id) {
  CHECK(id != raft::kNone && id.value <= nodes_.size(), "there is no such node");
  return *nodes_[id.value - 1];
}

raft::Config InteractionEnv::DefaultConfig() {
  raft::Config config;
  config.election_ticks = 3;
  config.heartbeat_ticks = 1;
  config.max_inflight_messages = std::numeric_limits<int32_t>::max();
  return config;
}

Status InteractionEnv::AddNodes(uint64_t count, const raft::Config& config,
                                raft::Snapshot snapshot) {
  const bool bootstrap = snapshot != raft::Snapshot();
  if (bootstrap) {
    if (snapshot.index <= raft::Index(1)) {
      return Failed("index must be specified as > 1 due to bootstrap");
    }
    snapshot.term = raft::Term(1);
  }
  for (; count > 0; --count) {
    auto node = std::make_unique<Node>(snapshot);
    if (bootstrap) RETURN_IF_ERROR(Install(*node, snapshot));
    node->config = config;
    node->config.id = NodeId(nodes_.size() + 1);
    node->config.log = &node->log;
    node->config.logger = &output_;
    node->config.random = &random_;
    RETURN_IF_ERROR(node->config.Validate());
    node->core = std::make_unique<raft::Core>(node->config);
    nodes_.push_back(std::move(node));
  }
  return Status::Ok();
}

Status InteractionEnv::ProcessReady(NodeId id) {
  Node& target = node(id);
  raft::Ready ready = target.core->TakeReady();
  target.core->CheckInvariants();
  output_.Write(Describe(ready));
  if (!target.config.async_storage_writes) {
    RETURN_IF_ERROR(Append(target, ready.hard_state, ready.entries, ready.snapshot));
    Apply(target, ready.committed);
  }
  for (Message& message : ready.messages) Send(target, std::move(message));
  if (!target.config.async_storage_writes) {
    target.core->Advance();
    target.core->CheckInvariants();
  }
  return Status::Ok();
}

void InteractionEnv::Send(Node& node, Message message) {
  if (!raft::IsLocalTarget(message.to)) {
    in_flight_.push_back(std::move(message));
    return;
  }
  CHECK(node.config.async_storage_writes, "a storage message, but storage is not asynchronous");
  auto& queue = message.Is<StorageAppend>() ? node.append_work : node.apply_work;
  queue.push_back(std::move(message));
}

Status InteractionEnv::Append(Node& node, const std::optional<raft::HardState>& hard_state,
                              const std::vector<Entry>& entries,
                              const std::optional<raft::Snapshot>& snapshot) {
  if (hard_state) node.log.SetHardState(*hard_state);
  if (snapshot) {
    if (!entries.empty()) return Failed("can't apply snapshot and entries at the same time");
    return Install(node, *snapshot);
  }
  node.log.Append(entries);
  return Status::Ok();
}

void InteractionEnv::Apply(Node& node, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (const raft::ConfChange* change = entry.conf_change()) {
      const raft::ConfState conf = node.core->ApplyConfChange(*change);
      node.core->CheckInvariants();
      node.log.RecordApplied(entry, change->context.view(), &conf);
    } else {
      node.log.RecordApplied(entry, entry.data(), nullptr);
    }
  }
}

Status InteractionEnv::ProcessAppendThread(NodeId id) {
  Node& target = node(id);
  if (target.append_work.empty()) {
    output_.Write("no append work to perform");
    return Status::Ok();
  }
  Message work = std::move(target.append_work.front());
  target.append_work.pop_front();
  auto& append = std::get<StorageAppend>(work.body);
  std::vector<Message> responses = std::exchange(append.responses, {});
  output_.WriteLine("Processing:");
  output_.WriteLine(Describe(work));
  RETURN_IF_ERROR(Append(target, append.hard_state, append.entries, append.snapshot));
  ReleaseResponses(std::move(responses));
  return Status::Ok();
}

void InteractionEnv::ProcessApplyThread(NodeId id) {
  Node& target = node(id);
  if (target.apply_work.empty()) {
    output_.Write("no apply work to perform");
    return;
  }
  Message work = std::move(target.apply_work.front());
  target.apply_work.pop_front();
  auto& apply = std::get<StorageApply>(work.body);
  std::vector<Message> responses = std::exchange(apply.responses, {});
  output_.WriteLine("Processing:");
  output_.WriteLine(Describe(work));
  Apply(target, apply.entries);
  ReleaseResponses(std::move(responses));
}

void InteractionEnv::ReleaseResponses(std::vector<Message> responses) {
  output_.WriteLine("Responses:");
  for (Message& response : responses) {
    output_.WriteLine(Describe(response));
    in_flight_.push_back(std::move(response));
  }
}

std::vector<Message> InteractionEnv::TakeMessages(std::optional<std::string_view> type,
                                                  Recipient recipient) {
  const auto rest = std::ranges::stable_partition(in_flight_, [&](const Message& message) {
    const bool taken = message.to == recipient.id && !(recipient.drop && IsLocal(message)) &&
                       (!type || MessageTypeName(message) == *type);
    return !taken;
  });
  std::vector<Message> messages(std::move_iterator(rest.begin()), std::move_iterator(rest.end()));
  in_flight_.erase(rest.begin(), rest.end());
  return messages;
}

size_t InteractionEnv::Deliver(std::optional<std::string_view> type,
                               const std::vector<Recipient>& recipients) {
  size_t handled = 0;
  for (const Recipient& recipient : recipients) {
    for (Message& message : TakeMessages(type, recipient)) {
      ++handled;
      if (recipient.drop) output_.Write("dropped: ");
      output_.WriteLine(Describe(message));
      // A dropped message may go to a node that does not exist yet.
      if (!recipient.drop) StepMessage(std::move(message));
    }
  }
  return handled;
}

void InteractionEnv::StepMessage(Message message) {
  raft::Core& core = *node(message.to).core;
  const raft::StepResult result = core.Step(std::move(message));
  if (!result) output_.WriteLine(Describe(result.error()));
  core.CheckInvariants();
}

Status InteractionEnv::Stabilize(const std::vector<NodeId>& ids) {
  size_t rounds = 0;
  for (bool busy = true; busy; ++rounds) {
    // Two nodes that take each other for the leader forward a proposal for ever.
    if (rounds == kMaxRounds) return Failed("nodes do not come to rest");
    ASSIGN_OR_RETURN_STATUS(const bool took_ready, StabilizeReady(ids));
    const bool delivered = StabilizeMessages(ids);
    ASSIGN_OR_RETURN_STATUS(const bool appended, StabilizeAppendThreads(ids));
    const bool applied = StabilizeApplyThreads(ids);
    busy = took_ready || delivered || appended || applied;
  }
  return Status::Ok();
}

Result<bool> InteractionEnv::StabilizeReady(const std::vector<NodeId>& ids) {
  bool busy = false;
  for (NodeId id : ids) {
    if (!node(id).core->HasReady()) continue;
    busy = true;
    output_.WriteLine(Header(id, "handling Ready"));
    Status status;
    output_.Indent([&] { status = ProcessReady(id); });
    if (!status.ok()) return Error(std::move(status));
  }
  return busy;
}

bool InteractionEnv::StabilizeMessages(const std::vector<NodeId>& ids) {
  bool busy = false;
  for (NodeId id : ids) {
    if (std::ranges::find(in_flight_, id, &Message::to) == in_flight_.end()) continue;
    busy = true;
    output_.WriteLine(Header(id, "receiving messages"));
    output_.Indent([&] { Deliver(std::nullopt, {{.id = id}}); });
  }
  return busy;
}

Result<bool> InteractionEnv::StabilizeAppendThreads(const std::vector<NodeId>& ids) {
  bool busy = false;
  for (NodeId id : ids) {
    if (node(id).append_work.empty()) continue;
    busy = true;
    output_.WriteLine(Header(id, "processing append thread"));
    while (!node(id).append_work.empty()) {
      Status status;
      output_.Indent([&] { status = ProcessAppendThread(id); });
      if (!status.ok()) return Error(std::move(status));
    }
  }
  return busy;
}

bool InteractionEnv::StabilizeApplyThreads(const std::vector<NodeId>& ids) {
  bool busy = false;
  for (NodeId id : ids) {
    if (node(id).apply_work.empty()) continue;
    busy = true;
    output_.WriteLine(Header(id, "processing apply thread"));
    while (!node(id).apply_work.empty()) output_.Indent([&] { ProcessApplyThread(id); });
  }
  return busy;
}

void InteractionEnv::SendSnapshot(NodeId from, NodeId to) {
  Message message{.from = from,
                  .to = to,
                  .term = node(from).core->term(),
                  .body = raft::InstallSnapshot{node(from).log.latest_applied()}};
  output_.Write(Describe(message));
  in_flight_.push_back(std::move(message));
}

void InteractionEnv::Tick(NodeId id, int ticks) {
  for (; ticks > 0; --ticks) {
    node(id).core->Tick();
    node(id).core->CheckInvariants();
  }
}

Status InteractionEnv::Compact(NodeId id, raft::Index last_dropped) {
  AppliedLog& log = node(id).log;
  if (last_dropped > log.last_index()) return Failed("requested index is beyond the log");
  if (!log.CompactTo(last_dropped)) {
    return Failed("requested index is unavailable due to compaction");
  }
  PrintLog(id);
  return Status::Ok();
}

void InteractionEnv::PrintLog(NodeId id) {
  const AppliedLog& log = node(id).log;
  const raft::Index first = log.first_index();
  const raft::Index last = log.last_index();
  if (last < first) {
    output_.Write("log is empty: first index=" + std::to_string(first.value) +
                  ", last index=" + std::to_string(last.value));
    return;
  }
  output_.Write(Describe(log.entries(first, last.Next(), raft::kNoLimit).value()));
}

void InteractionEnv::PrintStates() {
  for (const auto& member : nodes_) {
    const raft::Core& core = *member->core;
    const bool voter = core.tracker_config().voters.Ids().contains(core.id());
    output_.WriteLine(std::to_string(core.id().value) + ": " + Describe(core.role()) +
                      (voter ? " (Voter)" : " (Non-Voter)") +
                      " Term:" + std::to_string(core.term().value) +
                      " Lead:" + std::to_string(core.leader().value));
  }
}

void InteractionEnv::CheckAllInvariants() const {
  for (const auto& member : nodes_) member->core->CheckInvariants();
}

}  // namespace raftkv::conformance
