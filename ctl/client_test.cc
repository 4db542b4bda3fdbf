#include "ctl/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/fake_node.h"

namespace raftkv::client {
namespace {

using testing::ElementsAre;

TEST(ClientTest, PutSendsConditionsAndReadsTheRevision) {
  FakeNode node([](const auto&, auto& response) {
    response.status = 201;
    response.set_header("Raftkv-Revision", "17");
  });
  Client client({node.endpoint()}, {});
  auto result = client.Put("a/b c", "value", {.absent = true});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->revision, 17u);
  EXPECT_TRUE(result->created);
  ASSERT_TRUE(client.Put("k", "", {.mod_revision = 12}));
  ASSERT_TRUE(client.Put("k", "", {.present = true}));
  auto requests = node.requests();
  EXPECT_EQ(requests[0].method, "PUT");
  EXPECT_EQ(requests[0].target, "/kv/a/b%20c");
  EXPECT_EQ(requests[0].body, "value");
  EXPECT_EQ(requests[0].get_header_value("If-None-Match"), "*");
  EXPECT_FALSE(requests[0].has_header("If-Match"));
  EXPECT_EQ(requests[1].get_header_value("If-Match"), "\"12\"");
  EXPECT_EQ(requests[2].get_header_value("If-Match"), "*");
}

TEST(ClientTest, GetReturnsBytesAsTheyAre) {
  std::string value("\0\xff\r\n", 4);
  FakeNode node([&](const auto&, auto& response) {
    response.set_header("ETag", "\"9\"");
    response.set_header("Raftkv-Revision", "11");
    response.set_content(value, "application/octet-stream");
  });
  Client client({node.endpoint()}, {});
  auto result = client.Get("k", {.consistency = Consistency::kStale, .revision = 10});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->item.value, value);
  EXPECT_EQ(result->item.mod_revision, 9u);
  EXPECT_EQ(result->revision, 11u);
  EXPECT_EQ(node.requests().at(0).target, "/kv/k?consistency=stale&revision=10");
}

TEST(ClientTest, ErrorsKeepTheirCode) {
  FakeNode node([](const auto& request, auto& response) {
    if (request.method == "GET") return Refuse(response, 404, "not found", "no such key");
    if (request.method == "PUT") return Refuse(response, 504, "unknown outcome", "perhaps");
    Refuse(response, 412, "conflict", "another revision");
  });
  Client client({node.endpoint()}, {});
  EXPECT_EQ(client.Get("k").error().code(), Code::kNotFound);
  EXPECT_EQ(client.Put("k", "v").error().code(), Code::kUnknownOutcome);
  EXPECT_EQ(client.Delete("k", {.mod_revision = 3}).error().code(), Code::kConflict);
}

TEST(ClientTest, AStrangersAnswerIsAnError) {
  FakeNode node([](const auto&, auto& response) { response.set_content("<html>", "text/html"); });
  Client client({node.endpoint()}, {});
  EXPECT_EQ(client.Put("k", "v").error().code(), Code::kInternal);
  EXPECT_EQ(client.List({}, [](const auto&) { return Status::Ok(); }).error().code(),
            Code::kInternal);
  EXPECT_EQ(client.AdminPort(node.endpoint()).error().code(), Code::kInternal);
}

constexpr const char* kFirstPage =
    R"({"revision":5,"count":2,"more":true,"items":[{"key":"a","value":"1","mod_revision":2},)"
    R"({"key":"/w==","key_encoding":"base64","value":"AAE=","encoding":"base64","mod_revision":3}]})";
constexpr const char* kLastPage =
    R"({"revision":5,"count":1,"more":false,"items":[{"key":"z","value":"3","version":7}]})";

TEST(ClientTest, ListReadsAllPagesAtTheFirstOnesRevision) {
  FakeNode node([](const auto& request, auto& response) {
    response.set_content(request.has_param("after") ? kLastPage : kFirstPage, "application/json");
  });
  Client client({node.endpoint()}, {});
  std::vector<std::string> keys, values;
  auto revision = client.List({.prefix = "p q"}, [&](const std::vector<KeyValue>& items) {
    for (const KeyValue& item : items) {
      keys.push_back(item.key);
      values.push_back(item.value);
    }
    return Status::Ok();
  });
  ASSERT_TRUE(revision) << revision.error().message();
  EXPECT_EQ(*revision, 5u);
  EXPECT_THAT(keys, ElementsAre("a", "\xff", "z"));
  EXPECT_THAT(values, ElementsAre("1", std::string("\0\1", 2), "3"));
  auto requests = node.requests();
  EXPECT_EQ(requests[0].target, "/kv/?consistency=linearizable&limit=1000&prefix=p%20q");
  EXPECT_EQ(requests[1].target,
            "/kv/?consistency=linearizable&revision=5&limit=1000&prefix=p%20q&after=%FF");
}

TEST(ClientTest, ListStopsAtItsLimit) {
  FakeNode node(
      [](const auto&, auto& response) { response.set_content(kFirstPage, "application/json"); });
  Client client({node.endpoint()}, {});
  size_t seen = 0;
  ASSERT_TRUE(client.List({.limit = 5, .page_size = 2}, [&](const std::vector<KeyValue>& items) {
    seen += items.size();
    return Status::Ok();
  }));
  EXPECT_EQ(seen, 6u);  // this node ignores the limit of the last page, 1
  EXPECT_EQ(node.requests().size(), 3u);
  EXPECT_THAT(node.requests().back().target, testing::HasSubstr("limit=1&"));
}

TEST(ClientTest, ListHandsOnTheCallersError) {
  FakeNode node(
      [](const auto&, auto& response) { response.set_content(kFirstPage, "application/json"); });
  Client client({node.endpoint()}, {});
  auto result = client.List({}, [](const auto&) { return Status(Code::kIoError, "pipe"); });
  EXPECT_EQ(result.error().code(), Code::kIoError);
  EXPECT_EQ(node.requests().size(), 1u);
}

TEST(ClientTest, RefusesGarbledLists) {
  std::string body;
  FakeNode node(
      [&](const auto&, auto& response) { response.set_content(body, "application/json"); });
  Client client({node.endpoint()}, {});
  for (const char* bad :
       {"", "[]", "{}", R"({"revision":1})", R"({"revision":1,"count":0,"more":true,"items":[]})",
        R"({"revision":1,"count":1,"items":[{"key":1}]})", R"({"revision":"x","count":1})",
        R"({"revision":1,"count":1,"items":[{"key":"!","key_encoding":"base64"}]})"}) {
    body = bad;
    EXPECT_FALSE(client.List({}, [](const auto&) { return Status::Ok(); })) << bad;
  }
}

}  // namespace
}  // namespace raftkv::client
