#include "node/raft/describe.h"

#include <array>
#include <cstdint>

#include "node/raft/confchange.h"
#include "node/raft/report.h"

namespace raftkv::raft {
namespace {

// Go's %v of a slice of numbers: "[1 2]".
std::string Numbers(const std::vector<NodeId>& ids) {
  std::string out = "[";
  for (NodeId id : ids) out += (out.size() > 1 ? " " : "") + std::to_string(id.value);
  return out + "]";
}

// Go's %v of a []byte: the bytes in decimal.
std::string Numbers(std::string_view bytes) {
  std::string out = "[";
  for (unsigned char byte : bytes) out += (out.size() > 1 ? " " : "") + std::to_string(byte);
  return out + "]";
}

std::string Target(NodeId id) {
  if (id == kNone) return "None";
  if (id == kAppendThread) return "AppendThread";
  if (id == kApplyThread) return "ApplyThread";
  return Hex(id);
}

std::string_view TransitionName(ConfChangeTransition transition) {
  switch (transition) {
    case ConfChangeTransition::kAuto:
      return "ConfChangeTransitionAuto";
    case ConfChangeTransition::kJointImplicit:
      return "ConfChangeTransitionJointImplicit";
    case ConfChangeTransition::kJointExplicit:
      return "ConfChangeTransitionJointExplicit";
  }
  return {};
}

std::string_view TypeName(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddVoter:
      return "ConfChangeAddNode";
    case ConfChangeType::kRemove:
      return "ConfChangeRemoveNode";
    case ConfChangeType::kUpdate:
      return "ConfChangeUpdateNode";
    case ConfChangeType::kAddLearner:
      return "ConfChangeAddLearnerNode";
  }
  return {};
}

// A message as etcd's one struct for all has it: the fields that are printed.
struct Fields {
  Term term;
  Term log_term;
  Index index;
  bool rejected = false;
  Index hint;
  Index commit;
  NodeId vote;
  const std::vector<Entry>* entries = nullptr;
  const Buffer* context = nullptr;  // printed as the data of one entry
  const Snapshot* snapshot = nullptr;
  const std::vector<Message>* responses = nullptr;

  void Set(EntryId id) {
    log_term = id.term;
    index = id.index;
  }
  void Fill(const Propose& m) { entries = &m.entries; }
  void Fill(const AppendEntries& m) {
    Set(m.prev);
    commit = m.commit;
    entries = &m.entries;
  }
  void Fill(const AppendResponse& m) {
    Set({m.hint_term, m.index});
    rejected = m.rejected;
    hint = m.hint_index;
  }
  void Fill(const RequestVote& m) { Set(m.last); }
  void Fill(const RequestPreVote& m) { Set(m.last); }
  void Fill(const VoteResponse& m) { rejected = m.rejected; }
  void Fill(const PreVoteResponse& m) { rejected = m.rejected; }
  void Fill(const InstallSnapshot& m) { snapshot = &m.snapshot; }
  void Fill(const Heartbeat& m) { commit = m.commit; }
  void Fill(const ReadIndex& m) { context = &m.context; }
  void Fill(const ReadIndexResponse& m) {
    index = m.index;
    context = &m.context;
  }
  void Fill(const SnapshotStatus& m) { rejected = m.failed; }
  void Fill(const StorageAppend& m) {
    entries = &m.entries;
    if (m.hard_state) {
      term = m.hard_state->term;
      vote = m.hard_state->vote;
      commit = m.hard_state->commit;
    }
    if (m.snapshot) snapshot = &*m.snapshot;
    responses = &m.responses;
  }
  void Fill(const StorageAppendResponse& m) {
    Set(m.last);
    if (m.snapshot) snapshot = &*m.snapshot;
  }
  void Fill(const StorageApply& m) {
    entries = &m.entries;
    responses = &m.responses;
  }
  void Fill(const StorageApplyResponse& m) { entries = &m.entries; }
  void Fill(const HeartbeatResponse&) {}
  void Fill(const TransferLeader&) {}
  void Fill(const TimeoutNow&) {}
  void Fill(const Campaign&) {}
  void Fill(const Beat&) {}
  void Fill(const CheckQuorum&) {}
  void Fill(const ForgetLeader&) {}
  void Fill(const Unreachable&) {}
};

std::string EntryList(const std::vector<Entry>& entries, const std::string& indent,
                      const EntryFormatter& format) {
  if (entries.empty()) return {};
  if (entries.size() == 1) return " Entries:[" + Describe(entries.front(), format) + "]";
  std::string out = " Entries:[";
  for (const Entry& entry : entries) out += "\n" + indent + "  " + Describe(entry, format);
  return out + "\n" + indent + "]";
}

std::string DescribeIndented(const std::string& indent, const Message& m,
                             const EntryFormatter& format) {
  Fields fields{.term = m.term};
  std::visit([&](const auto& body) { fields.Fill(body); }, m.body);
  std::string out = Text(indent, Target(m.from), "->", Target(m.to), " ", MessageTypeName(m),
                         " Term:", fields.term, " Log:", fields.log_term, "/", fields.index);
  if (fields.rejected) out += Text(" Rejected (Hint: ", fields.hint, ")");
  if (fields.commit) out += Text(" Commit:", fields.commit);
  if (fields.vote) out += Text(" Vote:", fields.vote.value);
  if (fields.entries != nullptr) out += EntryList(*fields.entries, indent, format);
  if (fields.context != nullptr) out += EntryList({{{}, {}, *fields.context}}, indent, format);
  if (fields.snapshot != nullptr && !fields.snapshot->IsEmpty()) {
    out += "\n" + indent + "  Snapshot: " + Describe(*fields.snapshot);
  }
  if (fields.responses != nullptr && !fields.responses->empty()) {
    out += " Responses:[";
    for (const Message& response : *fields.responses) {
      out += "\n" + DescribeIndented(indent + "  ", response, format);
    }
    out += "\n" + indent + "]";
  }
  return out;
}

// In the order of MessageBody.
constexpr std::array<std::string_view, std::variant_size_v<MessageBody>> kMessageTypeNames = {
    "MsgProp",
    "MsgApp",
    "MsgAppResp",
    "MsgVote",
    "MsgVoteResp",
    "MsgPreVote",
    "MsgPreVoteResp",
    "MsgSnap",
    "MsgHeartbeat",
    "MsgHeartbeatResp",
    "MsgTransferLeader",
    "MsgTimeoutNow",
    "MsgReadIndex",
    "MsgReadIndexResp",
    "MsgHup",
    "MsgBeat",
    "MsgCheckQuorum",
    "MsgForgetLeader",
    "MsgUnreachable",
    "MsgSnapStatus",
    "MsgStorageAppend",
    "MsgStorageAppendResp",
    "MsgStorageApply",
    "MsgStorageApplyResp",
};

}  // namespace

std::string_view MessageTypeName(const Message& message) {
  return kMessageTypeNames[message.body.index()];
}

std::string Describe(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
    case Role::kPreCandidate:
      return "StatePreCandidate";
  }
  return {};
}

std::string Describe(const HardState& state) {
  std::string out = Text("Term:", state.term);
  if (state.vote) out += Text(" Vote:", state.vote.value);
  return out + Text(" Commit:", state.commit);
}

std::string Describe(const SoftState& state) {
  return Text("Lead:", state.leader.value, " State:", Describe(state.role));
}

std::string Describe(const ConfState& state) {
  return Text("Voters:", Numbers(state.voters), " VotersOutgoing:", Numbers(state.voters_outgoing),
              " Learners:", Numbers(state.learners), " LearnersNext:", Numbers(state.learners_next),
              " AutoLeave:", state.auto_leave ? "true" : "false");
}

std::string Describe(const Snapshot& snapshot) {
  return Text("Index:", snapshot.index, " Term:", snapshot.term,
              " ConfState:", Describe(snapshot.conf));
}

std::string Describe(const Entry& entry, const EntryFormatter& format) {
  std::string_view type = "EntryNormal";
  std::string text;
  if (const ConfChange* change = entry.conf_change()) {
    type = change->single ? "EntryConfChange" : "EntryConfChangeV2";
    text = Describe(change->steps);
  } else {
    text = format ? format(entry.data()) : QuoteGo(entry.data());
  }
  return Text(entry.term, "/", entry.index, " ", type, text.empty() ? "" : " ", text);
}

std::string Describe(const std::vector<Entry>& entries, const EntryFormatter& format) {
  std::string out;
  for (const Entry& entry : entries) out += Describe(entry, format) + "\n";
  return out;
}

std::string Describe(const Message& message, const EntryFormatter& format) {
  return DescribeIndented("", message, format);
}

std::string Describe(const Ready& ready, const EntryFormatter& format) {
  std::string out;
  if (ready.soft_state) out += Describe(*ready.soft_state) + "\n";
  if (ready.hard_state) out += "HardState " + Describe(*ready.hard_state) + "\n";
  if (!ready.read_states.empty()) {
    std::string states;
    for (const ReadState& state : ready.read_states) {
      states += Text(states.empty() ? "" : " ", "{", state.index, " ",
                     Numbers(state.context.view()), "}");
    }
    out += "ReadStates [" + states + "]\n";
  }
  if (!ready.entries.empty()) out += "Entries:\n" + Describe(ready.entries, format);
  if (ready.snapshot) out += "Snapshot " + Describe(*ready.snapshot) + "\n";
  if (!ready.committed.empty()) {
    out += "CommittedEntries:\n" + Describe(ready.committed, format);
  }
  if (!ready.messages.empty()) {
    out += "Messages:\n";
    for (const Message& message : ready.messages) out += Describe(message, format) + "\n";
  }
  if (out.empty()) return "<empty Ready>";
  return Text("Ready MustSync=", ready.must_sync ? "true" : "false", ":\n", out);
}

std::string Describe(const ConfChange& change) {
  std::string out = Text("transition:", TransitionName(change.transition));
  for (const ConfChangeStep& step : change.steps) {
    out += Text(" changes:{type:", TypeName(step.type), " node_id:", step.id.value, "}");
  }
  if (!change.context.empty()) out += " context:" + QuoteGo(change.context.view());
  return out;
}

}  // namespace raftkv::raft
