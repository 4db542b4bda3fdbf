#include "tests/integration/walkthrough.h"

#include <signal.h>

#include <filesystem>
#include <regex>
#include <sstream>

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

}  // namespace

Walkthrough::Walkthrough(std::string readme) : readme_(std::move(readme)) {
  const std::string folder = std::filesystem::path(NodeBinary()).parent_path();
  const std::string path = std::getenv("PATH");
  if (!path.starts_with(folder + ":")) setenv("PATH", (folder + ":" + path).c_str(), 1);
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

void Walkthrough::StartJob(const std::string& command) {
  const std::string log = directory() + "/job" + std::to_string(jobs_.size() + 1) + ".log";
  jobs_.push_back(std::make_unique<Process>(
      std::vector<std::string>{"bash", "-c", "exec " + command}, directory(), log));
}

std::string Walkthrough::RunStep(const Step& step) {
  static const std::regex kKill("kill (-9 )?%([0-9]+)");
  static const std::regex kWait("wait %([0-9]+)");
  if (step.command.ends_with(" &")) {
    StartJob(step.command.substr(0, step.command.size() - 2));
    return "";
  }
  if (std::smatch match; std::regex_match(step.command, match, kKill)) {
    Process& job = Job(std::stoul(match[2]));
    job.Signal(match[1].matched ? SIGKILL : SIGTERM);
    return job.Wait() >= 0 ? "" : step.command + ": the node does not end";
  }
  if (std::smatch match; std::regex_match(step.command, match, kWait)) {
    const int status = Job(std::stoul(match[1])).Wait();
    return status == 0 ? "" : step.command + ": exit status " + std::to_string(status);
  }
  CommandResult result;
  const bool ok = WaitUntil([&] {
    result = RunShell(step.command, directory());
    return result.status == 0 && WithoutLastNewline(result.output) == step.output;
  });
  if (ok) return "";
  return step.command + "\nprints (exit status " + std::to_string(result.status) + ")\n" +
         result.output + "\ninstead of\n" + step.output;
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

std::string Walkthrough::Logs() const {
  std::string text;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    text += "--- job " + std::to_string(i + 1) + "\n" + jobs_[i]->Log();
  }
  return text;
}

}  // namespace raftkv::testing
