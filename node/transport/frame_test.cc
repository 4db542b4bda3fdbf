#include "node/transport/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "node/transport/address.h"
#include "node/transport/call_table.h"

namespace raftkv::transport {
namespace {

std::string Frame(std::string_view body) {
  ByteBuffer out;
  const size_t begin = BeginFrame(out);
  out.Append(body);
  EndFrame(out, begin);
  return std::string(out.view());
}

// Feeds `bytes` in pieces of at most `piece`; returns the frames and how it ended.
FrameError ReadAll(FrameReader& reader, std::string_view bytes, size_t piece,
                   std::vector<std::string>* frames) {
  while (true) {
    std::string_view body;
    FrameError error;
    while ((error = reader.Next(&body)) == FrameError::kNone) frames->emplace_back(body);
    if (error != FrameError::kNeedMore || bytes.empty()) return error;
    const std::span<char> room = reader.Prepare();
    const size_t n = std::min({piece, bytes.size(), room.size()});
    std::copy_n(bytes.begin(), n, room.begin());
    reader.Commit(n);
    bytes.remove_prefix(n);
  }
}

TEST(Frame, LayoutIsAsDocumented) {
  // CRC-32C of "123456789" is e3069283 (RFC 3720).
  EXPECT_EQ(Frame("123456789"), std::string("\x09\0\0\0\x83\x92\x06\xe3", 8) + "123456789");
}

TEST(Frame, CutsAnyPieces) {
  SeededRandom random(1);
  std::vector<std::string> bodies;
  std::string stream(kMagic);
  for (int i = 0; i < 200; ++i) {
    std::string body(random.Uniform(i % 50 == 0 ? 300'000 : 500), '\0');
    for (char& byte : body) byte = static_cast<char>(random.Next());
    stream += Frame(body);
    bodies.push_back(std::move(body));
  }
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{1} << 20}) {
    FrameReader reader(1 << 20);
    std::vector<std::string> frames;
    EXPECT_EQ(ReadAll(reader, stream, piece, &frames), FrameError::kNeedMore);
    EXPECT_EQ(frames, bodies);
    EXPECT_FALSE(reader.partial());
  }
}

TEST(Frame, SpeaksUpAtTheFirstWrongByte) {
  for (size_t i = 0; i < kMagic.size(); ++i) {
    std::string stream(kMagic.substr(0, i + 1));
    stream[i] ^= 1;
    FrameReader reader(100);
    std::vector<std::string> frames;
    EXPECT_EQ(ReadAll(reader, stream, 1, &frames), FrameError::kBadMagic);
  }
}

TEST(Frame, EveryFlippedBitIsFound) {
  const std::string good = std::string(kMagic) + Frame("some body") + Frame("the next");
  for (size_t bit = 8 * kMagic.size(); bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    FrameReader reader(100);
    std::vector<std::string> frames;
    ReadAll(reader, bad, 1000, &frames);
    EXPECT_LT(frames.size(), 2u) << "bit " << bit;
  }
}

TEST(Frame, LimitHoldsBeforeAnythingIsAllocated) {
  FrameReader reader(1000);
  std::vector<std::string> frames;
  const std::string stream = std::string(kMagic) + Frame(std::string(1000, 'x')) +
                             std::string("\xe9\x03\0\0\0\0\0\0", 8);  // announces 1001
  EXPECT_EQ(ReadAll(reader, stream, 100, &frames), FrameError::kTooLarge);
  EXPECT_EQ(frames.size(), 1u);
}

TEST(Frame, AnAnnouncedLengthAloneCostsNoMemory) {
  FrameReader reader(1 << 30);
  std::vector<std::string> frames;
  const std::string stream = std::string(kMagic) + std::string("\0\0\0\x3f\0\0\0\0some", 12);
  EXPECT_EQ(ReadAll(reader, stream, 100, &frames), FrameError::kNeedMore);
  EXPECT_LE(reader.Prepare().size(), 64u << 10);
}

TEST(Address, Parses) {
  const auto parse = [](std::string_view text) {
    const auto parsed = ParseHostPort(text);
    return parsed ? parsed->host + "|" + std::to_string(parsed->port) : "error";
  };
  EXPECT_EQ(parse("host:1"), "host|1");
  EXPECT_EQ(parse("10.0.0.1:65535"), "10.0.0.1|65535");
  EXPECT_EQ(parse("[::1]:2380"), "::1|2380");
  EXPECT_EQ(parse(":2380"), "|2380");
  for (const char* bad : {"", "host", "host:", "host:65536", "host:-1", "host:1x", "::1:2380",
                          "[]:1", "[::1:2", "[::1]", "host: 1"}) {
    EXPECT_EQ(parse(bad), "error") << bad;
  }
  EXPECT_EQ(parse(std::string_view("a\0b:1", 5)), "error");
}

TEST(CallTable, TheOldestGivesWayWhenThereAreTooMany) {
  CallTable calls(std::chrono::seconds(1));
  int gave_way = 0;
  int answered = 0;
  for (int i = 0; i < (1 << 17) + 10; ++i) {
    calls.MakeRoom();
    calls.Add(0, CallDone([&](const Result<v1::PeerReply>& reply) {
                if (reply) {
                  ++answered;
                } else {
                  ++gave_way;
                }
              }),
              MonotonicTime());
  }
  EXPECT_EQ(gave_way, 10);
  v1::PeerReply reply;
  reply.set_id(10);  // gave way
  calls.OnReply(reply);
  EXPECT_EQ(answered, 0);
  reply.set_id(11);
  calls.OnReply(reply);
  calls.OnReply(reply);  // a second time: nobody waits
  reply.set_id(1 << 30);
  calls.OnReply(reply);
  EXPECT_EQ(answered, 1);
}

TEST(CallTable, CallsRunOutInOrder) {
  CallTable calls(std::chrono::seconds(1));
  std::vector<std::string> events;
  const MonotonicTime start{};
  for (int i = 0; i < 3; ++i) {
    calls.Add(0, CallDone([&events, i](const Result<v1::PeerReply>& reply) {
                events.push_back(std::to_string(i) + std::string(CodeName(reply.error().code())));
              }),
              start + std::chrono::milliseconds(i));
  }
  calls.Expire(start + std::chrono::milliseconds(999));
  EXPECT_TRUE(events.empty());
  calls.Expire(start + std::chrono::milliseconds(1001));
  EXPECT_EQ(events, (std::vector<std::string>{"0unknown outcome", "1unknown outcome"}));
  calls.OnBroken(0);
  EXPECT_EQ(events.back(), "2unavailable");
  EXPECT_TRUE(calls.empty());
}

}  // namespace
}  // namespace raftkv::transport
