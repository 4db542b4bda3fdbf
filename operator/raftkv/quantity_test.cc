#include "operator/raftkv/quantity.h"

#include <gtest/gtest.h>

#include "operator/raftkv/test_quantities.h"

namespace raftkv::op {
namespace {

TEST(Quantity, TheSameAmountInWhateverWords) {
  EXPECT_TRUE(SameQuantity("1000m", "1"));
  EXPECT_TRUE(SameQuantity("0.3", "300m"));
  EXPECT_TRUE(SameQuantity("1e3", "1k"));
  EXPECT_TRUE(SameQuantity("1.1Gi", "1181116006400m"));
  EXPECT_TRUE(SameQuantity("1Ti", "1099511627776"));
  EXPECT_TRUE(SameQuantity("0.0001", "1m")) << "as the server rounds it";
  EXPECT_FALSE(SameQuantity("1m", "2m"));
  EXPECT_FALSE(SameQuantity("500m", "1"));
  EXPECT_FALSE(SameQuantity("1Gi", "1G"));
  EXPECT_FALSE(SameQuantity("1Ti", "1099511627777"));
  EXPECT_FALSE(SameQuantity("1Ei", "1152921504606846975"));
  EXPECT_FALSE(SameQuantity("", ""));
  EXPECT_FALSE(SameQuantity("1", "much"));
}

// The definition took "1073741824000000000n" for a size, which then was no quantity here; and of
// "+10m" was said that a webhook had made "10m" of it.
TEST(Quantity, AsKubernetesWritesThem) {
  for (const QuantityCase& known : kQuantityCases) {
    EXPECT_EQ(ParseQuantity(known.text), known.bytes) << known.text;
    EXPECT_TRUE(SameQuantity(known.text, known.stored)) << known.text;
  }
  for (const QuantityCase& known : kSignedCases) {
    EXPECT_EQ(ParseQuantity(known.text), known.bytes) << known.text;
    EXPECT_TRUE(SameQuantity(known.text, known.stored)) << known.text;
  }
  EXPECT_EQ(ParseQuantity("0"), 0U);
  EXPECT_EQ(ParseQuantity("0e999999999"), 0U);
  EXPECT_EQ(ParseQuantity("1e-999"), 1U);
}

TEST(Quantity, WhatIsNoneOrCannotBeOneOfBytes) {
  for (const char* bad : kNoQuantities) {
    EXPECT_EQ(ParseQuantity(bad), std::nullopt) << bad;
    EXPECT_FALSE(SameQuantity(bad, bad)) << bad;
  }
  for (const char* bad : {"-1", "-1n", "8Ei", "9223372036854775808", "1e19", "1e99999999999"}) {
    EXPECT_EQ(ParseQuantity(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(ParseQuantity("9223372036854775807"), 9223372036854775807U);
}

}  // namespace
}  // namespace raftkv::op
