#include "node/server/api_fixture.h"
#include "node/server/message_codec.h"

namespace raftkv::server {
namespace {

constexpr const char* kJson = "Content-Type: application/json\r\n";
constexpr const char* kProtobuf =
    "Content-Type: application/protobuf\r\nAccept: application/protobuf\r\n";

class AdminApiTest : public ApiTest {};

TEST_F(AdminApiTest, StatusAsJsonAndProtobuf) {
  TestResponse json = Admin("GET", "/admin/status");
  ASSERT_EQ(json.status, 200);
  auto status = nlohmann::json::parse(json.body);
  EXPECT_EQ(status["member_id"], "00000000000000a1");
  EXPECT_EQ(status["role"], "LEADER");
  EXPECT_EQ(status["last_index"], 20);
  EXPECT_EQ(status["cluster"]["members"][1]["id"], "00000000000000b2");
  EXPECT_EQ(status["cluster"]["conf"]["voters"][1], "00000000000000b2");
  EXPECT_EQ(status["transferee"], "0000000000000000");
  TestResponse binary = Admin("GET", "/admin/status", "", "Accept: application/x-protobuf\r\n");
  v1::StatusResponse message;
  ASSERT_TRUE(message.ParseFromString(binary.body));
  EXPECT_EQ(message.member_id(), 0xa1u);
}

TEST_F(AdminApiTest, StatusOfABusyNodeIsItsLast) {
  node_.FailAdmin(Status(Code::kUnavailable, "busy"));
  EXPECT_EQ(Admin("GET", "/admin/status").status, 200);
}

TEST_F(AdminApiTest, RaftShowsProgress) {
  auto raft = nlohmann::json::parse(Admin("GET", "/admin/raft").body);
  ASSERT_EQ(raft["progress"].size(), 3u);
  EXPECT_EQ(raft["progress"][2]["state"], "probe");
  EXPECT_EQ(raft["progress"][2]["lag"], 8);
  EXPECT_EQ(raft["progress"][2]["name"], "3");
  EXPECT_EQ(raft["progress"][1]["state"], "replicate");
  EXPECT_EQ(raft["log"]["commit_index"], 20);
  EXPECT_FALSE(raft.contains("note"));
}

TEST_F(AdminApiTest, CallsTakeJson) {
  TestResponse response = Admin(
      "POST", "/admin/membership",
      R"({"expected_config_index": 5, "promote": ["00000000000000C3"], "remove": ["00000000000000b2"]})",
      kJson);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(node_.calls().back(), "change promote 00000000000000c3 remove 00000000000000b2");
  EXPECT_EQ(nlohmann::json::parse(response.body)["config_index"], 6);
  EXPECT_EQ(Admin("POST", "/admin/join", R"({"peer_addresses":["h:1","i:2"]})", kJson).status, 200);
  EXPECT_EQ(node_.calls().back(), "join h:1 i:2");
}

TEST_F(AdminApiTest, CallsTakeProtobuf) {
  v1::TransferLeadershipRequest request;
  request.set_to(0xb2);
  TestResponse response = Admin("POST", "/admin/transfer", request.SerializeAsString(), kProtobuf);
  ASSERT_EQ(response.status, 200);
  v1::TransferLeadershipResponse message;
  ASSERT_TRUE(message.ParseFromString(response.body));
  EXPECT_EQ(message.leader(), 0xb2u);
}

TEST_F(AdminApiTest, EmptyBodiesAreEmptyMessages) {
  for (const char* path : {"/admin/initialize", "/admin/snapshot", "/admin/transfer"}) {
    EXPECT_EQ(Admin("POST", path).status, 200) << path;
  }
}

TEST_F(AdminApiTest, SnapshotFileIsStreamed) {
  TestClient client(server_->admin_port());
  client.Send(Request("GET", "/admin/snapshot/file"));
  std::string answer = client.ReceiveAll();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n21")) << answer;
  EXPECT_EQ(Admin("POST", "/admin/snapshot/file").Header("allow"), "GET");
  node_.FailAdmin(Status(Code::kUnavailable, "One is being taken already."));
  EXPECT_EQ(Admin("GET", "/admin/snapshot/file").status, 503);
}

TEST_F(AdminApiTest, ASnapshotIsRestoredPieceByPiece) {
  const char* type = "Content-Type: application/vnd.raftkv.snapshot\r\n";
  TestResponse first = Admin("POST", "/admin/restore", "begin", type);
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_EQ(node_.calls().back(), "restore 0 begin");
  auto answer = nlohmann::json::parse(first.body);
  EXPECT_EQ(answer["received"], 5);
  EXPECT_EQ(answer["cluster_id"], "0000000000000000");
  TestResponse last = Admin("POST", "/admin/restore?offset=5", "end", type);
  EXPECT_EQ(node_.calls().back(), "restore 5 end");
  EXPECT_EQ(nlohmann::json::parse(last.body)["cluster_id"], "00000000000000c2");

  EXPECT_EQ(Admin("GET", "/admin/restore").Header("allow"), "POST");
  EXPECT_EQ(Admin("POST", "/admin/restore", "begin", kJson).status, 415);
  EXPECT_EQ(Admin("POST", "/admin/restore?offset=x", "begin", type).status, 400);
  EXPECT_EQ(Admin("POST", "/admin/restore?at=0", "begin", type).status, 400);
  node_.FailAdmin(Status(Code::kFailedPrecondition, "This node belongs to a cluster."));
  EXPECT_EQ(Admin("POST", "/admin/restore", "begin", type).status, 409);
}

TEST_F(AdminApiTest, WrongBodiesAre400) {
  for (const char* body : {"{", "[]", "7", "\"x\"", "{\"to\": 178}", "{\"to\": \"b2\"}",
                           "{\"to\": \"178\"}", "{\"to\": [\"00000000000000b2\"]}", "{\"too\": 1}",
                           "{\"to\": \"00000000000000b2\",}", "{\"to\": {}}", "{\"to\": null}"}) {
    TestResponse response = Admin("POST", "/admin/transfer", body, kJson);
    EXPECT_EQ(response.status, 400) << body;
    Detail(response);
  }
  EXPECT_EQ(Admin("POST", "/admin/compact", "{\"revision\": -1}", kJson).status, 400);
  EXPECT_EQ(Admin("POST", "/admin/join", "{\"peer_addresses\": 5}", kJson).status, 400);
  EXPECT_EQ(Admin("POST", "/admin/transfer", "\xff\xff\xff", kProtobuf).status, 400);
  EXPECT_EQ(Admin("POST", "/admin/transfer?x=1").status, 400);
  EXPECT_TRUE(node_.calls().empty());
}

// Deep nesting once would have overflowed the stack of recursive code.
TEST_F(AdminApiTest, DeepJsonIs400) {
  std::string deep =
      "{\"peer_addresses\":" + std::string(300'000, '[') + std::string(300'000, ']') + "}";
  EXPECT_EQ(Admin("POST", "/admin/join", deep, kJson).status, 400);
}

TEST_F(AdminApiTest, OtherTypesAre415) {
  TestResponse response = Admin("POST", "/admin/transfer", "{}", "Content-Type: text/plain\r\n");
  EXPECT_EQ(response.status, 415);
  EXPECT_EQ(Admin("POST", "/admin/transfer", "{}").status, 415);
}

TEST_F(AdminApiTest, ErrorsHaveTheirStatus) {
  struct Case {
    Code code;
    int status;
  };
  for (const Case& c : {Case{Code::kConflict, 409}, Case{Code::kFailedPrecondition, 409},
                        Case{Code::kNotServing, 503}, Case{Code::kUnavailable, 503},
                        Case{Code::kUnknownOutcome, 504}, Case{Code::kNotFound, 404},
                        Case{Code::kInvalidArgument, 400}}) {
    node_.FailAdmin(Status(c.code, "What happened."));
    TestResponse response = Admin("POST", "/admin/membership");
    EXPECT_EQ(response.status, c.status);
    EXPECT_EQ(Detail(response), "What happened.");
  }
}

TEST_F(AdminApiTest, OtherMethodsAre405WithAllow) {
  for (const char* path : {"/admin/initialize", "/admin/join", "/admin/membership",
                           "/admin/transfer", "/admin/snapshot", "/admin/compact"}) {
    TestResponse response = Admin("GET", path);
    EXPECT_EQ(response.status, 405) << path;
    EXPECT_EQ(response.Header("allow"), "POST");
  }
  for (const char* path : {"/admin/status", "/admin/raft", "/livez", "/readyz", "/metrics"}) {
    TestResponse response = Admin("POST", path);
    EXPECT_EQ(response.status, 405) << path;
    EXPECT_EQ(response.Header("allow"), "GET, HEAD");
  }
}

TEST_F(AdminApiTest, KeysAreNotServedHere) {
  EXPECT_EQ(Admin("GET", "/kv/a").status, 404);
  EXPECT_NE(Admin("GET", "/kv/a").body.find("no-such-resource"), std::string::npos);
  EXPECT_EQ(Admin("GET", "/admin").status, 404);
}

// For those who must not change the membership.
TEST_F(AdminApiTest, TheMetricsListenerHasHealthAndMetricsAlone) {
  const uint16_t port = server_->metrics_port();
  for (const char* path : {"/livez", "/readyz", "/metrics"}) {
    EXPECT_EQ(Ask(port, "GET", path, "", "").status, 200) << path;
  }
  for (const char* path : {"/admin/status", "/admin/membership", "/admin/snapshot/file", "/kv/a"}) {
    EXPECT_EQ(Ask(port, "GET", path, "", "").status, 404) << path;
    EXPECT_EQ(Ask(port, "POST", path, "", "").status, 404) << path;
  }
  EXPECT_NE(Admin("GET", "/metrics").body.find("listener=\"metrics\",route=\"readyz\""),
            std::string::npos);
}

TEST_F(AdminApiTest, LivezDependsOnTheNodeAlone) {
  node_.FailReads(Status(Code::kUnavailable, "no quorum"));
  TestResponse live = Admin("GET", "/livez");
  EXPECT_EQ(live.status, 200);
  EXPECT_EQ(live.body, "ok\n");
  node_.SetAlive(Status(Code::kInternal, "the loop hangs"));
  TestResponse dead = Admin("GET", "/livez?verbose");
  EXPECT_EQ(dead.status, 503);
  EXPECT_EQ(dead.body, "[-]loop failed: the loop hangs\nlivez check failed\n");
}

TEST_F(AdminApiTest, ReadyzMakesARealRead) {
  node_.SetHealth({{"disk_space", Status::Ok()}});
  EXPECT_EQ(Admin("GET", "/readyz").status, 200);
  EXPECT_EQ(Admin("GET", "/readyz?verbose").body,
            "[+]disk_space ok\n[+]read_index ok\nreadyz check passed\n");
  node_.FailReads(Status(Code::kUnavailable, "no leader"));
  TestResponse response = Admin("GET", "/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_NE(response.body.find("[-]read_index failed: no leader\n"), std::string::npos);
  EXPECT_EQ(Admin("GET", "/readyz?exclude=read_index").status, 200);
  node_.SetHealth({{"disk_space", Status(Code::kOutOfSpace, "full")}});
  EXPECT_EQ(Admin("GET", "/readyz?exclude=read_index").status, 503);
  EXPECT_EQ(Admin("GET", "/readyz?exclude=read_index,disk_space").status, 200);
  EXPECT_NE(Admin("GET", "/readyz?verbose&exclude=read_idnex,read_index")
                .body.find("[!]read_idnex excluded: there is no such check\n"),
            std::string::npos);
  EXPECT_EQ(Admin("GET", "/readyz?excl=x").status, 400);
}

// Members that are full must stay in the Service: reads and deletes go on.
TEST_F(AdminApiTest, AFullDiskWarnsAndStaysReady) {
  node_.SetHealth({{"space", Status(Code::kOutOfSpace, "the disk is full"), true}});
  EXPECT_EQ(Admin("GET", "/readyz").status, 200);
  EXPECT_EQ(Admin("GET", "/readyz?verbose").body,
            "[!]space warning: the disk is full\n[+]read_index ok\nreadyz check passed\n");
}

TEST_F(AdminApiTest, MetricsDoNotWaitForListings) {
  node_.HoldState();
  std::vector<TestClient> listings;
  for (int i = 0; i < 8; ++i) {
    listings.emplace_back(server_->client_port());
    listings.back().Send(Request("GET", "/kv/?count_only=true"));
  }
  node_.AwaitStateReaders(4);  // all worker threads
  EXPECT_NE(Admin("GET", "/metrics").body.find("raftkv_build_info"), std::string::npos);
  node_.ReleaseState();
  for (TestClient& listing : listings) EXPECT_EQ(listing.Receive().status, 200);
}

TEST_F(AdminApiTest, MetricsCountRequests) {
  Client("PUT", "/kv/a", "1");
  Client("GET", "/kv/a");
  Client("GET", "/kv/b");
  Client("BAD", "/");
  std::string text = Admin("GET", "/metrics").body;
  for (const char* line :
       {"raftkv_http_requests_total{listener=\"client\",route=\"kv_put\",code=\"201\"} 1\n",
        "raftkv_http_requests_total{listener=\"client\",route=\"kv_get\",code=\"404\"} 1\n",
        "raftkv_http_requests_total{listener=\"client\",route=\"none\",code=\"501\"} 1\n",
        "raftkv_http_requests_in_flight{listener=\"client\"} 0\n",
        "raftkv_http_request_duration_seconds_count{listener=\"client\",route=\"kv_get\"} 2\n",
        "route=\"kv_get\",le=\"+Inf\"} 2\n", "le=\"5e-05\"}", "raftkv_http_connections{",
        "# TYPE process_cpu_seconds_total counter\n", "process_resident_memory_bytes ",
        "process_threads ", "process_start_time_seconds ", "raftkv_build_info{version=\"0."}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

// /metrics is what one looks at when the node hangs.
TEST_F(AdminApiTest, MetricsDoNotWaitForTheNode) {
  node_.Hold();
  TestClient waiting(server_->client_port());
  waiting.Send(Request("PUT", "/kv/a", "1"));
  node_.AwaitHeld(1);
  std::string text = Admin("GET", "/metrics").body;
  EXPECT_NE(text.find("raftkv_http_requests_in_flight{listener=\"client\"} 1\n"),
            std::string::npos);
  node_.Release();
  EXPECT_EQ(waiting.Receive().status, 201);
}

}  // namespace
}  // namespace raftkv::server
