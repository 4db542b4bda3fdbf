#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/log_writer.h"

namespace raftkv::log {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kTimeUs = 1'769'860'800'123'456;  // 2026-01-31T12:00:00.123456Z

std::string DropLine(uint64_t dropped) { return "dropped " + std::to_string(dropped) + "\n"; }

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe(fds), 0); }
  ~Pipe() {
    CloseRead();
    ::close(fds[1]);
  }
  void CloseRead() {
    if (fds[0] >= 0) ::close(fds[0]);
    fds[0] = -1;
  }
  // Writes '-' until no more fits.
  void Fill() {
    ::fcntl(fds[1], F_SETFL, O_NONBLOCK);
    while (::write(fds[1], "-", 1) == 1) {
    }
    ::fcntl(fds[1], F_SETFL, 0);
  }
  std::string Read() {
    char bytes[65536];
    const ssize_t n = ::read(fds[0], bytes, sizeof(bytes));
    return n > 0 ? std::string(bytes, static_cast<size_t>(n)) : std::string();
  }
  int fds[2] = {-1, -1};
};

TEST(LogFormat, TextQuotesWhatNeedsIt) {
  EXPECT_EQ(
      FormatLine(Format::kText, Level::kInfo, kTimeUs, "peer connected",
                 {{"peer", Hex{0xabc}}, {"address", "[::1]:80"}, {"why", "a b"}, {"none", ""}}),
      "2026-01-31T12:00:00.123456Z INFO peer connected peer=0000000000000abc address=[::1]:80 "
      "why=\"a b\" none=\"\"\n");
}

TEST(LogFormat, JsonKeepsTypes) {
  EXPECT_EQ(FormatLine(Format::kJson, Level::kWarning, kTimeUs, "x",
                       {{"s", std::string("a\"b\n")},
                        {"i", -3},
                        {"u", uint64_t{1} << 63},
                        {"d", 0.5},
                        {"b", true},
                        {"id", Hex{255}},
                        {"inf", 1e308 * 10}}),
            R"({"time":"2026-01-31T12:00:00.123456Z","level":"warning","message":"x","s":"a\"b\n",)"
            R"("i":-3,"u":9223372036854775808,"d":0.5,"b":true,"id":"00000000000000ff","inf":null})"
            "\n");
}

TEST(LogFormat, HostileTextStaysOneLineOfUtf8) {
  const std::string line = FormatLine(Format::kText, Level::kError, kTimeUs, "bad\nmessage",
                                      {{"key", std::string_view("a\x80\xff\r\x00z\xc3\xa4", 8)}});
  EXPECT_EQ(line,
            "2026-01-31T12:00:00.123456Z ERROR bad\\nmessage "
            "key=\"a\\ufffd\\ufffd\\u000d\\u0000z\xc3\xa4\"\n");
  EXPECT_LT(FormatLine(Format::kText, Level::kError, kTimeUs, std::string(1 << 20, 'x'), {}).size(),
            5000u);
}

TEST(Log, NamesOfLevelsAndFormats) {
  for (const Level level :
       {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError, Level::kOff}) {
    EXPECT_EQ(ParseLevel(LevelName(level)), level);
  }
  EXPECT_EQ(ParseLevel("loud").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ParseFormat("json"), Format::kJson);
  EXPECT_EQ(ParseFormat("xml").error().code(), Code::kInvalidArgument);
}

TEST(Log, LevelIsSettableWhileRunning) {
  Pipe pipe;
  SetOutput(pipe.fds[1]);
  Debug("hidden");
  SetLevel(Level::kDebug);
  Debug("shown", {{"n", 1}});
  SetLevel(Level::kOff);
  Error("hidden too");
  SetLevel(Level::kInfo);
  EXPECT_TRUE(Flush(seconds(10)));
  SetOutput(STDERR_FILENO);
  const std::string text = pipe.Read();
  EXPECT_NE(text.find("DEBUG shown n=1\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("hidden"), std::string::npos) << text;
}

TEST(LogWriter, BlockedPipeNeverBlocksCallers) {
  Pipe pipe;
  pipe.Fill();  // and nobody reads
  LogWriter writer(pipe.fds[1], 10'000, &DropLine);
  const std::string line(999, 'x');
  for (int i = 0; i < 1000; ++i) writer.Append(line + "\n");
  EXPECT_GT(writer.dropped(), 900u);
  EXPECT_EQ(writer.lines() + writer.dropped(), 1000u);
  EXPECT_FALSE(writer.Flush(milliseconds(1)));

  // The reader comes back: every line either arrives, or is counted in a line that tells so.
  std::string text;
  uint64_t arrived = 0;
  uint64_t told = 0;
  while (arrived + told < 1000) {
    text += pipe.Read();
    text.erase(0, text.find_first_not_of('-'));
    for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
      if (text.starts_with("dropped ")) {
        told += std::stoull(text.substr(8));
      } else {
        EXPECT_EQ(text.substr(0, end), line);
        ++arrived;
      }
    }
  }
  EXPECT_TRUE(writer.Flush(seconds(10)));
  EXPECT_EQ(arrived, writer.lines());
  EXPECT_EQ(told, writer.dropped());
}

TEST(LogWriter, ClosesWhileThePipeIsBlocked) {
  Pipe pipe;
  pipe.Fill();
  LogWriter writer(pipe.fds[1], 1 << 20, &DropLine);
  writer.Append(std::string(200'000, 'x') + "\n");
}  // returns although nobody reads

TEST(LogWriter, ReaderThatIsGoneIsCountedNotFatal) {
  Pipe pipe;
  LogWriter writer(pipe.fds[1], 10'000, &DropLine);
  pipe.CloseRead();
  writer.Append("lost\n");
  EXPECT_TRUE(writer.Flush(seconds(10)));
  EXPECT_EQ(writer.dropped(), 1u);
}

TEST(LogWriter, LinesOfManyThreadsStayWhole) {
  Pipe pipe;
  LogWriter writer(pipe.fds[1], 1 << 20, &DropLine);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&writer, t] {
      const std::string line = std::string(20, static_cast<char>('a' + t)) + "\n";
      for (int i = 0; i < 500; ++i) writer.Append(line);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(writer.Flush(seconds(10)));
  std::string text;
  while (text.size() < 4 * 500 * 21) text += pipe.Read();
  for (size_t i = 0; i < text.size(); i += 21) {
    EXPECT_EQ(text.substr(i, 20), std::string(20, text[i]));
    EXPECT_EQ(text[i + 20], '\n');
  }
}

}  // namespace
}  // namespace raftkv::log
