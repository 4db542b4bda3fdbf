"""The tables for people, and the JSON for programs."""

import json
import platform
import statistics

# (name, field of a row)
_RATIOS = (
    ("throughput", "rate"),
    ("p50", "p50_ms"),
    ("p99", "p99_ms"),
    ("CPU", "cpu_s_per_10k"),
    ("memory", "resident_mib"),
)


def summarize(samples):
    """One row from the rounds of one load: medians; CPU over all rounds."""

    def median(read):
        return statistics.median(read(s) for s in samples)

    count = sum(s.count for s in samples)
    return {
        "rounds": len(samples),
        "requests": count,
        "failed": sum(s.failed for s in samples),
        "rate": median(lambda s: s.rate),
        "rates": [round(s.rate, 1) for s in samples],
        "p50_ms": median(lambda s: s.p50),
        "p99_ms": median(lambda s: s.p99),
        "p99_9_ms": median(lambda s: s.p999),
        "cpu_s_per_10k": per_10k(sum(s.server_cpu + s.client_cpu for s in samples), count),
        "server_cpu_s_per_10k": per_10k(sum(s.server_cpu for s in samples), count),
        "client_cpu_s_per_10k": per_10k(sum(s.client_cpu for s in samples), count),
        "resident_mib": max(s.resident for s in samples) / 2**20,
    }


def per_10k(seconds, count):
    return seconds * 1e4 / count if count else 0.0


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{platform.system()} {platform.release()}, {model}"


def ratios(ours, theirs):
    """ours / theirs; None where it cannot be formed."""
    out = {}
    for name, field in _RATIOS:
        out[name] = ours[field] / theirs[field] if theirs[field] else None
    return out


def all_ratios(results):
    """{load name: {system name: ratios}} of raftkv to each other system; results as in print_loads."""
    return {
        load: {name: ratios(rows["raftkv"], row) for name, row in rows.items() if name != "raftkv"}
        for load, rows in results.items()
        if "raftkv" in rows and len(rows) > 1
    }


def _print_row(name, load, row):
    print(
        f"{load:<12}{name:<13}{row['rate']:>9,.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
        f"{row['p99_9_ms']:>9.2f}{row['cpu_s_per_10k']:>9.2f}{row['client_cpu_s_per_10k']:>9.2f}"
        f"{row['resident_mib']:>9.1f}{row['failed']:>8}"
    )


def print_loads(results):
    """results: {load name: {system name: row}}"""
    print(
        f"{'load':<12}{'system':<13}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>9}"
        f"{'CPU s':>9}{'client':>9}{'MiB/node':>9}{'failed':>8}"
    )
    for load, rows in results.items():
        for name, row in rows.items():
            _print_row(name, load, row)
    print("CPU s: of all processes for 10,000 requests; client: the load generator's part of it.")


def print_ratios(compared):
    """compared: of all_ratios"""
    if not compared:
        return
    print(f"\n{'raftkv : other':<26}" + "".join(f"{name:>12}" for name, _ in _RATIOS))
    for load, rows in compared.items():
        for name, row in rows.items():
            line = f"{load:<12}{': ' + name:<14}"
            for value in row.values():
                line += f"{value:>11.2f}x" if value is not None else f"{'-':>12}"
            print(line)
    print("throughput: more is better; the others: less is better.")


def print_failover(failovers):
    if not failovers:
        return
    print("\nleader killed to first acknowledged write, ms (median; all)")
    for name, seconds in failovers.items():
        values = [s * 1e3 for s in seconds]
        print(
            f"  {name:<13}{statistics.median(values):>9.0f}   "
            + " ".join(f"{v:.0f}" for v in values)
        )


def print_idle(idle):
    if not idle:
        return
    print("\nidle: CPU of all three members, % of one core")
    for name, share in idle.items():
        print(f"  {name:<13}{share * 100:>9.2f}")


def print_all(report):
    settings = report["settings"]
    target = "the leader" if settings["target"] == "leader" else "all members"
    print(
        f"{report['machine']}, {settings['cores']} cores; keys {settings['key_size']} B, values "
        f"{settings['value_size']} B; {settings['rounds']} rounds of {settings['seconds']:g} s; "
        f"requests to {target}"
    )
    print_loads(report["loads"])
    print_ratios(report["ratios"])
    print_failover(report["failover_seconds"])
    print_idle(report["idle_cpu_share"])


def write_json(report, path):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
