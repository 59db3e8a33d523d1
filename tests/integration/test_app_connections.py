"""Connections to the local app: a response never belongs to another request (contract section 6), and an app that closes
without saying so loses no request. The apps here break the rules of HTTP, byte by byte."""
import select
import socket
import threading
import time

import pytest

from harness import PATIENCE_S, UNDER, App, Caller, wait_until

STOLEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"


def path_of(request):
    return request.target.encode()


def says_its_path(request, connection):
    connection.answer(body=path_of(request))


def next_request_has_come(connection):
    """Returns True if the next request arrives on this connection, False if the client closes it."""
    select.select([connection.sock], [], [], PATIENCE_S)
    try:
        return connection.sock.recv(1, socket.MSG_PEEK) != b""
    except ConnectionError:
        return False


def expect_own(web, name, count=3):
    for i in range(count):
        r = web.get(f"/{name}/own-{i}")
        assert (r.status, r.body) == (200, f"/own-{i}".encode()), r


def warm(web, name):
    """The client sees that the app keeps connections, and reuses one."""
    seen = []

    def again():
        seen.append(web.get(f"/{name}/connection").body)
        return len(seen) > 3 and len(set(seen[-3:])) == 1

    wait_until(again, "a connection is used again")


class Connections(App):
    """Counts connections; `/connection` returns the number of its own."""

    def __init__(self, handler):
        self.opened = 0
        super().__init__(self.handle)
        self.inner = handler

    def serve(self, sock):
        with self.lock:
            self.opened += 1
        super().serve(sock)

    def handle(self, request, connection):
        if request.target == "/connection":
            return connection.answer(body=str(connection.sock.getpeername()[1]).encode())
        return self.inner(request, connection)


@pytest.fixture
def make_counting_app():
    apps = []

    def make(handler):
        apps.append(Connections(handler))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


# --- whose response it is ---


@pytest.mark.parametrize("body", [
    b"GET /stolen HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /stolen HTTP/1.1\r\nX-Eat: ",
    b"GET /stolen HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", b"GET /stolen HTTP/1.1\r\nHost: x\r\n\r\n" * 5])
@pytest.mark.parametrize("chunked", [False, True])
def test_app_that_does_not_read_a_body(web, make_counting_app, name, body, chunked):
    """The app reads the unread body as the next requests."""
    app = make_counting_app(says_its_path)
    web.client(app.url, name)
    warm(web, name)
    for _ in range(3):
        caller = Caller(web.port)
        if chunked and web.web.__class__.__name__ == "Apache":
            caller.request("POST", f"/{name}/post", [("Transfer-Encoding", "chunked")])
            caller.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            caller.request("POST", f"/{name}/post", body=body)
        assert caller.response().body == b"/post"
        caller.close()
        expect_own(web, name)


@pytest.mark.parametrize("method,status", [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")])
def test_body_where_there_is_none(web, make_counting_app, name, method, status):
    stolen = []

    def handler(request, connection):
        if request.target != "/bad":
            return says_its_path(request, connection)
        connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(STOLEN))
        if next_request_has_come(connection):
            stolen.append(connection)
            connection.send(STOLEN)
        return False

    web.client(make_counting_app(handler).url, name)
    warm(web, name)
    assert web.call(method, f"/{name}/bad").status == int(status[:3])
    expect_own(web, name)
    assert not stolen, "nothing else is sent on that connection"


@pytest.mark.parametrize("extra", [STOLEN, STOLEN[:20], b"\r\n", b"x", b"HTTP/1.1 100 Continue\r\n\r\n",
                                   b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"])
@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_the_response(web, make_counting_app, name, extra, chunked):
    """Surplus bytes arrive together with the response; the rest arrives after the next request."""
    def handler(request, connection):
        if request.target != "/bad":
            return says_its_path(request, connection)
        framing = (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" if chunked else b"Content-Length: 2\r\n\r\nok")
        connection.send(b"HTTP/1.1 200 OK\r\n" + framing + extra)
        if next_request_has_come(connection):
            connection.send(STOLEN[len(extra):])
        return False

    client = web.client(make_counting_app(handler).url, name)
    warm(web, name)
    assert web.get(f"/{name}/bad").body == b"ok"
    expect_own(web, name)
    client.wait_log("target.not_kept")


def test_second_response_while_idle(web, make_counting_app, name):
    """A second response arrives late, in two halves: one before the next request, one after it."""
    def handler(request, connection):
        if request.target != "/bad":
            return says_its_path(request, connection)
        connection.answer(body=b"ok")
        said.wait(PATIENCE_S)
        connection.send(STOLEN[:10])
        if next_request_has_come(connection):
            connection.send(STOLEN[10:])
        return False

    said = threading.Event()
    client = web.client(make_counting_app(handler).url, name)
    warm(web, name)
    assert web.get(f"/{name}/bad").body == b"ok"
    said.set()
    client.wait_log("target.not_kept")
    expect_own(web, name)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_login_of_a_connection(web, make_counting_app, name, scheme):
    """A later request must not be authenticated by the login of an earlier one on the same connection."""
    users = {}

    def handler(request, connection):
        if (request.header("authorization") or "").startswith(scheme):
            users[connection] = b"alice"
        if request.target == "/login" and connection not in users:
            return connection.answer(401, [("WWW-Authenticate", scheme)])
        return connection.answer(body=users.get(connection, b"nobody"))

    web.client(make_counting_app(handler).url, name)
    warm(web, name)
    assert web.get(f"/{name}/login").status == 401
    assert web.get(f"/{name}/login", headers=[("Authorization", f"{scheme} TlRMTVNTUAAD")]).body == b"alice"
    for _ in range(5):
        assert web.get(f"/{name}/x").body == b"nobody"


@pytest.mark.parametrize("head", [
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
])
def test_doubtful_responses_end_their_connection(web, make_counting_app, name, head):
    again = []

    def handler(request, connection):
        if request.target != "/bad":
            return says_its_path(request, connection)
        connection.send(head)
        again.append(next_request_has_come(connection))
        return False

    web.client(make_counting_app(handler).url, name)
    warm(web, name)
    assert web.get(f"/{name}/bad").body == b"ok"
    expect_own(web, name)
    assert again == [False]


def test_early_answer_then_another_request(web, make_counting_app, name):
    """The app responds before it has read the body, keeps the connection, and reads on."""
    def handler(request, connection):
        connection.answer(body=path_of(request))

    app = make_counting_app(handler)
    web.client(app.url, name)
    warm(web, name)
    caller = Caller(web.port)
    caller.request("PUT", f"/{name}/early", [("Content-Length", "100000")])
    caller.send(b"GET /stolen HTTP/1.1\r\n\r\n" * 10)
    caller.send(b"x" * (100000 - 240))
    assert caller.response().body == b"/early"
    caller.close()
    expect_own(web, name)


# --- framing ---


@pytest.mark.parametrize("head,status", [
    (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200), (b"Content-Length: 2, 2\r\n\r\nok", 200),
    (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502), (b"Content-Length: -2\r\n\r\nok", 502),
    (b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502),
    (b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502),
    (b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502),
    (b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", 502),
    (b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 502), (b"no colon\r\nContent-Length: 2\r\n\r\nok", 502),
    (b"X: a\0b\r\nContent-Length: 2\r\n\r\nok", 502),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2;x=\"y\"\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200),
])
def test_framing(web, make_app, name, head, status):
    web.client(make_app(lambda request, connection: connection.send(b"HTTP/1.1 200 OK\r\n" + head)).url, name)
    r = web.get(f"/{name}/x")
    assert r.status == status, r
    if status == 200:
        assert r.body == b"ok" and len(r.all("content-length")) <= 1
    else:
        assert r.error == "bad-response; delivered=maybe"


@pytest.mark.parametrize("body", [b"1\r\nxAB0\r\n\r\n", b"1\rZx\r\n0\r\n\r\n", b"1\nx\n0\n\n", b"8000000000000000\r\nx",
                                  b"1;a\nb\r\nx\r\n0\r\n\r\n"])
def test_malformed_chunks_are_never_a_complete_body(web, make_app, name, body):
    def handler(request, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    web.client(make_app(handler).url, name)
    r = web.get(f"/{name}/x")
    assert r.status >= 500 or not r.complete, r


def test_endless_interim_responses(web, make_app, name):
    def handler(request, connection):
        if request.target == "/bad":
            while True:
                connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
        says_its_path(request, connection)

    web.client(make_app(handler).url, name)
    r = web.get(f"/{name}/bad")
    assert (r.status, r.error) == (502, "bad-response; delivered=maybe"), r
    expect_own(web, name)


# --- apps that close ---


def run_callers(web, name, callers, requests, pause_s=0):
    """Returns the failures."""
    wrong = []

    def call(me):
        for i in range(requests):
            r = web.get(f"/{name}/{me}-{i}")
            if (r.status, r.body) != (200, f"/{me}-{i}".encode()):
                wrong.append(r)
            if pause_s:
                time.sleep(pause_s * (0.9 + i % 5 * 0.05))

    threads = [threading.Thread(target=call, args=(me,)) for me in range(callers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


def run_nearly_all(web, name, callers, requests, pause_s=0):
    """On a slow machine an app's close may come long after its response, and under the next request, which is not sent twice.
    It was 7 to 46 % of them before connections rested."""
    wrong = run_callers(web, name, callers, requests, pause_s)
    assert len(wrong) <= max(1, callers * requests // 50), wrong
    assert all(r.error == "target-unreachable; delivered=maybe" for r in wrong), wrong
    return wrong


@pytest.mark.parametrize("callers", [1, 6])
def test_app_that_closes_behind_each_response(web, make_app, name, callers):
    def handler(request, connection):
        says_its_path(request, connection)
        return False

    web.client(make_app(handler).url, name)
    run_nearly_all(web, name, callers, 60)


@pytest.mark.parametrize("most", [2, 5])
@pytest.mark.parametrize("callers", [1, 6])
def test_app_that_closes_after_some_requests(web, make_app, name, callers, most):
    counts = {}

    def handler(request, connection):
        counts[connection] = counts.get(connection, 0) + 1
        says_its_path(request, connection)
        return counts[connection] < most

    client = web.client(make_app(handler).url, name)
    wrong = run_nearly_all(web, name, callers, 200)
    assert wrong or "closed under a request" not in client.log()


def test_app_that_closes_idle_connections_soon(web, make_app, name):
    def handler(request, connection):
        says_its_path(request, connection)
        return bool(select.select([connection.sock], [], [], 0.3)[0])

    web.client(make_app(handler).url, name)
    run_nearly_all(web, name, 2, 10, pause_s=0.31)


def test_app_that_announces_its_close(web, make_counting_app, name):
    """`Connection: close` in one response does not make the client stop reusing other connections."""
    def handler(request, connection):
        if request.target == "/last":
            connection.answer(headers=[("Connection", "close")], body=path_of(request))
            return False
        return says_its_path(request, connection)

    client = web.client(make_counting_app(handler).url, name)
    warm(web, name)
    for _ in range(3):
        assert web.get(f"/{name}/last").body == b"/last"
    warm(web, name)
    assert "target.not_kept" not in client.log()


def test_kept_connections_carry_most_requests(web, make_counting_app, name):
    app = make_counting_app(says_its_path)
    client = web.client(app.url, name)
    warm(web, name)

    def most_on_kept_ones():
        before = app.opened
        assert not run_callers(web, name, 1, 100)
        return app.opened - before < 20

    wait_until(most_on_kept_ones, "most requests go on kept connections")
    assert "target.not_kept" not in client.log()


def test_keep_alive_off(web, make_counting_app, name):
    app = make_counting_app(lambda request, connection: connection.answer(
        body=(request.header("connection") or "none").encode()))
    web.client(app.url, name, "--keep-alive", "off")
    for i in range(1, 6):
        assert web.get(f"/{name}/x").body == b"close"
        assert app.opened == i


# --- an app that accepts nothing ---


HANDSHAKE = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="))


@pytest.mark.skipif(bool(UNDER), reason="waits for time-outs")
def test_attempts_to_connect_are_bounded(make_web):
    """The limit covers requests and callers' WebSockets together."""
    web = make_web(PIPEGATE_MAX_CONCURRENT="1000", PIPEGATE_MAX_QUEUE_DEPTH="1000", PIPEGATE_RESPONSE_TIMEOUT="25")
    with socket.socket() as app:
        app.bind(("127.0.0.1", 0))
        app.listen(0)
        client = web.client(f"http://127.0.0.1:{app.getsockname()[1]}")
        before = client.descriptors()
        callers = [Caller(web.port) for _ in range(250)]
        for i, caller in enumerate(callers):
            caller.request("GET", "/demo/x", HANDSHAKE if i % 2 else ())
        wait_until(lambda: web.metrics()["pipegate_exchanges_running"] == 250, "all are at the client")
        assert client.descriptors() <= before + 128 + 10
        responses = [caller.response() for caller in callers]
        answered = [r for r in responses if r.error == "target-unreachable; delivered=no"]
        assert len(answered) >= 240, {(r.status, r.error) for r in responses}  # some got into the queue of its socket
        for caller in callers:
            caller.close()
