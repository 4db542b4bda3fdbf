// How long the log takes to make entries durable and the state to take and give values, on the file
// system of TMPDIR (docs/performance-parts.md, section Storage).
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "node/storage/fs_util.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"

namespace raftkv::storage {
namespace {

constexpr size_t kValueBytes = 300;

class BenchDir {
 public:
  BenchDir() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/raftkv-bench-XXXXXX";
    CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~BenchDir() { (void)RemoveTree(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

double Quantile(std::vector<double>* values, double q) {
  if (values->empty()) return 0;
  const auto nth = values->begin() + static_cast<ptrdiff_t>(q * (values->size() - 1));
  std::ranges::nth_element(*values, nth);
  return *nth;
}

// Appends batches of range(0) entries, each batch durable before the next; truncates like a node.
void LogAppend(benchmark::State& state) {
  BenchDir dir;
  std::vector<double> write_us;
  std::vector<double> sync_us;
  const bool recycled = state.range(1) != 0;
  LogOptions options;
  if (recycled) options.write_buffer_bytes = 512 << 10;
  options.on_append = [&](std::chrono::nanoseconds write, std::chrono::nanoseconds sync) {
    write_us.push_back(static_cast<double>(write.count()) / 1000);
    sync_us.push_back(static_cast<double>(sync.count()) / 1000);
  };
  auto log = OpenRocksLog(dir.path() + "/log", options).value();
  const auto n = static_cast<uint64_t>(state.range(0));
  const Buffer payload(std::string(kValueBytes, 'v'));
  raft::Index last;
  const auto append = [&] {
    LogWrite write;
    for (uint64_t i = 0; i < n; ++i) write.entries.push_back({raft::Term(1), ++last, payload});
    write.hard_state = raft::HardState{raft::Term(1), raft::NodeId(1), last.Prev()};
    CHECK(log->Append({&write, 1}).ok());
    if (last.value % 8192 < n && last.value > 32768) {
      CHECK(log->TruncatePrefix(last - 16384).ok());
    }
  };
  // The first two files of the write-ahead log grow on disk; then they are used again.
  while (recycled && last.value * kValueBytes < 4 * options.write_buffer_bytes) append();
  write_us.clear();
  sync_us.clear();
  for (auto _ : state) append();
  state.SetItemsProcessed(static_cast<int64_t>(n) * state.iterations());
  state.counters["write_p50_us"] = Quantile(&write_us, 0.5);
  state.counters["sync_p50_us"] = Quantile(&sync_us, 0.5);
  state.counters["sync_p99_us"] = Quantile(&sync_us, 0.99);
}
BENCHMARK(LogAppend)
    ->ArgNames({"entries", "recycled"})
    ->ArgsProduct({{1, 16, 64}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// Reads of 64 entries, from memory (0) or from disk (1).
void LogRead(benchmark::State& state) {
  BenchDir dir;
  LogOptions options;
  options.cache_bytes = state.range(0) == 0 ? 64 << 20 : 0;
  auto log = OpenRocksLog(dir.path() + "/log", options).value();
  const Buffer payload(std::string(kValueBytes, 'v'));
  LogWrite write;
  for (uint64_t i = 1; i <= 40'000; ++i) {
    write.entries.push_back({raft::Term(1), raft::Index(i), payload});
  }
  CHECK(log->Append({&write, 1}).ok());
  SeededRandom random(1);
  for (auto _ : state) {
    const raft::Index low(1 + random.Uniform(39'000));
    benchmark::DoNotOptimize(log->entries(low, low + 64, 1 << 20).value());
  }
  state.SetItemsProcessed(64 * state.iterations());
}
BENCHMARK(LogRead)->ArgName("from_disk")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

std::string KeyOf(uint64_t i) { return "key" + std::to_string(10'000'000 + i); }

// Batches of range(0) values, not synced, as the apply thread writes them.
void StateWrite(benchmark::State& state) {
  BenchDir dir;
  auto store = OpenRocksState(dir.path() + "/state", {}).value();
  const std::string value(kValueBytes, 'v');
  SeededRandom random(1);
  const auto batch = store->NewBatch();
  for (auto _ : state) {
    batch->Clear();
    for (int i = 0; i < state.range(0); ++i) batch->Put(KeyOf(random.Uniform(1'000'000)), value);
    CHECK(store->Write(*batch).ok());
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(StateWrite)->Arg(1)->Arg(16)->Arg(64)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Point reads of range(0) keys: few are in the memtable and caches, many are not.
void StateGet(benchmark::State& state) {
  BenchDir dir;
  auto store = OpenRocksState(dir.path() + "/state", {}).value();
  const auto keys = static_cast<uint64_t>(state.range(0));
  const std::string value(kValueBytes, 'v');
  const auto batch = store->NewBatch();
  for (uint64_t i = 0; i < keys; ++i) {
    batch->Put(KeyOf(i), value);
    if (batch->bytes() < 100'000 && i + 1 < keys) continue;
    CHECK(store->Write(*batch).ok());
    batch->Clear();
  }
  if (state.range(1) != 0) CHECK(store->Flush().ok());
  SeededRandom random(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(store->Get(KeyOf(random.Uniform(keys))).value().value());
  }
}
BENCHMARK(StateGet)
    ->ArgNames({"keys", "flushed"})
    ->Args({10'000, 0})
    ->Args({10'000, 1})
    ->Args({300'000, 1})
    ->Unit(benchmark::kMicrosecond);

void StateView(benchmark::State& state) {
  BenchDir dir;
  auto store = OpenRocksState(dir.path() + "/state", {}).value();
  for (auto _ : state) benchmark::DoNotOptimize(store->View());
}
BENCHMARK(StateView);

}  // namespace
}  // namespace raftkv::storage
