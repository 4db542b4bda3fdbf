#include <algorithm>

#include "node/raft/quorum.h"
#include "tests/conformance/driver.h"

namespace raftkv::conformance {
namespace {

using raft::Index;
using raft::JointConfig;
using raft::MajorityConfig;
using raft::NodeId;

constexpr uint64_t kNoInformation = 0;
constexpr uint64_t kVotedNo = 1;
constexpr uint64_t kVotedYes = 2;

class AckMap final : public raft::AckedIndexer {
 public:
  explicit AckMap(std::map<NodeId, Index> acked) : acked_(std::move(acked)) {}

  std::optional<Index> AckedIndex(NodeId voter) const override {
    const auto found = acked_.find(voter);
    return found == acked_.end() ? std::nullopt : std::optional(found->second);
  }
  // The same, except that `voter` has acknowledged `index`.
  AckMap With(NodeId voter, Index index) const {
    AckMap changed = *this;
    changed.acked_[voter] = index;
    return changed;
  }

 private:
  std::map<NodeId, Index> acked_;
};

struct Case {
  std::vector<NodeId> ids;        // cfg
  std::vector<NodeId> joint_ids;  // cfgj
  bool joint = false;
  std::vector<uint64_t> values;  // idx or votes, in the order of the ids

  MajorityConfig incoming() const { return MajorityConfig({ids.begin(), ids.end()}); }
  MajorityConfig outgoing() const { return MajorityConfig({joint_ids.begin(), joint_ids.end()}); }
  // The values by voter: an id that stands in both halves takes only one.
  std::map<NodeId, uint64_t> ByVoter() const {
    std::vector<NodeId> all = ids;
    all.insert(all.end(), joint_ids.begin(), joint_ids.end());
    std::map<NodeId, uint64_t> by_voter;
    size_t next = 0;
    for (NodeId id : all) {
      if (next < values.size() && by_voter.emplace(id, values[next]).second) ++next;
    }
    std::erase_if(by_voter, [](const auto& item) { return item.second == kNoInformation; });
    return by_voter;
  }
};

Result<uint64_t> ParseVote(std::string_view text) {
  if (text == "y") return kVotedYes;
  if (text == "n") return kVotedNo;
  if (text == "_") return kNoInformation;
  return Error(Code::kInvalidArgument, "unknown vote: " + std::string(text));
}

Result<uint64_t> ParseIndex(std::string_view text) {
  if (text == "_") return kNoInformation;
  Result<uint64_t> index = ParseUint(text);
  if (index && *index == kNoInformation) {
    return Error(Code::kInvalidArgument, "cannot use 0 as idx");
  }
  return index;
}

Status AddValue(const Argument& argument, const std::string& value, Case& test) {
  if (argument.key == "cfg") {
    ASSIGN_OR_RETURN_STATUS(const uint64_t id, ParseUint(value));
    test.ids.emplace_back(id);
  } else if (argument.key == "cfgj") {
    test.joint = true;
    if (value == "zero" && argument.values.size() == 1) return Status::Ok();
    ASSIGN_OR_RETURN_STATUS(const uint64_t id, ParseUint(value));
    test.joint_ids.emplace_back(id);
  } else if (argument.key == "idx") {
    ASSIGN_OR_RETURN_STATUS(const uint64_t index, ParseIndex(value));
    test.values.push_back(index);
  } else if (argument.key == "votes") {
    ASSIGN_OR_RETURN_STATUS(const uint64_t vote, ParseVote(value));
    test.values.push_back(vote);
  } else {
    return Status(Code::kInvalidArgument, "unknown arg " + argument.key);
  }
  return Status::Ok();
}

Result<Case> ParseCase(const Directive& directive) {
  Case test;
  for (const Argument& argument : directive.arguments) {
    for (const std::string& value : argument.values) {
      RETURN_UNEXPECTED_IF_ERROR(AddValue(argument, value, test));
    }
  }
  return test;
}

std::string Text(Index index) { return index == Index::Max() ? "∞" : std::to_string(index.value); }

// The definition, candidate by candidate: the highest index that more than half have reached.
Index CommittedByDefinition(const MajorityConfig& config, const AckMap& acked) {
  if (config.empty()) return Index::Max();
  Index best;
  for (NodeId candidate : config.ids()) {
    const Index index = acked.AckedIndex(candidate).value_or(Index());
    const auto reached = std::ranges::count_if(
        config.ids(), [&](NodeId id) { return acked.AckedIndex(id).value_or(Index()) >= index; });
    if (2 * static_cast<size_t>(reached) > config.size()) best = std::max(best, index);
  }
  return best;
}

// Computations that must arrive at `committed` too; those that do not are reported.
std::string CrossCheck(const MajorityConfig& config, const AckMap& acked, Index committed) {
  std::string mismatches;
  const auto check = [&](Index other, const std::string& how) {
    if (other != committed) mismatches += Text(other) + " <-- " + how + "\n";
  };
  check(CommittedByDefinition(config, acked), "via alternative computation");
  check(JointConfig{config, {}}.CommittedIndex(acked), "via zero-joint quorum");
  check(JointConfig{config, config}.CommittedIndex(acked), "via self-joint quorum");
  // A voter that was behind the committed index may fall back without moving it.
  for (NodeId id : config.ids()) {
    const Index own = acked.AckedIndex(id).value_or(Index());
    if (own >= committed || own == Index()) continue;
    for (const Index lower : {own.Prev(), Index()}) {
      check(config.CommittedIndex(acked.With(id, lower)),
            "overlaying " + std::to_string(id.value) + "->" + Text(lower));
    }
  }
  return mismatches;
}

std::string Committed(const Case& test) {
  std::map<NodeId, Index> indexes;
  for (const auto& [id, value] : test.ByVoter()) indexes.emplace(id, Index(value));
  const AckMap acked(std::move(indexes));
  if (!test.joint) {
    const MajorityConfig config = test.incoming();
    const Index committed = config.CommittedIndex(acked);
    return config.Describe(acked) + CrossCheck(config, acked, committed) + Text(committed) + "\n";
  }
  const JointConfig config{test.incoming(), test.outgoing()};
  const Index committed = config.CommittedIndex(acked);
  std::string text = config.Describe(acked);
  const Index mirrored = JointConfig{config.outgoing, config.incoming}.CommittedIndex(acked);
  if (mirrored != committed) text += Text(mirrored) + " <-- via symmetry\n";
  return text + Text(committed) + "\n";
}

std::string Vote(const Case& test) {
  raft::Votes votes;
  for (const auto& [id, value] : test.ByVoter()) votes.emplace(id, value == kVotedYes);
  if (!test.joint) return std::string(Describe(test.incoming().Result(votes))) + "\n";

  const JointConfig config{test.incoming(), test.outgoing()};
  const raft::VoteResult result = config.Result(votes);
  const raft::VoteResult mirrored = JointConfig{config.outgoing, config.incoming}.Result(votes);
  std::string text;
  if (mirrored != result) text = std::string(Describe(mirrored)) + " <-- via symmetry\n";
  return text + std::string(Describe(result)) + "\n";
}

std::string MismatchedInput(const std::set<NodeId>& voters, const std::vector<uint64_t>& values) {
  std::string text = "error: mismatched input (explicit or _) for voters map[";
  for (NodeId id : voters) {
    if (id != *voters.begin()) text += ' ';
    text += std::to_string(id.value) + ":{}";
  }
  text += "]: [";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += ' ';
    text += Text(Index(values[i]));
  }
  return text + "]";
}

class QuorumDriver final : public Driver {
 public:
  std::string Run(const Directive& directive) override {
    const Result<Case> test = ParseCase(directive);
    if (!test) return test.error().message();
    const std::set<NodeId> voters = JointConfig{test->incoming(), test->outgoing()}.Ids();
    if (voters.size() != test->values.size()) return MismatchedInput(voters, test->values);
    if (directive.command == "committed") return Committed(*test);
    if (directive.command == "vote") return Vote(*test);
    return "unknown command: " + directive.command;
  }
};

}  // namespace

std::unique_ptr<Driver> MakeQuorumDriver() { return std::make_unique<QuorumDriver>(); }

}  // namespace raftkv::conformance
