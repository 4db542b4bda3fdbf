#!/usr/bin/env python3
"""The real Prometheus Operator and a real Prometheus on a real Kubernetes: do they take what the chart gives them?

The operator (built from its Go module, tests/chart/prometheus-operator) has to select the ServiceMonitor, the PodMonitor
and the PrometheusRule; Debian's Prometheus runs with the configuration and the rules that the operator writes for it;
every panel's query and every alert's selectors have to have data; then things are broken, one after another (faults.py),
and each alert has to be silent before its fault, to fire under it and to end after it. The panels that show only what has
gone wrong have to have data after the fault that does that. The rules are those of the chart with
`monitoring.prometheusRule.trial`, which has them wait and look back seconds instead of minutes. Prints a table.

    tests/chart/monitoring.py [--images FILES] [--pictures FOLDER] [FAULT...]

Starts a cluster with tests/kube/kube and loads the images (archives of node, operator and ctl, separated by commas; ./dev
image makes them), or takes the one in KUBECONFIG; runs on the machine that runs the nodes, as root, because faults are
signals to their processes, rules of their networks and limits on their cgroups. --pictures also draws the dashboards
(pictures.py).
"""
import base64
import contextlib
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chart"))
import cluster  # noqa: E402  pylint: disable=wrong-import-position
import faults  # noqa: E402  pylint: disable=wrong-import-position
import pictures  # noqa: E402  pylint: disable=wrong-import-position
import queries  # noqa: E402  pylint: disable=wrong-import-position
from cluster import KUBE_HOME, NAME, NS, SYSTEM, address, apply, at_rest, kubectl, raftkv, run, status, until  # noqa: E402  pylint: disable=wrong-import-position

MODULE = ROOT / "tests/chart/prometheus-operator"
# Seconds. The slowest: the operator that hangs (two minutes), and the gigabyte.
FIRES_WITHIN, ENDS_WITHIN = 180, 120
# Before a fault its alerts are neither firing nor about to for so long, which is true at the latest after the second time.
SILENT_FOR, SILENT_WITHIN = 10, 60


class Discovery:
    """Finds targets in place of kubernetes_sd_configs, which Debian's Prometheus is built without.

    Each becomes a file_sd_configs with the labels that Prometheus documents for the roles pod and endpoints; what the
    operator made of our monitors (selection, relabelling, ports) works on them unchanged.
    """

    def __init__(self, config, folder):
        self.jobs = []
        self.operator = None  # address of one outside of the cluster, found as if it were behind the chart's Service
        for number, job in enumerate(config["scrape_configs"]):
            for found in job.pop("kubernetes_sd_configs"):
                path = folder / f"targets{number}.json"
                self.jobs.append((found["role"], set(found.get("namespaces", {}).get("names", [])), path))
                job.setdefault("file_sd_configs", []).append({"files": [str(path)], "refresh_interval": "1s"})
        self.look()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def close(self):
        self.over.set()
        self.thread.join()

    def run(self):
        while not self.over.wait(1):
            with contextlib.suppress(SystemExit, ValueError):
                self.look()

    @staticmethod
    def labels(what, item):
        out = {}
        for name, value in item["metadata"].get("labels", {}).items():
            name = re.sub(r"\W", "_", name)
            out[f"__meta_kubernetes_{what}_label_{name}"] = value
            out[f"__meta_kubernetes_{what}_labelpresent_{name}"] = "true"
        return out

    def pod(self, pod):
        return {"__meta_kubernetes_namespace": pod["metadata"]["namespace"], "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_phase": pod["status"]["phase"], **self.labels("pod", pod)}

    def pods(self, pods):
        for pod in pods.values():
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", []):
                    yield f"{pod['status']['podIP']}:{port['containerPort']}", {
                        **self.pod(pod), "__meta_kubernetes_pod_container_name": container["name"], "__meta_kubernetes_pod_container_port_name": port.get("name", "")}

    def endpoints(self, pods, services, endpoints):
        for item in endpoints:
            key = item["metadata"]["namespace"], item["metadata"]["name"]
            for subset in item.get("subsets") or []:
                for address in (subset.get("addresses") or []) + (subset.get("notReadyAddresses") or []):
                    target = address.get("targetRef", {})
                    pod = pods.get((key[0], target.get("name")))
                    for port in subset.get("ports", []):
                        yield f"{address['ip']}:{port['port']}", {
                            "__meta_kubernetes_namespace": key[0], "__meta_kubernetes_service_name": key[1], **(self.labels("service", services[key]) if key in services else {}),
                            "__meta_kubernetes_endpoint_port_name": port.get("name", ""), "__meta_kubernetes_endpoint_address_target_kind": target.get("kind", ""),
                            "__meta_kubernetes_endpoint_address_target_name": target.get("name", ""), **(self.pod(pod) if pod else {})}

    def outside(self, services):
        for (ns, name), service in services.items():
            if self.operator and service["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "raftkv-operator":
                yield self.operator, {"__meta_kubernetes_namespace": ns, "__meta_kubernetes_service_name": name, **self.labels("service", service),
                                      "__meta_kubernetes_endpoint_port_name": "metrics"}

    def look(self):
        kinds = {"Pod": {}, "Service": {}, "Endpoints": {}}
        for item in json.loads(kubectl("get", "pods,services,endpoints", "-A", "-o", "json"))["items"]:
            kinds[item["kind"]][item["metadata"]["namespace"], item["metadata"]["name"]] = item
        pods = {key: pod for key, pod in kinds["Pod"].items() if pod["status"].get("podIP")}
        for role, namespaces, path in self.jobs:
            services = kinds["Service"]
            found = self.pods(pods) if role == "pod" else [*self.endpoints(pods, services, kinds["Endpoints"].values()), *self.outside(services)]
            groups = [{"targets": [address], "labels": labels} for address, labels in found if not namespaces or labels["__meta_kubernetes_namespace"] in namespaces]
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(groups))
            fresh.rename(path)


def cluster_of(labels):
    """The RaftKV that an alert is about: members say cluster_name, the operator says name beside a namespace (alone it is a work queue's)."""
    return labels.get("cluster_name") or (labels.get("name") if "namespace" in labels else None)


class Lab(queries.Lab):
    """The Prometheus Operator, Prometheus, and clients of the store."""

    def __init__(self):
        super().__init__(ROOT / "build")
        self.url = ""
        self.clients = []
        self.discovery = None
        self.operator_port = 0
        self.about = None, []  # the cluster and the alerts of the fault that comes
        self.loud_before = set()  # of those alerts
        self.after = contextlib.ExitStack()  # what is to be done when the fault is over and its alerts have ended

    def start_prometheus_operator(self):
        module = json.loads(run("go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator@v0.85.0"))
        kubectl("apply", "--server-side", "-f", pathlib.Path(module["Dir"]) / "example/prometheus-operator-crd")
        kubectl("wait", "--for=condition=Established", "crd/prometheuses.monitoring.coreos.com", "crd/prometheusrules.monitoring.coreos.com", "--timeout=60s")
        binary = KUBE_HOME / "bin/prometheus-operator"
        environment = dict(os.environ, CGO_ENABLED="0")
        subprocess.run(["go", "build", "-mod=readonly", "-ldflags", "-s -w", "-o", str(binary), "github.com/prometheus-operator/prometheus-operator/cmd/operator"],
                       cwd=MODULE, env=environment, check=True)
        self.operator_port = queries.free_port()
        self.start("prometheus-operator", binary, "--kubelet-endpoints=false", f"--web.listen-address=127.0.0.1:{self.operator_port}")

    def start_prometheus(self):
        """With what the operator makes of a Prometheus resource of no pods (there is no image of it here)."""
        admin_config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
        (self.folder / "ca.crt").write_bytes(base64.b64decode(admin_config["certificate-authority-data"]))
        kubectl("create", "serviceaccount", "prometheus", "-n", SYSTEM)
        kubectl("create", "clusterrolebinding", "prometheus-view", "--clusterrole=view", f"--serviceaccount={SYSTEM}:prometheus")
        (self.folder / "token").write_text(kubectl("create", "token", "prometheus", "-n", SYSTEM, "--duration=2h").strip())
        everything = {f"{kind}{which}": {} for kind in ("serviceMonitor", "podMonitor", "rule") for which in ("Selector", "NamespaceSelector")}
        apply({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": "insight"}, "spec": {
            "version": "v2.42.0", "replicas": 0, "scrapeInterval": "2s", "scrapeTimeout": "1s", "evaluationInterval": "1s", **everything,
            "apiserverConfig": {"host": admin_config["server"], "bearerTokenFile": str(self.folder / "token"), "tlsConfig": {"caFile": str(self.folder / "ca.crt")}}}}, ns=SYSTEM)
        secret = lambda: kubectl("get", "secret", "prometheus-insight", "-n", SYSTEM, "-o", "jsonpath={.data.prometheus\\.yaml\\.gz}", check=False)
        config = lambda: gzip.decompress(base64.b64decode(secret())).decode() if secret() else ""
        until("configuration of the Prometheus Operator", lambda: "serviceMonitor/" in config() and "podMonitor/" in config() and "rule_files" in config())
        rules = self.folder / "rules"
        until("rules of the Prometheus Operator", lambda: kubectl("get", "configmap", "prometheus-insight-rulefiles-0", "-n", SYSTEM, "-o", "name", check=False))
        (rules / "prometheus-insight-rulefiles-0").mkdir(parents=True)
        for name, text in json.loads(kubectl("get", "configmap", "prometheus-insight-rulefiles-0", "-n", SYSTEM, "-o", "json"))["data"].items():
            (rules / "prometheus-insight-rulefiles-0" / name).write_text(text)
        # What the operator's sidecar fills in, where the rules are, and (see Discovery) who finds the targets.
        text = config().replace("/etc/prometheus/rules/", f"{rules}/").replace("$(SHARD)", "0").replace("$(POD_NAME)", "prometheus-insight-0")
        parsed = yaml.safe_load(text)
        self.discovery = Discovery(parsed, self.folder)
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(parsed))
        port = queries.free_port()
        self.start("prometheus", shutil.which("prometheus") or sys.exit("prometheus is missing (Debian's package of that name)"), f"--config.file={self.folder / 'prometheus.yml'}",
                   f"--storage.tsdb.path={self.folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}")
        self.url = f"http://127.0.0.1:{port}"
        until("Prometheus", lambda: queries.http("GET", self.url + "/-/ready")[0] == 200)

    def selected(self):
        """What the Prometheus Operator says of our objects."""
        text = queries.http("GET", f"http://127.0.0.1:{self.operator_port}/metrics")[1]
        out = {}
        for kind in ("PodMonitor", "ServiceMonitor", "PrometheusRule"):
            for state in ("selected", "rejected"):
                match = re.search(rf'^prometheus_operator_managed_resources\{{[^}}]*resource="{kind}",state="{state}"\}} (\d+)', text, re.M)
                out[kind, state] = int(match[1]) if match else None
        return out

    def ask(self, expr):
        return queries.ask(self.url, expr)[0] or []

    def firing(self, name):
        """The alerts on this cluster, and those that are on none: with rules that look back seconds, others may have theirs."""
        alerts = json.loads(queries.http("GET", self.url + "/api/v1/alerts", timeout=10)[1])["data"]["alerts"]
        return {item["labels"]["alertname"] for item in alerts if item["state"] == "firing" and cluster_of(item["labels"]) in (name, None)}

    def silent(self, scraped=True):
        """Waits until the alerts of the fault that comes are silent, and notes which are not. Faults that prepare something call it
        once more when they have: if what they have made were not `scraped`, silence would say nothing."""
        name, alerts = self.about
        window = f"[{SILENT_FOR}s]"
        seen = lambda: not scraped or all(float(item["value"][1]) >= 3 for item in self.ask(f'count_over_time(up{{cluster_name="{name}"}}{window})') or [{"value": (0, 0)}])
        loud = lambda: {item["metric"]["alertname"] for item in self.ask(f'last_over_time(ALERTS{{alertname=~"{"|".join(alerts)}"}}{window})')
                        if cluster_of(item["metric"]) in (name, None)}
        with contextlib.suppress(SystemExit):
            until("silence", lambda: seen() and not loud(), SILENT_WITHIN)
        self.loud_before |= loud() if seen() else set(alerts)

    def start_load(self):
        """Clients that go round the pods; their requests through a Service would need a node's network."""
        hosts = [address(f"{NAME}-{slot}") for slot in range(3)]

        def client(number):
            at = number
            while not self.stop_load.is_set():
                at += 1
                host = hosts[at % 3]
                queries.http("PUT", f"http://{host}:7070/kv/key{at % 50}", b"x" * 100, timeout=4)
                queries.http("GET", f"http://{host}:7070/kv/key{at % 50}", timeout=4)
                time.sleep(0.005)

        self.clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in self.clients:
            thread.start()

    def close(self):
        self.stop_load.set()
        for thread in self.clients:
            thread.join()
        if self.discovery:
            self.discovery.close()
        super().close()


def break_things(lab, chosen):
    """Rows of (fault, alert, seconds until it fired, seconds until it ended); None: it did not."""
    failures, start = [], time.monotonic()
    print(f"{'fault':28} {'alert':34} {'before':>7} {'fires':>7} {'ends':>7}")
    for fault, name, alerts in faults.FAULTS:
        if chosen and fault.__name__ not in chosen:
            continue
        fired, ended = {}, {}
        lab.about, lab.loud_before = (name, alerts), set()
        with contextlib.ExitStack() as lab.after:
            lab.silent(scraped=False)
            with fault(lab):
                began = time.monotonic()
                while set(fired) != set(alerts) and time.monotonic() - began < FIRES_WITHIN:
                    for alert in lab.firing(name) & set(alerts) - set(fired):
                        fired[alert] = time.monotonic() - began
                    time.sleep(0.5)
            over = time.monotonic()
            while set(ended) != set(alerts) and time.monotonic() - over < ENDS_WITHIN:
                for alert in set(alerts) - lab.firing(name) - set(ended):
                    ended[alert] = time.monotonic() - over
                time.sleep(0.5)
        for panel in (panel for panel, fills in faults.FILLS.items() if fills is fault):
            empty = lambda panel=panel: queries.evaluate(lab.url, NS, NAME, only=[panel])
            # The operator may have yet to do what it shows.
            with contextlib.suppress(SystemExit):
                until(panel, lambda empty=empty: not empty())
            print(f"{fault.__name__:28} panel '{panel}': {'NO DATA' if empty() else 'has data'}", flush=True)
            failures += empty()
        for alert in alerts:
            cell = lambda times, key=alert: f"{times[key]:5.0f} s" if key in times else "NEVER"
            print(f"{fault.__name__:28} {alert:34} {'LOUD' if alert in lab.loud_before else 'silent':>7} {cell(fired):>7} {cell(ended):>7}", flush=True)
            if alert not in fired or alert not in ended:
                failures.append(f"{alert} did not {'fire' if alert not in fired else 'end'} with {fault.__name__}")
        failures += [f"{alert} was not silent before {fault.__name__}" for alert in lab.loud_before]
        failures += [f"{late} did not fire later than {early} with {fault.__name__}" for early, late in faults.EARLIER
                     if early in fired and late in fired and fired[early] >= fired[late]]
    print(f"all of it took {time.monotonic() - start:.0f} s", flush=True)
    return failures


def install():
    values = {
        "image": {"repository": "localhost/raftkv-operator"}, "nodeImage": {"repository": "localhost/raftkv-node"},
        "monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True, "trial": True}, "dashboards": {"enabled": True}},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        run(KUBE_HOME / "bin/helm", "install", "raftkv", ROOT / "charts/raftkv-operator", "-n", SYSTEM, "--create-namespace", "-f", file.name, "--wait", "--timeout", "90s")
    kubectl("create", "namespace", NS)
    apply(raftkv(NAME))
    at_rest()


def observe(lab, chosen, folder):
    """Everything; what failed."""
    lab.start_prometheus_operator()
    install()
    lab.start_prometheus()
    until("the Prometheus Operator's word on our objects", lambda: all(lab.selected().get((kind, "selected")) for kind in ("PodMonitor", "ServiceMonitor", "PrometheusRule")))
    failures = [f"the Prometheus Operator rejects {count} {kind}" for (kind, state), count in lab.selected().items() if state == "rejected" and count]
    until("four targets", lambda: sum(float(item["value"][1]) for item in lab.ask('up{job=~"raftkv|raftkv-operator"}')) == 4)
    print("the Prometheus Operator takes the PodMonitor, the ServiceMonitor and the PrometheusRule; four targets are up")
    lab.start_load()
    kubectl("delete", "pod", status()["leader"], "-n", NS)
    apply(raftkv("waiting", replicas=1, image="localhost/no-such-image:1"))
    time.sleep(5)
    at_rest()
    # Requests fail for a moment, so that there is something to see of that too.
    with faults.majority_hangs(lab):
        time.sleep(15)
    # Prometheus is a scrape or two behind the operator: while it still sees the election, nobody leads and nobody follows.
    until("a leader and its followers in Prometheus", lambda: lab.ask(f'raftkv_server_is_leader{{cluster_name="{NAME}"}} == 1') and lab.ask(f'raftkv_server_follower_lag_entries{{cluster_name="{NAME}"}}'))
    failures += queries.evaluate(lab.url, NS, NAME, without=faults.FILLS)
    kubectl("delete", "rkv", "waiting", "-n", NS, "--timeout=60s")
    lab.stop_load.set()
    for thread in lab.clients:
        thread.join()
    lab.stop_load.clear()
    lab.start_load()
    failures += break_things(lab, chosen)
    if folder:
        pictures.draw_all(lab.url, NS, NAME, folder, 10)
    return failures


def main():
    arguments, options = sys.argv[1:], {"--images": "", "--pictures": ""}
    while arguments and arguments[0] in options:
        options[arguments[0]] = arguments[1]
        arguments = arguments[2:]
    names = [fault.__name__ for fault, _, _ in faults.FAULTS]
    if unknown := set(arguments) - set(names):
        sys.exit(f"no such fault: {unknown}; there are {', '.join(names)}\n{__doc__}")
    take_down = cluster.start(options["--images"])
    lab = Lab()
    try:
        failures = observe(lab, arguments, options["--pictures"])
    finally:
        lab.close()
        take_down()
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
