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


def attempt(samples, route, round_number, name, measure, *arguments):
    """A measurement that fails is a note in the table."""
    try:
        samples.add(route.name, round_number, measure(route, *arguments))
    except (measures.Failed, OSError, ValueError, AssertionError) as e:
        samples.fail(route.name, name, e if isinstance(e, measures.Absent) else f"failed: {e}")


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
                attempt(samples, route, n, name, measures.load, "/2", callers, seconds)
        for route in [*order, direct]:
            attempt(samples, route, n, "requests/s, 1k B, 64 callers", measures.load, "/1k", 64, seconds)
        for name, measure, arguments in (("MB/s down", measures.download, (size,)),
                                         ("MB/s up", measures.upload, (size, source)),
                                         ("event ms, p50", measures.events, ()),
                                         ("WebSocket ms, p50", measures.echo, ())):
            for route in [*order, direct]:
                attempt(samples, route, n, name, measure, *arguments)
    return paces


def version(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown"


def machine_facts(load_before, paces):
    others = measures.others or [0]
    single = [p[0] for p in paces] or [0]
    return {
        "cores": os.cpu_count(), "kernel": platform.release(),
        "commit": version(["git", "-C", str(servers.harness.ROOT), "describe", "--always", "--dirty"]),
        "lighttpd": version([servers.which("lighttpd"), "-v"]), "apache": version([servers.which("apache2"), "-v"]),
        "nginx": version([servers.which("nginx"), "-v"]),
        "load average before": load_before,
        "share of the machine that others used: median, most": [sorted(others)[len(others) // 2], max(others)],
        "pace of a core, slowest to fastest": min(single) / max(single) if max(single) else 0,
    }


def wait_ready(routes):
    for route in routes:
        for url in (route.url("/2"), route.app_url("/upload")):
            servers.harness.wait_until(lambda: measures.answers(url), f"{route.name} answers {url}")


def compare(ground, samples, settings):
    found, absent = peers.start(ground, os.environ.get("PEERS", "").split())
    direct = ground.direct()
    routes = [route for server in ("lighttpd", "apache") for route in ground.routes(server, found)]
    routes += [peer.route() for peer in found]
    wait_ready([*routes, direct])
    for route in routes:
        try:
            measures.wrk(route.url("/2"), 64, 1)  # caches and threads are warm
        except measures.Failed:
            pass
    source = ground.directory / "www" / "large"
    paces = rounds(samples, routes, direct, settings["seconds"], settings["rounds"], source.stat().st_size, source)
    return [direct, *routes], absent, paces


def main():
    settings = {"rounds": tunable("ROUNDS", 3), "seconds": tunable("SECONDS", 3), "mib": tunable("MIB", 100)}
    load_before, began = os.getloadavg()[0], time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    samples, extra = report.Samples(), {}
    ground = servers.Ground(settings["mib"], direct_tunnels=os.environ.get("TUNNEL") == "direct")
    try:
        routes, absent, paces = compare(ground, samples, settings)
        say("bench: idle tunnels")
        extra["idle"] = idle_tunnels.measure(ground, [int(n) for n in (os.environ.get("IDLE") or "1000 10000").split()])
        if os.environ.get("GROWTH"):
            say("bench: growth")
            extra["growth"] = growth.measure(ground, settings["seconds"], settings["rounds"])
    finally:
        ground.close()
    facts = {**settings, **machine_facts(load_before, paces), "absent peers": absent,
             "minutes": (time.monotonic() - began) / 60}
    text = report.whole(samples, routes, facts, extra)
    build = pathlib.Path(servers.harness.BUILD)
    build.mkdir(exist_ok=True)
    (build / "bench.md").write_text(text + "\n")
    report.write_json(build / "bench.json", facts, samples, routes, extra)
    report.bars(build / "bench.svg", samples, routes, PICTURED)
    print(text)


if __name__ == "__main__":
    main()
