#include "ctl/text.h"

#include <gtest/gtest.h>

namespace raftkv::client {
namespace {

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
