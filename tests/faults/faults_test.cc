// The instruments of the fault suite themselves: that they do what they say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "node/transport/frame.h"
#include "raftkv/v1/peer.pb.h"
#include "tests/faults/bed.h"
#include "tests/faults/cpu_quota.h"
#include "tests/faults/frame_repeater.h"
#include "tests/faults/load.h"
#include "tests/faults/malformed_frames.h"
#include "tests/faults/malformed_http.h"
#include "tests/faults/power_loss.h"
#include "tests/faults/sandbox.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;

#ifndef RAFTKV_SANITIZED

// Runs shell commands in `data` as a node would run: with the library, and a disk below it.
class PowerLossTest : public ::testing::Test {
 protected:
  PowerLossTest() { EXPECT_EQ(SeedShadow(data_, shadow_), Status::Ok()); }

  void Run(const std::string& command) {
    const fs::path shim =
        fs::read_symlink("/proc/self/exe").parent_path() / "libraftkv-faults-shim.so";
    const testing::CommandResult result =
        testing::RunShell("export LD_PRELOAD=" + shim.string() + " " + kShimShadow + "=" +
                              shadow_.string() + "\n" + command,
                          data_.string());
    EXPECT_EQ(result.status, 0) << command;
  }
  void Lose(Loss loss = Loss::kAll) {
    EXPECT_EQ(LosePower(data_, shadow_, loss, random_), Status::Ok());
  }
  std::string Content(const std::string& name) {
    return testing::ReadFileOrEmpty((data_ / name).string());
  }

  const testing::TempDir folder_;
  const fs::path data_ = fs::path(folder_.path()) / "data";
  const fs::path shadow_ = fs::path(folder_.path()) / "shadow";
  std::mt19937_64 random_{1};
};

TEST_F(PowerLossTest, WhatWasSyncedWithItsDirectoryIsKept) {
  Run("printf kept > a; sync a; sync .");
  Lose();
  EXPECT_EQ(Content("a"), "kept");
}

TEST_F(PowerLossTest, WhatWasNotSyncedIsLost) {
  Run("printf kept > a; sync a; sync .; printf lost >> a");
  Lose();
  EXPECT_EQ(Content("a"), "kept");
}

TEST_F(PowerLossTest, ANewNameIsLostWithoutASyncOfItsDirectory) {
  Run("printf lost > a; sync a");
  Lose();
  EXPECT_FALSE(fs::exists(data_ / "a"));
}

TEST_F(PowerLossTest, ARenameIsLostWithoutASyncOfItsDirectory) {
  Run("printf old > a; sync a; sync .; printf new > b; sync b; mv b a");
  Lose();
  EXPECT_EQ(Content("a"), "old");
  Run("printf new > b; sync b; mv b a; sync .");
  Lose();
  EXPECT_EQ(Content("a"), "new");
}

TEST_F(PowerLossTest, DirectoriesAreRestoredToAnyDepth) {
  Run("mkdir -p d/e; printf kept > d/e/a; sync d/e/a d/e d .");
  Lose();
  EXPECT_EQ(Content("d/e/a"), "kept");
}

TEST_F(PowerLossTest, SomeSectorsOfAWriteThatWasNotSyncedMayBeThere) {
  Run("head -c 65536 /dev/zero | tr '\\0' a > a; sync a; sync .; "
      "head -c 65536 /dev/zero | tr '\\0' b | dd of=a conv=notrunc status=none");
  Lose(Loss::kSome);
  const std::string content = Content("a");
  ASSERT_EQ(content.size(), 65536u);
  EXPECT_NE(content.find('a'), std::string::npos);
  EXPECT_NE(content.find('b'), std::string::npos);
}

#endif

// A run that is killed leaves processes for the kernel and a directory for the next run.
TEST(SandboxTest, TheNextRunRemovesWhatAKilledRunHasLeft) {
  const fs::path left = fs::temp_directory_path() / "raftkv-faults-0";
  fs::create_directories(left / "n1");
  std::ofstream(left.string() + ".lock") << "";
  const fs::path faults = fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-faults";
  const testing::TempDir folder;
  testing::Process run({faults.string(), "--row", "no-such-row"}, folder.path(),
                       folder.path() + "/log");
  EXPECT_EQ(run.Wait(), 2);
  EXPECT_TRUE(fs::exists(left)) << "wrong usage touches nothing";
  const Result<Sandbox> sandbox = Sandbox::Enter();
  ASSERT_TRUE(sandbox.has_value());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_FALSE(fs::exists(left.string() + ".lock"));
}

TEST(UsageTest, ADurationOfNoUnitIsRefused) {
  const fs::path faults = fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-faults";
  const testing::TempDir folder;
  for (const std::string duration : {"10x", "x", "", "0", "-5s", "5 s", "1h30m", "s"}) {
    const testing::CommandResult result = testing::RunShell(
        "'" + faults.string() + "' --row delay --for '" + duration + "' 2>&1", folder.path());
    EXPECT_EQ(result.status, 2) << duration << ": " << result.output;
  }
}

// Those whose command line, its arguments apart by zero bytes, has all of these texts.
std::vector<pid_t> FindProcesses(const std::vector<std::string>& texts) {
  std::vector<pid_t> found;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string line = testing::ReadFileOrEmpty((entry.path() / "cmdline").string());
    const auto in_line = [&](const std::string& text) {
      return line.find(text) != std::string::npos;
    };
    if (std::ranges::all_of(texts, in_line))
      found.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return found;
}

// The network and mount namespaces of these processes that are not our own.
std::set<std::string> NamespacesOf(const std::vector<pid_t>& pids) {
  std::set<std::string> found;
  for (const char* kind : {"net", "mnt"}) {
    std::error_code error;
    const fs::path own = fs::read_symlink(fs::path("/proc/self/ns") / kind, error);
    for (const pid_t pid : pids) {
      const fs::path theirs =
          fs::read_symlink(fs::path("/proc") / std::to_string(pid) / "ns" / kind, error);
      if (!error && theirs != own) found.insert(theirs);
    }
  }
  return found;
}

std::string LeftOf(const std::string& mark, const std::set<std::string>& namespaces) {
  std::string left;
  for (const pid_t pid : FindProcesses({mark})) left += "process " + std::to_string(pid) + "\n";
  for (const std::string& used : NamespacesOf(FindProcesses({}))) {
    if (namespaces.contains(used)) left += used + "\n";
  }
  const std::string mounts = testing::ReadFileOrEmpty("/proc/self/mounts");
  if (mounts.find(mark) != std::string::npos) left += "a mount\n";
  // Of the bounds on processor time; `mark` ends with a slash.
  const std::string groups = mark.substr(0, mark.size() - 1) + "-";
  const CpuGroup own = FindCpuGroup();
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(own.path, error)) {
    if (entry.path().filename().string().starts_with(groups)) left += entry.path().string() + "\n";
  }
  return left;
}

enum class Killed : uint8_t { kTheRunner, kItsProcessGroup };

void ExpectNothingLeftOf(const std::string& row, Killed killed) {
  const fs::path faults = fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-faults";
  const testing::TempDir folder;
  testing::Process run({"setsid", faults.string(), "--row", row, "--span", "60"}, folder.path(),
                       folder.path() + "/log");
  const std::string mark = "raftkv-faults-" + std::to_string(run.pid()) + "/";
  const auto gave_up = [&] { return !run.IsRunning(); };
  // With the spare the row has begun.
  EXPECT_TRUE(testing::WaitUntil([&] {
    return gave_up() || FindProcesses({mark, std::string("--name") + '\0' + "spare"}).size() > 0;
  }));
  if (gave_up() && run.Log().find("not run: ") != std::string::npos) {
    GTEST_SKIP() << "this kernel or build has no such row: " << run.Log();
  }
  ASSERT_FALSE(gave_up()) << run.Log();
  std::vector<pid_t> processes = FindProcesses({mark});
  processes.push_back(run.pid());
  // Interfaces, rules and mounts are in these, and end with them.
  const std::set<std::string> namespaces = NamespacesOf(processes);
  EXPECT_FALSE(LeftOf(mark, namespaces).empty()) << "what is there is seen";
  if (killed == Killed::kItsProcessGroup) kill(-run.pid(), SIGKILL);
  run.Kill();
  EXPECT_TRUE(testing::WaitUntil([&] { return LeftOf(mark, namespaces).empty(); }))
      << LeftOf(mark, namespaces);
  EXPECT_TRUE(Sandbox::Enter().has_value());
  EXPECT_FALSE(
      fs::exists(fs::temp_directory_path() / ("raftkv-faults-" + std::to_string(run.pid()))));
}

// Runs that hold something: five nodes, mounts, namespaces and rules, a preloaded library, pipes.
class KilledRun : public ::testing::TestWithParam<const char*> {};

TEST_P(KilledRun, LeavesNothingBehind) { ExpectNothingLeftOf(GetParam(), Killed::kTheRunner); }

// The groups of processes with a quota stayed: who removes them died with the others.
TEST(KilledGroup, LeavesNothingBehind) {
  ExpectNothingLeftOf("little-cpu", Killed::kItsProcessGroup);
}

INSTANTIATE_TEST_SUITE_P(Rows, KilledRun,
                         ::testing::Values("kill-one", "kill-majority-of-5", "pause-30s",
                                           "disk-full", "packets-cut-leader", "power-one",
                                           "blocked-log", "cut-leader", "little-cpu"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// --- What is progress, and what is a gap ---------------------------------------------------------

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Timing kTiming{
    .tick = milliseconds(50), .election_ticks = 10, .client_timeout = milliseconds(1500)};
constexpr Gaps kGaps{.elections = 3};

TEST(GapsTest, AreElectionsAndTheRequestThatIsUnderWay) {
  EXPECT_EQ(kGaps.Promised(kTiming), milliseconds(3 * 1000 + 1500));
  constexpr Timing kSlow{
      .tick = milliseconds(100), .election_ticks = 20, .client_timeout = milliseconds(500)};
  EXPECT_EQ(kGaps.Promised(kSlow), milliseconds(3 * 4000 + 500));
  constexpr Gaps kStart{.elections = 1, .beside = seconds(6)};
  EXPECT_EQ(kStart.Promised(kTiming), milliseconds(1000 + 1500 + 6000));
}

TEST(GapsTest, AShortRowHasLessThanTheWholeBound) {
  EXPECT_EQ(kGaps.Bound(kTiming, seconds(60)), milliseconds(4500));
  EXPECT_EQ(kGaps.Bound(kTiming, seconds(8)), milliseconds(4000));
  EXPECT_EQ(kGaps.Bound(kTiming, seconds(3)), milliseconds(3500));
}

TEST(GapsTest, AStoreThatStandsStillForMostOfAShortRowBreaksIt) {
  LoadCounts counts;
  counts.observed = seconds(7);
  counts.write_gap = milliseconds(3600);
  EXPECT_FALSE(JudgeGaps(kGaps, kTiming, counts).ok());
  counts.observed = seconds(8);
  EXPECT_EQ(JudgeGaps(kGaps, kTiming, counts), Status::Ok());
  counts.read_gap = milliseconds(4001);
  EXPECT_FALSE(JudgeGaps(kGaps, kTiming, counts).ok());
}

// A node of a test's own: what it answers is added before it listens.
class FakeNode {
 public:
  explicit FakeNode(const std::string& name) {
    target_.name = name;
    target_.host = "127.0.0.1";
    target_.port = server_.bind_to_any_port("127.0.0.1");
  }
  ~FakeNode() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;

  httplib::Server& server() { return server_; }
  void Listen() {
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  Target* target() { return &target_; }

 private:
  httplib::Server server_;
  Target target_;
  std::thread thread_;
};

// Answers reads, and takes no write.
class ReadOnlyStore : public FakeNode {
 public:
  ReadOnlyStore() : FakeNode("fake") {
    server().Get(".*", [](const httplib::Request&, httplib::Response& response) {
      response.status = 404;
      response.set_header("Raftkv-Revision", "1");
    });
    const auto refuse = [](const httplib::Request&, httplib::Response& response) {
      response.status = 503;
    };
    server().Put(".*", refuse);
    server().Delete(".*", refuse);
    server().Post(".*", refuse);
    Listen();
  }
};

class LoadTest : public ::testing::Test {
 protected:
  LoadTest() : load_({store_.target()}, {.compact_every = milliseconds(0)}) { load_.Start(); }
  bool Reads() {
    return testing::WaitUntil([&] { return load_.in_fault().reads_done >= 20; });
  }

  ReadOnlyStore store_;
  Load load_;
};

TEST_F(LoadTest, ReadsAreNoWrites) {
  load_.BeginFault();
  EXPECT_TRUE(Reads());
  EXPECT_EQ(load_.in_fault().writes_done, 0u);
  EXPECT_GT(load_.in_fault().writes_failed, 0u);
  EXPECT_EQ(load_.writes_done(), 0u);
}

TEST_F(LoadTest, AGapThatNeverEndsCounts) {
  EXPECT_TRUE(Reads());
  load_.Stop();
  const LoadCounts counts = load_.counts();
  EXPECT_GE(counts.write_gap, counts.observed - milliseconds(1));
  EXPECT_LT(counts.read_gap, counts.observed);
  constexpr Timing kNoTime{
      .tick = milliseconds(0), .election_ticks = 0, .client_timeout = milliseconds(0)};
  const Status status = JudgeGaps({}, kNoTime, counts);
  EXPECT_NE(status.message().find("no write for"), std::string::npos) << status.ToString();
}

TEST_F(LoadTest, AnAnswerInAnOutageBreaksTheRow) {
  load_.BeginFault();
  load_.BeginOutage();
  EXPECT_TRUE(Reads());
  load_.EndOutage();
  const Status status = JudgeGaps(kGaps, kTiming, load_.counts());
  EXPECT_NE(status.message().find("though there was no majority"), std::string::npos);
}

TEST_F(LoadTest, AnAnswerByAMinorityBreaksTheRow) {
  load_.BeginFault();
  EXPECT_TRUE(Reads());
  EXPECT_EQ(load_.counts().answered_by_minority, "");
  load_.BeginMinority({store_.target()});
  load_.BeginFault();
  EXPECT_TRUE(Reads());
  load_.EndMinority();
  const Status status = JudgeGaps(kGaps, kTiming, load_.counts());
  EXPECT_NE(status.message().find("by fake was answered though that node reaches no majority"),
            std::string::npos)
      << status.ToString();
}

// They were counted, and broke no row.
TEST(ErrorsTest, AnAnswerWith500BreaksARowThatDoesNotSayWhy) {
  FakeNode node("n7");
  const auto fail = [](const httplib::Request&, httplib::Response& response) {
    response.status = 500;
    response.set_content("inside", "text/plain");
  };
  node.server().Get(".*", fail);
  node.Listen();
  Load load({node.target()}, {.compact_every = milliseconds(0)});
  EXPECT_EQ(JudgeErrors("", load.counts()), Status::Ok());
  load.Start();
  EXPECT_TRUE(testing::WaitUntil([&] { return load.counts().errors > 0; }));
  load.Stop();
  const Status status = JudgeErrors("", load.counts());
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_NE(status.message().find(", asked of n7: inside"), std::string::npos) << status.ToString();
  EXPECT_EQ(JudgeErrors("its disk fails", load.counts()), Status::Ok());
}

// --- Answers that cannot be made out ----------------------------------------------------------

// A store of one key that answers as a test wants it to.
class ScriptedStore : public FakeNode {
 public:
  using Answer = std::function<void(httplib::Response&)>;
  ScriptedStore(Answer get, Answer range, Answer put, Answer txn) : FakeNode("n7") {
    const auto with = [](const Answer& answer) {
      return [answer](const httplib::Request&, httplib::Response& response) { answer(response); };
    };
    server().Get("/kv/", with(range));
    server().Get("/kv/.+", with(get));
    server().Put(".*", with(put));
    server().Delete(
        ".*", [](const httplib::Request&, httplib::Response& response) { response.status = 503; });
    server().Post("/txn", with(txn));
    Listen();
  }
};

ScriptedStore::Answer Say(int status, const std::string& revision, const std::string& body = "") {
  return [=](httplib::Response& response) {
    response.status = status;
    if (!revision.empty()) response.set_header("Raftkv-Revision", revision);
    if (!body.empty()) response.set_content(body, "application/json");
  };
}

constexpr const char* kEmptyRange = R"({"revision":1,"count":0,"more":false,"items":[]})";

// What the load says of a store that answers so.
std::string Judged(const ScriptedStore::Answer& get, const ScriptedStore::Answer& range,
                   const ScriptedStore::Answer& put, const ScriptedStore::Answer& txn) {
  ScriptedStore store(get, range, put, txn);
  Load load({store.target()}, {.compact_every = milliseconds(0)});
  load.Start();
  EXPECT_TRUE(testing::WaitUntil([&] { return load.counts().unreadable > 0; }));
  load.Stop();
  (void)load.Finish();
  return JudgeAnswers(load.counts()).message();
}

// Such answers ended the run, or made the history weaker without a word.
TEST(AnswersTest, OneThatCannotBeMadeOutBreaksTheRow) {
  const auto no_write = Say(503, "");
  const auto nothing = Say(404, "1");
  const auto empty = Say(200, "1", kEmptyRange);
  using ::testing::HasSubstr;
  EXPECT_THAT(Judged(Say(404, ""), empty, no_write, no_write),
              HasSubstr(", asked of n7: the answer tells no revision"));
  EXPECT_THAT(Judged(Say(200, "1", "x"), empty, no_write, no_write),
              HasSubstr("does not tell the revisions of a key"));
  EXPECT_THAT(Judged(nothing, empty, Say(204, ""), no_write),
              HasSubstr(", asked of n7: the answer tells no revision"));
  for (const char* range :
       {"", "{", "[]", R"({"revision":"1","more":false,"items":[]})",
        R"({"revision":1,"items":[]})", R"({"revision":1,"more":false,"items":[{"key":"k1"}]})",
        R"({"revision":1,"more":true,"items":[]})"}) {
    EXPECT_THAT(Judged(nothing, Say(200, "1", range), no_write, no_write),
                HasSubstr("answers lack what the API promises; the first of them: GET of /kv/?"))
        << range;
  }
  for (const char* txn : {"", "[]", R"({"revision":2,"gets":[]})"}) {
    EXPECT_THAT(Judged(nothing, empty, no_write, Say(200, "2", txn)),
                HasSubstr("a transaction, asked of n7: "))
        << txn;
  }
}

TEST(AnswersTest, AHistoryWithoutAKindOfRequestProvesLittle) {
  LoadCounts counts;
  counts.done = 1000;
  counts.writes = counts.gets = counts.ranges = counts.pages = 1;
  EXPECT_EQ(JudgeAnswers(counts), Status::Ok());
  for (uint64_t LoadCounts::* kind :
       {&LoadCounts::writes, &LoadCounts::gets, &LoadCounts::ranges, &LoadCounts::pages}) {
    LoadCounts without = counts;
    without.*kind = 0;
    EXPECT_FALSE(JudgeAnswers(without).ok());
    without.done = 20;  // by chance
    EXPECT_EQ(JudgeAnswers(without), Status::Ok());
  }
}

// --- Duplication ---------------------------------------------------------------------------------

std::string Framed(const google::protobuf::MessageLite& message) {
  transport::ByteBuffer out;
  transport::AppendFrame(message, out);
  return std::string(out.view());
}

class FrameRepeaterTest : public ::testing::Test {
 protected:
  FrameRepeaterTest() {
    v1::Hello hello;
    hello.set_member_id(7);
    head_ = std::string(transport::kMagic) + Framed(hello);
    v1::PeerFrame message;
    message.add_messages()->set_term(5);
    message_ = Framed(message);
    v1::PeerFrame call = message;
    call.add_calls()->set_id(1);
    call_ = Framed(call);
    v1::PeerFrame reply;
    reply.add_replies()->set_id(1);
    reply_ = Framed(reply);
  }
  // In pieces of so many bytes; everything that may be repeated is, at once.
  std::string Pass(const std::string& bytes, size_t piece) {
    return Pass(
        bytes, piece,
        {[] { return true; }, [] { return false; }, [](size_t count) { return count - 1; }});
  }
  std::string Pass(const std::string& bytes, size_t piece, const FrameRepeater::Chances& chances) {
    std::string out;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      out += repeater_.Pass(std::string_view(bytes).substr(at, piece), chances);
    }
    return out;
  }
  // Who may be held back is, behind one frame.
  std::string Hold(const std::string& bytes, size_t piece) {
    return Pass(bytes, piece,
                {[] { return false; }, [] { return true; }, [](size_t) { return size_t{0}; }});
  }

  FrameRepeater repeater_;
  std::string head_;
  std::string message_;
  std::string call_;
  std::string reply_;
};

TEST_F(FrameRepeaterTest, WholeFramesComeAgainHoweverTheirBytesArrive) {
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    repeater_ = {};
    EXPECT_EQ(Pass(head_ + message_ + message_, piece),
              head_ + message_ + message_ + message_ + message_)
        << piece;
    EXPECT_EQ(repeater_.repeated(), 2u);
  }
}

TEST_F(FrameRepeaterTest, CallsAndRepliesComeAgain) {
  EXPECT_EQ(Pass(head_ + call_ + reply_, 3), head_ + call_ + call_ + reply_ + reply_);
  EXPECT_EQ(repeater_.repeated_calls(), 2u);
}

TEST_F(FrameRepeaterTest, NeitherHandshakesNorPingsComeAgain) {
  v1::PeerFrame ping;
  ping.set_ping(3);
  EXPECT_EQ(Pass(head_ + Framed(ping), 3), head_ + Framed(ping));
  EXPECT_EQ(repeater_.repeated(), 0u);
}

TEST_F(FrameRepeaterTest, MessagesThatAreLateComeBehindTheNextFrame) {
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    repeater_ = {};
    // Two that are late, then one that may not be.
    v1::PeerFrame other;
    other.add_messages()->set_term(6);
    const std::string second = Framed(other);
    EXPECT_EQ(Hold(head_ + message_ + second + call_, piece), head_ + call_ + message_ + second)
        << piece;
    EXPECT_EQ(repeater_.overtaken(), 0u) << "by calls alone";
  }
}

TEST_F(FrameRepeaterTest, MessagesOvertakeOthers) {
  bool late = false;
  const FrameRepeater::Chances chances{[] { return false; },
                                       [&] { return std::exchange(late, false); },
                                       [](size_t) { return size_t{1}; }};
  EXPECT_EQ(Pass(head_, 1000, chances), head_);
  late = true;
  EXPECT_EQ(Pass(message_ + reply_ + message_, 3, chances), reply_ + message_ + message_);
  EXPECT_EQ(repeater_.overtaken(), 1u);
}

TEST_F(FrameRepeaterTest, NeitherHandshakesNorCallsAreLate) {
  EXPECT_EQ(Hold(head_ + call_ + reply_, 3), head_ + call_ + reply_);
}

// The files that say where the groups are, of a machine with this version of cgroups.
class CpuGroupTest : public ::testing::Test {
 protected:
  CpuGroup Find(const std::string& mounts, const std::string& groups) {
    const fs::path root = folder_.path();
    fs::create_directories(root / "proc/self");
    std::ofstream(root / "proc/self/mounts") << mounts;
    std::ofstream(root / "proc/self/cgroup") << groups;
    CpuGroup found = FindCpuGroup(root);
    found.path = found.path.lexically_relative(root);
    return found;
  }
  const testing::TempDir folder_;
};

TEST_F(CpuGroupTest, OfTheFirstVersionIsTheControllersOwn) {
  const CpuGroup found = Find(
      "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
      "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n",
      "3:cpuset:/a\n2:cpu,cpuacct:/jobs/7\n0::/\n");
  EXPECT_EQ(found.path, "sys/fs/cgroup/cpu/jobs/7");
  EXPECT_FALSE(found.is_v2);
}

TEST_F(CpuGroupTest, OfTheSecondVersionHasToHaveTheController) {
  const std::string mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
  fs::create_directories(fs::path(folder_.path()) / "sys/fs/cgroup/job");
  EXPECT_NE(Find(mounts, "0::/job\n").path, "sys/fs/cgroup/job");
  std::ofstream(fs::path(folder_.path()) / "sys/fs/cgroup/job/cgroup.controllers")
      << "io cpu pids\n";
  const CpuGroup found = Find(mounts, "0::/job\n");
  EXPECT_EQ(found.path, "sys/fs/cgroup/job");
  EXPECT_TRUE(found.is_v2);
}

TEST(MalformedRequestsTest, AreAThousand) { EXPECT_GE(MalformedRequests().size(), 1000u); }

TEST(MalformedDialsTest, AreAThousandAndAnAnswerIsJudged) {
  std::mt19937_64 random(1);
  const std::vector<MalformedDial> dials =
      MalformedDials({.cluster_id = 1, .member_id = 2, .other_member = 3}, random);
  EXPECT_GE(dials.size(), 1000u);
  for (const MalformedDial& dial : dials) {
    EXPECT_EQ(MisjudgedDial(dial, "").empty(), !dial.greeted && !dial.http) << dial.category;
    EXPECT_FALSE(MisjudgedDial(dial, "(left open)").empty()) << dial.category;
    EXPECT_FALSE(MisjudgedDial(dial, "HTTP/1.1 400 Bad Request\r\n\r\n").empty());
  }
}

// The nodes with this name, of the run that has `mark` in its paths.
std::vector<pid_t> FindNodes(const std::string& mark, const std::string& name) {
  return FindProcesses({mark, "raftkv-node", std::string("--name") + '\0' + name + '\0'});
}

// A row has a minute for each of the things that it waits for.
constexpr std::chrono::minutes kWholeRow{5};

// It was started again, and not a word said.
TEST(RowTest, IsBrokenByANodeThatCrashesByItself) {
  const fs::path faults = fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-faults";
  const testing::TempDir folder;
  testing::Process run({faults.string(), "--row", "delay", "--span", "5", "--out", folder.path()},
                       folder.path(), folder.path() + "/log");
  const std::string mark = "raftkv-faults-" + std::to_string(run.pid()) + "/";
  std::vector<pid_t> victims;
  ASSERT_TRUE(testing::WaitUntil([&] {
    victims = FindNodes(mark, "n2");
    return !victims.empty() && !FindNodes(mark, "spare").empty();
  }));
  ASSERT_EQ(kill(victims.front(), SIGSEGV), 0);
  EXPECT_EQ(run.Wait(kWholeRow), 1);
  EXPECT_NE(run.Log().find("n2 ended by itself"), std::string::npos) << run.Log();
  EXPECT_NE(run.Log().find("the history until then is linearizable"), std::string::npos)
      << run.Log();
}

// Every promise beside it holds: all nodes live, nothing is lost, everything goes on in the end.
TEST(RowTest, IsBrokenByAStoreThatStalls) {
  const fs::path faults = fs::read_symlink("/proc/self/exe").parent_path() / "raftkv-faults";
  const testing::TempDir folder;
  testing::Process run(
      {faults.string(), "--row", "cut-follower", "--span", "3", "--out", folder.path()},
      folder.path(), folder.path() + "/log");
  const std::string mark = "raftkv-faults-" + std::to_string(run.pid()) + "/";
  // The row has begun.
  ASSERT_TRUE(testing::WaitUntil([&] { return !FindNodes(mark, "spare").empty(); }));
  std::vector<pid_t> nodes;
  for (const char* name : {"n1", "n2", "n3"}) {
    for (const pid_t pid : FindNodes(mark, name)) nodes.push_back(pid);
  }
  ASSERT_EQ(nodes.size(), 3u);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  for (const pid_t pid : nodes) ASSERT_EQ(kill(pid, SIGSTOP), 0);
  // Longer than the row allows.
  std::this_thread::sleep_for(std::chrono::seconds(5));
  for (const pid_t pid : nodes) ASSERT_EQ(kill(pid, SIGCONT), 0);
  EXPECT_EQ(run.Wait(kWholeRow), 1);
  EXPECT_NE(run.Log().find("no write for "), std::string::npos) << run.Log();
}

}  // namespace
}  // namespace raftkv::faults
