// The table of settings: one row each. Flag, variable and YAML key follow from the path:
// "raft.election_ticks" is --raft-election-ticks, RAFTKV_RAFT_ELECTION_TICKS, and in the file
//   raft:
//     election_ticks: 10
//
// Thread-safety: functions without shared state.
#pragma once

#include <string>
#include <vector>

#include "node/config/config.h"
#include "node/config/values.h"

namespace raftkv {

struct Setting {
  std::string path;
  Value value;       // with its place in the NodeConfig that the table was made for
  std::string help;  // a sentence or two for an operator
  // What the help shows instead of an empty default.
  std::string default_text = "";

  std::string FlagName() const;  // without dashes
  std::string VariableName() const;
};

struct SettingGroup {
  std::string title;
  std::vector<Setting> settings;
};

// All settings, bound to `config`, in the order of the help.
std::vector<SettingGroup> MakeTable(NodeConfig* config);

// --help: the native settings, then the flags of the seeds.
std::string HelpText();
// --help=markdown: docs/configuration.md.
std::string HelpMarkdown();

}  // namespace raftkv
