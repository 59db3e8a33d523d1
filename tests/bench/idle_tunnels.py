"""Memory and descriptors of a broker that has nothing but idle tunnels."""
import pathlib
import resource
import subprocess
import sys

import machine
from servers import end_stack

SPARE = 500  # descriptors for everything else


class Herd:
    """idle.py with a pipe to it."""

    def __init__(self, port, protocol):
        script = str(pathlib.Path(__file__).with_name("idle.py"))
        self.process = subprocess.Popen([sys.executable, script, str(port), protocol], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def grow(self, count):
        """Returns the seconds it took; OSError says why not."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if not words or words[0] != "open":
            raise OSError(" ".join(words) or "idle.py ended")
        return float(words[2])

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def room():
    """How many tunnels the limit of descriptors has room for."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        hard = 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE


def measure(ground, counts):
    """A list of rows: one for each protocol and count."""
    rows = []
    for protocol in ("v2", "v1"):
        limit = room()  # before the broker starts: it takes the limit over
        stack = ground.stack("lighttpd")
        herd = Herd(stack.broker_port, protocol)
        try:
            pid = stack.broker.pid
            rss, fds = machine.memory_kib([pid], "VmRSS"), machine.descriptors(pid)
            for count in counts:
                row = {"protocol": protocol, "tunnels": count}
                rows.append(row)
                if count > limit:
                    row["skipped"] = f"the limit of descriptors (ulimit -Hn) is {limit + SPARE}"
                    continue
                try:
                    row["seconds to open"] = herd.grow(count)
                    stack.wait_metric(METRIC, count)
                except (OSError, AssertionError, KeyError) as e:
                    row["skipped"] = str(e)
                    continue
                now = machine.memory_kib([pid], "VmRSS")
                row |= {"KiB per tunnel": (now - rss) / count, "broker MiB": now / 1024,
                        "descriptors per tunnel": (machine.descriptors(pid) - fds) / count}
        finally:
            herd.close()
            ground.stacks.remove(stack)
            end_stack(stack)
    return rows


METRIC = "pipegate_tunnels"
