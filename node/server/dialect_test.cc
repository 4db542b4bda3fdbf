#include "node/server/api_fixture.h"

namespace raftkv::server {
namespace {

class RaftexampleTest : public ApiTest {
 protected:
  RaftexampleTest() : ApiTest(Dialect::kRaftexample) {}
};

TEST_F(RaftexampleTest, ThePathIsTheKey) {
  EXPECT_EQ(Client("PUT", "/my-key", "foo").status, 204);
  EXPECT_EQ(Client("PUT", "/my-key", "bar").status, 204);
  TestResponse read = Client("GET", "/my-key");
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(read.body, "bar");
  EXPECT_EQ(Client("GET", "/other").status, 404);
  EXPECT_EQ(Client("PUT", "/a/b", "1").status, 204);
  EXPECT_EQ(Client("GET", "/a%2Fb").body, "1");
  EXPECT_EQ(Client("PUT", "/", "1").status, 400);
}

TEST_F(RaftexampleTest, NativeRoutesStay) {
  Client("PUT", "/foo", "bar");
  EXPECT_EQ(Client("GET", "/kv/foo").body, "bar");
  EXPECT_EQ(Client("PUT", "/kv/x", "y").status, 201);
  EXPECT_EQ(Client("GET", "/x").body, "y");
  EXPECT_EQ(Client("GET", "/cluster").status, 200);
}

TEST_F(RaftexampleTest, PostInvitesAMember) {
  TestResponse response = Client("POST", "/4", "http://127.0.0.1:42379");
  EXPECT_EQ(response.status, 204) << response.body;
  EXPECT_EQ(node_.calls().back(), "invite 4 127.0.0.1:42379");
}

// Its note stayed for ever, nobody saw it, and 64 of them shut the door.
TEST_F(RaftexampleTest, WhoWasAnnouncedIsListedAndCanBeWithdrawn) {
  EXPECT_EQ(Client("GET", "/cluster").body.find("invited"), std::string::npos);
  EXPECT_EQ(Client("POST", "/4", "http://127.0.0.1:42379").status, 204);
  v1::StatusResponse status = *node_.status();
  v1::Member& guest = *status.mutable_cluster()->add_invited();
  guest.set_name("4");
  guest.set_peer_address("127.0.0.1:42379");
  node_.SetStatus(status);
  const auto cluster = nlohmann::json::parse(Client("GET", "/cluster").body);
  EXPECT_EQ(cluster.at("invited").dump(), R"([{"name":"4","peer_address":"127.0.0.1:42379"}])");
  const TestResponse withdrawn = Client("DELETE", "/4");
  EXPECT_EQ(withdrawn.status, 204) << withdrawn.body;
  EXPECT_EQ(node_.calls().back(), "withdraw 4");
  EXPECT_EQ(Client("DELETE", "/5").status, 404);
}

// As the admin API says it: 412 is for conditions of a request.
TEST_F(RaftexampleTest, PostOfAMemberThatIsThereIsAConflict) {
  node_.FailWrites(Status(Code::kConflict, "member 1 has this name"));
  TestResponse response = Client("POST", "/4", "http://127.0.0.1:42379");
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(Detail(response), "member 1 has this name");
}

TEST_F(RaftexampleTest, PostRefusesWhatIsNoMember) {
  for (const char* path : {"/four", "/0", "/-1", "/4x"}) {
    EXPECT_EQ(Client("POST", path, "http://127.0.0.1:42379").status, 400) << path;
  }
  for (const char* url : {"", "http://", "127.0.0.1", "http://h:0", "http://h:99999",
                          "http://h/x:1", "http://\xff:24379", "http://a b:1"}) {
    EXPECT_EQ(Client("POST", "/4", url).status, 400) << url;
  }
  EXPECT_TRUE(node_.calls().empty());
}

TEST_F(RaftexampleTest, DeleteRemovesAMember) {
  EXPECT_EQ(Client("DELETE", "/3").status, 204);
  EXPECT_EQ(node_.calls().back(), "change remove 00000000000000c3");
  EXPECT_EQ(Client("DELETE", "/00000000000000b2").status, 204);
  EXPECT_EQ(node_.calls().back(), "change remove 00000000000000b2");
  EXPECT_EQ(Client("DELETE", "/9").status, 404);
}

TEST_F(RaftexampleTest, OtherMethodsAre405WithAllow) {
  TestResponse response = Client("PATCH", "/foo", "x");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.Header("allow"), "PUT, GET, HEAD, POST, DELETE");
}

// The original answers before anything is committed.
TEST_F(RaftexampleTest, PutsAreAnsweredAfterTheCommit) {
  node_.FailWrites(Status(Code::kUnavailable, "There is no leader."));
  EXPECT_EQ(Client("PUT", "/foo", "bar").status, 503);
}

class Shaj13Test : public ApiTest {
 protected:
  Shaj13Test() : ApiTest(Dialect::kShaj13) {}
};

TEST_F(Shaj13Test, SavesAndGets) {
  EXPECT_EQ(Client("PUT", "/", R"({"Key":"hello", "Value":"medium"})").status, 204);
  EXPECT_EQ(Client("GET", "/hello").body, "medium\n");
  EXPECT_EQ(Client("POST", "/", R"({"key":"hello", "value":"again"})").status, 204);
  EXPECT_EQ(Client("GET", "/hello").body, "again\n");
  EXPECT_EQ(Client("GET", "/kv/hello").body, "again");
  EXPECT_EQ(Client("GET", "/missing").status, 404);
}

TEST_F(Shaj13Test, WrongBodiesAre400) {
  for (const char* body : {"", "{", "[]", "{}", "{\"Value\":\"x\"}", "{\"Key\":1,\"Value\":\"x\"}",
                           "{\"Key\":\"a\",\"Value\":{}}", "{\"Key\":\"a\",\"Other\":\"x\"}",
                           "{\"Key\":\"\",\"Value\":\"x\"}"}) {
    EXPECT_EQ(Client("PUT", "/", body).status, 400) << body;
  }
  EXPECT_EQ(node_.writes(), 0u);
}

// A value that was forgotten became an empty one.
TEST_F(Shaj13Test, AMissingValueIs400AndAnEmptyOneIsNot) {
  const TestResponse missing = Client("PUT", "/", R"({"Key":"a"})");
  EXPECT_EQ(missing.status, 400);
  EXPECT_NE(Detail(missing).find("Value is missing"), std::string::npos) << missing.body;
  EXPECT_EQ(node_.writes(), 0u);
  EXPECT_EQ(Client("PUT", "/", R"({"Key":"a", "Value":""})").status, 204);
  EXPECT_EQ(Client("GET", "/a").body, "\n");
}

TEST_F(Shaj13Test, ValuesAreLimitedNotTheirJson) {
  std::string quotes;
  for (int i = 0; i < 1000; ++i) quotes += "\\u0022";
  std::string body = "{\"Key\":\"a\",\"Value\":\"" + quotes + "\"}";
  EXPECT_EQ(Client("PUT", "/", body).status, 204);
  body.insert(body.size() - 2, "x");
  EXPECT_EQ(Client("PUT", "/", body).status, 413);
}

TEST_F(Shaj13Test, ListsAndRemovesNodes) {
  auto nodes = nlohmann::json::parse(Client("GET", "/mgmt/nodes").body);
  ASSERT_EQ(nodes.size(), 3u);
  EXPECT_EQ(nodes[2]["id"], "00000000000000c3");
  EXPECT_EQ(nodes[2]["type"], "learner");
  EXPECT_EQ(Client("DELETE", "/mgmt/nodes/00000000000000c3").status, 204);
  EXPECT_EQ(node_.calls().back(), "change remove 00000000000000c3");
  EXPECT_EQ(Client("DELETE", "/mgmt/nodes/nobody").status, 404);
}

TEST_F(Shaj13Test, OtherMethodsAre405WithAllow) {
  EXPECT_EQ(Client("GET", "/").Header("allow"), "PUT, POST");
  EXPECT_EQ(Client("DELETE", "/hello").Header("allow"), "GET, HEAD");
  EXPECT_EQ(Client("POST", "/mgmt/nodes").Header("allow"), "GET, HEAD");
  EXPECT_EQ(Client("GET", "/mgmt/nodes/1").Header("allow"), "DELETE");
}

TEST(Dialects, HaveNames) {
  for (Dialect dialect : {Dialect::kNative, Dialect::kRaftexample, Dialect::kShaj13}) {
    EXPECT_EQ(ParseDialect(DialectName(dialect)), dialect);
  }
  EXPECT_FALSE(ParseDialect("other").has_value());
}

}  // namespace
}  // namespace raftkv::server
