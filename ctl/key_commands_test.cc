// put, get, del and list.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ctl/fake_node.h"
#include "ctl/run_util.h"

namespace raftkv::ctl {
namespace {

using client::FakeNode;
using testing::HasSubstr;
using Json = nlohmann::json;

class KeysTest : public testing::Test {
 protected:
  KeysTest()
      : node_([](const httplib::Request& request, httplib::Response& response) {
          response.set_header("Raftkv-Revision", "8");
          response.set_header("Raftkv-Create-Revision", "5");
          response.set_header("Raftkv-Version", "3");
          response.set_header("ETag", "\"7\"");
          if (request.method == "GET") return response.set_content("a\xffz", "application/x");
          response.status = request.has_header("If-None-Match") ? 201 : 204;
        }) {}

  Outcome Keys(std::vector<std::string> args, const std::string& input = "") {
    args.insert(args.begin(), {"--endpoints", node_.address()});
    return RunWith(input, args);
  }
  std::string LastBody() { return node_.requests().back().body; }

  FakeNode node_;
};

TEST_F(KeysTest, PutTakesValuesFromArgumentInputAndFile) {
  EXPECT_EQ(Keys({"put", "k", "v"}).out, "changed, revision 8\n");
  EXPECT_EQ(LastBody(), "v");
  Keys({"put", "k", ""});
  EXPECT_EQ(LastBody(), "");
  std::string bytes("\0\n\xff", 3);
  Keys({"put", "k"}, bytes);
  EXPECT_EQ(LastBody(), bytes);
  Keys({"put", "k", "-"}, "from input");
  EXPECT_EQ(LastBody(), "from input");
  Keys({"put", "k", "--", "-v"});
  EXPECT_EQ(LastBody(), "-v");
  std::string path = testing::TempDir() + "/raftkvctl-value";
  std::ofstream(path) << "from file";
  Keys({"put", "k", "--file", path});
  EXPECT_EQ(LastBody(), "from file");
  std::filesystem::remove(path);
  EXPECT_EQ(Keys({"put", "k", "--file", path}).status, 1);
  EXPECT_EQ(Keys({"put", "k", "v", "--file", path}).status, 2);
}

TEST_F(KeysTest, PutRefusesWhatNoNodeTakes) {
  EXPECT_EQ(Keys({"put", "k"}, std::string((16 << 20) + 1, 'x')).status, 2);
  EXPECT_TRUE(node_.requests().empty());
}

TEST_F(KeysTest, OutputFormats) {
  EXPECT_EQ(Keys({"-o", "raw", "put", "k", "v"}).out, "8\n");
  EXPECT_EQ(Json::parse(Keys({"put", "k", "v", "--if-absent", "-o", "json"}).out),
            Json({{"revision", 8}, {"created", true}}));
  EXPECT_EQ(Keys({"get", "k"}).out, "a\xffz\n");
  EXPECT_EQ(Keys({"get", "k", "-o", "raw"}).out, "a\xffz");
  EXPECT_EQ(Json::parse(Keys({"get", "k", "-o", "json"}).out), Json({{"key", "k"},
                                                                     {"value", "Yf96"},
                                                                     {"encoding", "base64"},
                                                                     {"create_revision", 5},
                                                                     {"mod_revision", 7},
                                                                     {"version", 3},
                                                                     {"revision", 8}}));
  EXPECT_EQ(Keys({"del", "k"}).out, "deleted, revision 8\n");
}

TEST_F(KeysTest, BinaryKeys) {
  Keys({"get", "--key-base64", "/wA="});
  EXPECT_EQ(node_.requests().back().target, "/kv/%FF%00?consistency=linearizable");
  EXPECT_EQ(Keys({"get", "--key-base64", "?"}).status, 2);
}

TEST_F(KeysTest, EmptyKeysAreRefused) {
  for (const char* command : {"put", "get", "del"}) {
    Outcome outcome = Keys({command, ""});
    EXPECT_EQ(outcome.status, 2) << command;
    EXPECT_EQ(outcome.err, "raftkvctl: the key is empty\n");
  }
  EXPECT_TRUE(node_.requests().empty());
}

TEST_F(KeysTest, ConditionsExcludeEachOther) {
  EXPECT_EQ(Keys({"put", "k", "v", "--if-absent", "--if-revision", "3"}).status, 2);
  EXPECT_EQ(Keys({"put", "k", "v", "--if-absent", "--if-present"}).status, 2);
  EXPECT_EQ(Keys({"del", "k", "--if-absent"}).status, 2);
  EXPECT_TRUE(node_.requests().empty());
}

TEST_F(KeysTest, TheEnvironmentNamesEndpoints) {
  setenv("RAFTKVCTL_ENDPOINTS", ("127.0.0.1:1," + node_.address()).c_str(), 1);
  EXPECT_EQ(RunArgs({"put", "k", "v"}).status, 0);
  unsetenv("RAFTKVCTL_ENDPOINTS");
  EXPECT_EQ(node_.requests().size(), 1u);
}

// Regression: the list of endpoints swallowed the words behind it.
TEST_F(KeysTest, EndpointsEndAtTheNextWord) {
  EXPECT_EQ(RunArgs({"get", "--endpoints", node_.address(), "k"}).status, 0);
  EXPECT_EQ(
      RunArgs({"get", "k", "--endpoints", "127.0.0.1:1", "--endpoints", node_.address()}).status,
      0);
}

TEST(ListTest, TableJsonRawAndCount) {
  FakeNode node([](const httplib::Request& request, httplib::Response& response) {
    if (request.has_param("count_only"))
      return response.set_content(R"({"revision":5,"count":12})", "application/json");
    const char* page =
        request.has_param("after")
            ? R"({"revision":5,"count":1,"more":false,"items":[{"key":"b","value":"2"}]})"
            : R"({"revision":5,"count":1,"more":true,"items":[{"key":"a","value":"1\n"}]})";
    response.set_content(page, "application/json");
  });
  auto list = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"--endpoints", node.address(), "list"});
    return RunArgs(args).out;
  };
  EXPECT_EQ(
      list({}),
      "KEY  REVISION  VERSION  VALUE\na    0         0        1\\x0A\nb    0         0        2\n");
  EXPECT_EQ(list({"-o", "raw"}), "a\nb\n");
  EXPECT_EQ(list({"--count"}), "12\n");
  Json json = Json::parse(list({"x", "-o", "json"}));
  EXPECT_EQ(json["revision"], 5);
  EXPECT_EQ(json["items"].size(), 2u);
  EXPECT_EQ(json["items"][0]["value"], "1\n");
  EXPECT_THAT(node.requests().back().target, HasSubstr("prefix=x&after=a"));
}

TEST(ListTest, ALongKeyDoesNotPadTheOtherRows) {
  std::string key(200, 'x');
  FakeNode node([&](const httplib::Request&, httplib::Response& response) {
    response.set_content(R"({"revision":5,"count":2,"more":false,"items":[{"key":"a","value":"1"},)"
                         R"({"key":")" +
                             key + R"(","value":"2"}]})",
                         "application/json");
  });
  std::string gap(39 + 2, ' ');
  EXPECT_EQ(RunArgs({"--endpoints", node.address(), "list"}).out,
            "KEY" + gap.substr(2) + "REVISION  VERSION  VALUE\na" + gap + "0         0        1\n" +
                key + "  0         0        2\n");
}

}  // namespace
}  // namespace raftkv::ctl
