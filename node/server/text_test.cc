#include "node/server/text.h"

#include <gtest/gtest.h>

namespace raftkv::server {
namespace {

TEST(Text, PercentDecodingIsStrict) {
  EXPECT_EQ(PercentDecode("a%20b%2Fc+d"), "a b/c+d");
  EXPECT_EQ(PercentDecode("%00%ff%FF"), std::string("\0\xff\xff", 3));
  for (const char* wrong : {"%", "%4", "%zz", "a%2", "%%41", "%4g", "%u0041"}) {
    EXPECT_FALSE(PercentDecode(wrong).has_value()) << wrong;
  }
}

TEST(Text, PercentEncodingComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  EXPECT_EQ(PercentDecode(PercentEncode(bytes)), bytes);
}

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

TEST(Text, Utf8IsWellFormed) {
  for (const char* text : {"", "abc", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                           "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  // A lone continuation, cut sequences, overlong forms, surrogates, beyond U+10FFFF.
  for (const char* bytes :
       {"\x80", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bytes));
  }
}

// RFC 4648, section 10.
TEST(Text, Base64) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

}  // namespace
}  // namespace raftkv::server
