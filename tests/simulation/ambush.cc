#include "tests/simulation/ambush.h"

#include <algorithm>

#include "tests/simulation/faults.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

template <typename T>
std::vector<T> Some(Random& random, size_t most) {
  std::vector<T> chosen;
  const size_t count = 1 + random.Uniform(most);
  for (size_t i = 0; i < count; ++i) {
    chosen.push_back(static_cast<T>(random.Uniform(static_cast<uint64_t>(T::kCount))));
  }
  return chosen;
}

// At once, within a message's way, within some messages', or within a tick or two.
Duration Delay(Random& random) {
  constexpr uint64_t kLongestUs[] = {1, 500, 5000, 300'000};
  return std::chrono::microseconds(random.Uniform(kLongestUs[random.Uniform(4)]));
}

// Around the time that an election takes, mostly.
Duration Lasts(Random& random) {
  constexpr uint64_t kLongestMs[] = {500, 2500, 5000, 15'000};
  return std::chrono::milliseconds(100 + random.Uniform(kLongestMs[random.Uniform(4)]));
}

}  // namespace

AmbushOptions DrawAmbushOptions(Random& random) {
  return {.moments = Some<Moment>(random, 3), .blows = Some<Blow>(random, 4)};
}

void Ambushes::Lay(Random& random) {
  Ambush ambush{.moment = options_.moments[random.Uniform(options_.moments.size())],
                .random = SeededRandom(random.Next())};
  ambush.until = world_->scheduler.now() + std::chrono::seconds(5 + random.Uniform(25));
  const bool every = random.Uniform(2) == 0;
  ambush.left = every ? 20 : 1 + random.Uniform(2);
  ambush.percent = every ? 30 + random.Uniform(71) : 100;
  waiting_.push_back(std::move(ambush));
}

void Ambushes::OnMoment(Moment moment, SimNode& it) {
  const SimTime now = world_->scheduler.now();
  std::erase_if(waiting_, [now](const Ambush& a) { return a.left == 0 || a.until < now; });
  for (Ambush& ambush : waiting_) {
    if (ambush.moment != moment || ambush.random.Uniform(100) >= ambush.percent) continue;
    --ambush.left;
    // Two blows, sometimes: a cut and a crash behind it.
    const size_t blows = 1 + ambush.random.Uniform(2);
    for (size_t i = 0; i < blows; ++i) {
      const Blow blow = options_.blows[ambush.random.Uniform(options_.blows.size())];
      const uint64_t number = ambush.random.Next();
      world_->scheduler.After(Delay(ambush.random), [this, blow, number, &it] {
        if (injector_->healed()) return;
        SeededRandom random(number);
        // Nobody is hit any more if the process has gone meanwhile.
        if (it.running()) world_->coverage.Hit(Path::ambush);
        Strike(blow, it, random);
      });
    }
  }
}

SimNode& Ambushes::RivalOf(SimNode& it) const {
  for (const auto& node : world_->nodes) {
    if (node.get() != &it && node->leads()) return *node;
  }
  SimNode* leader = world_->Leader();
  return leader != nullptr ? *leader : it;
}

void Ambushes::Strike(Blow blow, SimNode& it, Random& random) {
  const Duration lasts = Lasts(random);
  std::vector<bool> side(world_->nodes.size(), false);
  switch (blow) {
    case Blow::crash_it:
      return injector_->CrashFor(it, lasts);
    case Blow::crash_rival:
      return injector_->CrashFor(RivalOf(it), lasts);
    case Blow::isolate_it:
      side[it.host()] = true;
      return injector_->SeparateFor(side, lasts);
    case Blow::isolate_rival:
      side[RivalOf(it).host()] = true;
      return injector_->SeparateFor(side, lasts);
    case Blow::deafen:
    case Blow::silence:
      for (size_t other = 0; other < side.size(); ++other) {
        if (other == it.host()) continue;
        if (blow == Blow::deafen) {
          injector_->CutFor(other, it.host(), lasts);
        } else {
          injector_->CutFor(it.host(), other, lasts);
        }
      }
      return;
    case Blow::silence_rival:
      return injector_->Stall(RivalOf(it), random);
    case Blow::cut_some:
      return CutSome(it, random, lasts);
    case Blow::halves:
    case Blow::half_deaf:
      return CutHalves(it, random, lasts, blow == Blow::half_deaf);
    case Blow::split:
      for (size_t i = 0; i < side.size(); ++i) side[i] = random.Uniform(2) == 0;
      return injector_->SeparateFor(side, lasts);
    case Blow::pause_it:
      return injector_->PauseFor(it, lasts);
    case Blow::pause_rival:
      return injector_->PauseFor(RivalOf(it), lasts);
    case Blow::slow_disk:
      return injector_->SlowDiskFor(it, Duration(random.Uniform(uint64_t{8'000'000'000})), lasts);
    default:
      return injector_->SlowApplyFor(it, Duration(random.Uniform(uint64_t{4'000'000'000})), lasts);
  }
}

void Ambushes::CutSome(const SimNode& it, Random& random, Duration lasts) {
  for (size_t other = 0; other < world_->nodes.size(); ++other) {
    if (other == it.host()) continue;
    if (random.Uniform(2) == 0) injector_->CutFor(it.host(), other, lasts);
    if (random.Uniform(2) == 0) injector_->CutFor(other, it.host(), lasts);
  }
}

// The halves of its joint configuration, or the voters of now and all the others: what the voters
// of now are to a change under way.
void Ambushes::CutHalves(const SimNode& it, Random& random, Duration lasts, bool one_way) {
  const raft::Core* core = it.running() ? it.replica().core() : nullptr;
  if (core == nullptr) return;
  const raft::JointConfig& voters = core->tracker_config().voters;
  const raft::MajorityConfig& old = voters.outgoing.empty() ? voters.incoming : voters.outgoing;
  std::vector<bool> side(world_->nodes.size(), false);
  for (const auto& node : world_->nodes) side[node->host()] = old.contains(node->id());
  if (one_way) {
    // To all of the one half, or to any of them.
    const bool all = random.Uniform(2) == 0;
    const bool half = random.Uniform(4) > 0;
    for (size_t other = 0; other < side.size(); ++other) {
      if (other == it.host() || side[other] != half) continue;
      if (all || random.Uniform(2) == 0) injector_->CutFor(it.host(), other, lasts);
    }
    return;
  }
  if (random.Uniform(2) == 0) side[it.host()] = !side[it.host()];
  injector_->SeparateFor(side, lasts);
}

}  // namespace raftkv::sim
