#include "ctl/text.h"

#include <gtest/gtest.h>

namespace raftkv::client {
namespace {

TEST(TextTest, PercentEncodesAllButUnreservedAndSlashes) {
  EXPECT_EQ(PercentEncode("a-Z_0.~/b"), "a-Z_0.~/b");
  EXPECT_EQ(PercentEncode(std::string_view("\0 %+?#\xff", 7)), "%00%20%25%2B%3F%23%FF");
}

// The vectors of RFC 4648 section 10.
TEST(TextTest, Base64) {
  const char* pairs[][2] = {{"", ""},
                            {"f", "Zg=="},
                            {"fo", "Zm8="},
                            {"foo", "Zm9v"},
                            {"foob", "Zm9vYg=="},
                            {"fooba", "Zm9vYmE="},
                            {"foobar", "Zm9vYmFy"}};
  for (auto [bytes, text] : pairs) {
    EXPECT_EQ(Base64Encode(bytes), text);
    auto decoded = Base64Decode(text);
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(*decoded, bytes);
  }
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_EQ(Base64Decode(Base64Encode(all)), all);
  for (const char* bad : {"Z", "Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm9%", "Zg=v"})
    EXPECT_FALSE(Base64Decode(bad)) << bad;
}

TEST(TextTest, Utf8) {
  for (const char* good : {"", "text", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"})
    EXPECT_TRUE(IsUtf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\xaf", "\xed\xa0\x80",
                          "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
    EXPECT_FALSE(IsUtf8(bad)) << bad;
}

TEST(TextTest, PrintableHidesControlCharacters) {
  EXPECT_EQ(Printable("plain \xc3\xa4"), "plain \xc3\xa4");
  EXPECT_EQ(Printable("\x1b[31m\n\xff\x7f"), "\\x1B[31m\\x0A\\xFF\\x7F");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xC2\\x9B");  // a control sequence introducer in UTF-8
}

TEST(TextTest, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(1048575), "1.0 MiB");
  EXPECT_EQ(FormatBytes(uint64_t{3} << 40), "3.0 TiB");
}

}  // namespace
}  // namespace raftkv::client
