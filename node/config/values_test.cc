#include "node/config/values.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(ValuesTest, DurationsAreReadAsTheyArePrinted) {
  Duration target{};
  const DurationValue value{&target, Duration::zero(), hours(100)};
  const std::vector<std::pair<std::string, Duration>> cases = {
      {"100ms", milliseconds(100)},
      {"2s", seconds(2)},
      {"1m30s", seconds(90)},
      {"1h30m", minutes(90)},
      {"500us", std::chrono::microseconds(500)},
      {"0s", Duration::zero()},
  };
  for (const auto& [text, expected] : cases) {
    ASSERT_TRUE(SetValue(value, text).ok()) << text;
    EXPECT_EQ(target, expected) << text;
    EXPECT_EQ(FormatValue(value), text);
  }
  EXPECT_TRUE(SetValue(value, "0").ok());
}

TEST(ValuesTest, WrongDurationsAreRefused) {
  Duration target = seconds(7);
  const DurationValue value{&target, milliseconds(1), hours(1)};
  for (const char* text : {"", "5", "s", "5x", "-1s", "1.5s", "2h", "1us", "5 s", "1s ",
                           "99999999999999999999s", "9223372036s9223372036s"}) {
    EXPECT_FALSE(SetValue(value, text).ok()) << text;
  }
  EXPECT_EQ(target, seconds(7));
}

TEST(ValuesTest, BytesTakeBinaryUnits) {
  uint64_t target = 0;
  const BytesValue value{&target, 0, uint64_t{1} << 50};
  const std::vector<std::pair<std::string, uint64_t>> cases = {
      {"0", 0},
      {"1000", 1000},
      {"64KiB", 65536},
      {"64Ki", 65536},
      {"1MiB", 1 << 20},
      {"3GiB", uint64_t{3} << 30},
      {"2Ti", uint64_t{2} << 40},
  };
  for (const auto& [text, expected] : cases) {
    ASSERT_TRUE(SetValue(value, text).ok()) << text;
    EXPECT_EQ(target, expected) << text;
  }
  for (const char* text : {"", "KiB", "1kb", "1MB", "1.5GiB", "-1", "2000TiB",
                           "18446744073709551615GiB", "99999999999999999999"}) {
    EXPECT_FALSE(SetValue(value, text).ok()) << text;
  }
  target = 1536 << 10;
  EXPECT_EQ(FormatValue(value), "1536KiB");
}

TEST(ValuesTest, NumbersKeepTheirLimits) {
  int number = 5;
  const IntValue value{&number, 3, 1000};
  EXPECT_TRUE(SetValue(value, "3").ok());
  EXPECT_TRUE(SetValue(value, "1000").ok());
  for (const char* text : {"2", "1001", "", "x", "10x", "-5", "4294967299"}) {
    EXPECT_FALSE(SetValue(value, text).ok()) << text;
  }
  EXPECT_EQ(number, 1000);
}

TEST(ValuesTest, TextIsWhatTheSystemWouldTake) {
  std::string text = "before";
  EXPECT_FALSE(SetValue(TextValue{&text}, "").ok());
  EXPECT_FALSE(SetValue(TextValue{&text}, std::string("a\0b", 3)).ok());
  EXPECT_EQ(text, "before");
}

TEST(ValuesTest, AddressListsHoldDialableAddressesOnce) {
  std::vector<std::string> list;
  const AddressListValue value{&list};
  ASSERT_TRUE(SetValue(value, "a:1,b:2").ok());
  EXPECT_EQ(list, (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_EQ(FormatValue(value), "a:1,b:2");
  for (const char* text : {"a:1,a:1", ":1", "a:0", "0.0.0.0:1", "a:1,,b:2", "a"}) {
    EXPECT_FALSE(SetValue(value, text).ok()) << text;
  }
}

TEST(ValuesTest, SwitchesTakeGosWords) {
  bool on = false;
  const SwitchValue value{&on};
  for (const char* text : {"1", "t", "T", "true", "TRUE", "True"}) {
    on = false;
    EXPECT_TRUE(SetValue(value, text).ok() && on) << text;
  }
  for (const char* text : {"0", "f", "F", "false", "FALSE", "False"}) {
    on = true;
    EXPECT_TRUE(SetValue(value, text).ok() && !on) << text;
  }
  for (const char* text : {"", "yes", "on", "2"}) EXPECT_FALSE(SetValue(value, text).ok()) << text;
}

TEST(ValuesTest, NearestFindsMisspellings) {
  const std::vector<std::string> names = {"raft-tick", "data-dir", "client-listen"};
  EXPECT_EQ(Nearest("raft-tik", names, 2), "raft-tick");
  EXPECT_EQ(Nearest("datadir", names, 2), "data-dir");
  EXPECT_EQ(Nearest("clinet-listen", names, 2), "client-listen");
  EXPECT_EQ(Nearest("verbose", names, 2), "");
}

TEST(ValuesTest, NearestFindsNamesThatLackAWord) {
  const std::vector<std::string> names = {"raft-election-ticks", "http-max-value-bytes",
                                          "client-listen", "peer-listen"};
  EXPECT_EQ(Nearest("election-ticks", names, 2), "raft-election-ticks");
  EXPECT_EQ(Nearest("http-max-value", names, 2), "http-max-value-bytes");
  EXPECT_EQ(Nearest("max-value", names, 2), "http-max-value-bytes");
  EXPECT_EQ(Nearest("lection-ticks-xyz", names, 2), "");
  EXPECT_EQ(Nearest("max-val", names, 2), "");  // words are whole
  EXPECT_EQ(Nearest("listen", names, 2), "");   // which?
  EXPECT_EQ(Nearest("", names, 2), "");
}

}  // namespace
}  // namespace raftkv
