// How fast one core applies and reads: kv_bench [--benchmark_filter=...]. Keys of 8 bytes, values
// of 256 (docs/performance-parts.md).
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "node/kv/test_support.h"
#include "node/storage/memory_state.h"

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

// Takes batches as RocksDB does, into one string, and drops them: what is left is the state
// machine's own work.
class SinkStore final : public TestStore, public storage::StateStore {
 public:
  storage::StateStore* get() override { return this; }
  void Crash() override {}

  using Value = Result<std::optional<std::string>>;
  Value Get(std::string_view key) const override { return empty_.Get(key); }
  std::shared_ptr<const storage::StateView> View() const override { return empty_.View(); }
  std::unique_ptr<storage::StateBatch> NewBatch() const override {
    return std::make_unique<Batch>();
  }
  Status Write(storage::StateBatch&) override { return Status::Ok(); }
  Value FlushedGet(std::string_view key) const override { return empty_.FlushedGet(key); }
  Status Flush() override { return Status::Ok(); }
  Status Checkpoint(const std::string& dir) override { return empty_.Checkpoint(dir); }
  Status Replace(const std::string& dir, raft::EntryId snapshot) override {
    return empty_.Replace(dir, snapshot);
  }
  std::optional<raft::EntryId> installing() const override { return std::nullopt; }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return empty_.FinishInstallation(snapshot);
  }
  storage::StateStats stats() const override { return {}; }

 private:
  class Batch final : public storage::StateBatch {
   public:
    void Put(std::string_view key, std::string_view value) override {
      bytes_.append(key).append(value);
    }
    void Delete(std::string_view key) override { bytes_.append(key); }
    void Clear() override { bytes_.clear(); }
    size_t bytes() const override { return bytes_.size(); }

   private:
    std::string bytes_;
  };

  storage::MemoryState empty_;
};

class Bench {
 public:
  explicit Bench(StoreKind kind)
      : Bench(TestStore::New(kind, storage::StateOptions().memtable_bytes)) {}
  explicit Bench(std::unique_ptr<TestStore> store)
      : store_(std::move(store)), machine_(StateMachine::Open(store_->get()).value()) {}

  StateMachine& machine() { return *machine_; }

  void Apply(const std::vector<Buffer>& commands, size_t slice) {
    entries_.clear();
    for (size_t i = 0; i < slice; ++i) {
      entries_.push_back({.term = raft::Term(1),
                          .index = raft::Index(++index_),
                          .payload = commands[index_ % commands.size()]});
    }
    benchmark::DoNotOptimize(machine_->Apply(entries_).value());
    if (!store_->get()->CatchUp().ok()) std::abort();
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

void ApplyPutsToNowhere(benchmark::State& state) {
  const auto commands = PutCommands(kKeys, /*in_order=*/false);
  Bench bench(std::make_unique<SinkStore>());
  const auto slice = static_cast<size_t>(state.range(0));
  for (auto _ : state) bench.Apply(commands, slice);
  Items(state, state.range(0));
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

BENCHMARK(ApplyPutsToNowhere)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(ApplyPuts<StoreKind::kMemory>)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(ApplyAndCollect<StoreKind::kMemory>)->Arg(64);
BENCHMARK(GetNewest<StoreKind::kMemory>);
BENCHMARK(GetAtRevision<StoreKind::kMemory>);
BENCHMARK(RangeOf100<StoreKind::kMemory>);
BENCHMARK(HashOf100kKeys<StoreKind::kMemory>);
BENCHMARK(ApplyPuts<StoreKind::kRocks>)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(ApplyAndCollect<StoreKind::kRocks>)->Arg(64);
BENCHMARK(GetNewest<StoreKind::kRocks>);
BENCHMARK(GetAtRevision<StoreKind::kRocks>);
BENCHMARK(RangeOf100<StoreKind::kRocks>);
BENCHMARK(HashOf100kKeys<StoreKind::kRocks>);

}  // namespace
}  // namespace raftkv::kv
