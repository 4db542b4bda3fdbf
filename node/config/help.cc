#include <algorithm>
#include <sstream>

#include "node/config/seeds.h"
#include "node/config/table.h"

namespace raftkv {
namespace {

constexpr size_t kIndent = 6;
constexpr size_t kWidth = 96;

constexpr const char* kUsage = R"(raftkv-node: one member of a replicated key-value store.

  raftkv-node --start-mode single                        a new cluster of one node
  raftkv-node --start-mode join --start-peers HOST:PORT  join the cluster of a running member
  raftkv-node --config FILE                              settings from a YAML file

Each setting is a flag, an environment variable (--raft-tick is RAFTKV_RAFT_TICK) and a key of the
YAML file (raft: {tick: 100ms}); a flag wins over the variable, the variable over the file. Flags are
written -flag VALUE, --flag VALUE or --flag=VALUE; those of type true|false without a value, or with
=VALUE. Bytes: 65536, 64KiB, 1MiB, 2GiB. Durations: 500us, 100ms, 2s, 1m30s, 1h.
)";

constexpr const char* kOwnFlags = R"(Without a key of their own
  --config FILE  (RAFTKV_CONFIG)
      Read settings from this YAML file. Unknown keys are errors.
  --help, -h
      This text. --help=markdown prints it as docs/configuration.md.
  --version
      The version.
)";

// Breaks `text` into lines of at most kWidth columns.
void AppendWrapped(std::ostringstream& out, const std::string& text) {
  std::istringstream words(text);
  size_t column = 0;
  for (std::string word; words >> word;) {
    if (column == 0 || column + 1 + word.size() > kWidth) {
      if (column > 0) out << '\n';
      out << std::string(kIndent, ' ') << word;
      column = kIndent + word.size();
    } else {
      out << ' ' << word;
      column += 1 + word.size();
    }
  }
  out << '\n';
}

std::string DefaultOf(const Setting& setting) {
  const std::string value = FormatValue(setting.value);
  return value.empty() ? setting.default_text : value;
}

std::string EscapePipes(const std::string& text) {
  std::string escaped;
  for (char ch : text) escaped += ch == '|' ? "\\|" : std::string(1, ch);
  return escaped;
}

constexpr const char* kMarkdownIntro = R"(# Configuration of raftkv-node

This file is printed by `raftkv-node --help=markdown`.

Each setting is a flag, an environment variable and a key of the YAML file that `--config` (or
`RAFTKV_CONFIG`) names. They follow from the key: `raft.election_ticks` is `--raft-election-ticks`,
`RAFTKV_RAFT_ELECTION_TICKS`, and in the file

```yaml
raft:
  election_ticks: 10
```

A flag wins over the variable, the variable over the file, the file over the default. Unknown flags,
keys, and variables with the prefix `RAFTKV_` are errors that name the nearest known one. Exceptions
are what Kubernetes sets for a Service whose name begins with raftkv (`RAFTKV_SERVICE_HOST`,
`RAFTKV_DB_PORT_7070_TCP_ADDR` and the like) and the variables of this project's tests.

Flags follow Go's syntax: `-flag VALUE`, `--flag VALUE`, `--flag=VALUE`; a switch (`true|false`)
stands alone or takes its value after `=`. Bytes are written `65536`, `64KiB` (or `64Ki`), `1MiB`,
`2GiB`; durations `500us`, `100ms`, `2s`, `1m30s`, `1h`.
)";

constexpr const char* kMarkdownSeeds = R"(
## Flags of the programs that raftkv replaces

Three sets of flags of older example programs work as well. A set is recognized by its flags; flags of
two sets, or such a flag beside a native one for the same setting, are an error that names both. All
other settings may be added. The client and peer addresses come from these flags, the data directory
carries the node's name, and the admin listener takes a free port of 127.0.0.1 that is written to
`DATA_DIR/admin.addr` (unless `admin.listen` is set), so that several nodes on one machine, even when
they are started in the same folder, share neither a port nor a directory.
)";

}  // namespace

std::string HelpText() {
  NodeConfig defaults;
  std::ostringstream out;
  out << kUsage;
  for (const SettingGroup& group : MakeTable(&defaults)) {
    out << '\n' << group.title << '\n';
    for (const Setting& setting : group.settings) {
      out << "  --" << setting.FlagName() << ' ' << TypeName(setting.value)
          << "  (default: " << DefaultOf(setting) << ")\n";
      AppendWrapped(out, setting.help);
    }
  }
  out << '\n' << kOwnFlags;
  for (const SeedDialect& dialect : SeedDialects()) {
    out << "\nAs " << dialect.name << ": " << dialect.usage << '\n';
    for (const SeedFlag& flag : dialect.flags)
      out << "  --" << flag.name << "  " << flag.help << '\n';
  }
  return out.str();
}

std::string HelpMarkdown() {
  NodeConfig defaults;
  std::ostringstream out;
  out << kMarkdownIntro;
  for (const SettingGroup& group : MakeTable(&defaults)) {
    out << "\n## " << group.title
        << "\n\n| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n";
    for (const Setting& setting : group.settings) {
      out << "| `" << setting.path << "` | " << EscapePipes(TypeName(setting.value)) << " | "
          << DefaultOf(setting) << " | " << EscapePipes(setting.help) << " |\n";
    }
  }
  out << kMarkdownSeeds;
  for (const SeedDialect& dialect : SeedDialects()) {
    out << "\n`" << dialect.usage << "`\n\n| Flag | Meaning |\n| --- | --- |\n";
    for (const SeedFlag& flag : dialect.flags)
      out << "| `--" << flag.name << "` | " << flag.help << " |\n";
  }
  return out.str();
}

}  // namespace raftkv
