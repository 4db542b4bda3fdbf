#!/usr/bin/env python3
"""Evaluates every query of the dashboards and every selector of the alerts against a real Prometheus with real members.

Starts three raftkv-node, a raftkv-operator with RaftKVs whose pods never run, and a Prometheus that scrapes them under the
labels that the monitors give. The operator's API server is that of the cluster in KUBECONFIG, or one that is started
(tests/kube/kube up 0). Writes, reads, changes the leader and stops a majority for a moment, so that there is something to
see. Fails on a query that is refused or has no data.

    tests/chart/queries.py [--build build]            everything on free ports of 127.0.0.1
    tests/chart/queries.py --prometheus URL NS NAME    ask a Prometheus that is there about one cluster
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chart"))
import metrics  # noqa: E402  pylint: disable=wrong-import-position

# What only members show that are lost and have pods. ./dev chart --monitoring has them (faults.FILLS).
NOBODY_IS_LOST = ["operator: Replacements in an hour"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def http(method, url, body=None, timeout=5, kind="application/octet-stream"):
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_for(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"no {what} within {seconds} s")
        time.sleep(0.2)


class Lab:
    """Processes and a folder that go with it."""

    def __init__(self, build):
        self.bin = pathlib.Path(build).absolute() / "bin"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="raftkv-queries-"))
        self.processes, self.nodes = [], []
        self.stop_load = threading.Event()

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")  # pylint: disable=consider-using-with
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def close(self):
        self.stop_load.set()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder)

    def start_nodes(self):
        ports = [(free_port(), free_port(), free_port()) for _ in range(3)]
        peers = ",".join(f"127.0.0.1:{peer}" for _, peer, _ in ports)
        for i, (client, peer, admin) in enumerate(ports):
            process = self.start(f"node{i}", self.bin / "raftkv-node", "--name", f"db-{i}", "--data-dir", self.folder / f"data{i}",
                                 "--client-listen", f"127.0.0.1:{client}", "--peer-listen", f"127.0.0.1:{peer}", "--admin-listen", f"127.0.0.1:{admin}",
                                 "--start-mode", "static", "--start-peers", peers, "--http-request-timeout", "1s")
            self.nodes.append((process, client, admin))
        wait_for("leader", lambda: http("PUT", f"http://127.0.0.1:{ports[0][0]}/kv/a", b"1")[0] in (200, 201, 204))

    def start_prometheus(self, operator):
        """Of the nodes, and of an operator with this port."""
        port = free_port()
        scrape = {"job_name": "raftkv", "static_configs": [
            {"targets": [f"127.0.0.1:{admin}"], "labels": {"namespace": "default", "cluster_name": "db", "pod": f"db-{i}"}} for i, (_, _, admin) in enumerate(self.nodes)]}
        jobs = [scrape, {"job_name": "raftkv-operator", "honor_labels": True,
                         "static_configs": [{"targets": [f"127.0.0.1:{operator}"], "labels": {"pod": "raftkv-operator-0"}}]}]
        config = self.folder / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}))
        self.start("prometheus", shutil.which("prometheus") or sys.exit("prometheus is missing (Debian's package of that name)"),
                   f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}"
        wait_for("Prometheus", lambda: http("GET", url + "/-/ready")[0] == 200)
        return url

    def start_operator(self):
        """With one RaftKV that begins, and one that is refused what it needs: somebody else has its Service."""
        kubectl = pathlib.Path(os.environ.get("KUBE_HOME", pathlib.Path.home() / ".cache/raftkv-kube")) / "bin/kubectl"
        for command in (["apply", "--server-side", "-f", ROOT / "charts/raftkv-operator/files/crds"],
                        ["wait", "--for=condition=Established", "crd/raftkvs.raftkv.dev", "--timeout=30s"],
                        ["create", "service", "clusterip", "refused-peers", "-n", "default", "--tcp=7071"],
                        ["apply", "-n", "default", "-f", ROOT / "docs/samples/three.yaml"]):
            subprocess.run([str(kubectl), *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        refused = {"apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": "refused"}, "spec": {"replicas": 1, "storage": {"size": "1Gi"}}}
        subprocess.run([str(kubectl), "apply", "-n", "default", "-f", "-"], input=json.dumps(refused), text=True, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        self.start("operator", self.bin / "raftkv-operator", "--kubeconfig", os.environ["KUBECONFIG"], "--health-address", f"127.0.0.1:{port}")
        said = lambda name: name in http("GET", f"http://127.0.0.1:{port}/metrics")[1]
        wait_for("operator", lambda: said("raftkv_operator_cluster_") and said("raftkv_operator_refusals_total{"))
        return port

    def load(self):
        number = 0
        while not self.stop_load.is_set():
            number += 1
            client = self.nodes[number % 3][1]
            http("PUT", f"http://127.0.0.1:{client}/kv/key{number % 50}", b"x" * 100, timeout=3)
            http("GET", f"http://127.0.0.1:{client}/kv/key{number % 50}", timeout=3)

    def trouble(self):
        """Requests that fail, and a new leader."""
        for process, _, _ in self.nodes[1:]:
            process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            http("PUT", f"http://127.0.0.1:{self.nodes[0][1]}/kv/lost", b"x", timeout=5)
        for process, _, _ in self.nodes[1:]:
            process.send_signal(signal.SIGCONT)
        wait_for("leader", lambda: http("PUT", f"http://127.0.0.1:{self.nodes[0][1]}/kv/a", b"1")[0] in (200, 201, 204))


def ask(url, expr):
    status, body = http("GET", f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": expr}), timeout=20)
    answer = json.loads(body) if status in (200, 400, 422) else {"error": f"{status}: {body}"}
    return answer.get("data", {}).get("result"), answer.get("error")


def selectors(expr):
    """metric{labels} without what follows, for each metric in an expression."""
    return set(re.findall(r"\b(?:raftkv|workqueue|controller_runtime|rest_client|leader_election|process|up)[a-z_]*(?:\{[^}]*\})?", expr)) - {"up"}


def evaluate(url, ns, name, without=(), only=None):
    """Every query, or those of the panels `only`; what failed. The panels `without` may be empty."""
    failures, asked = [], 0
    for where, expr in metrics.expressions():
        if only is not None and where not in only:
            continue
        expr = expr.replace("$__rate_interval", "1m").replace("$namespace", ns).replace("$cluster", name)
        is_alert = ":" not in where
        # An alert has no data while all is well: its metrics must be there under the labels that it asks for. What a failure
        # alone brings about (a code, a reason, a condition that is true) is left out.
        for query in ([expr] if not is_alert else sorted(re.sub(r',?\s*(?:code=~|reason=~|status=)"[^"]*"', "", part) for part in selectors(expr))):
            asked += 1
            result, error = ask(url, query)
            if error:
                failures.append(f"{where}: {query}: {error}")
            elif not result and where not in without:
                failures.append(f"{where}: no data: {query}")
        if is_alert and (error := ask(url, expr)[1]):
            failures.append(f"{where}: {error}")
    if only is None:
        print(f"{asked} queries, {len(failures)} failed", flush=True)
    return failures


@contextlib.contextmanager
def api_server():
    """The one of KUBECONFIG, which may be one that is started for this."""
    if "KUBECONFIG" in os.environ:
        yield
        return
    kube = ROOT / "tests/kube/kube"
    started = subprocess.run([kube, "up", "0"], capture_output=True, text=True, check=False)
    if started.returncode != 0:
        sys.exit(f"no API server: set KUBECONFIG, or see what '{kube} up 0' needs\n{started.stderr}")
    os.environ["KUBECONFIG"] = started.stdout.strip().splitlines()[-1]
    try:
        yield
    finally:
        subprocess.run([kube, "down"], capture_output=True, check=False)


def observe(build):
    """Everything that this program starts; what failed."""
    lab = Lab(build)
    try:
        lab.start_nodes()
        url = lab.start_prometheus(lab.start_operator())
        thread = threading.Thread(target=lab.load)
        thread.start()
        time.sleep(5)
        lab.trouble()
        time.sleep(15)
        failures = evaluate(url, "default", "db", without=NOBODY_IS_LOST)
        lab.stop_load.set()
        thread.join()
    finally:
        lab.close()
    return failures


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--prometheus"]:
        failures = evaluate(*arguments[1:4])
    else:
        with api_server():
            failures = observe(arguments[1] if arguments[:1] == ["--build"] else ROOT / "build")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
