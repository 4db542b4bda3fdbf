// Every event and every reason of a condition is in the documentation, and says in words what was
// done.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <utility>

#include "operator/raftkv/plan_rules.h"
#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

template <size_t... I>
std::vector<Action> OneOfEach(std::index_sequence<I...>) {
  return {Action(std::variant_alternative_t<I, Action>{})...};
}

// A new kind of action without an event of its own, or without a row in the documentation, fails
// here.
TEST(Events, EveryStepHasOneOfItsOwnThatIsDocumented) {
  std::ifstream file(RAFTKV_EVENTS);
  const std::string documented{std::istreambuf_iterator<char>(file), {}};
  ASSERT_NE(documented.find("| Event | Meaning |"), std::string::npos) << RAFTKV_EVENTS;
  std::set<std::string> reasons;
  for (const Action& action : OneOfEach(std::make_index_sequence<std::variant_size_v<Action>>())) {
    const auto event = EventOf("db", action);
    ASSERT_EQ(event.has_value(), !std::holds_alternative<Nothing>(action)) << ToString(action);
    if (!event) continue;
    EXPECT_TRUE(reasons.insert(event->reason).second) << event->reason;
    EXPECT_FALSE(event->note.empty());
    EXPECT_NE(documented.find(event->reason), std::string::npos) << event->reason;
  }
}

// One with its rows, up to the empty line behind it.
std::string TableOf(const std::string& documented, const std::string& head) {
  const size_t begin = documented.find(head);
  return begin == std::string::npos
             ? ""
             : documented.substr(begin, documented.find("\n\n", begin) - begin);
}

// "QuorumLost" also stands in "QuorumLost=True" and in "RaftKVQuorumLost".
bool HasWord(const std::string& text, const std::string& word) {
  return std::regex_search(text, std::regex("[|, ]" + word + "[ ,(]"));
}

// The warnings that a person meets in kubectl describe had no row: QuorumLost, MembersDown,
// DataLost, DeadlineExceeded and more.
TEST(Events, EachReasonOfAConditionIsDocumentedAndAWarningAmongTheEventsToo) {
  std::ifstream file(RAFTKV_EVENTS);
  const std::string documented{std::istreambuf_iterator<char>(file), {}};
  const std::string conditions = TableOf(documented, "| Condition | Reason |");
  const std::string events = TableOf(documented, "| Event | Meaning |");
  for (const auto& [reason, warning] : kConditionReasons) {
    EXPECT_TRUE(HasWord(conditions, std::string(reason))) << reason;
    EXPECT_TRUE(!warning || HasWord(events, std::string(reason))) << reason;
  }
}

// They were those of the log: "ChangeMembership add= promote= remove=00000000000000a1".
TEST(Events, SayInWordsWhatIsDone) {
  const auto note = [](const Action& action) { return EventOf("db", action)->note; };
  EXPECT_EQ(note(MarkClaim{1, "uid", Id(1)}), "claim data-db-1 holds the data of 00000000000000a1");
  EXPECT_EQ(note(MarkClaim{1, "uid", 0}), "claim data-db-1 holds no member's data any more");
  EXPECT_EQ(note(Initialize{0, 7, {{.id = Id(0)}, {.id = Id(1)}}}),
            "pod db-0 makes cluster 0000000000000007 of members 00000000000000a0, "
            "00000000000000a1");
  ChangeMembership change;
  change.add_learners = {{.id = Id(3)}};
  EXPECT_EQ(note(change), "new learners: 00000000000000a3");
  change = {};
  change.promote = {Id(3)};
  change.remove = {Id(0), Id(1)};
  EXPECT_EQ(note(change),
            "learners that become voters: 00000000000000a3; removed: 00000000000000a0, "
            "00000000000000a1");
  EXPECT_EQ(note(TransferLeadership{Id(0), Id(1)}), "from 00000000000000a0 to 00000000000000a1");
}

}  // namespace
}  // namespace raftkv::op
