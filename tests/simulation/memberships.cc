#include "tests/simulation/memberships.h"

#include <algorithm>

#include "node/storage/codec.h"
#include "raftkv/v1/cluster.pb.h"

namespace raftkv::sim {

std::string Memberships::OnDecided(const raft::Entry& entry, const kv::MembershipResult& result) {
  v1::MembershipChange change;
  const std::string_view context = entry.conf_change()->context.view();
  if (!change.ParseFromArray(context.data(), static_cast<int>(context.size()))) {
    return "not a change of the membership";
  }
  const bool made = result.status.ok();
  if (result.config_index != (made ? entry.index.value : config_index_)) {
    return "the index of the configuration is " + std::to_string(result.config_index) +
           ", but the last change is at " +
           std::to_string(made ? entry.index.value : config_index_);
  }
  if (!made) return "";
  if (change.expected_config_index() != 0 && change.expected_config_index() != config_index_) {
    return "a change that was decided on configuration " +
           std::to_string(change.expected_config_index()) + " is made on " +
           std::to_string(config_index_);
  }
  if (change.epoch() != 0 && change.epoch() < epoch_) {
    return "a change of epoch " + std::to_string(change.epoch()) + " is made after one of epoch " +
           std::to_string(epoch_);
  }
  config_index_ = result.config_index;
  epoch_ = std::max(epoch_, change.epoch());
  made_[config_index_] = {change.expected_config_index(), result.conf};
  return "";
}

std::string Memberships::OnAnswer(const v1::ChangeMembershipRequest& request, uint64_t told_before,
                                  bool by_itself, const v1::ChangeMembershipResponse& response) {
  const uint64_t index = response.config_index();
  told_ = std::max(told_, index);
  if (by_itself) return "";
  const std::string answer =
      "a change is answered with configuration " + std::to_string(index) + ", ";
  if (index <= told_before) {
    return answer + "but " + std::to_string(told_before) + " was known before it was asked for";
  }
  const auto made = made_.find(index);
  if (made == made_.end()) return answer + "which nobody has made";
  if (storage::FromProto(response.conf()) != made->second.conf) {
    return answer + "which has other members than the answer";
  }
  const uint64_t expected = request.expected_config_index();
  if (expected == 0) return "";
  if (expected < told_before) {
    return answer + "though it was decided on " + std::to_string(expected) + ", and " +
           std::to_string(told_before) + " was known before it was asked for";
  }
  const bool is_made = std::any_of(made_.begin(), std::next(made), [&](const auto& each) {
    return each.second.expected == expected;
  });
  if (!is_made) return answer + "but none on " + std::to_string(expected) + " was made";
  return "";
}

std::string Memberships::OnRead(uint64_t told_before, uint64_t config_index) const {
  if (config_index >= told_before) return "";
  return "a linearizable read knows configuration " + std::to_string(config_index) +
         " alone, but " + std::to_string(told_before) + " was known before it began";
}

}  // namespace raftkv::sim
