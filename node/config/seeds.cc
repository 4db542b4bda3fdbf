#include "node/config/seeds.h"

#include <algorithm>
#include <functional>
#include <map>

#include "node/config/values.h"

namespace raftkv {
namespace {

// The flags given of one dialect, by name.
using Given = std::map<std::string, std::string>;

std::unexpected<Status> Invalid(const std::string& message) {
  return Error(Code::kInvalidArgument, message);
}

bool IsNumber(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char ch) { return ch >= '0' && ch <= '9'; });
}

std::string ListOfFlags(const SeedDialect& dialect) {
  std::string text;
  for (const SeedFlag& flag : dialect.flags) text += (text.empty() ? "--" : " --") + flag.name;
  return text;
}

std::string Get(const Given& given, const std::string& name, const std::string& fallback) {
  auto found = given.find(name);
  return found == given.end() ? fallback : found->second;
}

bool IsOn(const Given& given, const std::string& name) {
  bool on = false;
  // The value was checked when the flag was read.
  return SetValue(SwitchValue{&on}, Get(given, name, "false")).ok() && on;
}

// Go programs write ":8080" for every interface; whoever dials that reaches the own machine.
std::string Dialable(const HostPort& address) {
  return address.IsWildcard() ? HostPort{"127.0.0.1", address.port}.ToString() : address.ToString();
}

Result<HostPort> ParseFlagAddress(const Given& given, const std::string& flag) {
  Result<HostPort> address = ParseHostPort(given.at(flag));
  if (!address) return Invalid("--" + flag + ": " + address.error().message());
  return address;
}

Result<HostPort> ParsePeerUrl(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const bool is_http = url.starts_with(kScheme);
  Result<HostPort> address = ParseHostPort(is_http ? url.substr(kScheme.size()) : url);
  if (!is_http || !address) {
    return Invalid(
        "--cluster: expected URLs such as http://127.0.0.1:12379, separated by commas, "
        "not '" +
        url + "'");
  }
  return address;
}

Result<std::vector<HostPort>> ParseCluster(const std::string& text) {
  std::vector<HostPort> peers;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t end = std::min(text.find(',', start), text.size());
    ASSIGN_OR_RETURN(HostPort peer, ParsePeerUrl(text.substr(start, end - start)));
    peers.push_back(peer);
    start = end + 1;
  }
  return peers;
}

// Settings that every dialect makes from the same three facts.
void AddAddresses(const HostPort& peer, const HostPort& client, const std::string& peer_flag,
                  const std::string& client_flag, SeedSettings* out) {
  out->explicit_settings.push_back({"peer.listen", peer.ToString(), peer_flag});
  out->explicit_settings.push_back({"client.listen", client.ToString(), client_flag});
  out->defaults.push_back({"peer.advertise", Dialable(peer), peer_flag});
  out->defaults.push_back({"client.advertise", Dialable(client), client_flag});
  out->defaults.push_back({"admin.listen", "127.0.0.1:0", client_flag});
}

Result<SeedSettings> TranslateRaftexample(const Given& given) {
  const std::string id = Get(given, "id", "1");
  ASSIGN_OR_RETURN(std::vector<HostPort> peers,
                   ParseCluster(Get(given, "cluster", "http://127.0.0.1:9021")));
  size_t number = 0;
  if (IsNumber(id) && id.size() < 6) number = std::stoul(id);
  if (number < 1 || number > peers.size()) {
    return Invalid("--id: expected the place of this node in --cluster, from 1 to " +
                   std::to_string(peers.size()) + ", not '" + id + "'");
  }
  Result<HostPort> client = ParseHostPort(":" + Get(given, "port", "9121"));
  if (!client) return Invalid("--port: expected a number from 0 to 65535");

  SeedSettings out;
  AddAddresses(peers[number - 1], *client, "--cluster", "--port", &out);
  out.explicit_settings.push_back({"client.dialect", "raftexample", "--port"});
  out.explicit_settings.push_back({"name", id, "--id"});
  out.defaults.push_back({"data_dir", "raftexample-" + id, "--id"});

  const bool join = IsOn(given, "join");
  std::string list;
  for (size_t i = 0; i < peers.size(); ++i) {
    if (join && i == number - 1) continue;
    list += (list.empty() ? "" : ",") + Dialable(peers[i]);
  }
  if (join && list.empty()) {
    return Invalid("--join: --cluster names no other node that could be joined");
  }
  const char* mode = join ? "join" : peers.size() == 1 ? "single" : "static";
  out.explicit_settings.push_back({"start.mode", mode, join ? "--join" : "--cluster"});
  if (peers.size() > 1) out.explicit_settings.push_back({"start.peers", list, "--cluster"});
  return out;
}

Result<SeedSettings> TranslateKvstore(const Given& given) {
  for (const char* needed : {"id", "addr", "http"}) {
    if (!given.contains(needed)) {
      return Invalid(std::string("--") + needed +
                     " is missing: --id NAME --addr HOST:PORT --http HOST:PORT, and --bootstrap or "
                     "--join HOST:PORT");
    }
  }
  const std::string& id = given.at("id");
  if (id.empty() || id.find('/') != std::string::npos || id.starts_with('.')) {
    return Invalid("--id: expected a name without '/' that does not begin with a dot, not '" + id +
                   "': the data goes to data/NAME");
  }
  const bool bootstrap = IsOn(given, "bootstrap");
  if (bootstrap && given.contains("join")) {
    return Invalid("--bootstrap makes a new cluster and --join joins one: use one of them");
  }
  ASSIGN_OR_RETURN(const HostPort peer, ParseFlagAddress(given, "addr"));
  ASSIGN_OR_RETURN(const HostPort client, ParseFlagAddress(given, "http"));
  SeedSettings out;
  AddAddresses(peer, client, "--addr", "--http", &out);
  out.explicit_settings.push_back({"name", id, "--id"});
  out.defaults.push_back({"data_dir", "data/" + id, "--id"});
  if (given.contains("join")) {
    ASSIGN_OR_RETURN(const HostPort member, ParseFlagAddress(given, "join"));
    out.explicit_settings.push_back({"start.mode", "join", "--join"});
    out.explicit_settings.push_back({"start.peers", Dialable(member), "--join"});
  } else if (bootstrap) {
    out.explicit_settings.push_back({"start.mode", "single", "--bootstrap"});
  }
  return out;
}

Result<SeedSettings> TranslateRaft(const Given& given) {
  for (const char* needed : {"raft", "api"}) {
    if (!given.contains(needed)) {
      return Invalid(std::string("-") + needed +
                     " is missing: -raft HOST:PORT -api HOST:PORT -state_dir DIR, and "
                     "-join HOST:PORT on all but the first node");
    }
  }
  ASSIGN_OR_RETURN(const HostPort peer, ParseFlagAddress(given, "raft"));
  ASSIGN_OR_RETURN(const HostPort client, ParseFlagAddress(given, "api"));
  SeedSettings out;
  AddAddresses(peer, client, "-raft", "-api", &out);
  out.explicit_settings.push_back({"client.dialect", "shaj13", "-api"});
  const std::string name = "raft-" + std::to_string(peer.port);
  out.defaults.push_back({"name", name, "-raft"});
  if (given.contains("state_dir")) {
    out.explicit_settings.push_back({"data_dir", given.at("state_dir"), "-state_dir"});
  } else {
    out.defaults.push_back({"data_dir", name, "-raft"});
  }
  if (!given.contains("join")) {
    out.explicit_settings.push_back({"start.mode", "single", "-raft"});
    return out;
  }
  ASSIGN_OR_RETURN(const HostPort member, ParseFlagAddress(given, "join"));
  out.explicit_settings.push_back({"start.mode", "join", "-join"});
  out.explicit_settings.push_back({"start.peers", Dialable(member), "-join"});
  return out;
}

const SeedDialect* FindDialect(const std::string& name) {
  return &*std::ranges::find(SeedDialects(), name, &SeedDialect::name);
}

// The dialect of the first flag that only one dialect has; else what --id and --join alone mean.
Result<const SeedDialect*> Detect(const std::vector<FlagUse>& uses) {
  const std::vector<SeedDialect>& dialects = SeedDialects();
  const SeedDialect* found = nullptr;
  std::string decisive;
  const FlagUse* id = nullptr;
  const FlagUse* join = nullptr;
  for (const FlagUse& use : uses) {
    if (use.name == "id") id = &use;
    if (use.name == "join") join = &use;
    auto has = [&](const SeedDialect& dialect) { return dialect.Has(use.name); };
    if (std::ranges::count_if(dialects, has) != 1) continue;
    const SeedDialect* owner = &*std::ranges::find_if(dialects, has);
    if (found != nullptr && owner != found) {
      return Invalid("--" + decisive + " and --" + use.name +
                     " do not go together: the first is of " + ListOfFlags(*found) +
                     ", the other of " + ListOfFlags(*owner));
    }
    found = owner;
    decisive = use.name;
  }
  if (found != nullptr && id != nullptr && !found->Has("id")) {
    return Invalid("--" + decisive + " and --id do not go together: the first is of " +
                   ListOfFlags(*found));
  }
  if (found != nullptr) return found;
  if (id != nullptr)
    return FindDialect(IsNumber(id->value.value_or("")) ? "raftexample" : "kvstore");
  return join != nullptr ? FindDialect("raft") : nullptr;
}

Result<Given> Collect(const SeedDialect& dialect, const std::vector<FlagUse>& uses) {
  Given given;
  for (const FlagUse& use : uses) {
    auto flag = std::ranges::find(dialect.flags, use.name, &SeedFlag::name);
    if (flag == dialect.flags.end()) continue;
    if (!flag->is_switch && !use.value) return Invalid("--" + use.name + " needs a value");
    if (flag->is_switch && use.separate) {
      return Invalid("--" + use.name + " takes no value here (it goes with " +
                     ListOfFlags(dialect) + ")");
    }
    bool on = false;
    const std::string value = use.value.value_or("true");
    if (flag->is_switch && !SetValue(SwitchValue{&on}, value).ok()) {
      return Invalid("--" + use.name + ": expected true or false");
    }
    given[use.name] = value;
  }
  return given;
}

}  // namespace

bool SeedDialect::Has(const std::string& flag) const {
  return std::ranges::count(flags, flag, &SeedFlag::name) > 0;
}

const std::vector<SeedDialect>& SeedDialects() {
  static const std::vector<SeedDialect> kDialects = {
      {"raftexample",
       "raftkv-node --id 1 --cluster http://127.0.0.1:12379 --port 12380",
       {{"id", false, "place of this node in --cluster, from 1 (default 1)"},
        {"cluster", false, "peer URLs of all nodes (default http://127.0.0.1:9021)"},
        {"port", false, "port of the HTTP API on every interface (default 9121)"},
        {"join", true, "join the cluster instead of making it"}},
       TranslateRaftexample},
      {"kvstore",
       "raftkv-node --id node1 --addr localhost:9001 --http :8001 --bootstrap",
       {{"id", false, "name of this node; the data goes to data/NAME"},
        {"addr", false, "where the other nodes connect, and what they dial"},
        {"http", false, "where the HTTP API listens"},
        {"bootstrap", true, "make a new cluster of this node alone"},
        {"join", false, "--addr of a node whose cluster to join"}},
       TranslateKvstore},
      {"raft",
       "raftkv-node -state_dir data/1 -raft :8080 -api :9090",
       {{"raft", false, "where the other nodes connect"},
        {"api", false, "where the HTTP API listens"},
        {"join", false, "-raft address of a node whose cluster to join; without it, a new cluster"},
        {"state_dir", false, "data directory (default raft-PORT, with the port of -raft)"}},
       TranslateRaft}};
  return kDialects;
}

Result<SeedSettings> TranslateSeedFlags(const std::vector<FlagUse>& uses) {
  ASSIGN_OR_RETURN(const SeedDialect* dialect, Detect(uses));
  if (dialect == nullptr) return SeedSettings{};
  ASSIGN_OR_RETURN(const Given given, Collect(*dialect, uses));
  return dialect->translate(given);
}

}  // namespace raftkv
