"""Compares raftkv with etcd (and with etcd's raftexample) on this machine.

Three members of each run side by side on loopback with their data on the same disk, fsync on. All of
them stay up during the whole run, because stopping and starting them between rounds would measure cold
caches; an idle member costs little, and the report says how much. Only one system is under load at a
time; rounds alternate between the systems, and their order turns around from round to round, so that
what else happens on the machine falls on all alike.

Exit status: 0 when everything was measured, 1 when some requests failed, 2 when something could not be
run, 130 after Ctrl-C. Whatever was started is stopped in any case.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

import failover
import report
import systems
import tools
from tools import ROOT, say

_SYSTEMS = ("etcd", "raftkv", "raftexample")
# raftexample's rows: its local read answers what "stale" asks of the others.
_RAFTEXAMPLE_LOADS = (("put", 1), ("put", 64), ("stale", 64))


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--systems", help="which, comma separated (default: etcd, raftkv and, where there is Go, raftexample)")
    add("--operations", default="put,get,stale", help="put, get (linearizable), stale (serializable)")
    add("--clients", default="1,16,64,256", help="connections, comma separated")
    add("--rounds", type=int, default=3, help="of each load (default 3)")
    add("--seconds", type=float, default=5.0, help="of each round (default 5)")
    add("--key-size", type=int, default=8, help="bytes (default 8)")
    add("--value-size", type=int, default=256, help="bytes (default 256)")
    add("--keys", type=int, default=100_000, help="puts go to so many different keys")
    add("--target", choices=("all", "leader"), default="all", help="who gets the requests")
    add("--failovers", type=int, default=15, help="kills of the leader; 0: none (default 15)")
    add("--quick", action="store_true", help="one round of 2 s, one kill")
    add("--json", metavar="FILE", help="write the report there as well")
    add("--build-dir", default=os.path.join(ROOT, "build"), help="where our programs are")
    add("--cache-dir", default=os.path.join(ROOT, ".cache", "bench"), help="for etcd's programs")
    add("--data-dir", help="data of all members (default: data/ in the cache directory)")
    add("--keep-data", action="store_true", help="leave data and logs behind")
    add("--no-build", action="store_true", help="do not build raftkv first")
    options = parser.parse_args(argv)
    if options.systems is None:
        options.systems = ",".join(s for s in _SYSTEMS if s != "raftexample" or tools.have_go())
    options.systems = options.systems.split(",")
    options.operations = options.operations.split(",")
    if not set(options.systems) <= set(_SYSTEMS):
        parser.error("--systems knows " + ", ".join(_SYSTEMS))
    if not set(options.operations) <= {"put", "get", "stale"}:
        parser.error("--operations knows put, get, stale")
    try:
        options.clients = [int(c) for c in options.clients.split(",")]
    except ValueError:
        parser.error("--clients wants numbers")
    if options.quick:
        options.rounds, options.seconds = 1, 2.0
        options.failovers = min(options.failovers, 1)
    if options.rounds < 1 or options.seconds <= 0 or min(options.clients) < 1:
        parser.error("rounds, seconds and clients must be positive")
    if options.data_dir is None:
        options.data_dir = os.path.join(options.cache_dir, "data")
    # Members run in folders of their own.
    for name in ("build_dir", "cache_dir", "data_dir"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return options


def make_systems(options):
    programs = {}
    wanted = {"raftkv-bench"} | ({"raftkv-node"} if "raftkv" in options.systems else set())
    programs.update(tools.ours(options.build_dir, sorted(wanted)))
    if "etcd" in options.systems or "raftexample" in options.systems:
        programs.update(tools.etcds(options.cache_dir, options.systems))
    folder = options.data_dir
    made = []
    for name in options.systems:
        if name == "raftkv":
            made.append(systems.Raftkv(folder, programs))
        elif name == "raftexample":
            made.append(systems.Raftexample(folder, programs))
        elif "benchmark" in programs:
            made.append(systems.Etcd(folder, programs))
        else:
            made.append(systems.EtcdGateway(folder, programs))
    return made


def takes(system, load):
    if system.name != "raftexample":
        return True
    return (load.operation, load.clients) in _RAFTEXAMPLE_LOADS


def idle_cpu(running, seconds=3.0):
    say(f"measuring {seconds:g} s of idleness")
    before = {s.name: s.cpu_seconds() for s in running}
    time.sleep(seconds)
    return {s.name: (s.cpu_seconds() - before[s.name]) / seconds for s in running}


def measure_load(running, load, options):
    """All rounds of one load; {system name: row}."""
    samples = {s.name: [] for s in running}
    guesses = {}
    for system in running:
        if load.operation != "put":
            system.fill(load)
        # Not counted: connections, caches and code paths get warm, and etcd's client learns how many
        # requests fill a round.
        warm = system.measure(load, min(1.0, options.seconds), None)
        guesses[system.name] = warm.rate
    for n in range(options.rounds):
        load.round = n
        for system in running if n % 2 == 0 else reversed(running):
            sample = system.measure(load, options.seconds, guesses[system.name])
            guesses[system.name] = sample.rate
            samples[system.name].append(sample)
            say(
                f"{load.name} round {n + 1}/{options.rounds} {system.name}: {sample.rate:,.0f}/s, "
                f"p99 {sample.p99:.2f} ms"
            )
    return {name: report.summarize(s) for name, s in samples.items()}


def run_all(options, running):
    result = {
        "machine": report.machine(),
        "settings": {
            "cores": os.cpu_count(),
            "key_size": options.key_size,
            "value_size": options.value_size,
            "keys": options.keys,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "target": options.target,
        },
        "loads": {},
        "ratios": {},
        "failover_seconds": {},
        "idle_cpu_share": {},
    }
    for system in running:
        say(f"starting three members of {system.name}; data and logs: {system.folder}")
        system.start()
    result["idle_cpu_share"] = idle_cpu(running)
    for operation in options.operations:
        for clients in options.clients:
            load = systems.Load(operation, clients, options)
            taking = [s for s in running if takes(s, load)]
            if taking:
                result["loads"][load.name] = measure_load(taking, load, options)
    result["ratios"] = report.all_ratios(result["loads"])
    # raftexample acknowledges before commit: its figure would mean nothing.
    killable = [s for s in running if s.name != "raftexample"]
    for n in range(options.failovers):
        for system in killable if n % 2 == 0 else reversed(killable):
            seconds = failover.once(system)
            result["failover_seconds"].setdefault(system.name, []).append(seconds)
            say(f"kill {n + 1}/{options.failovers} of {system.name}'s leader: {seconds * 1e3:.0f} ms")
    return result


def failed_requests(result):
    return sum(row["failed"] for rows in result["loads"].values() for row in rows.values())


def main(argv):
    options = parse_arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    running = []
    try:
        tools.refuse_memory(options.data_dir)
        running = make_systems(options)
        result = run_all(options, running)
    except (systems.BenchError, subprocess.TimeoutExpired) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        for system in running:
            system.stop()
    if not options.keep_data:
        shutil.rmtree(options.data_dir, ignore_errors=True)
    report.print_all(result)
    if options.json:
        report.write_json(result, options.json)
    return 1 if failed_requests(result) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
