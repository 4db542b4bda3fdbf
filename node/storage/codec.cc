#include "node/storage/codec.h"

#include <type_traits>
#include <utility>

#include "base/check.h"

namespace raftkv::storage {
namespace {

using raft::EntryId;
using raft::Index;
using raft::NodeId;
using raft::Term;

Buffer TakeBytes(std::string* bytes) {
  return bytes->empty() ? Buffer() : Buffer(std::move(*bytes));
}

std::string_view Bytes(const Buffer& buffer) { return buffer.view(); }

template <typename Ids>
std::vector<NodeId> ToIds(const Ids& in) {
  std::vector<NodeId> out;
  out.reserve(static_cast<size_t>(in.size()));
  for (uint64_t id : in) out.emplace_back(id);
  return out;
}

template <typename Out>
void AddIds(const std::vector<NodeId>& ids, Out* out) {
  out->Reserve(static_cast<int>(ids.size()));
  for (NodeId id : ids) out->Add(id.value);
}

void AddEntries(const std::vector<raft::Entry>& entries,
                google::protobuf::RepeatedPtrField<v1::Entry>* out) {
  out->Reserve(static_cast<int>(entries.size()));
  for (const raft::Entry& entry : entries) ToProto(entry, out->Add());
}

Result<std::vector<raft::Entry>> TakeEntries(google::protobuf::RepeatedPtrField<v1::Entry>* in) {
  std::vector<raft::Entry> out;
  out.reserve(static_cast<size_t>(in->size()));
  for (v1::Entry& entry : *in) {
    ASSIGN_OR_RETURN(raft::Entry decoded, FromProto(std::move(entry)));
    out.push_back(std::move(decoded));
  }
  return out;
}

// Entries of an append follow each other without a gap, and terms never fall nor pass the sender's.
Status CheckAppend(const raft::AppendEntries& append, Term term) {
  EntryId last = append.prev;
  for (const raft::Entry& entry : append.entries) {
    if (last.index == Index::Max() || entry.index != last.index.Next()) {
      return Status(Code::kCorruption, "append message: entries are not consecutive");
    }
    if (entry.term < last.term) return Status(Code::kCorruption, "append message: terms fall");
    last = entry.id();
  }
  if (last.term > term) return Status(Code::kCorruption, "append message: entry beyond its term");
  return Status::Ok();
}

// --- Message bodies to protobuf: one overload for each that members exchange
// ----------------------

void Encode(const raft::Propose& in, v1::RaftMessage* out) {
  AddEntries(in.entries, out->mutable_propose()->mutable_entries());
}

void Encode(const raft::AppendEntries& in, v1::RaftMessage* out) {
  v1::RaftMessage::AppendEntries* append = out->mutable_append();
  append->set_prev_term(in.prev.term.value);
  append->set_prev_index(in.prev.index.value);
  append->set_commit(in.commit.value);
  AddEntries(in.entries, append->mutable_entries());
}

void Encode(const raft::AppendResponse& in, v1::RaftMessage* out) {
  v1::RaftMessage::AppendResponse* response = out->mutable_append_response();
  response->set_index(in.index.value);
  response->set_rejected(in.rejected);
  response->set_hint_index(in.hint_index.value);
  response->set_hint_term(in.hint_term.value);
}

void Encode(const raft::RequestVote& in, v1::RaftMessage* out) {
  v1::RaftMessage::RequestVote* vote = out->mutable_vote();
  vote->set_last_term(in.last.term.value);
  vote->set_last_index(in.last.index.value);
  vote->set_leader_transfer(in.leader_transfer);
}

void Encode(const raft::VoteResponse& in, v1::RaftMessage* out) {
  out->mutable_vote_response()->set_rejected(in.rejected);
}

void Encode(const raft::RequestPreVote& in, v1::RaftMessage* out) {
  v1::RaftMessage::RequestVote* vote = out->mutable_pre_vote();
  vote->set_last_term(in.last.term.value);
  vote->set_last_index(in.last.index.value);
}

void Encode(const raft::PreVoteResponse& in, v1::RaftMessage* out) {
  out->mutable_pre_vote_response()->set_rejected(in.rejected);
}

void Encode(const raft::InstallSnapshot& in, v1::RaftMessage* out) {
  *out->mutable_install_snapshot() = ToProto(in.snapshot);
}

void Encode(const raft::Heartbeat& in, v1::RaftMessage* out) {
  v1::RaftMessage::Heartbeat* heartbeat = out->mutable_heartbeat();
  heartbeat->set_commit(in.commit.value);
  heartbeat->set_read_counter(Bytes(in.read_counter).data(), in.read_counter.size());
}

void Encode(const raft::HeartbeatResponse& in, v1::RaftMessage* out) {
  out->mutable_heartbeat_response()->set_read_counter(Bytes(in.read_counter).data(),
                                                      in.read_counter.size());
}

void Encode(const raft::TransferLeader&, v1::RaftMessage* out) { out->mutable_transfer_leader(); }

void Encode(const raft::TimeoutNow&, v1::RaftMessage* out) { out->mutable_timeout_now(); }

void Encode(const raft::ReadIndex& in, v1::RaftMessage* out) {
  out->mutable_read_index()->set_context(Bytes(in.context).data(), in.context.size());
}

void Encode(const raft::ReadIndexResponse& in, v1::RaftMessage* out) {
  v1::RaftMessage::ReadIndexResponse* response = out->mutable_read_index_response();
  response->set_index(in.index.value);
  response->set_context(Bytes(in.context).data(), in.context.size());
}

template <typename Body>
concept Sendable = requires(const Body& body, v1::RaftMessage* out) { Encode(body, out); };

// --- And back
// -------------------------------------------------------------------------------------

Result<raft::MessageBody> DecodeAppend(v1::RaftMessage::AppendEntries* in, Term term) {
  raft::AppendEntries out;
  out.prev = {Term(in->prev_term()), Index(in->prev_index())};
  out.commit = Index(in->commit());
  ASSIGN_OR_RETURN(out.entries, TakeEntries(in->mutable_entries()));
  RETURN_UNEXPECTED_IF_ERROR(CheckAppend(out, term));
  return out;
}

raft::AppendResponse Decode(const v1::RaftMessage::AppendResponse& in) {
  return {Index(in.index()), in.rejected(), Index(in.hint_index()), Term(in.hint_term())};
}

EntryId LastOf(const v1::RaftMessage::RequestVote& in) {
  return {Term(in.last_term()), Index(in.last_index())};
}

Result<raft::MessageBody> DecodeBody(v1::RaftMessage* in) {
  switch (in->body_case()) {
    case v1::RaftMessage::kPropose: {
      ASSIGN_OR_RETURN(auto entries, TakeEntries(in->mutable_propose()->mutable_entries()));
      return raft::Propose{std::move(entries)};
    }
    case v1::RaftMessage::kAppend:
      return DecodeAppend(in->mutable_append(), Term(in->term()));
    case v1::RaftMessage::kAppendResponse:
      return Decode(in->append_response());
    case v1::RaftMessage::kVote:
      return raft::RequestVote{LastOf(in->vote()), in->vote().leader_transfer()};
    case v1::RaftMessage::kVoteResponse:
      return raft::VoteResponse{in->vote_response().rejected()};
    case v1::RaftMessage::kPreVote:
      return raft::RequestPreVote{LastOf(in->pre_vote())};
    case v1::RaftMessage::kPreVoteResponse:
      return raft::PreVoteResponse{in->pre_vote_response().rejected()};
    case v1::RaftMessage::kInstallSnapshot:
      return raft::InstallSnapshot{FromProto(in->install_snapshot())};
    case v1::RaftMessage::kHeartbeat:
      return raft::Heartbeat{Index(in->heartbeat().commit()),
                             TakeBytes(in->mutable_heartbeat()->mutable_read_counter())};
    case v1::RaftMessage::kHeartbeatResponse:
      return raft::HeartbeatResponse{
          TakeBytes(in->mutable_heartbeat_response()->mutable_read_counter())};
    case v1::RaftMessage::kTransferLeader:
      return raft::TransferLeader{};
    case v1::RaftMessage::kTimeoutNow:
      return raft::TimeoutNow{};
    case v1::RaftMessage::kReadIndex:
      return raft::ReadIndex{TakeBytes(in->mutable_read_index()->mutable_context())};
    case v1::RaftMessage::kReadIndexResponse:
      return raft::ReadIndexResponse{
          Index(in->read_index_response().index()),
          TakeBytes(in->mutable_read_index_response()->mutable_context())};
    case v1::RaftMessage::BODY_NOT_SET:
      break;
  }
  return Error(Code::kCorruption, "raft message: no body that this version knows");
}

}  // namespace

void ToProto(const raft::Entry& entry, v1::Entry* out) {
  out->set_term(entry.term.value);
  out->set_index(entry.index.value);
  if (const raft::ConfChange* change = entry.conf_change()) {
    *out->mutable_conf_change() = ToProto(*change);
  } else if (std::string_view data = entry.data(); !data.empty()) {
    out->set_data(data.data(), data.size());
  }
}

Result<raft::Entry> FromProto(v1::Entry&& in) {
  raft::Entry out{Term(in.term()), Index(in.index()), Buffer()};
  if (in.has_conf_change()) {
    ASSIGN_OR_RETURN(raft::ConfChange change, FromProto(in.conf_change()));
    out.payload = std::make_shared<const raft::ConfChange>(std::move(change));
  } else if (in.has_data()) {
    out.payload = TakeBytes(in.mutable_data());
  }
  return out;
}

v1::HardState ToProto(const raft::HardState& state) {
  v1::HardState out;
  out.set_term(state.term.value);
  out.set_vote(state.vote.value);
  out.set_commit(state.commit.value);
  return out;
}

raft::HardState FromProto(const v1::HardState& in) {
  return {Term(in.term()), NodeId(in.vote()), Index(in.commit())};
}

v1::ConfState ToProto(const raft::ConfState& conf) {
  v1::ConfState out;
  AddIds(conf.voters, out.mutable_voters());
  AddIds(conf.learners, out.mutable_learners());
  AddIds(conf.voters_outgoing, out.mutable_voters_outgoing());
  AddIds(conf.learners_next, out.mutable_learners_next());
  out.set_auto_leave(conf.auto_leave);
  return out;
}

raft::ConfState FromProto(const v1::ConfState& in) {
  return {ToIds(in.voters()), ToIds(in.learners()), ToIds(in.voters_outgoing()),
          ToIds(in.learners_next()), in.auto_leave()};
}

v1::ConfChange ToProto(const raft::ConfChange& change) {
  v1::ConfChange out;
  out.set_transition(static_cast<v1::ConfChange::Transition>(change.transition));
  for (const raft::ConfChangeStep& step : change.steps) {
    v1::ConfChange::Step* added = out.add_steps();
    added->set_type(static_cast<v1::ConfChange::Type>(step.type));
    added->set_id(step.id.value);
  }
  out.set_context(Bytes(change.context).data(), change.context.size());
  out.set_single(change.single);
  return out;
}

Result<raft::ConfChange> FromProto(const v1::ConfChange& in) {
  raft::ConfChange out;
  if (!v1::ConfChange::Transition_IsValid(in.transition())) {
    return Error(Code::kCorruption, "configuration change: unknown transition");
  }
  out.transition = static_cast<raft::ConfChangeTransition>(in.transition());
  for (const v1::ConfChange::Step& step : in.steps()) {
    if (!v1::ConfChange::Type_IsValid(step.type())) {
      return Error(Code::kCorruption, "configuration change: unknown step");
    }
    out.steps.push_back({static_cast<raft::ConfChangeType>(step.type()), NodeId(step.id())});
  }
  if (in.single() && in.steps_size() != 1) {
    return Error(Code::kCorruption, "configuration change: a single one has exactly one step");
  }
  if (!in.context().empty()) out.context = Buffer::Copy(in.context());
  out.single = in.single();
  return out;
}

v1::Snapshot ToProto(const raft::Snapshot& snapshot) {
  v1::Snapshot out;
  out.set_index(snapshot.index.value);
  out.set_term(snapshot.term.value);
  *out.mutable_conf() = ToProto(snapshot.conf);
  out.set_data(Bytes(snapshot.data).data(), snapshot.data.size());
  return out;
}

raft::Snapshot FromProto(const v1::Snapshot& in) {
  return {Index(in.index()), Term(in.term()), FromProto(in.conf()),
          in.data().empty() ? Buffer() : Buffer::Copy(in.data())};
}

void ToProto(const raft::Message& message, raft::NodeId sender, v1::RaftMessage* out) {
  out->set_term(message.term.value);
  if (message.from != sender) out->set_from(message.from.value);
  std::visit(
      [out](const auto& body) {
        if constexpr (Sendable<std::decay_t<decltype(body)>>) {
          Encode(body, out);
        } else {
          CheckFailed("Sendable<Body>", "a local message must not leave the process");
        }
      },
      message.body);
}

Result<raft::Message> FromProto(v1::RaftMessage&& in, raft::NodeId from, raft::NodeId to) {
  ASSIGN_OR_RETURN(raft::MessageBody body, DecodeBody(&in));
  return raft::Message{in.from() == 0 ? from : NodeId(in.from()), to, Term(in.term()),
                       std::move(body)};
}

}  // namespace raftkv::storage
