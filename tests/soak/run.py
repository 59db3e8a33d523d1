"""make soak MINUTES=20 [SERVER=lighttpd|apache]: mixed traffic and restarts, and what memory does.

Small requests, large ones both ways, streams, WebSockets, callers that leave, unknown ids; a client is restarted every 10 s, the
web server reloaded every 30 s, responder and broker are restarted once, after a quarter of the time. The slope of each
program's memory is that of the last half, by least squares. Fails on a wrong answer, on a leftover or on growth; not on speed.
"""
import collections
import hashlib
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
from harness import App, Caller, Stack, wait_until  # noqa: E402
from test_websockets import TEXT, WebSocketCaller, echo  # noqa: E402

MINUTES = float(os.environ.get("MINUTES") or 20)
SERVER = os.environ.get("SERVER") or "lighttpd"
GROWTH_KIB = 2048  # over the last half; an allocator's noise, whatever the length of the run
LARGE = random.Random(1).randbytes(3 << 20)
outcomes, wrong, stop = collections.Counter(), [], threading.Event()


def app(request, connection):
    if request.header("upgrade"):
        return echo(request, connection)
    kind = request.target.split("/")[-1]
    body = request.body()
    if kind == "stream":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(20):
            connection.send(b"9\r\ndata: %02d\n\r\n" % i)
            stop.wait(0.01)
        return connection.send(b"0\r\n\r\n")
    if kind == "large":
        return connection.answer(body=LARGE)
    return connection.answer(body=hashlib.sha256(body).hexdigest().encode())


def ask(web, method, path, body=None, headers=()):
    caller = Caller(web.port)
    try:
        caller.request(method, path, headers, body)
        return caller.response()
    finally:
        caller.close()


def expect(response, body):
    """A refusal that declares itself is what restarts may cost; a wrong body never is."""
    if response.status == 200 and response.complete and response.body != body:
        wrong.append(f"{response.status} {response.body[:80]!r}")
    return "right" if response.status == 200 and response.complete else f"{response.status} {response.error}"


def small(web):
    body = os.urandom(random.randrange(2000))
    return expect(ask(web, "POST", "/demo/x", body), hashlib.sha256(body).hexdigest().encode())


def upload(web):
    return expect(ask(web, "POST", "/demo/x", LARGE), hashlib.sha256(LARGE).hexdigest().encode())


def download(web):
    return expect(ask(web, "GET", "/demo/large"), LARGE)


def stream(web):
    return expect(ask(web, "GET", "/demo/stream"), b"".join(b"data: %02d\n" % i for i in range(20)))


def leave(web):
    caller = Caller(web.port)
    caller.request("GET", "/demo/large")
    caller.head()
    caller.close()
    return "right"


def scan(web):
    status = ask(web, "GET", f"/{os.urandom(8).hex()}/x").status
    return "right" if status in (503, 504) else str(status)


def socket(web):
    caller = WebSocketCaller(web.port, "/demo/").opened()
    for i in range(20):
        text = os.urandom(100).hex().encode()
        caller.frame(TEXT, text)
        if caller.next()[2] != text:
            wrong.append("WebSocket")
    caller.sock.close()
    return "right"


def run(web, kind):
    while not stop.is_set():
        try:
            outcome = kind(web)
        except (OSError, AssertionError, ValueError, TypeError) as e:
            outcome = type(e).__name__
        outcomes[kind.__name__, outcome] += 1
        stop.wait(0.002 if outcome == "right" else 0.1)


def slope_kib_per_minute(samples):
    n = len(samples)
    mean_t, mean_v = sum(t for t, _ in samples) / n, sum(v for _, v in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return 60 * sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread


def main():
    directory = tempfile.mkdtemp(prefix="pipegate-soak-")
    web = Stack(directory, SERVER, PIPEGATE_OFFLINE_WAIT=5, PIPEGATE_MAX_QUEUE_DEPTH=1000)
    local = App(app)
    clients = [web.client(local.url) for _ in range(2)]
    kinds = [small] * 4 + [upload, download, stream, leave, scan, socket, socket]
    threads = [threading.Thread(target=run, args=(web, kind), daemon=True) for kind in kinds]
    for t in threads:
        t.start()
    start, samples, turn, restarted = time.monotonic(), collections.defaultdict(list), 0, False
    while (now := time.monotonic() - start) < MINUTES * 60:
        stop.wait(10)
        turn += 1
        clients[turn % 2].stop()
        clients[turn % 2] = web.client(local.url)
        if turn % 3 == 0:
            web.web.reload()
        if not restarted and now > MINUTES * 15:
            restarted = True
            web.responder.stop()
            web.responder = web.start_responder()
            web.broker.stop(expect=None)
            web.broker = web.start_broker()
            wait_until(lambda: web.metrics()["pipegate_tunnels"] == 2, "the tunnels are back")
        if now > MINUTES * 30:
            for p in (web.broker, web.responder):
                samples[p.name].append((now, p.rss_kib()))
    stop.set()
    for t in threads:
        t.join(60)
    web.wait_empty()
    failed = list(wrong)
    print(f"{SERVER}, {MINUTES:g} minutes, {sum(outcomes.values())} exchanges\n\n| what | outcome | times |\n|---|---|---|")
    for (kind, outcome), times in sorted(outcomes.items()):
        print(f"| {kind} | {outcome} | {times} |")
    print("\n| program | MiB at the end | slope, KiB/minute | descriptors |\n|---|---|---|---|")
    for p in (web.broker, web.responder):
        slope = slope_kib_per_minute(samples[p.name])
        print(f"| {p.name} | {p.rss_kib() / 1024:.1f} | {slope:+.1f} | {p.descriptors()} |")
        if slope * MINUTES / 2 > GROWTH_KIB:
            failed.append(f"{p.name} grows")
    for p in clients:
        p.stop()
    local.close()
    web.close()
    shutil.rmtree(directory, ignore_errors=True)
    if failed:
        sys.exit("failed: " + "; ".join(failed[:5]))


main()
