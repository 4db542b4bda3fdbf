#include "operator/raftkv/leader_watch.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <future>
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
      if (hangs) std::this_thread::sleep_for(seconds(1));
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

class LeaderWatchTest : public ::testing::Test {
 protected:
  LeaderWatchTest()
      : watch_(std::make_unique<LeaderWatch>(
            &http_,
            [this](const kube::Key& key) {
              last_ = key;
              ++lost_;
            },
            LeaderWatchOptions{.period = milliseconds(10), .limit = milliseconds(300)})) {}

  static void Until(const std::function<bool()>& condition) {
    while (!condition()) std::this_thread::sleep_for(milliseconds(1));
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
  Until([&] { return node_.asked >= 5; });
  EXPECT_EQ(lost_, 0);
}

TEST_F(LeaderWatchTest, OneThatLeadsNoMoreIsReportedOnceAndNotAskedAgain) {
  watch_->Set(key_, "127.0.0.1");
  Until([&] { return node_.asked >= 2; });
  node_.leads = false;
  Until([&] { return lost_ == 1; });
  EXPECT_EQ(last_, key_);
  const int asked = node_.asked;
  // Another one, that leads, is asked many times meanwhile.
  node_.leads = true;
  watch_->Set({"prod", "other"}, "127.0.0.1");
  Until([&] { return node_.asked >= asked + 20; });
  EXPECT_EQ(lost_, 1);
  // It leads again, and is watched again.
  watch_->Set({"prod", "other"}, "");
  watch_->Set(key_, "127.0.0.1");
  const int before = node_.asked;
  Until([&] { return node_.asked >= before + 3; });
  node_.leads = false;
  Until([&] { return lost_ == 2; });
}

TEST_F(LeaderWatchTest, OneThatIsGoneOrHangsIsReported) {
  watch_->Set(key_, "127.0.0.1");
  Until([&] { return node_.asked >= 2; });
  node_.hangs = true;
  Until([&] { return lost_ == 1; });
  node_.hangs = false;
  watch_->Set(key_, "127.0.0.1");
  const int asked = node_.asked;
  Until([&] { return node_.asked >= asked + 2; });
  node_.Stop();
  Until([&] { return lost_ == 2; });
  watch_->Set(key_, "no address");
  Until([&] { return lost_ == 3; });
}

TEST_F(LeaderWatchTest, EndsWhileItAsks) {
  node_.hangs = true;
  watch_->Set(key_, "127.0.0.1");
  Until([&] { return node_.asked >= 1; });
  watch_.reset();
  EXPECT_EQ(lost_, 0);
}

}  // namespace
}  // namespace raftkv::op
