// Runs every example of docs/api.md against real nodes, and compares what is printed with what the
// page shows: status lines, headers, the keys of JSON and what is no number.
//
// The page is read from top to bottom. The nodes are those of its introduction; their ports and ids
// are put in the place of the page's, which are readable: node1 is 00000000000000a1, and so on.
// Comments are stage directions:
//   <!-- test: lead NODE -->             it leads, and all of its members follow
//   <!-- test: voters N -->              wait until node1 knows so many voters
//   <!-- test: pause NODE... -->, <!-- test: resume NODE... -->
//   <!-- test: leaderless NODE -->       wait until it knows of no leader
//
// Numbers and dates match any; lists of members match in any order.
//
//   RAFTKV_WRITE_API_DOCS=1   writes docs/api.md anew with what the examples print
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "base/hex_id.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPage = "docs/api.md";
constexpr int kNodes = 6;
constexpr int kMembers = 3;  // node1 to node3

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    while (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  // curl prints an empty line behind a head without body; the page leaves it out.
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::string NumbersAside(const std::string& text) {
  static const std::regex kNumber("[0-9]+");
  return std::regex_replace(text, kNumber, "N");
}

// What of a line has to be the same.
std::string Normalize(const std::string& line) {
  if (line.starts_with("HTTP/1.1 ")) return line;
  if (line.starts_with("Date: ")) return "Date: ";
  return NumbersAside(line);
}

// Members are sorted by their ids, which are random: here by those of the page.
void SortById(Json* json) {
  if (json->is_array()) {
    const auto id_of = [](const Json& element) {
      return element.is_object() ? element.value("id", "") : element.dump();
    };
    std::stable_sort(json->begin(), json->end(),
                     [&](const Json& a, const Json& b) { return id_of(a) < id_of(b); });
  }
  if (json->is_structured()) {
    for (Json& element : *json) SortById(&element);
  }
}

bool SameShape(const Json& a, const Json& b, bool is_status = false) {
  if (a.is_number() && b.is_number()) return !is_status || a == b;
  if (a.is_string() && b.is_string()) {
    return NumbersAside(a.get<std::string>()) == NumbersAside(b.get<std::string>());
  }
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (!a.is_structured()) return a == b;
  for (auto x = a.begin(), y = b.begin(); x != a.end(); ++x, ++y) {
    if (a.is_object() && x.key() != y.key()) return false;
    if (!SameShape(*x, *y, a.is_object() && x.key() == "status")) return false;
  }
  return true;
}

// A head (which may be missing) and a body.
struct Output {
  std::vector<std::string> text;  // all that is no JSON
  Json json;                      // null: none
  bool indented = false;
};

Output Parse(const std::vector<std::string>& lines) {
  Output output;
  const auto start = std::ranges::find_if(lines, [](const std::string& line) {
    return line.starts_with('{') || line.starts_with('[');
  });
  Json json = Json::parse(Join({start, lines.end()}), nullptr, false);
  if (json.is_discarded()) {
    output.text = lines;
    return output;
  }
  output.text.assign(lines.begin(), start);
  SortById(&json);
  output.json = std::move(json);
  output.indented = lines.end() - start > 1;
  return output;
}

std::string Print(const Output& output) {
  std::string text = Join(output.text);
  if (!output.json.is_null()) text += output.json.dump(output.indented ? 2 : -1) + "\n";
  return text;
}

bool Matches(const Output& expected, const Output& actual) {
  return std::ranges::equal(expected.text, actual.text, {}, Normalize, Normalize) &&
         expected.indented == actual.indented && SameShape(expected.json, actual.json);
}

class ApiDocsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("PATH",
           (std::filesystem::path(NodeBinary()).parent_path().string() + ":" + std::getenv("PATH"))
               .c_str(),
           1);
    std::string list;
    for (int i = 1; i <= kNodes; ++i) {
      const std::string name = "node" + std::to_string(i);
      nodes_.push_back(std::make_unique<NodeProcess>(name, directory_.path() + "/" + name));
      if (i <= kMembers) list += (i == 1 ? "" : ",") + nodes_.back()->peer_address();
    }
    for (int i = 1; i <= kMembers; ++i) {
      Node(i).Start({"--start-mode", "static", "--start-peers", list, "--limits-inflight-requests",
                     "8", "--client-advertise",
                     "127.0.0.1:" + std::to_string(Node(i).client_port())});
    }
    Node(4).Start({"--client-dialect", "raftexample"});
    Node(5).Start({"--client-dialect", "shaj13"});
    Node(6).Start({"--start-mode", "single", "--limits-quota-bytes", "1"});
    for (const int ready : {1, 2, 3, 6}) ASSERT_TRUE(Cluster::WaitReady(Node(ready))) << Logs();
    for (int i = 1; i <= kNodes; ++i) {
      ASSERT_TRUE(WaitUntil([&] { return Node(i).Status().has_value(); })) << Logs();
      const v1::StatusResponse status = *Node(i).Status();
      ids_.emplace_back(PageId(i), HexId(status.member_id()));
      if (i == 1) ids_.emplace_back("00000000000000c1", HexId(status.cluster_id()));
    }
  }

  static std::string PageId(int node) {
    return std::string("00000000000000") + static_cast<char>('a' + node - 1) + std::to_string(node);
  }
  static int PagePort(int node) { return 7070 + 10 * (node - 1); }

  NodeProcess& Node(int number) { return *nodes_.at(number - 1); }
  NodeProcess& Node(const std::string& name) { return Node(std::stoi(name.substr(4))); }

  std::string Logs() const {
    std::string text;
    for (const auto& node : nodes_) text += "--- " + node->name() + "\n" + node->Log();
    return text;
  }

  // From the page's ids and ports to the real ones, or back.
  std::string Translate(std::string text, bool to_page) {
    const auto replace = [&](const std::string& from, const std::string& to) {
      for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
        text.replace(at, from.size(), to);
      }
    };
    const auto pair = [&](const std::string& page, const std::string& real) {
      to_page ? replace(real, page) : replace(page, real);
    };
    for (const auto& [page, real] : ids_) pair(page, real);
    for (int i = 1; to_page && i <= kNodes; ++i) {
      const std::string key = "\"admin_port\": ";
      replace(key + std::to_string(Node(i).admin_port()), key + std::to_string(PagePort(i) + 2));
    }
    // In two steps, so that no port is translated twice.
    const auto address = [](int port) { return "127.0.0.1:" + std::to_string(port); };
    for (int step = 1; step <= 2; ++step) {
      for (int i = 1; i <= kNodes; ++i) {
        const int real[] = {Node(i).client_port(), Node(i).peer_port(), Node(i).admin_port()};
        for (int kind = 0; kind < 3; ++kind) {
          const std::string mark = "@" + std::to_string(i) + "." + std::to_string(kind) + "@";
          const int page = PagePort(i) + kind;
          step == 1 ? replace(address(to_page ? real[kind] : page), mark)
                    : replace(mark, address(to_page ? page : real[kind]));
        }
      }
    }
    return text;
  }

  bool Lead(NodeProcess& node) {
    return WaitUntil([&] {
      const auto status = node.Status();
      if (!status) return false;
      if (status->role() == v1::StatusResponse::LEADER) {
        return std::ranges::all_of(status->progress(), [&](const v1::PeerProgress& peer) {
          return peer.id() == status->member_id() ||
                 (peer.connected() && peer.state() == "replicate" && peer.recently_active() &&
                  peer.match() == status->last_index() && peer.inflight_messages() == 0);
        });
      }
      node.Admin("POST", "/admin/transfer", "{\"to\":\"" + HexId(status->member_id()) + "\"}");
      return false;
    });
  }

  bool Direct(const std::string& direction) {
    std::istringstream words(direction);
    std::string verb, name;
    words >> verb;
    while (words >> name) {
      if (verb == "pause") {
        Node(name).Pause();
      } else if (verb == "resume") {
        Node(name).Resume();
      } else if (verb == "lead") {
        if (!Lead(Node(name))) return false;
      } else if (verb == "voters") {
        if (!WaitUntil([&] {
              const auto status = Node(1).Status();
              return status && status->cluster().conf().voters_size() == std::stoi(name) &&
                     status->cluster().conf().voters_outgoing().empty();
            })) {
          return false;
        }
      } else if (verb == "leaderless") {
        if (!WaitUntil([&] {
              const auto status = Node(name).Status();
              return status && status->leader() == 0;
            })) {
          return false;
        }
      } else {
        return false;
      }
    }
    return true;
  }

  TempDir directory_;
  TempDir folder_;  // where the commands run
  std::vector<std::unique_ptr<NodeProcess>> nodes_;
  std::vector<std::pair<std::string, std::string>> ids_;  // the page's and the real one
};

TEST_F(ApiDocsTest, ExamplesAreTrueOfRealNodes) {
  ASSERT_EQ(system("curl --version > /dev/null"), 0) << "the examples are for curl: install it";
  const std::vector<std::string> page = Lines(ReadFileOrEmpty(kPage));
  ASSERT_FALSE(page.empty()) << "run this test in the root of the repository";
  static const std::regex kDirection("<!-- test: (.*) -->");
  std::vector<std::string> rewritten;
  size_t examples = 0;
  bool inside = false;
  for (size_t i = 0; i < page.size(); ++i) {
    const std::string& line = page[i];
    rewritten.push_back(line);
    if (std::smatch match; std::regex_match(line, match, kDirection)) {
      ASSERT_TRUE(Direct(match[1])) << kPage << ":" << i + 1 << ": " << line << "\n" << Logs();
    }
    if (line.starts_with("```")) inside = line == "```console";
    if (!inside || !line.starts_with("$ ")) continue;
    ++examples;
    std::vector<std::string> shown;
    while (i + 1 < page.size() && !page[i + 1].starts_with("$ ") && page[i + 1] != "```") {
      shown.push_back(page[++i]);
    }
    const CommandResult result = RunShell(Translate(line.substr(2), false), folder_.path());
    const Output expected = Parse(shown);
    const Output actual = Parse(Lines(Translate(result.output, true)));
    EXPECT_TRUE(Matches(expected, actual))
        << kPage << ":" << i + 1 << ": " << line << "\nis documented to print\n"
        << Print(expected) << "but prints\n"
        << Print(actual);
    for (const std::string& printed : Lines(Print(actual))) rewritten.push_back(printed);
  }
  EXPECT_GT(examples, 40u);
  if (HasFailure()) RecordProperty("logs", Logs());
  if (getenv("RAFTKV_WRITE_API_DOCS") != nullptr) std::ofstream(kPage) << Join(rewritten);
}

}  // namespace
}  // namespace raftkv::testing
