#include "node/server/api_fixture.h"

namespace raftkv::server {
namespace {

class KvApiTest : public ApiTest {
 protected:
  nlohmann::json Range(std::string_view query) {
    TestResponse response = Client("GET", "/kv/?" + std::string(query));
    EXPECT_EQ(response.status, 200) << response.body;
    return nlohmann::json::parse(response.body);
  }
  static std::string KeysOf(const nlohmann::json& page) {
    std::string keys;
    for (const auto& item : page["items"]) keys += item["key"].get<std::string>() + " ";
    return keys;
  }
};

TEST_F(KvApiTest, AClientSaysHowLongItWaits) {
  for (const char* bad : {"0", "-1", "x", "1.5", ""}) {
    TestResponse response =
        Client("GET", "/kv/k", "", std::string("Raftkv-Timeout-Ms: ") + bad + "\r\n");
    EXPECT_EQ(response.status, 400) << bad;
    EXPECT_NE(Detail(response).find("Raftkv-Timeout-Ms"), std::string::npos);
  }
  EXPECT_EQ(Client("GET", "/kv/k", "", "Raftkv-Timeout-Ms: 18446744073709551615\r\n").status, 404);
}

TEST_F(KvApiTest, PutGetDelete) {
  TestResponse created = Client("PUT", "/kv/a", "1");
  EXPECT_EQ(created.status, 201);
  EXPECT_EQ(created.Header("etag"), "\"2\"");
  EXPECT_EQ(created.Header("raftkv-revision"), "2");
  TestResponse changed = Client("PUT", "/kv/a", "2");
  EXPECT_EQ(changed.status, 204);
  EXPECT_EQ(changed.headers.count("content-length"), 0u);
  TestResponse read = Client("GET", "/kv/a");
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(read.body, "2");
  EXPECT_EQ(read.Header("etag"), "\"3\"");
  EXPECT_EQ(read.Header("raftkv-create-revision"), "2");
  EXPECT_EQ(read.Header("raftkv-version"), "2");
  EXPECT_EQ(Client("DELETE", "/kv/a").status, 204);
  TestResponse nothing = Client("DELETE", "/kv/a");
  EXPECT_EQ(nothing.status, 404);
  EXPECT_EQ(nothing.Header("raftkv-revision"), "4");
  TestResponse missing = Client("GET", "/kv/a");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.Header("raftkv-revision"), "4");
  EXPECT_EQ(Client("GET", "/kv/b?revision=3").Header("raftkv-revision"), "3");
}

// Whether a method fits comes before whether its body is well-formed; a value is never taken to be
// empty because it was forgotten.
TEST_F(KvApiTest, OnlyValuesNeedAContentLength) {
  TestClient client(server_->client_port());
  TestResponse patch = client.Ask("PATCH /kv/a HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(patch.status, 405);
  EXPECT_EQ(patch.Header("allow"), "GET, HEAD, PUT, DELETE");
  EXPECT_EQ(client.Ask("PUT /cluster HTTP/1.1\r\nHost: h\r\n\r\n").status, 405);
  TestResponse put = client.Ask("PUT /kv/a HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(put.status, 411);
  EXPECT_NE(Detail(put).find("Content-Length"), std::string::npos);
  EXPECT_EQ(node_.writes(), 0u);
  EXPECT_EQ(client.Ask(Request("PUT", "/kv/a")).status, 201);  // 0 bytes, and it says so
  TestClient admin(server_->admin_port());
  EXPECT_EQ(admin.Ask("POST /admin/snapshot HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
}

TEST_F(KvApiTest, HeadAnswersLikeGetWithoutBody) {
  Client("PUT", "/kv/a", "value");
  TestResponse head = Client("HEAD", "/kv/a");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.Header("content-length"), "5");
  EXPECT_EQ(head.Header("etag"), "\"2\"");
  EXPECT_EQ(head.Header("raftkv-create-revision"), "2");
  EXPECT_EQ(head.Header("raftkv-version"), "1");
  EXPECT_EQ(Client("HEAD", "/kv/b").status, 404);
}

TEST_F(KvApiTest, KeysAreAnyBytes) {
  for (const char* key : {"a%2Fb", "a/b/", "%00%ff", "%20", "a+b", "..", "a//b", "%25"}) {
    std::string path = "/kv/" + std::string(key);
    EXPECT_EQ(Client("PUT", path, key).status, 201) << key;
    EXPECT_EQ(Client("GET", path).body, key);
  }
  EXPECT_EQ(Client("GET", "/kv/a%2fb").body, Client("GET", "/kv/a/b").body);
}

TEST_F(KvApiTest, KeysHaveUpTo4KiB) {
  std::string key;
  for (int i = 0; i < 4096; ++i) key += "%ff";
  EXPECT_EQ(Client("PUT", "/kv/" + key, "v").status, 201);
  EXPECT_EQ(Client("GET", "/kv/" + key).body, "v");
  TestResponse longer = Client("PUT", "/kv/" + key + "a", "v");
  EXPECT_EQ(longer.status, 400);
  EXPECT_NE(Detail(longer).find("4096"), std::string::npos);
}

// Regression: the server's own `next` was answered with 414.
TEST_F(KvApiTest, PagesOfTheLongestBinaryKeys) {
  const auto bytes = [](size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += "%ff";
    return text;
  };
  const std::string prefix = bytes(4095);
  for (const char* last : {"%00", "%fe", "%ff"}) {
    ASSERT_EQ(Client("PUT", "/kv/" + prefix + last, "v").status, 201);
  }
  std::string query = "limit=1&keys_only=true&prefix=" + prefix + "&start=" + prefix +
                      "%00&end=" + bytes(4096) + "%00";
  for (const char* order : {"asc", "desc"}) {
    std::string next = "/kv/?order=" + std::string(order) + "&" + query;
    size_t items = 0;
    while (!next.empty() && items < 4) {
      const TestResponse response = Client("GET", next);
      ASSERT_EQ(response.status, 200) << response.body.substr(0, 300);
      const auto page = nlohmann::json::parse(response.body);
      items += page["items"].size();
      next = page["more"].get<bool>() ? page["next"].get<std::string>() : "";
    }
    EXPECT_EQ(items, 3u) << order;
  }
}

TEST_F(KvApiTest, ValuesAreAnyBytesUpToTheLimit) {
  std::string value("\0\xff\r\n\r\n", 6);
  Client("PUT", "/kv/a", value);
  EXPECT_EQ(Client("GET", "/kv/a").body, value);
  EXPECT_EQ(Client("PUT", "/kv/empty", "").status, 201);
  EXPECT_EQ(Client("GET", "/kv/empty").body, "");
  EXPECT_EQ(Client("PUT", "/kv/b", std::string(1000, 'v')).status, 201);
  EXPECT_EQ(Client("PUT", "/kv/b", std::string(1001, 'v')).status, 413);
}

TEST_F(KvApiTest, FormBodiesAreValuesToo) {
  const char* type = "Content-Type: application/x-www-form-urlencoded\r\n";
  Client("PUT", "/kv/a", "x=1&y=%20", type);
  EXPECT_EQ(Client("GET", "/kv/a").body, "x=1&y=%20");
}

TEST_F(KvApiTest, CompareAndSet) {
  EXPECT_EQ(Client("PUT", "/kv/a", "1", "If-None-Match: *\r\n").status, 201);
  TestResponse exists = Client("PUT", "/kv/a", "1", "If-None-Match: *\r\n");
  EXPECT_EQ(exists.status, 412);
  EXPECT_EQ(exists.Header("etag"), "\"2\"");
  EXPECT_EQ(Client("PUT", "/kv/a", "2", "If-Match: \"2\"\r\n").status, 204);
  EXPECT_EQ(Client("PUT", "/kv/a", "3", "If-Match: \"2\"\r\n").status, 412);
  EXPECT_EQ(Client("PUT", "/kv/a", "3", "If-Match: *\r\n").status, 204);
  EXPECT_EQ(Client("PUT", "/kv/b", "3", "If-Match: *\r\n").status, 412);
  EXPECT_EQ(Client("DELETE", "/kv/a", "", "If-Match: \"3\"\r\n").status, 412);
  EXPECT_EQ(Client("DELETE", "/kv/a", "", "If-Match: \"4\"\r\n").status, 204);
  EXPECT_EQ(Client("PUT", "/kv/a", "1", "If-Match: \"unknown\"\r\n").status, 412);
  EXPECT_EQ(Client("PUT", "/kv/a", "1", "If-Match: \"0\"\r\n").status, 412);
  EXPECT_EQ(Client("PUT", "/kv/a", "1", "If-Match: W/\"4\"\r\n").status, 412);
}

TEST_F(KvApiTest, ConditionsOnReads) {
  Client("PUT", "/kv/a", "1");
  TestResponse same = Client("GET", "/kv/a", "", "If-None-Match: \"7\", W/\"2\"\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.body, "");
  EXPECT_EQ(same.Header("etag"), "\"2\"");
  EXPECT_EQ(Client("HEAD", "/kv/a", "", "If-None-Match: *\r\n").status, 304);
  EXPECT_EQ(Client("GET", "/kv/a", "", "If-None-Match: \"3\"\r\n").status, 200);
  EXPECT_EQ(Client("GET", "/kv/a", "", "If-Match: \"2\"\r\n").status, 200);
  EXPECT_EQ(Client("GET", "/kv/a", "", "If-Match: \"3\"\r\n").status, 412);
  EXPECT_EQ(Client("GET", "/kv/b", "", "If-Match: *\r\n").status, 412);
}

TEST_F(KvApiTest, MalformedConditionsAre400) {
  for (const char* condition :
       {"If-Match: 2", "If-Match: \"2", "If-Match: \"2\",", "If-Match: ,",
        "If-Match:", "If-Match: \"2\" \"3\"", "If-Match: *, \"2\"", "If-None-Match: two",
        "If-Match: \"2\"\r\nIf-None-Match: *", "If-Match: \"2\"\r\nIf-Match: \"3\"",
        "If-Match: \"2\", \"3\"", "If-None-Match: \"2\""}) {
    EXPECT_EQ(Client("PUT", "/kv/a", "1", std::string(condition) + "\r\n").status, 400)
        << condition;
  }
  EXPECT_EQ(node_.writes(), 0u);
}

TEST_F(KvApiTest, OldRevisions) {
  Client("PUT", "/kv/a", "1");
  Client("PUT", "/kv/a", "2");
  TestResponse old = Client("GET", "/kv/a?revision=2");
  EXPECT_EQ(old.body, "1");
  EXPECT_EQ(old.Header("raftkv-revision"), "2");
  EXPECT_EQ(old.Header("raftkv-create-revision"), "2");
  EXPECT_EQ(old.Header("raftkv-version"), "1");
  EXPECT_EQ(Client("GET", "/kv/a?revision=9").status, 400);
  EXPECT_EQ(Client("GET", "/kv/a?revision=x").status, 400);
  EXPECT_EQ(
      Admin("POST", "/admin/compact", "{\"revision\":3}", "Content-Type: application/json\r\n")
          .status,
      200);
  TestResponse gone = Client("GET", "/kv/a?revision=2");
  EXPECT_EQ(gone.status, 410);
  EXPECT_FALSE(Detail(gone).empty());
}

TEST_F(KvApiTest, RevisionOfAReadIsTheStores) {
  Client("PUT", "/kv/a", "1");
  Client("PUT", "/kv/b", "1");
  TestResponse read = Client("GET", "/kv/a");
  EXPECT_EQ(read.Header("etag"), "\"2\"");
  EXPECT_EQ(read.Header("raftkv-revision"), "3");
}

TEST_F(KvApiTest, Consistency) {
  Client("PUT", "/kv/a", "1");
  node_.FailReads(Status(Code::kUnavailable, "There is no leader."));
  EXPECT_EQ(Client("GET", "/kv/a?consistency=stale").body, "1");
  for (const char* query : {"", "?consistency=linearizable", "?consistency=lease"}) {
    TestResponse response = Client("GET", "/kv/a" + std::string(query));
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(response.Header("retry-after"), "1");
    EXPECT_EQ(Detail(response), "There is no leader.");
  }
  EXPECT_EQ(Client("GET", "/kv/a?consistency=eventual").status, 400);
}

TEST_F(KvApiTest, UnknownOrDoubleParametersAre400) {
  for (const char* query : {"?x=1", "?Consistency=stale", "?revision=1&revision=1", "?%zz=1"}) {
    EXPECT_EQ(Client("GET", "/kv/a" + std::string(query)).status, 400) << query;
  }
  EXPECT_EQ(Client("PUT", "/kv/a?ttl=5", "1").status, 400);
  EXPECT_EQ(Client("DELETE", "/kv/a?prefix=1").status, 400);
  EXPECT_EQ(Client("GET", "/kv/%zz").status, 400);
  EXPECT_EQ(node_.writes(), 0u);
}

TEST_F(KvApiTest, OtherMethodsAre405WithAllow) {
  for (const char* method : {"POST", "PATCH", "OPTIONS", "TRACE"}) {
    TestResponse response = Client(method, "/kv/a");
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_EQ(response.Header("allow"), "GET, HEAD, PUT, DELETE");
  }
  EXPECT_EQ(Client("PUT", "/kv/", "1").Header("allow"), "GET, HEAD");
  EXPECT_EQ(Client("DELETE", "/kv").Header("allow"), "GET, HEAD");
  EXPECT_EQ(Client("POST", "/cluster").Header("allow"), "GET, HEAD");
}

TEST_F(KvApiTest, UnknownPathsAre404) {
  for (const char* path : {"/", "/kvs", "/kvs/a", "/admin/status", "/metrics", "/cluster/"}) {
    TestResponse response = Client("GET", path);
    EXPECT_EQ(response.status, 404) << path;
    // Not to be taken for a key that does not exist.
    EXPECT_NE(response.body.find("urn:raftkv:problem:no-such-resource"), std::string::npos) << path;
  }
  EXPECT_EQ(Client("OPTIONS", "*").status, 404);
}

struct Failure {
  Code code;
  int status;
  bool retry_after;
};

class WriteFailureTest : public ApiTest, public testing::WithParamInterface<Failure> {};

TEST_P(WriteFailureTest, HasItsStatusAndIsNotRepeated) {
  node_.FailWrites(Status(GetParam().code, "What happened."));
  TestResponse response = Client("PUT", "/kv/a", "1");
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_EQ(response.Header("retry-after"), GetParam().retry_after ? "1" : "");
  EXPECT_EQ(Detail(response), "What happened.");
  EXPECT_EQ(nlohmann::json::parse(response.body)["code"], CodeName(GetParam().code));
  EXPECT_EQ(node_.writes(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Codes, WriteFailureTest,
                         testing::Values(Failure{Code::kInvalidArgument, 400, false},
                                         Failure{Code::kUnavailable, 503, true},
                                         Failure{Code::kNotServing, 503, true},
                                         Failure{Code::kFailedPrecondition, 409, false},
                                         Failure{Code::kUnknownOutcome, 504, false},
                                         Failure{Code::kResourceExhausted, 429, true},
                                         Failure{Code::kOutOfSpace, 507, false},
                                         Failure{Code::kIoError, 500, false},
                                         Failure{Code::kInternal, 500, false}),
                         [](const auto& failure) {
                           std::string name;
                           for (char c : CodeName(failure.param.code)) {
                             if (std::isalnum(static_cast<unsigned char>(c))) name += c;
                           }
                           return name;
                         });

TEST_F(KvApiTest, RangeByPrefix) {
  for (const char* key : {"a", "p/1", "p/2", "p/3", "q"})
    Client("PUT", "/kv/" + std::string(key), key);
  auto page = Range("prefix=p/");
  EXPECT_EQ(KeysOf(page), "p/1 p/2 p/3 ");
  EXPECT_EQ(page["more"], false);
  EXPECT_EQ(page["revision"], 6);
  EXPECT_EQ(page["items"][0]["value"], "p/1");
  EXPECT_EQ(page["items"][0]["mod_revision"], 3);
  EXPECT_EQ(page["items"][0]["create_revision"], 3);
  EXPECT_EQ(page["items"][0]["version"], 1);
  EXPECT_EQ(KeysOf(Range("")), "a p/1 p/2 p/3 q ");
  EXPECT_EQ(KeysOf(Range("start=p/2")), "p/2 p/3 q ");
  EXPECT_EQ(KeysOf(Range("start=p/2&end=q")), "p/2 p/3 ");
  EXPECT_EQ(KeysOf(Range("prefix=p/&start=p/2&order=desc")), "p/3 p/2 ");
  EXPECT_EQ(KeysOf(Range("start=x&end=b")), "");
  EXPECT_EQ(Range("prefix=p/&count_only")["count"], 3);
  EXPECT_FALSE(Range("prefix=a&keys_only=true")["items"][0].contains("value"));
  EXPECT_EQ(Client("HEAD", "/kv/?prefix=p/").status, 200);
}

// Pages show one revision, whatever is written between them.
TEST_F(KvApiTest, PagesAreConsistent) {
  for (int i = 0; i < 9; ++i) Client("PUT", "/kv/k" + std::to_string(i), "old");
  for (const char* order : {"asc", "desc"}) {
    std::string keys;
    std::string url = "/kv/?prefix=k&limit=4&order=" + std::string(order);
    int pages = 0;
    for (; !url.empty() && pages < 9; ++pages) {
      TestResponse response = Client("GET", url);
      ASSERT_EQ(response.status, 200) << response.body;
      auto page = nlohmann::json::parse(response.body);
      keys += KeysOf(page);
      url = page["more"] ? page["next"].get<std::string>() : "";
      Client("PUT", "/kv/k5" + std::to_string(pages), "new");
      Client("DELETE", "/kv/k53");
    }
    EXPECT_EQ(pages, 3);
    if (order == std::string("asc")) {
      EXPECT_EQ(keys, "k0 k1 k2 k3 k4 k5 k6 k7 k8 ");
    }
  }
}

// A stale listing without a leader must not fail at its second page.
TEST_F(KvApiTest, PagesKeepTheirConsistency) {
  for (int i = 0; i < 3; ++i) Client("PUT", "/kv/k" + std::to_string(i), "v");
  node_.FailReads(Status(Code::kUnavailable, "no leader"));
  std::string url = "/kv/?limit=1&consistency=stale";
  int pages = 0;
  for (; !url.empty() && pages < 9; ++pages) {
    TestResponse response = Client("GET", url);
    ASSERT_EQ(response.status, 200) << url << response.body;
    auto page = nlohmann::json::parse(response.body);
    url = page["more"] ? page["next"].get<std::string>() : "";
  }
  EXPECT_EQ(pages, 3);
}

TEST_F(KvApiTest, CountsGoOverManyPages) {
  for (int i = 0; i < 25; ++i) Client("PUT", "/kv/k" + std::to_string(i), "v");
  EXPECT_EQ(Range("prefix=k&count_only=true")["count"], 25);
  EXPECT_EQ(Range("prefix=k1&count_only=true&order=desc")["count"], 11);
  EXPECT_EQ(Range("prefix=none&count_only=true")["count"], 0);
}

TEST_F(KvApiTest, BytesThatAreNoTextAreBase64) {
  Client("PUT", "/kv/%ff", std::string("\xff\x00", 2));
  Client("PUT", "/kv/%22t", "\xc3\xa4\"\n");
  auto items = Range("")["items"];
  EXPECT_EQ(items[0]["key"], "\"t");
  EXPECT_EQ(items[0]["value"], "\xc3\xa4\"\n");
  EXPECT_FALSE(items[0].contains("encoding"));
  EXPECT_EQ(items[1]["key"], "/w==");
  EXPECT_EQ(items[1]["key_encoding"], "base64");
  EXPECT_EQ(items[1]["value"], "/wA=");
  EXPECT_EQ(items[1]["encoding"], "base64");
  // The next page's link carries the key's bytes.
  TestResponse page = Client("GET", "/kv/?limit=1&order=desc");
  EXPECT_EQ(nlohmann::json::parse(page.body)["next"],
            "/kv/?limit=1&order=desc&revision=3&after=%FF");
}

TEST_F(KvApiTest, BadRangesAre400) {
  for (const char* query :
       {"limit=0", "limit=10001", "limit=-1", "limit=x", "order=up", "revision=x",
        "keys_only=maybe", "after=", "prefx=a", "limit=1&limit=2"}) {
    EXPECT_EQ(Client("GET", "/kv/?" + std::string(query)).status, 400) << query;
  }
}

// A range that can hold no key was answered with whatever revision was asked for.
TEST_F(KvApiTest, AnEmptyRangeLooksAtItsRevisionAsOthersDo) {
  Client("PUT", "/kv/a", "1");
  Client("PUT", "/kv/b", "2");
  ASSERT_EQ(
      Admin("POST", "/admin/compact", "{\"revision\":3}", "Content-Type: application/json\r\n")
          .status,
      200);
  const std::vector<std::string> reads = {"/kv/?prefix=a&",
                                          "/kv/?prefix=nothing&",
                                          "/kv/?start=p/4&end=p/2&",
                                          "/kv/?start=a&end=a&",
                                          "/kv/?prefix=b&end=a&",
                                          "/kv/?end=b&after=b&",
                                          "/kv/?start=b&after=b&order=desc&",
                                          "/kv/missing?"};
  for (const std::string& read : reads) {
    std::vector<std::string> forms = {"", "consistency=stale&"};
    if (read.starts_with("/kv/?")) {
      forms.insert(forms.end(), {"keys_only=true&", "count_only=true&", "limit=1&"});
    }
    for (const std::string& form : forms) {
      const std::string path = read + form + "revision=";
      const TestResponse future = Client("GET", path + "99");
      EXPECT_EQ(future.status, 400) << path;
      EXPECT_NE(Detail(future).find("lies in the future: the store is at 3"), std::string::npos);
      EXPECT_EQ(Client("GET", path + "2").status, 410) << path;
      for (const char* now : {"3", "0"}) {
        const TestResponse there = Client("GET", path + now);
        EXPECT_EQ(there.status, read == "/kv/missing?" ? 404 : 200) << path << now;
        EXPECT_EQ(there.Header("raftkv-revision"), "3") << path << now;
      }
    }
  }
}

TEST_F(KvApiTest, ClusterShowsMembers) {
  TestResponse response = Client("GET", "/cluster");
  ASSERT_EQ(response.status, 200);
  auto cluster = nlohmann::json::parse(response.body);
  EXPECT_EQ(cluster["cluster_id"], "00000000000000c1");
  EXPECT_EQ(cluster["leader"], "00000000000000a1");
  EXPECT_EQ(cluster["config_index"], 5);
  EXPECT_EQ(cluster["joint"], false);
  EXPECT_EQ(cluster["admin_port"], server_->admin_port());
  EXPECT_EQ(cluster["answered_by"], "00000000000000a1");
  ASSERT_EQ(cluster["members"].size(), 3u);
  EXPECT_EQ(cluster["members"][2]["role"], "learner");
  EXPECT_EQ(cluster["members"][0]["leader"], true);
}

TEST_F(KvApiTest, ClusterOfABlankNode) {
  node_.SetStatus({});
  auto cluster = nlohmann::json::parse(Client("GET", "/cluster").body);
  EXPECT_EQ(cluster["cluster_id"], nullptr);
  EXPECT_EQ(cluster["leader"], nullptr);
  EXPECT_TRUE(cluster["members"].empty());
}

// Requests that wait hold no thread: many more of them than threads are answered in the end.
TEST_F(KvApiTest, ManyRequestsWaitAtOnce) {
  node_.Hold();
  std::vector<TestClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(server_->client_port());
    clients.back().Send(i % 2 ? Request("PUT", "/kv/k" + std::to_string(i), "v")
                              : Request("GET", "/kv/k"));
  }
  node_.AwaitHeld(200);
  EXPECT_EQ(Client("GET", "/kv/k?consistency=stale").status, 404);
  node_.Release();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(clients[i].Receive().status, i % 2 ? 201 : 404);
}

TEST_F(KvApiTest, StopsWhileRequestsWait) {
  node_.Hold();
  TestClient client(server_->client_port());
  client.Send(Request("PUT", "/kv/a", "v"));
  node_.AwaitHeld(1);
  server_->Stop(std::chrono::milliseconds(20));
  EXPECT_EQ(client.ReceiveAll(), "");
  server_.reset();
  node_.Release();
}

}  // namespace
}  // namespace raftkv::server
