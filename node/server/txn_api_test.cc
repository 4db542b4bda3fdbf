#include "node/server/txn_api.h"

#include <thread>

#include "node/server/api_fixture.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kJson = "Content-Type: application/json\r\n";
constexpr std::string_view kProtobuf = "Content-Type: application/protobuf\r\n";

class TxnApiTest : public ApiTest {
 protected:
  TestResponse Txn(const std::string& body) { return Client("POST", "/txn", body, kJson); }
  Json Good(const std::string& body) {
    TestResponse response = Txn(body);
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body, nullptr, false);
  }
  void Refused(const std::string& body, const std::string& why) {
    TestResponse response = Txn(body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_NE(Detail(response).find(why), std::string::npos) << body << ": " << response.body;
    EXPECT_EQ(node_.writes(), writes_before_);
  }
  size_t writes_before_ = 0;
};

TEST_F(TxnApiTest, ComparesThenCarriesOutOneList) {
  Client("PUT", "/kv/a", "1");
  Client("PUT", "/kv/dir/x", "x");
  Client("PUT", "/kv/dir/y", "y");
  const std::string txn = R"({"compare":[{"key":"a","value":"1"},
                                         {"key":"a","version":1},
                                         {"key":"b","mod_revision":0},
                                         {"key":"a","relation":"greater","create_revision":1}],
                              "success":[{"put":{"key":"b","value":"2"}},
                                         {"delete":{"prefix":"dir/"}},
                                         {"get":{"key":"a"}}],
                              "failure":[{"get":{"key":"b"}},{"get":{"key":"no"}}]})";
  EXPECT_EQ(Good(txn), Json::parse(R"({"succeeded":true,"revision":5,"deleted":2,"gets":[
      {"key":"a","found":true,"value":"1","create_revision":2,"mod_revision":2,"version":1}]})"));
  EXPECT_EQ(Client("GET", "/kv/b").body, "2");
  EXPECT_EQ(Client("GET", "/kv/dir/x").status, 404);
  // Now b exists.
  EXPECT_EQ(Good(txn), Json::parse(R"({"succeeded":false,"revision":5,"deleted":0,"gets":[
      {"key":"b","found":true,"value":"2","create_revision":5,"mod_revision":5,"version":1},
      {"key":"no","found":false}]})"));
}

TEST_F(TxnApiTest, BytesComeAsBase64) {
  Good(
      R"({"success":[{"put":{"key":"/wA=","key_encoding":"base64","value":"gA==","encoding":"base64"}}]})");
  EXPECT_EQ(Client("GET", "/kv/%FF%00").body, "\x80");
  Json answer = Good(R"({"success":[{"get":{"key":"/wA=","key_encoding":"base64"}}]})");
  EXPECT_EQ(answer["gets"][0]["key_encoding"], "base64");
  EXPECT_EQ(answer["gets"][0]["value"], "gA==");
}

TEST_F(TxnApiTest, TakesProtobuf) {
  v1::TxnRequest request;
  request.add_success()->mutable_put()->set_key("k");
  request.add_success()->mutable_get()->set_key("other");
  TestResponse response = Client("POST", "/txn", request.SerializeAsString(),
                                 "Content-Type: application/protobuf\r\n"
                                 "Accept: application/protobuf\r\n");
  EXPECT_EQ(response.status, 200);
  v1::TxnResponse answer;
  ASSERT_TRUE(answer.ParseFromString(response.body));
  EXPECT_TRUE(answer.succeeded());
  EXPECT_EQ(response.Header("raftkv-revision"), std::to_string(answer.revision()));
  ASSERT_EQ(answer.gets_size(), 1);
  EXPECT_FALSE(answer.gets(0).found());
  EXPECT_EQ(Client("POST", "/txn", "\xff\xff", "Content-Type: application/protobuf\r\n").status,
            400);
}

TEST_F(TxnApiTest, AnswersThatWouldBeTooLargeLeaveValuesOut) {
  v1::TxnResponse response;
  response.add_gets()->set_key("k");
  response.mutable_gets(0)->set_omitted(true);
  EXPECT_EQ(
      TxnToJson(response),
      "{\"succeeded\":false,\"revision\":0,\"deleted\":0,\"gets\":[{\"key\":\"k\",\"omitted\":"
      "true}]}\n");
}

// 128 times the key "k".
std::string ReadsOfLargeValues() {
  v1::TxnRequest request;
  request.add_success()->mutable_put()->set_key("done");
  for (int i = 0; i < 127; ++i) request.add_success()->mutable_get()->set_key("k");
  return request.SerializeAsString();
}

size_t Omitted(const TestResponse& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  const Json answer = Json::parse(response.body);
  size_t omitted = 0;
  for (const Json& get : answer["gets"]) omitted += get.contains("omitted");
  return omitted;
}

TEST_F(TxnApiTest, LargeReadsDoNotHoldUpOtherClients) {
  Client("PUT", "/kv/k", std::string(1000, 'v'));
  node_.HoldState();
  node_.LetStateReadersThrough(1);  // the event loop, which reads a little
  TestClient client(server_->client_port());
  client.Send(Request("POST", "/txn", ReadsOfLargeValues(), kProtobuf));
  node_.AwaitStateReaders(1);
  EXPECT_EQ(Client("PUT", "/kv/meanwhile", "x").status, 201);
  node_.ReleaseState();
  EXPECT_EQ(Omitted(client.Receive()), 0u);
}

// Its writes are done: 503 or 429 would say that they are not.
TEST_F(TxnApiTest, ReadsThatHaveToWaitTooLongAreOmitted) {
  Client("PUT", "/kv/k", std::string(1000, 'v'));
  node_.HoldState();
  std::vector<TestClient> listings;
  for (int i = 0; i < 4; ++i) {
    listings.emplace_back(server_->client_port());
    listings.back().Send(Request("GET", "/kv/?count_only=true"));
  }
  node_.AwaitStateReaders(4);  // all worker threads
  node_.LetStateReadersThrough(1);
  const size_t before = node_.writes();
  TestClient client(server_->client_port());
  client.Send(Request("POST", "/txn", ReadsOfLargeValues(),
                      std::string(kProtobuf) + "Raftkv-Timeout-Ms: 1\r\n"));
  while (node_.writes() == before) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  node_.ReleaseState();
  const size_t omitted = Omitted(client.Receive());
  EXPECT_GT(omitted, 0u);
  EXPECT_LT(omitted, 127u);
  EXPECT_EQ(Client("GET", "/kv/done").status, 200);
}

TEST_F(TxnApiTest, WrongBodiesAreRefusedWithThePlace) {
  Refused("", "not JSON");
  Refused("[]", "body: this must be an object");
  Refused("{\"compare\":", "not JSON");
  Refused(std::string(900, '['), "not JSON");
  Refused(R"({"succes":[]})", "no member 'succes'; there are compare, success, failure");
  Refused(R"({"success":{}})", "success: this must be a list");
  Refused(R"({"success":[{}]})", "success[0]: give one of put, delete and get");
  Refused(R"({"success":[{"put":{"key":"a"}}]})", "success[0].put: value must be there");
  Refused(R"({"success":[{"put":{"key":1,"value":""}}]})", "key must be there, and a string");
  Refused(R"({"success":[{"put":{"key":"a","value":"?","encoding":"base64"}}]})", "not base64");
  Refused(R"({"success":[{"put":{"key":"a","value":"x","encoding":"hex"}}]})", "only be base64");
  Refused(R"({"failure":[{"get":{"key":"a"}},{"get":{"key":"a","x":1}}]})", "failure[1].get");
  Refused(R"({"failure":[{"delete":{"key":"a","prefix":"b"}}]})", "give key or prefix");
  Refused(R"({"failure":[{"delete":{"prefix":""}}]})", "prefix is empty");
  Refused(R"({"compare":[{"key":"a"}]})", "compare[0]: give one of version");
  Refused(R"({"compare":[{"key":"a","version":1,"value":"x"}]})", "give one of version");
  Refused(R"({"compare":[{"key":"a","version":-1}]})", "version must be a whole number");
  Refused(R"({"compare":[{"key":"a","version":1,"relation":"<"}]})", "relation must be equal");
  Refused(R"({"success":[{"get":{"key":""}}]})", "empty");
  Refused(R"({"success":[{"put":{"key":"a","value":""}},{"get":{"key":"a"}}]})",
          "read and changed");
  Refused(R"({"success":[{"get":{"key":"ab"}},{"delete":{"prefix":"a"}}]})", "read and changed");
  Refused(R"({"success":[{"put":{"key":"a","value":")" + std::string(900, 'x') + R"("}},)" +
              R"({"put":{"key":"b","value":""}}],"x":1})",
          "no member 'x'");
}

TEST_F(TxnApiTest, LimitsAreTheSameForAllClients) {
  std::string gets, deletes;
  for (int i = 0; i < 129; ++i) gets += (i ? "," : "") + std::string("{}");
  Refused(R"({"success":[)" + gets + "]}", "success: a list may have at most 128 elements");
  v1::TxnRequest request;
  for (int i = 0; i < 129; ++i) request.add_failure()->mutable_get()->set_key("k");
  TestResponse response =
      Client("POST", "/txn", request.SerializeAsString(), "Content-Type: application/protobuf\r\n");
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(Detail(response).find("at most 128"), std::string::npos);
  EXPECT_EQ(Txn("{" + std::string(1000, ' ') + "}").status, 413);
}

TEST_F(TxnApiTest, RefusalsOfTheStateMachineAreProblems) {
  TestResponse twice =
      Txn(R"({"success":[{"put":{"key":"a","value":""}},{"put":{"key":"a","value":""}}]})");
  EXPECT_EQ(twice.status, 400);
  EXPECT_NE(Detail(twice).find("put twice"), std::string::npos);
  node_.FailWrites(Status(Code::kUnknownOutcome, "who knows"));
  EXPECT_EQ(Txn("{}").status, 504);
}

TEST_F(TxnApiTest, MethodTypeAndQuery) {
  EXPECT_EQ(Client("GET", "/txn").status, 405);
  EXPECT_EQ(Client("GET", "/txn").Header("allow"), "POST");
  EXPECT_EQ(Client("POST", "/txn", "{}").status, 415);
  EXPECT_EQ(Client("POST", "/txn?x=1", "{}", kJson).status, 400);
  EXPECT_EQ(Good("{}")["succeeded"], true);
}

}  // namespace
}  // namespace raftkv::server
