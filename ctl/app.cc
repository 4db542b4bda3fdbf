#include "ctl/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <ostream>

#include "base/version.h"
#include "ctl/choices.h"
#include "ctl/completion.h"
#include "ctl/session.h"

namespace raftkv::ctl {

CLI::Validator Seconds() {
  constexpr double kMaxSeconds = 86'400;
  auto check = [](std::string& text) {
    double seconds = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && seconds > 0 && seconds <= kMaxSeconds) return std::string();
    return "'" + text + "' is not a time; give seconds above 0 and up to a day, such as 10 or 0.5";
  };
  return CLI::Validator(std::move(check), "");
}

CLI::Validator WholeNumber(uint64_t min) {
  auto check = [min](std::string& text) {
    uint64_t number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && number >= min) return std::string();
    return "'" + text + "' is not a whole number from " + std::to_string(min) + " on";
  };
  return CLI::Validator(std::move(check), "");
}

namespace {

constexpr const char* kFooter = R"(
Environment: RAFTKVCTL_ENDPOINTS and RAFTKVCTL_ADMIN_ENDPOINTS, as the options of these names.

Endpoints are tried in their order. A write goes to the next one only if it has certainly not been
carried out (no connection, or status 503 or 429); it is never sent again after an unknown outcome.

Exit status:
  0  done
  1  something unexpected: a bug, damaged data, an unreadable file, a server that is no node
  2  wrong usage, or a request that can never succeed
  3  the key or member does not exist
  4  a condition does not hold, nothing was changed; or the revision is compacted
  5  not available, certainly not done: no leader, no connection, too much in flight; try again
  6  outcome unknown: the write may have been carried out or not
  7  disk or quota full; reads and deletes still work
  8  the node or cluster is in the wrong state for this; the message says why)";

void AddGlobalOptions(CLI::App& app, Session& session) {
  app.add_option("--endpoints", session.endpoints,
                 "HOST:PORT,... of the nodes' HTTP APIs (default 127.0.0.1:7070)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->envname("RAFTKVCTL_ENDPOINTS");
  app.add_option("--admin-endpoints", session.admin_endpoints,
                 "HOST:PORT,... of the nodes' admin listeners (default: asked of --endpoints)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->envname("RAFTKVCTL_ADMIN_ENDPOINTS");
  app.add_option("-o,--output", session.format, "table (for people), json, or raw")
      ->transform(OneOf<Format>(
          {{"table", Format::kTable}, {"json", Format::kJson}, {"raw", Format::kRaw}}))
      ->option_text("table|json|raw");
  app.add_option("--timeout", session.timeout_s, "seconds for a request with all its attempts")
      ->check(Seconds())
      ->capture_default_str();
  app.add_option("--connect-timeout", session.connect_timeout_s, "seconds for one connection")
      ->check(Seconds())
      ->capture_default_str();
}

void AddOwnCommands(CLI::App& app, Session& session) {
  CLI::App* version = app.add_subcommand("version", "print the version");
  version->callback([&session] {
    session.action = [&session] {
      session.out << Version() << '\n';
      return Status::Ok();
    };
  });
  CLI::App* completion = app.add_subcommand("completion", "print a script for the shell");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, &session, shell] {
    session.action = [&app, &session, shell] {
      session.out << CompletionScript(app, *shell);
      return Status::Ok();
    };
  });
}

// A command is missing or unknown behind `at`, which was reached by `path`: says which there are.
std::string MissingCommand(const CLI::App& app, const CLI::App& at, const std::string& path) {
  std::string commands;
  for (const CLI::App* child : at.get_subcommands([](const CLI::App*) { return true; }))
    commands += (commands.empty() ? "" : ", ") + child->get_name();
  // Words that a command does not know fall through to the program itself.
  std::string unknown, option;
  for (const std::string& word : app.remaining(true)) {
    std::string& first = word.starts_with('-') ? option : unknown;
    if (first.empty()) first = word;
  }
  if (!unknown.empty())
    return "there is no command '" + path + unknown + "'; commands here: " + commands;
  return (option.empty() ? "" : "there is no option '" + option + "', and ") +
         "a command is missing; commands here: " + commands;
}

// What is wrong with the command line, in place of what the library says of it.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* at = &app;
  std::string path;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += at->get_name() + ' ';
  }
  bool needs_command = at->get_require_subcommand_min() > 0;
  if (needs_command && error.get_name() == "RequiredError") return MissingCommand(app, *at, path);
  return error.what();
}

}  // namespace

int ExitStatus(Code code) {
  switch (code) {
    case Code::kOk:
      return 0;
    case Code::kInvalidArgument:
      return 2;
    case Code::kNotFound:
      return 3;
    case Code::kConflict:
      return 4;
    case Code::kUnavailable:
    case Code::kResourceExhausted:
      return 5;
    case Code::kUnknownOutcome:
      return 6;
    case Code::kOutOfSpace:
      return 7;
    case Code::kFailedPrecondition:
    case Code::kNotServing:
      return 8;
    case Code::kCorruption:
    case Code::kIoError:
    case Code::kInternal:
      return 1;
  }
  return 1;
}

int Run(const std::vector<std::string>& args, std::istream& in, std::ostream& out,
        std::ostream& err) {
  Session session{.in = in, .out = out, .err = err};
  CLI::App app("raftkvctl: read, write and look after a raftkv cluster", "raftkvctl");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(kFooter);
  app.set_version_flag("--version", std::string(Version()), "Print the version and exit");
  AddGlobalOptions(app, session);
  AddKeyCommands(app, session);
  AddClusterCommands(app, session);
  AddMemberCommands(app, session);
  AddSnapshotCommands(app, session);
  AddProbeCommand(app, session);
  AddOwnCommands(app, session);
  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, out, err);
    err << "raftkvctl: " << UsageError(app, error) << "\nraftkvctl --help tells more.\n";
    return ExitStatus(Code::kInvalidArgument);
  }
  Status status = session.action();
  out.flush();
  if (status.ok() && !out) status = Status(Code::kIoError, "cannot write the output");
  if (!status.ok()) err << "raftkvctl: " << status.message() << '\n';
  return ExitStatus(status.code());
}

}  // namespace raftkv::ctl
