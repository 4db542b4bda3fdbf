// The commands of the interaction suite: arguments in, steps of the environment out. README.md
// lists them.
#include <algorithm>
#include <limits>
#include <map>

#include "node/raft/confchange.h"
#include "node/raft/describe.h"
#include "tests/conformance/driver.h"
#include "tests/conformance/interaction_env.h"

namespace raftkv::conformance {
namespace {

using raft::Message;
using raft::NodeId;

Status Failed(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

Status FromStep(const raft::StepResult& result) {
  return result ? Status::Ok() : Failed(std::string(Describe(result.error())));
}

template <size_t... kTypes>
bool IsMessageType(std::string_view name, std::index_sequence<kTypes...>) {
  return (
      (MessageTypeName(Message{.body = raft::MessageBody(std::in_place_index<kTypes>)}) == name) ||
      ...);
}

bool IsMessageType(std::string_view name) {
  return IsMessageType(name, std::make_index_sequence<std::variant_size_v<raft::MessageBody>>());
}

// What `add-nodes` builds up option by option.
struct NewNodes {
  raft::Config config = InteractionEnv::DefaultConfig();
  raft::Snapshot snapshot;
};

Status SetBool(std::string_view value, bool& setting) {
  ASSIGN_OR_RETURN_STATUS(setting, ParseBool(value));
  return Status::Ok();
}

Status SetNumber(std::string_view value, uint64_t& setting) {
  ASSIGN_OR_RETURN_STATUS(setting, ParseUint(value));
  return Status::Ok();
}

Status AddId(std::string_view value, std::vector<NodeId>& ids) {
  ASSIGN_OR_RETURN_STATUS(const uint64_t id, ParseUint(value));
  ids.emplace_back(id);
  return Status::Ok();
}

Status SetInflight(std::string_view value, raft::Config& config) {
  ASSIGN_OR_RETURN_STATUS(const uint64_t count, ParseUint(value));
  config.max_inflight_messages =
      static_cast<int>(std::min<uint64_t>(count, std::numeric_limits<int32_t>::max()));
  return Status::Ok();
}

Status SetReadOnly(std::string_view value, raft::Config& config) {
  if (value == "safe") {
    config.read_only = raft::ReadOnlyOption::kSafe;
  } else if (value == "lease-based") {
    config.read_only = raft::ReadOnlyOption::kLeaseBased;
  } else {
    return Failed("invalid read-only option " + raft::QuoteGo(value));
  }
  return Status::Ok();
}

Status SetIndex(std::string_view value, NewNodes& nodes) {
  ASSIGN_OR_RETURN_STATUS(const uint64_t index, ParseUint(value));
  nodes.snapshot.index = raft::Index(index);
  nodes.config.applied = raft::Index(index);
  return Status::Ok();
}

using SetOption = Status (*)(const std::string& value, NewNodes& nodes);

const std::map<std::string_view, SetOption> kNodeOptions = {
    {"voters", [](auto& v, auto& n) { return AddId(v, n.snapshot.conf.voters); }},
    {"learners", [](auto& v, auto& n) { return AddId(v, n.snapshot.conf.learners); }},
    {"index", [](auto& v, auto& n) { return SetIndex(v, n); }},
    {"content",
     [](auto& v, auto& n) {
       n.snapshot.data = Buffer::Copy(v);
       return Status::Ok();
     }},
    {"inflight", [](auto& v, auto& n) { return SetInflight(v, n.config); }},
    {"async-storage-writes",
     [](auto& v, auto& n) { return SetBool(v, n.config.async_storage_writes); }},
    {"prevote", [](auto& v, auto& n) { return SetBool(v, n.config.pre_vote); }},
    {"checkquorum", [](auto& v, auto& n) { return SetBool(v, n.config.check_quorum); }},
    {"max-committed-size-per-ready",
     [](auto& v, auto& n) { return SetNumber(v, n.config.max_committed_bytes_per_ready); }},
    {"disable-conf-change-validation",
     [](auto& v, auto& n) { return SetBool(v, n.config.disable_conf_change_validation); }},
    {"read-only", [](auto& v, auto& n) { return SetReadOnly(v, n.config); }},
    {"step-down-on-removal",
     [](auto& v, auto& n) { return SetBool(v, n.config.step_down_on_removal); }},
    // Beyond the options of the suite, for our own scenarios.
    {"max-size-per-msg",
     [](auto& v, auto& n) { return SetNumber(v, n.config.max_bytes_per_append); }},
    {"max-inflight-bytes",
     [](auto& v, auto& n) { return SetNumber(v, n.config.max_inflight_bytes); }},
    {"max-uncommitted-size",
     [](auto& v, auto& n) { return SetNumber(v, n.config.max_uncommitted_bytes); }},
    {"disable-proposal-forwarding",
     [](auto& v, auto& n) { return SetBool(v, n.config.disable_proposal_forwarding); }},
};

class InteractionDriver final : public Driver {
 public:
  std::string Run(const Directive& directive) override;

 private:
  using Handler = Status (InteractionDriver::*)(const Directive&);
  static const std::map<std::string_view, Handler> kHandlers;

  Status AddNodes(const Directive& directive);
  Status Campaign(const Directive& directive);
  Status Compact(const Directive& directive);
  Status DeliverMessages(const Directive& directive);
  Status ForgetLeader(const Directive& directive);
  Status LogLevel(const Directive& directive);
  Status ProcessAppendThread(const Directive& directive);
  Status ProcessApplyThread(const Directive& directive);
  Status ProcessReady(const Directive& directive);
  Status Propose(const Directive& directive);
  Status ProposeConfChange(const Directive& directive);
  Status RaftLog(const Directive& directive);
  Status RaftState(const Directive& directive);
  Status ReadIndex(const Directive& directive);
  Status ReportSnapshot(const Directive& directive);
  Status ReportUnreachable(const Directive& directive);
  Status SendSnapshot(const Directive& directive);
  Status SetRandomizedElectionTimeout(const Directive& directive);
  Status Stabilize(const Directive& directive);
  Status PrintStatus(const Directive& directive);
  Status TickElection(const Directive& directive);
  Status TickHeartbeat(const Directive& directive);
  Status TransferLeadership(const Directive& directive);

  Status Dispatch(const Directive& directive);
  // The positional argument at `position`: a number, or a node that exists.
  static Result<uint64_t> Number(const Directive& directive, size_t position);
  Result<NodeId> FindNode(uint64_t id) const;
  Result<NodeId> FirstNode(const Directive& directive) const;
  // All positional arguments.
  Result<std::vector<NodeId>> NodeList(const Directive& directive) const;
  // key=number.
  static Result<uint64_t> Keyword(const Directive& directive, std::string_view key);
  // Runs `process` on the nodes that are named, under a headline each if there are several.
  template <typename Process>
  Status ForEachNode(const Directive& directive, std::string_view headline, Process process);

  raft::Core& core(NodeId id) { return *env_.node(id).core; }

  InteractionEnv env_;
};

const std::map<std::string_view, InteractionDriver::Handler> InteractionDriver::kHandlers = {
    {"add-nodes", &InteractionDriver::AddNodes},
    {"campaign", &InteractionDriver::Campaign},
    {"compact", &InteractionDriver::Compact},
    {"deliver-msgs", &InteractionDriver::DeliverMessages},
    {"forget-leader", &InteractionDriver::ForgetLeader},
    {"log-level", &InteractionDriver::LogLevel},
    {"process-append-thread", &InteractionDriver::ProcessAppendThread},
    {"process-apply-thread", &InteractionDriver::ProcessApplyThread},
    {"process-ready", &InteractionDriver::ProcessReady},
    {"propose", &InteractionDriver::Propose},
    {"propose-conf-change", &InteractionDriver::ProposeConfChange},
    {"raft-log", &InteractionDriver::RaftLog},
    {"raft-state", &InteractionDriver::RaftState},
    {"read-index", &InteractionDriver::ReadIndex},
    {"report-snapshot", &InteractionDriver::ReportSnapshot},
    {"report-unreachable", &InteractionDriver::ReportUnreachable},
    {"send-snapshot", &InteractionDriver::SendSnapshot},
    {"set-randomized-election-timeout", &InteractionDriver::SetRandomizedElectionTimeout},
    {"stabilize", &InteractionDriver::Stabilize},
    {"status", &InteractionDriver::PrintStatus},
    {"tick-election", &InteractionDriver::TickElection},
    {"tick-heartbeat", &InteractionDriver::TickHeartbeat},
    {"transfer-leadership", &InteractionDriver::TransferLeadership},
};

std::string InteractionDriver::Run(const Directive& directive) {
  Output& output = env_.output();
  output.Clear();
  const Status status = Dispatch(directive);
  env_.CheckAllInvariants();
  if (!status.ok()) {
    // Errors are shown even at level NONE.
    if (output.quiet()) return status.message();
    output.Write(status.message());
  }
  return output.text().empty() ? "ok" : output.text();
}

Status InteractionDriver::Dispatch(const Directive& directive) {
  // A place for a debugger to stop at.
  if (directive.command == "_breakpoint") return Status::Ok();
  const auto handler = kHandlers.find(directive.command);
  if (handler == kHandlers.end()) return Failed("unknown command");
  return (this->*handler->second)(directive);
}

Result<uint64_t> InteractionDriver::Number(const Directive& directive, size_t position) {
  if (directive.arguments.size() <= position) {
    return Error(Failed(directive.command + ": an argument is missing"));
  }
  return ParseUint(directive.arguments[position].key);
}

Result<NodeId> InteractionDriver::FindNode(uint64_t id) const {
  if (id == 0 || id > env_.size()) return Error(Failed("there is no node " + std::to_string(id)));
  return NodeId(id);
}

Result<NodeId> InteractionDriver::FirstNode(const Directive& directive) const {
  ASSIGN_OR_RETURN(const uint64_t id, Number(directive, 0));
  return FindNode(id);
}

Result<std::vector<NodeId>> InteractionDriver::NodeList(const Directive& directive) const {
  std::vector<NodeId> ids;
  for (const Argument& argument : directive.arguments) {
    if (!argument.values.empty()) continue;
    ASSIGN_OR_RETURN(const uint64_t number, ParseUint(argument.key));
    ASSIGN_OR_RETURN(const NodeId id, FindNode(number));
    ids.push_back(id);
  }
  return ids;
}

Result<uint64_t> InteractionDriver::Keyword(const Directive& directive, std::string_view key) {
  const auto found = std::ranges::find(directive.arguments, key, &Argument::key);
  if (found == directive.arguments.end() || found->values.size() != 1) {
    return Error(Failed(directive.command + ": expected " + std::string(key) + "=<number>"));
  }
  return ParseUint(found->values.front());
}

template <typename Process>
Status InteractionDriver::ForEachNode(const Directive& directive, std::string_view headline,
                                      Process process) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<NodeId> ids, NodeList(directive));
  if (ids.size() == 1) return process(ids.front());
  for (NodeId id : ids) {
    env_.output().WriteLine("> " + std::to_string(id.value) + " " + std::string(headline));
    Status status;
    env_.output().Indent([&] { status = process(id); });
    RETURN_IF_ERROR(status);
  }
  return Status::Ok();
}

Status InteractionDriver::AddNodes(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const uint64_t count, Number(directive, 0));
  NewNodes nodes;
  for (size_t i = 1; i < directive.arguments.size(); ++i) {
    const Argument& argument = directive.arguments[i];
    const auto option = kNodeOptions.find(argument.key);
    if (option == kNodeOptions.end()) return Failed("unknown option " + argument.key);
    for (const std::string& value : argument.values) {
      RETURN_IF_ERROR(option->second(value, nodes));
    }
  }
  return env_.AddNodes(count, nodes.config, std::move(nodes.snapshot));
}

Status InteractionDriver::Campaign(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  return FromStep(core(id).StartCampaign());
}

Status InteractionDriver::Compact(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  ASSIGN_OR_RETURN_STATUS(const uint64_t index, Number(directive, 1));
  return env_.Compact(id, raft::Index(index));
}

Status InteractionDriver::DeliverMessages(const Directive& directive) {
  std::optional<std::string_view> type;
  std::vector<InteractionEnv::Recipient> recipients;
  for (const Argument& argument : directive.arguments) {
    if (argument.values.empty()) {
      ASSIGN_OR_RETURN_STATUS(const uint64_t number, ParseUint(argument.key));
      ASSIGN_OR_RETURN_STATUS(const NodeId id, FindNode(number));
      recipients.push_back({.id = id});
    }
    for (const std::string& value : argument.values) {
      if (argument.key == "drop") {
        ASSIGN_OR_RETURN_STATUS(const uint64_t id, ParseUint(value));
        if (std::ranges::find(recipients, NodeId(id), &InteractionEnv::Recipient::id) !=
            recipients.end()) {
          return Failed("can't both deliver and drop msgs to " + value);
        }
        recipients.push_back({.id = NodeId(id), .drop = true});
      } else if (argument.key == "type") {
        if (!IsMessageType(value)) return Failed("unknown message type " + value);
        type = value;
      }
    }
  }
  if (env_.Deliver(type, recipients) == 0) env_.output().WriteLine("no messages");
  return Status::Ok();
}

Status InteractionDriver::ForgetLeader(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  // Whether the node could forget anything shows in its state.
  std::ignore = core(id).RequestForgetLeader();
  return Status::Ok();
}

Status InteractionDriver::LogLevel(const Directive& directive) {
  if (directive.arguments.empty()) return Failed("log-level: the level is missing");
  return env_.output().SetLevel(directive.arguments.front().key);
}

Status InteractionDriver::ProcessAppendThread(const Directive& directive) {
  return ForEachNode(directive, "processing append thread",
                     [&](NodeId id) { return env_.ProcessAppendThread(id); });
}

Status InteractionDriver::ProcessApplyThread(const Directive& directive) {
  return ForEachNode(directive, "processing apply thread", [&](NodeId id) {
    env_.ProcessApplyThread(id);
    return Status::Ok();
  });
}

Status InteractionDriver::ProcessReady(const Directive& directive) {
  return ForEachNode(directive, "handling Ready", [&](NodeId id) { return env_.ProcessReady(id); });
}

Status InteractionDriver::Propose(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  if (directive.arguments.size() != 2 || !directive.arguments[1].values.empty()) {
    return Failed("expected exactly one key with no vals");
  }
  return FromStep(core(id).Propose(Buffer::Copy(directive.arguments[1].key)));
}

Status InteractionDriver::ProposeConfChange(const Directive& directive) {
  using enum raft::ConfChangeTransition;
  const std::map<std::string_view, raft::ConfChangeTransition> transitions = {
      {"auto", kAuto}, {"implicit", kJointImplicit}, {"explicit", kJointExplicit}};
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  raft::ConfChange change;
  for (size_t i = 1; i < directive.arguments.size(); ++i) {
    const Argument& argument = directive.arguments[i];
    for (const std::string& value : argument.values) {
      if (argument.key == "v1") {
        RETURN_IF_ERROR(SetBool(value, change.single));
      } else if (argument.key == "transition") {
        const auto transition = transitions.find(value);
        if (transition == transitions.end()) return Failed("unknown transition " + value);
        change.transition = transition->second;
      } else {
        return Failed("unknown command " + argument.key);
      }
    }
  }
  auto steps = raft::ParseSteps(directive.input);
  if (!steps) return Failed(steps.error());
  change.steps = *std::move(steps);
  if (change.single && (change.steps.size() != 1 || change.transition != kAuto)) {
    return Failed("v1 conf change can only have one operation and no transition");
  }
  return FromStep(core(id).ProposeConfChange(std::move(change)));
}

Status InteractionDriver::RaftLog(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  env_.PrintLog(id);
  return Status::Ok();
}

Status InteractionDriver::RaftState(const Directive&) {
  env_.PrintStates();
  return Status::Ok();
}

Status InteractionDriver::ReadIndex(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  if (directive.arguments.size() != 2) return Failed("read-index: expected a node and a name");
  core(id).RequestReadIndex(Buffer::Copy(directive.arguments[1].key));
  return Status::Ok();
}

Status InteractionDriver::ReportSnapshot(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<NodeId> ids, NodeList(directive));
  const auto failed = std::ranges::find(directive.arguments, "failed", &Argument::key);
  bool has_failed = false;
  if (failed != directive.arguments.end() && failed->values.size() == 1) {
    RETURN_IF_ERROR(SetBool(failed->values.front(), has_failed));
  }
  if (ids.size() != 2) return Failed("report-snapshot: expected two nodes and failed=<bool>");
  core(ids[0]).ReportSnapshot(ids[1], has_failed);
  return Status::Ok();
}

Status InteractionDriver::ReportUnreachable(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<NodeId> ids, NodeList(directive));
  if (ids.size() != 2) {
    return Failed(
        "must specify exactly two node indexes: node on which to report, and reported node");
  }
  core(ids[0]).ReportUnreachable(ids[1]);
  return Status::Ok();
}

Status InteractionDriver::SendSnapshot(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<NodeId> ids, NodeList(directive));
  if (ids.size() != 2) return Failed("send-snapshot: expected two nodes");
  env_.SendSnapshot(ids[0], ids[1]);
  return Status::Ok();
}

Status InteractionDriver::SetRandomizedElectionTimeout(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  ASSIGN_OR_RETURN_STATUS(const uint64_t ticks, Keyword(directive, "timeout"));
  if (ticks == 0 || ticks > 1000) return Failed("timeout: expected 1 to 1000 ticks");
  core(id).SetRandomizedElectionTimeout(static_cast<int>(ticks));
  return Status::Ok();
}

Status InteractionDriver::Stabilize(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(std::vector<NodeId> ids, NodeList(directive));
  if (ids.empty()) {
    for (uint64_t id = 1; id <= env_.size(); ++id) ids.emplace_back(id);
  }
  const size_t level = env_.output().level();
  Status status;
  for (const Argument& argument : directive.arguments) {
    for (const std::string& value : argument.values) {
      if (argument.key == "log-level" && status.ok()) status = env_.output().SetLevel(value);
    }
  }
  if (status.ok()) status = env_.Stabilize(ids);
  env_.output().set_level(level);
  return status;
}

Status InteractionDriver::PrintStatus(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  env_.output().Write(Describe(core(id).status().progress));
  return Status::Ok();
}

Status InteractionDriver::TickElection(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  env_.Tick(id, env_.node(id).config.election_ticks);
  return Status::Ok();
}

Status InteractionDriver::TickHeartbeat(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const NodeId id, FirstNode(directive));
  env_.Tick(id, env_.node(id).config.heartbeat_ticks);
  return Status::Ok();
}

Status InteractionDriver::TransferLeadership(const Directive& directive) {
  ASSIGN_OR_RETURN_STATUS(const uint64_t from_number, Keyword(directive, "from"));
  ASSIGN_OR_RETURN_STATUS(const uint64_t to_number, Keyword(directive, "to"));
  ASSIGN_OR_RETURN_STATUS(const NodeId from, FindNode(from_number));
  ASSIGN_OR_RETURN_STATUS(const NodeId to, FindNode(to_number));
  core(from).RequestTransfer(to);
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Driver> MakeInteractionDriver() { return std::make_unique<InteractionDriver>(); }

}  // namespace raftkv::conformance
