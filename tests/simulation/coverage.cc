#include "tests/simulation/coverage.h"

#include <cstdio>

namespace raftkv::sim {
namespace {

struct Description {
  std::string_view name;
  std::string_view text;
};

constexpr Description kPaths[] = {
#define X(name, text) {#name, text},
    RAFTKV_SIM_COVERAGE(X)
#undef X
};

}  // namespace

std::string_view Name(Path path) { return kPaths[static_cast<size_t>(path)].name; }

void Coverage::Add(const Coverage& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

std::string Coverage::Table() const {
  std::string out;
  for (size_t i = 0; i < counts_.size(); ++i) {
    char line[160];
    std::snprintf(line, sizeof(line), "%12llu  %-20.*s %.*s\n",
                  static_cast<unsigned long long>(counts_[i]),
                  static_cast<int>(kPaths[i].name.size()), kPaths[i].name.data(),
                  static_cast<int>(kPaths[i].text.size()), kPaths[i].text.data());
    out += line;
  }
  return out;
}

std::string Coverage::Missing() const {
  std::string out;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) continue;
    out += "never reached: ";
    out += kPaths[i].name;
    out += " (";
    out += kPaths[i].text;
    out += ")\n";
  }
  return out;
}

std::string Coverage::MissingNames() const {
  std::string out;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) continue;
    if (!out.empty()) out += ' ';
    out += kPaths[i].name;
  }
  return out;
}

}  // namespace raftkv::sim
