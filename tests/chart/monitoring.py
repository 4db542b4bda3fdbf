#!/usr/bin/env python3
"""The real Prometheus Operator and a real Prometheus on a real Kubernetes: do they take what the chart gives them?

The operator (built from its Go module, tests/chart/prometheus-operator) has to select the ServiceMonitor, the PodMonitor
and the PrometheusRule; Debian's Prometheus runs with the configuration and the rules that the operator writes for it;
every panel's query and every alert's selectors have to have data; then things are broken, one after another, and each
alert has to fire under its fault and to end after it. The rules are those of the chart with
`monitoring.prometheusRule.trial`, which has them wait seconds instead of minutes. Prints a table.

    tests/chart/monitoring.py [--images FILES] [--pictures FOLDER] [FAULT...]

Starts a cluster with tests/kube/kube and loads the images (archives of node, operator and ctl, separated by commas; ./dev
image makes them), or takes the one in KUBECONFIG; runs on the machine that runs the nodes, as root, because faults are
signals to their processes. --pictures also draws the dashboards (pictures.py).
"""
import base64
import contextlib
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chart"))
import pictures  # noqa: E402  pylint: disable=wrong-import-position
import queries  # noqa: E402  pylint: disable=wrong-import-position

KUBE = ROOT / "tests/kube/kube"
KUBE_HOME = pathlib.Path(os.environ.get("KUBE_HOME", pathlib.Path.home() / ".cache/raftkv-kube"))
MODULE = ROOT / "tests/chart/prometheus-operator"
SYSTEM, NS, NAME = "raftkv-system", "insight", "store"
# What cannot be brought about here within minutes; their expressions have promtool tests (alerts_test.yaml).
NOT_TRIED = {
    "RaftKVTwoLeaders": "a leader that has lost its quorum steps down before a second one is elected",
    "RaftKVSlowCommits": "a batch of the state goes into memory, where a process that stands still hardly ever does so",
    "RaftKVApplyLags": "members apply faster than this machine can write",
    "RaftKVSnapshotsFail": "takes a member that is cut off again and again while it needs a snapshot",
    "RaftKVExcessiveGrowth": "takes a gigabyte of state and four hours",
    "RaftKVWritesStalled": "takes a disk that is slower than RocksDB's memtables are large",
    "RaftKVVolumeAlmostFull": "volumes here are folders of the machine's disk",
    "RaftKVVolumeFilling": "the same",
    "RaftKVOperatorStuck": "takes a call that hangs for two minutes, and every call has a limit below that",
}
FIRES_WITHIN, ENDS_WITHIN = 90, 120  # seconds


def run(*command, stdin=None, check=True):
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.strip()[:1000]}")
    return done.stdout


def kubectl(*arguments, stdin=None, check=True):
    return run(KUBE_HOME / "bin/kubectl", *arguments, stdin=stdin, check=check)


def apply(*objects, ns=NS):
    kubectl("apply", "--server-side", "--force-conflicts", "-n", ns, "-f", "-", stdin=yaml.safe_dump_all(objects))


def raftkv(name, **spec):
    return {"apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": name},
            "spec": {"replicas": 3, "storage": {"size": "1Gi", "retention": {"onDelete": "Delete"}}, "progressDeadlineSeconds": 10, **spec}}


def patch(name, spec):
    kubectl("patch", "rkv", name, "-n", NS, "--type=merge", "-p", json.dumps({"spec": spec}))


def status(name=NAME):
    return json.loads(kubectl("get", "rkv", name, "-n", NS, "-o", "json")).get("status", {})


def until(what, condition, seconds=60):
    queries.wait_for(what, condition, seconds)


def at_rest(name=NAME, replicas=3):
    until(f"{name} at rest", lambda: (s := status(name)).get("phase") == "Available" and s.get("ready") == replicas and s.get("voters") == replicas, 120)


def processes(*pods):
    """Of the members' processes on this machine."""
    out = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text().strip() == "raftkv-node":
                host = re.search(rb"(?:^|\0)HOSTNAME=([^\0]+)", (folder / "environ").read_bytes())
                if host and host[1].decode() in pods:
                    out.append(int(folder.name))
    return out


def address(pod):
    return kubectl("get", "pod", pod, "-n", NS, "-o", "jsonpath={.status.podIP}").strip()


def admin(pod, path, body=None, timeout=10):
    return queries.http("POST" if body is not None else "GET", f"http://{address(pod)}:7072{path}", None if body is None else json.dumps(body).encode(), timeout, "application/json")


class Discovery:
    """Finds targets in place of kubernetes_sd_configs, which Debian's Prometheus is built without.

    Each becomes a file_sd_configs with the labels that Prometheus documents for the roles pod and endpoints; what the
    operator made of our monitors (selection, relabelling, ports) works on them unchanged.
    """

    def __init__(self, config, folder):
        self.jobs = []
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

    def look(self):
        kinds = {"Pod": {}, "Service": {}, "Endpoints": {}}
        for item in json.loads(kubectl("get", "pods,services,endpoints", "-A", "-o", "json"))["items"]:
            kinds[item["kind"]][item["metadata"]["namespace"], item["metadata"]["name"]] = item
        pods = {key: pod for key, pod in kinds["Pod"].items() if pod["status"].get("podIP")}
        for role, namespaces, path in self.jobs:
            found = self.pods(pods) if role == "pod" else self.endpoints(pods, kinds["Service"], kinds["Endpoints"].values())
            groups = [{"targets": [address], "labels": labels} for address, labels in found if not namespaces or labels["__meta_kubernetes_namespace"] in namespaces]
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(groups))
            fresh.rename(path)


class Lab(queries.Lab):
    """The Prometheus Operator, Prometheus, and clients of the store."""

    def __init__(self):
        super().__init__(ROOT / "build")
        self.url = ""
        self.clients = []
        self.discovery = None
        self.operator_port = 0

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

    def firing(self):
        return {item["labels"]["alertname"] for item in json.loads(queries.http("GET", self.url + "/api/v1/alerts", timeout=10)[1])["data"]["alerts"] if item["state"] == "firing"}

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


# --- Faults: each is a context in which the alerts that it names have to fire ---------------------


def stopped(*pods):
    pids = processes(*pods)
    if len(pids) != len(pods):
        raise SystemExit(f"processes of {pods}: {pids}")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def go_on(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def followers():
    leader = status()["leader"]
    return [pod for pod in (f"{NAME}-{slot}" for slot in range(3)) if pod != leader]


@contextlib.contextmanager
def majority_hangs(_lab):
    pids = stopped(*followers())
    try:
        yield
    finally:
        go_on(pids)
    at_rest()


@contextlib.contextmanager
def leader_moves(_lab):
    for _ in range(6):
        admin(status()["leader"], "/admin/transfer", {})
        time.sleep(3)
    yield


@contextlib.contextmanager
def slow_member(_lab):
    """It stands still for 1.3 s at a time, as one does whose disk or processor hangs."""
    pids, over = processes(followers()[0]), threading.Event()

    def pulse():
        while not over.is_set():
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(1.3)
            go_on(pids)
            time.sleep(0.15)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        go_on(pids)
    at_rest()


@contextlib.contextmanager
def lagging_member(lab):
    behind = followers()[0]
    pids = stopped(behind)
    leader = address(status()["leader"])
    lab.start("load", lab.bin / "raftkv-bench", "put", "--endpoints", f"{leader}:7070", "--clients", "64", "--requests", "30000", "--duration", "60").wait(90)
    try:
        yield
    finally:
        go_on(pids)
    at_rest()


@contextlib.contextmanager
def joint_without_majority(_lab):
    """A change to three voters of which two hang: its joint configuration cannot be left."""
    patch(NAME, {"paused": True})
    leader, others = status()["leader"], followers()
    ids = [member["memberID"] for member in status()["members"] if member["pod"] in others]
    code, body = admin(leader, "/admin/membership", {"demote": ids})
    if code != 200:
        raise SystemExit(f"demote: {code} {body}")
    time.sleep(2)
    pids = stopped(*others)
    try:
        admin(leader, "/admin/membership", {"promote": ids}, timeout=3)
        yield
    finally:
        go_on(pids)
    patch(NAME, {"paused": False})
    at_rest()


@contextlib.contextmanager
def claim_cannot_be_made_again(_lab):
    apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-claims"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}})
    lost = followers()[0]
    kubectl("delete", "pvc", f"data-{lost}", "-n", NS, "--wait=false")
    kubectl("delete", "pod", lost, "-n", NS, "--grace-period=1", "--wait=false")
    try:
        yield
    finally:
        kubectl("delete", "resourcequota", "no-claims", "-n", NS)
    at_rest()


@contextlib.contextmanager
def quota_is_full(_lab):
    apply(raftkv("small", replicas=1, config={"limits": {"quotaBytes": "1Mi"}}))
    at_rest("small", 1)
    host = address("small-0")
    for n in range(400):
        if queries.http("PUT", f"http://{host}:7070/kv/fill{n}", os.urandom(20_000))[0] == 507:
            break
    yield
    kubectl("delete", "rkv", "small", "-n", NS, "--timeout=60s")


@contextlib.contextmanager
def image_cannot_be_had(_lab):
    apply(raftkv("stuck", replicas=1, image="localhost/no-such-image:1"))
    yield
    kubectl("delete", "rkv", "stuck", "-n", NS, "--timeout=60s")


DEPLOYMENT = "deploy/raftkv-raftkv-operator"


@contextlib.contextmanager
def no_operator(_lab):
    kubectl("scale", DEPLOYMENT, "-n", SYSTEM, "--replicas=0")
    yield
    kubectl("scale", DEPLOYMENT, "-n", SYSTEM, "--replicas=1")
    kubectl("rollout", "status", DEPLOYMENT, "-n", SYSTEM, "--timeout=90s")


@contextlib.contextmanager
def lease_of_somebody_else(_lab):
    kubectl("scale", DEPLOYMENT, "-n", SYSTEM, "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=raftkv-operator", "-n", SYSTEM, "--timeout=60s", check=False)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    kubectl("patch", "lease", "raftkv-raftkv-operator", "-n", SYSTEM, "--type=merge", "-p",
            json.dumps({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 3600, "renewTime": now, "acquireTime": now}}))
    kubectl("scale", DEPLOYMENT, "-n", SYSTEM, "--replicas=1")
    yield
    kubectl("delete", "lease", "raftkv-raftkv-operator", "-n", SYSTEM)


@contextlib.contextmanager
def rights_are_missing(_lab):
    binding = kubectl("get", "clusterrolebinding", "raftkv-raftkv-operator", "-o", "json")
    kubectl("delete", "clusterrolebinding", "raftkv-raftkv-operator")
    apply_as = raftkv("unheard", replicas=1)
    apply(apply_as)
    yield
    kept = json.loads(binding)
    kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key in ("name", "labels", "annotations")}
    kubectl("create", "-f", "-", stdin=json.dumps(kept))
    until("unheard", lambda: status("unheard").get("phase") == "Available", 120)
    kubectl("delete", "rkv", "unheard", "-n", NS, "--timeout=60s")


FAULTS = [
    (majority_hangs, ["RaftKVMembersDown", "RaftKVInsufficientMembers", "RaftKVNoLeader", "RaftKVQuorumLost", "RaftKVMembersMissing", "RaftKVHttpErrors", "RaftKVManyHttpErrors",
                      "RaftKVFailedProposals", "RaftKVPeersDisconnected"]),
    (leader_moves, ["RaftKVManyLeaderChanges"]),
    (slow_member, ["RaftKVMemberCommunicationSlow", "RaftKVSlowFsync", "RaftKVVerySlowFsync", "RaftKVHttpSlow"]),
    (lagging_member, ["RaftKVFollowerLags"]),
    (joint_without_majority, ["RaftKVJointTooLong"]),
    (claim_cannot_be_made_again, ["RaftKVMemberWithoutClaim"]),
    (quota_is_full, ["RaftKVOutOfSpace"]),
    (image_cannot_be_had, ["RaftKVOperationStuck"]),
    (no_operator, ["RaftKVOperatorDown"]),
    (lease_of_somebody_else, ["RaftKVOperatorWithoutLease"]),
    (rights_are_missing, ["RaftKVOperatorErrors"]),
]


def break_things(lab, chosen):
    """Rows of (fault, alert, seconds until it fired, seconds until it ended); None: it did not."""
    failures = []
    print(f"{'fault':28} {'alert':34} {'fires':>7} {'ends':>7}")
    for fault, alerts in FAULTS:
        if chosen and fault.__name__ not in chosen:
            continue
        fired, ended, began = {}, {}, time.monotonic()
        with fault(lab):
            while set(fired) != set(alerts) and time.monotonic() - began < FIRES_WITHIN:
                for alert in lab.firing() & set(alerts) - set(fired):
                    fired[alert] = time.monotonic() - began
                time.sleep(0.5)
        over = time.monotonic()
        while set(ended) != set(alerts) and time.monotonic() - over < ENDS_WITHIN:
            for alert in set(alerts) - lab.firing() - set(ended):
                ended[alert] = time.monotonic() - over
            time.sleep(0.5)
        for alert in alerts:
            cell = lambda times, name=alert: f"{times[name]:5.0f} s" if name in times else "NEVER"
            print(f"{fault.__name__:28} {alert:34} {cell(fired):>7} {cell(ended):>7}", flush=True)
            if alert not in fired or alert not in ended:
                failures.append(f"{alert} did not {'fire' if alert not in fired else 'end'} with {fault.__name__}")
    return failures


def cluster(images):
    """Starts one unless KUBECONFIG names one; what takes it down again."""
    if "KUBECONFIG" in os.environ:
        return lambda: None
    os.environ["KUBECONFIG"] = run(KUBE, "up", "3").strip().splitlines()[-1]
    if images:
        run(KUBE, "load", *images.split(","))
    return lambda: run(KUBE, "down")


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
    time.sleep(10)
    failures += queries.evaluate(lab.url, NS, NAME, with_operator=True)
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
    if unknown := set(arguments) - {fault.__name__ for fault, _ in FAULTS}:
        sys.exit(f"no such fault: {unknown}; there are {', '.join(fault.__name__ for fault, _ in FAULTS)}\n{__doc__}")
    take_down = cluster(options["--images"])
    lab = Lab()
    try:
        failures = observe(lab, arguments, options["--pictures"])
    finally:
        lab.close()
        take_down()
    for alert, why in NOT_TRIED.items():
        print(f"{'not tried':28} {alert:34} {why}")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
