#include "tests/conformance/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace raftkv::conformance {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class RunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "raftkv-conformance-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name);
  }
  void TearDown() override { fs::remove_all(root_); }

  TestFile Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
    return {root_ / path, (root_ / path).parent_path().filename().string()};
  }
  static std::string Read(const TestFile& file) {
    std::ifstream in(file.path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path root_;
};

TEST_F(RunnerTest, TheFolderNamesTheDriver) {
  Write("quorum/b.txt", "");
  Write("suite/confchange/deep/a.txt", "");
  Write("interaction/c.txt", "");
  Write("quorum/notes.md", "");
  Write("histories/c01.txt", "");
  Write("top.txt", "");
  std::vector<std::string> found;
  for (const TestFile& file : FindFiles(root_)) {
    found.push_back(file.driver + " " + file.path.lexically_relative(root_).string());
  }
  EXPECT_THAT(found, ElementsAre("interaction interaction/c.txt", "quorum quorum/b.txt",
                                 "confchange suite/confchange/deep/a.txt"));
  EXPECT_EQ(FindFiles(root_ / "quorum").size(), 1u);
}

TEST_F(RunnerTest, OneFileMayBeNamed) {
  Write("suite/confchange/deep/a.txt", "");
  Write("suite/confchange/b.txt", "");
  const std::vector<TestFile> found = FindFiles(root_ / "suite/confchange/deep/a.txt");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.front().driver, "confchange");
  EXPECT_EQ(found.front().path, root_ / "suite/confchange/deep/a.txt");
  Write("top.txt", "");
  EXPECT_TRUE(FindFiles(root_ / "top.txt").empty());
}

TEST_F(RunnerTest, CountsDirectivesAndShowsDifferences) {
  const TestFile file = Write("confchange/a.txt",
                              "simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=1\n\n"
                              "simple\nv2\n----\nvoters=(1 3)\n\n"
                              "leave-joint\n----\ncan't leave a non-joint config\n");
  testing::internal::CaptureStdout();
  const Tally tally = RunFile(file);
  const std::string printed = testing::internal::GetCapturedStdout();
  EXPECT_EQ(tally.passed, 2u);
  EXPECT_EQ(tally.failed, 1u);
  EXPECT_THAT(printed, HasSubstr("a.txt:7: simple\n"));
  EXPECT_THAT(printed, HasSubstr("   10 - voters=(1 3)\n      + voters=(1 2)\n"));
}

TEST_F(RunnerTest, AMissingNewlineAtTheEndOfAnOutputIsAdded) {
  const Tally tally = RunFile(Write("confchange/a.txt", "other\n----\nunknown command\n"));
  EXPECT_EQ(tally.passed, 1u);
}

TEST_F(RunnerTest, AFileThatDoesNotParseFails) {
  testing::internal::CaptureStdout();
  const Tally tally = RunFile(Write("confchange/a.txt", "simple\nv1\n"));
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("line 1"));
  EXPECT_EQ(tally.failed, 1u);
}

// The environment's process ends in a CHECK: the directives from there on count as failed.
TEST_F(RunnerTest, ACrashFailsTheRestOfTheFileOnly) {
  const TestFile file = Write("interaction/a.txt",
                              "log-level none\n----\nok\n\n"
                              "add-nodes 1 index=2 voters=(1) read-only=lease-based\n----\n\n"
                              "deliver-msgs 1\n----\nok\n\n");
  testing::internal::CaptureStdout();
  const Tally tally = RunFile(file);
  testing::internal::GetCapturedStdout();
  EXPECT_EQ(tally.passed + tally.failed, 3u);
  EXPECT_GE(tally.failed, 1u);
}

TEST_F(RunnerTest, RewriteReplacesTheExpectationAlone) {
  const TestFile file = Write("quorum/a.txt",
                              "# Why.\ncommitted cfg=(1) idx=(3)\n----\nwrong\n\n\n# More.\n"
                              "vote cfg=(1) votes=(y)\n----\n");
  EXPECT_TRUE(RewriteFile(file).ok());
  EXPECT_EQ(
      Read(file),
      "# Why.\ncommitted cfg=(1) idx=(3)\n----\n     idx\n>      3    (id=1)\n3\n\n\n# More.\n"
      "vote cfg=(1) votes=(y)\n----\nVoteWon\n");
  EXPECT_EQ(RunFile(file).passed, 2u);
}

TEST(DiffTest, ShowsChangesWithLineNumbersAndContext) {
  EXPECT_EQ(DiffLines("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\ne\nx\ng\n", 11),
            "      ...\n"
            "   13   c\n"
            "   14   d\n"
            "   15   e\n"
            "   16 - f\n"
            "      + x\n"
            "   17   g\n"
            "   18 - h\n");
  EXPECT_EQ(DiffLines("", "new\n", 1), "      + new\n");
}

}  // namespace
}  // namespace raftkv::conformance
