// How fast one core applies and reads: kv_bench [--benchmark_filter=...]. Keys of 8 bytes, values
// of 256 (docs/performance.md).
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/kv/test_support.h"

namespace raftkv::kv {
namespace {

constexpr size_t kKeys = 100'000;
constexpr size_t kValueBytes = 256;

std::string KeyOf(uint64_t number) {
  char key[9];
  std::snprintf(key, sizeof(key), "%08u", static_cast<unsigned>(number % kKeys));
  return key;
}

// Commands for entries: many more than one slice, so that keys differ from slice to slice.
std::vector<Buffer> PutCommands(size_t count, bool in_order) {
  SeededRandom random(1);
  std::vector<Buffer> commands;
  for (size_t i = 0; i < count; ++i) {
    const std::string key = KeyOf(in_order ? i : random.Next());
    commands.emplace_back(
        Put(key, std::string(kValueBytes, static_cast<char>('a' + i % 26))).SerializeAsString());
  }
  return commands;
}

class Bench {
 public:
  explicit Bench(StoreKind kind) : store_(TestStore::New(kind)) {
    machine_ = StateMachine::Open(store_->get()).value();
  }

  StateMachine& machine() { return *machine_; }

  void Apply(const std::vector<Buffer>& commands, size_t slice) {
    entries_.clear();
    for (size_t i = 0; i < slice; ++i) {
      entries_.push_back({.term = raft::Term(1),
                          .index = raft::Index(++index_),
                          .payload = commands[index_ % commands.size()]});
    }
    benchmark::DoNotOptimize(machine_->Apply(entries_).value());
  }

  void Fill() {
    const auto commands = PutCommands(kKeys, /*in_order=*/true);
    for (size_t done = 0; done < kKeys; done += 1000) Apply(commands, 1000);
    if (!store_->get()->Flush().ok()) std::abort();
  }

 private:
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<StateMachine> machine_;
  std::vector<raft::Entry> entries_;
  uint64_t index_ = 0;
};

void Items(benchmark::State& state, int64_t per_iteration) {
  state.SetItemsProcessed(state.iterations() * per_iteration);
}

template <StoreKind kKind>
void ApplyPuts(benchmark::State& state) {
  const auto commands = PutCommands(kKeys, /*in_order=*/false);
  Bench bench(kKind);
  const auto slice = static_cast<size_t>(state.range(0));
  for (auto _ : state) bench.Apply(commands, slice);
  Items(state, state.range(0));
}

// Overwrites keys, compacts and collects as it goes, as a node does.
template <StoreKind kKind>
void ApplyAndCollect(benchmark::State& state) {
  const auto commands = PutCommands(kKeys, /*in_order=*/false);
  Bench bench(kKind);
  bench.Fill();
  const auto slice = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    bench.Apply(commands, slice);
    const uint64_t revision = bench.machine().applied().revision;
    if (revision % 4096 < slice) {
      bench.Apply({Buffer(Compact(revision - 1000).SerializeAsString())}, 1);
    }
    bench.machine().CollectGarbage(2 * slice).value();
  }
  Items(state, state.range(0));
}

template <StoreKind kKind>
void GetNewest(benchmark::State& state) {
  Bench bench(kKind);
  bench.Fill();
  SeededRandom random(2);
  for (auto _ : state) benchmark::DoNotOptimize(bench.machine().Get(KeyOf(random.Next())).value());
  Items(state, 1);
}

template <StoreKind kKind>
void GetAtRevision(benchmark::State& state) {
  Bench bench(kKind);
  bench.Fill();
  bench.Fill();
  SeededRandom random(2);
  for (auto _ : state) {
    benchmark::DoNotOptimize(bench.machine().Get(KeyOf(random.Next()), kKeys + 1).value());
  }
  Items(state, 1);
}

template <StoreKind kKind>
void RangeOf100(benchmark::State& state) {
  Bench bench(kKind);
  bench.Fill();
  SeededRandom random(2);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        bench.machine().Range({.start = KeyOf(random.Next()), .limit = 100}).value());
  }
  Items(state, 100);
}

template <StoreKind kKind>
void HashOf100kKeys(benchmark::State& state) {
  Bench bench(kKind);
  bench.Fill();
  for (auto _ : state) benchmark::DoNotOptimize(bench.machine().Hash().value());
  Items(state, kKeys);
}

BENCHMARK(ApplyPuts<StoreKind::kMemory>)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(ApplyAndCollect<StoreKind::kMemory>)->Arg(64);
BENCHMARK(GetNewest<StoreKind::kMemory>);
BENCHMARK(GetAtRevision<StoreKind::kMemory>);
BENCHMARK(RangeOf100<StoreKind::kMemory>);
BENCHMARK(HashOf100kKeys<StoreKind::kMemory>);

}  // namespace
}  // namespace raftkv::kv
