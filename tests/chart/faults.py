"""What is broken to see alerts fire, and what mends it: each fault is a context in which the alerts that FAULTS names for
it have to fire, and at whose end it is mended, so that they end. A fault that makes something to break first makes it, then
waits for Lab.silent, and has it removed by Lab.after, when the alerts have ended. All are real: signals to processes, limits
of the kernel on what a process writes, network rules and resets between members, small volumes, rights taken away; only an
operator that never comes back from a call takes a fault point (base/fault_points.h).
"""
import contextlib
import json
import os
import pathlib
import signal
import threading
import time

import cgroups
import queries
from cluster import KUBE_HOME, NAME, NS, ROOT, SYSTEM, address, admin, apply, at_rest, inside, kubectl, patch, processes, raftkv, run, status, until


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


# --- What faults are made of ----------------------------------------------------------------------


@contextlib.contextmanager
def every_so_often(pause, act):
    """act(), again and again with pauses, on a thread of its own."""
    over = threading.Event()

    def loop():
        while not over.is_set():
            act()
            over.wait(pause)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def disk():
    """MAJOR:MINOR of the disk that volumes are on; of the whole of it, which is what limits are for."""
    number = os.stat(KUBE_HOME).st_dev
    block = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    return ((block.parent if (block / "partition").exists() else block) / "dev").read_text().strip()


def slow_writes(pod, rate):
    """The kernel lets the pod's process write this many bytes a second."""
    return cgroups.slow_writes(processes(pod)[0], disk(), rate)


@contextlib.contextmanager
def cut_from_peers(pod):
    """By the node of this pod. Not in the table of NetworkPolicies, which is always replaced as a whole."""
    node = kubectl("get", "pod", pod, "-n", NS, "-o", "jsonpath={.spec.nodeName}").strip()
    ip = address(pod)
    rules = [("PREROUTING", end, ip, "-p", "tcp", port, "7071", "-j", "DROP") for end in ("-s", "-d") for port in ("--sport", "--dport")]
    iptables = lambda verb: [run("nsenter", f"--net=/run/netns/rk-{node}", "iptables", "-w", "-t", "raw", verb, *rule) for rule in rules]
    iptables("-I")
    try:
        yield
    finally:
        iptables("-D")


def bench(lab, host, *arguments):
    """Writes until it is ended or done."""
    return lab.start("load", lab.bin / "raftkv-bench", "put", "--endpoints", f"{host}:7070", "--warmup", "0", "--timeout", "60", *arguments)


@contextlib.contextmanager
def writing(lab, host, *arguments):
    load = bench(lab, host, *arguments)
    try:
        yield
    finally:
        load.terminate()
        load.wait(60)


def write_all(lab, host, keys, size, *arguments):
    """These many keys with values of this size, each once."""
    if bench(lab, host, "--fill", "--keys", keys, "--value-size", size, "--clients", "32", "--duration", "0.1", *arguments).wait(120) != 0:
        raise SystemExit("not everything could be written: " + (lab.folder / "load.log").read_text()[-500:])


def leads(pod):
    return json.loads(admin(pod, "/admin/status")[1])["role"] == "LEADER"


def delete(name):
    kubectl("delete", "rkv", name, "-n", NS, "--timeout=60s")


def make(lab, name, replicas=3, **spec):
    """A RaftKV for the time of the fault."""
    lab.after.callback(delete, name)
    apply(raftkv(name, replicas=replicas, **spec))
    at_rest(name, replicas)
    lab.silent()


# --- Faults ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def majority_hangs(_lab):
    """And more clients write to the one that is left: what fails is counted by the second."""
    leader = status()["leader"]
    host, over = address(leader), threading.Event()

    def client():
        while not over.is_set():
            queries.http("PUT", f"http://{host}:7070/kv/hung", b"x", timeout=4)
            time.sleep(0.1)  # where it refuses at once

    clients = [threading.Thread(target=client) for _ in range(96)]
    pids = stopped(*(pod for pod in followers() if pod != leader))
    for thread in clients:
        thread.start()
    try:
        yield
    finally:
        over.set()
        go_on(pids)
        for thread in clients:
            thread.join()
    at_rest()


@contextlib.contextmanager
def leader_moves(_lab):
    for _ in range(6):
        admin(status()["leader"], "/admin/transfer", {})
        time.sleep(3)
    yield


@contextlib.contextmanager
def slow_member(_lab):
    """It stands still for 1.3 s at a time, as one does that gets no processor."""
    pids = processes(followers()[0])

    def pause():
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.3)
        go_on(pids)

    with every_so_often(0.15, pause):
        yield
    at_rest()


@contextlib.contextmanager
def lagging_member(lab):
    behind = followers()[0]
    pids = stopped(behind)
    leader = address(status()["leader"])
    bench(lab, leader, "--clients", "64", "--requests", "30000", "--duration", "60").wait(90)
    try:
        yield
    finally:
        go_on(pids)
    at_rest()


@contextlib.contextmanager
def joint_without_majority(lab):
    """A change to three voters of which two hang: its joint configuration cannot be left. By force, because the leader refuses
    to make voters of learners that it has not heard of for an election timeout, which on a busy machine passes before it is asked."""
    patch(NAME, {"paused": True})
    leader, others = status()["leader"], followers()
    ids = [member["memberID"] for member in status()["members"] if member["pod"] in others]
    code, body = admin(leader, "/admin/membership", {"demote": ids})
    if code != 200:
        raise SystemExit(f"demote: {code} {body}")
    lab.silent()
    pids = stopped(*others)
    try:
        # It gets no answer: that comes when the change is applied.
        code, body = admin(leader, "/admin/membership", {"promote": ids, "force": True}, timeout=3)
        if code // 100 == 4:
            raise SystemExit(f"promote: {code} {body}")
        yield
    finally:
        go_on(pids)
    patch(NAME, {"paused": False})
    at_rest()


@contextlib.contextmanager
def claim_cannot_be_made_again(lab):
    """The operator does not see the claim go while its pod still runs: it would take the member out before it has none."""
    apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-claims"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}})
    lost = followers()[0]
    patch(NAME, {"paused": True})
    until("the pause", lambda: status().get("phase") == "Paused")
    lab.silent()
    kubectl("delete", "pvc", f"data-{lost}", "-n", NS, "--wait=false")
    kubectl("delete", "pod", lost, "-n", NS, "--grace-period=1", "--wait=false")
    kubectl("wait", "--for=delete", f"pvc/data-{lost}", "-n", NS, "--timeout=60s")
    patch(NAME, {"paused": False})
    try:
        yield
    finally:
        kubectl("delete", "resourcequota", "no-claims", "-n", NS)
    at_rest()


@contextlib.contextmanager
def claim_of_the_only_member_goes(lab):
    """Its pod runs, and its data is there until that ends. The operator takes nobody out before there are others."""
    make(lab, "only", 1)
    claim = lambda: kubectl("get", "pvc", "data-only-0", "-n", NS, "-o", "jsonpath={.metadata.uid}", check=False)
    before = claim()
    kubectl("delete", "pvc", "data-only-0", "-n", NS, "--wait=false")
    yield
    patch("only", {"replicas": 3})
    until("another claim in its place", lambda: claim() not in (before, ""), 120)
    at_rest("only")


@contextlib.contextmanager
def quota_is_full(lab):
    make(lab, "small", 1, config={"limits": {"quotaBytes": "1Mi"}})
    host = address("small-0")
    for n in range(400):
        if queries.http("PUT", f"http://{host}:7070/kv/fill{n}", os.urandom(20_000))[0] == 507:
            break
    yield
    patch("small", {"config": {"limits": {"quotaBytes": "64Mi"}}})


@contextlib.contextmanager
def image_cannot_be_had(lab):
    lab.after.callback(delete, "stuck")
    apply(raftkv("stuck", replicas=1, image="localhost/no-such-image:1"))
    yield
    patch("stuck", {"image": None})


@contextlib.contextmanager
def slow_disk(lab):
    """Of one follower, while many write: it is behind with everything, and so are the clients that it serves."""
    pod = followers()[0]
    with slow_writes(pod, 300_000), writing(lab, address(status()["leader"]), "--clients", "64", "--rate", "4000", "--duration", "3600", "--keys", "1000"):
        yield
    at_rest()


@contextlib.contextmanager
def slow_disk_of_the_state(lab):
    """Little memory for changes, little that the disk takes, and large changes at once: deletions of keys with long names, by
    prefix, which the log hardly grows by."""
    make(lab, "slow", 1, config={"storage": {"stateMemtableBytes": "1Mi"}, "http": {"requestTimeout": "60s"}})
    host = address("slow-0")
    prefixes = "abcdefgh"
    for prefix in prefixes:
        write_all(lab, host, 9000, 10, "--path-prefix", f"/kv/{prefix}" + "x" * 200)

    def delete_all():
        for prefix in prefixes:
            code, body = queries.http("POST", f"http://{host}:7070/txn", json.dumps({"success": [{"delete": {"prefix": prefix}}]}).encode(), 120, "application/json")
            if code != 200:
                print(f"deletion: {code} {body[:200]}", flush=True)

    lab.silent()
    thread = threading.Thread(target=delete_all)
    with slow_writes("slow-0", 200_000):
        thread.start()
        yield
    thread.join()


@contextlib.contextmanager
def leader_cut_from_the_members(lab):
    """Prometheus still reaches it. It steps down at the end of the first election timeout in which nobody has answered it: the
    second one, if it was cut off at the beginning of its first; the others elect somebody before that. So long ones."""
    make(lab, "torn", config={"raft": {"tick": "1s", "electionTicks": 20}})
    members = {member["pod"]: member["memberID"] for member in status("torn")["members"]}
    old = status("torn")["leader"]
    new = next(pod for pod in members if pod != old)
    admin(old, "/admin/transfer", {"to": members[new]})
    until("the hand-over", lambda: leads(new))
    time.sleep(2)
    with cut_from_peers(new):
        yield


@contextlib.contextmanager
def snapshot_is_interrupted(lab):
    """A member needs one that takes half a minute, and its connections are reset every few seconds. Cut off while all is written,
    not stopped: as much as that waits in buffers for one that is."""
    make(lab, "thin", config={"limits": {"snapshotBytesPerSecond": "512Ki"}, "storage": {"logKeepEntries": 10, "logKeepBytes": "64Ki", "flushAfterBytes": "1Mi"}})
    leader = status("thin")["leader"]
    behind = next(member["pod"] for member in status("thin")["members"] if member["pod"] != leader)
    network = inside(behind)
    reset = lambda: run(*network, "ss", "-tK", "sport = 7071 or dport = 7071")
    with cut_from_peers(behind):
        write_all(lab, address(leader), 600, 20_000)
        reset()
    with every_so_often(4, reset):
        yield
    at_rest("thin")


@contextlib.contextmanager
def state_grows(lab):
    make(lab, "grown", 1)
    with writing(lab, address("grown-0"), "--clients", "8", "--keys", "100000", "--value-size", "1000000", "--duration", "3600"):
        yield


@contextlib.contextmanager
def volume_fills(lab):
    """A volume of 400 MiB that is written to until nothing more goes in, which is when three quarters of it are free: the
    usual limits keep 256 MiB (docs/runbooks.md). Slowly, so that it is seen what comes first. Then it is made larger."""
    folder = lab.folder / "volume"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=400m,mode=0777", "none", folder)
    lab.after.callback(run, "umount", "-l", folder)
    lab.after.callback(kubectl, "delete", "pv", "brim", "--timeout=60s")
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "brim"}, "spec": {
        "capacity": {"storage": "400Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "brim", "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": str(folder)}}})
    make(lab, "brim", 1, storage={"size": "400Mi", "className": "brim", "retention": {"onDelete": "Delete"}}, config={"storage": {"logKeepBytes": "8Mi", "flushAfterBytes": "8Mi"}})
    with writing(lab, address("brim-0"), "--clients", "4", "--rate", "50", "--keys", "100000", "--value-size", "20000", "--duration", "3600"):
        yield
    run("mount", "-o", "remount,size=2g", folder)


@contextlib.contextmanager
def pods_are_refused(_lab):
    """Which resources must have limits no schema knows; the API server does."""
    patch(NAME, {"resources": {"requests": {"example.com/device": "1"}}})
    yield
    patch(NAME, {"resources": None})
    at_rest()


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
    delete("unheard")


@contextlib.contextmanager
def operator_never_comes_back(lab):
    """From one call, which no operator does whose calls all have limits: one with fault points, in place of the installed one."""
    arguments = json.loads(kubectl("get", DEPLOYMENT, "-n", SYSTEM, "-o", "jsonpath={.spec.template.spec.containers[0].args}"))
    with no_operator(lab):
        kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=raftkv-operator", "-n", SYSTEM, "--timeout=60s", check=False)
        faults, port = lab.folder / "faults", queries.free_port()
        faults.write_text("status_before sleep 600000")
        mine = [word for word in arguments if not word.startswith("--health-address")] + [f"--health-address=127.0.0.1:{port}"]
        process = lab.start("operator", "env", f"RAFTKV_FAULT_POINT={faults}", ROOT / "build-faults/bin/raftkv-operator", *mine)
        lab.discovery.operator = f"127.0.0.1:{port}"
        until("the operator's Lease", lambda: queries.http("GET", f"http://127.0.0.1:{port}/metrics")[1].count("leader_election_master_status{") > 0)
        lab.silent()
        patch(NAME, {"pod": {"labels": {"insight": "stuck"}}})
        try:
            yield
        finally:
            process.kill()
            lab.discovery.operator = None
    at_rest()


# Each with the cluster that it is about and the alerts that have to fire on it.
FAULTS = [
    (majority_hangs, NAME, ["RaftKVMembersDown", "RaftKVInsufficientMembers", "RaftKVNoLeader", "RaftKVQuorumLost", "RaftKVMembersMissing", "RaftKVHttpErrors", "RaftKVManyHttpErrors",
                            "RaftKVFailedProposals", "RaftKVPeersDisconnected"]),
    (leader_moves, NAME, ["RaftKVManyLeaderChanges"]),
    (slow_member, NAME, ["RaftKVMemberCommunicationSlow"]),
    (slow_disk, NAME, ["RaftKVSlowFsync", "RaftKVVerySlowFsync", "RaftKVHttpSlow", "RaftKVApplyLags"]),
    (slow_disk_of_the_state, "slow", ["RaftKVWritesStalled", "RaftKVSlowCommits"]),
    (lagging_member, NAME, ["RaftKVFollowerLags"]),
    (leader_cut_from_the_members, "torn", ["RaftKVTwoLeaders"]),
    (snapshot_is_interrupted, "thin", ["RaftKVSnapshotsFail"]),
    (state_grows, "grown", ["RaftKVExcessiveGrowth"]),
    (volume_fills, "brim", ["RaftKVVolumeFilling", "RaftKVVolumeAlmostFull", "RaftKVOutOfSpace"]),
    (joint_without_majority, NAME, ["RaftKVJointTooLong"]),
    (claim_cannot_be_made_again, NAME, ["RaftKVMemberWithoutClaim"]),
    (claim_of_the_only_member_goes, "only", ["RaftKVRefused"]),
    (quota_is_full, "small", ["RaftKVOutOfSpace"]),
    (image_cannot_be_had, "stuck", ["RaftKVOperationStuck"]),
    (pods_are_refused, NAME, ["RaftKVRefused"]),
    (no_operator, NAME, ["RaftKVOperatorDown"]),
    (lease_of_somebody_else, NAME, ["RaftKVOperatorWithoutLease"]),
    (rights_are_missing, NAME, ["RaftKVOperatorErrors"]),
    (operator_never_comes_back, NAME, ["RaftKVOperatorStuck"]),
]

# Panels that are empty until something goes wrong, and the fault after which each has data.
FILLS = {"operator: Refusals": pods_are_refused, "operator: Replacements in an hour": claim_cannot_be_made_again}

# An alert that is to fire earlier than another one under the same fault.
EARLIER = [("RaftKVVolumeAlmostFull", "RaftKVOutOfSpace")]
