"""Over a long or a slow line: the relay stands between the client and the web server, or between a peer's two halves."""
import measures
import peers
import report
import servers
from readers import Readers

MIB = 1 << 20
LINES = {"50 ms": ("--delay-ms", 25), "100 ms": ("--delay-ms", 50),
         "10 Mbit/s, 40 ms": ("--delay-ms", 20, "--rate-bits", 10_000_000)}
LONG, SLOW = ("50 ms", "100 ms"), "10 Mbit/s, 40 ms"
DOWNLOADS = 8
SLOW_READERS, FROZEN_READERS = 60, 40
READERS = f"{SLOW_READERS + FROZEN_READERS} readers"
FULL_BYTES = 2 * MIB  # have arrived: the slow line has been full for more than a second
SECONDS = 5
PUSH_MIB = 50


def down(route, line, size):
    return {f"MiB/s down, {line}": size / MIB / measures.download_s(route, size)}


def up(route, line, size, source):
    return {f"MiB/s up, {line}": size / MIB / measures.upload_s(route, size, source)}


def push(route, line):
    return {f"WebSocket push MiB/s, {line}": PUSH_MIB / measures.push_s(route, PUSH_MIB * MIB)}


def beside_downloads(route, line, seconds):
    """One request at a time on a line that bulk has filled."""
    background = Readers(route.port, f"{route.pages}/large", fast=DOWNLOADS)
    try:
        background.wait_bytes(FULL_BYTES)
        times = measures.one_by_one(route, "/2", seconds)
        background.check()
    finally:
        background.close()
    return {f"beside {DOWNLOADS} downloads, {line}: p50 s": measures.quantile(times, 0.5)}


def beside_readers(route, line, seconds):
    """What readers that cannot keep up cost: memory, and other requests' time."""
    measures.reset(route)
    background = Readers(route.port, f"{route.pages}/large", slow=SLOW_READERS, frozen=FROZEN_READERS)
    try:
        times = measures.one_by_one(route, "/2", seconds)
        background.check()
        found = measures.peaks(route, f"{READERS}, {line}")
    finally:
        background.close()
    return {f"beside {READERS}, {line}: p50 ms": measures.quantile(times, 0.5) * 1000} | found


class Ours:
    """PipeGate behind one web server, once more over each line: a client to nginx and one to the app."""

    def __init__(self, ground, route):
        self.routes = {line: self.over(ground, route, line) for line in LINES}

    @staticmethod
    def over(ground, route, line):
        stack = route.stack
        relay = servers.Relay(ground, LINES[line], stack.broker_port if ground.direct_tunnels else stack.port)
        label = line.split()[0]
        names = [f"pages-{label}", f"app-{label}"]
        clients = [servers.client_at(ground, route, relay.port, port, name)
                   for name, port in zip(names, (ground.nginx.port, ground.app.port))]
        pages, app = (f"{servers.MOUNT}/{name}" for name in names)
        found = servers.Route(route.name, stack.port, pages, app, stack.port, {**route.programs, "client": clients},
                              figures=route.figures)
        found.stack = stack
        return found


def peer_routes(ground, found):
    """{line: routes} of the peers that run, and why others do not."""
    routes, absent = {line: [] for line in LINES}, {}
    for kind in found:
        for line, arguments in LINES.items():
            peer, why = peers.start_one(ground, kind, arguments)
            if why:
                absent[f"{kind.name} over a line"] = why
                break
            routes[line].append(peer.route(kind.name))
    return routes, absent


def plan(size, source, seconds):
    """(line, name of the row that a failure is noted in, measurement, arguments)."""
    for line in LONG:
        yield line, f"MiB/s down, {line}", down, (size,)
        yield line, f"MiB/s up, {line}", up, (size, source)
    yield LONG[0], f"WebSocket push MiB/s, {LONG[0]}", push, ()
    yield SLOW, f"beside {DOWNLOADS} downloads, {SLOW}: p50 s", beside_downloads, (seconds,)
    yield LONG[0], f"beside {READERS}, {LONG[0]}: p50 ms", beside_readers, (seconds,)


def measure(ground, ours, peer_kinds, settings):
    """Samples, routes, and the peers that are not there."""
    samples = report.Samples()
    routes, absent = peer_routes(ground, peer_kinds)
    for route in reversed(ours):
        for line, over in Ours(ground, route).routes.items():
            routes[line].insert(0, over)
    for line in LINES:
        measures.wait_ready(routes[line])
    steps = list(plan(ground.source.stat().st_size, ground.source, min(SECONDS, settings["seconds"] + 2)))
    for n in range(settings["rounds"]):
        for line, name, function, arguments in steps:
            for route in routes[line] if n % 2 == 0 else routes[line][::-1]:
                measures.attempt(samples, route, n, name, function, line, *arguments)
    return samples, routes[LONG[0]], absent
