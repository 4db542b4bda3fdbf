#include "operator/kube/cache.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

Object Pod(const std::string& ns, const std::string& name, const std::string& uid,
           const std::string& version) {
  Object pod(resources::kPods, {ns, name});
  pod.Set("/metadata/uid", uid);
  pod.Set("/metadata/resourceVersion", version);
  return pod;
}

class CacheTest : public testing::Test {
 protected:
  CacheTest() {
    cache_.AddHandler([this](const Change& change) {
      constexpr const char* kNames[] = {"+", "~", "-", "="};
      std::string text = kNames[static_cast<int>(change.type)];
      text += std::string(change.object().uid());
      if (change.final_state_unknown) text += "?";
      changes_.push_back(text);
    });
  }
  std::vector<std::string> TakeChanges() { return std::exchange(changes_, {}); }
  using Texts = std::vector<std::string>;

  Cache cache_{resources::kPods, 3};
  std::vector<std::string> changes_;
};

TEST_F(CacheTest, TellsWhatAListAndEventsChange) {
  ASSERT_TRUE(cache_.Replace({Pod("n", "a", "1", "1"), Pod("n", "b", "2", "2")}, "2").ok());
  EXPECT_EQ(TakeChanges(), (Texts{"+1", "+2"}));
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "3")).ok());
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "3")).ok());  // told twice
  EXPECT_EQ(TakeChanges(), (Texts{"~1"}));
  cache_.Remove(Pod("n", "b", "2", "4"));
  cache_.Remove(Pod("n", "b", "2", "4"));
  EXPECT_EQ(TakeChanges(), (Texts{"-2"}));
}

TEST_F(CacheTest, WhatARelistDoesNotShowIsDeletedInAnUnknownState) {
  ASSERT_TRUE(cache_.Replace({Pod("n", "a", "1", "1"), Pod("n", "b", "2", "2")}, "2").ok());
  TakeChanges();
  ASSERT_TRUE(cache_.Replace({Pod("n", "b", "2", "2")}, "9").ok());
  EXPECT_EQ(TakeChanges(), (Texts{"-1?"}));
  EXPECT_EQ(cache_.Get({"n", "a"}), nullptr);
}

TEST_F(CacheTest, ANewIncarnationUnderTheNameIsADeletionAndAnAddition) {
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "1")).ok());
  TakeChanges();
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "2", "5")).ok());
  EXPECT_EQ(TakeChanges(), (Texts{"-1?", "+2"}));
}

TEST_F(CacheTest, IndexesFollowTheObjects) {
  Object pod = Pod("n", "a", "1", "1");
  pod.Set("/metadata/labels/app", "x");
  const Json owner = {{"uid", "o"}, {"kind", "K"}};
  pod.Set("/metadata/ownerReferences", Json::array({owner, owner}));  // counts once
  ASSERT_TRUE(cache_.Upsert(pod).ok());
  ASSERT_TRUE(cache_.Upsert(Pod("m", "a", "2", "2")).ok());
  EXPECT_EQ(cache_.InNamespace("n").size(), 1u);
  EXPECT_EQ(cache_.OwnedBy("o").size(), 1u);
  EXPECT_EQ(cache_.WithLabel("app", "x").size(), 1u);
  pod.Set("/metadata/labels/app", "y");
  pod.Set("/metadata/resourceVersion", "3");
  pod.Erase("/metadata/ownerReferences");
  ASSERT_TRUE(cache_.Upsert(pod).ok());
  EXPECT_TRUE(cache_.OwnedBy("o").empty());
  EXPECT_TRUE(cache_.WithLabel("app", "x").empty());
  EXPECT_EQ(cache_.WithLabel("app", "y").size(), 1u);
  cache_.Remove(pod);
  EXPECT_TRUE(cache_.WithLabel("app", "y").empty());
  EXPECT_TRUE(cache_.InNamespace("n").empty());
}

TEST_F(CacheTest, ReadersKeepTheObjectTheyHave) {
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "1")).ok());
  ObjectPtr before = cache_.Get({"n", "a"});
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "2")).ok());
  EXPECT_EQ(before->resource_version(), "1");
}

TEST_F(CacheTest, TellsTheVersionOfWhatItHas) {
  EXPECT_EQ(cache_.VersionOf({"n", "a"}), 0u);
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "7")).ok());
  EXPECT_EQ(cache_.VersionOf({"n", "a"}), 7u);
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "opaque")).ok());
  EXPECT_EQ(cache_.VersionOf({"n", "a"}), 0u);
  cache_.Remove(Pod("n", "a", "1", "opaque"));
  EXPECT_EQ(cache_.VersionOf({"n", "a"}), 0u);
}

TEST_F(CacheTest, HoldsNoMoreThanItMay) {
  EXPECT_EQ(cache_
                .Replace({Pod("n", "a", "1", "1"), Pod("n", "b", "2", "1"), Pod("n", "c", "3", "1"),
                          Pod("n", "d", "4", "1")},
                         "1")
                .code(),
            Code::kResourceExhausted);
  EXPECT_FALSE(cache_.synced());
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(cache_.Upsert(Pod("n", name, name, "1")).ok());
  }
  EXPECT_EQ(cache_.Upsert(Pod("n", "d", "4", "1")).code(), Code::kResourceExhausted);
  EXPECT_TRUE(cache_.Upsert(Pod("n", "a", "a", "2")).ok());
}

TEST_F(CacheTest, IsBehindUntilItHasSeenOurWrite) {
  Key key{"n", "a"};
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "5")).ok());
  EXPECT_FALSE(cache_.IsBehind(key));
  cache_.Wrote(Pod("n", "a", "1", "9"));
  EXPECT_TRUE(cache_.IsBehind(key));
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "8")).ok());
  EXPECT_TRUE(cache_.IsBehind(key));
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "1", "9")).ok());
  EXPECT_FALSE(cache_.IsBehind(key));
  // What was seen before the answer to the write came.
  cache_.Wrote(Pod("n", "a", "1", "9"));
  EXPECT_FALSE(cache_.IsBehind(key));
  // A bookmark past it says as much; so does the object's deletion.
  cache_.Wrote(Pod("n", "a", "1", "12"));
  cache_.Reached("20");
  EXPECT_FALSE(cache_.IsBehind(key));
  cache_.Wrote(Pod("n", "a", "1", "30"));
  cache_.Remove(Pod("n", "a", "1", "31"));
  EXPECT_FALSE(cache_.IsBehind(key));
}

TEST_F(CacheTest, DoesNotTravelBackInTime) {
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "2", "9")).ok());
  TakeChanges();
  ASSERT_TRUE(cache_.Upsert(Pod("n", "a", "2", "8")).ok());
  cache_.Remove(Pod("n", "a", "1", "7"));  // the deletion of the incarnation before
  EXPECT_TRUE(TakeChanges().empty());
  EXPECT_EQ(cache_.Get({"n", "a"})->resource_version(), "9");
}

// Level-triggered: whatever is missed, doubled or late, a list later the cache and what its
// handlers know are the server's state.
TEST(CacheModel, MissedDoubledAndLateEventsEndInTheSameState) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SeededRandom random(seed);
    Cache cache(resources::kPods);
    std::map<Key, std::string> known;  // by the handlers' account: the UID
    cache.AddHandler([&](const Change& change) {
      Key key = change.object().key();
      if (change.type == Change::Type::kDeleted) {
        EXPECT_EQ(known[key], change.before->uid()) << "seed " << seed;
        known.erase(key);
        return;
      }
      if (change.type == Change::Type::kAdded) {
        EXPECT_FALSE(known.contains(key)) << "seed " << seed;
      }
      known[key] = change.after->uid();
    });
    std::map<Key, Object> server;
    std::vector<std::pair<bool, Object>> late;  // deleted?, state
    uint64_t version = 10;
    auto deliver = [&](bool deleted, const Object& state) {
      if (deleted) return cache.Remove(state);
      EXPECT_TRUE(cache.Upsert(state).ok());
    };
    for (int step = 0; step < 100; ++step) {
      std::string name(1, static_cast<char>('a' + random.Uniform(4)));
      Key key{"n", name};
      bool deleted = server.contains(key) && random.Uniform(3) == 0;
      std::string uid =
          server.contains(key) ? std::string(server[key].uid()) : "u" + std::to_string(version);
      Object state = Pod("n", name, uid, std::to_string(++version));
      if (deleted) {
        server.erase(key);
      } else {
        server[key] = state;
      }
      uint64_t fate = random.Uniform(10);
      if (fate == 0) continue;  // missed
      if (fate == 1) {
        late.emplace_back(deleted, state);
        continue;
      }
      deliver(deleted, state);
      if (fate == 2) deliver(deleted, state);
      if (fate == 3 && !late.empty()) {
        deliver(late.back().first, late.back().second);
        late.pop_back();
      }
    }
    std::vector<Object> list;
    std::map<Key, std::string> wanted;
    for (const auto& [key, object] : server) {
      list.push_back(object);
      wanted[key] = object.uid();
    }
    ASSERT_TRUE(cache.Replace(list, std::to_string(version)).ok());
    EXPECT_EQ(known, wanted) << "seed " << seed;
    EXPECT_EQ(cache.size(), server.size()) << "seed " << seed;
    for (const auto& [key, object] : server) EXPECT_EQ(*cache.Get(key), object);
  }
}

TEST_F(CacheTest, ResyncShowsEverythingAgain) {
  ASSERT_TRUE(cache_.Replace({Pod("n", "a", "1", "1"), Pod("n", "b", "2", "2")}, "2").ok());
  TakeChanges();
  cache_.Resync();
  EXPECT_EQ(TakeChanges(), (Texts{"=1", "=2"}));
}

// A reflector for each of two namespaces: what one has seen says nothing of the other.
class CacheOfNamespaces : public CacheTest {
 protected:
  Cache both_{resources::kPods, 3, {"m", "n"}};
};

TEST_F(CacheOfNamespaces, IsSyncedWhenEachIs) {
  ASSERT_TRUE(both_.Replace({}, "1", "m").ok());
  ASSERT_TRUE(both_.Replace({}, "2", "m").ok());
  EXPECT_FALSE(both_.synced());
  ASSERT_TRUE(both_.Replace({}, "1", "n").ok());
  EXPECT_TRUE(both_.synced());
}

TEST_F(CacheOfNamespaces, AListOfOneLeavesTheOther) {
  ASSERT_TRUE(both_.Replace({Pod("m", "a", "1", "1")}, "1", "m").ok());
  ASSERT_TRUE(both_.Replace({Pod("n", "a", "2", "2"), Pod("n", "b", "3", "2")}, "2", "n").ok());
  EXPECT_EQ(both_.Replace({Pod("m", "a", "1", "1"), Pod("m", "b", "4", "3")}, "3", "m").code(),
            Code::kResourceExhausted)
      << "together they hold no more than they may";
  ASSERT_TRUE(both_.Replace({}, "4", "n").ok());
  EXPECT_NE(both_.Get({"m", "a"}), nullptr);
  EXPECT_EQ(both_.size(), 1u);
}

TEST_F(CacheOfNamespaces, IsBehindUntilItsOwnReflectorHasSeenOurWrite) {
  both_.Wrote(Pod("m", "a", "1", "5"));
  both_.Reached("9", "n");
  ASSERT_TRUE(both_.Upsert(Pod("n", "a", "2", "10")).ok());
  EXPECT_TRUE(both_.IsBehind({"m", "a"}));
  both_.Reached("5", "m");
  EXPECT_FALSE(both_.IsBehind({"m", "a"}));
  // A write that the other has overtaken is waited for all the same.
  both_.Wrote(Pod("m", "a", "1", "7"));
  EXPECT_TRUE(both_.IsBehind({"m", "a"}));
}

TEST_F(CacheOfNamespaces, ResyncShowsItsOwnAgain) {
  ASSERT_TRUE(both_.Upsert(Pod("m", "a", "1", "1")).ok());
  ASSERT_TRUE(both_.Upsert(Pod("n", "a", "2", "1")).ok());
  Texts seen;
  both_.AddHandler([&](const Change& change) { seen.emplace_back(change.object().uid()); });
  both_.Resync("n");
  EXPECT_EQ(seen, (Texts{"2"}));
}

TEST_F(CacheTest, SyncIsAwaitedForItsTimeOnly) {
  FakeTiming timing(FakeTiming::Mode::kJump);
  EXPECT_FALSE(cache_.AwaitSync(timing, std::chrono::minutes(2), {}));
  EXPECT_EQ(timing.slept(), (std::vector<Duration>{std::chrono::minutes(2)}));
  ASSERT_TRUE(cache_.Replace({}, "1").ok());
  EXPECT_TRUE(cache_.AwaitSync(timing, std::chrono::minutes(2), {}));
}

}  // namespace
}  // namespace raftkv::kube
