#include "operator/kube/events.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "operator/kube/test_api.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

Object Cluster(const std::string& name) {
  Object object(Resource{"raftkv.dev", "v1alpha1", "raftkvs", "RaftKV"}, {"n", name});
  object.Set("/metadata/uid", "uid-of-" + name);
  return object;
}

EventNote Note(const std::string& note, const std::string& reason = "Scaled") {
  return {.warning = false, .reason = reason, .action = "AddLearner", .note = note};
}

class EventsTest : public testing::Test {
 protected:
  void SetUp() override { Make({}); }
  void Make(EventOptions options) {
    recorder_.reset();
    options.controller = "raftkv.dev/operator";
    options.instance = "pod-1";
    recorder_ = std::make_unique<EventRecorder>(&api_, options, &timing_, 1);
  }
  bool Flush() { return recorder_->Flush(seconds(5)); }
  std::vector<Object> Events() { return api_.All(resources::kEvents); }

  FakeTiming timing_{FakeTiming::Mode::kManual};
  MemoryApi api_;
  std::unique_ptr<EventRecorder> recorder_;
};

TEST_F(EventsTest, HasTheFieldsThatTheApiWants) {
  recorder_->Record(Cluster("a"), Note("one more member"));
  ASSERT_TRUE(Flush());
  ASSERT_EQ(Events().size(), 1u);
  Object event = Events()[0];
  EXPECT_EQ(event.api_version(), "events.k8s.io/v1");
  EXPECT_EQ(event.ns(), "n");
  EXPECT_EQ(event.String("/reportingController"), "raftkv.dev/operator");
  EXPECT_EQ(event.String("/reportingInstance"), "pod-1");
  EXPECT_EQ(event.String("/type"), "Normal");
  EXPECT_EQ(event.String("/regarding/uid"), "uid-of-a");
  EXPECT_TRUE(ParseTime(event.String("/eventTime")));
}

TEST_F(EventsTest, TheSameAgainIsASeries) {
  for (int i = 0; i < 5; ++i) {
    recorder_->Record(Cluster("a"), Note("same"));
    ASSERT_TRUE(Flush());
  }
  ASSERT_EQ(Events().size(), 1u);
  EXPECT_EQ(Events()[0].Int("/series/count"), 2) << "the second one is told at once";
  // The rest when the interval is over, in one call.
  timing_.Advance(seconds(30));
  EXPECT_TRUE(Eventually([&] { return Events()[0].Int("/series/count") == 5; }));
  EXPECT_EQ(recorder_->stats().sent, 3u);
  // After 6 quiet minutes it is a new event.
  timing_.Advance(minutes(7));
  recorder_->Record(Cluster("a"), Note("same"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 2u);
}

TEST_F(EventsTest, TenAlikeIn600SecondsAreCombined) {
  for (int i = 0; i < 20; ++i) {
    recorder_->Record(Cluster("a"), Note("index " + std::to_string(i)));
    ASSERT_TRUE(Flush());
  }
  EXPECT_EQ(Events().size(), 11u);
  int combined = 0;
  for (const Object& event : Events()) {
    combined += event.String("/note").starts_with("(combined from similar events): ");
  }
  EXPECT_EQ(combined, 1);
  timing_.Advance(seconds(601));
  recorder_->Record(Cluster("a"), Note("index 99"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 12u);
}

TEST_F(EventsTest, AnObjectHas25AtOnceAndThenOneIn300Seconds) {
  for (int i = 0; i < 40; ++i) {
    recorder_->Record(Cluster("a"), Note("x", "Reason" + std::to_string(i)));
  }
  recorder_->Record(Cluster("b"), Note("x"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 26u);
  EXPECT_EQ(recorder_->stats().dropped, 15u);
  timing_.Advance(seconds(300));
  for (int i = 0; i < 5; ++i) {
    recorder_->Record(Cluster("a"), Note("x", "Later" + std::to_string(i)));
  }
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 27u);
}

// A bootstrap, 3 to 5 and back are more than 25 steps: the later ones were silently dropped.
TEST_F(EventsTest, EachStepIsTold) {
  for (int i = 0; i < 40; ++i) {
    EventNote step = Note("x", "Reason" + std::to_string(i));
    step.kind = EventKind::kStep;
    recorder_->Record(Cluster("a"), step);
  }
  // They take nothing from what else may be told.
  recorder_->Record(Cluster("a"), Note("x", "Refused"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 41u);
  EXPECT_EQ(recorder_->stats().dropped, 0u);
}

// A burst of refusals swallowed the warning that the quorum is lost.
TEST_F(EventsTest, ConditionsAreToldWhateverElseWas) {
  for (int i = 0; i < 40; ++i) {
    recorder_->Record(Cluster("a"), Note("x", "Refused" + std::to_string(i)));
  }
  EventNote flaps = Note("a pod", "MembersDown");
  flaps.kind = EventKind::kCondition;
  for (int i = 0; i < 40; ++i) recorder_->Record(Cluster("a"), flaps);
  EventNote lost = Note("two pods", "QuorumLost");
  lost.kind = EventKind::kCondition;
  recorder_->Record(Cluster("a"), lost);
  ASSERT_TRUE(Flush());
  int told = 0;
  for (const Object& event : Events()) told += event.String("/reason") == "QuorumLost";
  EXPECT_EQ(told, 1);
  EXPECT_EQ(Events().size(), 25u + 2u);
  EXPECT_EQ(recorder_->stats().dropped, 15u + 15u) << "one reason has its limit too";
}

TEST_F(EventsTest, ACountThatTheServerRefusesIsDroppedAndOneThatItCannotTakeGoesLater) {
  Reason reason = Reason::kForbidden;
  bool fails = true;
  api_.before = [&](const std::string& call) -> ApiResult<void> {
    if (fails && call.starts_with("PATCH events/")) return Fail(reason, "test");
    return {};
  };
  prometheus::Registry registry;
  Metrics metrics(&registry);
  recorder_ = std::make_unique<EventRecorder>(&api_, EventOptions{}, &timing_, 1, &metrics);
  const auto again = [&] {
    recorder_->Record(Cluster("a"), Note("same"));
    ASSERT_TRUE(Flush());
  };
  again();
  again();
  EXPECT_EQ(recorder_->stats().dropped, 1u);
  reason = Reason::kServer;
  timing_.Advance(seconds(30));
  again();
  EXPECT_EQ(recorder_->stats().dropped, 1u);
  fails = false;
  timing_.Advance(seconds(30));
  EXPECT_TRUE(Eventually([&] { return Events()[0].Int("/series/count") == 3; }));
  EXPECT_NE(metrics.Render().find("raftkv_operator_events_dropped_total 1\n"), std::string::npos);
  recorder_.reset();  // before what it counts with
}

TEST_F(EventsTest, TheQueueIsBounded) {
  Make({.max_queued = 3, .object_burst = 1000});
  std::mutex gate;
  gate.lock();
  api_.before = [&](const std::string&) -> ApiResult<void> {
    std::lock_guard wait(gate);
    return {};
  };
  for (int i = 0; i < 10; ++i) {
    recorder_->Record(Cluster("a"), Note("x", "Reason" + std::to_string(i)));
  }
  EXPECT_GE(recorder_->stats().dropped, 6u);
  gate.unlock();
  ASSERT_TRUE(Flush());
  EXPECT_LE(Events().size(), 4u);
}

TEST_F(EventsTest, ARefusedEventIsDroppedAndTheNextOneGoes) {
  api_.before = [&](const std::string& call) -> ApiResult<void> {
    if (call.starts_with("CREATE events/a.")) return Fail(Reason::kForbidden, "test");
    return {};
  };
  recorder_->Record(Cluster("a"), Note("x"));
  recorder_->Record(Cluster("b"), Note("x"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events().size(), 1u);
  EXPECT_EQ(recorder_->stats().dropped, 1u);
}

TEST_F(EventsTest, LongNotesAreCutBetweenCharacters) {
  std::string note(1023, 'x');
  recorder_->Record(Cluster("a"), Note(note + "\u00e4\u00e4"));
  ASSERT_TRUE(Flush());
  EXPECT_EQ(Events()[0].String("/note"), note);
}

TEST_F(EventsTest, WhatWaitsIsSentAtTheEnd) {
  for (int i = 0; i < 20; ++i) {
    recorder_->Record(Cluster("a"), Note("x", "Reason" + std::to_string(i)));
  }
  recorder_.reset();
  EXPECT_EQ(Events().size(), 20u);
}

}  // namespace
}  // namespace raftkv::kube
