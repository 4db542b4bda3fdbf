#include "base/encoding.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

std::string AllBytes() {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  return all;
}

TEST(EncodingTest, PercentEncodesAllButUnreservedAndSlashes) {
  EXPECT_EQ(PercentEncode("a-Z_0.~/b"), "a-Z_0.~/b");
  EXPECT_EQ(PercentEncode("a-Z_0.~/b", ""), "a-Z_0.~%2Fb");
  EXPECT_EQ(PercentEncode(std::string_view("\0 %+?#\xff", 7)), "%00%20%25%2B%3F%23%FF");
  EXPECT_EQ(PercentDecode(PercentEncode(AllBytes())), AllBytes());
}

TEST(EncodingTest, PercentDecodingIsStrict) {
  EXPECT_EQ(PercentDecode("a%20b%2Fc+d"), "a b/c+d");
  EXPECT_EQ(PercentDecode("%00%ff%FF"), std::string("\0\xff\xff", 3));
  for (const char* wrong : {"%", "%4", "%zz", "a%2", "%%41", "%4g", "%u0041"}) {
    EXPECT_FALSE(PercentDecode(wrong)) << wrong;
  }
}

// The vectors of RFC 4648, section 10.
TEST(EncodingTest, Base64) {
  const char* pairs[][2] = {{"", ""},
                            {"f", "Zg=="},
                            {"fo", "Zm8="},
                            {"foo", "Zm9v"},
                            {"foob", "Zm9vYg=="},
                            {"fooba", "Zm9vYmE="},
                            {"foobar", "Zm9vYmFy"}};
  for (auto [bytes, text] : pairs) {
    EXPECT_EQ(Base64Encode(bytes), text);
    EXPECT_EQ(Base64Decode(text), bytes);
  }
  EXPECT_EQ(Base64Decode(Base64Encode(AllBytes())), AllBytes());
  for (const char* bad :
       {"Z", "Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm9%", "Zg=v", "Zh==", "Zm9="}) {
    EXPECT_FALSE(Base64Decode(bad)) << bad;
  }
}

TEST(EncodingTest, Utf8IsWellFormed) {
  for (const char* good : {"", "text", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                           "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  // A lone continuation, cut sequences, overlong forms, surrogates, beyond U+10FFFF.
  for (const char* bad :
       {"\x80", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

}  // namespace
}  // namespace raftkv
