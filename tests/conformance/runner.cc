#include "tests/conformance/runner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "tests/conformance/datadriven.h"
#include "tests/conformance/driver.h"

namespace raftkv::conformance {
namespace {

namespace fs = std::filesystem;

Result<std::string> ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return Error(Code::kIoError, "cannot read the file");
  return text;
}

Result<std::vector<Directive>> ReadDirectives(const TestFile& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file.path));
  return ParseFile(text);
}

std::string RunDirective(Driver& driver, const Directive& directive) {
  std::string output = driver.Run(directive);
  if (!output.ends_with('\n')) output += '\n';
  return output;
}

// One byte for each directive that is done: what the parent counts.
constexpr char kPassed = 'p';
constexpr char kFailed = 'f';

[[noreturn]] void RunInChild(const TestFile& file, const std::vector<Directive>& directives,
                             int results) {
  const std::unique_ptr<Driver> driver = MakeDriver(file.driver);
  for (const Directive& directive : directives) {
    const std::string actual = RunDirective(*driver, directive);
    const bool passed = actual == directive.expected;
    if (!passed) {
      std::printf("%s:%zu: %s\n%s\n", file.path.c_str(), directive.line, directive.command.c_str(),
                  DiffLines(directive.expected, actual, directive.expected_line).c_str());
    }
    std::fflush(stdout);
    CHECK(write(results, passed ? &kPassed : &kFailed, 1) == 1);
  }
  // Without the exit handlers of the parent's libraries, and without flushing its buffers twice.
  _exit(0);
}

std::string ReadResults(int results) {
  std::string all;
  std::array<char, 256> part;
  for (ssize_t n = 0; (n = read(results, part.data(), part.size())) > 0;) {
    all.append(part.data(), static_cast<size_t>(n));
  }
  return all;
}

// The driver is named by the nearest folder up to `top`, which is one of them.
void AddFile(const fs::path& path, const fs::path& top, std::vector<TestFile>* files) {
  if (path.extension() != ".txt") return;
  fs::path parent = path.parent_path();
  while (!MakeDriver(parent.filename().string()) && parent != top) parent = parent.parent_path();
  const std::string driver = parent.filename().string();
  if (MakeDriver(driver)) files->push_back({path, driver});
}

}  // namespace

std::vector<TestFile> FindFiles(const fs::path& path) {
  const fs::path root = fs::weakly_canonical(path);
  std::vector<TestFile> files;
  if (fs::is_regular_file(root)) {
    AddFile(root, root.root_path(), &files);
    return files;
  }
  for (const auto& item : fs::recursive_directory_iterator(root)) {
    if (item.is_regular_file()) AddFile(item.path(), root, &files);
  }
  std::ranges::sort(files, {}, &TestFile::path);
  return files;
}

Tally RunFile(const TestFile& file) {
  const Result<std::vector<Directive>> directives = ReadDirectives(file);
  if (!directives) {
    std::printf("%s: %s\n", file.path.c_str(), directives.error().message().c_str());
    return {.failed = 1};
  }
  std::fflush(stdout);
  int pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0, "no pipe");
  const pid_t child = fork();
  CHECK(child >= 0, "no process");
  if (child == 0) RunInChild(file, *directives, pipe_ends[1]);
  close(pipe_ends[1]);
  const std::string results = ReadResults(pipe_ends[0]);
  close(pipe_ends[0]);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);

  const size_t total = directives->size();
  const auto passed = static_cast<size_t>(std::ranges::count(results, kPassed));
  if (results.size() < total) {
    const Directive& at = (*directives)[results.size()];
    std::printf("%s:%zu: %s: the process ended here (status %d); %zu directives were not run\n\n",
                file.path.c_str(), at.line, at.command.c_str(), status, total - results.size());
  }
  return {.passed = passed, .failed = total - passed};
}

Status RewriteFile(const TestFile& file) {
  ASSIGN_OR_RETURN_STATUS(const std::string text, ReadFile(file.path));
  ASSIGN_OR_RETURN_STATUS(const std::vector<Directive> directives, ParseFile(text));
  const std::vector<std::string_view> lines = SplitLines(text);
  const std::unique_ptr<Driver> driver = MakeDriver(file.driver);
  std::string rewritten;
  size_t next = 1;
  const auto copy_up_to = [&](size_t end) {
    for (; next < end; ++next) rewritten.append(lines[next - 1]).append("\n");
  };
  for (const Directive& directive : directives) {
    copy_up_to(directive.expected_line);
    rewritten += RunDirective(*driver, directive);
    next = directive.expected_end;
  }
  copy_up_to(lines.size() + 1);
  std::ofstream out(file.path, std::ios::binary | std::ios::trunc);
  out << rewritten;
  if (!out.flush()) return Status(Code::kIoError, "cannot write the file");
  return Status::Ok();
}

}  // namespace raftkv::conformance
