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

Status PrepareFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Status(Code::kIoError, folder.string() + ": " + error.message());
  return Status::Ok();
}

// Of either kind of violation.
template <typename T>
std::string ReasonAndFiles(const T& violation, const fs::path& html, const fs::path& prefix,
                           const RunOptions& options) {
  return violation.reason + "\n  timeline: " + html.string() +
         "\n  smallest prefix: " + prefix.string() +
         (violation.out_of_time ? OutOfTime(options.max_explain_time) : "");
}

Status ExplainInto(const std::vector<RegisterOp>& ops, const RegisterValue& initial,
                   const std::string& name, const RunOptions& options, Report* report) {
  RETURN_IF_ERROR(PrepareFolder(options.out));
  RegisterViolation violation =
      ExplainRegisters(ops, initial, options.limits, options.max_explain_time);
  if (violation.reason.empty()) violation.reason = report->reason;
  const fs::path html = options.out / (name + ".html");
  const fs::path prefix = options.out / (name + ".prefix.edn");
  report->reason = ReasonAndFiles(violation, html, prefix, options);
  std::ofstream out(prefix, std::ios::binary);
  if (!(out << FormatRegisterLog(violation.prefix) << std::flush)) {
    return Status(Code::kIoError, prefix.string() + ": cannot be written");
  }
  return WriteTimeline(TimelineOf(violation, name), html);
}

Status ExplainInto(const History& history, const std::string& name, const RunOptions& options,
                   Report* report) {
  Violation violation = Explain(history, options.limits, options.max_explain_time);
  if (violation.reason.empty()) violation.reason = report->reason;
  report->reason = ReasonAndFiles(violation, options.out / (name + ".html"),
                                  options.out / (name + ".prefix.jsonl"), options);
  return WriteViolation(history, violation, options.out, name);
}

void PrintDifference(const HistoryFile& file, Verdict expected, const Report& report) {
  std::printf("FAIL %s: expected %s, found %s\n  %s\n", file.path.c_str(),
              std::string(VerdictName(expected)).c_str(),
              std::string(VerdictName(report.verdict)).c_str(), report.reason.c_str());
}

Result<std::vector<RegisterOp>> ParseLog(const fs::path& path, std::string_view text) {
  auto ops = ParseRegisterLog(text);
  if (!ops) return Error(ops.error().code(), path.string() + ": " + ops.error().message());
  return ops;
}

}  // namespace

std::optional<Format> FormatNamed(std::string_view name) {
  if (name == "register") return Format::kRegister;
  if (name == "kv") return Format::kMap;
  if (name == "raftkv") return Format::kRaftkv;
  return std::nullopt;
}

Result<Format> RecognizeFormat(std::string_view text, std::optional<Format> folder) {
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
  if (!ops || ops->empty()) {
    if (folder) return *folder;
    return Error(Code::kInvalidArgument,
                 "the format cannot be told: it is neither JSON lines nor a log of operations (" +
                     (ops ? std::string("it is empty") : ops.error().message()) + ")");
  }
  if (folder && *folder != Format::kRaftkv) return *folder;
  const bool is_map = std::ranges::any_of(*ops, [](const RegisterOp& op) {
    return !op.key.empty() || op.function == RegisterOp::Function::kAppend;
  });
  return is_map ? Format::kMap : Format::kRegister;
}

std::optional<Verdict> ExpectedVerdict(const fs::path& path) {
  const std::string name = path.filename().string() + ".";
  if (name.find(".not-linearizable.") != name.npos) return Verdict::kNotLinearizable;
  if (name.find(".linearizable.") != name.npos) return Verdict::kLinearizable;
  return std::nullopt;
}

std::vector<HistoryFile> FindFiles(const fs::path& folder) {
  std::vector<HistoryFile> files;
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    // A link that leads nowhere counts, too: it cannot be read.
    if (entry.is_directory() || !ExpectedVerdict(entry.path())) continue;
    HistoryFile file{.path = entry.path()};
    file.name = fs::relative(file.path.parent_path(), folder) / file.path.filename();
    file.name = fs::path(file.name).lexically_normal().generic_string();
    std::ranges::replace(file.name, '/', '-');
    // The nearest folder that names a format; the one given counts under its own name too.
    for (fs::path parent = fs::absolute(entry.path()).parent_path();
         !file.folder && parent != parent.root_path(); parent = parent.parent_path()) {
      file.folder = FormatNamed(parent.filename().string());
      if (fs::equivalent(parent, folder)) break;
    }
    files.push_back(std::move(file));
  }
  std::ranges::sort(files, {}, &HistoryFile::path);
  return files;
}

Result<Report> CheckFile(const HistoryFile& file, const RunOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(file.path));
  Result<Format> format = file.format ? *file.format : RecognizeFormat(text, file.folder);
  if (!format) {
    return Error(format.error().code(), file.path.string() + ": " + format.error().message());
  }
  const std::string name = file.name.empty() ? file.path.filename().string() : file.name;
  const auto explains = [&](const Result<Report>& report) {
    if (!report || report->verdict != Verdict::kNotLinearizable) return false;
    options.on_violation(*report);
    return !options.out.empty();
  };
  const auto nothing = [&] {
    return Error(Code::kInvalidArgument, file.path.string() + ": there is no operation in it");
  };
  if (*format == Format::kRaftkv) {
    ASSIGN_OR_RETURN(const History history, ReadHistory(file.path));
    if (history.operations.empty()) return nothing();
    Result<Report> report = Check(history, options.limits);
    if (explains(report)) {
      RETURN_UNEXPECTED_IF_ERROR(ExplainInto(history, name, options, &*report));
    }
    return report;
  }
  ASSIGN_OR_RETURN(const std::vector<RegisterOp> ops, ParseLog(file.path, text));
  if (ops.empty()) return nothing();
  const RegisterValue initial = *format == Format::kMap ? RegisterValue("") : std::nullopt;
  Result<Report> report = CheckRegisters(ops, initial, options.limits);
  if (explains(report)) {
    RETURN_UNEXPECTED_IF_ERROR(ExplainInto(ops, initial, name, options, &*report));
  }
  return report;
}

Tally RunFiles(const std::vector<HistoryFile>& files, const RunOptions& options) {
  Tally tally;
  for (const HistoryFile& file : files) {
    const std::optional<Verdict> expected = ExpectedVerdict(file.path);
    RunOptions told = options;
    told.on_violation = [&](const Report& report) {
      if (!expected || *expected == Verdict::kNotLinearizable) return;
      PrintDifference(file, *expected, report);
      std::fflush(stdout);
    };
    const Result<Report> report = CheckFile(file, told);
    const bool violation = report && report->verdict == Verdict::kNotLinearizable;
    if (violation && !options.out.empty()) ++tally.explained;
    if (!expected) {
      std::printf("FAIL %s: its name has no verdict\n", file.path.c_str());
    } else if (!report) {
      std::printf("FAIL %s: %s\n", file.path.c_str(), report.error().message().c_str());
    } else if (report->verdict != *expected) {
      if (!violation) PrintDifference(file, *expected, *report);
      if (violation && !options.out.empty()) std::printf("  %s\n", report->reason.c_str());
    } else {
      ++tally.passed;
      continue;
    }
    ++tally.failed;
  }
  return tally;
}

}  // namespace raftkv::linearizability
