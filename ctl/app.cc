#include "ctl/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <ostream>

#include "base/version.h"
#include "ctl/completion.h"
#include "ctl/session.h"

namespace raftkv::ctl {
namespace {

constexpr const char* kFooter = R"(
Environment: RAFTKVCTL_ENDPOINTS and RAFTKVCTL_ADMIN_ENDPOINTS, as the options of these names.

Endpoints are tried in their order. A write goes to the next one only if it has certainly not been
carried out (no connection, or status 503 or 429); it is never sent again after an unknown outcome.

Exit status:
  0  done
  1  something unexpected: a bug, damaged data, an unreadable file
  2  wrong usage, or a request that can never succeed
  3  the key or member does not exist
  4  a condition does not hold, nothing was changed; or the revision is compacted
  5  not available, certainly not done: no leader, no connection, too much in flight; try again
  6  outcome unknown: the write may have been carried out or not
  7  disk or quota full; reads and deletes still work
  8  the node or cluster is in the wrong state for this; the message says why)";

void AddGlobalOptions(CLI::App& app, Session& session) {
  static const std::map<std::string, Format> kFormats = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"raw", Format::kRaw}};
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
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("table|json|raw");
  app.add_option("--timeout", session.timeout_s, "seconds for a request with all its attempts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--connect-timeout", session.connect_timeout_s, "seconds for one connection")
      ->check(CLI::PositiveNumber)
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
    return app.exit(error, out, err) == 0 ? 0 : ExitStatus(Code::kInvalidArgument);
  }
  Status status = session.action();
  out.flush();
  if (status.ok() && !out) status = Status(Code::kIoError, "cannot write the output");
  if (!status.ok()) err << "raftkvctl: " << status.message() << '\n';
  return ExitStatus(status.code());
}

}  // namespace raftkv::ctl
