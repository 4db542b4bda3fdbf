// The file format of data-driven tests (that of cockroachdb's datadriven package):
//
//   # a comment
//   command positional key=value key=(a, b, c)     (a '\' at the end goes on in the next line)
//   input lines, possibly none
//   ----
//   expected output, up to the next blank line
//
//   command
//   ----
//   ----
//   expected output
//
//   with blank lines, up to the next two separators
//   ----
//   ----
//
// Thread-safety: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace raftkv::conformance {

// `key`, `key=value` or `key=(value, value)`.
struct Argument {
  std::string key;
  std::vector<std::string> values;
};

struct Directive {
  size_t line = 0;  // of the command, counted from 1
  std::string command;
  std::vector<Argument> arguments;
  std::string input;     // without surrounding white space
  std::string expected;  // each line ends with '\n'
  // Where `expected` stands: the lines [expected_line, expected_end), counted from 1.
  size_t expected_line = 0;
  size_t expected_end = 0;
};

// The error names the line.
Result<std::vector<Directive>> ParseFile(std::string_view text);

// The lines of `text`, without their line ends.
std::vector<std::string_view> SplitLines(std::string_view text);

// As Go's strconv reads them; the error is its text.
Result<uint64_t> ParseUint(std::string_view text);
Result<bool> ParseBool(std::string_view text);

}  // namespace raftkv::conformance
