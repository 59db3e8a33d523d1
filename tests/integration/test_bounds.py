"""The limits in SECURITY.md that no other test covers: exceeding one affects only the peer that does."""
import ctypes
import os
import pathlib
import select
import shutil
import subprocess
import threading
import time

import pytest

from conftest_shared import make_directory
from gate import OPEN, PING, PONG, Gate, control, message
from harness import PATIENCE_S, REPORTS, SANITIZED, UNDER, Caller, environment, program, wait_until
from test_hostile import HELLO, bad_client, connect, v2
from test_websockets import BINARY, WebSocketCaller, frame, open_handshake, read_frame


def ask(web, path):
    caller = Caller(web.port)
    caller.request("GET", path)
    return caller


class Holding:
    """A local app that responds to no request before release()."""

    def __init__(self):
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.running = self.most = self.seen = 0

    def __call__(self, request, connection):
        with self.lock:
            self.seen += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.go.wait(PATIENCE_S)
        with self.lock:
            self.running -= 1
        connection.answer(body=b"held")


def test_requests_running_on_one_tunnel(make_web, make_app):
    held = Holding()
    web = make_web(PIPEGATE_MAX_CONCURRENT=4)
    web.client(make_app(held).url)
    callers = [ask(web, "/demo/x") for _ in range(10)]
    web.wait_metric("pipegate_exchanges_running", 4)
    web.wait_metric("pipegate_exchanges_queued", 6)
    wait_until(lambda: held.seen == 4, "four are at the app")
    held.go.set()
    assert [c.response().body for c in callers] == [b"held"] * 10
    assert held.most <= 4
    web.wait_empty()


def test_workers_of_the_responder_for_one_id(make_web, make_app):
    held = Holding()
    web = make_web(threads=16)
    web.client(make_app(held).url, "stalled")
    web.client(make_app().url, "good")
    callers = [ask(web, "/stalled/x") for _ in range(12)]
    wait_until(lambda: held.seen == 12, "twelve of sixteen workers are taken")
    r = web.get("/stalled/x")
    assert (r.status, r.error) == (503, "queue-full; delivered=no")
    assert web.get("/good/x").status == 200
    held.go.set()
    assert [c.response().body for c in callers] == [b"held"] * 12


@pytest.mark.parametrize("size, status", [(60000, 200), (70000, 502)])
def test_response_head(web, make_app, name, size, status):
    line = "x" * 4000
    headers = [(f"X-{i}", line) for i in range(size // 4000)]
    web.client(make_app(lambda request, connection: connection.answer(headers=headers, body=b"x")).url, name)
    r = web.get(f"/{name}/x")
    assert r.status == status, r
    if status == 200:
        assert [r.header(n) for n, _ in headers] == [line] * len(headers)
    else:
        assert r.error == "bad-response; delivered=maybe"


def close_code(caller):
    """The code of the Close that arrives, after any other frames."""
    while (got := read_frame(caller.file)) is not None:
        if got[0] == 8:
            return int.from_bytes(got[2][:2], "big")
    return None


def test_message_of_a_v2_client(web, name):
    bad = bad_client(web, name)
    bad.send(frame(BINARY, HELLO, masked=True))
    bad.send(frame(BINARY, v2(4, 1, bytes(300000)), masked=True))
    assert close_code(bad) == 1009
    bad.close()


def test_message_in_endless_fragments(web, name):
    bad = bad_client(web, name)
    bad.send(frame(BINARY, HELLO, masked=True))
    bad.send(frame(BINARY, bytes(60000), final=False, masked=True))
    before = web.broker.rss_kib()
    for _ in range(500):  # 30 MB
        bad.send(frame(0, bytes(60000), final=False, masked=True))
    assert close_code(bad) == 1009
    assert SANITIZED or web.broker.rss_kib() < before + 4096  # a sanitizer keeps freed memory
    bad.close()


def test_a_v2_client_has_to_say_hello(web, name):
    bad = bad_client(web, name)
    assert close_code(bad) == 1002
    bad.close()


def test_a_tunnel_that_does_not_answer_a_close(web, name, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    bad = bad_client(web, name)
    start = time.monotonic()
    bad.send(frame(BINARY, b"no HELLO", masked=True))
    assert close_code(bad) == 1002
    assert read_frame(bad.file) is None
    assert 4.9 < time.monotonic() - start < 15  # silence ends it after 30
    bad.close()


def test_the_app_does_not_end_a_websocket(make_web, make_app):
    """The caller has closed it."""
    ended, cut, gone = threading.Event(), threading.Event(), threading.Event()

    def is_gone(connection):
        try:
            connection.send(b"x")
        except ConnectionError:
            return True

    def handler(request, connection):
        open_handshake(request, connection)
        connection.wait_peer_gone()  # half of it: it would take our bytes still
        ended.set()
        cut.wait(PATIENCE_S)
        wait_until(lambda: is_gone(connection), "closed for good")
        gone.set()
        return False

    web = make_web()
    web.client(make_app(handler).url)
    caller = WebSocketCaller(web.port, "/demo/").opened()
    web.wait_metric("pipegate_websockets", 1)
    start = time.monotonic()
    caller.close()
    assert ended.wait(PATIENCE_S)
    web.wait_metric("pipegate_websockets", 0)
    assert 9.9 < time.monotonic() - start < 20
    web.wait_empty()
    cut.set()
    assert gone.wait(PATIENCE_S)


def test_the_caller_does_not_end_a_websocket(make_web, make_app, server):
    """The app has closed it."""
    if server != "lighttpd":
        pytest.skip("a web server ends it in its caller's place")
    go = threading.Event()

    def handler(request, connection):
        open_handshake(request, connection)
        go.wait(PATIENCE_S)
        return False

    web = make_web()
    web.client(make_app(handler).url)
    caller = WebSocketCaller(web.broker_port, "/demo/").opened()
    start = time.monotonic()
    go.set()
    assert caller.next() is None
    web.wait_metric("pipegate_websockets", 0)
    assert 1.9 < time.monotonic() - start < 9
    caller.close()
    web.wait_empty()


def test_256_fields_at_the_listener(web):
    for fields, status in ((256, b"404"), (257, b"431")):
        s = connect(web)
        s.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (fields - 1) + b"\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 " + status)
        s.close()


def test_broker_out_of_descriptors(make_web, make_app):
    """New connections are refused; existing ones continue."""
    web = make_web(descriptors=160)
    web.client(make_app().url)
    strangers = [connect(web) for _ in range(300)]
    wait_until(lambda: web.broker.descriptors() >= 90, "as many as it takes")
    for _ in range(5):
        assert web.get("/demo/x").status == 200
    assert web.broker.descriptors() <= 160 - 32
    for s in strangers:
        s.close()
    web.client(make_app().url, "another")
    assert web.get("/another/x").status == 200


def test_responder_out_of_descriptors(make_web, make_app):
    held = Holding()
    web = make_web(responder_descriptors=64)
    web.client(make_app(held).url)
    callers = [ask(web, "/demo/x") for _ in range(100)]
    wait_until(lambda: held.seen > 5, "some came through")
    held.go.set()
    answers = [c.response() for c in callers]
    assert {(r.status, r.error) for r in answers} <= {(200, None), (503, "queue-full; delivered=no")}
    assert len([r for r in answers if r.status == 200]) > 5
    assert web.get("/demo/x").status == 200
    web.wait_empty()


def test_a_tunnel_that_falls_silent(make_web, make_app, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    client = web.client(make_app().url)
    client.signal(19)  # SIGSTOP
    start = time.monotonic()
    try:
        wait_until(lambda: "tunnel.closed conn=demo " in web.broker.log(), "the broker gives it up")
        assert time.monotonic() - start < 31
    finally:
        client.signal(18)
    wait_until(lambda: web.get("/demo/x").status == 200, "it comes back by itself")


# --- the gate: no responder of ours comes near, as each of its requests has one message under way ---

GATE_MOST = 10000
KERNEL_BYTES = int(open("/proc/sys/net/core/wmem_default").read())


def test_replies_that_a_responder_does_not_read(make_web, make_app, server):
    """A limited number of replies wait for it, further ones are dropped, and no other responder waits."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    web.client(make_app().url)
    greedy = Gate(web.directory / "gate.sock")
    refused = message(control(OPEN))  # of no id
    most = GATE_MOST + KERNEL_BYTES // len(refused) + 1000
    before = web.broker.rss_kib()
    for _ in range(0, most + 10000, 100):
        greedy.send(refused * 100)
    wait_until(lambda: web.metrics()['pipegate_requests_total{outcome="bad-request"}'] >= most + 10000, "all are refused")
    assert web.get("/demo/x").status == 200
    assert SANITIZED or web.broker.rss_kib() < before + 8192
    for _ in range(GATE_MOST):
        assert greedy.next() != PONG
    greedy.send(message(control(PING)))
    came = GATE_MOST
    while greedy.next() != PONG:  # there is room again
        came += 1
    assert came < most
    greedy.close()


class StalledBroker:
    """Its event loop is stopped by ptrace(2), which stops one thread. ZeroMQ's own thread still receives into its queue."""
    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self):
        self.directory = pathlib.Path(make_directory())
        self.gate, self.log = self.directory / "gate.sock", self.directory / "log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen([*UNDER, program("broker"), "-v", "--listen", "127.0.0.1:0", "--gate", f"ipc://{self.gate}"],
                                          stderr=log, env=environment())
        wait_until(lambda: "ready gate=" in self.log.read_text(), "the broker is ready")
        try:
            self.trace(self.SEIZE)
        except PermissionError:
            self.popen.kill()
            pytest.skip("this machine forbids ptrace(2)")
        self.trace(self.INTERRUPT)
        os.waitpid(self.popen.pid, self.WALL)

    def trace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(request, self.popen.pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")

    def go_on(self):
        self.trace(self.DETACH)

    def stop(self):
        self.popen.terminate()
        assert self.popen.wait(PATIENCE_S) == 0
        text = self.log.read_text()
        assert not any(r in text for r in REPORTS), text
        shutil.rmtree(self.directory)
        return text


def test_messages_that_the_broker_has_not_looked_at(server):
    """A limited number waits in the broker's queue, further ones in the responder; none is lost."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    broker = StalledBroker()
    eager = Gate(broker.gate, send_buffer=8192)
    odd = message(b"x" * 200)  # each is a line of the log: with -v, all of them
    sent_bytes, most_bytes = 0, 2 * GATE_MOST * len(odd)
    pieces = odd * 100
    eager.sock.setblocking(False)
    while sent_bytes < most_bytes:
        patience_s = 1 if sent_bytes > GATE_MOST * len(odd) else PATIENCE_S
        if not select.select([], [eager.sock], [], patience_s)[1]:
            break
        sent_bytes += eager.sock.send(pieces[sent_bytes % len(odd):])
    assert GATE_MOST * len(odd) < sent_bytes < most_bytes
    eager.sock.settimeout(PATIENCE_S)
    broker.go_on()
    eager.send(odd[sent_bytes % len(odd):] + message(control(PING)))
    assert eager.next() == PONG
    eager.close()
    assert broker.stop().count("gate.malformed bytes=200") == sent_bytes // len(odd) + 1


def test_callers_of_websockets_who_read_nothing(make_web, make_app, server):
    """They count until they are closed. They are closed in time, both while the app still writes and after it has ended."""
    if server != "lighttpd":
        pytest.skip("the listener; a web server would read for them")
    ends = threading.Event()

    def handler(request, connection):
        open_handshake(request, connection)
        piece = frame(BINARY, bytes(60000))
        try:
            for _ in range(100) if request.target == "/ends" else iter(int, 1):
                connection.send(piece)
        finally:
            ends.set()
        return False

    web = make_web(PIPEGATE_MAX_WEBSOCKETS=2, PIPEGATE_IDLE_TIMEOUT=3)
    web.client(make_app(handler).url)
    before = web.broker.descriptors()

    def ask_for(path):
        return WebSocketCaller(web.broker_port, f"/demo/{path}", receive_buffer=4096)

    def refused():
        other = ask_for("other")
        status, headers = other.head()
        other.close()
        return status == 503 and dict(headers).get("x-pipegate-error") == "queue-full; delivered=no"

    deaf = [ask_for("ends"), ask_for("writes")]
    for c in deaf:
        assert c.head()[0] == 101
    assert refused()
    # The first of them is over for the client, the second is given up: what is left are their sockets.
    web.wait_metric("pipegate_exchanges_running", 0)
    wait_until(lambda: web.broker.descriptors() <= before, "both are closed")
    deaf.append(ask_for("ends"))
    assert deaf[-1].head()[0] == 101
    for c in deaf:
        c.close()


def test_a_caller_who_reads_nothing_of_an_ended_websocket(make_web, make_app, server):
    """No exchange remains, but the socket does, and counts as a WebSocket."""
    if server != "lighttpd":
        pytest.skip("the listener; a web server would read for it")

    def handler(request, connection):
        open_handshake(request, connection)
        connection.send(frame(BINARY, bytes(60000)))
        return False

    web = make_web(PIPEGATE_MAX_WEBSOCKETS=2)
    web.client(make_app(handler).url)
    before = web.broker.descriptors()
    deaf, statuses = [], []
    start = time.monotonic()
    for _ in range(8):
        deaf.append(WebSocketCaller(web.broker_port, "/demo/x", receive_buffer=4096))
        status = deaf[-1].head()[0]
        web.wait_metric("pipegate_exchanges_running", 0)
        if time.monotonic() - start < 2:  # the first two stay at least this long
            statuses.append(status)
    assert statuses == [101, 101, 503, 503, 503, 503, 503, 503][:len(statuses)]
    wait_until(lambda: web.broker.descriptors() <= before, "they are closed, if they take it or not")
    for c in deaf:
        c.close()
