// Snapshot streams, with real files on both sides.
#include <gtest/gtest.h>

#include <asio/write.hpp>
#include <filesystem>
#include <fstream>
#include <list>
#include <sstream>

#include "base/random.h"
#include "node/storage/codec.h"
#include "node/storage/snapshot_files.h"
#include "node/transport/test_util.h"

namespace raftkv::transport {
namespace {

namespace fs = std::filesystem;
using raft::NodeId;

// Forwards one connection after another to a port; can stop after a number of bytes.
class Proxy {
 public:
  Proxy(asio::io_context& io, uint16_t target)
      : io_(io), target_(target), acceptor_(io, {asio::ip::make_address("127.0.0.1"), 0}) {
    Accept();
  }
  ~Proxy() { Cut(); }
  std::string address() const {
    return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }
  // The connections under way break once so many more bytes have gone towards the target.
  void CutAfter(uint64_t bytes) { left_ = bytes; }
  void Forward() { left_ = UINT64_MAX; }
  uint64_t forwarded() const { return forwarded_; }

 private:
  struct Pair {
    Pair(asio::ip::tcp::socket in, asio::io_context& io) : a(std::move(in)), b(io) {}
    asio::ip::tcp::socket a;
    asio::ip::tcp::socket b;
    char ab[16384];
    char ba[16384];
  };
  void Accept() {
    acceptor_.async_accept([this](const asio::error_code& error, asio::ip::tcp::socket socket) {
      if (error) return;
      auto pair = std::make_shared<Pair>(std::move(socket), io_);
      asio::error_code failed;
      pair->b.connect({asio::ip::make_address("127.0.0.1"), target_}, failed);
      pairs_.push_back(pair);
      Pump(pair, pair->a, pair->b, pair->ab, true);
      Pump(pair, pair->b, pair->a, pair->ba, false);
      Accept();
    });
  }
  void Pump(std::shared_ptr<Pair> pair, asio::ip::tcp::socket& from, asio::ip::tcp::socket& to,
            char* bytes, bool counted) {
    from.async_read_some(asio::buffer(bytes, 16384),
                         [=, this, &from, &to](const asio::error_code& error, size_t n) {
                           asio::error_code failed;
                           if (error) {
                             to.shutdown(asio::ip::tcp::socket::shutdown_send, failed);
                             return;
                           }
                           if (counted) {
                             if (left_ < n) return Cut();
                             if (left_ != UINT64_MAX) left_ -= n;
                             forwarded_ += n;
                           }
                           asio::write(to, asio::buffer(bytes, n), failed);
                           if (!failed) Pump(pair, from, to, bytes, counted);
                         });
  }
  void Cut() {
    asio::error_code ignored;
    for (const auto& pair : pairs_) {
      pair->a.close(ignored);
      pair->b.close(ignored);
    }
    pairs_.clear();
  }

  asio::io_context& io_;
  uint16_t target_;
  asio::ip::tcp::acceptor acceptor_;
  std::list<std::shared_ptr<Pair>> pairs_;
  uint64_t left_ = UINT64_MAX;
  uint64_t forwarded_ = 0;
};

std::string Contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class SnapshotTransferTest : public testing::Test {
 protected:
  SnapshotTransferTest() {
    std::string pattern = (fs::temp_directory_path() / "raftkv-transport-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    fs::create_directories(root_ / "checkpoint");
    fs::create_directories(root_ / "received");
    SeededRandom random(3);
    for (const auto& [name, bytes] : std::map<std::string, size_t>{
             {"000007.sst", 5'000'000}, {"000008.sst", 1 << 20}, {"CURRENT", 16}, {"EMPTY", 0}}) {
      std::string contents(bytes, '\0');
      for (char& byte : contents) byte = static_cast<char>(random.Next());
      std::ofstream(root_ / "checkpoint" / name, std::ios::binary) << contents;
    }
    receiver_options_.snapshots_dir = (root_ / "received").string();
  }
  ~SnapshotTransferTest() override { fs::remove_all(root_); }

  bool Until(const std::function<bool()>& done) { return RunUntil(io_, done); }
  std::string checkpoint() const { return (root_ / "checkpoint").string(); }

  raft::Message Snapshot(uint64_t cluster = kCluster, uint64_t from = 1, uint64_t id = 99) {
    auto manifest = storage::DescribeCheckpoint(checkpoint(), cluster, id);
    EXPECT_TRUE(manifest.has_value());
    raft::Snapshot snapshot{.index = raft::Index(1000), .term = raft::Term(3)};
    snapshot.conf.voters = {NodeId(1), NodeId(2)};
    snapshot.data = Buffer(manifest->SerializeAsString());
    return {NodeId(from), NodeId(2), raft::Term(4), raft::InstallSnapshot{std::move(snapshot)}};
  }
  // What arrived at `node` is the checkpoint, and the message its InstallSnapshot.
  void ExpectReceived(TestNode& node) {
    ASSERT_EQ(node.handler.received_snapshots.size(), 1u);
    const auto& [message, dir] = node.handler.received_snapshots[0];
    EXPECT_EQ(message.from, NodeId(1));
    EXPECT_EQ(message.As<raft::InstallSnapshot>().snapshot,
              Snapshot().As<raft::InstallSnapshot>().snapshot);
    for (const auto& entry : fs::directory_iterator(checkpoint())) {
      EXPECT_TRUE(Contents(entry.path()) == Contents(fs::path(dir) / entry.path().filename()))
          << entry.path();
    }
  }

  fs::path root_;
  asio::io_context io_;
  Options receiver_options_ = TestOptions();
  LogCapture log_;
};

TEST_F(SnapshotTransferTest, ArrivesWhole) {
  TestNode a(io_, 1);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return !a.handler.sent_snapshots.empty(); }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{true}) << log_.Text();
  ExpectReceived(b);
}

TEST_F(SnapshotTransferTest, MessagesPassWhileASnapshotIsSent) {
  Options slow = TestOptions();
  slow.snapshot_bytes_per_second = 20 << 20;
  TestNode a(io_, 1, slow);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  uint64_t sent = 0;
  ASSERT_TRUE(Until([&] {
    a.transport->Send({Numbered(1, 2, ++sent)});
    return !a.handler.sent_snapshots.empty();
  }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{true});
  EXPECT_GT(b.handler.messages.size(), 1u);
  ExpectReceived(b);
}

TEST_F(SnapshotTransferTest, ResumesAfterACutInTheMiddle) {
  TestNode a(io_, 1);
  TestNode b(io_, 2, receiver_options_);
  Proxy proxy(io_, b.port);
  a.transport->SetPeers({{NodeId(2), proxy.address()}});
  proxy.CutAfter(4'000'000);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 1; }));
  EXPECT_FALSE(a.handler.sent_snapshots[0]);
  EXPECT_TRUE(b.handler.received_snapshots.empty());
  // The receiver has noticed as well, and its files are written.
  ASSERT_TRUE(Until([&] { return log_.Count("the connection of a snapshot broke") == 1; }));

  proxy.Forward();
  const uint64_t before = proxy.forwarded();
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 2; }));
  EXPECT_TRUE(a.handler.sent_snapshots[1]) << log_.Text();
  ExpectReceived(b);
  // Of the 6 MB, at least two whole chunks did not travel again.
  EXPECT_LT(proxy.forwarded() - before, 4'200'000u);
}

TEST_F(SnapshotTransferTest, AFileThatDoesNotMatchItsChecksumIsRefused) {
  TestNode a(io_, 1);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  const raft::Message message = Snapshot();
  {
    std::fstream file(root_ / "checkpoint" / "000008.sst",
                      std::ios::in | std::ios::out | std::ios::binary);
    const char byte = static_cast<char>(~file.get());
    file.seekp(0);
    file.put(byte);
  }
  a.transport->SendSnapshot(message, checkpoint());
  ASSERT_TRUE(Until([&] { return !a.handler.sent_snapshots.empty(); }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{false});
  EXPECT_TRUE(b.handler.received_snapshots.empty());
}

TEST_F(SnapshotTransferTest, ABadChunkEndsTheTransferWithAReason) {
  TestNode b(io_, 2, receiver_options_);
  RawClient client(io_, b.port);
  ASSERT_EQ(client.Greet(io_, v1::Hello::SNAPSHOT, 1, 2).verdict(), v1::HelloReply::OK);
  v1::SnapshotOffer offer;
  storage::ToProto(Snapshot(), NodeId(1), offer.mutable_message());
  client.SendFrame(offer);
  v1::SnapshotResume resume;
  ASSERT_TRUE(client.Receive(io_, &resume));
  EXPECT_TRUE(resume.accept());
  v1::SnapshotChunk chunk;
  chunk.set_file("../escape");
  chunk.set_data("x");
  client.SendFrame(chunk);
  v1::SnapshotDone done;
  ASSERT_TRUE(client.Receive(io_, &done));
  EXPECT_FALSE(done.ok());
  EXPECT_FALSE(done.message().empty());
  EXPECT_TRUE(b.handler.received_snapshots.empty());
  EXPECT_FALSE(fs::exists(root_ / "escape"));
}

TEST_F(SnapshotTransferTest, AnIncompleteSnapshotIsNotTakenOver) {
  TestNode b(io_, 2, receiver_options_);
  RawClient client(io_, b.port);
  client.Greet(io_, v1::Hello::SNAPSHOT, 1, 2);
  v1::SnapshotOffer offer;
  storage::ToProto(Snapshot(), NodeId(1), offer.mutable_message());
  client.SendFrame(offer);
  v1::SnapshotResume resume;
  ASSERT_TRUE(client.Receive(io_, &resume));
  v1::SnapshotChunk end;
  end.set_end(true);
  client.SendFrame(end);
  v1::SnapshotDone done;
  ASSERT_TRUE(client.Receive(io_, &done));
  EXPECT_FALSE(done.ok());
  EXPECT_TRUE(b.handler.received_snapshots.empty());
}

TEST_F(SnapshotTransferTest, OneAtATimeIsReceived) {
  TestNode b(io_, 2, receiver_options_);
  RawClient first(io_, b.port);
  ASSERT_EQ(first.Greet(io_, v1::Hello::SNAPSHOT, 3, 2).verdict(), v1::HelloReply::OK);
  TestNode a(io_, 1);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return !a.handler.sent_snapshots.empty(); }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{false});
  EXPECT_EQ(log_.Count("verdict=BUSY"), 1) << log_.Text();
  // The first one gives up: the way is free.
  first.Close();
  a.handler.sent_snapshots.clear();
  ASSERT_TRUE(Until([&] { return log_.Count("the connection of a snapshot broke") == 1; }));
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return !a.handler.sent_snapshots.empty(); }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{true});
}

TEST_F(SnapshotTransferTest, TheSameMemberTakesItsOwnOldTransfersPlace) {
  TestNode b(io_, 2, receiver_options_);
  RawClient old(io_, b.port);
  ASSERT_EQ(old.Greet(io_, v1::Hello::SNAPSHOT, 1, 2).verdict(), v1::HelloReply::OK);
  TestNode a(io_, 1);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return !a.handler.sent_snapshots.empty(); }));
  EXPECT_EQ(a.handler.sent_snapshots, std::vector{true});
  EXPECT_TRUE(old.closed());
}

TEST_F(SnapshotTransferTest, WhatCannotBeTakenIsRefusedWithAReason) {
  receiver_options_.max_snapshot_bytes = 1000;
  TestNode a(io_, 1);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 1; }));
  EXPECT_EQ(log_.Count("refused a snapshot"), 1);
  a.transport->SendSnapshot(Snapshot(0xc2), checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 2; }));
  EXPECT_EQ(log_.Count("belongs to another cluster"), 2);  // at both ends
  raft::Message no_manifest = Snapshot();
  std::get<raft::InstallSnapshot>(no_manifest.body).snapshot.data = Buffer();
  a.transport->SendSnapshot(no_manifest, checkpoint());
  EXPECT_EQ(a.handler.sent_snapshots.size(), 2u);
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 3; }));
  raft::Message no_peer = Snapshot();
  no_peer.to = NodeId(77);
  a.transport->SendSnapshot(no_peer, checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 4; }));
  EXPECT_EQ(a.handler.sent_snapshots, (std::vector{false, false, false, false}));
}

TEST_F(SnapshotTransferTest, ASenderThatStallsIsGivenUp) {
  receiver_options_.snapshot_idle_limit = milliseconds(100);
  TestNode b(io_, 2, receiver_options_);
  RawClient client(io_, b.port);
  client.Greet(io_, v1::Hello::SNAPSHOT, 1, 2);
  v1::SnapshotDone done;
  ASSERT_TRUE(client.Receive(io_, &done));
  EXPECT_FALSE(done.ok());
  EXPECT_TRUE(Until([&] { return client.closed(); }));
}

// A slow disk: the node ended when the next transfer had removed what it was about to install.
TEST_F(SnapshotTransferTest, WhatWaitsToBeInstalledIsNotRemovedByTheNextTransfer) {
  TestNode a(io_, 1);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 1; }));
  const raft::Message other = Snapshot(kCluster, 1, 100);
  a.transport->SendSnapshot(other, checkpoint());
  ASSERT_TRUE(Until([&] { return a.handler.sent_snapshots.size() == 2; }));
  ExpectReceived(b);
  EXPECT_EQ(log_.Count("waits to be installed"), 2u) << "each side says so";
  // It is installed, or was not wanted.
  fs::remove_all(b.handler.received_snapshots[0].second);
  a.transport->SendSnapshot(other, checkpoint());
  EXPECT_TRUE(Until([&] { return b.handler.received_snapshots.size() == 2; }));
}

TEST_F(SnapshotTransferTest, StopInTheMiddleIsPromptAndSilent) {
  Options slow = TestOptions();
  slow.snapshot_bytes_per_second = 2 << 20;
  TestNode a(io_, 1, slow);
  TestNode b(io_, 2, receiver_options_);
  a.Dial(b);
  a.transport->SendSnapshot(Snapshot(), checkpoint());
  ASSERT_TRUE(Until([&] { return log_.Count("receiving a snapshot") == 1; }));
  b.transport->Stop();
  a.transport->Stop();
  RunFor(io_, milliseconds(20));
  EXPECT_TRUE(a.handler.sent_snapshots.empty());
  EXPECT_TRUE(b.handler.received_snapshots.empty());
}

}  // namespace
}  // namespace raftkv::transport
