#include <algorithm>

#include "tests/conformance/datadriven.h"
#include "tests/conformance/runner.h"

namespace raftkv::conformance {
namespace {

constexpr size_t kContextLines = 3;

struct DiffLine {
  char mark;      // ' ', '-' or '+'
  size_t number;  // in the file; of the expected line that follows, for a '+'
  std::string_view text;
};

// lengths[i][j]: how many lines the tails a[i..] and b[j..] have in common, in order.
std::vector<std::vector<size_t>> CommonTails(const std::vector<std::string_view>& a,
                                             const std::vector<std::string_view>& b) {
  std::vector lengths(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) {
      lengths[i][j] =
          a[i] == b[j] ? lengths[i + 1][j + 1] + 1 : std::max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  return lengths;
}

std::vector<DiffLine> MarkLines(const std::vector<std::string_view>& expected,
                                const std::vector<std::string_view>& actual, size_t first_line) {
  const auto lengths = CommonTails(expected, actual);
  std::vector<DiffLine> lines;
  size_t i = 0;
  size_t j = 0;
  while (i < expected.size() || j < actual.size()) {
    const size_t number = first_line + i;
    if (i < expected.size() && j < actual.size() && expected[i] == actual[j]) {
      lines.push_back({' ', number, expected[i]});
      ++i;
      ++j;
    } else if (j == actual.size() ||
               (i < expected.size() && lengths[i + 1][j] >= lengths[i][j + 1])) {
      lines.push_back({'-', number, expected[i++]});
    } else {
      lines.push_back({'+', number, actual[j++]});
    }
  }
  return lines;
}

}  // namespace

std::string DiffLines(const std::string& expected, const std::string& actual, size_t first_line) {
  const std::vector<DiffLine> lines =
      MarkLines(SplitLines(expected), SplitLines(actual), first_line);
  const auto is_near_change = [&](size_t i) {
    const size_t begin = i - std::min(i, kContextLines);
    const size_t end = std::min(lines.size(), i + kContextLines + 1);
    return std::any_of(lines.begin() + static_cast<std::ptrdiff_t>(begin),
                       lines.begin() + static_cast<std::ptrdiff_t>(end),
                       [](const DiffLine& line) { return line.mark != ' '; });
  };
  std::string text;
  bool skipped = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!is_near_change(i)) {
      skipped = true;
      continue;
    }
    if (skipped) text += "      ...\n";
    skipped = false;
    std::string number = lines[i].mark == '+' ? "" : std::to_string(lines[i].number);
    number.insert(0, 5 - std::min<size_t>(5, number.size()), ' ');
    text += number + ' ' + lines[i].mark + ' ' + std::string(lines[i].text) + '\n';
  }
  return text;
}

}  // namespace raftkv::conformance
