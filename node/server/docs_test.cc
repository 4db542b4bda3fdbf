// Runs every example of docs/api.md with curl and compares what it prints.
//
//   RAFTKV_DOCS_CLIENT_URL, RAFTKV_DOCS_ADMIN_URL: a server to run them against, e.g.
//   http://127.0.0.1:7070; by default one over a FakeNode. Blocks marked "console example" need a
//   cluster of a certain shape and run against the FakeNode only.
//
// Numbers, ids, dates and the strings of pretty-printed JSON differ from run to run and match
// whatever stands in their place; a line "..." matches any number of lines.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <memory>
#include <regex>
#include <vector>

#include "node/server/api_fixture.h"

namespace raftkv::server {
namespace {

struct Example {
  int line;
  std::string command;
  std::vector<std::string> output;
  bool fake_only;
};

std::vector<Example> ReadExamples(const std::string& path) {
  std::vector<Example> examples;
  std::ifstream file(path);
  bool inside = false;
  bool fake_only = false;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.starts_with("```")) {
      inside = line.starts_with("```console");
      fake_only = line == "```console example";
    } else if (inside && line.starts_with("$ ")) {
      examples.push_back({number, line.substr(2), {}, fake_only});
    } else if (inside && !examples.empty()) {
      examples.back().output.push_back(line);
    }
  }
  return examples;
}

std::string Replace(const std::string& text, const std::string& what, const std::string& with) {
  return std::regex_replace(text, std::regex(what), with);
}

std::string Normalize(std::string line) {
  while (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.starts_with("Date: ")) return "Date: ";
  line = Replace(line, "[0-9a-f]{16}", "ID");
  line = Replace(line, "\": \"[^\"]*\"", "\": STRING");
  line = Replace(line, "\": (true|false)", "\": BOOL");
  return Replace(line, "[0-9]+", "N");
}

std::vector<std::string> RunCommand(const std::string& command) {
  std::vector<std::string> lines;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  char buffer[4096];
  while (size_t count = fread(buffer, 1, sizeof(buffer), pipe.get())) text.append(buffer, count);
  for (size_t start = 0; start < text.size();) {
    size_t end = std::min(text.find('\n', start), text.size());
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

// Whether `actual` from `a` on matches `expected` from `e` on.
bool Matches(const std::vector<std::string>& expected, size_t e,
             const std::vector<std::string>& actual, size_t a) {
  for (; e < expected.size(); ++e, ++a) {
    if (expected[e] == "...") {
      for (size_t next = a; next <= actual.size(); ++next) {
        if (Matches(expected, e + 1, actual, next)) return true;
      }
      return false;
    }
    if (a >= actual.size() || Normalize(expected[e]) != Normalize(actual[a])) return false;
  }
  return a == actual.size();
}

// curl prints an empty line behind a head without body; the examples leave it out.
void DropEmptyEnd(std::vector<std::string>* lines) {
  while (!lines->empty() && Normalize(lines->back()).empty()) lines->pop_back();
}

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class DocsTest : public ApiTest {
 protected:
  static std::string Url(const char* variable, uint16_t port) {
    const char* given = getenv(variable);
    return given ? given : "http://127.0.0.1:" + std::to_string(port);
  }
};

TEST_F(DocsTest, ExamplesOfTheApiAreTrue) {
  ASSERT_EQ(system("curl --version > /dev/null"), 0) << "the examples are for curl: install it";
  std::vector<Example> examples = ReadExamples("docs/api.md");
  ASSERT_GT(examples.size(), 20u) << "run this test in the root of the repository";
  std::string client = Url("RAFTKV_DOCS_CLIENT_URL", server_->client_port());
  std::string admin = Url("RAFTKV_DOCS_ADMIN_URL", server_->admin_port());
  bool fake = getenv("RAFTKV_DOCS_CLIENT_URL") == nullptr;
  for (Example& example : examples) {
    if (example.fake_only && !fake) continue;
    std::string command = Replace(example.command, "http://127\\.0\\.0\\.1:7070", client);
    command = Replace(command, "http://127\\.0\\.0\\.1:7072", admin);
    std::vector<std::string> actual = RunCommand(command);
    DropEmptyEnd(&actual);
    DropEmptyEnd(&example.output);
    EXPECT_TRUE(Matches(example.output, 0, actual, 0))
        << "docs/api.md:" << example.line << ": " << example.command << "\nis documented to print\n"
        << Join(example.output) << "but prints\n"
        << Join(actual);
  }
}

}  // namespace
}  // namespace raftkv::server
