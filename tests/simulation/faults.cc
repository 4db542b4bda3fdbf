#include "tests/simulation/faults.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

constexpr struct {
  FaultKind kind;
  std::string_view name;
  uint64_t weight;
} kFaults[] = {
#define X(name, weight) {FaultKind::k_##name, #name, weight},
    RAFTKV_SIM_FAULTS(X)
#undef X
};

constexpr uint64_t kFavourite = 60;

// Mostly short, sometimes long enough for everything to time out.
Duration SomeTime(Random& random) {
  const uint64_t longest_ms[] = {200, 1500, 4000, 12'000};
  return std::chrono::milliseconds(10 + random.Uniform(longest_ms[random.Uniform(4)]));
}

// Around the amounts that make a difference (node/runtime/room.cc).
uint64_t SomeSpace(Random& random) {
  constexpr uint64_t kMostKiB[] = {1, 300, 3 << 10, 30 << 10, 200 << 10};
  return random.Uniform(kMostKiB[random.Uniform(std::size(kMostKiB))]) << 10;
}

}  // namespace

std::string Fault::Text() const {
  char text[80];
  std::snprintf(text, sizeof(text), "%9.3f s  %.*s", static_cast<double>(at.count()) / 1e9,
                static_cast<int>(kFaults[static_cast<size_t>(kind)].name.size()),
                kFaults[static_cast<size_t>(kind)].name.data());
  return text;
}

std::vector<Fault> DrawFaults(Random& random, const FaultOptions& options) {
  // Each run leaves out some kinds altogether: what is always disturbed never gets far.
  std::vector<uint64_t> weights;
  uint64_t total = 0;
  for (const auto& fault : kFaults) {
    uint64_t weight = random.Uniform(3) == 0 ? 0 : fault.weight;
    if (std::ranges::count(options.favourites, fault.kind) > 0) weight = kFavourite;
    weights.push_back(weight);
    total += weight;
  }
  std::vector<Fault> faults;
  if (total == 0) return faults;
  SimTime at = options.begin;
  while (true) {
    at += Duration(random.Uniform(static_cast<uint64_t>(options.mean_gap.count()) * 2));
    if (at >= options.end) return faults;
    uint64_t ticket = random.Uniform(total);
    size_t kind = 0;
    while (ticket >= weights[kind]) ticket -= weights[kind++];
    faults.push_back({at, kFaults[kind].kind, random.Next()});
  }
}

// --- Injecting -----------------------------------------------------------------------------------

SimNode& Injector::AnyNode(Random& random) {
  // Members are more interesting than spares.
  std::vector<SimNode*> members;
  for (const auto& node : world_->nodes) {
    if (!node->disk().blank()) members.push_back(node.get());
  }
  if (members.empty() || random.Uniform(8) == 0) {
    return *world_->nodes[random.Uniform(world_->nodes.size())];
  }
  return *members[random.Uniform(members.size())];
}

SimNode& Injector::LeaderOrAny(Random& random) {
  SimNode* leader = world_->Leader();
  return leader != nullptr ? *leader : AnyNode(random);
}

void Injector::Inject(const Fault& fault) {
  SeededRandom random(fault.number);
  switch (fault.kind) {
    case FaultKind::k_change:
      return operator_->Change(random);
    case FaultKind::k_changes_at_once:
      return operator_->ChangeAtOnce(random);
    case FaultKind::k_remove_leader:
      return operator_->RemoveLeader(random);
    case FaultKind::k_removed_id:
      return operator_->AskForRemovedId(random);
    case FaultKind::k_used_id:
      return operator_->AskForUsedId(random);
    case FaultKind::k_ambush:
      return ambushes_.Lay(random);
    case FaultKind::k_join:
      return operator_->Join(random);
    case FaultKind::k_transfer:
      return operator_->Transfer(random);
    case FaultKind::k_snapshot:
      return operator_->TakeSnapshot(random);
    case FaultKind::k_backup:
      return operator_->TakeBackup(random);
    case FaultKind::k_clock:
      return InjectClock(random);
    case FaultKind::k_slow_disk:
    case FaultKind::k_slow_apply:
    case FaultKind::k_fail_sync:
    case FaultKind::k_full_disk:
    case FaultKind::k_lose_disk:
    case FaultKind::k_rot_disk:
    case FaultKind::k_rot_some:
    case FaultKind::k_keep_copy:
    case FaultKind::k_copied_disk:
    case FaultKind::k_old_part:
      return InjectDisk(fault, random);
    case FaultKind::k_cut_one_way:
    case FaultKind::k_isolate:
    case FaultKind::k_isolate_leader:
    case FaultKind::k_split:
    case FaultKind::k_bridge:
    case FaultKind::k_swizzle:
    case FaultKind::k_clog:
    case FaultKind::k_bad_network:
    case FaultKind::k_stall_leader:
    case FaultKind::k_busy_leader:
    case FaultKind::k_lag:
      return InjectNetwork(fault, random);
    default:
      return InjectProcess(fault, random);
  }
}

void Injector::CrashFor(SimNode& node, Duration duration) {
  node.Crash();
  operator_->RestartAfter(node, duration);
}

void Injector::InjectProcess(const Fault& fault, Random& random) {
  switch (fault.kind) {
    case FaultKind::k_crash:
      return CrashFor(AnyNode(random), SomeTime(random));
    case FaultKind::k_crash_leader:
      return CrashFor(LeaderOrAny(random), SomeTime(random));
    case FaultKind::k_crash_some:
      for (const auto& node : world_->nodes) {
        if (random.Uniform(2) == 0) CrashFor(*node, SomeTime(random));
      }
      return;
    case FaultKind::k_crash_all: {
      const Duration together = SomeTime(random);
      const bool apart = random.Uniform(2) == 0;
      for (const auto& node : world_->nodes) CrashFor(*node, apart ? SomeTime(random) : together);
      return;
    }
    case FaultKind::k_crash_at_event:
      return CrashAtEvent(random);
    case FaultKind::k_shut_down: {
      SimNode& node = LeaderOrAny(random);
      node.Shutdown();
      return operator_->RestartAfter(node, std::chrono::seconds(1) + SomeTime(random));
    }
    default: {
      SimNode& node =
          fault.kind == FaultKind::k_pause_leader ? LeaderOrAny(random) : AnyNode(random);
      PauseFor(node, SomeTime(random));
    }
  }
}

void Injector::PauseFor(SimNode& node, Duration duration) {
  node.Pause();
  world_->scheduler.After(duration, [&node] { node.Resume(); });
}

// Between two steps of one job, where recovery has the most to do.
void Injector::CrashAtEvent(Random& random) {
  constexpr EventKind kKinds[] = {EventKind::kReady,        EventKind::kMessages,
                                  EventKind::kAppendStart,  EventKind::kAppendEnd,
                                  EventKind::kAppendDone,   EventKind::kApplyStart,
                                  EventKind::kPost,         EventKind::kSnapshotReceived,
                                  EventKind::kSnapshotSent, EventKind::kJanitor,
                                  EventKind::kCall,         EventKind::kReply,
                                  EventKind::kApplied,      EventKind::kApplyEnd};
  SimNode& node = random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random);
  const EventKind kind = kKinds[random.Uniform(std::size(kKinds))];
  const bool rare = kind == EventKind::kSnapshotReceived || kind == EventKind::kSnapshotSent;
  node.CrashAt(kind, 1 + random.Uniform(rare ? 2 : 20), random.Uniform(2) == 0);
  // Repairs start it again.
}

void Injector::CutFor(size_t from, size_t to, Duration duration) {
  Network& network = world_->network;
  network.Cut(from, to);
  world_->scheduler.After(duration, [&network, from, to] { network.Mend(from, to); });
}

void Injector::SeparateFor(const std::vector<bool>& side, Duration duration) {
  for (size_t a = 0; a < side.size(); ++a) {
    for (size_t b = 0; b < side.size(); ++b) {
      if (side[a] != side[b]) CutFor(a, b, duration);
    }
  }
}

void Injector::InjectNetwork(const Fault& fault, Random& random) {
  const size_t hosts = world_->nodes.size();
  std::vector<bool> side(hosts, false);
  switch (fault.kind) {
    case FaultKind::k_cut_one_way: {
      const size_t from = AnyNode(random).host();
      const size_t to = random.Uniform(hosts);
      if (from != to) CutFor(from, to, SomeTime(random));
      return;
    }
    case FaultKind::k_isolate:
      side[AnyNode(random).host()] = true;
      return SeparateFor(side, SomeTime(random));
    case FaultKind::k_isolate_leader:
      side[LeaderOrAny(random).host()] = true;
      return SeparateFor(side, SomeTime(random));
    case FaultKind::k_split:
      for (size_t i = 0; i < hosts; ++i) side[i] = random.Uniform(2) == 0;
      return SeparateFor(side, SomeTime(random));
    case FaultKind::k_bridge: {
      // Two halves that only one host reaches.
      for (size_t i = 0; i < hosts; ++i) side[i] = random.Uniform(2) == 0;
      const size_t bridge = AnyNode(random).host();
      const Duration duration = SomeTime(random);
      for (size_t a = 0; a < hosts; ++a) {
        for (size_t b = 0; b < hosts; ++b) {
          if (a != bridge && b != bridge && side[a] != side[b]) CutFor(a, b, duration);
        }
      }
      return;
    }
    case FaultKind::k_swizzle:
      return Swizzle(random);
    case FaultKind::k_stall_leader:
      return Stall(LeaderOrAny(random), random);
    case FaultKind::k_busy_leader:
      return BusyLeader(random);
    case FaultKind::k_lag:
      return Lag(random);
    case FaultKind::k_clog: {
      const SimTime until = world_->scheduler.now() + SomeTime(random);
      const size_t at = AnyNode(random).host();
      for (size_t other = 0; other < hosts; ++other) {
        if (random.Uniform(2) == 0) world_->network.Clog(at, other, until);
        if (random.Uniform(2) == 0) world_->network.Clog(other, at, until);
      }
      return;
    }
    default:
      return BadNetwork(random);
  }
}

// Hosts are cut off one after the other, and come back in another order.
void Injector::Swizzle(Random& random) {
  const size_t hosts = world_->nodes.size();
  for (size_t host = 0; host < hosts; ++host) {
    if (random.Uniform(2) == 0) continue;
    const Duration from = SomeTime(random);
    const Duration lasts = SomeTime(random);
    world_->scheduler.After(from, [this, host, hosts, lasts] {
      if (healed_) return;
      std::vector<bool> side(hosts, false);
      side[host] = true;
      SeparateFor(side, lasts);
    });
  }
}

// Cut off until the log has gone on without it and only a snapshot helps.
void Injector::Lag(Random& random) {
  std::vector<bool> side(world_->nodes.size(), false);
  side[AnyNode(random).host()] = true;
  SeparateFor(side, std::chrono::seconds(10 + random.Uniform(15)));
}

void Injector::Stall(SimNode& node, Random& random) {
  const Duration lasts = std::chrono::milliseconds(1000 + random.Uniform(3000));
  // What was said before the cut counts for it until then.
  const Duration early = std::chrono::milliseconds(random.Uniform(300));
  for (size_t other = 0; other < world_->nodes.size(); ++other) {
    if (other == node.host()) continue;
    world_->network.Clog(other, node.host(), world_->scheduler.now() + early + lasts);
  }
  world_->scheduler.After(early, [this, host = node.host(), lasts] {
    if (healed_) return;
    for (size_t other = 0; other < world_->nodes.size(); ++other) {
      if (other != host) CutFor(host, other, lasts);
    }
  });
}

// A leader that is cut off takes many writes, which come to nothing.
void Injector::BusyLeader(Random& random) {
  SimNode& node = LeaderOrAny(random);
  std::vector<bool> side(world_->nodes.size(), false);
  side[node.host()] = true;
  SeparateFor(side, std::chrono::milliseconds(500 + random.Uniform(15'000)));
  clients_->Burst(&node, 10 + random.Uniform(150));
}

void Injector::BadNetwork(Random& random) {
  LinkProfile profile = world_->usual_network;
  profile.loss_percent = random.Uniform(2) == 0 ? 0 : random.Uniform(40);
  profile.duplicate_percent = random.Uniform(2) == 0 ? 0 : random.Uniform(30);
  profile.reorder_percent = random.Uniform(2) == 0 ? 0 : random.Uniform(40);
  const uint64_t slow = random.Uniform(3) == 0 ? 100'000 : 2000;
  profile.delay_spread = std::chrono::microseconds(500 + random.Uniform(slow));
  world_->network.SetProfile(profile);
  const uint64_t change = ++network_changes_;
  world_->scheduler.After(SomeTime(random) * 2, [this, change] {
    if (change == network_changes_) world_->network.SetProfile(world_->usual_network);
  });
}

void Injector::SlowDiskFor(SimNode& node, Duration each, Duration duration) {
  node.SlowDisk(each);
  world_->scheduler.After(duration, [&node] { node.SlowDisk(Duration(0)); });
}

void Injector::SlowApplyFor(SimNode& node, Duration each, Duration duration) {
  node.SlowApply(each);
  world_->scheduler.After(duration, [&node] { node.SlowApply(Duration(0)); });
}

void Injector::FillDiskFor(SimNode& node, Random& random, Duration duration) {
  node.SetFree(SomeSpace(random));
  for (uint64_t more = random.Uniform(4); more > 0; --more) {
    const Duration after(random.Uniform(static_cast<uint64_t>(duration.count())));
    world_->scheduler.After(after, [this, &node, bytes = SomeSpace(random)] {
      if (!healed_) node.SetFree(bytes);
    });
  }
  world_->scheduler.After(duration, [this, &node] {
    if (!healed_) node.SetFree(std::nullopt);
  });
}

void Injector::InjectDisk(const Fault& fault, Random& random) {
  switch (fault.kind) {
    case FaultKind::k_lose_disk:
      (void)operator_->Lose(random, false);
      return;
    case FaultKind::k_rot_disk:
      (void)operator_->Lose(random, true);
      return;
    case FaultKind::k_rot_some:
      return operator_->RotSome(random);
    case FaultKind::k_keep_copy:
      return operator_->KeepCopies(random);
    case FaultKind::k_copied_disk:
      return operator_->StartCopy(random);
    case FaultKind::k_old_part:
      if (random.Uniform(3) == 0) return operator_->StartWithOtherFormat(random);
      return operator_->PutBackOldPart(random);
    case FaultKind::k_slow_disk: {
      SimNode& node = random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random);
      const uint64_t slowest_ms[] = {20, 200, 2000, 8000};
      const auto each = std::chrono::milliseconds(random.Uniform(slowest_ms[random.Uniform(4)]));
      return SlowDiskFor(node, each, SomeTime(random) * 2);
    }
    case FaultKind::k_slow_apply: {
      SimNode& node = random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random);
      const uint64_t slowest_ms[] = {20, 200, 4000};
      const auto each = std::chrono::milliseconds(random.Uniform(slowest_ms[random.Uniform(3)]));
      return SlowApplyFor(node, each, SomeTime(random) * 2);
    }
    case FaultKind::k_full_disk: {
      const Duration lasts = SomeTime(random) * 2;
      if (random.Uniform(4) > 0) {
        return FillDiskFor(random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random), random,
                           lasts);
      }
      for (const auto& node : world_->nodes) {
        if (random.Uniform(2) == 0) FillDiskFor(*node, random, lasts);
      }
      return;
    }
    default: {
      SimNode& node = random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random);
      if (!node.running()) return;
      node.FailNextSync();
    }
  }
}

// Within the bounds that leases allow for, unless clocks lie. Then everything may happen but to
// whoever reads from a lease: those clients stay away.
void Injector::InjectClock(Random& random) {
  SimNode& node = random.Uniform(2) == 0 ? LeaderOrAny(random) : AnyNode(random);
  const Duration lasts = SomeTime(random) * 2;
  // A clock that nobody reads is no clock.
  const auto count = [&](Path path) {
    if (node.running()) world_->coverage.Hit(path);
  };
  if (!clocks_lie_) {
    count(Path::clock_drifted);
    constexpr int64_t kMost = 20'000;
    const auto speed = static_cast<int64_t>(random.Uniform(2 * kMost + 1)) - kMost;
    return ClockSpeedFor(node, speed, lasts);
  }
  switch (random.Uniform(4)) {
    case 0:
      count(Path::clock_jumped);
      return node.clock().Jump(SomeTime(random) * 5);
    case 1:
      count(Path::clock_went_back);
      return node.clock().Jump(-SomeTime(random));
    case 2:
      count(Path::clock_stood_still);
      return ClockSpeedFor(node, -990'000, lasts);
    default:
      count(Path::clock_raced);
      return ClockSpeedFor(node, 1'000'000 + static_cast<int64_t>(random.Uniform(20'000'000)),
                           lasts);
  }
}

void Injector::ClockSpeedFor(SimNode& node, int64_t parts_per_million, Duration duration) {
  node.clock().SetSpeed(parts_per_million);
  world_->scheduler.After(duration, [&node] { node.clock().SetUsualSpeed(); });
}

void Injector::HealAll() {
  healed_ = true;
  ambushes_.Clear();
  world_->network.HealAll();
  ++network_changes_;
  operator_->LeaveRebuildsAlone();
  for (const auto& node : world_->nodes) {
    node->ClearFaults();
    operator_->Mend(*node);
    operator_->WriteInOwnFormat(*node);
    if (!node->running()) operator_->RestartAfter(*node, Duration(0));
  }
}

}  // namespace raftkv::sim
