"""What a web server could send to the responder: FastCGI written by the test, without a web server."""
import os
import select
import signal
import subprocess
import threading
import time

import pytest

from conftest_shared import make_directory
from fastcgi import (ABORT, BEGIN, GET_VALUES, PARAMS, STDIN, WebServer, begin, length, parameters, record,
                     request)
from harness import PATIENCE_S, SANITIZED, Process, Stack, environment, program, wait_until
from test_hostile_servers import preload  # noqa: F401


@pytest.fixture
def make_web():
    made = []

    def make(**settings):
        made.append(Stack(make_directory(), None, **settings))
        return made[-1]

    yield make
    for stack in made:
        stack.close()


class Held:
    """An app that responds when the test tells it to."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, asked, connection):
        body = asked.body()
        if asked.target != "/now":
            self.go.wait(PATIENCE_S)
        connection.answer(body=b"%d" % len(body))


def call(web, target, **more):
    connection = WebServer(web)
    try:
        return connection.call(target, **more)
    finally:
        connection.close()


def assert_prompt(web):
    start = time.monotonic()
    assert call(web, "/healthz").status == 200
    assert SANITIZED or time.monotonic() - start < 1, "somebody holds the loop"


MALFORMED = {
    "role": begin(role=9) + parameters("/demo/now") + record(STDIN),
    "short beginning": record(BEGIN, bytes(7)) + record(PARAMS) + record(STDIN),
    "no id": record(BEGIN, bytes(8), request_id=0) + record(PARAMS, request_id=0) + record(STDIN, request_id=0),
    "half a parameter": begin() + record(PARAMS, b"\xff\xff\xff") + record(PARAMS) + record(STDIN),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_request_holds_nobody(make_web, what):
    web = make_web()
    bad = WebServer(web)
    bad.send(MALFORMED[what])
    assert_prompt(web)
    assert bad.is_closed()
    bad.close()


def test_padding_that_looks_like_a_record_holds_nobody(make_web):
    """libfcgi does not skip the padding of the first record, and would wait for the record that it seems to announce."""
    web = make_web()
    bad = WebServer(web)
    first = bytearray(record(BEGIN, b"\0\1\1" + bytes(5), padding=8))
    first[-8:] = record(PARAMS, bytes(60000))[:8]
    bad.send(bytes(first) + parameters("/demo/x") + record(STDIN))
    assert_prompt(web)
    bad.close()


def test_half_an_end_of_the_body_holds_nobody(make_web, make_app):
    """The response is ready, but only some bytes of the record that ends the request have arrived."""
    held = Held()
    web = make_web()
    web.client(make_app(held).url)
    slow = WebServer(web)
    slow.send(begin() + parameters("/demo/x", "POST", 5) + record(STDIN, b"hello"))
    web.wait_metric("pipegate_exchanges_running", 1)
    slow.send(record(STDIN)[:3])
    held.go.set()
    r = slow.response()
    assert (r.status, r.body) == (200, b"5")
    assert_prompt(web)
    assert slow.is_closed()
    slow.close()
    web.wait_empty()


HALF = len(request("/healthz")) // 2  # the parameters have begun


def test_half_a_request_is_not_waited_for_for_ever(make_web):
    web = make_web()
    half = WebServer(web)
    start = time.monotonic()
    half.send(request("/healthz")[:HALF])
    assert half.is_closed()
    assert 4.9 < time.monotonic() - start < 20
    half.close()


def test_half_a_request_may_take_its_time(make_web):
    """A byte at intervals is enough, because a thread reads it."""
    web = make_web()
    slow = WebServer(web)
    whole = request("/healthz")
    slow.send(whole[:HALF])
    for i in range(HALF, HALF + 5):
        threading.Event().wait(1.5)
        slow.send(whole[i:i + 1])
    slow.send(whole[HALF + 5:])
    assert slow.response().status == 200
    slow.close()


def test_plain_cgi_with_a_slow_caller(make_web, make_app):
    """It runs for longer than the time after which the broker considers a silent responder dead."""
    large = bytes(8 << 20)
    web = make_web()
    web.client(make_app(lambda asked, connection: connection.answer(body=large)).url)
    env = environment(GATEWAY_INTERFACE="CGI/1.1", REQUEST_METHOD="GET", REQUEST_URI="/demo/x", SERVER_PROTOCOL="HTTP/1.1")
    p = subprocess.Popen([program("fcgi"), "--gate", web.gate], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env)
    answer = os.read(p.stdout.fileno(), 100)
    threading.Event().wait(12)
    answer += p.stdout.read()
    assert p.wait(PATIENCE_S) == 0
    assert len(answer.split(b"\r\n\r\n", 1)[1]) == len(large)
    p.stdout.close()
    web.wait_empty()


def test_the_end_waits_without_work(make_web, make_app):
    held = Held()
    web = make_web()
    web.client(make_app(held).url)
    c = WebServer(web)
    c.send(request("/demo/x"))
    web.wait_metric("pipegate_exchanges_running", 1)
    web.responder.signal(signal.SIGTERM)
    web.responder.wait_log("responder.stop")
    before = web.responder.cpu_s()
    threading.Event().wait(2)
    used_s = web.responder.cpu_s() - before
    held.go.set()
    assert c.response().status == 200
    assert web.responder.wait() == 0
    assert used_s < 0.2, used_s
    c.close()


def test_the_end_does_not_wait_for_ever(make_web, make_app):
    """Ten seconds. Then callers get a response, or a cut if it has begun, and the broker is notified: it would notice
    a silent responder only after ten more seconds."""
    held = Held()
    gone = []

    def handler(asked, connection):
        if asked.target == "/begun":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
            connection.wait_peer_gone()
            gone.append(asked.target)
            return False
        return held(asked, connection)

    web = make_web()
    web.client(make_app(handler).url)
    assert call(web, "/demo/now").status == 200
    silent, begun, slow = [WebServer(web) for _ in range(3)]
    silent.send(request("/demo/x"))
    begun.send(request("/demo/begun"))
    slow.send(begin() + parameters("/demo/x", "POST", 5) + record(STDIN, b"h"))  # this one has a thread
    web.wait_metric("pipegate_exchanges_running", 3)
    start = time.monotonic()
    web.responder.signal(signal.SIGTERM)
    for c in (silent, slow):
        r = c.response()
        assert (r.status, r.error, r.complete) == (504, "shutting-down; delivered=maybe", True)
    r = begun.response()
    assert (r.status, r.body, r.complete) == (200, b"begun", False)
    assert web.responder.wait() == 0
    ended = time.monotonic()
    assert 9.9 < ended - start < 20
    web.wait_empty()
    assert time.monotonic() - ended < 5
    assert web.metrics()['pipegate_requests_total{outcome="shutting-down"}'] == 3
    wait_until(lambda: gone, "the app is told")
    held.go.set()
    for c in (silent, begun, slow):
        c.close()


def test_the_end_and_half_a_request(make_web):
    """The rest may be on its way. If it does not arrive, the shutdown waits less long than for a response."""
    web = make_web()
    stuck, slow = WebServer(web), WebServer(web)
    for c in (stuck, slow):
        c.send(request("/healthz")[:HALF])
    web.responder.signal(signal.SIGTERM)
    web.responder.wait_log("responder.stop")
    slow.send(request("/healthz")[HALF:])
    assert slow.response().status == 200
    assert stuck.is_closed()
    assert web.responder.wait() == 0
    assert "responder.forced_stop" not in web.responder.log()
    for c in (stuck, slow):
        c.close()


def test_the_end_takes_those_who_wait_at_the_door(make_web, make_app):
    """At SIGTERM more connections are waiting than one turn accepts."""
    web = make_web()
    web.client(make_app().url)
    web.responder.signal(signal.SIGSTOP)
    waiting = [WebServer(web) for _ in range(300)]
    for c in waiting:
        c.send(request("/demo/x", keep=False))
    web.responder.signal(signal.SIGTERM)
    web.responder.signal(signal.SIGCONT)
    answers = [c.response() for c in waiting]
    assert [r and r.status for r in answers] == [200] * 300
    for c in waiting:
        c.close()
    assert web.responder.wait() == 0


def few_connections(threads):
    """Starts a responder with the least number of connections, by a low descriptor limit."""
    return dict(threads=threads, responder_descriptors=32 + 3 * threads)


def test_few_threads_are_soon_free(make_web, make_app):
    """More connections than the limit: each one is accepted as soon as another is closed."""
    web = make_web(**few_connections(2))
    web.client(make_app().url)
    wrong = []

    def run():
        for _ in range(50):
            r = call(web, "/demo/x", keep=False)
            if r is None or r.status not in (200, 503):
                wrong.append(r)

    start = time.monotonic()
    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE_S)
    assert not wrong
    assert SANITIZED or time.monotonic() - start < 5


def test_kept_connections_keep_nobody_out(make_web, make_app):
    """Connections in constant use are closed after a response if others may be waiting."""
    web = make_web(**few_connections(2))
    web.client(make_app().url)
    right = [0] * 8

    def run(i):
        while min(right) < 50 and max(right) < 100000:
            connection = WebServer(web)
            try:
                while min(right) < 50 and (r := connection.call("/demo/x")) is not None:
                    right[i] += r.status == 200
            except ConnectionError:
                pass  # closed just now: Apache looks whether it is before it sends
            connection.close()

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE_S)
    assert min(right) >= 50, right


def test_out_of_descriptors_after_a_peak(make_web, make_app):
    """Sockets kept for later requests are reused, whatever state the last requests of the peak left."""
    held = Held()
    web = make_web()
    web.client(make_app(held).url)
    peak = [WebServer(web) for _ in range(200)]
    for c in peak:
        c.send(request("/demo/x", keep=False))
    web.wait_metric("pipegate_exchanges_running", 200)
    held.go.set()
    for c in peak:
        assert c.response().status == 200
        c.close()
    most = 200
    wait_until(lambda: web.responder.descriptors() < most, "the others were given back")
    most = max(int(fd) for fd in os.listdir(f"/proc/{web.responder.pid}/fd")) + 1
    spare = WebServer(web)
    wait_until(lambda: web.responder.descriptors(), "there")
    assert call(web, "/demo/now").status == 200
    taken = {int(fd) for fd in os.listdir(f"/proc/{web.responder.pid}/fd")}
    free = next(n for n in range(most + 2) if n not in taken)
    subprocess.run(["prlimit", f"--nofile={free + 1}:", "--pid", str(web.responder.pid)], check=True)
    assert call(web, "/demo/now").status == 200, "with one descriptor, for the connection"
    assert "gate.no_socket" not in web.responder.log()
    spare.close()


def test_a_small_body_that_comes_slowly(make_web, make_app):
    """It would fit into the first message, but that message does not wait for the whole body."""
    web = make_web()
    web.client(make_app(lambda asked, connection: connection.answer(403)).url)
    for target, status in (("/demo/x", 403), ("/unknown/x", 503)):
        c = WebServer(web)
        c.send(begin() + parameters(target, "POST", 20000))
        for _ in range(200):
            c.send(record(STDIN, b"h"))
            if select.select([c.sock], [], [], 0.05)[0]:
                break
        assert select.select([c.sock], [], [], 0)[0], "the answer waits for the body"
        assert c.response().status == status
        c.close()


def test_answered_before_the_body_is_there(make_web, make_app):
    """The web server may read the response at any time, but connections that it does not close make room for new
    ones. The limit is eight."""
    web = make_web(**few_connections(4))
    web.client(make_app(lambda asked, connection: connection.answer(403)).url)
    slow = [WebServer(web) for _ in range(8)]
    for c in slow:
        c.send(begin() + parameters("/demo/x", "POST", 5) + record(STDIN, b"h"))
        assert c.response().status == 403
    threading.Event().wait(3)
    for c in slow:
        c.send(record(STDIN, b"ell"))
    others = [WebServer(web) for _ in range(4)]
    for c in others:
        assert c.call("/demo/x").status == 403
    for c in slow[:4]:
        with pytest.raises(BrokenPipeError):
            c.send(record(STDIN))
    for c in slow[4:]:
        c.send(record(STDIN))
    for c in slow + others:
        c.close()
    web.wait_empty()


def test_two_requests_at_a_time(make_web, make_app):
    """No web server does this; it gets one response and the end of the connection, and does not wait."""
    web = make_web()
    web.client(make_app().url)
    eager = WebServer(web)
    eager.send(request("/demo/x") + request("/demo/y"))
    assert eager.response().status == 200
    assert eager.is_closed()
    eager.close()


def early(asked, connection):
    """Responds to uploads before their body has arrived."""
    connection.answer(403 if asked.method == "POST" else 200, body=b"early")
    asked.body()


HALF_A_RECORD = record(STDIN, bytes(5000))[:3000]
# What a web server may still send of a body, after the early response: all of it, or what it has begun.
REST = {
    "nothing": b"",
    "the end": record(STDIN),
    "all": b"".join(record(STDIN, bytes(60000), padding=8) for _ in range(10)) + record(STDIN),
    "a header in two": record(STDIN, b"x")[:3],
    "half a record": HALF_A_RECORD,
    "its abortion": record(ABORT) + record(STDIN, b"x"),
    "of another request": record(STDIN, bytes(9), request_id=7) + record(ABORT, request_id=8),
}


@pytest.mark.parametrize("what", REST)
def test_early_response_leaves_nothing_for_the_next_request(make_web, make_app, what):
    """Twice on one connection, with the rest before the next request and together with it."""
    web = make_web()
    web.client(make_app(early).url)
    kept = WebServer(web)
    for together in (False, True):
        # The first record of the body ends in the middle.
        kept.send(begin() + parameters("/demo/x", "POST", 10000000) + HALF_A_RECORD)
        r = kept.response()
        assert (r.status, r.body, r.complete) == (403, b"early", True)
        rest = record(STDIN, bytes(5000))[3000:] + REST[what]
        if what in ("half a record", "a header in two"):  # no web server ends there, but it may rest there
            kept.send(rest)
            assert_prompt(web)
            rest = {"half a record": record(STDIN, bytes(5000))[3000:], "a header in two": record(STDIN, b"x")[3:]}[what]
        if not together:
            kept.send(rest)
            assert_prompt(web)
            rest = b""
        kept.send(rest + request("/demo/y"))
        r = kept.response()
        assert (r.status, r.body, r.complete) == (200, b"early", True)
    kept.close()
    web.wait_empty()


def test_what_comes_between_two_requests_holds_nobody(make_web, make_app):
    """Endless records that belong to no request."""
    web = make_web()
    web.client(make_app().url)
    flood = WebServer(web)
    assert flood.call("/demo/x").status == 200
    done = threading.Event()

    def send():
        try:
            while not done.is_set():
                flood.send(record(STDIN, bytes(65535)) * 4)
        except OSError:
            pass

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    for _ in range(10):
        assert_prompt(web)
    done.set()
    thread.join(PATIENCE_S)
    assert flood.call("/demo/x").status == 200
    flood.close()


def test_management_records_between_two_requests(make_web, make_app):
    """libfcgi handles them: it responds, and reads on."""
    web = make_web()
    web.client(make_app().url)
    c = WebServer(web)
    assert c.call("/demo/x").status == 200
    name = b"FCGI_MPXS_CONNS"
    c.send(record(GET_VALUES, length(len(name)) + length(0) + name, request_id=0))
    c.send(request("/demo/x"))
    assert c.response().status == 200
    c.close()


@pytest.mark.parametrize("what", [record(ABORT), begin(), record(PARAMS, b"x"), record(BEGIN, bytes(8), request_id=2), b"\2" * 8],
                         ids=["abort", "begin", "parameters", "begin of another", "no record"])
def test_what_may_not_come_within_a_body(make_web, make_app, what):
    held = Held()
    web = make_web()
    web.client(make_app(held).url)
    bad = WebServer(web)
    bad.send(begin() + parameters("/demo/x", "POST", 10) + record(STDIN, b"hello"))
    web.wait_metric("pipegate_exchanges_running", 1)
    bad.send(what + record(STDIN, b"hello") + record(STDIN))
    r = bad.response()
    assert (r.status, r.error) == (400, "bad-request; delivered=maybe")
    assert bad.is_closed()
    bad.close()
    held.go.set()
    web.wait_empty()


def test_records_of_other_requests_within_a_body(make_web, make_app):
    web = make_web()
    web.client(make_app(lambda asked, connection: connection.answer(body=asked.body())).url)
    c = WebServer(web)
    for _ in range(2):
        c.send(begin() + parameters("/demo/x", "POST", 10) + record(STDIN, b"hello", padding=3))
        c.send(record(STDIN, b"other", request_id=2) + record(ABORT, request_id=2) + record(STDIN, request_id=2))
        c.send(record(STDIN, b"world") + record(STDIN))
        assert c.response().body == b"helloworld"
    c.close()


def test_kept_idle_connections_hold_no_thread(make_web, make_app):
    """More than the limit: the oldest are closed, and none uses a thread."""
    web = make_web(threads=8, responder_descriptors=32 + 3 * 64)
    web.client(make_app().url)
    kept = [WebServer(web) for _ in range(100)]
    for c in kept:
        assert c.call("/demo/x").status == 200
    threads = len(os.listdir(f"/proc/{web.responder.pid}/task"))
    assert threads <= 8, threads
    more = []
    for _ in range(200):
        more.append(WebServer(web))
        assert more[-1].call("/demo/x").status == 200
    assert web.responder.descriptors() < 32 + 3 * 64
    for c in kept + more:
        c.close()


def test_an_idle_connection_is_closed_after_five_minutes(make_web, preload):
    """By a clock that runs a hundred times faster. Apache does not reuse one that was idle for more than a minute."""
    web = make_web()
    web.responder.stop()
    argv = [program("fcgi"), "--listen", f"unix:{web.socket}", "--gate", web.gate]
    web.responder = Process(web.directory, "fcgi", argv, environment(LD_PRELOAD=preload, FASTER="100"))
    web.processes.append(web.responder)
    web.responder.wait_log("responder.start")
    c = WebServer(web)
    for _ in range(2):
        assert c.call("/").status == 404  # which needs no broker
        last = time.monotonic()
    assert c.is_closed()
    assert time.monotonic() - last > 2.9
    c.close()
