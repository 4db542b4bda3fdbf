// The flags of the three programs that raftkv goes back to, as words for native settings:
//
//   raftexample   --id --cluster --port --join           (etcd's contrib/raftexample)
//   kvstore       --id --addr --http --bootstrap --join  (the hashicorp/raft tutorial)
//   raft          -raft -api -join -state_dir            (the shaj13/raft tutorial)
//
// Which set is meant follows from the flags used. Names with meaning in two sets at once decide
// nothing alone; flags of two sets together are an error.
//
// Several nodes on one machine with only these flags never share a port or a directory: the client
// and peer ports are given, the admin address is a free port of 127.0.0.1 (written to
// DATA_DIR/admin.addr), the data directory carries the node's name.
//
// Thread-safety: functions without shared state.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace raftkv {

// A flag as it stands on the command line.
struct FlagUse {
  std::string name;                  // without dashes
  std::optional<std::string> value;  // after '=' or as the next word
  bool separate = false;             // the value was a word of its own
};

struct SeedFlag {
  std::string name;
  bool is_switch;
  std::string help;
};

// A native setting that follows from seed flags.
struct Assignment {
  std::string path;
  std::string value;
  std::string source;  // "--port"
};

struct SeedSettings {
  std::vector<Assignment> explicit_settings;  // as strong as flags
  std::vector<Assignment> defaults;           // as weak as defaults
};

struct SeedDialect {
  std::string name;
  std::string usage;
  std::vector<SeedFlag> flags;
  Result<SeedSettings> (*translate)(const std::map<std::string, std::string>& given);
  bool Has(const std::string& flag) const;
};

const std::vector<SeedDialect>& SeedDialects();

// Translates the flags among `uses` that belong to a seed; nothing if there are none. `uses` may
// hold native flags too.
Result<SeedSettings> TranslateSeedFlags(const std::vector<FlagUse>& uses);

}  // namespace raftkv
