#!/usr/bin/env python3
"""Writes the chart's Grafana dashboards, or, with --check, fails if the files are not what this would write.

The panels are lists of (title, unit, queries) in rows; everything else a dashboard needs follows. Each metric in a
query must be one that docs/metrics.md lists.
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "charts/raftkv-operator/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Selectors: of all members in the namespaces chosen; of one cluster; of the operator; of the operator's metrics about clusters.
ALL = 'job="raftkv", namespace=~"$namespace"'
ONE = 'job="raftkv", namespace="$namespace", cluster_name="$cluster"'
OPERATOR = 'job="raftkv-operator"'
SEEN = 'namespace=~"$namespace"'


def query(expr, legend="", kind="time_series", instant=False):
    return {"expr": expr, "legendFormat": legend, "format": kind, "instant": instant}


def panel(kind, title, unit, queries, description, **options):
    targets = [dict(q, refId=chr(ord("A") + i), datasource=SOURCE) for i, q in enumerate(queries)]
    out = {
        "type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": options.get("min"), "mappings": options.get("mappings", [])}, "overrides": []},
        "options": options.get("options", {}),
    }
    if out["fieldConfig"]["defaults"]["min"] is None:
        del out["fieldConfig"]["defaults"]["min"]
    if "steps" in options:
        out["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": options["steps"]}
    return out


def series(title, unit, *queries, description, **options):
    options.setdefault("options", {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}})
    return panel("timeseries", title, unit, queries, description, min=options.pop("min", 0), **options)


def stat(title, unit, expr, description, bad=None):
    """One number; red where `bad` ('zero', 'nonzero') says so, else plain."""
    steps = [{"color": "blue" if bad is None else "green", "value": None}]
    if bad == "nonzero":
        steps.append({"color": "red", "value": 1})
    if bad == "zero":
        steps = [{"color": "red", "value": None}, {"color": "green", "value": 1}]
    return panel("stat", title, unit, [query(expr, instant=True)], description, steps=steps,
                 options={"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "none"})


def name_of(title, expr, label, description, none):
    """A label of the one series that there should be, as text; red, with the text `none`, if there is none."""
    out = panel("stat", title, "none", [query(expr, f"{{{{{label}}}}}", instant=True)], description,
                steps=[{"color": "red", "value": None}, {"color": "green", "value": 1}],
                options={"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "none", "textMode": "name"})
    out["fieldConfig"]["defaults"]["noValue"] = none
    return out


def heatmap(title, unit, metric, selector, description):
    expr = f"sum by (le) (increase({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return panel("heatmap", title, unit, [query(expr, "{{le}}", kind="heatmap")], description,
                 options={"calculate": False, "yAxis": {"unit": unit}, "color": {"scheme": "Oranges", "mode": "scheme", "steps": 64},
                          "cellGap": 1, "tooltip": {"show": True}})


def timeline(title, queries, mappings, description):
    return panel("state-timeline", title, "none", queries, description, mappings=mappings,
                 options={"mergeValues": True, "showValue": "never", "legend": {"displayMode": "list", "placement": "bottom"}})


def table(title, columns, description, **renamed):
    """One row for each set of labels, one column for each (name, expression)."""
    out = panel("table", title, "none", [query(expr, kind="table", instant=True) for _, expr in columns], description)
    names = {f"Value #{chr(ord('A') + i)}": name for i, (name, _) in enumerate(columns)}
    out["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {**renamed, **names}}},
    ]
    return out


def quantile(q, metric, selector, by=""):
    group = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({group}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"


def to_peer(metric):
    """Of each pod and each other member, which the metric names by its id and this by its pod, also while that pod is down."""
    ids = f'label_replace(label_replace(last_over_time(raftkv_server_id{{{ONE}}}[1h]), "To", "$1", "server_id", "(.*)"), "peer", "$1", "pod", "(.*)")'
    return f"max by (pod, peer) ({metric}{{{ONE}}} * on (To) group_left (peer) max by (To, peer) ({ids}))"


def value_map(**colors):
    """value_map(v1=("leader", "green")) -> Grafana's value mappings."""
    return [{"type": "value", "options": {name[1:]: {"text": text, "color": color, "index": i} for i, (name, (text, color)) in enumerate(colors.items())}}]


def variable(name, label, expr, multi=False):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": expr, "refId": name}, "definition": expr,
            "refresh": 2, "sort": 1, "multi": multi, "includeAll": multi, "allValue": ".*" if multi else None,
            "current": {"text": "All", "value": "$__all"} if multi else {}}


def dashboard(uid, title, variables, rows):
    panels, y, ident = [], 0, 1
    for row_title, height, row in rows:
        panels.append({"type": "row", "title": row_title, "id": ident, "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        ident, y = ident + 1, y + 1
        per_line = min(len(row), 6 if height <= 4 else 3)
        for i, item in enumerate(row):
            width = 24 // per_line
            item = dict(item, id=ident, gridPos={"h": height, "w": width, "x": (i % per_line) * width, "y": y + (i // per_line) * height})
            panels.append(item)
            ident += 1
        y += height * -(-len(row) // per_line)
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "refresh": 1}
    return {"uid": uid, "title": title, "tags": ["raftkv"], "timezone": "browser", "schemaVersion": 39, "version": 1, "editable": True,
            "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "annotations": {"list": []},
            "links": [{"type": "dashboards", "title": "raftkv", "tags": ["raftkv"], "asDropdown": True, "includeVars": True, "keepTime": True}],
            "templating": {"list": [source] + variables}, "panels": panels}


MEMBERS = variable("namespace", "Namespace", "label_values(raftkv_server_is_member, namespace)", multi=True)
BY_CLUSTER = "{{namespace}}/{{cluster_name}}"
CLIENT = 'listener="client"'

overview = dashboard("raftkv-overview", "raftkv / overview", [MEMBERS], [
    ("Now", 4, [
        stat("Clusters", "none", f"count(count by (namespace, cluster_name) (raftkv_server_is_member{{{ALL}}}))", "Clusters of which a member answers."),
        stat("Members that answer", "none", f"sum(up{{{ALL}}})", "Nodes whose metrics Prometheus could read just now."),
        stat("Members down", "none", f"sum(up{{{ALL}}} == bool 0)", "Nodes whose metrics Prometheus could not read.", bad="nonzero"),
        stat("Members without a leader", "none", f"sum(raftkv_server_has_leader{{{ALL}}} == bool 0)", "They serve no writes and no linearizable reads.", bad="nonzero"),
        stat("Quorum lost", "none", f"sum(raftkv_operator_cluster_quorum_lost{{{SEEN}}})", "Clusters, as the operator sees them.", bad="nonzero"),
        stat("Refusing writes (space)", "none", f"sum(raftkv_server_out_of_space{{{ALL}}})", "Members whose volume or quota is full.", bad="nonzero"),
    ]),
    ("Clusters", 9, [
        table("Clusters", [
            ("Wanted", f"sum by (namespace, name) (raftkv_operator_cluster_replicas_desired{{{SEEN}}})"),
            ("Voters", f"sum by (namespace, name) (raftkv_operator_cluster_voters{{{SEEN}}})"),
            ("Learners", f"sum by (namespace, name) (raftkv_operator_cluster_learners{{{SEEN}}})"),
            ("Ready", f"sum by (namespace, name) (raftkv_operator_cluster_members_ready{{{SEEN}}})"),
        ], "Members of each RaftKV: what its spec asks for, and what is there.", namespace="Namespace", name="RaftKV"),
    ]),
    ("Requests", 8, [
        series("Requests", "reqps", query(f"sum by (namespace, cluster_name) (rate(raftkv_http_requests_total{{{ALL}, {CLIENT}}}[$__rate_interval]))", BY_CLUSTER), description="Of clients, answered by all members together."),
        series("Failed requests (5xx)", "reqps", query(f"sum by (namespace, cluster_name) (rate(raftkv_http_requests_total{{{ALL}, {CLIENT}, code=~\"5..\"}}[$__rate_interval]))", BY_CLUSTER),
               description="No leader, no space, or no answer in time."),
        series("99 % of requests are faster than", "s", query(quantile(0.99, "raftkv_http_request_duration_seconds", f"{ALL}, {CLIENT}", "namespace, cluster_name"), BY_CLUSTER),
               description="From the last byte of a request to its answer; watches and long polls end when they end."),
    ]),
    ("State", 8, [
        series("Size of the state", "bytes", query(f"max by (namespace, cluster_name) (raftkv_mvcc_db_total_size_in_bytes{{{ALL}}})", BY_CLUSTER), description="Of the largest member, without the log."),
        series("Least space left", "bytes", query(f"min by (namespace, cluster_name) (raftkv_server_space_left_bytes{{{ALL}}})", BY_CLUSTER),
               description="Of the member that has least: by how much its store may grow before writes can be refused."),
        series("Changes of the leader in 10 minutes", "none", query(f"max by (namespace, cluster_name) (increase(raftkv_server_leader_changes_seen_total{{{ALL}}}[10m]))", BY_CLUSTER),
               description="More than a few without a roll or a drain: slow disks, a slow network or too little CPU."),
    ]),
])

cluster = dashboard("raftkv-cluster", "raftkv / cluster", [
    variable("namespace", "Namespace", "label_values(raftkv_server_is_member, namespace)"),
    variable("cluster", "Cluster", 'label_values(raftkv_server_is_member{namespace="$namespace"}, cluster_name)'),
], [
    ("Now", 4, [
        name_of("Leader", f"raftkv_server_is_leader{{{ONE}}} == 1", "pod", "The pod that says it leads.", "none"),
        stat("Voters", "none", f"max(raftkv_server_voters{{{ONE}}})", "Members that count for the quorum."),
        stat("Learners", "none", f"max(raftkv_server_learners{{{ONE}}})", "Members that catch up, and do not vote yet."),
        stat("Joint configuration", "none", f"max(raftkv_server_joint_configuration{{{ONE}}})", "1 while a membership change is under way."),
        stat("Members down", "none", f"sum(up{{{ONE}}} == bool 0)", "Pods whose metrics Prometheus could not read.", bad="nonzero"),
        stat("Refusing writes (space)", "none", f"sum(raftkv_server_out_of_space{{{ONE}}})", "Members whose volume or quota is full.", bad="nonzero"),
    ]),
    ("Clients", 8, [
        heatmap("Duration of requests", "s", "raftkv_http_request_duration_seconds", f"{ONE}, {CLIENT}", "How many took how long. A second band is a second kind of request, or a stall."),
        series("Requests by route", "reqps", query(f"sum by (route) (rate(raftkv_http_requests_total{{{ONE}, {CLIENT}}}[$__rate_interval]))", "{{route}}"), description="Answered by all members together."),
        series("Answers by status", "reqps", query(f"sum by (code) (rate(raftkv_http_requests_total{{{ONE}, {CLIENT}}}[$__rate_interval]))", "{{code}}"), description="HTTP statuses; 503 and 504 while there is no leader, 507 without space, 429 with too many at once."),
        series("99 % of requests are faster than", "s", query(quantile(0.99, "raftkv_http_request_duration_seconds", f"{ONE}, {CLIENT}", "route"), "{{route}}"), description="By route, all members together."),
        series("Requests in flight", "none", query(f"max by (pod) (raftkv_http_requests_in_flight{{{ONE}, {CLIENT}}})", "{{pod}}"), description="Near http.max_in_flight new ones are answered with 429."),
        series("Connections", "none", query(f"max by (pod) (raftkv_http_connections{{{ONE}, {CLIENT}}})", "{{pod}}"), description="Of clients, open now. A leader alone with all of them: clients do not spread."),
    ]),
    ("Consensus", 8, [
        timeline("Leader", [query(f"max by (pod) (raftkv_server_is_leader{{{ONE}}})", "{{pod}}")], value_map(_0=("follower", "transparent"), _1=("leader", "green")), "Who leads, over time."),
        series("Term", "none", query(f"max by (pod) (raftkv_server_term{{{ONE}}})", "{{pod}}"), description="Each election raises it."),
        series("Changes of the leader in 10 minutes", "none", query(f"max by (pod) (increase(raftkv_server_leader_changes_seen_total{{{ONE}}}[10m]))", "{{pod}}"), description="As each member saw them."),
        series("Writes", "ops",
               query(f"sum(rate(raftkv_server_proposals_total{{{ONE}}}[$__rate_interval]))", "proposed"),
               query(f"sum(rate(raftkv_server_proposals_forwarded_total{{{ONE}}}[$__rate_interval]))", "forwarded to the leader"),
               query(f"sum(rate(raftkv_server_proposals_failed_total{{{ONE}}}[$__rate_interval]))", "failed"),
               query(f"max(deriv(raftkv_server_proposals_committed_total{{{ONE}}}[$__rate_interval]))", "committed entries"),
               description="Commands of clients; an entry of the log may hold several."),
        series("Writes that wait", "none", query(f"max by (pod) (raftkv_server_proposals_pending{{{ONE}}})", "{{pod}}"), description="For their commit. Near limits.inflight_requests new ones are refused."),
        series("Reads", "ops",
               query(f"sum(rate(raftkv_server_reads_total{{{ONE}}}[$__rate_interval]))", "reads"),
               query(f"sum(rate(raftkv_server_read_index_rounds_total{{{ONE}}}[$__rate_interval]))", "read-index rounds"),
               query(f"sum(rate(raftkv_server_lease_reads_total{{{ONE}}}[$__rate_interval]))", "by the lease"),
               query(f"sum(rate(raftkv_server_read_indexes_failed_total{{{ONE}}}[$__rate_interval]))", "not confirmed"),
               description="Linearizable ones: one round of heartbeats confirms all reads that wait for it."),
        series("Lag of the followers", "none", query(to_peer("raftkv_server_follower_lag_entries"), "{{pod}} to {{peer}}"), description="Entries that each member lacks, as its leader knows."),
        series("Commit-apply lag", "none", query(f"max by (pod) (raftkv_server_apply_lag_entries{{{ONE}}})", "{{pod}}"), description="Committed entries that are not applied yet."),
        series("Snapshots", "none",
               query(f"sum(increase(raftkv_network_snapshot_send_success_total{{{ONE}}}[$__rate_interval]))", "sent"),
               query(f"sum(increase(raftkv_network_snapshot_send_failures_total{{{ONE}}}[$__rate_interval]))", "not arrived"),
               query(f"sum(increase(raftkv_server_snapshots_installed_total{{{ONE}}}[$__rate_interval]))", "installed"),
               description="For members that lag further than the log reaches back."),
    ]),
    ("Disk", 8, [
        heatmap("fsync of the log", "s", "raftkv_disk_wal_fsync_duration_seconds", ONE, "Every acknowledged write waits for one on a majority."),
        series("99 % of fsyncs are faster than", "s", query(quantile(0.99, "raftkv_disk_wal_fsync_duration_seconds", ONE, "pod"), "{{pod}}"), description="Above 0.5 s members lose their leader."),
        series("99 % of writes of the log are faster than", "s", query(quantile(0.99, "raftkv_disk_wal_write_duration_seconds", ONE, "pod"), "{{pod}}"), description="A group of entries with its fsync."),
        heatmap("Entries in one write of the log", "none", "raftkv_disk_wal_batch_entries", ONE, "Batches grow with the load: that is what makes fsync affordable."),
        heatmap("Entries applied at once", "none", "raftkv_server_apply_batch_entries", ONE, "Committed entries in one batch of the state."),
        series("99 % of batches are applied in", "s", query(quantile(0.99, "raftkv_server_apply_duration_seconds", ONE, "pod"), "{{pod}}"), description="In memory: processor, and reads of what the batch needs."),
        series("99 % of writes of the state take", "s", query(quantile(0.99, "raftkv_disk_backend_commit_duration_seconds", ONE, "pod"), "{{pod}}"), description="Many batches at once, without fsync: a slow one means that RocksDB holds writes back."),
        series("Space left", "bytes",
               query(f"max by (pod) (raftkv_server_space_left_bytes{{{ONE}}})", "for {{pod}} to grow"),
               query(f"max by (pod) (raftkv_disk_free_bytes{{{ONE}}})", "free on the volume of {{pod}}"),
               description="By how much the store may grow before writes can be refused; less than is free, because something has to stay free."),
        series("Size", "bytes",
               query(f"max by (pod) (raftkv_mvcc_db_total_size_in_bytes{{{ONE}}})", "state of {{pod}}"),
               query(f"max by (pod) (raftkv_log_size_bytes{{{ONE}}})", "log of {{pod}}"), description="On disk."),
        series("Entries in the log", "short", query(f"max by (pod) (raftkv_log_last_index{{{ONE}}} - raftkv_log_first_index{{{ONE}}})", "{{pod}}"),
               query(f"max by (pod) (raftkv_log_last_index{{{ONE}}} - raftkv_server_flushed_applied_index{{{ONE}}})", "{{pod}}, not flushed"), description="What has been flushed to the state may be cut off."),
    ]),
    ("RocksDB and history", 8, [
        series("Memtables", "bytes", query(f"max by (pod) (raftkv_rocksdb_memtable_bytes{{{ONE}}})", "{{pod}}"), description="State in memory that is not on disk yet; the log has it."),
        series("Waiting for compaction", "bytes", query(f"max by (pod) (raftkv_rocksdb_pending_compaction_bytes{{{ONE}}})", "{{pod}}"), description="Growing for an hour: the disk does not keep up."),
        timeline("Writes held back", [query(f"max by (pod) (raftkv_rocksdb_write_stalled{{{ONE}}})", "{{pod}}")], value_map(_0=("no", "transparent"), _1=("held back", "red")), "RocksDB slows or stops writes, because compaction does not keep up."),
        series("Keys and versions", "short", query(f"max(raftkv_mvcc_keys{{{ONE}}})", "keys"), query(f"max(raftkv_mvcc_versions{{{ONE}}})", "versions"), description="Estimated. Many versions of each key: history is kept for long."),
        series("Revisions", "short", query(f"max(raftkv_mvcc_current_revision{{{ONE}}})", "current"), query(f"max(raftkv_mvcc_compact_revision{{{ONE}}})", "compacted up to"), description="The distance is the history that can be read."),
        series("Log entries in memory", "bytes", query(f"max by (pod) (raftkv_log_cache_bytes{{{ONE}}})", "{{pod}}"), description="For followers; older ones are read from disk."),
    ]),
    ("Peers and process", 8, [
        series("Round trip", "s", query(to_peer("raftkv_network_peer_round_trip_time_seconds"), "{{pod}} to {{peer}}"), description="Between members; must be far below the election timeout."),
        timeline("Connections to peers", [query(to_peer("raftkv_network_active_peers"), "{{pod}} to {{peer}}")], value_map(_0=("cut", "red"), _1=("connected", "green")), "The stream from each member to each other."),
        series("Traffic to peers", "Bps", query(f"sum by (pod) (rate(raftkv_network_peer_sent_bytes_total{{{ONE}}}[$__rate_interval]))", "{{pod}} sends"),
               query(f"sum by (pod) (rate(raftkv_network_peer_received_bytes_total{{{ONE}}}[$__rate_interval]))", "{{pod}} receives"), description="The leader sends every entry to every follower."),
        series("CPU", "percentunit", query(f"max by (pod) (rate(process_cpu_seconds_total{{{ONE}}}[$__rate_interval]))", "{{pod}}"), description="100 % is one core."),
        series("Memory", "bytes", query(f"max by (pod) (process_resident_memory_bytes{{{ONE}}})", "{{pod}}"), description="Resident."),
        series("Messages dropped, connections failed", "ops",
               query(f"sum by (pod) (rate(raftkv_network_peer_dropped_messages_total{{{ONE}}}[$__rate_interval]))", "{{pod}} dropped"),
               query(f"sum by (pod) (rate(raftkv_network_peer_connection_failures_total{{{ONE}}}[$__rate_interval]))", "{{pod}} failed"), description="Between members. Raft sends again what was dropped."),
    ]),
])

operator = dashboard("raftkv-operator", "raftkv / operator", [
    variable("namespace", "Namespace", "label_values(raftkv_operator_cluster_replicas_desired, namespace)", multi=True),
], [
    ("Now", 4, [
        stat("Operators", "none", f"sum(up{{{OPERATOR}}})", "Pods that answer; one works, the others wait.", bad="zero"),
        name_of("Holds the Lease", f"leader_election_master_status{{{OPERATOR}}} == 1", "pod", "The operator that works.", "nobody"),
        stat("RaftKVs", "none", f"count(raftkv_operator_cluster_replicas_desired{{{SEEN}}})", "Resources that it looks after."),
        stat("Operations running", "none", f"count(raftkv_operator_cluster_operation_age_seconds{{{SEEN}}}) or vector(0)", "Bootstraps, scales, replacements, rolls, ..."),
        stat("Past their deadline", "none", f"sum(raftkv_operator_cluster_progress_deadline_exceeded{{{SEEN}}})", "Operations whose step takes longer than progressDeadlineSeconds.", bad="nonzero"),
        stat("Paused", "none", f"sum(raftkv_operator_cluster_paused{{{SEEN}}})", "Resources with spec.paused."),
    ]),
    ("Clusters", 8, [
        series("Running operations", "s", query(f"max by (namespace, name, type) (raftkv_operator_cluster_operation_age_seconds{{{SEEN}}})", "{{namespace}}/{{name}} {{type}}"), description="Since when each has been running."),
        series("Present step", "s", query(f"max by (namespace, name, type) (raftkv_operator_cluster_step_age_seconds{{{SEEN}}})", "{{namespace}}/{{name}} {{type}}"), description="Since when the operation has been at its step."),
        series("Members missing", "none", query(f"max by (namespace, name) (raftkv_operator_cluster_replicas_desired{{{SEEN}}} - raftkv_operator_cluster_members_ready{{{SEEN}}})", "{{namespace}}/{{name}}"), description="Wanted, less those that take part. Below 0 while a cluster shrinks.", min=None),
        series("Actions", "ops", query(f"sum by (action) (rate(raftkv_operator_actions_total{{{SEEN}}}[$__rate_interval]))", "{{action}}"), description="What it did. Nothing at rest."),
        series("Refusals", "ops", query(f"sum by (reason) (rate(raftkv_operator_refusals_total{{{SEEN}}}[$__rate_interval]))", "{{reason}}"), description="What was asked for or planned and not done; each is an event of the resource too."),
        series("Replacements in an hour", "none", query(f"sum by (namespace, name) (increase(raftkv_operator_replacements_total{{{SEEN}}}[1h]))", "{{namespace}}/{{name}}"), description="Of members whose data or machine was lost."),
        series("Learners and joint configurations", "none",
               query(f"sum by (namespace, name) (raftkv_operator_cluster_learners{{{SEEN}}})", "learners of {{namespace}}/{{name}}"),
               query(f"sum by (namespace, name) (raftkv_operator_cluster_joint{{{SEEN}}})", "joint: {{namespace}}/{{name}}"), description="Both are there for seconds while a membership changes."),
        series("Members without a claim", "none", query(f"max by (namespace, name) (raftkv_operator_cluster_members_without_claim{{{SEEN}}})", "{{namespace}}/{{name}}"), description="Their volume claim was deleted; they are replaced."),
    ]),
    ("Reconciling", 8, [
        series("Reconciles", "ops", query(f"sum by (controller, result) (rate(controller_runtime_reconcile_total{{{OPERATOR}}}[$__rate_interval]))", "{{controller}} {{result}}"), description="Looks at a resource."),
        series("Errors", "ops", query(f"sum by (controller) (rate(controller_runtime_reconcile_errors_total{{{OPERATOR}}}[$__rate_interval]))", "{{controller}}"),
               query(f"sum by (controller) (rate(controller_runtime_reconcile_panics_total{{{OPERATOR}}}[$__rate_interval]))", "{{controller}} panics"), description="Looks that failed; they are repeated after a growing pause."),
        heatmap("Duration of a reconcile", "s", "controller_runtime_reconcile_time_seconds", OPERATOR, "With the calls to members and to the API server."),
        series("Queue", "none", query(f"sum by (name) (workqueue_depth{{{OPERATOR}}})", "{{name}}"), description="Resources that wait for a worker."),
        series("99 % wait in the queue for less than", "s", query(quantile(0.99, "workqueue_queue_duration_seconds", OPERATOR, "name"), "{{name}}"), description="Long waits: more --workers are needed."),
        series("Added, retried", "ops", query(f"sum by (name) (rate(workqueue_adds_total{{{OPERATOR}}}[$__rate_interval]))", "{{name}} added"),
               query(f"sum by (name) (rate(workqueue_retries_total{{{OPERATOR}}}[$__rate_interval]))", "{{name}} retried"), description="Into the queue."),
    ]),
    ("API server and process", 8, [
        series("Calls by method and code", "reqps", query(f"sum by (method, code) (rate(rest_client_requests_total{{{OPERATOR}}}[$__rate_interval]))", "{{method}} {{code}}"), description="To the API server. At rest: the Lease's renewals and the watches."),
        series("99 % of calls are faster than", "s", query(quantile(0.99, "rest_client_request_duration_seconds", OPERATOR), "all"), description="To the API server."),
        series("Longest running reconcile", "s", query(f"max by (name) (workqueue_longest_running_processor_seconds{{{OPERATOR}}})", "{{name}}"), description="More than some seconds: a call hangs."),
        series("CPU", "percentunit", query(f"max by (pod) (rate(process_cpu_seconds_total{{{OPERATOR}}}[$__rate_interval]))", "{{pod}}"), description="100 % is one core."),
        series("Memory", "bytes", query(f"max by (pod) (process_resident_memory_bytes{{{OPERATOR}}})", "{{pod}}"), description="Resident."),
        series("Open files", "none", query(f"max by (pod) (process_open_fds{{{OPERATOR}}})", "{{pod}}"), description="Connections and files."),
    ]),
])


def main():
    check, wrong = sys.argv[1:] == ["--check"], []
    for name, board in {"overview": overview, "cluster": cluster, "operator": operator}.items():
        text = json.dumps(board, indent=1) + "\n"
        path = OUT / f"{name}.json"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(str(path.relative_to(ROOT)))
    if wrong:
        sys.exit("not what tests/chart/dashboards.py writes: " + ", ".join(wrong))


if __name__ == "__main__":
    main()
