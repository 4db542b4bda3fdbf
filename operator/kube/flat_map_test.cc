#include "operator/kube/flat_map.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/random.h"
#include "operator/kube/json.h"

namespace raftkv::kube {
namespace {

using Flat = FlatMap<std::string, int, std::less<>, std::allocator<std::pair<std::string, int>>>;

TEST(FlatMap, DoesWhatAMapDoes) {
  SeededRandom random(17);
  Flat flat;
  std::map<std::string, int, std::less<>> map;
  for (int i = 0; i < 5000; ++i) {
    const std::string key(1, static_cast<char>('a' + random.Uniform(26)));
    const int value = static_cast<int>(random.Uniform(100));
    switch (random.Uniform(5)) {
      case 0:
        EXPECT_EQ(flat.emplace(key, int{value}).second, map.emplace(key, value).second);
        break;
      case 1:
        flat[key] = map[key] = value;
        break;
      case 2:
        EXPECT_EQ(flat.erase(key), map.erase(key));
        break;
      case 3:
        EXPECT_EQ(flat.insert({key, value}).first->second, map.insert({key, value}).first->second);
        break;
      default:
        EXPECT_EQ(flat.count(key), map.count(key));
        if (auto at = flat.find(key); at != flat.end()) {
          EXPECT_EQ(at->second, map.at(key));
          flat.erase(at);
          map.erase(key);
        }
    }
    ASSERT_TRUE(std::ranges::equal(flat, map, [](const auto& a, const auto& b) {
      return a.first == b.first && a.second == b.second;
    }));
  }
  flat.erase(flat.begin(), flat.end());
  EXPECT_TRUE(flat.empty());
}

TEST(FlatMap, JsonIsTheSameInAnyOrder) {
  Json json = Json::parse(R"({"b": {"y": 1, "x": [2, {"q": null}]}, "a": "t"})");
  EXPECT_EQ(json.dump(), R"({"a":"t","b":{"x":[2,{"q":null}],"y":1}})");
  EXPECT_EQ(json, Json::parse(R"({"a": "t", "b": {"x": [2, {"q": null}], "y": 1}})"));
  json["0"] = true;
  json.merge_patch({{"b", {{"y", nullptr}, {"z", 3}}}});
  EXPECT_EQ(json.dump(), R"({"0":true,"a":"t","b":{"x":[2,{"q":null}],"z":3}})");
  EXPECT_EQ(json.at("/b/z"_json_pointer), 3);
  const std::map<std::string, int> map = {{"k", 1}};
  EXPECT_EQ(Json(map), Json({{"k", 1}}));
  Json copy = json;
  copy.erase("a");
  EXPECT_NE(copy, json);
  EXPECT_EQ(copy.flatten().size(), 4U);
}

}  // namespace
}  // namespace raftkv::kube
