"""What the kernel knows: CPU time, memory and descriptors of process trees, and how busy everybody else was."""
import os
import time

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """Parent, and CPU seconds of its own and of the children that it has waited for."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[1]), sum(map(int, fields[11:15])) / TICKS


def stats():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = stat(name)
            except OSError:  # has just ended
                pass
    return found


def tree(roots, found):
    """The processes and all their descendants."""
    children = {}
    for pid, (parent, _) in found.items():
        children.setdefault(parent, []).append(pid)
    todo, members = list(roots), []
    while todo:
        pid = todo.pop()
        if pid in found:
            members.append(pid)
            todo += children.get(pid, [])
    return members


class Cpu:
    """CPU seconds from here to `spent()`, by role; and how much of the machine others used meanwhile."""

    def __init__(self, pids):
        self.pids = pids
        self.start = self.now()

    def now(self):
        found = stats()
        roles = {role: sum(found[p][1] for p in tree(roots, found)) for role, roots in self.pids.items()}
        # We and the load generator, which has ended; programs of ours that are not measured count as others.
        own = stat("self")[1] + sum(roles.values())
        with open("/proc/stat") as f:
            user, nice, system, _, _, _, _, steal = map(int, f.readline().split()[1:9])
        return {"own": own, "roles": roles, "busy": (user + nice + system) / TICKS, "steal": steal / TICKS,
                "time": time.monotonic()}

    def spent(self):
        end = self.now()
        cores_s = (end["time"] - self.start["time"]) * os.cpu_count()
        others = end["busy"] - self.start["busy"] - (end["own"] - self.start["own"])
        self.others = max(0.0, others / cores_s)
        self.stolen = (end["steal"] - self.start["steal"]) / cores_s
        return {role: end["roles"][role] - before for role, before in self.start["roles"].items()}


def memory_kib(pids, field):
    """Sum over the trees; pages that forked workers share count once for each."""
    total = 0
    for pid in tree(pids, stats()):
        try:
            with open(f"/proc/{pid}/status") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(field + ":"))
        except OSError:
            pass
    return total


def reset_peaks(pids):
    """VmHWM counts from here on."""
    for pid in tree(pids, stats()):
        try:
            with open(f"/proc/{pid}/clear_refs", "w") as f:
                f.write("5")
        except OSError:  # not ours, or a kernel without it: then the peak is that of the whole run
            pass


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def pace():
    """Runs of a fixed piece of work a second: tells a slow machine from a slow program."""
    start = time.process_time()
    wall = time.monotonic()
    n = 0
    while time.monotonic() - wall < 0.1:
        sum(range(10000))
        n += 1
    return n / (time.process_time() - start), n / (time.monotonic() - wall)
