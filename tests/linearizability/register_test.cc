#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "tests/linearizability/edn.h"
#include "tests/linearizability/register_check.h"
#include "tests/linearizability/register_history.h"
#include "tests/linearizability/test_support.h"

namespace raftkv::linearizability {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<RegisterOp> Parse(std::string_view text) {
  auto ops = ParseRegisterLog(text);
  EXPECT_TRUE(ops.has_value()) << ops.error().message();
  return ops.value_or(std::vector<RegisterOp>());
}

// Lines of one register without what stands before the process.
std::vector<RegisterOp> Log(std::initializer_list<std::string_view> lines) {
  std::string text;
  for (const std::string_view line : lines) {
    text += "INFO  jepsen.util - " + std::string(line) + "\n";
  }
  return Parse(text);
}

Verdict VerdictOf(const std::vector<RegisterOp>& ops, const RegisterValue& initial = {}) {
  return CheckRegisters(ops, initial).verdict;
}

// --- Reading logs ---

TEST(RegisterLogTest, ReadsJepsensLines) {
  const auto ops =
      Log({"0\t:invoke\t:read\tnil", "1   :invoke :cas   [0 3]", "0\t:ok\t:read\t4",
           "1   :fail   :cas   [0 3]", "0\t:invoke\t:write\t-7", "0\t:info\t:write\t:timed-out"});
  ASSERT_EQ(ops.size(), 3U);
  EXPECT_EQ(ops[0].value, "4");
  EXPECT_EQ(ops[0].interval, (Interval{1, 3}));
  EXPECT_EQ(ops[1].outcome, RegisterOp::Outcome::kMismatch);
  EXPECT_EQ(ops[1].expected, "0");
  EXPECT_EQ(ops[2].value, "-7");
  EXPECT_EQ(ops[2].outcome, RegisterOp::Outcome::kUnknown);
  EXPECT_EQ(ops[2].interval.end, kNever);
}

TEST(RegisterLogTest, ReadsMaps) {
  const auto ops = Parse(
      "{:process 3, :type :invoke, :f :append, :key \"7\", :value \"x \\\"y\\\"\"}\n"
      "{:type :ok :f :append :key \"7\" :value \"x \\\"y\\\"\" :process 3 :time 17 :index 4}\r\n"
      "{:process 4, :type :invoke, :f :get, :key 8, :value nil}\n"
      "{:process 4, :type :info, :f :get, :key 8, :value nil, :error [:timeout 5]}\n");
  ASSERT_EQ(ops.size(), 2U);
  EXPECT_EQ(ops[0].function, RegisterOp::Function::kAppend);
  EXPECT_EQ(ops[0].key, "7");
  EXPECT_EQ(ops[0].value, "x \"y\"");
  EXPECT_EQ(ops[1].key, "8");
  EXPECT_EQ(ops[1].outcome, RegisterOp::Outcome::kUnknown);
}

TEST(RegisterLogTest, SkipsWhatIsNotAboutOperations) {
  const auto ops = Parse(
      "INFO  jepsen.core - Worker 0 starting\n"
      "\n"
      "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n"
      "INFO  jepsen.util - Everything looks good\n"
      "WARN  jepsen.core - Process 3 indeterminate\n"
      "java.net.SocketTimeoutException: Read timed out\n"
      "2026-01-01 10:00:00,000 INFO  jepsen.util - 0\t:invoke\t:read\tnil\n");
  ASSERT_EQ(ops.size(), 1U);
}

TEST(RegisterLogTest, ReadsOtherWaysOfWritingTheSame) {
  EXPECT_EQ(Parse("[{:process 0 :type :invoke :f :read :value nil}\n"
                  " {:process 0 :type :ok :f :read :value 3}]\n")
                .size(),
            1U);
  EXPECT_EQ(Parse("INFO [2026-01-01 10:00:00] jepsen worker 0 - jepsen.util 0 :invoke :read nil\n")
                .size(),
            1U);
}

TEST(RegisterLogTest, AnotherFormatIsNotAnEmptyHistory) {
  EXPECT_TRUE(ParseRegisterLog("").has_value());
  const auto ops = ParseRegisterLog("0 invoke read\n");
  ASSERT_FALSE(ops.has_value());
  EXPECT_THAT(ops.error().message(), HasSubstr("no operation"));
}

// Such lines were skipped: a write that an answer had seen, or the answer that nobody can have got,
// was gone, and the rest was judged as if all were there.
TEST(RegisterLogTest, ADamagedLineIsAnErrorThatNamesIt) {
  const std::string log = "INFO  jepsen.util - ";
  for (const std::string& damaged :
       {log + "0\t:ok", log + "0", log, log + "0\tok\t:read\t1", log + "0\t:ok\tread\t1",
        log + "0x\t:ok\t:read\t1", std::string("INFO  jepsen.ut"), std::string("INFO  jep"),
        std::string("util - 0\t:ok\t:read\t1"), std::string("0\t:ok\t:read\t1"),
        std::string("process 0, :type :ok, :f :read, :value 1}"),
        std::string("{:process \"x\", :type :ok, :f :read, :value 1}"),
        std::string("\0\0\0\0", 4)}) {
    const auto ops = ParseRegisterLog(log + "0\t:invoke\t:read\tnil\n" + damaged + "\n");
    ASSERT_FALSE(ops.has_value()) << damaged;
    EXPECT_THAT(ops.error().message(), StartsWith("line 2: ")) << damaged;
  }
}

TEST(RegisterLogTest, TheAnswerToAWriteRepeatsIt) {
  EXPECT_EQ(
      Log({"0 :invoke :write 1", "0 :ok :write nil", "1 :invoke :cas [1 2]", "1 :ok :cas [1 2]"})
          .size(),
      2U);
  for (const char* answer : {"0 :invoke :write 1\n{:process 0 :type :ok :f :write :value 2}",
                             "0 :invoke :cas [1 2]\n{:process 0 :type :ok :f :cas :value [1 3]}",
                             "0 :invoke :append 1\n{:process 0 :type :ok :f :append :value 2}"}) {
    const auto ops = ParseRegisterLog("INFO  jepsen.util - " + std::string(answer));
    ASSERT_FALSE(ops.has_value()) << answer;
    EXPECT_EQ(ops.error().message(), "line 2: the process has asked for another value");
  }
}

TEST(RegisterLogTest, AProcessThatInvokesAgainLeavesItsOperationOpen) {
  const auto ops = Log({"0 :invoke :write 1", "0 :invoke :write 2", "0 :ok :write 2"});
  ASSERT_EQ(ops.size(), 2U);
  EXPECT_EQ(ops[0].outcome, RegisterOp::Outcome::kUnknown);
  EXPECT_EQ(ops[1].outcome, RegisterOp::Outcome::kOk);
}

TEST(RegisterLogTest, OnlyAMismatchSaysSomethingOfTheValue) {
  const auto ops =
      Log({"0 :invoke :cas [1 2]", "0 :fail :cas :timed-out", "1 :invoke :cas [1 2]",
           "1 :fail :cas [1 2] :connection-refused", "2 :invoke :cas [1 2]",
           "2 :fail :cas [1 2] :not-found", "3 :invoke :read nil", "3 :fail :read :timed-out"});
  ASSERT_EQ(ops.size(), 4U);
  EXPECT_EQ(ops[0].outcome, RegisterOp::Outcome::kFail);
  EXPECT_EQ(ops[1].outcome, RegisterOp::Outcome::kFail);
  EXPECT_EQ(ops[2].outcome, RegisterOp::Outcome::kMismatch);
  EXPECT_EQ(ops[3].outcome, RegisterOp::Outcome::kFail);
}

TEST(RegisterLogTest, ErrorsNameTheLine) {
  const auto error_of = [](std::string_view text) {
    const auto ops = ParseRegisterLog(text);
    return ops ? "no error" : ops.error().message();
  };
  const std::string log = "INFO  jepsen.util - ";
  EXPECT_THAT(error_of("\n" + log + "0 :ok :read 1"),
              StartsWith("line 2: the process has invoked"));
  EXPECT_THAT(error_of(log + "0 :begin :read nil"), HasSubstr("type :begin is unknown"));
  EXPECT_THAT(error_of(log + "0 :invoke :scan nil"), HasSubstr("function :scan is unknown"));
  EXPECT_THAT(error_of(log + "0 :invoke :cas 3"), HasSubstr("[expected new]"));
  EXPECT_THAT(error_of(log + "0 :invoke :write :timed-out"), HasSubstr("value is missing"));
  EXPECT_THAT(error_of(log + "0 :invoke :read nil\n" + log + "0 :ok :write 3"),
              StartsWith("line 2: the process has invoked something else"));
  EXPECT_THAT(error_of("{:process 1, :type :invoke"), StartsWith("line 1: a '}' is missing"));
  EXPECT_THAT(error_of("{:process 1}"), HasSubstr("lacks"));
  EXPECT_THAT(error_of("{:a \"b}"), HasSubstr("string has no end"));
  std::string deep = "{:process ";
  for (int i = 0; i < 100; ++i) deep += '[';
  EXPECT_THAT(error_of(deep), HasSubstr("too deeply"));
}

// --- Verdicts ---

TEST(RegisterTest, StartsAsNil) {
  EXPECT_EQ(VerdictOf(Log({"0 :invoke :read nil", "0 :ok :read nil"})), Verdict::kLinearizable);
  EXPECT_EQ(VerdictOf(Log({"0 :invoke :read nil", "0 :ok :read 0"})), Verdict::kNotLinearizable);
  EXPECT_EQ(VerdictOf({}), Verdict::kLinearizable);
}

TEST(RegisterTest, OverlappingWritesMayComeInAnyOrderButOnlyOne) {
  const auto reads = [](std::string_view first, std::string_view second) {
    return VerdictOf(
        Log({"0 :invoke :write 1", "1 :invoke :write 2", "0 :ok :write 1", "1 :ok :write 2",
             "0 :invoke :read nil", "0 :ok :read " + std::string(first), "1 :invoke :read nil",
             "1 :ok :read " + std::string(second)}));
  };
  EXPECT_EQ(reads("1", "1"), Verdict::kLinearizable);
  EXPECT_EQ(reads("2", "2"), Verdict::kLinearizable);
  EXPECT_EQ(reads("1", "2"), Verdict::kNotLinearizable);
}

TEST(RegisterTest, UnknownOutcomesMayHappenLateOnceOrNever) {
  const auto after_timeout = [](std::initializer_list<std::string_view> reads) {
    std::vector<std::string> lines = {"0 :invoke :write 1", "0 :info :write :timed-out",
                                      "1 :invoke :write 2", "1 :ok :write 2"};
    for (const std::string_view read : reads) {
      lines.emplace_back("1 :invoke :read nil");
      lines.push_back("1 :ok :read " + std::string(read));
    }
    std::string text;
    for (const std::string& line : lines) text += "INFO  jepsen.util - " + line + "\n";
    return VerdictOf(Parse(text));
  };
  EXPECT_EQ(after_timeout({"2", "2"}), Verdict::kLinearizable);
  EXPECT_EQ(after_timeout({"2", "1", "1"}), Verdict::kLinearizable);
  EXPECT_EQ(after_timeout({"1", "2"}), Verdict::kNotLinearizable);
}

TEST(RegisterTest, FailedOperationsHaveNoEffect) {
  EXPECT_EQ(VerdictOf(Log({"0 :invoke :write 1", "0 :fail :write 1", "0 :invoke :read nil",
                           "0 :ok :read 1"})),
            Verdict::kNotLinearizable);
  EXPECT_EQ(VerdictOf(Log({"0 :invoke :write 1", "0 :ok :write 1", "0 :invoke :cas [1 2]",
                           "0 :fail :cas [1 2]"})),
            Verdict::kNotLinearizable);
}

TEST(RegisterTest, KeysOfAMapAreCheckedApart) {
  const std::string good =
      "{:process 0 :type :invoke :f :put :key \"a\" :value \"x\"}\n"
      "{:process 1 :type :invoke :f :get :key \"b\" :value nil}\n"
      "{:process 1 :type :ok :f :get :key \"b\" :value \"\"}\n"
      "{:process 0 :type :ok :f :put :key \"a\" :value \"x\"}\n"
      "{:process 0 :type :invoke :f :append :key \"a\" :value \"y\"}\n"
      "{:process 0 :type :ok :f :append :key \"a\" :value \"y\"}\n"
      "{:process 0 :type :invoke :f :get :key \"a\" :value nil}\n";
  EXPECT_EQ(VerdictOf(Parse(good + "{:process 0 :type :ok :f :get :key \"a\" :value \"xy\"}"), ""),
            Verdict::kLinearizable);
  EXPECT_EQ(VerdictOf(Parse(good + "{:process 0 :type :ok :f :get :key \"a\" :value \"yx\"}"), ""),
            Verdict::kNotLinearizable);
}

TEST(RegisterTest, ALimitAnswersUnknown) {
  // Many writes at the same time and a read that nobody can explain.
  std::vector<RegisterOp> ops;
  for (uint64_t i = 0; i < 24; ++i) {
    ops.push_back({.process = i,
                   .function = RegisterOp::Function::kAppend,
                   .value = std::to_string(i) + ";",
                   .outcome = RegisterOp::Outcome::kOk,
                   .interval = {1, 100}});
  }
  ops.push_back({.process = 99,
                 .function = RegisterOp::Function::kCas,
                 .expected = "x",
                 .value = "y",
                 .outcome = RegisterOp::Outcome::kOk,
                 .interval = {1, 100}});
  const Report steps = CheckRegisters(ops, "", {.max_steps = 5000});
  EXPECT_EQ(steps.verdict, Verdict::kUnknown);
  EXPECT_THAT(steps.reason, HasSubstr("limit of steps"));
  const Report time = CheckRegisters(ops, "", {.max_time = Duration(1)});
  EXPECT_EQ(time.verdict, Verdict::kUnknown);
  EXPECT_THAT(time.reason, HasSubstr("time limit"));
  const Report memory = CheckRegisters(ops, "", {.max_memory_bytes = 100'000});
  EXPECT_EQ(memory.verdict, Verdict::kUnknown);
  EXPECT_THAT(memory.reason, HasSubstr("memory limit"));
}

TEST(RegisterTest, AHopelessKeyDoesNotHideAPlainViolation) {
  std::vector<RegisterOp> ops;
  for (uint64_t i = 0; i < 24; ++i) {
    ops.push_back({.process = i,
                   .function = RegisterOp::Function::kAppend,
                   .key = "a",
                   .value = std::to_string(i) + ";",
                   .outcome = RegisterOp::Outcome::kOk,
                   .interval = {1, 100}});
  }
  ops.push_back({.function = RegisterOp::Function::kCas,
                 .key = "a",
                 .expected = "x",
                 .value = "y",
                 .outcome = RegisterOp::Outcome::kOk,
                 .interval = {1, 100}});
  ops.push_back(
      {.key = "b", .value = "phantom", .outcome = RegisterOp::Outcome::kOk, .interval = {1, 2}});
  EXPECT_EQ(CheckRegisters(ops, "", {.max_steps = 1'000'000}).verdict, Verdict::kNotLinearizable);
}

TEST(RegisterTest, ExplanationsKeepWhatMatters) {
  const auto ops =
      Log({"0 :invoke :write 1", "0 :ok :write 1", "1 :invoke :read nil", "1 :ok :read 1",
           "0 :invoke :write 2", "0 :ok :write 2", "1 :invoke :read nil", "1 :ok :read 1",
           "1 :invoke :read nil", "1 :ok :read 2"});
  const RegisterViolation violation = ExplainRegisters(ops, std::nullopt);
  EXPECT_EQ(violation.prefix.size(), 4U);
  EXPECT_THAT(violation.core, testing::ElementsAre(1U, 2U, 3U));
  EXPECT_THAT(violation.reason, HasSubstr("The answer read: 1 (process 1, line 7) contradicts"));
  EXPECT_THAT(violation.reason, HasSubstr("write 2 (process 0, line 5)"));
}

// --- Against all orders ---

// Whether the rest of the operations can follow.
bool Try(const std::vector<RegisterOp>& left, const RegisterValue& value) {
  using Outcome = RegisterOp::Outcome;
  if (std::ranges::all_of(left, [](const auto& op) { return op.outcome == Outcome::kUnknown; })) {
    return true;
  }
  for (size_t i = 0; i < left.size(); ++i) {
    const RegisterOp& op = left[i];
    if (std::ranges::any_of(
            left, [&](const auto& other) { return other.interval.end < op.interval.call; })) {
      continue;
    }
    RegisterValue next = value;
    const bool matches = value == op.expected;
    if (op.function == RegisterOp::Function::kRead && op.outcome == Outcome::kOk &&
        value != op.value) {
      continue;
    }
    if (op.function == RegisterOp::Function::kWrite) next = op.value;
    if (op.function == RegisterOp::Function::kAppend) {
      next = value.value_or("") + op.value.value_or("");
    }
    if (op.function == RegisterOp::Function::kCas) {
      if (op.outcome == Outcome::kOk && !matches) continue;
      if (op.outcome == Outcome::kMismatch && matches) continue;
      if (matches) next = op.value;
    }
    std::vector<RegisterOp> rest = left;
    rest.erase(rest.begin() + static_cast<ptrdiff_t>(i));
    if (Try(rest, next)) return true;
  }
  return false;
}

TEST(RegisterTest, AgreesWithBruteForce) {
  using Function = RegisterOp::Function;
  using Outcome = RegisterOp::Outcome;
  size_t linearizable = 0;
  constexpr uint64_t kSeeds = 20'000;
  const std::vector<uint64_t> seeds = Seeds(kSeeds);
  for (const uint64_t seed : seeds) {
    SeededRandom random(seed);
    const bool with_appends = random.Uniform(2) == 0;
    std::vector<RegisterOp> ops;
    const uint64_t count = 3 + random.Uniform(5);
    const auto value = [&] { return std::to_string(random.Uniform(3)); };
    for (uint64_t i = 0; i < count; ++i) {
      RegisterOp op{.process = i};
      op.function = static_cast<Function>(random.Uniform(with_appends ? 4 : 3));
      op.expected = value();
      op.value = value();
      if (op.function == Function::kRead && with_appends && random.Uniform(2) == 0) {
        op.value = *op.value + value();
      }
      op.outcome = random.Uniform(4) == 0 ? Outcome::kUnknown : Outcome::kOk;
      if (op.function == Function::kCas && random.Uniform(3) == 0) op.outcome = Outcome::kMismatch;
      op.interval.call = static_cast<int64_t>(random.Uniform(20));
      op.interval.end = op.outcome == Outcome::kUnknown
                            ? kNever
                            : op.interval.call + static_cast<int64_t>(random.Uniform(12));
      ops.push_back(op);
    }
    const bool expected = Try(ops, "0");
    linearizable += expected ? 1 : 0;
    ASSERT_EQ(VerdictOf(ops, "0"), expected ? Verdict::kLinearizable : Verdict::kNotLinearizable)
        << Again(seed);
  }
  if (seeds.size() < kSeeds) return;
  EXPECT_GT(linearizable, kSeeds / 5);
  EXPECT_LT(linearizable, kSeeds * 4 / 5);
}

// A correct map of registers under 30 clients; no revision helps.
std::vector<RegisterOp> SimulateMap(size_t count, size_t clients, size_t keys, Random* random) {
  using Function = RegisterOp::Function;
  using Outcome = RegisterOp::Outcome;
  std::vector<RegisterOp> ops(count);
  std::vector<std::pair<int64_t, size_t>> moments;
  std::vector<int64_t> free(clients);
  for (size_t i = 0; i < count; ++i) {
    RegisterOp& op = ops[i];
    op.process = i % clients;
    op.key = std::to_string(random->Uniform(keys));
    op.interval.call = free[op.process] + 1 + static_cast<int64_t>(random->Uniform(20));
    const auto length = random->Uniform(100);
    op.interval.end = op.interval.call + static_cast<int64_t>(length);
    free[op.process] = op.interval.end;
    moments.emplace_back(op.interval.call + static_cast<int64_t>(random->Uniform(length + 1)), i);
    op.outcome = random->Uniform(50) == 0 ? Outcome::kUnknown : Outcome::kOk;
    if (op.outcome == Outcome::kUnknown) op.interval.end = kNever;
  }
  std::ranges::sort(moments);
  std::map<std::string, std::string> values;
  for (const auto& [moment, number] : moments) {
    RegisterOp& op = ops[number];
    std::string& value = values[op.key];
    const uint64_t kind = random->Uniform(100);
    const std::string unique = "<" + std::to_string(number) + ">";
    op.function = kind < 45   ? Function::kRead
                  : kind < 60 ? Function::kAppend
                  : kind < 85 ? Function::kWrite
                              : Function::kCas;
    if (op.function == Function::kRead) {
      op.value = value;
      continue;
    }
    op.value = unique;
    if (op.function == Function::kCas) {
      op.expected = random->Uniform(4) == 0 ? "other" : value;
      const bool matches = op.expected == value;
      if (!matches && op.outcome == Outcome::kOk) op.outcome = Outcome::kMismatch;
      if (!matches) continue;
    }
    if (op.outcome == Outcome::kUnknown && random->Uniform(2) == 0) continue;  // never happens
    value = op.function == Function::kAppend ? value + unique : unique;
  }
  return ops;
}

TEST(RegisterTest, TenThousandOperationsOfThirtyClientsOnTenKeys) {
  const uint64_t seed = Seeds(1).front();
  SeededRandom random(seed);
  std::vector<RegisterOp> ops = SimulateMap(10'000, 30, 10, &random);
  const Report report = CheckRegisters(ops, "");
  EXPECT_EQ(report.verdict, Verdict::kLinearizable) << Again(seed) << report.reason;
  // Spoiled in the middle.
  for (size_t i = ops.size() / 2; i < ops.size(); ++i) {
    if (ops[i].function != RegisterOp::Function::kRead ||
        ops[i].outcome != RegisterOp::Outcome::kOk) {
      continue;
    }
    ops[i].value = "phantom";
    break;
  }
  EXPECT_EQ(CheckRegisters(ops, "").verdict, Verdict::kNotLinearizable) << Again(seed);
}

// What is written is read as the same operations.
TEST(RegisterLogTest, IsReadAsItIsWritten) {
  const auto ops = ParseRegisterLog(
      "{:process 0 :type :invoke :f :append :key \"k\" :value \"a\\\"b\\n\\\\\"}\n"
      "{:process 1 :type :invoke :f :cas :value [0 3]}\n"
      "{:process 0 :type :ok :f :append :key \"k\" :value \"a\\\"b\\n\\\\\"}\n"
      "{:process 1 :type :fail :f :cas :value [0 3]}\n"
      "{:process 2 :type :invoke :f :write :value 7}\n"
      "{:process 3 :type :invoke :f :write :value 8}\n"
      "{:process 3 :type :fail :f :write :value 8 :error :timeout}\n"
      "{:process 4 :type :invoke :f :read :value nil}\n"
      "{:process 4 :type :ok :f :read :value nil}\n");
  ASSERT_TRUE(ops.has_value()) << ops.error().message();
  const auto again = ParseRegisterLog(FormatRegisterLog(*ops));
  ASSERT_TRUE(again.has_value()) << again.error().message();
  EXPECT_EQ(*again, *ops);
}

}  // namespace
}  // namespace raftkv::linearizability
