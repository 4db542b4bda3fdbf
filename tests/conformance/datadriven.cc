#include "tests/conformance/datadriven.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace raftkv::conformance {
namespace {

constexpr std::string_view kSeparator = "----";

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Cuts off the part of `rest` before the first of `ends`, and returns it.
std::string_view TakeUntil(std::string_view& rest, std::string_view ends) {
  const std::string_view head = rest.substr(0, rest.find_first_of(ends));
  rest.remove_prefix(head.size());
  return head;
}

// Cuts off one value of a list and the ',' or ')' behind it, which is returned in `end`.
// Parentheses within a value nest. False if the list does not end.
bool TakeListValue(std::string_view& rest, std::string& value, char& end) {
  size_t depth = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    if (depth == 0 && (c == ',' || c == ')')) {
      value = Trim(rest.substr(0, i));
      end = c;
      rest.remove_prefix(i + 1);
      return true;
    }
    if (c == '(') ++depth;
    if (c == ')') --depth;
  }
  return false;
}

bool TakeArgument(std::string_view& rest, Argument& argument) {
  argument.key = TakeUntil(rest, " =");
  if (argument.key.empty()) return false;
  if (!rest.starts_with('=')) return true;
  rest.remove_prefix(1);
  if (!rest.starts_with('(')) {
    argument.values.emplace_back(TakeUntil(rest, " "));
    return true;
  }
  rest.remove_prefix(1);
  for (char end = ','; end == ',';) {
    if (!TakeListValue(rest, argument.values.emplace_back(), end)) return false;
  }
  return true;
}

bool ParseCommand(std::string_view line, Directive& directive) {
  directive.command = TakeUntil(line, " ");
  for (line = Trim(line); !line.empty(); line = Trim(line)) {
    if (!TakeArgument(line, directive.arguments.emplace_back())) return false;
  }
  return true;
}

// `i` is the line of the separator, and then the first one behind the expected output.
void TakeExpected(const std::vector<std::string_view>& lines, size_t& i, Directive& directive) {
  const auto separator = [&lines](size_t at) {
    return at < lines.size() && lines[at] == kSeparator;
  };
  // Two separators begin and end an output that has blank lines.
  const bool has_blank_lines = separator(++i);
  if (has_blank_lines) ++i;
  directive.expected_line = i + 1;
  for (; i < lines.size(); ++i) {
    const bool ends = has_blank_lines ? separator(i) && separator(i + 1) : Trim(lines[i]).empty();
    if (ends) break;
    directive.expected.append(lines[i]).append("\n");
  }
  directive.expected_end = i + 1;
  if (has_blank_lines) i += 2;
}

}  // namespace

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::string_view line = TakeUntil(text, "\n");
    lines.push_back(line);
    text.remove_prefix(std::min<size_t>(text.size(), 1));
  }
  return lines;
}

Result<std::vector<Directive>> ParseFile(std::string_view text) {
  const std::vector<std::string_view> lines = SplitLines(text);
  std::vector<Directive> directives;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string line(Trim(lines[i]));
    if (line.empty() || line.starts_with('#')) continue;

    Directive& directive = directives.emplace_back();
    directive.line = i + 1;
    while (line.ends_with('\\') && i + 1 < lines.size()) {
      line.pop_back();
      line = std::string(Trim(line)).append(" ").append(Trim(lines[++i]));
    }
    if (!ParseCommand(line, directive)) {
      return Error(Code::kInvalidArgument,
                   "line " + std::to_string(directive.line) + ": cannot parse directive: " + line);
    }
    for (++i; i < lines.size() && lines[i] != kSeparator; ++i) {
      directive.input.append(lines[i]).append("\n");
    }
    if (i == lines.size()) {
      return Error(Code::kInvalidArgument, "line " + std::to_string(directive.line) +
                                               ": no line \"----\" follows the directive");
    }
    directive.input = Trim(directive.input);
    TakeExpected(lines, i, directive);
  }
  return directives;
}

Result<uint64_t> ParseUint(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error == std::errc() && end == text.end()) return value;
  const bool overflow = error == std::errc::result_out_of_range;
  return Error(Code::kInvalidArgument,
               "strconv.ParseUint: parsing \"" + std::string(text) +
                   (overflow ? "\": value out of range" : "\": invalid syntax"));
}

Result<bool> ParseBool(std::string_view text) {
  constexpr std::array<std::string_view, 6> kTrue{"1", "t", "T", "true", "TRUE", "True"};
  constexpr std::array<std::string_view, 6> kFalse{"0", "f", "F", "false", "FALSE", "False"};
  if (std::ranges::find(kTrue, text) != kTrue.end()) return true;
  if (std::ranges::find(kFalse, text) != kFalse.end()) return false;
  return Error(Code::kInvalidArgument,
               "strconv.ParseBool: parsing \"" + std::string(text) + "\": invalid syntax");
}

}  // namespace raftkv::conformance
