#include "node/raft/confchange.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include "node/raft/describe.h"

namespace raftkv::raft {
namespace {

using Steps = std::vector<ConfChangeStep>;

ChangeResult Checked(ChangedConfig changed) {
  if (auto valid = CheckConfig(changed.config, changed.progress); !valid) {
    return std::unexpected(valid.error());
  }
  return changed;
}

ChangeResult CurrentConfig(const Tracker& tracker) {
  return Checked({tracker.config, tracker.progress});
}

void RemoveMember(NodeId id, ChangedConfig& next) {
  next.config.voters.incoming.ids().erase(id);
  next.config.learners.erase(id);
  next.config.learners_next.erase(id);
  // Who still votes in the outgoing half is still replicated to.
  if (!next.config.voters.outgoing.contains(id)) next.progress.erase(id);
}

size_t SymmetricDifference(const std::set<NodeId>& a, const std::set<NodeId>& b) {
  std::vector<NodeId> differing;
  std::ranges::set_symmetric_difference(a, b, std::back_inserter(differing));
  return differing.size();
}

std::unexpected<std::string> Invalid(NodeId id, std::string_view what) {
  return std::unexpected(std::to_string(id.value) + std::string(what));
}

std::unexpected<std::string> NoProgress(NodeId id) {
  return std::unexpected("no progress for " + std::to_string(id.value));
}

char Letter(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddVoter:
      return 'v';
    case ConfChangeType::kAddLearner:
      return 'l';
    case ConfChangeType::kRemove:
      return 'r';
    case ConfChangeType::kUpdate:
      return 'u';
  }
  return '?';
}

std::optional<ConfChangeType> TypeOf(char letter) {
  for (ConfChangeType type : {ConfChangeType::kAddVoter, ConfChangeType::kAddLearner,
                              ConfChangeType::kRemove, ConfChangeType::kUpdate}) {
    if (Letter(type) == letter) return type;
  }
  return std::nullopt;
}

std::expected<ConfChangeStep, std::string> ParseStep(std::string_view token) {
  if (token.size() < 2) return std::unexpected("unknown token " + std::string(token));
  const std::optional<ConfChangeType> type = TypeOf(token.front());
  if (!type) return std::unexpected("unknown input: " + std::string(token));

  const std::string_view digits = token.substr(1);
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), id);
  if (error != std::errc() || end != digits.end()) {
    const bool overflow = error == std::errc::result_out_of_range;
    return std::unexpected("strconv.ParseUint: parsing " + QuoteGo(digits) +
                           (overflow ? ": value out of range" : ": invalid syntax"));
  }
  return ConfChangeStep{*type, NodeId(id)};
}

}  // namespace

ChangeResult Changer::EnterJoint(bool auto_leave, const Steps& steps) const {
  ChangeResult next = CurrentConfig(tracker_);
  if (!next) return next;
  TrackerConfig& config = next->config;
  if (config.joint()) return std::unexpected("config is already joint");
  if (config.voters.incoming.empty()) {
    return std::unexpected("can't make a zero-voter config joint");
  }
  config.voters.outgoing = config.voters.incoming;
  if (auto applied = Apply(steps, *next); !applied) return std::unexpected(applied.error());
  config.auto_leave = auto_leave;
  return Checked(*std::move(next));
}

ChangeResult Changer::LeaveJoint() const {
  ChangeResult next = CurrentConfig(tracker_);
  if (!next) return next;
  TrackerConfig& config = next->config;
  if (!config.joint()) return std::unexpected("can't leave a non-joint config");
  for (NodeId id : config.learners_next) {
    config.learners.insert(id);
    next->progress.at(id).is_learner = true;
  }
  config.learners_next.clear();
  for (NodeId id : config.voters.outgoing.ids()) {
    if (!config.voters.incoming.contains(id) && !config.learners.contains(id)) {
      next->progress.erase(id);
    }
  }
  config.voters.outgoing = MajorityConfig();
  config.auto_leave = false;
  return Checked(*std::move(next));
}

ChangeResult Changer::Simple(const Steps& steps) const {
  ChangeResult next = CurrentConfig(tracker_);
  if (!next) return next;
  if (next->config.joint()) {
    return std::unexpected("can't apply simple config change in joint config");
  }
  if (auto applied = Apply(steps, *next); !applied) return std::unexpected(applied.error());
  // Majorities of configurations that differ in one voter overlap (thesis, section 4.1); beyond
  // that they may not.
  if (SymmetricDifference(tracker_.config.voters.incoming.ids(),
                          next->config.voters.incoming.ids()) > 1) {
    return std::unexpected("more than one voter changed without entering joint config");
  }
  return Checked(*std::move(next));
}

std::expected<void, std::string> Changer::Apply(const Steps& steps, ChangedConfig& next) const {
  for (const ConfChangeStep& step : steps) {
    if (step.id == kNone) continue;
    switch (step.type) {
      case ConfChangeType::kAddVoter:
        MakeVoter(step.id, next);
        break;
      case ConfChangeType::kAddLearner:
        MakeLearner(step.id, next);
        break;
      case ConfChangeType::kRemove:
        if (next.progress.contains(step.id)) RemoveMember(step.id, next);
        break;
      case ConfChangeType::kUpdate:
        break;
    }
  }
  if (next.config.voters.incoming.empty()) return std::unexpected("removed all voters");
  return {};
}

void Changer::MakeVoter(NodeId id, ChangedConfig& next) const {
  const auto member = next.progress.find(id);
  if (member == next.progress.end()) {
    AddMember(id, /*is_learner=*/false, next);
    return;
  }
  member->second.is_learner = false;
  next.config.learners.erase(id);
  next.config.learners_next.erase(id);
  next.config.voters.incoming.ids().insert(id);
}

void Changer::MakeLearner(NodeId id, ChangedConfig& next) const {
  const auto member = next.progress.find(id);
  if (member == next.progress.end()) {
    AddMember(id, /*is_learner=*/true, next);
    return;
  }
  if (member->second.is_learner) return;

  // A demoted voter keeps its progress. While it votes in the outgoing half it cannot be a learner:
  // LeaveJoint makes it one.
  TrackerConfig& config = next.config;
  config.voters.incoming.ids().erase(id);
  if (config.voters.outgoing.contains(id)) {
    config.learners_next.insert(id);
  } else {
    member->second.is_learner = true;
    config.learners.insert(id);
  }
}

void Changer::AddMember(NodeId id, bool is_learner, ChangedConfig& next) const {
  if (is_learner) {
    next.config.learners.insert(id);
  } else {
    next.config.voters.incoming.ids().insert(id);
  }
  Progress member;
  member.next = std::max(last_index_, Index(1));
  member.inflights = Inflights(tracker_.max_inflight_messages(), tracker_.max_inflight_bytes());
  member.is_learner = is_learner;
  // Otherwise the next quorum check could depose the leader before it has sent a first message.
  member.recently_active = true;
  next.progress.emplace(id, std::move(member));
}

std::expected<void, std::string> CheckConfig(const TrackerConfig& config,
                                             const ProgressMap& progress) {
  for (const std::set<NodeId>& ids : {config.voters.Ids(), config.learners, config.learners_next}) {
    for (NodeId id : ids) {
      if (!progress.contains(id)) return NoProgress(id);
    }
  }
  for (NodeId id : config.learners_next) {
    if (!config.voters.outgoing.contains(id)) {
      return Invalid(id, " is in LearnersNext, but not Voters[1]");
    }
    if (progress.at(id).is_learner) {
      return Invalid(id, " is in LearnersNext, but is already marked as learner");
    }
  }
  for (NodeId id : config.learners) {
    if (config.voters.outgoing.contains(id)) return Invalid(id, " is in Learners and Voters[1]");
    if (config.voters.incoming.contains(id)) return Invalid(id, " is in Learners and Voters[0]");
    if (!progress.at(id).is_learner) {
      return Invalid(id, " is in Learners, but is not marked as learner");
    }
  }
  // Without an outgoing half, learners_next is empty by the second check.
  if (!config.joint() && config.auto_leave) {
    return std::unexpected("AutoLeave must be false when not joint");
  }
  return {};
}

ChangeResult Restore(const Tracker& empty, Index last_index, const ConfState& conf) {
  // The incoming half, as steps on top of the outgoing one.
  Steps incoming;
  for (NodeId id : conf.voters_outgoing) incoming.push_back({ConfChangeType::kRemove, id});
  for (NodeId id : conf.voters) incoming.push_back({ConfChangeType::kAddVoter, id});
  for (NodeId id : conf.learners) incoming.push_back({ConfChangeType::kAddLearner, id});
  for (NodeId id : conf.learners_next) incoming.push_back({ConfChangeType::kAddLearner, id});

  // One voter at a time, as Simple demands: the outgoing half first if there is one.
  Steps one_by_one;
  if (conf.voters_outgoing.empty()) {
    one_by_one.swap(incoming);
  } else {
    for (NodeId id : conf.voters_outgoing) one_by_one.push_back({ConfChangeType::kAddVoter, id});
  }
  Tracker tracker = empty;
  for (const ConfChangeStep& step : one_by_one) {
    ChangeResult next = Changer(tracker, last_index).Simple({step});
    if (!next) return next;
    tracker.config = std::move(next->config);
    tracker.progress = std::move(next->progress);
  }
  if (conf.voters_outgoing.empty()) return ChangedConfig{tracker.config, tracker.progress};
  return Changer(tracker, last_index).EnterJoint(conf.auto_leave, incoming);
}

JointUse EntersJoint(const ConfChange& change) {
  if (change.transition == ConfChangeTransition::kAuto && change.steps.size() <= 1) return {};
  return {.use = true, .auto_leave = change.transition != ConfChangeTransition::kJointExplicit};
}

bool LeavesJoint(const ConfChange& change) {
  return change.transition == ConfChangeTransition::kAuto && change.steps.empty();
}

std::expected<Steps, std::string> ParseSteps(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return Steps();
  text = text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);

  Steps steps;
  for (size_t end = 0; end != std::string_view::npos;) {
    end = text.find(' ');
    auto step = ParseStep(text.substr(0, end));
    if (!step) return std::unexpected(step.error());
    steps.push_back(*step);
    if (end != std::string_view::npos) text.remove_prefix(end + 1);
  }
  return steps;
}

std::string Describe(const Steps& steps) {
  std::string text;
  for (const ConfChangeStep& step : steps) {
    if (!text.empty()) text += ' ';
    text += Letter(step.type) + std::to_string(step.id.value);
  }
  return text;
}

}  // namespace raftkv::raft
