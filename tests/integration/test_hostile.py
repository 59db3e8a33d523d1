"""Hostile callers, unauthenticated connections at the listener, and one stalled tunnel beside another.
Hostile tunnel clients are in test_tunnels.py and, byte by byte, in tests/fuzz/."""
import json
import socket
import threading
import time

import pytest

from harness import PATIENCE_S, SANITIZED, UNDER, Caller, report, token, wait_until
from test_websockets import BINARY, TEXT, WebSocketCaller, frame, read_frame

# --- strangers at the listener ---


def connect(web):
    s = socket.create_connection(("127.0.0.1", web.broker_port))
    s.settimeout(PATIENCE_S)
    return s


def test_half_open_strangers(make_web, make_app):
    """More connections than the limit: the oldest are closed, and a good client still connects at once."""
    web = make_web()
    strangers = []
    for i in range(1200):
        s = connect(web)
        s.sendall((b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01")[i % 4])
        strangers.append(s)
    assert web.metrics()["pipegate_connections_unauthenticated"] <= 1024
    web.client(make_app().url)
    assert web.get("/demo/x").status == 200
    for s in strangers:
        s.close()
    web.wait_metric("pipegate_connections_unauthenticated", 0)
    assert web.broker.log().count("too_many_pending") <= 2, "said once, not for each"


def test_a_thousand_strangers_who_never_come_to_the_point(make_web, make_app):
    """They are limited in number and time, and logged once; a good client can connect meanwhile."""
    web = make_web()
    strangers = [connect(web) for _ in range(1000)]
    for i, s in enumerate(strangers):
        s.sendall((b"", b"GET / HTTP/1.1\r\nHost:", b"GET /?token=", b"\r\n")[i % 4])
    wait_until(lambda: web.metrics()["pipegate_connections_unauthenticated"] >= 1000, "they are in")
    start = time.monotonic()
    web.client(make_app().url)
    assert web.get("/demo/x").status == 200
    for s in strangers:
        answer = b""
        while got := s.recv(1000):
            answer += got
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer
        s.close()
    assert SANITIZED or time.monotonic() - start < 15
    web.wait_metric("pipegate_connections_unauthenticated", 0)
    assert web.broker.log().count("listener.") == 1, web.broker.log()
    assert web.get("/demo/x").status == 200


def test_guessing_tokens(make_web, make_app):
    """A wrong token occupies one connection until its Close is done, and these are limited: the oldest is cut."""
    web = make_web()
    web.client(make_app().url)
    before = web.broker.descriptors()
    guessers = []
    for i in range(1500):
        text = token("demo", secret=f"guess-{i}")
        s = connect(web)
        s.sendall(f"GET /?token={text} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        guessers.append(s)
    wait_until(lambda: web.metrics()["pipegate_tunnels_refused_total"] >= 1500, "all are refused")
    assert web.broker.descriptors() <= before + 1024 + 150  # those that were cut in this turn of the loop are closed in the next
    assert web.get("/demo/x").status == 200
    for s in guessers[-100:]:
        answer = b""
        while got := s.recv(1000):
            answer += got
        assert answer.endswith(b"\x88\x0f\x03\xf0Invalid token"), answer
    wait_until(lambda: web.broker.descriptors() <= before + 1, "none of them stays")
    for s in guessers:
        s.close()
    assert web.metrics()["pipegate_tunnels"] == 1 and web.get("/demo/x").status == 200


@pytest.mark.parametrize("data", [
    b"\0" * 5000, b"\xff" * 40000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 6000 + b"\r\n",
    b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA" * 3000, b"\r\n" * 20000,
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    b"GET /demo/x HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
])
def test_garbage_at_the_listener(web, data):
    s = connect(web)
    try:
        s.sendall(data)
        got = s.recv(100)
        assert got == b"" or got.startswith(b"HTTP/1.1 4"), got
    except ConnectionError:
        pass
    s.close()
    assert web.get("/healthz").status == 200


# --- tunnel clients with a good token and bad intent ---


def bad_client(web, name, protocol="pipegate.v2"):
    caller = WebSocketCaller.__new__(WebSocketCaller)
    Caller.__init__(caller, web.broker_port)
    caller.request("GET", f"/?token={token(name)}", [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), *([("Sec-WebSocket-Protocol", protocol)] if protocol else [])])
    assert caller.head()[0] == 101
    return caller


def fields(*pairs):
    return b"".join(len(n).to_bytes(2, "big") + len(v).to_bytes(4, "big") + n + v for n, v in pairs)


def v2(kind, stream, payload, flags=0):
    return bytes([kind, flags, 0, 0]) + stream.to_bytes(4, "big") + len(payload).to_bytes(4, "big") + payload


HELLO = v2(1, 0, fields((b"version", b"2")))
GOOD_HEAD = fields((b":status", b"200"), (b":origin", b"http://x"))


@pytest.mark.parametrize("what", [
    v2(3, 1, b"\xff\xff\xff\xff" + GOOD_HEAD, 1), v2(3, 1, b"\0\0\0\0", 1), v2(3, 1, b"", 1),
    v2(3, 1, len(fields((b":status", b"999"))).to_bytes(4, "big") + fields((b":status", b"999")), 1),
    v2(3, 1, len(fields((b":status", b"200"), (b"a\r\nb", b"x"))).to_bytes(4, "big")
       + fields((b":status", b"200"), (b"a\r\nb", b"x")), 1),
    v2(3, 1, len(fields((b":status", b"200"), (b"a", b"x\r\nSet-Cookie: y"))).to_bytes(4, "big")
       + fields((b":status", b"200"), (b"a", b"x\r\nSet-Cookie: y")), 1),
    v2(4, 1, b"data before the head", 1), v2(5, 1, b"\xff\xff\xff\xff"), v2(6, 1, b""), v2(6, 1, b"\xff\xff" * 30),
    v2(3, 1, len(GOOD_HEAD).to_bytes(4, "big") + GOOD_HEAD) + v2(4, 1, bytes(120000)) * 3,
    b"\xff" * 50, v2(3, 1, b"")[:7], bytes(11),
], ids=lambda w: w[:14].hex())
def test_bad_frames_cost_only_that_tunnel(web, make_app, name, what):
    web.client(make_app().url, f"{name}-good")
    bad = bad_client(web, name)
    bad.send(frame(BINARY, HELLO, masked=True))
    wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
    outcome = {}

    def call():
        try:
            r = web.get(f"/{name}/x")
            outcome["answer"] = (r.status, r.complete, r.error)
        except ConnectionError:
            outcome["answer"] = "cut"

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while b"x-forwarded-for" not in (read_frame(bad.file) or (0, 0, b"x-forwarded-for"))[2]:
        pass
    bad.send(frame(BINARY, what, masked=True))
    bad.send(frame(CLOSE_, b"\x03\xe8", masked=True))
    thread.join(PATIENCE_S)
    got = outcome["answer"]
    assert got == "cut" or got[0] >= 500 or not got[1], got
    bad.close()
    assert web.get(f"/{name}-good/x").status == 200
    web.wait_empty()


CLOSE_ = 8


@pytest.mark.parametrize("text", [
    "[" * 100000, '{"correlation_id": ' + '{"a":' * 50000, "\ud800".encode("utf-8", "surrogatepass"), b"\xff\xfe", '""',
    json.dumps({"correlation_id": "x" * 100000}), json.dumps({"status_code": -1}),
], ids=["brackets", "objects", "surrogate", "no UTF-8", "string", "long id", "no id"])
def test_bad_json_is_ignored(web, name, text):
    bad = bad_client(web, name, protocol=None)
    wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
    data = text.encode() if isinstance(text, str) else text
    bad.send(frame(TEXT, data, masked=True))
    bad.send(frame(9, b"still there?", masked=True))
    got = read_frame(bad.file)
    assert got is None or got[0] in (10, 8)  # answered, or closed because it is not UTF-8
    bad.close()
    assert web.get("/healthz").status == 200


# --- callers ---


@pytest.mark.parametrize("data", [
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhelloGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /demo/x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n folded: c\r\n\r\n",
    b"GET /demo/x HTTP/1.1\r\nHost: x\r\nX-A: b\nX-B: c\r\n\r\n",
    b"GET /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
    b"GET /demo/x\0y HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /demo/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhelloGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhelloGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhelloGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /demo/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff5\r\nhello\r\n0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /demo/x HTTP/1.1\nHost: x\nContent-Length: 30\n\nGET /demo/smuggled HTTP/1.1\nHost: x\n\n",
    b"GET /demo/x HTTP/1.1\rHost: x\r\rGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /demo/x\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
])
def test_smuggling_shapes(make_web, make_app, data):
    """Whatever the web server does with them, the app sees at most one request, and never the smuggled one as a separate
    request on the tunnel."""
    seen = []

    def handler(request, connection):
        seen.append((request.target, request.body()))
        connection.answer(body=b"ok")

    web = make_web()
    web.client(make_app(handler).url)
    s = socket.create_connection(("127.0.0.1", web.port))
    s.settimeout(PATIENCE_S)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    answers = b""
    try:
        while got := s.recv(65536):
            answers += got
    except ConnectionError:
        pass
    s.close()
    # The app must have received as many requests as the caller has received responses.
    old = data.startswith(b"GET /demo/x\r")  # HTTP/0.9, which Apache supports: a response without a head
    assert len(seen) <= (1 if old else answers.count(b"HTTP/1.1 ")), (seen, answers)
    web.wait_empty()


def test_scanning_for_ids_holds_no_workers(make_web):
    """As many callers as allowed wait for unknown ids; a further scan uses no worker, neither theirs nor another caller's."""
    web = make_web(PIPEGATE_OFFLINE_WAIT=60)
    held = [Caller(web.port) for _ in range(256)]
    for i, c in enumerate(held):
        c.request("GET", f"/first-{i}/x")
    web.wait_metric("pipegate_exchanges_queued", 256)
    answers, lock = [], threading.Lock()

    def scan(k):
        for i in range(20):
            r = web.get(f"/guess-{k}-{i}/x")
            with lock:
                answers.append((r.status, r.error))

    threads = [threading.Thread(target=scan, args=(k,), daemon=True) for k in range(8)]
    for t in threads:
        t.start()
    assert web.get("/healthz").status == 200
    for t in threads:
        t.join(PATIENCE_S)
    assert answers == [(503, "queue-full; delivered=no")] * 160
    for c in held:
        c.close()


def percentile(times, part):
    return sorted(times)[min(int(len(times) * part), len(times) - 1)]


def test_a_stalled_tunnel_beside_a_good_one(make_web, make_app):
    """A thousand callers wait for one tunnel; the effect on the callers of the other is measured."""
    stalled = threading.Event()

    def stall(request, connection):
        stalled.wait(PATIENCE_S)
        connection.answer(body=b"late")

    web = make_web()
    web.client(make_app(stall).url, "stalled")
    web.client(make_app().url, "good")
    count, tries = (100, 50) if SANITIZED else (1000, 500)

    def measure():
        times = []
        for _ in range(tries):
            start = time.monotonic()
            assert web.get("/good/x").status == 200
            times.append((time.monotonic() - start) * 1000)
        return percentile(times, 0.5), percentile(times, 0.99)

    measure()
    p50_before, p99_before = measure()
    callers = []
    for _ in range(count):
        c = Caller(web.port)
        c.request("GET", "/stalled/x")
        callers.append(c)
    p50, p99 = measure()
    report(f"a tunnel beside a stalled one with {count} callers, {web.web.name}: p50 {p50_before:.2f} -> {p50:.2f} ms, "
           f"p99 {p99_before:.2f} -> {p99:.2f} ms, factor {p99 / p99_before:.1f}")
    assert SANITIZED or p99 < 10 * p99_before + 50
    stalled.set()
    statuses = [c.head()[0] for c in callers]
    assert set(statuses) <= {200, 503} and statuses.count(200) >= (100 if SANITIZED else 256)
    for c in callers:
        c.close()
    web.wait_empty()


def test_slow_callers_by_the_hundred(make_web, make_app):
    """They do not read a large response, or send their head or body one byte at a time; other callers are served."""
    large = bytes(8 << 20)

    def handler(request, connection):
        if request.target == "/large":
            connection.answer(body=large)
        else:
            connection.answer(body=b"%d" % len(request.body()))

    web = make_web()
    web.client(make_app(handler).url, "slow")
    web.client(make_app().url, "good")
    count = 30 if SANITIZED else 200
    readers, bodies, heads = [], [], []
    for i in range(count):
        c = Caller(web.port, receive_buffer=4096)
        c.request("GET", "/slow/large")
        readers.append(c)
        c = Caller(web.port)
        c.request("POST", "/slow/x", [("Content-Length", "20")])
        bodies.append(c)
        c = Caller(web.port)
        c.send(b"GET /slow/x HTTP/1.1\r\nHost: x")
        heads.append(c)
    def served_at_once():
        start = time.monotonic()
        assert web.get("/good/x").status == 200
        return time.monotonic() - start < 10  # those that are slow are so for longer

    wait_until(served_at_once, "Apache has started as many workers as that takes")
    for k in range(20):
        for c in bodies:
            try:
                c.send(b"b")
            except ConnectionError:
                pass  # it was told queue-full, and the web server has closed
        for c in heads:
            c.send(b"\r\nX: %d" % k)
        assert served_at_once()
    for c in heads:
        c.send(b"\r\n\r\n")
    for c, body in [(c, b"20") for c in bodies] + [(c, b"0") for c in heads]:
        c.method = "POST"
        r = c.response()
        assert (r.status, r.body) == (200, body) or (r.status, r.error) == (503, "queue-full; delivered=no"), r
    for c in readers:
        c.close()
    assert web.get("/good/x").status == 200
    web.wait_empty()


@pytest.mark.parametrize("head", [
    b"".join(b"X-%d: y\r\n" % i for i in range(1000)), b"X: " + b"y" * 100000 + b"\r\n",
    b"Cookie: a=b\r\n" * 500, b"X" * 60000 + b": y\r\n", b": y\r\n" * 100, b"\xff\xfe: \x80\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 1e3\r\n", b"Content-Length: 99999999999999999999\r\n",
], ids=lambda h: f"{h[:18]!r}-{len(h)}")
def test_floods_of_headers(web, make_app, name, head):
    """Either the web server refuses them or the app receives them; other callers are not affected."""
    web.client(make_app().url, name)
    c = Caller(web.port)
    c.method = "GET"
    try:
        c.send(b"GET /%s/x HTTP/1.1\r\nHost: x\r\n%s\r\n" % (name.encode(), head))
        status = c.head()[0]
        assert status == 200 or 400 <= status < 500, status
    except ConnectionError:
        pass
    c.close()
    assert web.get(f"/{name}/x").status == 200
    web.wait_empty()


@pytest.mark.parametrize("host", ["", "evil@public.example", "public.example:99999", "a b", "../x", "x" * 300, "[::1]", "%0d%0a",
                                  "public.example/t/private", "'\"<>", "\xff"])
def test_names_of_hosts(web, make_app, name, host):
    """The app must judge every Host that the web server accepts: it selects no tunnel, and breaks no head."""
    app = make_app()
    web.client(app.url, name)
    r = web.get(f"/{name}/x", host=host)
    if r.status == 200:
        headers = [(n.lower(), v) for n, v in r.json()["headers"]]
        assert [v for n, v in headers if n == "x-forwarded-prefix"] == [f"/{name}"]
        assert len([v for n, v in headers if n == "host"]) == 1
        assert all(c > " " for _, v in headers for c in v if _ in ("host", "x-forwarded-host"))
    else:
        assert 400 <= r.status < 500 and app.count == 0, r
    c = Caller(web.port)
    c.send(f"GET http://evil.example/{name}/x HTTP/1.1\r\nHost: public.example\r\n\r\n".encode())
    c.method = "GET"
    assert c.response().status in (200, 400)
    c.close()
