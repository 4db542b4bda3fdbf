"""Child processes that never outlive this program, and what /proc says of them."""

import ctypes
import os
import signal
import socket
import subprocess
import time

_PR_SET_PDEATHSIG = 1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


def _die_with_parent():
    # Even a kill -9 of this program leaves nothing behind.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, log_path, cwd=None):
    """A server in the background, out of reach of the terminal's Ctrl-C (we end it ourselves)."""
    with open(log_path, "ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def stop(processes, seconds=10):
    """Ends them: politely at first, all at once, then by force."""
    alive = [p for p in processes if p.poll() is None]
    for p in alive:
        p.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for p in alive:
        try:
            p.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


class Finished:
    """What a command that ran to its end printed and used."""

    def __init__(self, status, output, cpu_seconds):
        self.status = status
        self.output = output
        self.cpu_seconds = cpu_seconds


def run(command, timeout):
    """Runs a client to its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )
    before = os.times()
    try:
        output, errors = child.communicate(timeout=timeout)
    except BaseException:
        child.kill()
        child.wait()
        raise
    after = os.times()
    # One client at a time: what the children of this process used meanwhile is that client's.
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    text = output.decode(errors="replace")
    if child.returncode != 0:
        text += errors.decode(errors="replace")
    return Finished(child.returncode, text, cpu)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on just now."""
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
