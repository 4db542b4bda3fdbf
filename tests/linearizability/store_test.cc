// The store's model, rule by rule. Each history is written in the file format, without its clients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {
namespace {

using testing::HasSubstr;

Report CheckText(const std::string& text) {
  const auto history = ParseHistory(text);
  EXPECT_TRUE(history.has_value()) << history.error().message();
  if (!history) return {};
  const auto report = Check(*history);
  EXPECT_TRUE(report.has_value()) << report.error().message();
  return report.value_or(Report{});
}

void ExpectLinearizable(const std::string& text) {
  const Report report = CheckText(text);
  EXPECT_EQ(report.verdict, Verdict::kLinearizable) << report.reason;
}

void ExpectViolation(const std::string& text, const std::string& reason) {
  const Report report = CheckText(text);
  EXPECT_EQ(report.verdict, Verdict::kNotLinearizable);
  EXPECT_THAT(report.reason, HasSubstr(reason));
}

std::string At(int call, int completed) {
  return R"("call":)" + std::to_string(call) + R"(,"completed":)" + std::to_string(completed) + ",";
}

std::string Put(const std::string& key, const std::string& value, int call, int completed,
                int revision, const std::string& more = "") {
  return R"({"op":"put","key":")" + key + R"(","value":")" + value + "\"," + At(call, completed) +
         R"("outcome":"ok","revision":)" + std::to_string(revision) + more + "}\n";
}

std::string UnknownPut(const std::string& key, const std::string& value, int call,
                       const std::string& more = "") {
  return R"({"op":"put","key":")" + key + R"(","value":")" + value + R"(","call":)" +
         std::to_string(call) + R"(,"outcome":"unknown")" + more + "}\n";
}

std::string UnknownDelete(const std::string& key, int call) {
  return R"({"op":"delete","key":")" + key + R"(","call":)" + std::to_string(call) +
         R"(,"outcome":"unknown"})" + "\n";
}

std::string Delete(const std::string& key, int call, int completed, int revision) {
  return R"({"op":"delete","key":")" + key + "\"," + At(call, completed) +
         R"("outcome":"ok","revision":)" + std::to_string(revision) + "}\n";
}

std::string Get(const std::string& key, const std::string& value, int call, int completed,
                int revision, int mod_revision, const std::string& more = "") {
  return R"({"op":"get","key":")" + key + "\"," + At(call, completed) +
         R"("outcome":"ok","revision":)" + std::to_string(revision) + R"(,"items":[{"value":")" +
         value + R"(","mod_revision":)" + std::to_string(mod_revision) + "}]" + more + "}\n";
}

std::string Missing(const std::string& op, const std::string& key, int call, int completed,
                    const std::string& more = "") {
  return R"({"op":")" + op + R"(","key":")" + key + "\"," + At(call, completed) +
         R"("outcome":"not-found")" + more + "}\n";
}

const std::string kStale = R"(,"consistency":"stale")";

TEST(StoreTest, NothingIsLinearizable) { ExpectLinearizable(""); }

TEST(StoreTest, TheFirstWriteOfAnEmptyStoreIsRevisionTwo) {
  ExpectLinearizable(Put("a", "x", 1, 2, 2));
  ExpectViolation(Put("a", "x", 1, 2, 3), "revision 2 was made by nobody");
  ExpectViolation(Put("a", "x", 1, 2, 1), "existed before");
}

TEST(StoreTest, RevisionsFollowRealTime) {
  ExpectLinearizable(Put("a", "x", 1, 5, 3) + Put("b", "y", 2, 6, 2));
  ExpectLinearizable(Put("a", "x", 1, 5, 3) + Put("b", "y", 5, 6, 2));  // equal times overlap
  ExpectViolation(Put("a", "x", 1, 5, 3) + Put("b", "y", 6, 7, 2), "had already seen revision 3");
  ExpectViolation(Put("a", "x", 1, 5, 2) + Put("b", "y", 2, 6, 2), "the same revision");
}

TEST(StoreTest, AReadShowsTheStoreAtItsRevision) {
  const std::string writes = Put("a", "x", 1, 2, 2) + Put("b", "y", 3, 4, 3);
  ExpectLinearizable(writes + Get("a", "x", 5, 6, 3, 2));
  ExpectViolation(writes + Get("a", "y", 5, 6, 3, 2), "is wrong");
  ExpectViolation(writes + Get("a", "x", 5, 6, 2, 2), "is stale");
  ExpectViolation(writes + Get("a", "x", 5, 6, 3, 3), "is wrong");
  ExpectViolation(writes + Get("c", "x", 5, 6, 3, 2), "is wrong");
  ExpectViolation(writes + Get("a", "x", 5, 6, 4, 2), "revision 4 was made by nobody");
}

// A per-key check would let this pass: the revision tells that b's write was there.
TEST(StoreTest, RevisionsOrderReadsOfDifferentKeys) {
  ExpectViolation(Put("a", "x", 1, 10, 2) + Put("b", "y", 1, 10, 3) + Get("b", "y", 2, 3, 3, 3) +
                      Missing("get", "a", 4, 5, R"(,"revision":3)"),
                  "is wrong");
  ExpectViolation(Put("a", "x", 1, 10, 2) + Put("b", "y", 1, 10, 3) + Get("b", "y", 2, 3, 3, 3) +
                      Missing("get", "a", 4, 5),
                  "has no place");
}

TEST(StoreTest, AKeyHasCreateRevisionAndVersion) {
  const auto get = [](int create, int version) {
    return Put("a", "x", 1, 2, 2) + Put("a", "y", 3, 4, 3) + Delete("a", 5, 6, 4) +
           Put("a", "z", 7, 8, 5) + Put("a", "w", 9, 10, 6) + R"({"op":"get","key":"a",)" +
           At(11, 12) + R"("outcome":"ok","revision":6,"items":[{"value":"w","mod_revision":6,)" +
           R"("create_revision":)" + std::to_string(create) + R"(,"version":)" +
           std::to_string(version) + "}]}\n";
  };
  ExpectLinearizable(get(5, 2));
  ExpectViolation(get(2, 2), "is wrong");
  ExpectViolation(get(5, 4), "is wrong");
}

TEST(StoreTest, CreatedTellsWhetherTheKeyWasThere) {
  const std::string created = R"(,"created":true)";
  ExpectLinearizable(Put("a", "x", 1, 2, 2, created) +
                     Put("a", "y", 3, 4, 3, R"(,"created":false)"));
  ExpectViolation(Put("a", "x", 1, 2, 2, created) + Put("a", "y", 3, 4, 3, created),
                  "cannot have made revision 3");
}

TEST(StoreTest, ConditionsHoldWhereTheWriteIs) {
  const std::string first = Put("a", "x", 1, 2, 2);
  ExpectLinearizable(first + Put("a", "y", 3, 4, 3, R"(,"if":2)"));
  ExpectLinearizable(first + Put("a", "y", 3, 4, 3, R"(,"if":"present")"));
  ExpectLinearizable(first + Put("b", "y", 3, 4, 3, R"(,"if":"absent")"));
  ExpectViolation(first + Put("a", "y", 3, 4, 3, R"(,"if":"absent")"), "cannot have made");
  ExpectViolation(first + Put("b", "y", 3, 4, 3, R"(,"if":"present")"), "cannot have made");
  // Two updates of the same revision: one is lost.
  ExpectViolation(
      first + Put("a", "y", 3, 9, 3, R"(,"if":2)") + Put("a", "z", 3, 9, 4, R"(,"if":2)"),
      "cannot have made revision 4");
}

TEST(StoreTest, AConflictIsAReadOfTheKey) {
  const auto conflict = [](const std::string& condition, const std::string& told) {
    return Put("a", "x", 1, 2, 2) + Put("a", "y", 3, 4, 3) +
           R"({"op":"put","key":"a","value":"z",)" + R"("if":)" + condition + "," + At(5, 6) +
           R"("outcome":"conflict")" + told + "}\n";
  };
  ExpectLinearizable(conflict("2", ""));
  ExpectLinearizable(conflict("2", R"(,"key_revision":3)"));
  ExpectLinearizable(conflict("\"absent\"", R"(,"key_revision":3)"));
  ExpectViolation(conflict("3", ""), "has no place");
  ExpectViolation(conflict("2", R"(,"key_revision":2)"), "has no place");
  ExpectViolation(conflict("2", R"(,"key_revision":0)"), "has no place");
  ExpectViolation(conflict("\"present\"", ""), "has no place");
}

TEST(StoreTest, ADeleteOfNothingMakesNoRevision) {
  ExpectLinearizable(Missing("delete", "a", 1, 2) + Put("a", "x", 3, 4, 2) + Delete("a", 5, 6, 3) +
                     Missing("delete", "a", 7, 8) + Put("a", "y", 9, 10, 4));
  ExpectViolation(Put("a", "x", 1, 2, 2) + Missing("delete", "a", 3, 4), "has no place");
  ExpectViolation(Delete("a", 1, 2, 2), "cannot have made revision 2");
}

TEST(StoreTest, FailedOperationsHaveNoEffect) {
  const std::string failed =
      R"({"op":"put","key":"a","value":"x","call":1,"completed":2,"outcome":"fail"})"
      "\n";
  ExpectLinearizable(failed + Missing("get", "a", 3, 4));
  ExpectViolation(failed + Get("a", "x", 3, 4, 2, 2), "revision 2 was made by nobody");
}

TEST(StoreTest, UnknownWritesMayHappenOnceLaterOrNever) {
  const std::string writes = UnknownPut("a", "x", 1) + Put("a", "y", 3, 4, 2);
  ExpectLinearizable(writes + Get("a", "y", 5, 6, 2, 2));
  ExpectLinearizable(writes + Get("a", "y", 5, 6, 2, 2) + Get("a", "x", 7, 8, 3, 3));
  ExpectViolation(writes + Get("a", "x", 5, 6, 3, 3) + Get("a", "x", 7, 8, 4, 4),
                  "was made by nobody");
  // Its revision is behind that of writes that were answered before its call.
  ExpectLinearizable(UnknownPut("a", "x", 1) + Put("b", "y", 1, 2, 3));
  ExpectViolation(Put("b", "y", 1, 2, 3) + UnknownPut("a", "x", 3),
                  "revision 2 was made by nobody");
}

TEST(StoreTest, UnknownWritesKeepTheirConditions) {
  const std::string condition = R"(,"if":2)";
  ExpectLinearizable(Put("a", "x", 1, 2, 2) + UnknownPut("a", "y", 3, condition) +
                     Get("a", "y", 5, 6, 3, 3));
  ExpectViolation(Put("a", "x", 1, 2, 2) + Put("a", "z", 3, 4, 3) +
                      UnknownPut("a", "y", 5, condition) + Get("a", "y", 7, 8, 4, 4),
                  "revision 4 was made by nobody");
}

TEST(StoreTest, AnUnknownDeleteExplainsAMissingKey) {
  const std::string writes = Put("a", "x", 1, 2, 2) + UnknownDelete("a", 3);
  ExpectLinearizable(writes + Missing("get", "a", 4, 5));
  ExpectLinearizable(writes + Get("a", "x", 4, 5, 2, 2) + Missing("get", "a", 6, 7));
  ExpectViolation(writes + Missing("get", "a", 4, 5) + Get("a", "x", 6, 7, 3, 2), "");
}

TEST(StoreTest, WritesThatDoNotTellTheirRevisionFindTheirPlace) {
  const std::string silent =
      R"({"op":"put","key":"a","value":"x","call":1,"completed":5,"outcome":"ok"})"
      "\n";
  ExpectLinearizable(silent + Put("a", "y", 1, 2, 2) + Get("a", "x", 6, 7, 3, 3));
  ExpectLinearizable(silent + Put("a", "y", 1, 5, 3) + Get("a", "y", 6, 7, 3, 3));
  ExpectViolation(silent + Missing("get", "a", 6, 7), "");
}

std::string Range(const std::string& question, int call, int completed, int revision,
                  const std::string& answer) {
  return R"({"op":"range",)" + question + At(call, completed) + R"("outcome":"ok","revision":)" +
         std::to_string(revision) + answer + "}\n";
}

TEST(StoreTest, ARangeShowsAllItsKeysAtOneRevision) {
  const std::string writes = Put("a1", "x", 1, 2, 2) + Put("a2", "y", 3, 4, 3) +
                             Put("b", "z", 5, 6, 4) + Delete("a1", 7, 8, 5);
  const std::string a = R"("key":"a","end":"b",)";
  const std::string a1 = R"({"key":"a1","value":"x","mod_revision":2})";
  const std::string a2 = R"({"key":"a2","value":"y","mod_revision":3})";
  ExpectLinearizable(writes + Range(a, 9, 10, 5, R"(,"items":[)" + a2 + "]"));
  ExpectViolation(writes + Range(a, 9, 10, 5, R"(,"items":[)" + a1 + "," + a2 + "]"), "is wrong");
  ExpectViolation(writes + Range(a, 9, 10, 5, ""), "is wrong");
  // As of an old revision, also by a stale read.
  const std::string old = a + R"("at_revision":4,)";
  ExpectLinearizable(writes + Range(old, 9, 10, 4, R"(,"items":[)" + a1 + "," + a2 + "]"));
  ExpectViolation(writes + Range(old, 9, 10, 4, R"(,"items":[)" + a2 + "]"), "is wrong");
  ExpectViolation(Range(old, 0, 1, 4, R"(,"items":[)" + a1 + "," + a2 + "]") + writes,
                  "had already seen revision 4");
  // Pages.
  const std::string page = old + R"("limit":1,)";
  ExpectLinearizable(writes + Range(page, 9, 10, 4, R"(,"more":true,"items":[)" + a1 + "]"));
  ExpectViolation(writes + Range(page, 9, 10, 4, R"(,"items":[)" + a1 + "]"), "is wrong");
  ExpectLinearizable(writes + Range(page + R"("descending":true,)", 9, 10, 4,
                                    R"(,"more":true,"items":[)" + a2 + "]"));
  ExpectViolation(writes + Range(page + R"("descending":true,)", 9, 10, 4,
                                 R"(,"more":true,"items":[)" + a1 + "]"),
                  "is wrong");
  // A page is as long as its limit says, unless it ends the range; and no longer.
  const std::string both = R"(,"items":[)" + a1 + "," + a2 + "]";
  ExpectViolation(writes + Range(page, 9, 10, 4, both), "more than were asked for");
  ExpectViolation(
      writes + Range(old + R"("limit":2,)", 9, 10, 4, R"(,"more":true,"items":[)" + a1 + "]"),
      "is cut short");
  ExpectViolation(writes + Range(old, 9, 10, 4, R"(,"more":true,"items":[)" + a1 + "]"),
                  "is cut short");
  ExpectViolation(writes + Range(page, 9, 10, 4, R"(,"more":true)"), "is cut short");
  ExpectLinearizable(writes + Range(old + R"("limit":2,)", 9, 10, 4, both));
  ExpectViolation(writes + Range(old + R"("limit":2,)", 9, 10, 4, R"(,"more":true)" + both),
                  "is wrong");
  // Or as its size says.
  const std::string big(kLeastPageBytes, 'x');
  const std::string large = Put("a1", big, 1, 2, 2) + Put("a2", "y", 3, 4, 3);
  ExpectLinearizable(large + Range(R"("key":"a","end":"b","limit":2,)", 9, 10, 3,
                                   R"(,"more":true,"items":[{"key":"a1","value":")" + big +
                                       R"(","mod_revision":2}])"));
  // Counts.
  ExpectLinearizable(writes + Range(R"("key":"","count_only":true,)", 9, 10, 5, R"(,"count":2)"));
  ExpectViolation(writes + Range(R"("key":"","count_only":true,)", 9, 10, 5, R"(,"count":3)"),
                  "is wrong");
}

TEST(StoreTest, StaleReadsFollowTheAppliedOrder) {
  const std::string writes = Put("a", "x", 1, 2, 2) + Put("a", "y", 3, 4, 3);
  ExpectLinearizable(writes + Get("a", "x", 5, 6, 2, 2, kStale));
  ExpectViolation(writes + Get("a", "z", 5, 6, 2, 2, kStale), "is wrong");
  ExpectViolation(Get("a", "x", 0, 1, 2, 2, kStale) + Put("a", "x", 2, 3, 2),
                  "had already seen revision 2");
  // What a stale read saw is there for linearizable ones.
  ExpectViolation(
      Put("a", "x", 1, 9, 2) + Get("a", "x", 2, 3, 2, 2, kStale) + Missing("get", "a", 4, 5),
      "has no place");
}

TEST(StoreTest, StaleReadsWithoutARevisionFitSomeRevision) {
  ExpectLinearizable(Put("a", "x", 1, 2, 2) + Missing("get", "a", 5, 6, kStale));
  ExpectViolation(R"({"initial_revision":5,"initial_items":[{"key":"a","value":"x",)"
                  R"("create_revision":3,"mod_revision":4,"version":2}]})"
                  "\n" +
                      Put("a", "y", 1, 2, 6) + Missing("get", "a", 5, 6, kStale),
                  "fits no revision");
  // The delete began after the answer.
  ExpectViolation(R"({"initial_revision":5,"initial_items":[{"key":"a","value":"x",)"
                  R"("create_revision":3,"mod_revision":4,"version":2}]})"
                  "\n" +
                      Missing("get", "a", 1, 2, kStale) + Delete("a", 3, 4, 6),
                  "fits no revision");
  // A delete of unknown outcome that nobody else saw.
  ExpectLinearizable(R"({"initial_revision":5,"initial_items":[{"key":"a","value":"x",)"
                     R"("create_revision":3,"mod_revision":4,"version":2}]})"
                     "\n" +
                     UnknownDelete("a", 1) + Missing("get", "a", 2, 3, kStale));
}

TEST(StoreTest, ANodeNeverGoesBack) {
  const std::string writes = Put("a", "x", 1, 2, 2) + Put("a", "y", 3, 4, 3);
  const std::string node1 = R"(,"node":"n1/1")" + kStale;
  const std::string node2 = R"(,"node":"n1/2")" + kStale;
  ExpectLinearizable(writes + Get("a", "x", 5, 6, 2, 2, node1) + Get("a", "y", 7, 8, 3, 3, node1));
  ExpectViolation(writes + Get("a", "y", 5, 6, 3, 3, node1) + Get("a", "x", 7, 8, 2, 2, node1),
                  "went back");
  ExpectLinearizable(writes + Get("a", "y", 5, 6, 3, 3, node1) + Get("a", "x", 7, 8, 2, 2, node2));
  ExpectViolation(writes + Get("a", "y", 5, 6, 3, 3, node1) + Missing("get", "a", 7, 8, node1),
                  "fits no revision");
}

TEST(StoreTest, TheInitialStateCounts) {
  const std::string initial =
      R"({"initial_revision":5,"initial_items":[{"key":"a","value":"x","create_revision":3,)"
      R"("mod_revision":4,"version":2}]})"
      "\n";
  ExpectLinearizable(initial + Get("a", "x", 1, 2, 5, 4) + Put("a", "y", 3, 4, 6, R"(,"if":4)"));
  ExpectViolation(initial + Get("a", "z", 1, 2, 5, 4), "is wrong");
  ExpectViolation(initial + Get("a", "x", 1, 2, 4, 4), "before the history's first");
}

// Which of the writes made which revision cannot be told, and it does not matter: that must not be
// taken for a reason to try all ways.
TEST(StoreTest, WritesThatNobodySawAreNotPermuted) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += UnknownPut("k" + std::to_string(i), "x", 1);
  text += Put("a", "y", 1, 100, 22) + Missing("get", "a", 101, 102);
  const auto history = ParseHistory(text);
  ASSERT_TRUE(history.has_value());
  EXPECT_EQ(Check(*history, {.max_steps = 10'000})->verdict, Verdict::kNotLinearizable);
}

TEST(StoreTest, ALimitAnswersUnknown) {
  // Any nine of these may have been there at revision 10, but never eight; no key alone tells.
  std::string text;
  for (int i = 0; i < 18; ++i) text += UnknownPut("k" + std::to_string(i), "x", 1);
  text += Range(R"("key":"k","count_only":true,)", 101, 102, 10, R"(,"count":8)");
  const auto history = ParseHistory(text);
  ASSERT_TRUE(history.has_value());
  const auto limited = Check(*history, {.max_steps = 1000});
  EXPECT_EQ(limited->verdict, Verdict::kUnknown);
  EXPECT_THAT(limited->reason, HasSubstr("limit of steps"));
  EXPECT_EQ(Check(*history, {.max_time = Duration(1)})->verdict, Verdict::kUnknown);
  EXPECT_EQ(Check(*history, {.max_memory_bytes = 10'000})->verdict, Verdict::kUnknown);
}

TEST(StoreTest, InvalidOperationsAreRefused) {
  History history;
  history.operations.push_back(
      {.kind = Kind::kGet, .key = "a", .completed = 1, .outcome = Outcome::kOk});
  const auto report = Check(history);
  ASSERT_FALSE(report.has_value());
  EXPECT_THAT(report.error().message(), HasSubstr("operation 0: a get that is ok"));
}

TEST(StoreTest, AnAbsurdRevisionIsNotSearchedFor) {
  ExpectViolation(Get("a", "x", 1, 2, 1'000'000'000, 1'000'000'000), "was made by nobody");
}

}  // namespace
}  // namespace raftkv::linearizability
