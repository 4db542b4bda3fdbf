"""The systems that are compared: how each is started, asked for its leader, and loaded."""

import base64
import http.client
import json
import os
import re
import shutil
import time

import processes


class BenchError(Exception):
    """Something that the person who runs the comparison has to know or mend."""


class Load:
    """One cell of the table: what is sent, and from how many clients."""

    def __init__(self, operation, clients, options):
        self.operation = operation  # put, get (linearizable) or stale
        self.clients = clients
        self.key_bytes = options.key_size
        self.value_bytes = options.value_size
        self.keys = options.keys
        self.to_leader = options.target == "leader"
        self.round = 0

    @property
    def name(self):
        return f"{self.operation}/{self.clients}"


class Sample:
    """What one run of one load gave. Latencies in milliseconds."""

    def __init__(self, rate, count, failed, p50, p99, p999, client_cpu):
        self.rate = rate
        self.count = count
        self.failed = failed
        self.p50 = p50
        self.p99 = p99
        self.p999 = p999
        self.client_cpu = client_cpu
        self.server_cpu = 0.0
        self.resident = 0


def request(address, method, path, body=None, timeout=5.0, headers=None):
    """One HTTP request; (status, body). Raises OSError or http.client.HTTPException."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class System:
    """Three members on loopback. Subclasses say what is particular."""

    name = ""
    size = 3

    def __init__(self, folder):
        self.folder = os.path.join(folder, self.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        ports = processes.free_ports(3 * self.size)
        self.addresses = [f"127.0.0.1:{p}" for p in ports[: self.size]]  # for clients
        self.peers = [f"127.0.0.1:{p}" for p in ports[self.size : 2 * self.size]]
        self.others = [f"127.0.0.1:{p}" for p in ports[2 * self.size :]]
        self.members = [None] * self.size

    def command(self, i):
        raise NotImplementedError

    def leader(self):
        """Index of the leading member, or None."""
        raise NotImplementedError

    def try_put(self, i, timeout):
        """Whether member i acknowledged a write. Raises OSError or HTTPException."""
        raise NotImplementedError

    def run_load(self, load, seconds, rate_guess):
        """Runs the load for about so long; returns a Sample."""
        raise NotImplementedError

    def fill(self, load):
        """Writes every key once."""
        raise NotImplementedError

    def start_member(self, i):
        self.members[i] = processes.start(
            self.command(i), os.path.join(self.folder, f"{i}.log"), cwd=self.folder
        )

    def start(self):
        for i in range(self.size):
            self.start_member(i)
        self.wait_ready()

    def wait_ready(self, seconds=60):
        """Until each member acknowledges a write and one of them leads."""
        deadline = time.monotonic() + seconds
        waiting = list(range(self.size))
        while waiting or self.leader() is None:
            for i in list(waiting):
                if self.members[i].poll() is not None:
                    raise BenchError(f"{self.name} {i} ended; its log is {self.folder}/{i}.log")
                try:
                    if self.try_put(i, 5.0):
                        waiting.remove(i)
                except (OSError, http.client.HTTPException):
                    pass
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} is not ready after {seconds} s; logs: {self.folder}")
            time.sleep(0.05)

    def stop(self):
        processes.stop([m for m in self.members if m is not None])

    def targets(self, load):
        if not load.to_leader:
            # Clients that are fewer than members meet the leader in one round and a follower in another.
            first = load.round % self.size
            return self.addresses[first:] + self.addresses[:first]
        leader = self.leader()
        if leader is None:
            raise BenchError(f"{self.name} has no leader; logs: {self.folder}")
        return [self.addresses[leader]]

    def cpu_seconds(self):
        return sum(processes.cpu_seconds(m.pid) for m in self.members)

    def resident_bytes(self):
        """Mean of the members."""
        return sum(processes.resident_bytes(m.pid) for m in self.members) / self.size

    def measure(self, load, seconds, rate_guess):
        before = self.cpu_seconds()
        sample = self.run_load(load, seconds, rate_guess)
        sample.server_cpu = self.cpu_seconds() - before
        sample.resident = self.resident_bytes()
        return sample


class OurClientSystem(System):
    """Loaded by raftkv-bench: plain HTTP, one request at a time on each connection."""

    prefix = "/kv/"

    def __init__(self, folder, tools):
        super().__init__(folder)
        self.bench = tools["raftkv-bench"]

    def arguments(self, load):
        # As etcd's client does: puts go to random keys, gets to one key.
        keys = load.keys if load.operation == "put" else 1
        return [
            "--clients", str(load.clients), "--keys", str(keys),
            "--key-size", str(load.key_bytes), "--value-size", str(load.value_bytes),
            "--endpoints", ",".join(self.targets(load)), "--path-prefix", self.prefix, "--json",
        ]  # fmt: skip

    def query(self, load):
        if load.operation == "put":
            return []
        return ["--consistency", "stale" if load.operation == "stale" else "linearizable"]

    def run_load(self, load, seconds, rate_guess):
        kind = "put" if load.operation == "put" else "get"
        command = [self.bench, kind, "--warmup", "0", "--duration", str(seconds)]
        finished = processes.run(
            command + self.arguments(load) + self.query(load), timeout=seconds + 60
        )
        if finished.status not in (0, 1):
            raise BenchError(f"raftkv-bench: {finished.output.strip()}")
        report = json.loads(finished.output[: finished.output.rindex("}") + 1])
        latency = report["latency_us"]
        return Sample(
            report["per_second"], report["succeeded"], report["failed"],
            latency["p50"] / 1e3, latency["p99"] / 1e3, latency["p99_9"] / 1e3,
            finished.cpu_seconds,
        )  # fmt: skip

    def fill(self, load):
        command = [self.bench, "put", "--fill", "--warmup", "0", "--requests", "1"]
        finished = processes.run(command + self.arguments(load), timeout=120)
        if finished.status != 0:
            raise BenchError(f"could not fill {self.name}: {finished.output.strip()}")

    def try_put(self, i, timeout):
        key = "0" * 8
        status, _ = request(self.addresses[i], "PUT", self.prefix + key, b"x" * 256, timeout)
        return 200 <= status < 300


class Raftkv(OurClientSystem):
    name = "raftkv"

    def __init__(self, folder, tools):
        super().__init__(folder, tools)
        self.binary = tools["raftkv-node"]

    def command(self, i):
        return [
            self.binary, "--name", f"node{i}", "--data-dir", os.path.join(self.folder, f"data{i}"),
            "--client-listen", self.addresses[i], "--peer-listen", self.peers[i],
            "--admin-listen", self.others[i], "--log-level", "warning",
            "--start-mode", "static", "--start-peers", ",".join(self.peers),
        ]  # fmt: skip

    def leader(self):
        for address in self.addresses:
            try:
                status, body = request(address, "GET", "/cluster")
            except (OSError, http.client.HTTPException):
                continue
            if status != 200:
                continue
            cluster = json.loads(body)
            for member in cluster["members"]:
                if member["id"] == cluster["leader"]:
                    return self.addresses.index(member["client_address"])
        return None


class Raftexample(OurClientSystem):
    """The example that started it all. It answers a put before it is committed, and reads locally."""

    name = "raftexample"
    prefix = "/"

    def __init__(self, folder, tools):
        super().__init__(folder, tools)
        self.binary = tools["raftexample"]

    def command(self, i):
        cluster = ",".join("http://" + p for p in self.peers)
        port = self.addresses[i].rsplit(":", 1)[1]
        return [self.binary, "--id", str(i + 1), "--cluster", cluster, "--port", port]

    def leader(self):
        return 0  # it does not tell; every member takes puts

    def query(self, load):
        return []  # the query string would become part of the key


class EtcdMembers(System):
    """Three members of etcd, whoever loads them."""

    name = "etcd"

    def command(self, i):
        cluster = ",".join(f"m{n}=http://{p}" for n, p in enumerate(self.peers))
        client = "http://" + self.addresses[i]
        peer = "http://" + self.peers[i]
        return [
            self.binary, "--name", f"m{i}", "--data-dir", os.path.join(self.folder, f"data{i}"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster, "--initial-cluster-state", "new",
            "--log-level", "warn",
        ]  # fmt: skip

    def leader(self):
        for i, address in enumerate(self.addresses):
            try:
                status, body = request(address, "POST", "/v3/maintenance/status", b"{}")
            except (OSError, http.client.HTTPException):
                continue
            if status != 200:
                continue
            answer = json.loads(body)
            if answer["header"]["member_id"] == answer.get("leader"):
                return i
        return None

    def try_put(self, i, timeout):
        key = base64.b64encode(b"ready").decode()
        body = json.dumps({"key": key, "value": key}).encode()
        status, _ = request(self.addresses[i], "POST", "/v3/kv/put", body, timeout)
        return status == 200



class Etcd(EtcdMembers):
    """Loaded by etcd's own benchmark client, over gRPC."""

    def __init__(self, folder, tools):
        super().__init__(folder)
        self.binary = tools["etcd"]
        self.benchmark = tools["benchmark"]

    def run_load(self, load, seconds, rate_guess):
        # The client counts requests, not seconds: a short run tells how many make the time full.
        total = max(200, int((rate_guess or self.guess(load)) * seconds))
        return self.run_total(load, total, timeout=10 * seconds + 60)

    def guess(self, load):
        total = max(200, 20 * load.clients)
        return self.run_total(load, total, timeout=120).rate

    def run_total(self, load, total, timeout):
        command = [
            self.benchmark, "--endpoints", ",".join(self.targets(load)), "--precise",
            "--conns", str(load.clients), "--clients", str(load.clients),
        ]  # fmt: skip
        if load.operation == "put":
            command += [
                "put", "--total", str(total), "--key-size", str(load.key_bytes),
                "--val-size", str(load.value_bytes), "--key-space-size", str(load.keys),
            ]  # fmt: skip
        else:
            consistency = "s" if load.operation == "stale" else "l"
            command += ["range", self.get_key(load), "--total", str(total)]
            command += ["--consistency", consistency]
        finished = processes.run(command, timeout=timeout)
        if finished.status != 0:
            raise BenchError(f"etcd's benchmark client: {finished.output.strip()[-500:]}")
        return parse_etcd_report(finished.output, total, finished.cpu_seconds)

    @staticmethod
    def get_key(load):
        return "k" * load.key_bytes

    def fill(self, load):
        key = base64.b64encode(self.get_key(load).encode()).decode()
        value = base64.b64encode(b"x" * load.value_bytes).decode()
        body = json.dumps({"key": key, "value": value}).encode()
        status, answer = request(self.addresses[0], "POST", "/v3/kv/put", body)
        if status != 200:
            raise BenchError(f"could not write to etcd: {status} {answer[:200]}")


class EtcdGateway(EtcdMembers, OurClientSystem):
    """Debian's etcd comes without its benchmark client: loaded by ours through the JSON gateway, which
    costs etcd more than gRPC does. The report calls it by this name."""

    name = "etcd-json"

    def __init__(self, folder, tools):
        OurClientSystem.__init__(self, folder, tools)
        self.binary = tools["etcd"]

    def arguments(self, load):
        return super().arguments(load) + ["--protocol", "etcd-gateway"]


def parse_etcd_report(text, total, client_cpu):
    """The summary that etcd's benchmark client prints at its end."""

    def number(pattern):
        found = re.search(pattern, text)
        if not found:
            raise BenchError(f"no {pattern!r} in the report of etcd's client: {text[-500:]}")
        return float(found.group(1))

    # Runs of less than a thousand requests have no such line.
    p999 = r"\b99\.9% in ([\d.e+-]+) secs" if "99.9% in" in text else r"Slowest:\s*([\d.e+-]+)"
    failed = 0
    if "Error distribution" in text:
        errors = text.split("Error distribution", 1)[1]
        failed = sum(int(n) for n in re.findall(r"^\s*\[(\d+)\]", errors, re.MULTILINE))
    return Sample(
        number(r"Requests/sec:\s*([\d.e+-]+)"), total - failed, failed,
        number(r"\b50% in ([\d.e+-]+) secs") * 1e3,
        number(r"\b99% in ([\d.e+-]+) secs") * 1e3,
        number(p999) * 1e3,
        client_cpu,
    )  # fmt: skip
