"""make bench: see README.md here."""
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import growth
import idle_tunnels
import lines
import machine
import measures
import peers
import report
import servers

LEVELS = (1, 16, 64, 256)
PICTURED = ("requests/s, 2 B, 64 callers", "p99 ms, 2 B, 64 callers", "p50 ms, 2 B, 1 caller",
            "CPU s/10k, 2 B, 64 callers: the tunnel in sum", "MB/s down", "MB/s up", "event ms, p50")


def tunable(name, default):
    return int(os.environ.get(name) or default)


def say(text):
    print(text, file=sys.stderr, flush=True)


def rounds(samples, routes, direct, seconds, count, size, source):
    """Each measurement goes over all routes before the next one, in turn forwards and backwards."""
    paces = []
    for n in range(count):
        order = routes if n % 2 == 0 else routes[::-1]
        say(f"bench: round {n + 1} of {count}")
        for callers in LEVELS:
            paces.append(machine.pace())
            for route in [*order, direct]:
                name = f"requests/s, 2 B, {measures.named(callers)}"
                measures.attempt(samples, route, n, name, measures.load, "/2", callers, seconds)
        for route in [*order, direct]:
            measures.attempt(samples, route, n, "requests/s, 1k B, 64 callers", measures.load, "/1k", 64, seconds)
        for route in order:
            measures.attempt(samples, route, n, "beside two downloads: p50 ms", measures.beside_two, seconds)
        for name, measure, arguments in (("MB/s down", measures.download, (size,)),
                                         ("MB/s up", measures.upload, (size, source)),
                                         ("event ms, p50", measures.events, ()),
                                         ("WebSocket ms, p50", measures.echo, ())):
            for route in [*order, direct]:
                measures.attempt(samples, route, n, name, measure, *arguments)
    return paces


def version(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown"


def machine_facts(load_before, paces):
    others = measures.others or [0]
    single = [p[0] for p in paces] or [1]
    return {
        "cores": os.cpu_count(), "kernel": platform.release(),
        "commit": version(["git", "-C", str(servers.harness.ROOT), "describe", "--always", "--dirty"]),
        "lighttpd": version([servers.which("lighttpd"), "-v"]), "apache": version([servers.which("apache2"), "-v"]),
        "nginx": version([servers.which("nginx"), "-v"]),
        "load average before": load_before,
        "share of the machine that others used: median, most": [sorted(others)[len(others) // 2], max(others)],
        "pace of a core, slowest to fastest": min(single) / max(single) if max(single) else 0,
    }


class Bench:
    """The parts of a run, over what the ground has started."""

    def __init__(self, ground, settings, before):
        self.ground, self.settings, self.before = ground, settings, before
        self.compared, self.lined = (report.Samples(), []), (report.Samples(), [])
        self.paces, self.extra = [], {}
        self.peers, self.absent = peers.start(ground, os.environ.get("PEERS", "").split())
        self.direct = ground.direct()
        self.routes = [r for server in ("lighttpd", "apache") for r in ground.routes(server, self.peers, before)]
        self.routes += [peer.route() for peer in self.peers]
        measures.wait_ready([*self.routes, self.direct])

    def compare(self):
        """PipeGate beside the web server's own proxy, the version before and the peers."""
        samples = self.compared[0]
        self.compared = samples, [self.direct, *self.routes]
        for route in self.routes:
            try:
                measures.wrk(route.url("/2"), 64, 1)  # caches and threads are warm
            except measures.Failed:
                pass
        source = self.ground.source
        self.paces = rounds(samples, self.routes, self.direct, self.settings["seconds"], self.settings["rounds"],
                            source.stat().st_size, source)

    def lines(self):
        """The same over long and slow lines."""
        ours = [route for route in self.routes if hasattr(route, "stack")]
        kinds = [type(peer) for peer in self.peers]
        samples, routes, absent = lines.measure(self.ground, ours, kinds, self.settings)
        self.lined = samples, routes
        self.absent |= absent

    def tunnels(self):
        """Tunnels that share the traffic, by version."""
        found = self.extra["tunnels"] = {}
        for name, house in (("PipeGate", servers.harness), ("before", self.before)):
            if house:
                found[name] = growth.sharing(self.ground, self.settings["seconds"], self.settings["rounds"], house)

    def idle(self):
        counts = [int(n) for n in (os.environ.get("IDLE") or "1000 10000").split()]
        self.extra["idle"] = idle_tunnels.measure(self.ground, counts)

    def growth(self):
        self.extra["growth"] = growth.measure(self.ground, self.settings["seconds"], self.settings["rounds"])

    def run(self, names):
        for name in names:
            began = time.monotonic()
            say(f"bench: {name}")
            try:
                getattr(self, name)()
            except Exception as e:  # noqa: BLE001
                self.absent[name] = f"this part failed: {str(e)[:300]}"
            say(f"bench: {name}: {time.monotonic() - began:.0f} s")

    def write(self, facts):
        text = report.whole(self.compared, self.lined, facts, self.extra)
        build = pathlib.Path(servers.harness.BUILD)
        build.mkdir(exist_ok=True)
        (build / "bench.md").write_text(text + "\n")
        report.write_json(build / "bench.json", facts, self.compared, self.lined, self.extra)
        report.bars(build / "bench.svg", *self.compared, PICTURED)
        print(text)


PARTS = ("compare", "lines", "tunnels", "idle")


def chosen_parts():
    names = os.environ.get("PARTS", "").split() or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise SystemExit(f"bench: PARTS: {name!r} is none of {', '.join(PARTS)}")
    return [*names, "growth"] if os.environ.get("GROWTH") else names


def main():
    settings = {"rounds": tunable("ROUNDS", 3), "seconds": tunable("SECONDS", 3), "mib": tunable("MIB", 100)}
    load_before, began = os.getloadavg()[0], time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = servers.version_before(os.environ["BEFORE"]) if os.environ.get("BEFORE") else None
    parts = chosen_parts()
    ground = servers.Ground(settings["mib"], direct_tunnels=os.environ.get("TUNNEL") == "direct")
    try:
        bench = Bench(ground, settings, before)
        bench.run(parts)
    finally:
        ground.close()
    facts = {**settings, **machine_facts(load_before, bench.paces), "absent": bench.absent,
             "minutes": (time.monotonic() - began) / 60}
    bench.write(facts)


if __name__ == "__main__":
    main()
