"""Hostile callers, strangers at the listener, and one tunnel that stalls beside another (issue "nobody let in").
What hostile tunnel clients say is in test_tunnels.py and, byte by byte, in tests/fuzz/."""
import json
import socket
import threading
import time

import pytest

from harness import PATIENCE_S, SANITIZED, Caller, token, wait_until
from test_websockets import BINARY, TEXT, WebSocketCaller, frame, read_frame

# --- strangers at the listener ---


def connect(web):
    s = socket.create_connection(("127.0.0.1", web.broker_port))
    s.settimeout(PATIENCE_S)
    return s


def test_half_open_strangers(make_web, make_app):
    """More than there is room for: the oldest make room, and a good client still comes in at once."""
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
    assert web.broker.log().count("strangers") <= 2, "said once, not for each"


def test_a_stranger_who_says_nothing_is_dropped(make_web):
    web = make_web()
    s = connect(web)
    s.sendall(b"GET / HTTP/1.1\r\nHost:")
    answer = b""
    while got := s.recv(1000):
        answer += got
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer
    web.wait_metric("pipegate_connections_unauthenticated", 0)


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
    assert got is None or got[0] in (10, 8)  # answered, or closed for what is no UTF-8
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
])
def test_smuggling_shapes(make_web, make_app, data):
    """Whatever the web server makes of them: the app sees at most one request, and never the smuggled one as one of
    its own on the tunnel's connection."""
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
    # As many requests at the app as answers to the caller: both count the same.
    assert len(seen) <= answers.count(b"HTTP/1.1 "), (seen, answers)
    web.wait_empty()


def test_scanning_for_ids_holds_no_workers(make_web):
    """As many callers as there may be wait for ids never seen; scanning on costs neither them nor anybody else a worker."""
    web = make_web(PIPEGATE_OFFLINE_WAIT=60, threads=128)
    held = [Caller(web.port) for _ in range(64)]
    for i, c in enumerate(held):
        c.request("GET", f"/first-{i}/x")
    web.wait_metric("pipegate_exchanges_queued", 64)
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
    assert answers == [(503, "tunnel-unknown; delivered=no")] * 160
    for c in held:
        c.close()


def test_a_stalled_tunnel_beside_a_good_one(make_web, make_app):
    stalled = threading.Event()

    def stall(request, connection):
        stalled.wait(PATIENCE_S)
        connection.answer(body=b"late")

    web = make_web(PIPEGATE_MAX_QUEUE_DEPTH=10, PIPEGATE_MAX_CONCURRENT=50)
    web.client(make_app(stall).url, "stalled")
    web.client(make_app().url, "good")
    count = 100 if SANITIZED else 400
    callers = []
    for _ in range(count):
        c = Caller(web.port)
        c.request("GET", "/stalled/x")
        callers.append(c)
    times = []
    for _ in range(50):
        start = time.monotonic()
        assert web.get("/good/x").status == 200
        times.append(time.monotonic() - start)
    print(f"beside {count} callers of a stalled tunnel: p50 {sorted(times)[25] * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms")
    stalled.set()
    statuses = [c.head()[0] for c in callers]
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 50
    for c in callers:
        c.close()
    web.wait_empty()
