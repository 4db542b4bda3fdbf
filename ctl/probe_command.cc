#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "ctl/http.h"
#include "ctl/session.h"

namespace raftkv::ctl {
namespace {

struct ProbeArgs {
  std::string address;
  std::string path = "/readyz";
};

// No connection, 503 and 429 are tried again until --timeout.
Status Probe(const Session& session, const ProbeArgs& args) {
  if (!args.path.starts_with('/')) {
    return Status(Code::kInvalidArgument, "\"" + args.path + "\": a path begins with /");
  }
  ASSIGN_OR_RETURN_STATUS(client::Endpoint endpoint, client::ParseEndpoint(args.address));
  client::Http http({endpoint}, session.HttpOptions());
  ASSIGN_OR_RETURN_STATUS(
      client::Answer answer,
      http.Send({.method = "GET", .target = args.path, .safe = true, .await_server = true}));
  if (answer.status < 200 || answer.status > 299) {
    return Status(Code::kFailedPrecondition, args.address + args.path + " answers " +
                                                 std::to_string(answer.status) + ": " +
                                                 client::ProblemOf(answer).message());
  }
  session.out << answer.body;
  if (!answer.body.ends_with('\n')) session.out << '\n';
  return Status::Ok();
}

}  // namespace

void AddProbeCommand(CLI::App& app, Session& session) {
  auto args = std::make_shared<ProbeArgs>();
  CLI::App* probe = app.add_subcommand(
      "probe", "wait until an HTTP server (a node's admin listener, the operator) says it is well");
  probe->add_option("address", args->address, "HOST:PORT")->required();
  probe->add_option("path", args->path, "what to ask for")->capture_default_str();
  probe->callback(
      [&session, args] { session.action = [&session, args] { return Probe(session, *args); }; });
}

}  // namespace raftkv::ctl
