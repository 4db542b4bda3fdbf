// The settings of raftkv-node, from flags, environment and a YAML file. One table (table.h)
// describes them all: flag, variable, key, default, unit, limits and help have one source, and
// docs/configuration.md is printed from it.
//
// Precedence: flag > environment > file > default. The flags of the three example programs that
// raftkv replaces are understood as well (seeds.h).
//
// Thread-safety: functions without shared state.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "node/runtime/options.h"
#include "node/server/http.h"

namespace raftkv {

// Of a budget of memory, whether it is set or follows from the machine.
inline constexpr uint64_t kMinBudgetBytes = 1 << 20;

struct NodeConfig {
  runtime::Options node;
  std::string client_listen = "127.0.0.1:7070";
  std::string admin_listen = "127.0.0.1:7072";
  std::string metrics_listen;             // empty: none
  std::string client_dialect = "native";  // see server::ParseDialect
  uint64_t max_value_bytes = 1 << 20;
  // 0: what the machine and this process's control group allow. Of it follow
  // node.max_inflight_bytes, node.max_uncommitted_bytes and http.max_buffered_bytes, if these are
  // 0.
  uint64_t memory_bytes = 0;
  Duration request_timeout = std::chrono::seconds(5);
  server::Limits http;
  uint64_t max_admin_connections = 256;
  std::string log_level = "info";   // see log::ParseLevel
  std::string log_format = "text";  // see log::ParseFormat
  Duration stop_grace = std::chrono::seconds(10);

  NodeConfig();  // the defaults that options.h leaves empty
};

// What the command line asks for.
struct Invocation {
  enum class Kind { kRun, kPrint };
  Kind kind = Kind::kRun;
  NodeConfig config;  // kRun: complete and valid
  std::string text;   // kPrint: help or version, for stdout
};

// `args` without the program's name. Errors (kInvalidArgument, kIoError for the file) name the
// flag, variable or file and line, and what to write instead.
Result<Invocation> ParseCommandLine(const std::vector<std::string>& args,
                                    const std::map<std::string, std::string>& environment);

// Rules that concern more than one setting. Fills in what follows from others (peer.advertise from
// peer.listen, budgets of memory from the machine).
Status CompleteAndValidate(NodeConfig* config);

// The start.* settings, of a node whose directory is blank: any other one does not follow them
// (runtime::IsBlank), whatever has become of its address or of the list meanwhile.
Status ValidateBootstrap(const runtime::Options& node);

}  // namespace raftkv
