"""The programs that are compared: ours from the build folder, etcd's from their Go modules."""

import os
import re
import shutil
import subprocess
import sys

from systems import BenchError

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
ETCD_MODULES = os.path.join(os.path.dirname(HERE), "etcd")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def file_system(folder):
    """The type of the file system that holds `folder`, or will: "ext4", "tmpfs", ..."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
    ).stdout.strip()


def refuse_memory(folder):
    """An fsync to memory costs nothing, and figures without it would mean nothing."""
    kind = file_system(folder)
    if kind in ("tmpfs", "ramfs"):
        raise BenchError(f"{folder} is in memory ({kind}); name a folder on a disk with --data-dir")


def ours(build_folder, wanted):
    """Paths of our programs; BenchError names the one that is not built."""
    tools = {}
    for name in wanted:
        path = os.path.join(build_folder, "bin", name)
        if not os.access(path, os.X_OK):
            raise BenchError(f"{path} is not there; ./dev build {name} makes it")
        tools[name] = path
    return tools


def have_go():
    """Go 1.21 or newer fetches by itself the version that the modules ask for."""
    go = shutil.which("go")
    if not go:
        return False
    text = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go1\.(\d+)", text)
    return bool(found) and int(found.group(1)) >= 21


def build_module(name, folder):
    """Builds the `tool` lines of one module; the Go build cache makes it quick the second time."""
    say(f"building etcd's {name} module (minutes the first time)")
    command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", folder + "/", "tool"]
    environment = dict(os.environ, CGO_ENABLED="0")
    done = subprocess.run(
        command, cwd=os.path.join(ETCD_MODULES, name), env=environment, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"go build failed in {ETCD_MODULES}/{name}")


def etcds(cache_folder, wanted):
    """etcd, its benchmark client and raftexample, as far as they are wanted."""
    if not have_go():
        if "raftexample" in wanted:
            raise BenchError("raftexample needs Go 1.21 or newer; leave it out with --systems")
        return debian_etcd()
    folder = os.path.join(cache_folder, "bin")
    os.makedirs(folder, exist_ok=True)
    for module, programs in (("server", ["server"]), ("tools", ["benchmark", "raftexample"])):
        stamp = os.path.join(folder, f".{module}.sum")
        with open(os.path.join(ETCD_MODULES, module, "go.sum"), encoding="ascii") as f:
            want = f.read()
        if os.path.exists(stamp) and open(stamp, encoding="ascii").read() == want:
            continue
        build_module(module, folder)
        with open(stamp, "w", encoding="ascii") as f:
            f.write(want)
    server = os.path.join(folder, "server")
    if os.path.exists(server):
        os.replace(server, os.path.join(folder, "etcd"))
    return {name: os.path.join(folder, name) for name in ("etcd", "benchmark", "raftexample")}


def debian_etcd():
    """Debian's server; it brings no benchmark client."""
    path = shutil.which("etcd")
    if not path:
        raise BenchError(
            "neither Go 1.21 or newer nor etcd is there: apt-get install etcd-server, or leave etcd "
            "out with --systems raftkv"
        )
    say("no Go: comparing with Debian's etcd through its JSON gateway, which is slower than gRPC")
    return {"etcd": path}
