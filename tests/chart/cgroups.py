"""The kernel's limit on what a process writes to a disk, whichever version of cgroups has the controller."""
import contextlib
import pathlib


def write_limit(pid, root="/"):
    """(the file that takes the limit, the form of a line in it, the rate that is no limit); SystemExit if there is none for
    this process. `root`: of the file system, so that a test can have one of its own."""
    root = pathlib.Path(root)
    mounts = [line.split() for line in (root / "proc/self/mounts").read_text().splitlines()]
    groups = [line.split(":", 2) for line in (root / f"proc/{pid}/cgroup").read_text().splitlines()]
    under = lambda mount, group: root / mount.lstrip("/") / group.lstrip("/")
    for _, controllers, group in groups:
        for _, mount, kind, options, *_ in mounts:
            if kind == "cgroup" and "blkio" in controllers.split(",") and "blkio" in options.split(","):
                return under(mount, group) / "blkio.throttle.write_bps_device", "{device} {rate}", "0"
    for number, controllers, group in groups:
        for _, mount, kind, *_ in mounts:
            if kind == "cgroup2" and (number, controllers) == ("0", "") and (file := under(mount, group) / "io.max").exists():
                return file, "{device} wbps={rate}", "max"
    raise SystemExit("needs the controller blkio (cgroups version 1) or io (version 2) for the members' processes")


@contextlib.contextmanager
def slow_writes(pid, device, rate):
    """The kernel lets this process write so many bytes a second to the disk with this MAJOR:MINOR."""
    file, line, unlimited = write_limit(pid)
    file.write_text(line.format(device=device, rate=rate))
    try:
        yield
    finally:
        # The process may be gone, and its group with it.
        with contextlib.suppress(OSError):
            file.write_text(line.format(device=device, rate=unlimited))
