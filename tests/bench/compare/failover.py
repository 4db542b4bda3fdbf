"""Leader killed to first acknowledged write, as a client of the survivors sees it."""

import http.client
import threading
import time

from systems import BenchError

_INTERVAL = 0.01  # seconds between two attempts
_LIMIT = 30.0  # seconds until we give up
_MOST_WAITING = 200  # attempts under way at once


class _Race:
    def __init__(self):
        self.won = threading.Event()
        self.lock = threading.Lock()
        self.first = None
        self.waiting = 0

    def attempt(self, system, member):
        try:
            acknowledged = system.try_put(member, timeout=10.0)
        except (OSError, http.client.HTTPException):
            acknowledged = False
        now = time.monotonic()
        with self.lock:
            self.waiting -= 1
            if acknowledged and self.first is None:
                self.first = now
                self.won.set()


def once(system):
    """Kills the leader with SIGKILL; returns the seconds until a survivor acknowledged a write that
    was sent after the kill. The killed member is started again before this returns."""
    leader = system.leader()
    if leader is None:
        raise BenchError(f"{system.name} has no leader")
    survivors = [i for i in range(system.size) if i != leader]
    race = _Race()
    system.members[leader].kill()
    killed = time.monotonic()
    system.members[leader].wait()
    turn = 0
    while not race.won.wait(_INTERVAL) and time.monotonic() - killed < _LIMIT:
        # A write may hang in a member that waits for a leader, therefore the next does not wait for
        # it; whichever is acknowledged first counts.
        with race.lock:
            if race.waiting >= _MOST_WAITING:
                continue
            race.waiting += 1
        member = survivors[turn % len(survivors)]
        turn += 1
        threading.Thread(target=race.attempt, args=(system, member), daemon=True).start()
    system.start_member(leader)
    system.wait_ready()
    if race.first is None:
        raise BenchError(f"{system.name}: no write was acknowledged {_LIMIT} s after the kill")
    return race.first - killed
