"""Nodes without containers: what is scheduled to them runs as processes of this machine, in one network namespace.

A pod costs a machine several times what a member of a RaftKV does: shims, sandboxes, probes. For hundreds of members this
does what a kubelet does for their objects (a Node with its Lease, the status of pods, readiness by their own probe until they
are ready for the first time, their end) and starts the real raftkv-node with the environment of its container. It is not
a kubelet: nothing is restarted, and volumes are folders that go with the pod.
"""
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import queries
from cluster import KUBE_HOME, run

LABEL = {"raftkv.dev/bare": "yes"}
NETNS, ADDRESS, PODS = "rk-bare", "10.245.0.200", "10.246"


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())


class BareNodes:
    def __init__(self, count, binary):
        self.binary = binary
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="raftkv-bare-"))
        self.nodes = [f"bare{number}" for number in range(1, count + 1)]
        self.processes = {}  # by UID of the pod: process, address
        self.ready = set()
        self.numbers = itertools.count()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.repeat, args=(pause, act)) for pause, act in ((1, self.look), (4, self.renew))]
        port = queries.free_port()
        self.api = f"http://127.0.0.1:{port}"
        self.proxy = subprocess.Popen([KUBE_HOME / "bin/kubectl", "proxy", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        queries.wait_for("proxy of the API", lambda: queries.http("GET", self.api + "/version")[0] == 200)
        self.join_network()
        for number, node in enumerate(self.nodes, 1):
            self.add_node(node, number)
        for thread in self.threads:
            thread.start()

    def close(self):
        self.over.set()
        for thread in self.threads:
            if thread.ident:
                thread.join()
        for process, _ in self.processes.values():
            process.kill()
        for process, _ in self.processes.values():
            process.wait()
        self.proxy.kill()
        run("ip", "netns", "del", NETNS, check=False)
        shutil.rmtree(self.folder)

    def repeat(self, pause, act):
        while not self.over.wait(pause):
            with contextlib.suppress(OSError, ValueError):
                act()

    def join_network(self):
        """Every address of pods is its own (`local`); nodes, the control plane and this machine find it there."""
        run("ip", "netns", "add", NETNS)
        run("ip", "-n", NETNS, "link", "set", "lo", "up")
        run("ip", "link", "add", "v-bare", "netns", "rk-control", "type", "veth", "peer", "name", "eth0", "netns", NETNS)
        run("ip", "-n", "rk-control", "link", "set", "v-bare", "master", "br0", "up")
        run("ip", "-n", NETNS, "addr", "add", f"{ADDRESS}/24", "dev", "eth0")
        run("ip", "-n", NETNS, "link", "set", "eth0", "up")
        run("ip", "-n", NETNS, "route", "add", "local", f"{PODS}.0.0/16", "dev", "lo")
        run("ip", "-n", "rk-control", "route", "add", f"{PODS}.0.0/16", "via", ADDRESS)
        for path in pathlib.Path("/run/netns").glob("rk-node*"):
            number = path.name.removeprefix("rk-node")
            run("ip", "-n", path.name, "route", "add", f"{PODS}.0.0/16", "via", ADDRESS)
            run("ip", "-n", NETNS, "route", "add", f"10.244.{number}.0/24", "via", f"10.245.0.1{number}")
        run("ip", "route", "add", f"{PODS}.0.0/16", "via", ADDRESS, "dev", "rk-host")
        (self.folder / "resolv.conf").write_text("nameserver 10.245.0.1\nsearch cluster.local\noptions ndots:5\n")

    def send(self, method, path, body, kind="application/merge-patch+json"):
        code, answer = queries.http(method, self.api + path, json.dumps(body).encode(), 60, kind)
        # 404: gone meanwhile.
        if code // 100 != 2 and code != 404:
            raise ValueError(f"{method} {path}: {code} {answer[:300]}")

    def add_node(self, name, number):
        has = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "100Gi"}
        self.send("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {**LABEL, "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"bare{number}"}}}, "application/json")
        self.send("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
                  {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now()}}, "application/json")
        self.send("PATCH", f"/api/v1/nodes/{name}/status", {"status": {
            "capacity": has, "allocatable": has, "addresses": [{"type": "InternalIP", "address": ADDRESS}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bare", "message": "", "lastHeartbeatTime": now()[:19] + "Z", "lastTransitionTime": now()[:19] + "Z"}]}})

    def renew(self):
        for name in self.nodes:
            self.send("PATCH", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}", {"spec": {"renewTime": now()}})

    def look(self):
        pods = json.loads(queries.http("GET", self.api + "/api/v1/pods?resourceVersion=0", timeout=10)[1])["items"]
        for pod in pods:
            if pod["spec"].get("nodeName") not in self.nodes:
                continue
            uid = pod["metadata"]["uid"]
            if pod["metadata"].get("deletionTimestamp"):
                self.end(pod)
            elif uid not in self.processes:
                self.begin(pod)
            elif uid not in self.ready and queries.http("GET", f"http://{self.processes[uid][1]}:7073/readyz")[0] == 200:
                self.say(pod, self.processes[uid][1], True)
                self.ready.add(uid)

    def begin(self, pod):
        uid = pod["metadata"]["uid"]
        number = next(self.numbers)
        address = f"{PODS}.{number // 200}.{number % 200 + 1}"
        folder = self.folder / uid
        folder.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "POD_NAME": pod["metadata"]["name"]}
        for variable in pod["spec"]["containers"][0]["env"]:
            environment.setdefault(variable["name"], variable.get("value", "").replace("$(POD_NAME)", pod["metadata"]["name"]).replace("0.0.0.0", address))
        environment["RAFTKV_DATA_DIR"] = str(folder)
        # Before it runs: others look for it by its name.
        self.say(pod, address, False)
        with open(self.folder / f"{pod['metadata']['name']}.log", "ab") as log:
            # pylint: disable-next=consider-using-with
            process = subprocess.Popen(["nsenter", f"--net=/run/netns/{NETNS}", "unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$1"',
                                        self.folder / "resolv.conf", self.binary], env=environment, stdout=log, stderr=log)
        self.processes[uid] = process, address

    def say(self, pod, address, ready):
        uid, word, at = pod["metadata"]["uid"], "True" if ready else "False", now()[:19] + "Z"
        conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": word, "Ready": word}
        container = pod["spec"]["containers"][0]
        self.send("PATCH", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status", {"status": {
            "phase": "Running", "hostIP": ADDRESS, "podIP": address, "podIPs": [{"ip": address}], "startTime": at,
            "conditions": [{"type": kind, "status": status, "lastTransitionTime": at} for kind, status in conditions.items()],
            "containerStatuses": [{"name": container["name"], "image": container["image"], "imageID": "", "containerID": f"process://{uid}", "ready": ready, "started": True, "restartCount": 0,
                                   "state": {"running": {"startedAt": at}}}]}})

    def end(self, pod):
        process, _ = self.processes.get(pod["metadata"]["uid"], (None, None))
        if process and process.poll() is None:
            process.terminate()
            return
        self.send("DELETE", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}",
                  {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}, "application/json")
