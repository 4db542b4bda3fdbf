// The framing of answers: the same however their bytes arrive, and what is refused.
#include "operator/kube/http_connection.h"

#include <gtest/gtest.h>

#include "operator/kube/test_stream.h"

namespace raftkv::kube {
namespace {

struct Answer {
  std::string text;  // status and body, or the reason of the error
  bool reusable = false;
  size_t most_buffered = 0;
};

Answer Read(const std::string& bytes, size_t piece, bool pauses = false, HttpLimits limits = {}) {
  auto stream = std::make_unique<MemoryStream>(bytes, piece, false);
  MemoryStream* control = stream.get();
  HttpConnection connection(std::move(stream), limits);
  Answer out;
  auto head = connection.Send({.method = "GET", .target = "/", .headers = {}, .body = {}}, {});
  out.most_buffered = connection.buffered_bytes();
  if (!head) {
    out.text = ReasonName(head.error().reason);
    return out;
  }
  control->Pause(pauses);
  out.text = std::to_string(head->status) + " ";
  while (true) {
    auto read = connection.ReadSome({});
    out.most_buffered = std::max(out.most_buffered, connection.buffered_bytes());
    if (!read && read.error().Is(Reason::kDeadline)) continue;
    if (!read) out.text = ReasonName(read.error().reason);
    if (!read || read->empty()) break;
    out.text += *read;
  }
  out.reusable = connection.reusable();
  return out;
}

const std::string kChunked =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    "4\r\nabcd\r\n6;x=y\r\nefghij\r\n0\r\nA: b\r\nC: d\r\n\r\n";

TEST(HttpConnection, TellsHowEachAnswerEnds) {
  const std::pair<std::string, std::string> answers[] = {
      {kChunked, "200 abcdefghij"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "200 abc"},
      {"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", "404 "},
      {"HTTP/1.1 204 No Content\r\n\r\n", "204 "},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 x"},
  };
  for (const auto& [bytes, text] : answers) {
    for (size_t piece : {1, 2, 3, 7, 100'000}) {
      for (bool pauses : {false, true}) {
        Answer answer = Read(bytes, piece, pauses);
        EXPECT_EQ(answer.text, text) << piece << " " << pauses;
        EXPECT_TRUE(answer.reusable) << text;
      }
    }
  }
  Answer until_close = Read("HTTP/1.1 200 OK\r\n\r\nabc", 2);
  EXPECT_EQ(until_close.text, "200 abc");
  EXPECT_FALSE(until_close.reusable);
}

// What came after an answer was thrown away if it had come together with it, and the connection
// used again: the rest of it would have been the next answer.
TEST(HttpConnection, BytesAfterAnAnswerEndItsConnection) {
  for (size_t piece : {1, 39, 40, 41, 1000}) {
    Answer answer = Read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", piece);
    EXPECT_EQ(answer.text, "200 x");
    EXPECT_FALSE(answer.reusable) << piece;
  }
}

// The reader and a proxy before it must not disagree about where an answer ends.
TEST(HttpConnection, RefusesWhatCanBeReadInTwoWays) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const std::string& bytes : {
           ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
           ok + "Content-Length: 1, 1\r\n\r\na",
           ok + "Content-Length: +1\r\n\r\na",
           ok + "Content-Length:\r\n\r\na",
           ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
           ok + "Transfer-Encoding: gzip\r\n\r\nab",
           ok + "Content-Length : 1\r\n\r\na",
           ok + " folded: 1\r\n\r\n",
           ok + ": 1\r\n\r\n",
           std::string("HTTP/1.1x200 OK\r\n\r\n"),
           std::string("HTTP/1.1 2000 OK\r\n\r\n"),
           std::string("HTTP/1.1 099 OK\r\n\r\n"),
           std::string("HTTP/2 200\r\n\r\n"),
       }) {
    EXPECT_EQ(Read(bytes, 1000).text, ReasonName(Reason::kMalformed)) << bytes;
  }
  EXPECT_EQ(Read(ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 9).text, "200 a");
}

// Each of these was read for ever, or kept for ever.
TEST(HttpConnection, HeadsAndTrailersAreBounded) {
  const HttpLimits limits{.max_head_bytes = 200};
  auto repeat = [](const std::string& text) {
    std::string out;
    while (out.size() < 100'000) out += text;
    return out;
  };
  const std::string endless[] = {
      repeat("HTTP/1.1 100 Continue\r\n\r\n"),
      "HTTP/1.1 200 OK\r\n" + repeat("A: b\r\n"),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + repeat("A: b\r\n"),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + repeat("0"),
  };
  for (const std::string& bytes : endless) {
    for (size_t piece : {5, 64, 1'000'000}) {
      Answer answer = Read(bytes, piece, false, limits);
      EXPECT_EQ(answer.text, ReasonName(Reason::kMalformed)) << piece << " " << bytes.substr(0, 60);
    }
  }
}

// Reads that ended within the line before a chunk, as all of a busy watch may, were all kept.
TEST(HttpConnection, WhatHasBeenReadIsNotKept) {
  std::string bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  while (bytes.size() < 100'000) bytes += "2\r\nab\r\n";
  bytes += "0\r\n\r\n";
  Answer answer = Read(bytes, 7);  // as long as a chunk: never at its end
  EXPECT_TRUE(answer.reusable);
  EXPECT_LT(answer.most_buffered, 100u);
}

// A line was accepted if it came at once, and refused if it came in pieces.
TEST(HttpConnection, ALongLineIsTheSameInPieces) {
  for (size_t size : {1023, 1024, 1025, 3000}) {
    const std::string bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                              std::string(size - 2, 'x') + "\r\na\r\n0\r\n\r\n";
    for (size_t piece : {1, 7, 100'000}) {
      EXPECT_EQ(Read(bytes, piece).text, size <= 1024 ? "200 a" : ReasonName(Reason::kMalformed))
          << size << " " << piece;
    }
  }
}

}  // namespace
}  // namespace raftkv::kube
