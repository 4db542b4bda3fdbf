#include <nlohmann/json.hpp>

#include "tests/kube/schema_test.h"

namespace raftkv::kube {
namespace {

// Every switch, number, choice and text under spec that is not inside a list or map.
TEST_F(RaftKvSchema, EveryFieldRefusesAnotherTypeAndValuesOutsideItsRange) {
  int fields = 0;
  const auto refuses = [&](const std::string& pointer, const Json& value) {
    auto made = Create(pointer, value);
    EXPECT_FALSE(made) << pointer << " = " << value;
    if (!made) {
      EXPECT_EQ(made.error().reason, Reason::kInvalid) << pointer;
    }
  };
  Walk("", Schema(), [&](const std::string& path, const Json& schema) {
    if (!path.starts_with("spec.") || path.find_first_of("[{") != std::string::npos) return;
    std::string pointer = path.substr(4);
    std::ranges::replace(pointer, '.', '/');
    ++fields;
    const bool any_scalar = schema.contains("x-kubernetes-int-or-string");
    if (any_scalar || schema.at("type") != "array") refuses(pointer, Json::array());
    if (any_scalar || schema.at("type") != "object") refuses(pointer, {{"x", 1}});
    if (schema.contains("enum")) {
      refuses(pointer, "Nonsense");
      for (const Json& value : schema["enum"]) EXPECT_TRUE(Create(pointer, value)) << path;
    }
    if (schema.contains("minimum")) refuses(pointer, schema["minimum"].get<int64_t>() - 1);
    if (schema.contains("maximum")) {
      refuses(pointer, schema["maximum"].get<int64_t>() + 1);
    }
  });
  EXPECT_GT(fields, 100);
}

}  // namespace
}  // namespace raftkv::kube
