#include "operator/raftkv/leader_watch.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace raftkv::op {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A node that says what it is told to.
class FakeNode {
 public:
  FakeNode() {
    server_.set_keep_alive_max_count(1000);
    server_.Get("/admin/status", [this](const httplib::Request&, httplib::Response& response) {
      ++asked;
      while (hangs) std::this_thread::sleep_for(milliseconds(1));
      response.set_content(std::string(R"({"member_id": "00000000000000a1", "role": ")") +
                               (leads ? "LEADER" : "FOLLOWER") + R"("})",
                           "application/json");
    });
    port = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeNode() { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    hangs = false;
    server_.stop();
    thread_.join();
  }

  std::atomic<bool> leads = true;
  std::atomic<bool> hangs = false;
  std::atomic<int> asked = 0;
  int port = 0;

 private:
  httplib::Server server_;
  std::thread thread_;
};

// No answer is too late here, however slow the machine: a limit of 300 ms made leaders that were
// answered for late lost ones, and waited for ever for questions that nobody asked any more.
constexpr Duration kNoLimit = std::chrono::minutes(10);

class LeaderWatchTest : public ::testing::Test {
 protected:
  LeaderWatchTest() { Watch(kNoLimit); }

  void Watch(Duration limit) {
    watch_ = std::make_unique<LeaderWatch>(
        &http_,
        [this](const kube::Key& key) {
          last_ = key;
          ++lost_;
        },
        LeaderWatchOptions{.period = milliseconds(10), .limit = limit});
  }

  // Before ctest ends the whole program without a word.
  static bool Comes(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }

  const kube::Key key_{"prod", "store"};
  FakeNode node_;
  NodeHttp http_{{.port = node_.port}};
  std::atomic<int> lost_ = 0;
  kube::Key last_;
  std::unique_ptr<LeaderWatch> watch_;
};

TEST_F(LeaderWatchTest, ALeaderIsAskedAgainAndAgainAndNothingIsReported) {
  watch_->Set(key_, "127.0.0.1");
  ASSERT_TRUE(Comes([&] { return node_.asked >= 5; }));
  EXPECT_EQ(lost_, 0);
}

TEST_F(LeaderWatchTest, OneThatLeadsNoMoreIsReportedOnceAndNotAskedAgain) {
  watch_->Set(key_, "127.0.0.1");
  ASSERT_TRUE(Comes([&] { return node_.asked >= 2; }));
  node_.leads = false;
  ASSERT_TRUE(Comes([&] { return lost_ == 1; }));
  EXPECT_EQ(last_, key_);
  const int asked = node_.asked;
  // Another one, that leads, is asked many times meanwhile.
  node_.leads = true;
  watch_->Set({"prod", "other"}, "127.0.0.1");
  ASSERT_TRUE(Comes([&] { return node_.asked >= asked + 20; }));
  EXPECT_EQ(lost_, 1);
  // It leads again, and is watched again.
  watch_->Set({"prod", "other"}, "");
  watch_->Set(key_, "127.0.0.1");
  const int before = node_.asked;
  ASSERT_TRUE(Comes([&] { return node_.asked >= before + 3; }));
  node_.leads = false;
  EXPECT_TRUE(Comes([&] { return lost_ == 2; }));
}

TEST_F(LeaderWatchTest, OneThatIsGoneIsReported) {
  watch_->Set(key_, "127.0.0.1");
  ASSERT_TRUE(Comes([&] { return node_.asked >= 2; }));
  node_.Stop();
  EXPECT_TRUE(Comes([&] { return lost_ == 1; }));
  watch_->Set(key_, "no address");
  EXPECT_TRUE(Comes([&] { return lost_ == 2; }));
}

// The limit is short here: an answer never comes, so that none can be too late.
TEST_F(LeaderWatchTest, OneThatHangsIsReported) {
  node_.hangs = true;
  Watch(milliseconds(100));
  watch_->Set(key_, "127.0.0.1");
  EXPECT_TRUE(Comes([&] { return lost_ == 1; }));
}

TEST_F(LeaderWatchTest, EndsWhileItAsks) {
  node_.hangs = true;
  watch_->Set(key_, "127.0.0.1");
  ASSERT_TRUE(Comes([&] { return node_.asked >= 1; }));
  watch_.reset();
  EXPECT_EQ(lost_, 0);
}

}  // namespace
}  // namespace raftkv::op
