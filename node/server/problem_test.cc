#include "node/server/problem.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "node/server/metrics.h"

namespace raftkv::server {
namespace {

using Json = nlohmann::json;

// One type must mean one thing (RFC 9457, section 3.1.1): everything else follows from it.
TEST(ProblemTest, StatusTitleAndCodeAreFunctionsOfTheType) {
  std::map<std::string, std::string> meaning;
  auto look = [&](const HttpResponse& response) {
    Json problem = Json::parse(response.body);
    EXPECT_EQ(problem["status"], response.status);
    std::string type = problem["type"];
    problem.erase("type");
    problem.erase("detail");
    auto [known, is_new] = meaning.emplace(type, problem.dump());
    EXPECT_EQ(known->second, problem.dump()) << type;
  };
  for (int status : HttpMetrics::kStatuses) {
    if (status >= 400) look(Problem(status, "detail"));
  }
  look(Problem(410, "detail"));
  look(MethodNotAllowed("GET"));
  look(NoSuchResource("detail"));
  for (int code = 1; code <= static_cast<int>(kLastCode); ++code) {
    for (Audience audience : {Audience::kClient, Audience::kAdmin}) {
      Status error(static_cast<Code>(code), "detail");
      HttpResponse response = Problem(error, audience);
      EXPECT_EQ(Json::parse(response.body)["code"], CodeName(error.code()));
      look(response);
    }
  }
  // All of them can happen.
  EXPECT_EQ(meaning.size(), ProblemTypes().size());
}

TEST(ProblemTest, TheDocumentationListsThemAll) {
  std::set<std::string> listed, wanted;
  std::ifstream file("docs/api.md");
  ASSERT_TRUE(file) << "run this test in the root of the repository";
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `type`")) inside = true;
    if (line.empty()) inside = false;
    if (inside && line.starts_with("| `") && !line.starts_with("| `type`")) {
      // Without the meaning.
      size_t end = 0;
      for (int i = 0; i < 4; ++i) end = line.find('|', end) + 1;
      listed.insert(line.substr(0, end));
    }
  }
  for (const ProblemType& type : ProblemTypes()) {
    std::ostringstream row;
    row << "| `" << type.name << "` | " << type.status << " | " << CodeName(type.code) << " |";
    wanted.insert(row.str());
  }
  EXPECT_EQ(listed, wanted);
}

}  // namespace
}  // namespace raftkv::server
