#!/usr/bin/env python3
"""The chart on a real Kubernetes with running pods: `helm test`, the commands of its notes, two operators, cost at rest, the samples, namespaced mode.

    tests/chart/live.py [--images FILES] [--resources N] [--members N] [CHECK...]

Checks: helm_test, notes, two_operators, at_rest, samples, namespaced (default: all, in this order; they build on one release). Cluster
and images as in monitoring.py, with five nodes if the samples are checked, one of which needs them. at_rest makes N RaftKV resources (100) of N members (3) each, which run without containers (bare.py), and
measures the operator's process for a minute: memory, processor, calls to the API server.
"""
import json
import os
import re
import sys
import tempfile
import time
import pathlib

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bare  # noqa: E402  pylint: disable=wrong-import-position
import check  # noqa: E402  pylint: disable=wrong-import-position
import cluster as m  # noqa: E402  pylint: disable=wrong-import-position
import queries  # noqa: E402  pylint: disable=wrong-import-position

VALUES = {"replicas": 2, "image": {"repository": "localhost/raftkv-operator"}, "nodeImage": {"repository": "localhost/raftkv-node"},
          "tests": {"image": {"repository": "localhost/raftkv-ctl"}}}
# What issue and README promise of an operator at rest with 100 resources.
MOST_BYTES, MOST_CORES = 30 << 20, 0.01
OPERATORS = ("-l", "app.kubernetes.io/name=raftkv-operator", "-n", m.SYSTEM)

failures = []


def expect(condition, message):
    print(("ok      " if condition else "FAILED  ") + message, flush=True)
    if not condition:
        failures.append(message)


def helm(verb, *arguments, **values):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({**VALUES, **values}, file)
        file.flush()
        return m.run(m.KUBE_HOME / "bin/helm", verb, "raftkv", m.ROOT / "charts/raftkv-operator", "-n", m.SYSTEM, "-f", file.name, "--wait", "--timeout", "120s", *arguments)


def holder():
    return m.kubectl("get", "lease", "raftkv-raftkv-operator", "-n", m.SYSTEM, "-o", "jsonpath={.spec.holderIdentity}").split("_")[0]


def operators():
    return sorted(m.kubectl("get", "pods", *OPERATORS, "-o", "jsonpath={.items[*].metadata.name}").split())


def settled(name, ns, replicas):
    status = json.loads(m.kubectl("get", "rkv", name, "-n", ns, "-o", "json")).get("status", {})
    return status.get("phase") == "Available" and status.get("voters") == replicas == status.get("ready")


def helm_test():
    done = m.run(m.KUBE_HOME / "bin/helm", "test", "raftkv", "-n", m.SYSTEM, "--timeout", "90s")
    expect("Succeeded" in done, "helm test asks the operator with raftkvctl")


def notes(ns="default"):
    """The commands that helm install has printed, as they stand there."""
    done = m.run(m.KUBE_HOME / "bin/helm", "status", "raftkv", "-n", m.SYSTEM, "-o", "json")
    block, others = check.commands_of(json.loads(done)["info"]["notes"])
    programs = f"PATH={m.KUBE_HOME}/bin:$PATH\ntrap 'kill $(jobs -p)' EXIT\n"
    said = m.run("bash", "-euo", "pipefail", "-c", "\n".join([programs, block, *others]))
    expect("hello world" in said and "Succeeded" in said and f"Namespace:    {ns}" in said, f"the commands of the notes make a store in {ns}, write to it and look at it")
    m.kubectl("patch", "rkv", "db", "-n", ns, "--type=merge", "-p", '{"spec": {"storage": {"retention": {"onDelete": "Delete"}}}}')
    m.kubectl("delete", "rkv", "db", "-n", ns, "--timeout=60s")


def two_operators():
    """One works, the other waits; when the first is killed the second goes on where it was."""
    pods = operators()
    expect(len(pods) == 2, f"two operators: {pods}")
    nodes = m.kubectl("get", "pods", *OPERATORS, "-o", "jsonpath={.items[*].spec.nodeName}").split()
    expect(len(set(nodes)) == 2, f"on two nodes: {nodes}")
    expect(m.kubectl("get", "pdb", "raftkv-raftkv-operator", "-n", m.SYSTEM, "-o", "jsonpath={.status.disruptionsAllowed}") == "1", "a budget that lets one go")
    first = holder()
    m.apply(m.raftkv("pair"))
    m.until("pair", lambda: settled("pair", m.NS, 3), 120)
    m.kubectl("scale", "rkv/pair", "-n", m.NS, "--replicas=5")
    m.kubectl("delete", "pod", first, "-n", m.SYSTEM, "--grace-period=0", "--force")
    began = time.monotonic()
    m.until("a new holder of the Lease", lambda: holder() not in ("", first), 60)
    took = time.monotonic() - began
    expect(True, f"the operator that works is killed in the middle of a scale: another one holds the Lease after {took:.0f} s")
    m.until("pair of five", lambda: settled("pair", m.NS, 5), 120)
    expect(True, f"and the scale is done after {time.monotonic() - began:.0f} s")
    second = holder()
    m.kubectl("delete", "pod", second, "-n", m.SYSTEM)
    began = time.monotonic()
    m.until("a new holder of the Lease", lambda: holder() not in ("", second), 60)
    expect(True, f"one that is stopped gives the Lease back: another one holds it after {time.monotonic() - began:.1f} s")
    m.kubectl("delete", "rkv", "pair", "-n", m.NS, "--timeout=60s")


def namespaced():
    """With watchNamespaces: those and no other."""
    for ns in ("mine", "second", "other"):
        m.kubectl("create", "namespace", ns)
    helm("upgrade", watchNamespaces=["mine", "second"], rbac={"readNodes": False})
    roles = m.kubectl("get", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/instance=raftkv", "-o", "name").split()
    expect(all("view" in role or "edit" in role for role in roles), f"no ClusterRole but those for people: {roles}")
    notes("mine")
    for ns in ("mine", "second", "other"):
        m.apply(m.raftkv("db", replicas=1), ns=ns)
    for ns in ("mine", "second"):
        m.until(f"{ns}/db", lambda ns=ns: settled("db", ns, 1), 60)
        m.kubectl("scale", "rkv/db", "-n", ns, "--replicas=3")
        m.until(f"{ns}/db of three", lambda ns=ns: settled("db", ns, 3), 60)
    expect(True, "a RaftKV in each watched namespace is made and scaled")
    expect(m.kubectl("get", "rkv", "db", "-n", "other", "-o", "jsonpath={.status}") == "" and not m.kubectl("get", "pods", "-n", "other", "-o", "name"), "one in another namespace is left alone")
    logs = "".join(m.kubectl("logs", pod, "-n", m.SYSTEM, check=False) for pod in operators())
    expect("orbidden" not in logs, "nothing is forbidden")
    for ns in ("mine", "second"):
        m.kubectl("delete", "rkv", "db", "-n", ns, "--timeout=60s")


def samples():
    """Each of docs/samples becomes available as it is."""
    for path in sorted((m.ROOT / "docs/samples").glob("*.yaml")):
        sample = yaml.safe_load(path.read_text())
        if sample["kind"] != "RaftKV":  # the scenario page of ./dev e2e runs those
            continue
        name, replicas = sample["metadata"]["name"], sample["spec"]["replicas"]
        began = time.monotonic()
        m.kubectl("apply", "-n", m.NS, "-f", path)
        m.until(f"sample {path.name}", lambda: settled(name, m.NS, replicas), 180)
        expect(True, f"docs/samples/{path.name}: {replicas} members take part after {time.monotonic() - began:.0f} s")
        nodes = m.kubectl("get", "pods", "-n", m.NS, "-l", f"app.kubernetes.io/instance={name}", "-o", "jsonpath={.items[*].spec.nodeName}").split()
        expect(len(set(nodes)) == replicas, f"on a node each: {nodes}")
        m.kubectl("delete", "-n", m.NS, "-f", path, "--timeout=90s")
        m.kubectl("delete", "pvc", "--all", "-n", m.NS, "--timeout=60s")


def process_of(pod):
    """Of the operator in this pod: (process id, resident bytes, seconds of processor)."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == "raftkv-operator" and f"HOSTNAME={pod}\0".encode() in (folder / "environ").read_bytes():
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                resident = int(re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1]) << 10
                return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    raise SystemExit(f"no process of {pod} on this machine")


def calls(pod):
    ip = m.kubectl("get", "pod", pod, "-n", m.SYSTEM, "-o", "jsonpath={.status.podIP}")
    text = queries.http("GET", f"http://{ip}:8081/metrics")[1]
    out = {}
    for labels, value in re.findall(r"^rest_client_requests_total\{([^}]*)\} (\S+)", text, re.M):
        method = re.search(r'method="(\w+)"', labels)[1]
        out[method] = out.get(method, 0) + float(value)
    reconciles = sum(float(value) for value in re.findall(r"^controller_runtime_reconcile_total\{[^}]*\} (\S+)", text, re.M))
    return out, reconciles


def at_rest(resources, members):
    nodes = bare.BareNodes(3, m.ROOT / "build/bin/raftkv-node")
    try:
        nodes.start()
        cost_at_rest(resources, members)
    finally:
        nodes.close()


def cost_at_rest(resources, members):
    began = time.monotonic()
    # With a slower tick than usual: what members do is not what is measured, and all of them are on this machine.
    spec = {"replicas": members, "progressDeadlineSeconds": 600, "pod": {"nodeSelector": bare.LABEL}, "config": {"raft": {"tick": "500ms"}}}
    for start in range(0, resources, 10):
        m.apply(*(m.raftkv(f"rest-{n}", **spec) for n in range(start, min(start + 10, resources))))
    row = f"Available,{members},{members} "
    m.until("all at rest", lambda: m.kubectl("get", "rkv", "-n", m.NS, "-o", "jsonpath={range .items[*]}{.status.phase},{.status.voters},{.status.ready} {end}") == row * resources, 900)
    print(f"{resources} RaftKV of {members} members are available after {time.monotonic() - began:.0f} s", flush=True)
    versions = lambda: m.kubectl("get", "rkv,statefulset,service,pdb,networkpolicy", "-n", m.NS, "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    time.sleep(40)
    pod, seconds = holder(), 60
    before, version_before = calls(pod), versions()
    _, cpu_before = process_of(pod)
    began = time.monotonic()
    time.sleep(seconds)
    resident, cpu_after = process_of(pod)
    took = time.monotonic() - began
    after = calls(pod)
    made = {method: int(count - before[0].get(method, 0)) for method, count in after[0].items() if count > before[0].get(method, 0)}
    share = (cpu_after - cpu_before) / took
    print(f"{resources} RaftKV of {members} members at rest for {took:.0f} s: {resident / 2**20:.1f} MiB resident, {share * 100:.2f} % of a core, "
          f"{int(after[1] - before[1])} reconciles, calls to the API server {made}")
    expect(resident <= MOST_BYTES, f"at most {MOST_BYTES >> 20} MiB resident")
    expect(share <= MOST_CORES, f"at most {MOST_CORES * 100:.0f} % of a core")
    # The Lease is renewed every two seconds; watches end after some minutes and are begun again.
    renewals = took / 2 + 3
    expect(sum(count for method, count in made.items() if method != "GET") <= renewals, "no writes but the Lease's renewals")
    expect(made.get("GET", 0) <= renewals + 10, "no polling: reads are the Lease's and watches begun again")
    expect(versions() == version_before, "no object has changed")
    m.kubectl("delete", "rkv", "--all", "-n", m.NS, "--timeout=400s")


def main():
    arguments, options = sys.argv[1:], {"--images": "", "--resources": "100", "--members": "3"}
    while arguments and arguments[0] in options:
        options[arguments[0]] = arguments[1]
        arguments = arguments[2:]
    checks = {"helm_test": helm_test, "notes": notes, "two_operators": two_operators, "at_rest": lambda: at_rest(int(options["--resources"]), int(options["--members"])), "samples": samples, "namespaced": namespaced}
    if unknown := set(arguments) - set(checks):
        sys.exit(f"no such check: {unknown}\n{__doc__}")
    take_down = m.start(options["--images"], nodes=5 if "samples" in (arguments or checks) else 3)
    try:
        helm("install", "--create-namespace")
        m.kubectl("create", "namespace", m.NS)
        for name in arguments or checks:
            checks[name]()
    finally:
        take_down()
    if failures:
        sys.exit(f"{len(failures)} failed")


if __name__ == "__main__":
    main()
