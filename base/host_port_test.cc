#include "base/host_port.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

TEST(HostPortTest, ReadsWhatPeopleWrite) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:80")->ToString(), "127.0.0.1:80");
  EXPECT_EQ(ParseHostPort("[::1]:80")->host, "::1");
  EXPECT_EQ(ParseHostPort("[::1]:80")->ToString(), "[::1]:80");
  EXPECT_EQ(ParseHostPort("node-0.svc:65535")->port, 65535);
  EXPECT_TRUE(ParseHostPort(":80")->IsWildcard());
  EXPECT_TRUE(ParseHostPort("0.0.0.0:80")->IsWildcard());
  EXPECT_TRUE(ParseHostPort("[::]:80")->IsWildcard());
  EXPECT_FALSE(ParseHostPort("localhost:80")->IsWildcard());
  for (const char* text :
       {"", "80", "host", "host:", "host:x", "host:65536", "host:-1", "::1:80", "http://host:80",
        "a@b:80", "host:80/", "host :80", "ho\xff\x73t:80", "host\t:80"}) {
    EXPECT_FALSE(ParseHostPort(text)) << text;
  }
}

}  // namespace
}  // namespace raftkv
