"""One measurement each, of one route: `measure(route, ...) -> {name: value}`. A `Failed` says why there is no value."""
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.parse

import machine
import websocket
from servers import HOST, TUNNEL

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402

HERE = pathlib.Path(__file__).parent
others = []  # share of the machine that others used, during each measurement


class Failed(Exception):
    pass


class Absent(Failed):
    pass


def run(argv, timeout_s):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
    except (subprocess.TimeoutExpired, OSError) as e:
        raise Failed(f"{argv[0]}: {e}") from e
    return done.stdout


def wrk(url, callers, seconds, paths=()):
    out = run(["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout=10s", "-H", f"Host: {HOST}", "-s",
               str(HERE / "wrk.lua"), url, "--", *paths], seconds + 60)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if not lines:
        raise Failed("wrk said nothing: " + out[-200:])
    return json.loads(lines[0])


def peaks(route, label):
    """Of one program of each role: a tunnel has two clients, and only one of them is at work."""
    return {f"peak MiB, {label}: {role}": max(machine.memory_kib([pid], "VmHWM") for pid in pids) / 1024
            for role, pids in route.pids().items() if role != "app"}


def reset(route):
    for pids in route.pids().values():
        machine.reset_peaks(pids)


def named(callers):
    return "1 caller" if callers == 1 else f"{callers} callers"


def load(route, page, callers, seconds):
    """Requests a second, latency, and CPU by role."""
    reset(route)
    cpu = machine.Cpu(route.pids())
    r = wrk(route.url(page), callers, seconds)
    spent = cpu.spent()
    others.append(cpu.others)
    good = r["requests"] - r["bad_status"]
    if not good:
        raise Failed(f"no good answer ({r['bad_status']} of another status, {r['broken']} broken)")
    what = f"{page[1:]} B, {named(callers)}"
    result = {f"requests/s, {what}": good / (r["us"] / 1e6), f"p50 ms, {what}": r["p50_us"] / 1000,
              f"p99 ms, {what}": r["p99_us"] / 1000, f"failed, {what}": r["bad_status"] + r["broken"]}
    for role, s in spent.items():
        result[f"CPU s/10k, {what}: {role}"] = s / good * 10000
    tunnel = [s for role, s in spent.items() if role in TUNNEL]
    if tunnel:
        result[f"CPU s/10k, {what}: the tunnel in sum"] = sum(tunnel) / good * 10000
    if callers == 256:
        result |= peaks(route, f"{callers} callers")
    return result


def curl(arguments, url):
    out = run(["curl", "-sS", "-o", "/dev/null", "-H", f"Host: {HOST}", "-H", "Expect:", "--max-time", "60", "-w",
               "%{http_code} %{size_download} %{size_upload} %{time_total}", *arguments, url], 90)
    status, down, up, seconds = out.split()[-4:]
    return status, int(down), int(up), float(seconds)


def download_s(route, size):
    status, down, _, seconds = curl([], route.url("/large"))
    if status != "200" or down != size:
        raise Failed(f"status {status}, {down} bytes of {size}")
    return seconds


def upload_s(route, size, source):
    status, _, up, seconds = curl(["-T", str(source)], route.app_url("/upload"))
    if status != "200" or up != size:
        raise Failed(f"status {status}, {up} bytes of {size}")
    return seconds


def download(route, size):
    reset(route)
    return {"MB/s down": size / download_s(route, size) / 1e6} | peaks(route, "down")


def upload(route, size, source):
    reset(route)
    return {"MB/s up": size / upload_s(route, size, source) / 1e6} | peaks(route, "up")


def beside_two(route, seconds):
    """One caller of small answers while two curls download again and again."""
    bulk = [subprocess.Popen(["curl", "-sS", "--fail", "--fail-early", "-o", "/dev/null", "-H", f"Host: {HOST}",
                              route.url("/large?[1-100000]")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) for _ in range(2)]
    try:
        r = wrk(route.url("/2"), 1, seconds)
        ended = [process for process in bulk if process.poll() is not None]
        if ended:
            raise Failed("a download beside it ended: " + ended[0].stderr.read().decode().strip()[:100])
    finally:
        for process in bulk:
            process.kill()
            process.communicate()
    if not r["requests"] - r["bad_status"]:
        raise Failed(f"no good answer ({r['bad_status']} of another status, {r['broken']} broken)")
    return {"beside two downloads: p50 ms": r["p50_us"] / 1000, "beside two downloads: p99 ms": r["p99_us"] / 1000,
            "failed, beside two downloads": r["bad_status"] + r["broken"]}


def one_by_one(route, page, seconds):
    """The seconds of each request, a new connection for each; at least one of them."""
    times, end = [], time.monotonic() + seconds
    while not times or time.monotonic() < end:
        start = time.monotonic()
        if not answers(route.url(page), 60):
            raise Failed(f"request {len(times) + 1} got no 200 in {time.monotonic() - start:.1f} s")
        times.append(time.monotonic() - start)
    return times


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def events(route, count=100, gap_ms=10):
    """From the app's write to the caller's read."""
    caller = harness.Caller(route.app_port)
    try:
        caller.sock.settimeout(20)
        caller.request("GET", f"{route.app}/events?count={count}&gap_ms={gap_ms}", host=HOST)
        status, _ = caller.head()
        if status != 200:
            raise Failed(f"status {status}")
        late = []
        for piece in caller.pieces():
            now = time.monotonic_ns()
            late += [(now - int(line[6:])) / 1e6 for line in piece.splitlines() if line.startswith(b"data: ")]
    finally:
        caller.close()
    if len(late) != count:
        raise Failed(f"{len(late)} events of {count}")
    return {"event ms, first": late[0], "event ms, p50": quantile(late, 0.5), "event ms, p99": quantile(late, 0.99)}


def open_websocket(route, page, patience_s=10):
    """The socket and its file, behind the handshake."""
    sock = socket.create_connection(("127.0.0.1", route.app_port), patience_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    file = sock.makefile("rb")
    try:
        sock.sendall(websocket.request(f"{route.app}{page}", HOST))
        line = file.readline()
        if b" 101 " not in line:
            raise Absent(f"absent ({line.decode('latin-1').strip() or 'closed'})")
        while file.readline() not in (b"\r\n", b""):
            pass
    except BaseException:
        file.close()
        sock.close()
        raise
    return sock, file


def push_s(route, size):
    """From the handshake to the last byte of messages that the app sends as fast as it can."""
    start = time.monotonic()
    sock, file = open_websocket(route, f"/push?bytes={size}", 60)
    try:
        left = size
        while left > 0:
            message = websocket.read(file)
            if message is None:
                raise Failed(f"closed {left} bytes before the end")
            left -= len(message)
    finally:
        file.close()
        sock.close()
    return time.monotonic() - start


def echo(route, count=300):
    """Round trip of a caller's WebSocket."""
    sock, file = open_websocket(route, "/echo")
    try:
        times, end = [], time.monotonic() + 5
        for i in range(count):
            if time.monotonic() > end:
                break
            start = time.monotonic_ns()
            sock.sendall(websocket.frame(b"%032d" % i, mask=True))
            if websocket.read(file) != b"%032d" % i:
                raise Failed("another message came back")
            times.append((time.monotonic_ns() - start) / 1e6)
    finally:
        file.close()
        sock.close()
    return {"WebSocket ms, p50": quantile(times, 0.5), "WebSocket ms, p99": quantile(times, 0.99)}


def answers(url, patience_s=5):
    """Whether a GET gets 200."""
    parts = urllib.parse.urlsplit(url)
    try:
        caller = harness.Caller(parts.port)
        try:
            caller.sock.settimeout(patience_s)
            caller.request("GET", parts.path, host=HOST)
            return caller.response().status == 200
        finally:
            caller.close()
    except (OSError, ValueError):
        return False


def wait_ready(routes):
    for route in routes:
        for url in (route.url("/2"), route.app_url("/upload")):
            harness.wait_until(lambda: answers(url), f"{route.name} answers {url}")


def attempt(samples, route, round_number, name, measure, *arguments):
    """A measurement that fails is a note in the table."""
    try:
        samples.add(route.name, round_number, measure(route, *arguments))
    except (Failed, OSError, ValueError, AssertionError) as e:
        samples.fail(route.name, name, e if isinstance(e, Absent) else f"failed: {e}")
