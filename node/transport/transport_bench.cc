// Messages per second and CPU per message between two transports in one process, one thread each:
//
//   build/bin/transport_bench [messages] [bytes of each entry] [messages of each Send]
#include <sys/resource.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "node/transport/transport.h"

namespace raftkv::transport {
namespace {

constexpr uint64_t kWindow = 4096;  // messages on the way

class BenchHandler final : public Handler {
 public:
  void OnMessages(std::vector<raft::Message> messages) override {
    ++batches;
    received.fetch_add(messages.size(), std::memory_order_relaxed);
  }
  void OnCall(raft::NodeId, v1::PeerCall, ReplyFn) override {}
  void OnStrangerCall(const v1::Hello&, v1::PeerCall, ReplyFn) override {}
  v1::HelloReply::Verdict Admit(raft::NodeId) override { return v1::HelloReply::OK; }
  void TellVoters(v1::HelloReply* reply) const override { reply->set_voter(true); }
  void OnPeerUp(raft::NodeId) override { up = true; }
  void OnPeerDown(raft::NodeId) override {}
  void OnPeerVerdict(raft::NodeId, const v1::HelloReply&) override {}
  void OnSnapshotReceived(raft::Message, std::string) override {}
  void OnSnapshotSent(raft::NodeId, bool) override {}

  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> batches{0};
  std::atomic<bool> up{false};
};

struct Side {
  explicit Side(uint64_t id) : work(asio::make_work_guard(io)) {
    Options options;
    options.listen_address = "127.0.0.1:0";
    transport = MakeTransport(io, options, &handler);
    transport->SetIdentity({.cluster_id = 1, .member_id = raft::NodeId(id), .name = ""});
    if (const Status status = transport->Start(); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      std::exit(1);
    }
  }
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work;
  BenchHandler handler;
  std::unique_ptr<Transport> transport;
};

double ThreadCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](timeval t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int Main(uint64_t count, size_t bytes, uint64_t burst) {
  Side a(1);
  Side b(2);
  double receiver_cpu = 0;
  std::thread receiver([&] {
    b.io.run();
    receiver_cpu = ThreadCpuSeconds();
  });
  a.transport->SetPeers({{raft::NodeId(2), "127.0.0.1:" + std::to_string(b.transport->port())}});
  while (!a.handler.up) a.io.run_one();

  const Buffer payload(std::string(bytes, 'v'));
  const double cpu_before = ThreadCpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  uint64_t sent = 0;
  while (b.handler.received.load(std::memory_order_relaxed) < count) {
    const uint64_t on_the_way = sent - b.handler.received.load(std::memory_order_relaxed);
    if (sent < count && on_the_way + burst <= kWindow) {
      std::vector<raft::Message> messages;
      for (uint64_t i = 0; i < std::min(burst, count - sent); ++i) {
        const raft::Index index(sent + i + 1);
        messages.push_back(
            {raft::NodeId(1), raft::NodeId(2), raft::Term(3),
             raft::AppendEntries{.prev = {raft::Term(3), index.Prev()},
                                 .entries = {raft::Entry{raft::Term(3), index, payload}},
                                 .commit = index.Prev()}});
      }
      sent += messages.size();
      a.transport->Send(std::move(messages));
      a.io.poll();
    } else {
      a.io.run_one_for(std::chrono::microseconds(200));
    }
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double sender_cpu = ThreadCpuSeconds() - cpu_before;
  asio::post(b.io, [&] {
    b.transport->Stop();
    b.work.reset();
    b.io.stop();
  });
  receiver.join();
  a.transport->Stop();
  const double n = static_cast<double>(count);
  std::printf(
      "%.0f messages of %zu bytes in bursts of %llu: %.0f/s, CPU per message: sender %.2f us, "
      "receiver %.2f us; %.1f messages per OnMessages\n",
      n, bytes, static_cast<unsigned long long>(burst), n / elapsed.count(), sender_cpu / n * 1e6,
      receiver_cpu / n * 1e6, n / static_cast<double>(b.handler.batches.load()));
  return 0;
}

}  // namespace
}  // namespace raftkv::transport

int main(int argc, char** argv) {
  const auto arg = [&](int i, uint64_t otherwise) {
    return argc > i ? std::strtoull(argv[i], nullptr, 10) : otherwise;
  };
  return raftkv::transport::Main(arg(1, 1'000'000), arg(2, 300), std::max<uint64_t>(arg(3, 1), 1));
}
