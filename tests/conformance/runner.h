// Runs data-driven files and compares what comes out with what they expect, byte for byte.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace raftkv::conformance {

// A file and the driver for it.
struct TestFile {
  std::filesystem::path path;
  std::string driver;  // a name that MakeDriver knows
};

// All *.txt files in or below the folder `path`, or the one that it is, that lie in a folder that
// names a driver, sorted. Others (a README, data of other suites) are left out.
std::vector<TestFile> FindFiles(const std::filesystem::path& path);

struct Tally {
  size_t passed = 0;
  size_t failed = 0;
};

// Runs one file and prints each difference to stdout. In a process of its own: a CHECK that fails
// costs the directives from there on, not the run.
Tally RunFile(const TestFile& file);

// Replaces the expected output in the file by what comes out; to be reviewed before it is
// committed.
Status RewriteFile(const TestFile& file);

// The lines that differ, marked "-" (expected) and "+" (actual), with some lines around them. The
// numbers are those of the file, where `expected` starts at `first_line`.
std::string DiffLines(const std::string& expected, const std::string& actual, size_t first_line);

}  // namespace raftkv::conformance
