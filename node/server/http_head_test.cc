#include "node/server/http_head.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace raftkv::server {
namespace {

// 200 for a head that is accepted, else the status of the refusal; 0 if it is not complete.
int StatusOf(std::string_view text, Limits limits = {}) {
  HeadScanner scanner(limits);
  auto size = scanner.Scan(text);
  if (!size) return size.error().status;
  if (*size == 0) return 0;
  auto head = ParseHead(text.substr(0, *size), limits);
  return head ? 200 : head.error().status;
}

struct Case {
  const char* name;
  const char* head;
  int status;
};

constexpr Case kCases[] = {
    {"plain", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"incomplete", "GET /a HTTP/1.1\r\nHost: h\r\n", 0},
    {"absolute form", "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"absolute form without host", "GET http:///kv/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"absolute form of nothing", "GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"asterisk of another method", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", 200},
    {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"no version", "GET /\r\nHost: h\r\n\r\n", 400},
    {"no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"space in target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"tab as space", "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"target without slash", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"raw UTF-8 in target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"version 2", "PRI * HTTP/2.0\r\n\r\n", 505},
    {"version 0.9", "GET / HTTP/0.9\r\n\r\n", 505},
    {"bad version", "GET / HTTP/1.11\r\nHost: h\r\n\r\n", 400},
    {"lower-case version", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
    {"unknown method", "BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 501},
    {"lower-case method", "get / HTTP/1.1\r\nHost: h\r\n\r\n", 501},
    {"method not a token", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"bare line feed", "GET / HTTP/1.1\nHost: h\n\n", 400},
    {"empty line without CR", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
    {"TLS handshake", "\x16\x03\x01\x02", 400},
    {"folded header", "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400},
    {"space before colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
    {"no colon", "GET / HTTP/1.1\r\nHost h\r\n\r\n", 400},
    {"empty name", "GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400},
    {"bare CR in value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400},
    {"control in value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n", 400},
    {"PUT without length", "PUT / HTTP/1.1\r\nHost: h\r\n\r\n", 200},  // the route answers 411
    {"POST without length", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"PATCH without length", "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"chunked", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
    {"other coding", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
    {"chunked and length",
     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"length and chunked",
     "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
    {"chunked in HTTP/1.0", "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"chunked GET", "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
    {"two lengths", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     400},
    {"same length twice",
     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
    {"list of lengths", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", 400},
    {"negative length", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
    {"signed length", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400},
    {"hexadecimal length", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n", 400},
    {"empty length", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
    {"huge length", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
     413},
    {"length over the limit", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413},
    {"GET with body", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", 400},
    {"GET with length 0", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 200},
    {"DELETE with body", "DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", 400},
    {"multipart",
     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Type: Multipart/form-data\r\n\r\n",
     415},
    {"compressed",
     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Encoding: gzip\r\n\r\n", 415},
    {"identity",
     "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Encoding: identity\r\n\r\n", 200},
    {"unknown expectation", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n",
     417},
};

TEST(HttpHead, AcceptsAndRefuses) {
  for (const Case& c : kCases) EXPECT_EQ(StatusOf(c.head), c.status) << c.name;
}

TEST(HttpHead, ReadsWhatMatters) {
  Limits limits;
  auto head = ParseHead(
      "PUT /kv/a%20b?x=1 HTTP/1.1\r\nhost: h\r\nIf-Match:  \"7\" \t\r\nExpect: 100-Continue\r\n"
      "Content-Length: 3\r\n\r\n",
      limits);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->request.method, "PUT");
  EXPECT_EQ(head->request.raw_path, "/kv/a%20b");
  EXPECT_EQ(head->request.raw_query, "x=1");
  EXPECT_EQ(head->request.Header("if-match"), "\"7\"");
  EXPECT_EQ(head->request.Header("If-None-Match"), std::nullopt);
  EXPECT_EQ(head->content_length, 3u);
  EXPECT_TRUE(head->expect_continue);
  EXPECT_TRUE(head->keep_alive);
}

TEST(HttpHead, KeepAliveFollowsVersionAndConnection) {
  Limits limits;
  auto keep = [&limits](std::string_view version, std::string_view line) {
    std::string head = "GET / HTTP/" + std::string(version) + "\r\nHost: h\r\n";
    return ParseHead(head.append(line).append("\r\n"), limits)->keep_alive;
  };
  EXPECT_TRUE(keep("1.1", ""));
  EXPECT_FALSE(keep("1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keep("1.1", "Connection: te, Close\r\n"));
  EXPECT_FALSE(keep("1.0", ""));
  EXPECT_TRUE(keep("1.0", "Connection: Keep-Alive\r\n"));
  EXPECT_FALSE(keep("1.1", "Connection: close\r\nConnection: keep-alive\r\n"));
}

TEST(HttpHead, LimitsHoldBeforeTheHeadIsComplete) {
  Limits limits;
  limits.max_line_bytes = 100;
  limits.max_header_bytes = 50;
  limits.max_head_bytes = 300;
  limits.max_headers = 3;
  std::string line = "GET /" + std::string(200, 'a');
  EXPECT_EQ(StatusOf(line, limits), 414);
  std::string start = "GET / HTTP/1.1\r\nHost: h\r\n";
  EXPECT_EQ(StatusOf(start + "A: " + std::string(60, 'a'), limits), 431);
  EXPECT_EQ(StatusOf(start + "A: 1\r\nB: 2\r\nC: 3\r\n", limits), 431);
  limits.max_headers = 100;
  std::string many = start;
  while (many.size() < 310) many += "A: 1\r\n";
  EXPECT_EQ(StatusOf(many, limits), 431);
}

// However a head is cut into pieces, it ends at the same place.
TEST(HttpHead, ScansInPieces) {
  Limits limits;
  const std::string text = "GET /abc HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\nGET /next";
  const size_t end = text.find("\r\n\r\n") + 4;
  SeededRandom random(7);
  for (int round = 0; round < 200; ++round) {
    HeadScanner scanner(limits);
    size_t size = 0;
    for (size_t have = 0; size == 0;) {
      have = std::min(text.size(), have + 1 + random.Uniform(9));
      auto scanned = scanner.Scan(std::string_view(text).substr(0, have));
      ASSERT_TRUE(scanned.has_value());
      size = *scanned;
    }
    EXPECT_EQ(size, end);
  }
}

// Damaged requests are refused or read; never anything worse (run under the sanitizers).
TEST(HttpHead, SurvivesRandomDamage) {
  const std::string text =
      "PUT /kv/a%20b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close, te\r\n"
      "If-None-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n";
  SeededRandom random(11);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = text;
    for (uint64_t i = 0; i <= random.Uniform(4); ++i) {
      size_t at = random.Uniform(damaged.size());
      switch (random.Uniform(3)) {
        case 0:
          damaged[at] = static_cast<char>(random.Next());
          break;
        case 1:
          damaged.erase(at, 1 + random.Uniform(30));
          break;
        default:
          damaged.insert(at, "\r\n", random.Uniform(3));
      }
      if (damaged.empty()) damaged = text;
    }
    accepted += StatusOf(damaged) == 200;
  }
  EXPECT_LT(accepted, 20'000);
}

}  // namespace
}  // namespace raftkv::server
