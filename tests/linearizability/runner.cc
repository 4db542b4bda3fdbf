#include "tests/linearizability/runner.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/linearizability/register_check.h"
#include "tests/linearizability/timeline.h"

namespace raftkv::linearizability {
namespace {

namespace fs = std::filesystem;

Result<std::string> ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return Error(Code::kIoError, path.string() + ": cannot be read");
  return text;
}

Result<std::vector<RegisterOp>> ReadRegisterLog(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  auto ops = ParseRegisterLog(text);
  if (!ops) return Error(ops.error().code(), path.string() + ": " + ops.error().message());
  return ops;
}

Status PrepareFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Status(Code::kIoError, folder.string() + ": " + error.message());
  return Status::Ok();
}

Status ExplainInto(const std::vector<RegisterOp>& ops, const RegisterValue& initial,
                   const fs::path& path, const RunOptions& options, Report* report) {
  RETURN_IF_ERROR(PrepareFolder(options.out));
  const RegisterViolation violation = ExplainRegisters(ops, initial, options.limits);
  const std::string name = path.filename().string();
  const fs::path html = options.out / (name + ".html");
  report->reason = violation.reason + "\n  timeline: " + html.string();
  return WriteTimeline(TimelineOf(violation, name), html);
}

Status ExplainInto(const History& history, const fs::path& path, const RunOptions& options,
                   Report* report) {
  const Violation violation = Explain(history, options.limits);
  const std::string name = path.filename().string();
  report->reason = violation.reason + "\n  timeline: " + (options.out / (name + ".html")).string();
  return WriteViolation(history, violation, options.out, name);
}

}  // namespace

std::optional<Format> FormatNamed(std::string_view name) {
  if (name == "register") return Format::kRegister;
  if (name == "kv") return Format::kMap;
  if (name == "raftkv") return Format::kRaftkv;
  return std::nullopt;
}

Format RecognizeFormat(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  for (std::string_view rest = text; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
    if (line.empty() || line.starts_with('#')) continue;
    if (!line.starts_with('{')) break;
    // Members of JSON are strings; those of Jepsen's maps are keywords, such as :process.
    const size_t member = line.find_first_not_of(kSpace, 1);
    if (member != line.npos && line[member] == '"') return Format::kRaftkv;
    break;
  }
  const auto ops = ParseRegisterLog(text);
  const bool has_keys =
      ops && std::ranges::any_of(*ops, [](const RegisterOp& op) { return !op.key.empty(); });
  return has_keys ? Format::kMap : Format::kRegister;
}

std::optional<Verdict> ExpectedVerdict(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.find(".not-linearizable.") != name.npos) return Verdict::kNotLinearizable;
  if (name.find(".linearizable.") != name.npos) return Verdict::kLinearizable;
  return std::nullopt;
}

std::vector<HistoryFile> FindFiles(const fs::path& folder) {
  std::vector<HistoryFile> files;
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    if (!entry.is_regular_file() || !ExpectedVerdict(entry.path())) continue;
    // The nearest folder that names a format; the one given counts under its own name too.
    for (fs::path parent = fs::absolute(entry.path()).parent_path(); parent != parent.root_path();
         parent = parent.parent_path()) {
      if (const auto format = FormatNamed(parent.filename().string())) {
        files.push_back({entry.path(), format});
        break;
      }
      if (fs::equivalent(parent, folder)) break;
    }
  }
  std::ranges::sort(files, {}, &HistoryFile::path);
  return files;
}

Result<Report> CheckFile(const HistoryFile& file, const RunOptions& options) {
  Result<Report> report;
  Format format = Format::kRaftkv;
  if (file.format) {
    format = *file.format;
  } else {
    ASSIGN_OR_RETURN(const std::string text, ReadText(file.path));
    format = RecognizeFormat(text);
  }
  if (format == Format::kRaftkv) {
    ASSIGN_OR_RETURN(const History history, ReadHistory(file.path));
    report = Check(history, options.limits);
    if (report && report->verdict == Verdict::kNotLinearizable && !options.out.empty()) {
      RETURN_UNEXPECTED_IF_ERROR(ExplainInto(history, file.path, options, &*report));
    }
    return report;
  }
  ASSIGN_OR_RETURN(const std::vector<RegisterOp> ops, ReadRegisterLog(file.path));
  const RegisterValue initial = format == Format::kMap ? RegisterValue("") : std::nullopt;
  report = CheckRegisters(ops, initial, options.limits);
  if (report->verdict == Verdict::kNotLinearizable && !options.out.empty()) {
    RETURN_UNEXPECTED_IF_ERROR(ExplainInto(ops, initial, file.path, options, &*report));
  }
  return report;
}

Tally RunFiles(const std::vector<HistoryFile>& files, const RunOptions& options) {
  Tally tally;
  for (const HistoryFile& file : files) {
    const Verdict expected = ExpectedVerdict(file.path).value_or(Verdict::kUnknown);
    const Result<Report> report = CheckFile(file, options);
    if (!report) {
      std::printf("FAIL %s: %s\n", file.path.c_str(), report.error().message().c_str());
    } else if (report->verdict != expected) {
      std::printf("FAIL %s: expected %s, found %s\n  %s\n", file.path.c_str(),
                  std::string(VerdictName(expected)).c_str(),
                  std::string(VerdictName(report->verdict)).c_str(), report->reason.c_str());
    } else {
      ++tally.passed;
      continue;
    }
    ++tally.failed;
  }
  return tally;
}

}  // namespace raftkv::linearizability
