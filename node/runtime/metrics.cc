#include "node/runtime/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <string>

#include "base/hex_id.h"

namespace raftkv::runtime {
namespace {

// 50 us to 6.5 s, doubling: an fsync of a good disk is far below etcd's first bucket of 1 ms.
const prometheus::Histogram::BucketBoundaries kSeconds = [] {
  prometheus::Histogram::BucketBoundaries bounds;
  double bound = 50e-6;
  for (int i = 0; i < 18; ++i, bound *= 2) bounds.push_back(bound);
  return bounds;
}();
const prometheus::Histogram::BucketBoundaries kBatch = {1,  2,   4,   8,   16,  32,
                                                        64, 128, 256, 512, 1024};

constexpr Duration kSlowApply = std::chrono::milliseconds(100);  // as etcd warns

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

struct NodeMetrics::Families {
  explicit Families(prometheus::Registry* r) : registry(r) {}

  prometheus::Gauge& Gauge(const std::string& name, const std::string& help,
                           const prometheus::Labels& labels = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add(labels);
  }
  prometheus::Counter& Counter(const std::string& name, const std::string& help,
                               const prometheus::Labels& labels = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add(labels);
  }
  prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                   const prometheus::Histogram::BucketBoundaries& bounds) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add(
        prometheus::Labels{}, bounds);
  }

  prometheus::Registry* registry;

  prometheus::Histogram& fsync = Histogram("raftkv_disk_wal_fsync_duration_seconds",
                                           "Time of one fsync of the raft log.", kSeconds);
  prometheus::Histogram& wal_write =
      Histogram("raftkv_disk_wal_write_duration_seconds",
                "Time of one write to the raft log, its fsync included.", kSeconds);
  prometheus::Histogram& append_batch =
      Histogram("raftkv_disk_wal_batch_entries", "Entries in one group commit.", kBatch);
  // Into memory; the write to RocksDB comes later and for many batches at once.
  prometheus::Histogram& apply =
      Histogram("raftkv_server_apply_duration_seconds",
                "Time to apply one batch of committed entries to the state.", kSeconds);
  prometheus::Histogram& commit = Histogram(
      "raftkv_disk_backend_commit_duration_seconds",
      "Time of one write of applied changes to RocksDB, what it is held back included.", kSeconds);
  prometheus::Counter& slow_applies =
      Counter("raftkv_server_slow_apply_total", "Batches that took more than 100 ms to apply.");
  prometheus::Histogram& propose_commit = Histogram(
      "raftkv_server_propose_commit_duration_seconds",
      "From the leader's proposal of a command to its commit; observed by the leader.", kSeconds);
  prometheus::Histogram& checkpoint =
      Histogram("raftkv_disk_backend_snapshot_duration_seconds",
                "Time to make one snapshot of the state on disk.", kSeconds);
  prometheus::Histogram& apply_batch =
      Histogram("raftkv_server_apply_batch_entries", "Entries applied in one batch.", kBatch);

  prometheus::Gauge& has_leader =
      Gauge("raftkv_server_has_leader", "1 if this member knows a leader.");
  prometheus::Gauge& is_leader = Gauge("raftkv_server_is_leader", "1 if this member leads.");
  prometheus::Gauge& is_learner =
      Gauge("raftkv_server_is_learner", "1 if this member is a learner.");
  prometheus::Gauge& is_member =
      Gauge("raftkv_server_is_member", "1 if this node belongs to a cluster.");
  prometheus::Gauge& joint =
      Gauge("raftkv_server_joint_configuration", "1 while a joint configuration is in force.");
  prometheus::Gauge& voters = Gauge("raftkv_server_voters", "Voters in the configuration.");
  prometheus::Gauge& learners = Gauge("raftkv_server_learners", "Learners in the configuration.");
  prometheus::Gauge& term = Gauge("raftkv_server_term", "Current raft term.");
  prometheus::Counter& leader_changes =
      Counter("raftkv_server_leader_changes_seen_total", "Leader changes that this member saw.");
  prometheus::Gauge& committed = Gauge("raftkv_server_proposals_committed_total", "Commit index.");
  prometheus::Gauge& applied = Gauge("raftkv_server_proposals_applied_total", "Applied index.");
  prometheus::Gauge& pending =
      Gauge("raftkv_server_proposals_pending", "Writes of this node's clients that wait.");
  prometheus::Counter& proposals =
      Counter("raftkv_server_proposals_total", "Writes of this node's clients.");
  prometheus::Counter& proposals_failed =
      Counter("raftkv_server_proposals_failed_total", "Writes that were refused or timed out.");
  prometheus::Counter& proposals_forwarded = Counter("raftkv_server_proposals_forwarded_total",
                                                     "Writes that were passed on to the leader.");
  prometheus::Gauge& append_queue =
      Gauge("raftkv_server_append_queue_jobs",
            "Jobs handed to the append thread that are not done: what waits for the log's disk.");
  prometheus::Gauge& apply_queue =
      Gauge("raftkv_server_apply_queue_jobs",
            "Jobs handed to the apply thread that are not done: batches, flushes, snapshots.");
  prometheus::Gauge& apply_lag =
      Gauge("raftkv_server_apply_lag_entries", "Committed entries that are not yet applied.");
  prometheus::Counter& reads =
      Counter("raftkv_server_reads_total", "Reads that asked for more than the local state.");
  prometheus::Counter& read_rounds =
      Counter("raftkv_server_read_index_rounds_total", "Read-index rounds started.");
  prometheus::Counter& reads_failed =
      Counter("raftkv_server_read_indexes_failed_total", "Reads that were not confirmed in time.");
  prometheus::Counter& slow_reads =
      Counter("raftkv_server_slow_read_indexes_total",
              "Read-index rounds not confirmed within half an election timeout.");
  prometheus::Counter& lease_reads =
      Counter("raftkv_server_lease_reads_total", "Reads that the leader's lease answered.");
  prometheus::Counter& snapshots_sent =
      Counter("raftkv_network_snapshot_send_success_total", "Snapshots sent to followers.");
  prometheus::Counter& snapshots_failed =
      Counter("raftkv_network_snapshot_send_failures_total", "Snapshots that did not arrive.");
  prometheus::Counter& snapshots_installed =
      Counter("raftkv_server_snapshots_installed_total", "Snapshots installed by this member.");
  prometheus::Counter& snapshot_send_time =
      Counter("raftkv_network_snapshot_send_duration_seconds_total",
              "Time spent sending snapshots, of those that have ended.");
  prometheus::Gauge& snapshots_sending =
      Gauge("raftkv_network_snapshot_send_inflights", "Snapshots being sent.");
  prometheus::Counter& snapshots_received =
      Counter("raftkv_network_snapshot_receive_success_total", "Snapshots received whole.");
  prometheus::Counter& snapshots_receive_failed =
      Counter("raftkv_network_snapshot_receive_failures_total",
              "Snapshots whose transfer to this member broke off.");
  prometheus::Counter& snapshot_receive_time =
      Counter("raftkv_network_snapshot_receive_duration_seconds_total",
              "Time spent receiving snapshots, of those that have ended.");
  prometheus::Gauge& snapshots_receiving =
      Gauge("raftkv_network_snapshot_receive_inflights", "Snapshots being received.");
  prometheus::Gauge& snapshot_saving =
      Gauge("raftkv_server_snapshot_save_in_progress", "1 while a snapshot is made.");
  prometheus::Gauge& snapshot_installing =
      Gauge("raftkv_server_snapshot_apply_in_progress", "1 while a snapshot is installed.");
  prometheus::Counter& heartbeats_failed =
      Counter("raftkv_server_heartbeat_send_failures_total",
              "Heartbeats that were dropped: no stream to the peer, or its queue is full.");
  prometheus::Gauge& first_index = Gauge("raftkv_log_first_index", "First index in the log.");
  prometheus::Gauge& last_index = Gauge("raftkv_log_last_index", "Last index in the log.");
  prometheus::Gauge& log_bytes = Gauge("raftkv_log_size_bytes", "Size of the raft log on disk.");
  prometheus::Gauge& log_cache = Gauge("raftkv_log_cache_bytes", "Log entries kept in memory.");
  prometheus::Gauge& flushed =
      Gauge("raftkv_server_flushed_applied_index", "Applied index that is on disk.");
  prometheus::Gauge& revision = Gauge("raftkv_mvcc_current_revision", "Revision of the store.");
  prometheus::Gauge& compact_revision =
      Gauge("raftkv_mvcc_compact_revision", "Revision up to which history is compacted.");
  prometheus::Gauge& keys = Gauge("raftkv_mvcc_keys", "Live keys, estimated.");
  prometheus::Gauge& versions = Gauge("raftkv_mvcc_versions", "Stored key versions, estimated.");
  prometheus::Gauge& db_bytes =
      Gauge("raftkv_mvcc_db_total_size_in_bytes", "Size of the state on disk.");
  prometheus::Gauge& db_used_bytes =
      Gauge("raftkv_mvcc_db_total_size_in_use_in_bytes",
            "Size of the state on disk without what compaction will remove, estimated.");
  prometheus::Counter& puts =
      Counter("raftkv_mvcc_put_total", "Keys written by applied commands, transactions included.");
  prometheus::Counter& deletes = Counter(
      "raftkv_mvcc_delete_total", "Keys deleted by applied commands, transactions included.");
  prometheus::Counter& txns = Counter("raftkv_mvcc_txn_total", "Transactions applied.");
  prometheus::Gauge& quota_bytes =
      Gauge("raftkv_server_quota_backend_bytes",
            "Largest size of the state (limits.quota_bytes); 0: no limit.");
  prometheus::Gauge& min_free_bytes = Gauge(
      "raftkv_disk_min_free_bytes",
      "Free space below which writes that grow the store are refused (limits.min_free_bytes).");
  prometheus::Gauge& memtable_bytes =
      Gauge("raftkv_rocksdb_memtable_bytes", "Unflushed state in memory.");
  prometheus::Gauge& compaction_bytes =
      Gauge("raftkv_rocksdb_pending_compaction_bytes", "State that waits to be compacted on disk.");
  prometheus::Gauge& stalled =
      Gauge("raftkv_rocksdb_write_stalled", "1 while RocksDB slows or stops writes.");
  prometheus::Gauge& free_bytes =
      Gauge("raftkv_disk_free_bytes", "Free space of the data directory's file system.");
  prometheus::Gauge& space_left_bytes =
      Gauge("raftkv_server_space_left_bytes",
            "Bytes by which the store may grow before writes can be refused for lack of space.");
  prometheus::Gauge& out_of_space =
      Gauge("raftkv_server_out_of_space", "1 while writes are refused for lack of space.");

  // A series of each other member; gone with the member, so that no alert goes on about it.
  template <class T>
  using Family = prometheus::Family<T>;
  Family<prometheus::Gauge>& connected = prometheus::BuildGauge()
                                             .Name("raftkv_network_active_peers")
                                             .Help("1 while the stream to the peer is up.")
                                             .Register(*registry);
  Family<prometheus::Gauge>& round_trip = prometheus::BuildGauge()
                                              .Name("raftkv_network_peer_round_trip_time_seconds")
                                              .Help("Smoothed round trip to the peer.")
                                              .Register(*registry);
  Family<prometheus::Gauge>& match_lag = prometheus::BuildGauge()
                                             .Name("raftkv_server_follower_lag_entries")
                                             .Help("Entries a member lacks; of the leader only.")
                                             .Register(*registry);
  Family<prometheus::Counter>& sent = prometheus::BuildCounter()
                                          .Name("raftkv_network_peer_sent_bytes_total")
                                          .Help("Bytes sent to the peer.")
                                          .Register(*registry);
  Family<prometheus::Counter>& received = prometheus::BuildCounter()
                                              .Name("raftkv_network_peer_received_bytes_total")
                                              .Help("Bytes received from the peer.")
                                              .Register(*registry);
  Family<prometheus::Counter>& dropped =
      prometheus::BuildCounter()
          .Name("raftkv_network_peer_dropped_messages_total")
          .Help("Messages dropped because the peer's queue was full or its stream down.")
          .Register(*registry);
  Family<prometheus::Counter>& failures = prometheus::BuildCounter()
                                              .Name("raftkv_network_peer_connection_failures_total")
                                              .Help("Failed attempts to connect.")
                                              .Register(*registry);
  Family<prometheus::Gauge>& server_id =
      prometheus::BuildGauge()
          .Name("raftkv_server_id")
          .Help("1; this member's id, as others name it in To, is in the label.")
          .Register(*registry);

  struct Peer {
    prometheus::Gauge* connected;
    prometheus::Gauge* round_trip;
    prometheus::Counter* sent;
    prometheus::Counter* received;
    prometheus::Counter* dropped;
    prometheus::Counter* failures;
  };
  std::map<raft::NodeId, Peer> peers;
  std::map<raft::NodeId, prometheus::Gauge*> lags;
  prometheus::Gauge* own_id = nullptr;
  uint64_t own_id_value = 0;

  static prometheus::Labels To(raft::NodeId id) { return {{"To", HexId(id.value)}}; }

  Peer& PeerOf(raft::NodeId id) {
    const auto it = peers.find(id);
    if (it != peers.end()) return it->second;
    const prometheus::Labels to = To(id);
    Peer peer{&connected.Add(to), &round_trip.Add(to), &sent.Add(to),
              &received.Add(to),  &dropped.Add(to),    &failures.Add(to)};
    return peers.emplace(id, peer).first->second;
  }

  void ForgetPeersBut(const std::map<raft::NodeId, transport::PeerStats>& present) {
    std::erase_if(peers, [&](const auto& entry) {
      if (present.contains(entry.first)) return false;
      const Peer& peer = entry.second;
      connected.Remove(peer.connected);
      round_trip.Remove(peer.round_trip);
      sent.Remove(peer.sent);
      received.Remove(peer.received);
      dropped.Remove(peer.dropped);
      failures.Remove(peer.failures);
      return true;
    });
  }

  // Only a leader knows how far others are.
  void SetLags(const v1::StatusResponse& status) {
    std::map<raft::NodeId, prometheus::Gauge*> present;
    for (const v1::PeerProgress& progress : status.progress()) {
      if (progress.id() == status.member_id()) continue;
      const raft::NodeId id(progress.id());
      prometheus::Gauge*& gauge = present[id];
      const auto known = lags.find(id);
      gauge = known != lags.end() ? known->second : &match_lag.Add(To(id));
      gauge->Set(static_cast<double>(status.last_index() - progress.match()));
    }
    for (const auto& [id, gauge] : lags) {
      if (!present.contains(id)) match_lag.Remove(gauge);
    }
    lags = std::move(present);
  }

  // A node takes an id when it takes a directory, and keeps it.
  void SetId(uint64_t id) {
    if (id == own_id_value) return;
    if (own_id != nullptr) server_id.Remove(own_id);
    own_id = &server_id.Add({{"server_id", HexId(id)}});
    own_id->Set(1);
    own_id_value = id;
  }
};

namespace {

// Counters are kept as atomics where they grow; the registry's copies follow.
void Follow(prometheus::Counter& counter, double value) {
  const double grown = value - counter.Value();
  if (grown > 0) counter.Increment(grown);
}

static_assert(LatencyCounts::kBounds == 18 && LatencyCounts::kFirstBoundNs == 50'000,
              "the bounds of kSeconds");

}  // namespace

// What was counted since the last time, into the histogram.
void NodeMetrics::FollowCommits(const LatencyCounts& now) {
  std::vector<double> grown(now.counts().size());
  bool any = false;
  for (size_t i = 0; i < grown.size(); ++i) {
    const uint64_t more = now.counts()[i] - seen_commits_.counts()[i];
    grown[i] = static_cast<double>(more);
    any |= more > 0;
  }
  if (!any) return;
  const uint64_t grown_ns = now.sum_ns() - seen_commits_.sum_ns();
  families_->propose_commit.ObserveMultiple(grown, static_cast<double>(grown_ns) / 1e9);
  seen_commits_ = now;
}

NodeMetrics::NodeMetrics(prometheus::Registry* registry)
    : families_(std::make_unique<Families>(registry)) {}
NodeMetrics::~NodeMetrics() = default;

void NodeMetrics::ObserveAppend(Duration write, Duration sync) {
  families_->wal_write.Observe(Seconds(write + sync));
  families_->fsync.Observe(Seconds(sync));
}
void NodeMetrics::ObserveAppendBatch(size_t entries) {
  families_->append_batch.Observe(static_cast<double>(entries));
}
void NodeMetrics::ObserveApply(Duration took, size_t entries) {
  families_->apply.Observe(Seconds(took));
  families_->apply_batch.Observe(static_cast<double>(entries));
  if (took > kSlowApply) families_->slow_applies.Increment();
}
void NodeMetrics::ObserveStateWrite(Duration took) { families_->commit.Observe(Seconds(took)); }
void NodeMetrics::ObserveCheckpoint(Duration took) { families_->checkpoint.Observe(Seconds(took)); }

void NodeMetrics::Update(const Gauges& now) {
  Families& f = *families_;
  const v1::StatusResponse& status = *now.status;
  const v1::ConfState& conf = status.cluster().conf();
  f.has_leader.Set(status.leader() != 0);
  f.is_leader.Set(status.role() == v1::StatusResponse::LEADER);
  f.is_learner.Set(status.role() == v1::StatusResponse::LEARNER);
  f.is_member.Set(status.cluster_id() != 0);
  f.joint.Set(conf.voters_outgoing_size() > 0);
  f.voters.Set(conf.voters_size());
  f.learners.Set(conf.learners_size());
  f.term.Set(static_cast<double>(status.term()));
  f.committed.Set(static_cast<double>(status.commit_index()));
  f.applied.Set(static_cast<double>(status.applied_index()));
  f.pending.Set(static_cast<double>(now.pending));
  f.append_queue.Set(static_cast<double>(now.append_queue));
  f.apply_queue.Set(static_cast<double>(now.apply_queue));
  f.apply_lag.Set(status.commit_index() > status.applied_index()
                      ? static_cast<double>(status.commit_index() - status.applied_index())
                      : 0);
  f.first_index.Set(static_cast<double>(status.first_index()));
  f.last_index.Set(static_cast<double>(status.last_index()));
  f.log_bytes.Set(static_cast<double>(now.log.bytes));
  f.log_cache.Set(static_cast<double>(now.log.cached_bytes));
  f.flushed.Set(static_cast<double>(now.flushed_index));
  f.revision.Set(static_cast<double>(status.revision()));
  f.compact_revision.Set(static_cast<double>(status.compact_revision()));
  f.keys.Set(static_cast<double>(now.live_keys));
  f.versions.Set(static_cast<double>(now.stored_versions));
  f.db_used_bytes.Set(static_cast<double>(now.state.live_bytes));
  f.quota_bytes.Set(static_cast<double>(now.quota_bytes));
  f.min_free_bytes.Set(static_cast<double>(now.min_free_bytes));
  f.db_bytes.Set(static_cast<double>(now.state.disk_bytes));
  f.memtable_bytes.Set(static_cast<double>(now.state.memtable_bytes));
  f.compaction_bytes.Set(static_cast<double>(now.state.pending_compaction_bytes));
  f.stalled.Set(now.state.write_stalled);
  f.free_bytes.Set(static_cast<double>(now.free_bytes));
  f.space_left_bytes.Set(static_cast<double>(now.space_left_bytes));
  f.out_of_space.Set(now.out_of_space);

  const ReplicaCounters& counters = *now.counters;
  Follow(f.leader_changes, static_cast<double>(counters.leader_changes));
  Follow(f.proposals, static_cast<double>(counters.proposals));
  Follow(f.proposals_failed, static_cast<double>(counters.proposals_failed));
  Follow(f.proposals_forwarded, static_cast<double>(counters.proposals_forwarded));
  Follow(f.reads, static_cast<double>(counters.reads));
  Follow(f.read_rounds, static_cast<double>(counters.read_rounds));
  Follow(f.reads_failed, static_cast<double>(counters.read_rounds_failed));
  Follow(f.lease_reads, static_cast<double>(counters.lease_reads));
  Follow(f.snapshots_sent, static_cast<double>(counters.snapshots_sent));
  Follow(f.snapshots_failed, static_cast<double>(counters.snapshots_send_failed));
  Follow(f.snapshots_installed, static_cast<double>(counters.snapshots_installed));

  Follow(f.slow_reads, static_cast<double>(counters.read_rounds_slow));
  Follow(f.snapshot_send_time, static_cast<double>(counters.snapshot_send_ns) / 1e9);
  FollowCommits(counters.propose_to_commit);
  Follow(f.puts, static_cast<double>(now.applied->puts));
  Follow(f.deletes, static_cast<double>(now.applied->deletes));
  Follow(f.txns, static_cast<double>(now.applied->txns));
  f.snapshot_saving.Set(now.snapshots.saving);
  f.snapshot_installing.Set(now.snapshots.installing);
  f.snapshots_sending.Set(static_cast<double>(now.snapshots.sending));

  transport::PeerStats all;
  for (const auto& [id, stats] : *now.peers) {
    all.dropped_heartbeats += stats.dropped_heartbeats;
    all.snapshots_received += stats.snapshots_received;
    all.snapshots_receive_failed += stats.snapshots_receive_failed;
    all.snapshot_receive_time += stats.snapshot_receive_time;
    all.receiving_snapshot |= stats.receiving_snapshot;
    Families::Peer& peer = f.PeerOf(id);
    peer.connected->Set(stats.connected);
    peer.round_trip->Set(Seconds(stats.round_trip));
    Follow(*peer.sent, static_cast<double>(stats.sent_bytes));
    Follow(*peer.received, static_cast<double>(stats.received_bytes));
    Follow(*peer.dropped, static_cast<double>(stats.dropped_messages));
    Follow(*peer.failures, static_cast<double>(stats.connection_failures));
  }
  Follow(f.heartbeats_failed, static_cast<double>(all.dropped_heartbeats));
  Follow(f.snapshots_received, static_cast<double>(all.snapshots_received));
  Follow(f.snapshots_receive_failed, static_cast<double>(all.snapshots_receive_failed));
  Follow(f.snapshot_receive_time, Seconds(all.snapshot_receive_time));
  f.snapshots_receiving.Set(all.receiving_snapshot);
  f.ForgetPeersBut(*now.peers);
  f.SetLags(status);
  f.SetId(status.member_id());
}

}  // namespace raftkv::runtime
