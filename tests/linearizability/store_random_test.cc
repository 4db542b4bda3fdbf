// Histories of a correct store are linearizable, spoiled ones are not, and on small ones the
// checker agrees with one that tries everything.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "tests/linearizability/checker.h"
#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

Report CheckValid(const History& history) {
  const auto report = Check(history);
  EXPECT_TRUE(report.has_value()) << report.error().message();
  return report.value_or(Report{});
}

bool IsWrite(const Operation& op) { return op.kind == Kind::kPut || op.kind == Kind::kDelete; }

TEST(StoreRandomTest, HistoriesOfACorrectStoreAreLinearizable) {
  for (const uint64_t seed : Seeds(300)) {
    SeededRandom random(seed);
    const WorkloadOptions options{.operations = 50 + random.Uniform(300),
                                  .clients = 1 + random.Uniform(12),
                                  .keys = 1 + random.Uniform(6),
                                  .unknown_percent = static_cast<unsigned>(random.Uniform(12)),
                                  .silent_percent = static_cast<unsigned>(random.Uniform(3))};
    const History history = SimulateStore(options, &random);
    const Report report = CheckValid(history);
    ASSERT_EQ(report.verdict, Verdict::kLinearizable) << Again(seed) << report.reason;
  }
}

TEST(StoreRandomTest, TenThousandOperationsOfThirtyClientsOnTenKeys) {
  const uint64_t seed = Seeds(1).front();
  for (const unsigned unknown_percent : {0U, 2U, 10U}) {
    SeededRandom random(seed + unknown_percent);
    const History history = SimulateStore({.operations = 10'000,
                                           .clients = 30,
                                           .keys = 10,
                                           .values = 1'000'000,
                                           .unknown_percent = unknown_percent},
                                          &random);
    const Report report = CheckValid(history);
    EXPECT_EQ(report.verdict, Verdict::kLinearizable) << Again(seed) << report.reason;
    // Hardly more than looking at each operation once.
    EXPECT_LT(report.steps, 1'000'000U) << Again(seed);
  }
}

// Whoever tries the candidates of unseen revisions one after the other has no verdict here. Always
// the same histories: of so many unknown outcomes not every one has a verdict.
TEST(StoreRandomTest, TenThousandOperationsWithManyUnknownOutcomes) {
  for (const bool stale_reads : {false, true}) {
    for (const unsigned unknown_percent : {20U, 30U}) {
      SeededRandom random(unknown_percent + 1);
      const History history = SimulateStore({.operations = 10'000,
                                             .clients = 30,
                                             .keys = 10,
                                             .values = 1'000'000,
                                             .unknown_percent = unknown_percent,
                                             .stale_reads = stale_reads},
                                            &random);
      // However slow the machine is.
      const Report report = Check(history, {.max_time = std::chrono::hours(1)}).value();
      EXPECT_EQ(report.verdict, Verdict::kLinearizable)
          << unknown_percent << " %: " << report.reason;
    }
  }
}

// --- Small histories, against the brute force ---

// Changes something that may or may not make the history wrong.
void Disturb(History* history, Random* random) {
  Operation& op = history->operations[random->Uniform(history->operations.size())];
  if (!op.completed) return;
  const auto nudge = [&](uint64_t* revision) {
    if (*revision > 1) *revision += random->Uniform(3) - 1;
  };
  switch (random->Uniform(7)) {
    case 5:
      if (op.kind == Kind::kRange && !op.items.empty()) op.items.pop_back();
      break;
    case 6:
      if (op.kind != Kind::kRange || op.outcome != Outcome::kOk || op.count_only) break;
      random->Uniform(2) == 0 ? void(op.more = !op.more) : void(op.limit = random->Uniform(3));
      break;
    case 0:
      if (op.at_revision == 0 && op.kind != Kind::kRange) nudge(&op.revision);
      break;
    case 1:
      if (!op.items.empty()) op.items[0].value = "v" + std::to_string(random->Uniform(2));
      break;
    case 2:
      if (!op.items.empty()) nudge(&op.items[0].mod_revision);
      break;
    case 3:
      op.call -= static_cast<int64_t>(random->Uniform(60));
      break;
    default: {
      const auto shift = static_cast<int64_t>(random->Uniform(120)) - 60;
      op.call += shift;
      *op.completed += shift;
    }
  }
}

// The one place where the checker is known to see less: it does not use that a read without a
// revision may have to come before a write, when it asks how early a stale read without a revision
// can have seen that write.
bool HasBothKindsOfLooseReads(const History& history) {
  const auto loose = [](const Operation& op) {
    return op.revision == 0 && op.at_revision == 0 &&
           (op.outcome == Outcome::kNotFound || op.outcome == Outcome::kConflict ||
            (op.outcome == Outcome::kOk && !IsWrite(op)));
  };
  const auto is_stale = [](const Operation& op) { return op.consistency == Consistency::kStale; };
  return std::ranges::any_of(history.operations,
                             [&](const auto& op) { return loose(op) && is_stale(op); }) &&
         std::ranges::any_of(history.operations,
                             [&](const auto& op) { return loose(op) && !is_stale(op); });
}

// `choose` gives the options of one history. At least so many shall be violations.
void ExpectAgreement(uint64_t seeds, uint64_t least_violations,
                     const std::function<WorkloadOptions(Random*)>& choose) {
  size_t linearizable = 0;
  size_t violations = 0;
  for (const uint64_t seed : Seeds(seeds)) {
    SeededRandom random(seed);
    History history = SimulateStore(choose(&random), &random);
    for (uint64_t i = random.Uniform(6); i > 0; --i) Disturb(&history, &random);
    const Report report = CheckValid(history);
    const bool expected = IsLinearizableByBruteForce(history);
    expected ? ++linearizable : ++violations;
    if (!expected && HasBothKindsOfLooseReads(history)) continue;
    ASSERT_EQ(report.verdict, expected ? Verdict::kLinearizable : Verdict::kNotLinearizable)
        << Again(seed) << report.reason << "\n"
        << FormatHistory(history);
  }
  if (linearizable + violations < seeds) return;
  EXPECT_GT(linearizable, seeds / 8);
  EXPECT_GT(violations, least_violations);
}

TEST(StoreRandomTest, AgreesWithBruteForce) {
  ExpectAgreement(40'000, 4000, [](Random* random) {
    return WorkloadOptions{.operations = 4 + random->Uniform(4),
                           .clients = 2 + random->Uniform(3),
                           .keys = 1 + random->Uniform(2),
                           .values = 2,
                           .unknown_percent = 30,
                           .silent_percent = static_cast<unsigned>(random->Uniform(2) * 25)};
  });
}

// Here writes stand in for each other, and states look alike that are not the same.
TEST(StoreRandomTest, AgreesWithBruteForceWhereMostOutcomesAreUnknown) {
  ExpectAgreement(40'000, 2000, [](Random* random) {
    return WorkloadOptions{.operations = 5 + random->Uniform(4),
                           .clients = 2 + random->Uniform(3),
                           .keys = 1 + random->Uniform(2),
                           .values = 2 + random->Uniform(2) * 1000,
                           .unknown_percent = 40 + static_cast<unsigned>(random->Uniform(40))};
  });
}

// --- Spoiled histories ---

// Spoils a history in one place; false if it has no such place.
using Spoil = std::function<bool(History*, Random*)>;

std::vector<size_t> Choose(const History& history,
                           const std::function<bool(const Operation&)>& wanted) {
  std::vector<size_t> found;
  for (size_t i = 0; i < history.operations.size(); ++i) {
    if (wanted(history.operations[i])) found.push_back(i);
  }
  return found;
}

std::optional<size_t> OneOf(const std::vector<size_t>& found, Random* random) {
  if (found.empty()) return std::nullopt;
  return found[random->Uniform(found.size())];
}

bool IsNewestGet(const Operation& op) {
  return op.kind == Kind::kGet && op.outcome == Outcome::kOk && op.at_revision == 0 &&
         op.consistency != Consistency::kStale;
}

bool PhantomValue(History* history, Random* random) {
  const auto op = OneOf(Choose(*history, IsNewestGet), random);
  if (op) history->operations[*op].items[0].value = "nobody wrote this";
  return op.has_value();
}

// The read shows what the key was before its last change.
bool StaleRead(History* history, Random* random) {
  const auto op = OneOf(
      Choose(*history,
             [](const Operation& each) { return IsNewestGet(each) && each.items[0].version > 1; }),
      random);
  if (!op) return false;
  Item& item = history->operations[*op].items[0];
  uint64_t before = 0;
  for (const Operation& write : history->operations) {
    const bool older = write.kind == Kind::kPut && write.outcome == Outcome::kOk &&
                       write.key == item.key && write.revision < item.mod_revision;
    if (!older || write.revision < before) continue;
    before = write.revision;
    item.value = write.value;
  }
  item.mod_revision = before;
  --item.version;
  return before != 0;
}

// The whole answer is as of a revision that was overwritten before the read began.
bool ReadGoesBack(History* history, Random* random) {
  const auto is_late = [&](const Operation& op) {
    return IsNewestGet(op) && std::ranges::any_of(history->operations, [&](const Operation& other) {
             return IsWrite(other) && other.outcome == Outcome::kOk && *other.completed < op.call;
           });
  };
  const auto op = OneOf(Choose(*history, is_late), random);
  if (!op) return false;
  Operation& read = history->operations[*op];
  read.outcome = Outcome::kNotFound;
  read.items.clear();
  read.revision = 1;  // when the store was empty
  return true;
}

// Two conditional writes on the same revision both succeed.
bool LostUpdate(History* history, Random* random) {
  const auto op = OneOf(Choose(*history,
                               [](const Operation& each) {
                                 return each.kind == Kind::kPut &&
                                        each.outcome == Outcome::kConflict &&
                                        each.condition.type == Condition::Type::kRevision;
                               }),
                        random);
  if (!op) return false;
  uint64_t last = 1;
  for (const Operation& each : history->operations) {
    last = std::max({last, each.revision, each.key_revision.value_or(0)});
    for (const Item& item : each.items) last = std::max(last, item.mod_revision);
  }
  Operation& write = history->operations[*op];
  write.outcome = Outcome::kOk;
  write.key_revision.reset();
  write.revision = last + 1;
  return true;
}

// An acknowledged write never happened: as if another client had not asked for what was seen.
bool VanishedWriter(History* history, Random* random) {
  const auto op = OneOf(
      Choose(*history,
             [](const Operation& each) { return IsWrite(each) && each.outcome == Outcome::kOk; }),
      random);
  if (op) history->operations.erase(history->operations.begin() + static_cast<ptrdiff_t>(*op));
  return op.has_value();
}

bool IsPage(const Operation& op) {
  return op.kind == Kind::kRange && op.outcome == Outcome::kOk && !op.count_only;
}

// A page that ends before its limit, and says that there is more.
bool PageEndsEarly(History* history, Random* random) {
  const auto op = OneOf(
      Choose(*history, [](const Operation& each) { return IsPage(each) && !each.items.empty(); }),
      random);
  if (!op) return false;
  history->operations[*op].items.pop_back();
  history->operations[*op].more = true;
  return true;
}

// All of the range, whatever was asked for.
bool LimitForgotten(History* history, Random* random) {
  const auto op = OneOf(
      Choose(*history, [](const Operation& each) { return IsPage(each) && each.items.size() > 1; }),
      random);
  if (!op) return false;
  Operation& page = history->operations[*op];
  page.limit = 1 + random->Uniform(page.items.size() - 1);
  return true;
}

// A page that ends at its limit, and does not say that there is more.
bool MoreForgotten(History* history, Random* random) {
  const auto op = OneOf(
      Choose(*history, [](const Operation& each) { return IsPage(each) && each.more; }), random);
  if (op) history->operations[*op].more = false;
  return op.has_value();
}

bool RevisionGoesBack(History* history, Random* random) {
  for (int tries = 0; tries < 100; ++tries) {
    const auto writes = Choose(*history, [](const Operation& each) {
      return IsWrite(each) && each.outcome == Outcome::kOk;
    });
    const auto first = OneOf(writes, random);
    const auto second = OneOf(writes, random);
    if (!first) return false;
    Operation& a = history->operations[*first];
    Operation& b = history->operations[*second];
    if (*a.completed >= b.call) continue;
    std::swap(a.revision, b.revision);
    return true;
  }
  return false;
}

// Without unknown outcomes, that could explain almost anything, each of these must be found.
void ExpectCaught(const Spoil& spoil) {
  size_t spoiled = 0;
  const std::vector<uint64_t> seeds = Seeds(60);
  for (const uint64_t seed : seeds) {
    SeededRandom random(seed);
    History history = SimulateStore(
        {.operations = 120, .clients = 4, .keys = 3, .values = 1'000'000, .unknown_percent = 0},
        &random);
    if (!spoil(&history, &random)) continue;
    ++spoiled;
    const Report report = CheckValid(history);
    ASSERT_EQ(report.verdict, Verdict::kNotLinearizable) << Again(seed);
    EXPECT_FALSE(report.reason.empty());
  }
  if (seeds.size() >= 60) {
    EXPECT_GT(spoiled, 30U) << Again(seeds.front());
  }
}

TEST(StoreSpoiledTest, PhantomValue) { ExpectCaught(PhantomValue); }
TEST(StoreSpoiledTest, StaleRead) { ExpectCaught(StaleRead); }
TEST(StoreSpoiledTest, ReadGoesBack) { ExpectCaught(ReadGoesBack); }
TEST(StoreSpoiledTest, LostUpdate) { ExpectCaught(LostUpdate); }
TEST(StoreSpoiledTest, RevisionGoesBack) { ExpectCaught(RevisionGoesBack); }

TEST(StoreSpoiledTest, PageEndsEarly) { ExpectCaught(PageEndsEarly); }
TEST(StoreSpoiledTest, LimitForgotten) { ExpectCaught(LimitForgotten); }
TEST(StoreSpoiledTest, MoreForgotten) { ExpectCaught(MoreForgotten); }

// Its revision is a gap, unless it was the last one and nobody saw it.
TEST(StoreSpoiledTest, VanishedWriter) {
  ExpectCaught([](History* history, Random* random) {
    uint64_t last = 0;
    for (const Operation& op : history->operations) last = std::max(last, op.revision);
    const size_t before = history->operations.size();
    History copy = *history;
    if (!VanishedWriter(&copy, random)) return false;
    uint64_t still = 0;
    for (const Operation& op : copy.operations) still = std::max(still, op.revision);
    *history = std::move(copy);
    return history->operations.size() < before && still == last;
  });
}

TEST(StoreSpoiledTest, ViolationsAreCaughtAmongUnknownOutcomesToo) {
  size_t caught = 0;
  size_t spoiled = 0;
  for (const uint64_t seed : Seeds(100)) {
    SeededRandom random(seed);
    History history = SimulateStore(
        {.operations = 400, .clients = 10, .keys = 4, .values = 1'000'000, .unknown_percent = 8},
        &random);
    if (!PhantomValue(&history, &random)) continue;
    ++spoiled;
    const Report report = CheckValid(history);
    ASSERT_NE(report.verdict, Verdict::kLinearizable) << Again(seed);
    caught += report.verdict == Verdict::kNotLinearizable ? 1 : 0;
  }
  EXPECT_EQ(caught, spoiled);
}

// Which write made which unseen revision has so many answers that a search among them never ended.
TEST(StoreSpoiledTest, UnknownOutcomesDoNotHideAViolationInALongHistory) {
  const uint64_t seed = Seeds(1).front();
  for (const unsigned unknown_percent : {5U, 10U, 30U}) {
    SeededRandom random(seed + unknown_percent);
    History history = SimulateStore({.operations = 10'000,
                                     .clients = 30,
                                     .keys = 10,
                                     .values = 1'000'000,
                                     .unknown_percent = unknown_percent},
                                    &random);
    ASSERT_TRUE(PhantomValue(&history, &random)) << Again(seed);
    EXPECT_EQ(CheckValid(history).verdict, Verdict::kNotLinearizable)
        << Again(seed) << unknown_percent << " %";
  }
}

void ExpectSmallExplanation(const Spoil& spoil) {
  const std::vector<uint64_t> seeds = Seeds(20);
  size_t spoiled = 0;
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(Again(seed));
    SeededRandom random(seed);
    History history = SimulateStore(
        {.operations = 300, .clients = 6, .keys = 3, .values = 1'000'000, .unknown_percent = 3},
        &random);
    if (!spoil(&history, &random)) continue;
    ++spoiled;
    const Violation violation = Explain(history);
    EXPECT_EQ(CheckValid(violation.prefix).verdict, Verdict::kNotLinearizable);
    EXPECT_LE(violation.prefix.operations.size(), history.operations.size());
    EXPECT_FALSE(violation.core.empty());
    // Mostly two or three; none of them can be left out.
    EXPECT_LE(violation.core.size(), 12U);
    EXPECT_FALSE(violation.reason.empty());
    // Nothing shorter is one.
    int64_t last_end = 0;
    for (const Operation& op : violation.prefix.operations) {
      last_end = std::max(last_end, op.completed.value_or(0));
    }
    History shorter = violation.prefix;
    for (Operation& op : shorter.operations) {
      if (op.completed != last_end) continue;
      // Without its answer. Without the write itself, who had read it before would be wrong.
      op.completed.reset();
      op.outcome = Outcome::kUnknown;
      op.revision = 0;
      op.created.reset();
      op.key_revision.reset();
      op.items.clear();
      op.count = 0;
      op.more = false;
    }
    EXPECT_NE(CheckValid(shorter).verdict, Verdict::kNotLinearizable);
  }
  if (seeds.size() >= 20) {
    EXPECT_GT(spoiled, 10U);
  }
}

TEST(StoreSpoiledTest, ExplanationsAreSmallAndStillViolations) {
  for (const Spoil& spoil : {Spoil(PhantomValue), Spoil(StaleRead), Spoil(ReadGoesBack)}) {
    ExpectSmallExplanation(spoil);
  }
}

}  // namespace
}  // namespace raftkv::linearizability
