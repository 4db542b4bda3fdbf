#include "node/config/table.h"

#include <algorithm>
#include <cctype>
#include <limits>

namespace raftkv {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kKiB = uint64_t{1} << 10;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
constexpr char kShareOfMemory[] =
    "an eighth of what limits.memory_bytes has beyond 64MiB, at most 256MiB";

SettingGroup MakeIdentity(NodeConfig* c) {
  return {
      "Identity and data",
      {{"name", TextValue{&c->node.name},
        "Name of this member, for people: it is shown in the member list. The member's identity "
        "is a random ID in the data directory.",
        "the host name"},
       {"data_dir", TextValue{&c->node.data_dir},
        "Directory of this member's log, state and identity. Made if it is missing. One process "
        "at a time."}}};
}

SettingGroup MakeListeners(NodeConfig* c) {
  return {
      "Addresses",
      {{"client.listen", AddressValue{&c->client_listen},
        "Where the HTTP API for clients listens. An empty host means every interface; port 0 takes "
        "a free one."},
       {"client.advertise", AddressValue{&c->node.client_advertise},
        "The HTTP address that the member list shows for this member.",
        "client.listen, unless that is every interface"},
       {"client.dialect", ChoiceValue{&c->client_dialect, {"native", "raftexample", "shaj13"}},
        "Routes of another program that are served beside /kv and /cluster. The flags of those "
        "programs (below) set it."},
       {"peer.listen", AddressValue{&c->node.peer_listen}, "Where other members connect."},
       {"peer.advertise", AddressValue{&c->node.peer_advertise},
        "The address at which the other members reach this one. Needed where peer.listen is every "
        "interface.",
        "peer.listen"},
       {"admin.listen", AddressValue{&c->admin_listen},
        "Where the admin API, health checks and metrics listen. Whoever reaches it can change the "
        "membership. The bound address is written to DATA_DIR/admin.addr."},
       {"metrics.listen", AddressValue{&c->metrics_listen},
        "A further address, for health checks and metrics alone: whoever asks for these need not "
        "reach the admin address.",
        "none"}}};
}

SettingGroup MakeStart(NodeConfig* c) {
  return {
      "First start (a directory that belongs to a cluster already starts as what it is)",
      {{"start.mode", StartModeValue{&c->node.bootstrap.mode},
        "wait: stay blank until initialize or join arrives on the admin address. single: make a "
        "new cluster of this node alone. static: make a new cluster of start.peers. join: join "
        "the cluster of start.peers as a learner that becomes a voter once it has caught up. "
        "restore: "
        "make a new cluster of this node alone with the content of start.snapshot."},
       {"start.snapshot", TextValue{&c->node.bootstrap.snapshot},
        "restore: a file that raftkvctl snapshot save has written.", "none"},
       {"start.peers", AddressListValue{&c->node.bootstrap.addresses},
        "static: the peer addresses of all first members, this node's own among them, the same "
        "list in the same order on each. join: peer addresses of members.",
        "none"},
       {"start.rebuild_damaged", SwitchValue{&c->node.rebuild_damaged},
        "A member whose data are damaged moves them aside (DATA_DIR/damaged-...) and lets the "
        "leader "
        "replace it by a new member, as soon as there is a leader without it. Else, and with "
        "start.mode wait or restore, it only says so on its admin address."}}};
}

SettingGroup MakeRaft(NodeConfig* c) {
  runtime::Options& o = c->node;
  return {
      "Raft",
      {{"raft.tick", DurationValue{&o.tick, milliseconds(1), seconds(10)},
        "The unit of the two settings below. The same on every member."},
       {"raft.election_ticks", IntValue{&o.election_ticks, 3, 1000},
        "A follower that hears no leader for this many ticks (to twice as many, by chance; to a "
        "quarter more if its connection to the leader broke) starts an election."},
       {"raft.heartbeat_ticks", IntValue{&o.heartbeat_ticks, 1, 100},
        "Ticks between a leader's heartbeats. At most a third of raft.election_ticks."},
       {"raft.pre_vote", SwitchValue{&o.pre_vote},
        "Ask whether an election could be won before starting one, so that a member that comes "
        "back "
        "disturbs nobody."},
       {"raft.check_quorum", SwitchValue{&o.check_quorum},
        "A leader that cannot reach a majority for an election timeout steps down."},
       {"raft.max_append_bytes", BytesValue{&o.max_append_bytes, kKiB, 32 * kMiB},
        "Most bytes of entries in one message to a follower (one entry always fits)."},
       {"raft.max_inflight_appends", IntValue{&o.max_inflight_appends, 1, 65536},
        "Most messages on their way to one follower without an answer."},
       {"raft.max_inflight_append_bytes", BytesValue{&o.max_inflight_append_bytes, kKiB, 16 * kGiB},
        "Most bytes of entries in these messages. At least raft.max_append_bytes."},
       {"raft.max_uncommitted_bytes",
        BytesValue{&o.max_uncommitted_bytes, kMinBudgetBytes, 16 * kGiB},
        "Most bytes of entries that a leader takes in before they are committed; beyond it writes "
        "are refused with 429.",
        kShareOfMemory},
       {"raft.max_apply_bytes", BytesValue{&o.max_apply_bytes, kKiB, 256 * kMiB},
        "Most bytes of committed entries that are applied in one batch."}}};
}

SettingGroup MakeLimits(NodeConfig* c) {
  runtime::Options& o = c->node;
  return {
      "Limits",
      {{"limits.inflight_requests", CountValue{&o.max_inflight_requests, 1, 10'000'000},
        "Most writes, and most reads, that wait for the cluster at once; beyond it 429."},
       {"limits.inflight_bytes", BytesValue{&o.max_inflight_bytes, kMinBudgetBytes, 16 * kGiB},
        "Most bytes of writes that wait at once; beyond it 429.", kShareOfMemory},
       {"limits.memory_bytes", BytesValue{&c->memory_bytes, 64 * kMiB, 16384 * kGiB},
        "Memory that this node may use. limits.inflight_bytes, raft.max_uncommitted_bytes and "
        "http.max_buffered_bytes follow from it where they are not set.",
        "what the machine and the control group allow"},
       {"limits.min_free_bytes", BytesValue{&o.min_free_bytes, 0, 1024 * kGiB},
        "Refuse writes with 507 while the file system of data_dir has less free space than this. "
        "Reads and deletes go on."},
       {"limits.quota_bytes", BytesValue{&o.quota_bytes, 0, kNoLimit},
        "Refuse writes with 507 while the state is larger than this. 0: no quota."},
       {"limits.snapshot_bytes_per_second",
        BytesValue{&o.snapshot_bytes_per_second, 0, 1024 * kGiB},
        "Rate at which a snapshot is sent to a follower. 0: unlimited."}}};
}

SettingGroup MakeStorage(NodeConfig* c) {
  runtime::Options& o = c->node;
  return {
      "Storage",
      {{"storage.reserve_bytes", BytesValue{&o.reserve_bytes, 0, 1024 * kGiB},
        "Size of the file DATA_DIR/reserve, which keeps space. It is removed when less than half "
        "of "
        "it, or of limits.min_free_bytes, is free beside it, so that deletes, compaction and the "
        "log go on, and made again when there is space. 0: none."},
       {"storage.log_keep_entries", CountValue{&o.log_keep_entries, 0, 1'000'000'000},
        "Entries that stay in the log behind the flushed state, for followers that lag. A follower "
        "that lags further gets a snapshot."},
       {"storage.log_keep_bytes", BytesValue{&o.log_keep_bytes, 0, 1024 * kGiB},
        "As above, in bytes: whichever limit is reached first."},
       {"storage.flush_after_bytes", BytesValue{&o.flush_after_bytes, 64 * kKiB, 16 * kGiB},
        "The state is flushed to disk, and the log cut, after this much applied log."},
       {"storage.log_cache_bytes", BytesValue{&o.log_cache_bytes, 64 * kKiB, 16 * kGiB},
        "Memory for recent log entries."},
       {"storage.state_memtable_bytes", BytesValue{&o.state_memtable_bytes, kMiB, 4 * kGiB},
        "Memory for recent changes of the state."},
       {"storage.state_cache_bytes", BytesValue{&o.state_cache_bytes, 64 * kKiB, 64 * kGiB},
        "Memory for blocks of the state that were read."}}};
}

SettingGroup MakeHistory(NodeConfig* c) {
  runtime::Options& o = c->node;
  return {"History (old revisions stay readable until both limits have passed)",
          {{"history.keep_revisions", CountValue{&o.compact_keep_revisions, 0, kNoLimit},
            "Keep at least this many revisions. 0: no limit by count."},
           {"history.keep_age", DurationValue{&o.compact_keep_age, Duration::zero(), hours(87600)},
            "Keep revisions for at least this long. 0: no limit by age."}}};
}

SettingGroup MakeHttp(NodeConfig* c) {
  server::Limits& h = c->http;
  return {
      "HTTP (of the client address)",
      {{"http.max_value_bytes", BytesValue{&c->max_value_bytes, kKiB, 16 * kMiB},
        "Largest value of a key; beyond it 413. The same on every member."},
       {"http.request_timeout", DurationValue{&c->request_timeout, milliseconds(10), minutes(10)},
        "Longest wait for the cluster before a request is answered with 503 or 504."},
       {"http.max_connections", CountValue{&h.max_connections, 8, 100'000},
        "Most connections at once; further ones are answered with 503 and closed."},
       {"http.max_admin_connections", CountValue{&c->max_admin_connections, 8, 100'000},
        "The same for the admin listener, and for that of metrics.listen."},
       {"http.max_in_flight", CountValue{&h.max_in_flight, 1, 1'000'000},
        "Most requests being worked on at once; beyond it 429."},
       {"http.max_buffered_bytes", BytesValue{&h.max_buffered_bytes, kMinBudgetBytes, 16 * kGiB},
        "Most bytes of long heads, bodies and unsent answers, all together; beyond it 503.",
        kShareOfMemory},
       {"http.head_timeout", DurationValue{&h.head_timeout, milliseconds(10), hours(1)},
        "Longest time from the first byte of a request to the end of its headers; then 408."},
       {"http.body_timeout", DurationValue{&h.body_timeout, milliseconds(10), hours(1)},
        "Longest time for the body of a request; then 408."},
       {"http.idle_timeout", DurationValue{&h.idle_timeout, milliseconds(10), hours(24)},
        "Connections that wait for their next request for this long are closed; new ones that send "
        "nothing, after http.head_timeout."},
       {"http.write_timeout", DurationValue{&h.write_timeout, milliseconds(10), hours(1)},
        "Connections whose client takes no byte of an answer for this long are closed."},
       {"http.event_loops", IntValue{&h.event_loops, 0, 16},
        "Threads that serve connections. 0: half of the processors, 1 to 4."}}};
}

SettingGroup MakeProcess(NodeConfig* c) {
  return {
      "Process",
      {{"log.level", ChoiceValue{&c->log_level, {"debug", "info", "warning", "error", "off"}},
        "Least level that is logged (to stderr)."},
       {"log.format", ChoiceValue{&c->log_format, {"text", "json"}},
        "text: key=value. json: one object a line."},
       {"stop.grace", DurationValue{&c->stop_grace, Duration::zero(), hours(1)},
        "On SIGTERM or SIGINT: longest time to hand leadership over, finish requests and flush. "
        "A second signal ends the process at once; nothing acknowledged is lost by that."}}};
}

std::string Replace(std::string text, const std::string& from, char to) {
  std::ranges::replace_if(text, [&](char ch) { return from.find(ch) != from.npos; }, to);
  return text;
}

}  // namespace

std::string Setting::FlagName() const { return Replace(path, "._", '-'); }

std::string Setting::VariableName() const {
  std::string name = "RAFTKV_" + Replace(path, ".", '_');
  std::ranges::transform(name, name.begin(), [](unsigned char ch) { return std::toupper(ch); });
  return name;
}

std::vector<SettingGroup> MakeTable(NodeConfig* config) {
  return {MakeIdentity(config), MakeListeners(config), MakeStart(config),
          MakeRaft(config),     MakeLimits(config),    MakeStorage(config),
          MakeHistory(config),  MakeHttp(config),      MakeProcess(config)};
}

}  // namespace raftkv
