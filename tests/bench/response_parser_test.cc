#include "tests/bench/response_parser.h"

#include <gtest/gtest.h>

#include <string>

namespace raftkv::bench {
namespace {

using State = ResponseParser::State;

constexpr std::string_view kGet =
    "HTTP/1.1 200 OK\r\nETag: \"7\"\r\nCONTENT-LENGTH:  5 \r\n\r\nhello";

TEST(ResponseParserTest, WholeResponseInOneRead) {
  ResponseParser parser;
  ASSERT_EQ(parser.Feed(kGet), State::kDone);
  EXPECT_EQ(parser.status(), 200);
  EXPECT_EQ(parser.body_bytes(), 5u);
  EXPECT_TRUE(parser.keep_alive());
}

TEST(ResponseParserTest, EverySplitGivesTheSame) {
  for (size_t cut = 1; cut < kGet.size(); ++cut) {
    ResponseParser parser;
    ASSERT_EQ(parser.Feed(kGet.substr(0, cut)), State::kNeedMore) << cut;
    ASSERT_EQ(parser.Feed(kGet.substr(cut)), State::kDone) << cut;
    EXPECT_EQ(parser.status(), 200);
  }
}

TEST(ResponseParserTest, ByteByByteThenReset) {
  ResponseParser parser;
  for (int round = 0; round < 2; ++round) {
    parser.Reset();
    for (size_t i = 0; i + 1 < kGet.size(); ++i)
      ASSERT_EQ(parser.Feed(kGet.substr(i, 1)), State::kNeedMore);
    ASSERT_EQ(parser.Feed(kGet.substr(kGet.size() - 1)), State::kDone);
  }
}

TEST(ResponseParserTest, NoContentNeedsNoLength) {
  ResponseParser parser;
  EXPECT_EQ(parser.Feed("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), State::kDone);
  EXPECT_EQ(parser.status(), 204);
  EXPECT_FALSE(parser.keep_alive());
}

TEST(ResponseParserTest, RefusesWhatItCannotFrame) {
  for (std::string_view bad : {
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",  // no length
           "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",  // more than announced
           "HTTP/1.1 204 No Content\r\n\r\nx",
           "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
           "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
           "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
           "SSH-2.0-x\r\n\r\n",
       }) {
    ResponseParser parser;
    EXPECT_EQ(parser.Feed(bad), State::kError) << bad;
  }
}

TEST(ResponseParserTest, AnEndlessHeadIsAnError) {
  ResponseParser parser;
  std::string junk = "HTTP/1.1 200 OK\r\nX: ";
  State state = parser.Feed(junk);
  for (int i = 0; i < 100 && state == State::kNeedMore; ++i)
    state = parser.Feed(std::string(1000, 'x'));
  EXPECT_EQ(state, State::kError);
}

}  // namespace
}  // namespace raftkv::bench
