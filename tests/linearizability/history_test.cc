#include "tests/linearizability/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string ErrorOf(std::string_view text) {
  const auto history = ParseHistory(text);
  return history ? "no error" : history.error().message();
}

TEST(HistoryTest, WhatIsWrittenIsRead) {
  for (const uint64_t seed : Seeds(20)) {
    SeededRandom random(seed);
    History history = SimulateStore({.operations = 200, .unknown_percent = 10}, &random);
    history.initial_revision = seed;
    const auto read = ParseHistory(FormatHistory(history));
    ASSERT_TRUE(read.has_value()) << Again(seed) << read.error().message();
    EXPECT_EQ(read->operations, history.operations) << Again(seed);
    EXPECT_EQ(read->initial_revision, seed);
  }
}

TEST(HistoryTest, AnyBytesAreKept) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  History history;
  history.initial_revision = 5;
  history.initial_items = {{bytes, bytes, 2, 3, 2}};
  history.operations.push_back({.kind = Kind::kPut, .key = bytes, .value = "caf\xc3\xa9"});
  const std::string text = FormatHistory(history);
  EXPECT_THAT(text, HasSubstr(R"({"hex":"000102)"));
  EXPECT_THAT(text, HasSubstr("caf\xc3\xa9"));
  const auto read = ParseHistory(text);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->initial_items, history.initial_items);
  EXPECT_EQ(read->operations, history.operations);
}

TEST(HistoryTest, TheLinesOfTheContractAreUnderstood) {
  const auto history = ParseHistory(
      "# a comment\r\n"
      "{\"initial_revision\":9,\"initial_items\":[{\"key\":\"a\",\"value\":\"x\","
      "\"create_revision\":3,\"mod_revision\":7,\"version\":2}]}\n"
      "\n"
      R"({"client":3,"op":"put","key":"a","value":"x","if":"absent","call":100,"completed":180,)"
      R"("outcome":"ok","revision":18,"created":true})"
      "\n"
      R"({"client":4,"op":"delete","key":"a","if":3,"call":101,"completed":120,)"
      R"("outcome":"conflict","key_revision":5})"
      "\n"
      R"({"client":5,"op":"get","key":"a","consistency":"stale","node":"n2/1","at_revision":7,)"
      R"("call":1,"completed":2,"outcome":"ok","revision":7,)"
      R"("items":[{"value":"x","create_revision":3,"mod_revision":7,"version":2}]})"
      "\n"
      R"({"client":5,"op":"range","key":"a","count_only":true,"call":-1,"completed":2,)"
      R"("outcome":"ok","revision":9,"count":17})");
  ASSERT_TRUE(history.has_value()) << history.error().message();
  ASSERT_EQ(history->operations.size(), 4U);
  EXPECT_EQ(history->operations[0].condition.type, Condition::Type::kAbsent);
  EXPECT_EQ(history->operations[1].condition, (Condition{Condition::Type::kRevision, 3}));
  EXPECT_EQ(history->operations[2].items[0].key, "a");
  EXPECT_EQ(history->operations[3].count, 17U);
}

TEST(HistoryTest, ErrorsNameTheLine) {
  const std::string good = R"({"op":"delete","key":"a","call":1,"outcome":"unknown"})"
                           "\n";
  EXPECT_THAT(ErrorOf(good + "{"), StartsWith("line 2: is not JSON"));
  EXPECT_THAT(ErrorOf(good + "\n[]"), StartsWith("line 3: is not a JSON object"));
  EXPECT_THAT(ErrorOf(good + "{\"initial_revision\":3}"), HasSubstr("before all operations"));
  EXPECT_THAT(ErrorOf(R"({"initial_revision":3,"initial_items":[{"key":"a"}]})"),
              HasSubstr("initial item needs"));
  EXPECT_THAT(ErrorOf(R"({"op":"delete","call":1,"outcome":"unknown"})"),
              HasSubstr("key is missing"));
  EXPECT_THAT(ErrorOf(R"({"op":"put","key":"a","call":1,"outcome":"unknown"})"),
              HasSubstr("\"value\" is missing"));
  EXPECT_THAT(ErrorOf(R"({"op":"push","key":"a","call":1,"outcome":"unknown"})"),
              HasSubstr("none of put, delete, get, range"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":"1","outcome":"unknown"})"),
              HasSubstr("\"call\" is not a whole number"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":1,"outcome":"unknown","tpyo":1})"),
              HasSubstr("\"tpyo\" is unknown"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":{"hex":"0"},"call":1,"outcome":"unknown"})"),
              HasSubstr("neither a string nor"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":5,"completed":4,"outcome":"not-found"})"),
              HasSubstr("completed lies before call"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":5,"outcome":"not-found"})"),
              HasSubstr("without completed"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":5,"completed":6,"outcome":"ok"})"),
              HasSubstr("exactly one item"));
  EXPECT_THAT(ErrorOf(R"({"op":"put","key":"a","value":"","if":"never","call":5,)"
                      R"("outcome":"unknown"})"),
              HasSubstr("\"if\" is neither"));
}

// The second one took the place of the first without a word.
TEST(HistoryTest, AMemberThatStandsTwiceIsAnError) {
  EXPECT_THAT(ErrorOf(R"({"op":"put","key":"a","value":"x","call":1,"completed":2,)"
                      R"("outcome":"ok","revision":2,"revision":3})"),
              StartsWith("line 1: member \"revision\" stands there twice"));
  EXPECT_THAT(ErrorOf(R"({"op":"get","key":"a","call":1,"completed":2,"outcome":"ok",)"
                      R"("items":[{"value":"x","value":"y"}]})"),
              HasSubstr("\"value\" stands there twice"));
}

TEST(HistoryTest, MissingFilesAreNamed) {
  const auto history = ReadHistory("/nonexistent/history.jsonl");
  ASSERT_FALSE(history.has_value());
  EXPECT_EQ(history.error().code(), Code::kIoError);
  EXPECT_THAT(history.error().message(), HasSubstr("/nonexistent/history.jsonl"));
}

TEST(HistoryTest, PrefixEnds) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xff\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff"), "");
  EXPECT_EQ(PrefixEnd(""), "");
}

}  // namespace
}  // namespace raftkv::linearizability
