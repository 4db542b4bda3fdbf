#include "operator/raftkv/leader_watch.h"

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace raftkv::op {
namespace {

// The answers are long; only this much of them matters.
bool SaysLeader(std::string_view answer) {
  const size_t role = answer.find("\"role\"");
  if (role == std::string_view::npos) return false;
  const size_t value = answer.find_first_not_of(" :\n", role + 6);
  return value != std::string_view::npos && answer.substr(value).starts_with("\"LEADER\"");
}

}  // namespace

// Outlives the watch as long as a request or a pause of it is under way.
struct LeaderWatch::State : std::enable_shared_from_this<LeaderWatch::State> {
  State(NodeHttp* client, Lost report, LeaderWatchOptions given)
      : http(client), lost(std::move(report)), options(given) {}

  struct Leader {
    std::string host;
    uint64_t round = 0;  // what belongs to another round is too late
    bool asked = false;  // its answer has not come
  };

  void WaitLocked() {
    waiting = true;
    http->After(options.period, [self = shared_from_this()] { self->AskAll(); });
  }

  void AskAll() {
    std::lock_guard lock(mutex);
    waiting = false;
    if (leaders.empty()) return;
    for (auto& [key, leader] : leaders) {
      if (leader.asked) continue;
      leader.asked = true;
      http->Send({.host = leader.host,
                  .path = "/admin/status",
                  .connect_limit = options.limit,
                  .limit = options.limit},
                 [self = shared_from_this(), whose = key,
                  round = leader.round](const Result<NodeAnswer>& answer) {
                   self->Take(whose, round, answer && SaysLeader(answer->body));
                 });
    }
    WaitLocked();
  }

  void Take(const kube::Key& key, uint64_t round, bool leads) {
    std::lock_guard lock(mutex);
    auto leader = leaders.find(key);
    if (leader == leaders.end() || leader->second.round != round) return;
    leader->second.asked = false;
    if (leads) return;
    leaders.erase(leader);
    lost(key);
  }

  NodeHttp* const http;
  const Lost lost;
  const LeaderWatchOptions options;
  std::mutex mutex;
  std::map<kube::Key, Leader> leaders;
  uint64_t rounds = 0;
  bool waiting = false;  // for the next time that all are asked
};

LeaderWatch::LeaderWatch(NodeHttp* http, Lost lost, LeaderWatchOptions options)
    : state_(std::make_shared<State>(http, std::move(lost), options)) {}

LeaderWatch::~LeaderWatch() {
  std::lock_guard lock(state_->mutex);
  state_->leaders.clear();
}

void LeaderWatch::Set(const kube::Key& key, const std::string& host) {
  std::lock_guard lock(state_->mutex);
  auto known = state_->leaders.find(key);
  if (known != state_->leaders.end() && known->second.host == host) return;
  state_->leaders.erase(key);
  if (host.empty()) return;
  state_->leaders[key] = {.host = host, .round = ++state_->rounds};
  if (!state_->waiting) state_->WaitLocked();
}

}  // namespace raftkv::op
