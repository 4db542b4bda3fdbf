#include "tests/linearizability/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

namespace raftkv::linearizability {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kGood =
    R"({"op":"put","key":"a","value":"x","call":1,"completed":2,"outcome":"ok","revision":2})";
constexpr std::string_view kBad =
    R"({"op":"put","key":"a","value":"x","call":1,"completed":2,"outcome":"ok","revision":3})";
constexpr std::string_view kRegisterLog =
    "INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t1\n";

constexpr std::string_view kMapLog =
    "{:process 0, :type :invoke, :f :append, :key \"0\", :value \"x\"}\n"
    "{:process 0, :type :ok, :f :append, :key \"0\", :value \"x\"}\n"
    "{:process 0, :type :invoke, :f :get, :key \"0\", :value nil}\n"
    "{:process 0, :type :ok, :f :get, :key \"0\", :value \"x\"}\n";

class RunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "raftkv-linearizability-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name);
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path Write(const std::string& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
    return root_ / path;
  }

  Tally RunAll(const RunOptions& options = {}) {
    testing::internal::CaptureStdout();
    const Tally tally = RunFiles(FindFiles(root_), options);
    printed_ = testing::internal::GetCapturedStdout();
    return tally;
  }

  fs::path root_;
  std::string printed_;
};

// Files whose folder named no format were not counted.
TEST_F(RunnerTest, EveryFileWithAVerdictIsCounted) {
  Write("register/b.not-linearizable.log", "");
  Write("suite/kv/deep/a.linearizable", "");
  Write("raftkv/c.linearizable.jsonl", "");
  Write("raftkv/README", "");
  Write("quorum/d.linearizable.txt", "");
  fs::create_symlink("nowhere", Write("e.txt", "").parent_path() / "e.linearizable.txt");
  std::vector<std::string> found;
  for (const HistoryFile& file : FindFiles(root_)) {
    found.push_back((file.folder ? std::to_string(static_cast<int>(*file.folder)) : "-") + " " +
                    file.name);
  }
  EXPECT_THAT(found,
              ElementsAre("- e.linearizable.txt", "- quorum-d.linearizable.txt",
                          "2 raftkv-c.linearizable.jsonl", "0 register-b.not-linearizable.log",
                          "1 suite-kv-deep-a.linearizable"));
  EXPECT_EQ(FindFiles(root_ / "raftkv").size(), 1U);
  EXPECT_EQ(FindFiles(root_ / "raftkv")[0].folder, Format::kRaftkv);
}

TEST_F(RunnerTest, AFlatFolderIsJudgedByTheFilesThemselves) {
  Write("a.linearizable.jsonl", kGood);
  Write("b.not-linearizable.log", kRegisterLog);
  Write("c.linearizable.txt", kMapLog);
  // A folder's name does not make another notation of it.
  Write("register/d.linearizable.jsonl", kGood);
  Write("raftkv/e.linearizable.txt", kMapLog);
  EXPECT_EQ(RunAll().passed, 5U) << printed_;
}

TEST_F(RunnerTest, AFileOfNoFormatFailsWithWords) {
  Write("a.linearizable.txt", "once upon a time\n");
  Write("b.linearizable.txt", "");
  EXPECT_EQ(RunAll().failed, 2U);
  EXPECT_THAT(printed_, HasSubstr("a.linearizable.txt: the format cannot be told: it is neither "
                                  "JSON lines nor a log of operations"));
  EXPECT_THAT(printed_, HasSubstr("it is empty"));
}

TEST_F(RunnerTest, ANamedFileWithoutAVerdictFails) {
  const fs::path path = Write("a.jsonl", kGood);
  testing::internal::CaptureStdout();
  const Tally tally = RunFiles({{.path = path}}, {});
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("its name has no verdict"));
  EXPECT_EQ(tally.failed, 1U);
}

// A single file was taken for one of raftkv's unless --format said otherwise.
TEST_F(RunnerTest, ASingleFilesFormatIsRecognized) {
  EXPECT_EQ(RecognizeFormat(kGood), Format::kRaftkv);
  EXPECT_EQ(RecognizeFormat("# recorded by hand\n\n { \"initial_revision\":9}\n"), Format::kRaftkv);
  EXPECT_EQ(RecognizeFormat(kRegisterLog), Format::kRegister);
  EXPECT_EQ(RecognizeFormat("{:process 0 :type :invoke :f :read :value nil}\n"), Format::kRegister);
  EXPECT_EQ(RecognizeFormat("[{:process 0 :type :invoke :f :get :key \"1\"}]\n"), Format::kMap);
  EXPECT_EQ(RecognizeFormat("{:process 0 :type :invoke :f :append :value \"1\"}\n"), Format::kMap);
  const auto log = CheckFile({.path = Write("raftkv/history", kRegisterLog)}, {});
  ASSERT_TRUE(log.has_value()) << log.error().message();
  EXPECT_EQ(log->verdict, Verdict::kNotLinearizable);
  const auto store = CheckFile({.path = Write("register/history", kGood)}, {});
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_EQ(store->verdict, Verdict::kLinearizable);
}

TEST_F(RunnerTest, ComparesVerdictsAndPrintsDifferences) {
  Write("raftkv/right.linearizable.jsonl", kGood);
  Write("raftkv/also-right.not-linearizable.jsonl", kBad);
  Write("raftkv/wrong.linearizable.jsonl", kBad);
  Write("register/wrong.linearizable.log", kRegisterLog);
  Write("raftkv/broken.linearizable.jsonl", "{");
  const Tally tally = RunAll();
  EXPECT_EQ(tally.passed, 2U);
  EXPECT_EQ(tally.failed, 3U);
  EXPECT_THAT(printed_, HasSubstr("expected linearizable, found not-linearizable"));
  EXPECT_THAT(printed_, HasSubstr("revision 2 was made by nobody"));
  EXPECT_THAT(printed_, HasSubstr("broken.linearizable.jsonl: line 1: is not JSON"));
}

TEST_F(RunnerTest, DamageNamesFileAndLine) {
  const fs::path log = Write("a.log", std::string(kRegisterLog) + "INFO  jepsen.util - 0\t:inv\n");
  const auto of_log = CheckFile({.path = log}, {});
  ASSERT_FALSE(of_log.has_value());
  EXPECT_THAT(of_log.error().message(), HasSubstr(log.string() + ": "));
  EXPECT_THAT(of_log.error().message(), HasSubstr("line 3: "));
  const fs::path lines =
      Write("a.jsonl", std::string(kGood) + "\n" + std::string(kGood.substr(0, 40)));
  const auto of_lines = CheckFile({.path = lines}, {});
  ASSERT_FALSE(of_lines.has_value());
  EXPECT_EQ(of_lines.error().message(), lines.string() + ": line 2: is not JSON");
}

// A file that was cut to nothing was linearizable, where its folder named the format.
TEST_F(RunnerTest, AnEmptyFileHasNoVerdict) {
  Write("raftkv/a.linearizable.jsonl", "");
  Write("kv/a.linearizable.txt", "\n");
  EXPECT_EQ(RunAll().failed, 2U);
  EXPECT_THAT(printed_, HasSubstr("a.linearizable.jsonl: there is no operation in it"));
}

TEST_F(RunnerTest, AMapStartsWithEmptyStringsAndARegisterWithNil) {
  constexpr std::string_view kEmpty =
      "{:process 0 :type :invoke :f :read :value nil}\n"
      "{:process 0 :type :ok :f :read :value \"\"}\n";
  Write("kv/a.linearizable.txt", kEmpty);
  Write("register/a.not-linearizable.txt", kEmpty);
  EXPECT_EQ(RunAll().passed, 2U) << printed_;
}

// "unknown" is not the verdict that any file expects.
TEST_F(RunnerTest, ReachingALimitFails) {
  std::string text;
  for (int revision = 2; revision < 20; ++revision) {
    text += R"({"op":"put","key":"a","value":"x","call":1,"completed":2,"outcome":"ok",)"
            R"("revision":)" +
            std::to_string(revision) + "}\n";
  }
  Write("raftkv/right.linearizable.jsonl", text);
  RunOptions options;
  options.limits.max_steps = 1;
  EXPECT_EQ(RunAll(options).failed, 1U);
  EXPECT_THAT(printed_, HasSubstr("found unknown"));
}

TEST_F(RunnerTest, ExplainsViolationsIntoAFolder) {
  RunOptions options;
  options.out = root_ / "out/deep";
  const auto store = CheckFile({.path = Write("a.jsonl", kBad)}, options);
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_THAT(store->reason, HasSubstr("out/deep/a.jsonl.html"));
  const auto prefix = ReadHistory(options.out / "a.jsonl.prefix.jsonl");
  ASSERT_TRUE(prefix.has_value()) << prefix.error().message();
  EXPECT_EQ(prefix->operations.size(), 1U);
}

// Of these only the picture was written.
TEST_F(RunnerTest, TheSmallestPrefixOfALogIsWrittenAndIsAViolation) {
  RunOptions options;
  options.out = root_ / "out";
  const std::string longer = std::string(kRegisterLog) +
                             "INFO  jepsen.util - 1\t:invoke\t:write\t2\n"
                             "INFO  jepsen.util - 1\t:ok\t:write\t2\n";
  const auto log = CheckFile({.path = Write("a.log", longer), .name = "register-a.log"}, options);
  ASSERT_TRUE(log.has_value()) << log.error().message();
  EXPECT_TRUE(fs::exists(options.out / "register-a.log.html"));
  const fs::path prefix = options.out / "register-a.log.prefix.edn";
  EXPECT_THAT(log->reason, HasSubstr(prefix.string()));
  std::stringstream text;
  text << std::ifstream(prefix).rdbuf();
  EXPECT_EQ(text.str(),
            "{:process 0, :type :invoke, :f :read, :value nil, :line 1}\n"
            "{:process 0, :type :ok, :f :read, :value \"1\", :line 2}\n");
  const auto again = CheckFile({.path = prefix}, {});
  ASSERT_TRUE(again.has_value()) << again.error().message();
  EXPECT_EQ(again->verdict, Verdict::kNotLinearizable);
}

// A violation of a long history was told only when its smallest prefix had been found.
TEST_F(RunnerTest, TheVerdictDoesNotWaitForItsExplanation) {
  for (const auto& [name, text] :
       {std::pair("a.jsonl", std::string(kBad)), std::pair("a.log", std::string(kRegisterLog))}) {
    RunOptions options;
    options.out = root_ / "out";
    bool was_told = false;
    options.on_violation = [&](const Report& report) {
      was_told = true;
      EXPECT_EQ(report.verdict, Verdict::kNotLinearizable);
      EXPECT_FALSE(report.reason.empty());
      EXPECT_FALSE(fs::exists(options.out / (std::string(name) + ".html")));
    };
    ASSERT_TRUE(CheckFile({.path = Write(name, text)}, options).has_value());
    EXPECT_TRUE(was_told);
    EXPECT_TRUE(fs::exists(options.out / (std::string(name) + ".html")));
  }
}

TEST_F(RunnerTest, ItIsSaidThatTheTimeForExplainingIsOver) {
  RunOptions options;
  options.out = root_ / "out";
  options.max_explain_time = Duration(0);
  const std::string later =
      "\n"
      R"({"op":"delete","key":"a","call":3,"completed":4,"outcome":"ok","revision":4})";
  const auto store = CheckFile({.path = Write("a.jsonl", std::string(kBad) + later)}, options);
  ASSERT_TRUE(store.has_value()) << store.error().message();
  EXPECT_THAT(store->reason, HasSubstr("revision 2 was made by nobody"));
  EXPECT_THAT(store->reason, HasSubstr("the time for explaining it (0 s) is over"));
  EXPECT_EQ(CheckFile({.path = options.out / "a.jsonl.prefix.jsonl"}, {})->verdict,
            Verdict::kNotLinearizable);
  const auto log = CheckFile({.path = Write("a.log", kRegisterLog)}, options);
  ASSERT_TRUE(log.has_value()) << log.error().message();
  EXPECT_THAT(log->reason, HasSubstr("the time for explaining it (0 s) is over"));
  EXPECT_EQ(CheckFile({.path = options.out / "a.log.prefix.edn"}, {})->verdict,
            Verdict::kNotLinearizable);
}

TEST_F(RunnerTest, CheckAndExplainTellsWhereToLook) {
  const History good = *ParseHistory(kGood);
  EXPECT_TRUE(CheckAndExplain(good, root_, "good").ok());
  EXPECT_FALSE(fs::exists(root_ / "good.html"));
  const Status bad = CheckAndExplain(*ParseHistory(kBad), root_, "bad");
  EXPECT_EQ(bad.code(), Code::kConflict);
  EXPECT_THAT(bad.message(), HasSubstr("revision 2 was made by nobody"));
  EXPECT_THAT(bad.message(), HasSubstr("bad.html"));
  EXPECT_TRUE(fs::exists(root_ / "bad.html"));
  const Status hard = CheckAndExplain(good, root_, "hard", {.max_steps = 0});
  EXPECT_EQ(hard.code(), Code::kResourceExhausted);
  EXPECT_THAT(hard.message(), HasSubstr("limit of steps"));
}

}  // namespace
}  // namespace raftkv::linearizability
