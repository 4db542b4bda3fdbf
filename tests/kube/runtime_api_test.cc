// operator/kube against a real API server: does it mean what we think it means?
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "operator/kube/base64.h"
#include "operator/kube/conditions.h"
#include "operator/kube/election.h"
#include "operator/kube/events.h"
#include "operator/kube/ownership.h"
#include "operator/kube/reflector.h"
#include "tests/kube/cluster.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Resource kWidgets{"test.raftkv.dev", "v1", "widgets", "Widget"};

class RuntimeApi : public ClusterTest {
 protected:
  Object Create(const Object& object, const Resource& resource = resources::kConfigMaps) {
    auto made = api_->Create(resource, object);
    EXPECT_TRUE(made) << made.error().ToString();
    return made.value_or(Object());
  }
  ApiResult<Object> Get(const std::string& name) {
    return api_->Get(resources::kConfigMaps, {ns_, name});
  }
  // Another client, as another person or controller would be.
  std::unique_ptr<RestClient> Other(const std::string& manager) {
    return std::make_unique<RestClient>(TestCluster(), RestOptions{.field_manager = manager},
                                        &Timing::System());
  }
};

TEST_F(RuntimeApi, ReflectorFollowsThroughWatchesThatEnd) {
  for (int i = 0; i < 5; ++i) Create(ConfigMap("before-" + std::to_string(i), "x"));
  Cache cache(resources::kConfigMaps);
  std::atomic<int> deletions{0};
  cache.AddHandler([&](const Change& change) {
    if (change.type == Change::Type::kDeleted) ++deletions;
    EXPECT_FALSE(change.final_state_unknown);
  });
  // Watches of one to two seconds instead of five to ten minutes.
  Reflector reflector(api_.get(), &cache,
                      {.ns = ns_, .page_size = 2, .watch_min = seconds(1), .watch_max = seconds(2)},
                      &Timing::System(), 1);
  std::jthread thread([&](std::stop_token stop) { reflector.Run(stop); });
  ASSERT_TRUE(cache.AwaitSync(Timing::System(), seconds(30), {}));
  EXPECT_GE(cache.size(), 5u);
  for (int i = 0; i < 40; ++i) {
    Object made = Create(ConfigMap("after-" + std::to_string(i), "x"));
    if (i % 2 == 0) {
      EXPECT_TRUE(api_->Delete(resources::kConfigMaps, made.key(), DeleteOptions::For(made)));
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_TRUE(Soon([&] {
    return deletions == 20 && cache.Get({ns_, "after-39"}) && !cache.Get({ns_, "after-38"});
  }));
  EXPECT_GE(reflector.stats().watches, 3u);
  EXPECT_EQ(reflector.stats().lists, 1u) << reflector.stats().last_error;
  EXPECT_EQ(reflector.stats().failures, 0u) << reflector.stats().last_error;
}

TEST_F(RuntimeApi, ListsInPagesAtOneVersion) {
  for (int i = 0; i < 7; ++i) Create(ConfigMap("map-" + std::to_string(i), "x"));
  std::set<std::string> names;
  std::set<std::string> versions;
  ListOptions options{.ns = ns_, .limit = 3};
  int pages = 0;
  do {
    auto page = api_->List(resources::kConfigMaps, options);
    ASSERT_TRUE(page) << page.error().ToString();
    EXPECT_LE(page->items.size(), 3u);
    for (const Object& item : page->items) names.emplace(item.name());
    versions.insert(page->resource_version);
    options.continue_token = page->continue_token;
    ++pages;
  } while (!options.continue_token.empty());
  EXPECT_GE(names.size(), 7u);
  EXPECT_GE(pages, 3);
  EXPECT_EQ(versions.size(), 1u);
}

// Nobody limits an operator but the server; one that limits itself keeps to it.
TEST_F(RuntimeApi, AHundredCallsTakeAsLongAsTheLimitAllows) {
  const Object map = Create(ConfigMap("a", "x"));
  const auto time_of_hundred = [&](const RestOptions& options) {
    RestClient client(TestCluster(), options, &Timing::System());
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) {
      auto got = client.Get(resources::kConfigMaps, map.key());
      EXPECT_TRUE(got) << got.error().ToString();
    }
    return std::chrono::steady_clock::now() - begin;
  };
  // Ten at once, then fifty a second.
  EXPECT_GE(time_of_hundred({.calls_per_second = 50, .call_burst = 10}), milliseconds(1790));
  // 18 s, if it were client-go's own limit.
  EXPECT_LT(time_of_hundred({}), seconds(9));
}

// 0.8 to 1.6 s, then 1.6 to 3.2 s, ...
TEST_F(RuntimeApi, AKindThatTheServerDoesNotHaveIsAskedForLessAndLessOften) {
  constexpr Resource kNothings{"none.raftkv.dev", "v1", "nothings", "Nothing"};
  Cache cache(kNothings);
  Reflector reflector(api_.get(), &cache, {.ns = ns_}, &Timing::System(), 1);
  std::jthread thread([&](std::stop_token stop) { reflector.Run(stop); });
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(Soon([&] { return reflector.stats().failures == 3; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(2400));
  std::this_thread::sleep_for(seconds(3));
  EXPECT_LE(reflector.stats().failures, 4U);
}

TEST_F(RuntimeApi, AVersionFromTheFutureIsToldApart) {
  auto future = api_->List(resources::kConfigMaps, {.ns = ns_, .resource_version = "999999999999"});
  ASSERT_FALSE(future);
  EXPECT_EQ(future.error().reason, Reason::kVersionTooLarge) << future.error().ToString();
}

TEST_F(RuntimeApi, ApplyIsIdempotentAndLeavesForeignFieldsAlone) {
  auto first = api_->Apply(resources::kConfigMaps, ConfigMap("a", "x"));
  ASSERT_TRUE(first) << first.error().ToString();
  auto second = api_->Apply(resources::kConfigMaps, ConfigMap("a", "x"));
  ASSERT_TRUE(second);
  EXPECT_EQ(first->resource_version(), second->resource_version());
  // What others add stays.
  ASSERT_TRUE(Other("kubectl")->Patch(
      resources::kConfigMaps, {ns_, "a"}, PatchType::kMerge,
      {{"data", {{"theirs", "1"}}}, {"metadata", {{"annotations", {{"b", "c"}}}}}}));
  Object more = ConfigMap("a", "x");
  more.Set("/data/second", "2");
  ASSERT_TRUE(api_->Apply(resources::kConfigMaps, more));
  auto third = api_->Apply(resources::kConfigMaps, ConfigMap("a", "y"));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->At("/data"), Json({{"theirs", "1"}, {"value", "y"}}))
      << "second, which is no longer wanted, must be gone";
  EXPECT_EQ(third->Annotation("b"), "c");
  // A field of another manager is a conflict, unless forced.
  Object theirs = ConfigMap("a", "y");
  theirs.Set("/data/theirs", "mine");
  auto refused = api_->Apply(resources::kConfigMaps, theirs, {.force = false});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kConflict);
  EXPECT_EQ(refused.error().causes.at(0).field, ".data.theirs");
  EXPECT_TRUE(api_->Apply(resources::kConfigMaps, theirs));
}

TEST_F(RuntimeApi, FieldsOfACreatedObjectAreTakenBack) {
  Object owner = Create(ConfigMap("owner", "x"));
  Object wanted = ConfigMap("owned", "x");
  wanted.Set("/data/second", "2");
  auto first = ApplyOwned(*api_, resources::kConfigMaps, wanted, owner);
  ASSERT_TRUE(first) << first.error().ToString();
  auto second = ApplyOwned(*api_, resources::kConfigMaps, wanted, owner);
  ASSERT_TRUE(second) << second.error().ToString();
  EXPECT_EQ(first->resource_version(), second->resource_version());
  // Although the object was created and not applied at first, a field that goes from the wish goes.
  auto third = ApplyOwned(*api_, resources::kConfigMaps, ConfigMap("owned", "x"), owner);
  ASSERT_TRUE(third);
  EXPECT_TRUE(third->At("/data/second").is_null()) << third->Dump();
}

TEST_F(RuntimeApi, ForeignObjectsAreNotAdoptedAndGarbageGoesWithItsOwner) {
  Object owner = Create(ConfigMap("owner", "x"));
  Create(ConfigMap("foreign", "x"));
  EXPECT_EQ(
      ApplyOwned(*api_, resources::kConfigMaps, ConfigMap("foreign", "y"), owner).error().reason,
      Reason::kConflict);
  EXPECT_EQ(Get("foreign")->String("/data/value"), "x");
  ASSERT_TRUE(ApplyOwned(*api_, resources::kConfigMaps, ConfigMap("owned", "x"), owner));
  ASSERT_TRUE(api_->Delete(resources::kConfigMaps, owner.key(), DeleteOptions::For(owner)));
  EXPECT_TRUE(Soon([&] { return !Get("owned"); })) << "the garbage collector knows the owner";
  EXPECT_TRUE(Get("foreign"));
}

TEST_F(RuntimeApi, DeletesOnlyTheObjectThatWasMeant) {
  Object first = Create(ConfigMap("a", "x"));
  DeleteOptions wrong{.uid = "00000000-0000-0000-0000-000000000000"};
  auto refused = api_->Delete(resources::kConfigMaps, first.key(), wrong);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kConflict);
  ASSERT_TRUE(api_->Patch(resources::kConfigMaps, first.key(), PatchType::kMerge,
                          {{"data", {{"value", "y"}}}}));
  EXPECT_EQ(
      api_->Delete(resources::kConfigMaps, first.key(), DeleteOptions::For(first)).error().reason,
      Reason::kConflict)
      << "it has changed since it was read";
  EXPECT_TRUE(api_->Delete(resources::kConfigMaps, first.key(), DeleteOptions::For(first, false)));
  EXPECT_EQ(
      api_->Delete(resources::kConfigMaps, first.key(), DeleteOptions::For(first)).error().reason,
      Reason::kNotFound);
}

TEST_F(RuntimeApi, ForegroundDeletionWaitsForFinalizers) {
  Object map = ConfigMap("a", "x");
  map.Set("/metadata/finalizers", Json::array({"raftkv.dev/test"}));
  Object made = Create(map);
  DeleteOptions options = DeleteOptions::For(made);
  options.propagation = Propagation::kForeground;
  EXPECT_TRUE(api_->Delete(resources::kConfigMaps, made.key(), options));
  auto deleting = Get("a");
  ASSERT_TRUE(deleting);
  EXPECT_TRUE(deleting->deleting());
  auto updated = UpdateWithRetry(*api_, Timing::System(), resources::kConfigMaps, made.key(), "",
                                 [](Object& object) {
                                   object.Set("/metadata/finalizers", Json::array());
                                   return true;
                                 });
  EXPECT_TRUE(Soon([&] { return !Get("a"); }));
}

TEST_F(RuntimeApi, ConflictsAreSeenAndRetried) {
  Object stale = Create(ConfigMap("a", "x"));
  ASSERT_TRUE(
      api_->Patch(resources::kConfigMaps, stale.key(), PatchType::kJson,
                  Json::array({{{"op", "replace"}, {"path", "/data/value"}, {"value", "y"}}})));
  stale.Set("/data/value", "z");
  EXPECT_EQ(api_->Update(resources::kConfigMaps, stale).error().reason, Reason::kConflict);
  bool disturbed = false;
  auto updated = UpdateWithRetry(
      *api_, Timing::System(), resources::kConfigMaps, stale.key(), "", [&](Object& object) {
        if (!std::exchange(disturbed, true)) {
          EXPECT_TRUE(api_->Patch(resources::kConfigMaps, stale.key(), PatchType::kMerge,
                                  {{"data", {{"other", "1"}}}}));
        }
        object.Set("/data/value", "z");
        return true;
      });
  ASSERT_TRUE(updated) << updated.error().ToString();
  EXPECT_EQ(updated->At("/data"), Json({{"other", "1"}, {"value", "z"}}));
  EXPECT_EQ(api_->Create(resources::kConfigMaps, ConfigMap("a", "x")).error().reason,
            Reason::kAlreadyExists);
}

// What an operator wrote is not in its cache before its watch has told of it; to plan without it
// would be to plan on the state before.
TEST_F(RuntimeApi, ACacheIsBehindAnOwnWriteUntilItsWatchHasToldOfIt) {
  const Key key = Create(ConfigMap("a", "0")).key();
  const Key other = Create(ConfigMap("b", "0")).key();
  Cache cache(resources::kConfigMaps);
  Reflector reflector(api_.get(), &cache, {.ns = ns_}, &Timing::System(), 1);
  const auto follow = [&] {
    return std::jthread([&](std::stop_token stop) { reflector.Run(stop); });
  };
  const auto write = [&](const std::string& value) {
    const auto written = api_->Apply(resources::kConfigMaps, ConfigMap("a", value));
    EXPECT_TRUE(written) << written.error().ToString();
    if (written) cache.Wrote(*written);
  };
  const auto known = [&] {
    const ObjectPtr object = cache.Get(key);
    return object == nullptr ? "none" : std::string(object->String("/data/value"));
  };
  {
    const std::jthread following = follow();
    ASSERT_TRUE(cache.AwaitSync(Timing::System(), seconds(30), {}));
    EXPECT_FALSE(cache.IsBehind(key));
  }
  ASSERT_EQ(known(), "0");
  write("1");
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_TRUE(cache.IsBehind(key)) << "nothing follows";
  EXPECT_FALSE(cache.IsBehind(other));
  EXPECT_EQ(known(), "0");

  const std::jthread following = follow();
  EXPECT_TRUE(Soon([&] { return !cache.IsBehind(key); }));
  EXPECT_EQ(known(), "1");
  for (int i = 2; i < 50; ++i) {
    write(std::to_string(i));
    const auto limit = std::chrono::steady_clock::now() + seconds(60);
    while (cache.IsBehind(key) && std::chrono::steady_clock::now() < limit) {
      std::this_thread::yield();
    }
    ASSERT_EQ(known(), std::to_string(i)) << "it is said to be there";
  }
  // Gone again before anybody looked: that is known, too.
  write("last");
  const auto live = Get("a");
  ASSERT_TRUE(live);
  ASSERT_TRUE(api_->Delete(resources::kConfigMaps, key, DeleteOptions::For(*live)));
  EXPECT_TRUE(Soon([&] { return cache.Get(key) == nullptr; }));
  EXPECT_FALSE(cache.IsBehind(key));
}

// Whoever does not see it makes it under the one name that it can have.
TEST_F(RuntimeApi, WhatACacheDoesNotShowYetIsNotMadeASecondTime) {
  Cache cache(resources::kConfigMaps);
  Reflector reflector(api_.get(), &cache, {.ns = ns_}, &Timing::System(), 1);
  const auto follow = [&] {
    return std::jthread([&](std::stop_token stop) { reflector.Run(stop); });
  };
  {
    const std::jthread following = follow();
    ASSERT_TRUE(cache.AwaitSync(Timing::System(), seconds(30), {}));
  }
  const auto first =
      Other("first")->Create(resources::kConfigMaps, ConfigMap("store-client", "first"));
  ASSERT_TRUE(first) << first.error().ToString();
  ASSERT_EQ(cache.Get(first->key()), nullptr) << "nothing follows";
  const auto second = api_->Create(resources::kConfigMaps, ConfigMap("store-client", "second"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, Reason::kAlreadyExists) << second.error().ToString();

  const std::jthread following = follow();
  EXPECT_TRUE(Soon([&] { return cache.Get(first->key()) != nullptr; }));
  const ObjectPtr known = cache.Get(first->key());
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->uid(), first->uid());
  EXPECT_EQ(known->String("/data/value"), "first");
}

// A kind with status and scale subresources, for as long as these tests run.
class RuntimeWidgets : public RuntimeApi {
 protected:
  void SetUp() override {
    RuntimeApi::SetUp();
    Object definition(resources::kCustomResourceDefinitions, {"", "widgets.test.raftkv.dev"});
    definition.Set("/spec", Json::parse(R"({
      "group":"test.raftkv.dev","scope":"Namespaced",
      "names":{"kind":"Widget","plural":"widgets","singular":"widget"},
      "versions":[{"name":"v1","served":true,"storage":true,
        "subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
        "schema":{"openAPIV3Schema":{"type":"object","properties":{
          "spec":{"type":"object","properties":{"replicas":{"type":"integer","maximum":9}}},
          "status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]})"));
    auto applied = api_->Apply(resources::kCustomResourceDefinitions, definition);
    ASSERT_TRUE(applied) << applied.error().ToString();
    ASSERT_TRUE(Soon([&] {
      auto live = api_->Get(resources::kCustomResourceDefinitions, definition.key());
      return live && ConditionStatus(live->At("/status/conditions"), "Established") == "True" &&
             api_->List(kWidgets, {.ns = ns_});
    }));
  }
  static void TearDownTestSuite() {
    RestClient api(TestCluster(), {}, &Timing::System());
    auto made = api.Get(resources::kCustomResourceDefinitions, {"", "widgets.test.raftkv.dev"});
    if (!made) return;
    EXPECT_TRUE(api.Delete(resources::kCustomResourceDefinitions, made->key(),
                           DeleteOptions::For(*made, false)));
  }
  Object Widget(int replicas) {
    Object widget(kWidgets, {ns_, "w"});
    widget.Set("/spec/replicas", replicas);
    return widget;
  }
};

TEST_F(RuntimeWidgets, StatusAndSpecAreWrittenApart) {
  Object widget = Widget(1);
  widget.Set("/status/phase", "ignored");
  Object made = Create(widget, kWidgets);
  EXPECT_TRUE(made.At("/status/phase").is_null());
  made.Set("/status/phase", "Running");
  made.Set("/spec/replicas", 5);
  auto with_status = api_->Update(kWidgets, made, "status");
  ASSERT_TRUE(with_status) << with_status.error().ToString();
  EXPECT_EQ(with_status->String("/status/phase"), "Running");
  EXPECT_EQ(with_status->Int("/spec/replicas"), 1);
  EXPECT_EQ(with_status->generation(), 1);
  with_status->Set("/status/phase", "Broken");
  with_status->Set("/spec/replicas", 3);
  auto with_spec = api_->Update(kWidgets, *with_status);
  ASSERT_TRUE(with_spec);
  EXPECT_EQ(with_spec->String("/status/phase"), "Running");
  EXPECT_EQ(with_spec->generation(), 2);
  // And by apply.
  Object status(kWidgets, {ns_, "w"});
  status.Set("/status/phase", "Applied");
  auto applied = api_->Apply(kWidgets, status, {.subresource = "status"});
  ASSERT_TRUE(applied) << applied.error().ToString();
  EXPECT_EQ(applied->String("/status/phase"), "Applied");
  EXPECT_EQ(applied->Int("/spec/replicas"), 3);
}

TEST_F(RuntimeWidgets, ScalesThroughTheSubresource) {
  Create(Widget(3), kWidgets);
  EXPECT_EQ(api_->GetScale(kWidgets, {ns_, "w"}).value_or(-1), 3);
  ASSERT_TRUE(api_->SetScale(kWidgets, {ns_, "w"}, 5));
  EXPECT_EQ(api_->Get(kWidgets, {ns_, "w"})->Int("/spec/replicas"), 5);
}

TEST_F(RuntimeWidgets, InvalidObjectsNameTheirFields) {
  auto refused = api_->Create(kWidgets, Widget(11));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kInvalid);
  ASSERT_FALSE(refused.error().causes.empty());
  EXPECT_EQ(refused.error().causes[0].field, "spec.replicas");
}

// The API server began to watch this kind when it was defined: what is older it does not have.
TEST_F(RuntimeWidgets, AWatchFromAVersionThatIsGoneExpiresAndOneFromAListDoesNot) {
  Object made = Create(Widget(1), kWidgets);
  std::vector<std::string> seen;
  auto watch = [&](const std::string& version) {
    return api_->Watch(kWidgets, {.ns = ns_, .resource_version = version, .timeout = seconds(2)},
                       [&](WatchEvent event) {
                         if (event.type != EventType::kBookmark)
                           seen.emplace_back(event.object.name());
                         return true;
                       },
                       {});
  };
  auto expired = watch("1");
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().reason, Reason::kExpired) << expired.error().ToString();
  EXPECT_EQ(seen, std::vector<std::string>());

  auto list = api_->List(kWidgets, {.ns = ns_});
  ASSERT_TRUE(list) << list.error().ToString();
  ASSERT_TRUE(api_->SetScale(kWidgets, made.key(), 2));
  auto followed = watch(list->resource_version);
  EXPECT_TRUE(followed) << followed.error().ToString();
  EXPECT_EQ(seen, std::vector<std::string>{"w"});
}

TEST_F(RuntimeApi, ServiceAccountTokensAsInAPod) {
  Create(Object(resources::kServiceAccounts, {ns_, "bot"}), resources::kServiceAccounts);
  Object secret(resources::kSecrets, {ns_, "bot-token"});
  secret.Set("/metadata/annotations/kubernetes.io~1service-account.name", "bot");
  secret.Set("/type", "kubernetes.io/service-account-token");
  Create(secret, resources::kSecrets);
  std::string token;
  std::string ca;
  ASSERT_TRUE(Soon([&] {
    auto filled = api_->Get(resources::kSecrets, secret.key());
    if (!filled) return false;
    token = DecodeBase64(filled->String("/data/token")).value_or("");
    ca = DecodeBase64(filled->String("/data/ca.crt")).value_or("");
    return !token.empty() && !ca.empty();
  }));
  std::string folder = testing::TempDir() + ns_;
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/token") << token;
  std::ofstream(folder + "/ca.crt") << ca;
  std::ofstream(folder + "/namespace") << ns_;
  setenv("KUBERNETES_SERVICE_HOST", TestCluster().host.c_str(), 1);
  setenv("KUBERNETES_SERVICE_PORT", std::to_string(TestCluster().port).c_str(), 1);
  auto config = InClusterConfig(folder);
  unsetenv("KUBERNETES_SERVICE_HOST");
  ASSERT_TRUE(config) << config.error().message();
  RestClient bot(*config, {}, &Timing::System());
  EXPECT_TRUE(bot.GetRaw("/version"));
  auto forbidden = bot.Get(resources::kConfigMaps, {ns_, "a"});
  ASSERT_FALSE(forbidden);
  EXPECT_EQ(forbidden.error().reason, Reason::kForbidden);
  EXPECT_NE(forbidden.error().message.find("system:serviceaccount:" + ns_ + ":bot"),
            std::string::npos);
  std::ofstream(folder + "/token") << "wrong";
  RestClient stranger(*config, {}, &Timing::System());
  EXPECT_EQ(stranger.Get(resources::kConfigMaps, {ns_, "a"}).error().reason, Reason::kUnauthorized);
  std::filesystem::remove_all(folder);
}

TEST_F(RuntimeApi, EventsAndTheirSeries) {
  Object about = Create(ConfigMap("a", "x"));
  EventRecorder recorder(
      api_.get(),
      {.controller = "raftkv.dev/test", .instance = "test-1", .series_interval = milliseconds(1)},
      &Timing::System(), SystemEntropy());
  EventNote note{.warning = true, .reason = "Refused", .action = "Scale", .note = "no quorum"};
  for (int i = 0; i < 3; ++i) {
    recorder.Record(about, note);
    EXPECT_TRUE(recorder.Flush(seconds(10)));
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(recorder.stats().dropped, 0u);
  auto events = api_->List(resources::kEvents, {.ns = ns_});
  ASSERT_TRUE(events);
  ASSERT_EQ(events->items.size(), 1u);
  const Object& event = events->items[0];
  EXPECT_EQ(event.String("/regarding/uid"), about.uid());
  EXPECT_EQ(event.String("/note"), "no quorum");
  EXPECT_EQ(event.String("/type"), "Warning");
  EXPECT_EQ(event.Int("/series/count"), 3) << event.Dump();
}

TEST_F(RuntimeApi, TheLeaseIsTakenHeldReleasedAndTakenByAnother) {
  Key lease{ns_, "op"};
  Election first(api_.get(), {.lease = lease, .identity = "first"}, &Timing::System(), 1);
  Election second(api_.get(), {.lease = lease, .identity = "second"}, &Timing::System(), 2);
  std::stop_source stop_first;
  std::stop_source stop_second;
  std::thread a([&] { first.Run([] {}, stop_first.get_token()); });
  ASSERT_TRUE(Soon([&] { return first.IsLeader(); }));
  std::thread b([&] { second.Run([] {}, stop_second.get_token()); });
  ASSERT_TRUE(Soon([&] { return second.holder() == "first"; }));
  std::this_thread::sleep_for(seconds(3));
  EXPECT_FALSE(second.IsLeader());
  EXPECT_TRUE(first.MayWrite());
  stop_first.request_stop();
  a.join();
  EXPECT_TRUE(Soon([&] { return second.IsLeader(); }));
  auto live = api_->Get(resources::kLeases, lease);
  ASSERT_TRUE(live);
  EXPECT_EQ(live->String("/spec/holderIdentity"), "second");
  EXPECT_EQ(live->Int("/spec/leaseTransitions"), 1);
  stop_second.request_stop();
  b.join();
}

}  // namespace
}  // namespace raftkv::kube
