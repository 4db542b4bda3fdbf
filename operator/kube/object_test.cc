// Objects, paths, times, errors, conditions, events of a watch: everything without I/O.
#include "operator/kube/object.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/kube/api_error.h"
#include "operator/kube/base64.h"
#include "operator/kube/conditions.h"
#include "operator/kube/timing.h"
#include "operator/kube/watch_decoder.h"

namespace raftkv::kube {
namespace {

Object ParseOrDie(std::string_view text) { return Object::Parse(text).value(); }

TEST(Object, ReadsWhatEveryObjectHas) {
  Object pod = ParseOrDie(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n",
    "uid":"u","resourceVersion":"7","generation":3,"deletionTimestamp":"2026-01-01T00:00:00Z",
    "labels":{"app.kubernetes.io/name":"raftkv"},"annotations":{"a/b":"c"},"finalizers":["f"],
    "ownerReferences":[{"apiVersion":"v1","kind":"X","name":"x","uid":"1"},
      {"apiVersion":"apps/v1","kind":"StatefulSet","name":"s","uid":"2","controller":true}]}})");
  EXPECT_EQ(pod.key().ToString(), "n/a");
  EXPECT_EQ(pod.uid(), "u");
  EXPECT_EQ(pod.generation(), 3);
  EXPECT_TRUE(pod.deleting());
  EXPECT_EQ(pod.Label("app.kubernetes.io/name"), "raftkv");
  EXPECT_EQ(pod.Annotation("a/b"), "c");
  EXPECT_FALSE(pod.Label("other"));
  EXPECT_TRUE(pod.HasFinalizer("f"));
  ASSERT_EQ(pod.Owners().size(), 2u);
  EXPECT_EQ(pod.Controller()->uid, "2");
  EXPECT_EQ(pod.String("/metadata/labels/app.kubernetes.io~1name"), "raftkv");
}

TEST(Object, ReadsPastTheMistakesOfOthers) {
  Object odd = ParseOrDie(
      R"({"kind":7,"metadata":{"labels":[],"ownerReferences":{},"finalizers":"x","generation":"y"}})");
  EXPECT_EQ(odd.kind(), "");
  EXPECT_EQ(odd.generation(), 0);
  EXPECT_FALSE(odd.Label("a"));
  EXPECT_TRUE(odd.Owners().empty());
  EXPECT_FALSE(odd.HasFinalizer("x"));
  EXPECT_TRUE(odd.At("/spec/template/0/x").is_null());
}

TEST(Object, RefusesWhatIsNone) {
  for (std::string text :
       {std::string(""), std::string("[]"), std::string("{"), std::string(R"({"metadata":[]})"),
        std::string("\"x\""), R"({"a":)" + std::string(300, '[') + std::string(300, ']') + "}"}) {
    EXPECT_FALSE(Object::Parse(text)) << text;
  }
  // Brackets inside of strings do not nest.
  EXPECT_TRUE(Object::Parse(R"({"a":"\")" + std::string(300, '[') + "\"}"));
}

TEST(Object, IsTheSameAsCbor) {
  const Object all = ParseOrDie(
      R"({"metadata":{"name":"a","labels":{"a/b":"ü","empty":""}},"spec":{"none":null,"yes":true,
        "numbers":[0,-1,4294967296,9007199254740993,-9007199254740993,1.5,0.1],"maps":[{},[],{"b":1,"a":2}]}})");
  EXPECT_EQ(Object::FromCbor(all.ToCbor()), all);
  EXPECT_EQ(Object::FromCbor(all.ToCbor()).Dump(), all.Dump());
  EXPECT_LT(all.ToCbor().size(), all.Dump().size());
}

TEST(Object, SetsAndErasesByPointer) {
  Object object(resources::kConfigMaps, {"n", "a"});
  object.Set("/data/a.b~1c", "x");
  object.Set("/spec/list", Json::array({1, 2}));
  object.Set("/spec/list/1", 5);
  EXPECT_EQ(object.json()["data"]["a.b/c"], "x");
  EXPECT_EQ(object.Int("/spec/list/1"), 5);
  object.Erase("/data/a.b~1c");
  object.Erase("/nothing/here");
  EXPECT_TRUE(object.At("/data").empty());
}

TEST(Resource, Paths) {
  EXPECT_EQ(ResourcePath(resources::kPods, "n", "p"), "/api/v1/namespaces/n/pods/p");
  EXPECT_EQ(ResourcePath(resources::kPods, ""), "/api/v1/pods");
  EXPECT_EQ(ResourcePath(resources::kStatefulSets, "n", "s", "scale"),
            "/apis/apps/v1/namespaces/n/statefulsets/s/scale");
  EXPECT_EQ(ResourcePath(resources::kNodes, "ignored", "a/b"), "/api/v1/nodes/a%2Fb");
}

TEST(Timing, FormatsAndParsesTimes) {
  constexpr int64_t kMicros = 1'769'861'045'000'123;
  EXPECT_EQ(FormatMicroTime(kMicros), "2026-01-31T12:04:05.000123Z");
  EXPECT_EQ(FormatTime(kMicros), "2026-01-31T12:04:05Z");
  EXPECT_EQ(ParseTime("2026-01-31T12:04:05.000123Z"), kMicros);
  EXPECT_EQ(ParseTime("2026-01-31T14:04:05.000123999+02:00"), kMicros);
  EXPECT_EQ(ParseTime("2026-01-31T12:04:05Z"), kMicros - 123);
  for (const char* wrong : {"", "2026-01-31", "2026-01-31T12:04:05", "x026-01-31T12:04:05Z",
                            "2026-01-31T12:04:05Zx", "2026-01-31 12:04:05Z"}) {
    EXPECT_FALSE(ParseTime(wrong)) << wrong;
  }
  // The year 106 was read, and written as a time that nobody can read.
  for (const char* wrong :
       {"0106-01-02T03:04:05Z", "9999-12-31T23:59:59-01:00", "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z"}) {
    EXPECT_FALSE(ParseTime(wrong)) << wrong;
  }
  for (const char* edge : {"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"}) {
    EXPECT_EQ(FormatTime(ParseTime(edge).value()), edge);
  }
}

TEST(Base64, Decodes) {
  EXPECT_EQ(DecodeBase64(""), "");
  EXPECT_EQ(DecodeBase64("aGVs\nbG8="), "hello");
  EXPECT_EQ(DecodeBase64("/+8="), "\xff\xef");
  EXPECT_EQ(DecodeBase64("aA=="), "h");
  for (const char* wrong : {"a", "aGVsbG8", "a=Gv", "a_==", "====", "aGVsbG8=="}) {
    EXPECT_FALSE(DecodeBase64(wrong)) << wrong;
  }
}

ApiError FromBody(int status, std::string_view body) { return ErrorFromAnswer(status, body, {}); }

TEST(ApiError, TellsReasonsOfOneStatusApart) {
  EXPECT_EQ(FromBody(409, R"({"kind":"Status","reason":"AlreadyExists","code":409})").reason,
            Reason::kAlreadyExists);
  EXPECT_EQ(FromBody(409, R"({"kind":"Status","reason":"Conflict","code":409})").reason,
            Reason::kConflict);
  EXPECT_EQ(FromBody(410, R"({"kind":"Status","reason":"Expired","code":410})").reason,
            Reason::kExpired);
  EXPECT_EQ(FromBody(504, R"({"kind":"Status","reason":"Timeout","code":504,"details":{"causes":[
                {"reason":"ResourceVersionTooLarge","message":"x"}],"retryAfterSeconds":1}})")
                .reason,
            Reason::kVersionTooLarge);
  ApiError invalid = FromBody(422, R"({"kind":"Status","reason":"Invalid","code":422,
      "message":"wrong","details":{"causes":[{"field":"spec.replicas","message":"odd"}]}})");
  EXPECT_EQ(invalid.reason, Reason::kInvalid);
  EXPECT_EQ(invalid.causes.at(0).field, "spec.replicas");
  EXPECT_EQ(invalid.ToStatus().code(), Code::kInvalidArgument);
}

TEST(ApiError, UnderstandsProxies) {
  ApiError error = FromBody(502, "<html>Bad Gateway</html>");
  EXPECT_EQ(error.reason, Reason::kServer);
  EXPECT_TRUE(error.IsTransient());
  EXPECT_NE(error.message.find("Bad Gateway"), std::string::npos);
}

TEST(Conditions, TransitionTimeMovesOnlyWhenStatusFlips) {
  Json conditions;
  constexpr int64_t kSecond = 1'000'000;
  Condition ready{.type = "Ready", .status = "False", .reason = "Starting"};
  EXPECT_TRUE(SetCondition(conditions, ready, kSecond));
  EXPECT_FALSE(SetCondition(conditions, ready, 2 * kSecond));
  ready.reason = "StillStarting";
  ready.observed_generation = 4;
  EXPECT_TRUE(SetCondition(conditions, ready, 3 * kSecond));
  EXPECT_EQ(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
  EXPECT_EQ(conditions[0]["observedGeneration"], 4);
  ready.status = "True";
  EXPECT_TRUE(SetCondition(conditions, ready, 4 * kSecond));
  EXPECT_EQ(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:04Z");
  EXPECT_EQ(ConditionStatus(conditions, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(conditions, "Other"), "");
}

constexpr std::string_view kAdded =
    R"({"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"5"}}})"
    "\n";

TEST(WatchDecoder, TakesEventsApartWhereverTheyAreCut) {
  for (size_t cut = 0; cut <= 2 * kAdded.size(); ++cut) {
    std::string bytes = std::string(kAdded) + std::string(kAdded);
    WatchDecoder decoder(1000);
    int events = 0;
    bool stopped = false;
    auto count = [&events](const WatchEvent& event) {
      ++events;
      return event.object.name() == "a";
    };
    ASSERT_TRUE(decoder.Feed(bytes.substr(0, cut), count, &stopped));
    ASSERT_TRUE(decoder.Feed(bytes.substr(cut), count, &stopped));
    EXPECT_EQ(events, 2);
    EXPECT_TRUE(decoder.End());
  }
}

TEST(WatchDecoder, NamesTornAndForeignLines) {
  bool stopped = false;
  auto ignore = [](const WatchEvent&) { return true; };
  WatchDecoder torn(1000);
  ASSERT_TRUE(torn.Feed(kAdded.substr(0, 30), ignore, &stopped));
  EXPECT_EQ(torn.End().error().reason, Reason::kMalformed);
  for (const char* line :
       {"nonsense\n", "{}\n", "{\"type\":\"ADDED\"}\n", "{\"type\":\"NEW\",\"object\":{}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n"}) {
    WatchDecoder decoder(1000);
    EXPECT_EQ(decoder.Feed(line, ignore, &stopped).error().reason, Reason::kMalformed) << line;
  }
  WatchDecoder small(20);
  EXPECT_EQ(small.Feed(kAdded, ignore, &stopped).error().reason, Reason::kTooLarge);
}

TEST(WatchDecoder, ErrorEventsAreErrors) {
  auto event = ParseWatchEvent(
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}})");
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().reason, Reason::kExpired);
}

}  // namespace
}  // namespace raftkv::kube
