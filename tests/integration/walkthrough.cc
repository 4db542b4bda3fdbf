#include "tests/integration/walkthrough.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "base/check.h"

namespace raftkv::testing {
namespace {

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string WithoutLastNewline(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// The nodes are the shell's children and would outlive it: they ask the kernel to end with it.
void WriteNodeWrapper(const std::string& path) {
  std::ofstream(path) << "#!/bin/sh\nexec setpriv --pdeathsig KILL " << NodeBinary() << " \"$@\"\n";
  CHECK(chmod(path.c_str(), 0755) == 0, "chmod");
}

}  // namespace

Walkthrough::Walkthrough(std::string readme) : readme_(std::move(readme)) {
  const std::string bin = tools_.path() + "/bin";
  std::filesystem::create_directories(bin);
  WriteNodeWrapper(bin + "/raftkv-node");
  const std::string built = std::filesystem::path(NodeBinary()).parent_path();
  std::filesystem::create_symlink(built + "/raftkvctl", bin + "/raftkvctl");

  const std::string pipe = tools_.path() + "/input";
  CHECK(mkfifo(pipe.c_str(), 0600) == 0, "mkfifo");
  const std::string path = "PATH=" + bin + ":" + std::getenv("PATH");
  // -m: job control, as a person has it.
  shell_ = std::make_unique<Process>(
      std::vector<std::string>{"env", path, "bash", "--norc", "--noprofile", "-m", pipe},
      directory_.path(), tools_.path() + "/log");
  input_ = open(pipe.c_str(), O_WRONLY | O_CLOEXEC);
  CHECK(input_ >= 0, "open");
}

Walkthrough::~Walkthrough() {
  (void)Type("kill -9 $(jobs -p); wait", "/dev/null");
  close(input_);
}

std::vector<Walkthrough::Step> Walkthrough::ParseBlock(const std::string& name) const {
  const std::string mark = "<!-- walk-through: " + name + " -->\n```sh\n";
  const size_t start = readme_.find(mark);
  if (start == std::string::npos) return {};
  const size_t begin = start + mark.size();
  std::istringstream lines(readme_.substr(begin, readme_.find("```", begin) - begin));
  std::vector<Step> steps;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# ") && !steps.empty()) {
      std::string& output = steps.back().output;
      output += (output.empty() ? "" : "\n") + line.substr(2);
    } else if (!line.empty()) {
      steps.push_back({line, ""});
    }
  }
  return steps;
}

int Walkthrough::Port(int port) {
  auto [entry, is_new] = ports_.try_emplace(port, 0);
  if (is_new) entry->second = ReservePort();
  return entry->second;
}

std::string Walkthrough::ReplacePorts(const std::string& text) {
  static const std::regex kPort("(:|--port )([0-9]{4,5})\\b");
  std::string replaced;
  auto at = text.cbegin();
  for (std::sregex_iterator match(text.begin(), text.end(), kPort), end; match != end; ++match) {
    replaced.append(at, (*match)[2].first);
    replaced += std::to_string(Port(std::stoi((*match)[2])));
    at = (*match)[2].second;
  }
  return replaced.append(at, text.cend());
}

std::optional<int> Walkthrough::Type(const std::string& line, const std::string& output_file) {
  const std::string status = tools_.path() + "/status" + std::to_string(++lines_);
  // The words around the line neither start a process nor change what it means.
  const std::string text = "{ " + line + "\n} > " + output_file + "\necho $? > " + status +
                           ".new\nmv " + status + ".new " + status + "\n";
  if (write(input_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return {};
  if (!WaitUntil([&] { return std::filesystem::exists(status) || !shell_->IsRunning(); },
                 std::chrono::minutes(2)) ||
      !shell_->IsRunning()) {
    return {};
  }
  return std::stoi(ReadFileOrEmpty(status));
}

std::string Walkthrough::RunStep(const Step& step) {
  const std::string file = tools_.path() + "/output";
  const std::optional<int> status = Type(step.command, file);
  if (!status) return step.command + "\ndoes not end";
  const std::string printed = ReadFileOrEmpty(file);
  const bool as_shown =
      step.command.starts_with("raftkvctl ") ||
      (step.output == "..." ? !printed.empty() : WithoutLastNewline(printed) == step.output);
  if (*status == 0 && as_shown) return "";
  return step.command + "\nprints (exit status " + std::to_string(*status) + ")\n" + printed +
         "\ninstead of\n" + step.output;
}

std::string Walkthrough::Run(const std::string& name,
                             const std::map<std::string, std::string>& words) {
  const std::vector<Step> steps = ParseBlock(name);
  if (steps.empty()) return "README.md has no walk-through " + name;
  for (Step step : steps) {
    step.command = ReplacePorts(step.command);
    step.output = ReplacePorts(step.output);
    for (const auto& [word, value] : words) step.command = Replace(step.command, word, value);
    std::string failure = RunStep(step);
    if (!failure.empty()) return failure;
  }
  return "";
}

std::string Walkthrough::Logs() const { return ReadFileOrEmpty(tools_.path() + "/log"); }

}  // namespace raftkv::testing
