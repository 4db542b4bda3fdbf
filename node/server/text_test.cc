#include "node/server/text.h"

#include <gtest/gtest.h>

namespace raftkv::server {
namespace {

TEST(Text, QueriesKeepOrderAndEmptyValues) {
  auto query = ParseQuery("a=1&&b&c=x%3Dy=z");
  ASSERT_TRUE(query.has_value());
  ASSERT_EQ(query->size(), 3u);
  EXPECT_EQ((*query)[1].name, "b");
  EXPECT_EQ((*query)[1].value, "");
  EXPECT_EQ((*query)[2].value, "x=y=z");
  EXPECT_FALSE(ParseQuery("a=%g").has_value());
}

TEST(Text, NumbersHaveNoSignsOrSpaces) {
  EXPECT_EQ(ParseDecimal("18446744073709551615"), UINT64_MAX);
  for (const char* wrong : {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616"}) {
    EXPECT_EQ(ParseDecimal(wrong), std::nullopt) << wrong;
  }
}

TEST(Text, IdsHaveSixteenDigits) {
  EXPECT_EQ(ParseId("00000000000000aB"), 0xabu);
  for (const char* wrong : {"ab", "0x000000000000ab", "00000000000000ag", "000000000000000000ab"}) {
    EXPECT_EQ(ParseId(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace raftkv::server
