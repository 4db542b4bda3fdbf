"""What `./dev bench` says of its figures, and where it refuses to take any."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import report
import systems
import tools


def row(rate):
    return {
        "rate": rate,
        "p50_ms": 1.0,
        "p99_ms": 4.0,
        "p99_9_ms": 5.0,
        "cpu_s_per_10k": 0.0,
        "client_cpu_s_per_10k": 0.0,
        "resident_mib": 10.0,
        "failed": 0,
    }


class ReportTest(unittest.TestCase):
    def test_json_holds_the_ratios_that_are_printed(self):
        loads = {
            "put 64": {"etcd": row(100.0), "raftkv": row(400.0), "raftexample": row(800.0)},
            "get 64": {"raftkv": row(1.0)},
        }
        result = {
            "machine": "m",
            "settings": {
                "cores": 2, "key_size": 8, "value_size": 256, "rounds": 1, "seconds": 1.0, "target": "all"
            },
            "loads": loads,
            "ratios": report.all_ratios(loads),
            "failover_seconds": {},
            "idle_cpu_share": {},
        }
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "report.json")
            report.write_json(result, path)
            with open(path, encoding="utf-8") as f:
                ratios = json.load(f)["ratios"]
        self.assertEqual(list(ratios), ["put 64"])
        self.assertEqual(ratios["put 64"]["etcd"]["throughput"], 4.0)
        self.assertEqual(ratios["put 64"]["raftexample"]["throughput"], 0.5)
        self.assertIsNone(ratios["put 64"]["etcd"]["CPU"])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            report.print_all(result)
        self.assertIn("4.00x", printed.getvalue())


class DataFolderTest(unittest.TestCase):
    def test_memory_is_refused(self):
        if tools.file_system("/dev/shm") != "tmpfs":
            self.skipTest("/dev/shm is no tmpfs here")
        with self.assertRaisesRegex(systems.BenchError, "--data-dir"):
            tools.refuse_memory("/dev/shm/raftkv-bench/not/there/yet")

    def test_a_disk_is_taken(self):
        if tools.file_system(tools.ROOT) == "tmpfs":
            self.skipTest("the sources are in memory")
        tools.refuse_memory(os.path.join(tools.ROOT, ".cache", "bench", "data"))


if __name__ == "__main__":
    unittest.main()
