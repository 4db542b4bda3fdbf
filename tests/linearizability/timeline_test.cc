#include "tests/linearizability/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace raftkv::linearizability {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Operation Put(uint64_t client, const std::string& key, const std::string& value, int64_t call,
              int64_t completed, uint64_t revision) {
  return {.client = client,
          .kind = Kind::kPut,
          .key = key,
          .value = value,
          .call = call,
          .completed = completed,
          .outcome = Outcome::kOk,
          .revision = revision};
}

History LostUpdate() {
  History history;
  history.operations = {Put(1, "a", "0", 1, 2, 2), Put(1, "a", "1", 3, 9, 3),
                        Put(2, "a", "2", 4, 9, 4), Put(3, "elsewhere", "x", 4, 20, 5)};
  for (size_t i : {1, 2}) {
    history.operations[i].condition = {Condition::Type::kRevision, 2};
  }
  return history;
}

size_t Count(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(TimelineTest, ValuesCannotBreakThePage) {
  EXPECT_EQ(EscapeHtml("<b>&\"'"), "&lt;b&gt;&amp;&quot;&#39;");
  History history = LostUpdate();
  history.operations[2].value = "</template><script>alert('x')</script>";
  const std::string html = FormatTimeline(TimelineOf(Explain(history), "<name>"));
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(html, HasSubstr("<title>&lt;name&gt;: not linearizable</title>"));
  EXPECT_EQ(Count(html, "<script>"), 1U);
}

TEST(TimelineTest, NothingIsLoadedFromElsewhere) {
  const std::string html = FormatTimeline(TimelineOf(Explain(LostUpdate()), "x"));
  EXPECT_THAT(html, AllOf(Not(HasSubstr("http")), Not(HasSubstr("src=")), Not(HasSubstr("<link"))));
}

TEST(TimelineTest, ShowsALaneForEachClientOfTheKeysInvolved) {
  const std::string html = FormatTimeline(TimelineOf(Explain(LostUpdate()), "x"));
  EXPECT_THAT(html, AllOf(HasSubstr(">client 1<"), HasSubstr(">client 2<"),
                          Not(HasSubstr("client 3")), Not(HasSubstr("elsewhere"))));
  EXPECT_EQ(Count(html, "class=\"op core"), 2U);  // the two updates
  EXPECT_EQ(Count(html, "class=\"op plain"), 1U);
  EXPECT_THAT(html, HasSubstr("if at revision 2"));
}

TEST(TimelineTest, OperationsOfOneClientThatOverlapGetRowsOfTheirOwn) {
  Timeline timeline{.title = "x", .reason = "", .ops = {}};
  timeline.ops = {{.lane = "c", .label = "open", .call = 1},
                  {.lane = "c", .label = "next", .call = 2, .end = 3}};
  const std::string html = FormatTimeline(timeline);
  EXPECT_THAT(html, HasSubstr("top:8px"));
  EXPECT_THAT(html, HasSubstr("top:38px"));
}

TEST(TimelineTest, LongHistoriesAreCutAroundTheViolation) {
  History history;
  for (int i = 0; i < 1000; ++i) {
    const auto number = static_cast<uint64_t>(i);
    history.operations.push_back(
        Put(number % 5, "a", std::to_string(i), 10 * i, 10 * i + 5, number + 2));
  }
  history.operations[900].revision = 5000;
  const std::string html = FormatTimeline(TimelineOf(Explain(history), "x"));
  EXPECT_LE(Count(html, "class=\"op "), 150U);
  EXPECT_THAT(html, HasSubstr("are left out"));
}

TEST(TimelineTest, AnEmptyTimelineIsAPage) {
  EXPECT_THAT(FormatTimeline({.title = "x", .reason = "", .ops = {}}), HasSubstr("</html>"));
}

}  // namespace
}  // namespace raftkv::linearizability
