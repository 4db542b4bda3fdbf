// What the commands of raftkvctl share: the global options, the streams, and clients made from
// them.
//
// Thread-safety: none; one per run.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/status.h"
#include "ctl/admin.h"
#include "ctl/client.h"

namespace CLI {
class App;
}

namespace raftkv::ctl {

enum class Format { kTable, kJson, kRaw };

struct Session {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;

  std::vector<std::string> endpoints;        // empty: the default
  std::vector<std::string> admin_endpoints;  // empty: discovered
  double timeout_s = 10;
  double connect_timeout_s = 2;
  Format format = Format::kTable;

  // What the command line asks for; set while it is parsed.
  std::function<Status()> action;

  client::Http::Options HttpOptions() const;
  Result<client::Client> MakeClient() const;
  // For what any node can do. Without --admin-endpoints: the admin listeners of the nodes behind
  // --endpoints, which GET /cluster tells.
  Result<client::Admin> MakeAdmin() const;
  // For what concerns one node that may be blank: --admin-endpoints has to name one, or there is
  // none and it is the default of this machine.
  Result<client::Admin> MakeAdminOfOneNode() const;
  // The admin listener of the node that serves clients there.
  Result<client::Endpoint> AdminEndpointOf(const client::Endpoint& client_endpoint) const;
};

inline constexpr const char* kDefaultEndpoint = "127.0.0.1:7070";
inline constexpr const char* kDefaultAdminEndpoint = "127.0.0.1:7072";

// Adds the commands of one topic to the command line.
void AddKeyCommands(CLI::App& app, Session& session);
void AddClusterCommands(CLI::App& app, Session& session);
void AddMemberCommands(CLI::App& app, Session& session);
void AddSnapshotCommands(CLI::App& app, Session& session);
void AddProbeCommand(CLI::App& app, Session& session);

}  // namespace raftkv::ctl
