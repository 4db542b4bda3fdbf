"""A real Kubernetes with running pods, and what tests do with it: kubectl, RaftKV resources, processes of members."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chart"))
import queries  # noqa: E402  pylint: disable=wrong-import-position

KUBE = ROOT / "tests/kube/kube"
KUBE_HOME = pathlib.Path(os.environ.get("KUBE_HOME", pathlib.Path.home() / ".cache/raftkv-kube"))
SYSTEM, NS, NAME = "raftkv-system", "insight", "store"


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


def inside(pod):
    """What leads a program into the network of this pod."""
    return "nsenter", "--net=" + run(KUBE, "pod-network", NS, pod).strip(), "--"


def admin(pod, path, body=None, timeout=10):
    """(status, body) as queries.http; from the pod itself, because its NetworkPolicy lets nobody else in but the operator."""
    sent = [] if body is None else ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    answer, _, code = run(*inside(pod), "curl", "-sS", "-m", timeout, "-w", "\n%{http_code}", *sent, f"http://127.0.0.1:7072{path}", check=False).rpartition("\n")
    return int(code), answer


def start(images, nodes=3):
    """Starts one unless KUBECONFIG names one; what takes it down again."""
    if "KUBECONFIG" in os.environ:
        return lambda: None
    os.environ["KUBECONFIG"] = run(KUBE, "up", nodes).strip().splitlines()[-1]
    if images:
        run(KUBE, "load", *images.split(","))
    return lambda: run(KUBE, "down")
