"""kill -9 of each part at each state of an exchange (contract 5). The oracle, for every caller: the right bytes, or
an error that declares itself, or a cut that nobody takes for complete, within STATED_S; never twice at the local app;
and afterwards service comes back by itself with nothing left over. The table is printed at the end."""
import collections
import hashlib
import threading
import time

import pytest

from harness import PATIENCE_S, App, Caller, wait_until
from test_websockets import TEXT, WebSocketCaller, echo

STATED_S = 20
BODY = bytes(range(256)) * 2000
STATES = ["queued", "waiting for the head", "mid request body", "mid response with length", "mid response chunked",
          "websocket"]
VICTIMS = ["responder", "broker", "client", "app", "web server"]
table = collections.OrderedDict()


@pytest.fixture(scope="module", autouse=True)
def report():
    yield
    print("\n| state | victim | server | tries | held |\n|---|---|---|---|---|")
    for (state, victim, server), (tries, held) in sorted(table.items()):
        print(f"| {state} | {victim} | {server} | {tries} | {held} |")


class Drill:
    """A local app that reports when an exchange is at `state`, and counts executions."""

    def __init__(self, state):
        self.state = state
        self.there, self.go = threading.Event(), threading.Event()
        self.executed = collections.Counter()

    def handler(self, request, connection):
        number = request.header("x-number")
        if number is None:  # service is back
            return App.echo(request, connection)
        self.executed[number] += 1
        if request.header("upgrade"):
            self.there.set()
            return echo(request, connection)
        if self.state == "mid request body":
            self.there.set()
        body = request.body()
        if self.state.startswith("mid response"):
            if "length" in self.state:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:100000])
            else:
                connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (100000, BODY[:100000]))
            self.go.wait(PATIENCE_S)
            if "length" in self.state:
                connection.send(BODY[100000:])
            else:
                rest = BODY[100000:]
                connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))
            return None
        self.there.set()
        if self.state == "waiting for the head":
            self.go.wait(PATIENCE_S)
        connection.answer(body=hashlib.sha256(body).hexdigest().encode())


def call(web, drill, number, result):
    """Sends one request; what came of it is left in `result`."""
    start = time.monotonic()
    headers = [("X-Number", str(number))]
    try:
        if drill.state == "websocket":
            caller = WebSocketCaller(web.port, "/demo/", headers).opened()
            caller.frame(TEXT, b"hello")
            assert caller.next() == (TEXT, True, b"hello")
            result["began"] = True
            caller.sock.settimeout(STATED_S)
            result["outcome"] = "cut" if caller.file.read() == b"" else "wrong bytes"
        else:
            caller = Caller(web.port)
            caller.sock.settimeout(STATED_S)
            if drill.state == "mid request body":
                head = f"POST /demo/x HTTP/1.1\r\nHost: x\r\nX-Number: {number}\r\nContent-Length: {len(BODY)}\r\n\r\n"
                caller.method = "POST"
                caller.send(head.encode() + BODY[:50000])
                drill.go.wait(PATIENCE_S)
                caller.send(BODY[50000:])
            else:
                caller.request("GET", "/demo/x", headers)
            status, _ = caller.head()
            body = b""
            for piece in caller.pieces():
                body += piece
                if drill.state.startswith("mid response"):
                    drill.there.set()  # the caller has seen some of it
            expected = BODY if drill.state.startswith("mid response") else hashlib.sha256(
                BODY if drill.state == "mid request body" else b"").hexdigest().encode()
            if status == 200:
                result["outcome"] = "right" if body == expected else "short or wrong body that looks whole"
            else:
                result["outcome"] = "error" if status >= 500 else f"status {status}"
    except TimeoutError:
        result["outcome"] = "hangs"
    except (ConnectionError, OSError):
        result["outcome"] = "cut"
    finally:
        result["took_s"] = time.monotonic() - start


def strike(victim, web, client, app, drill):
    """Kills it, brings it back as an init system would, and says who is new."""
    if victim == "responder":
        web.responder.kill()
        drill.go.set()
        web.responder = web.start_responder()
    elif victim == "broker":
        web.broker.kill()
        drill.go.set()
        web.broker = web.start_broker()
    elif victim == "client":
        client.kill()
        drill.go.set()
        client = web.client(app.url, wait=False)
    elif victim == "app":
        app.die()
        drill.go.set()
        app = App(drill.handler, port=app.port)
    else:
        web.web.kill_workers()
        drill.go.set()
    return client, app


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("victim", VICTIMS)
def test_drill(make_web, state, victim, server):
    if state == "mid request body" and server == "lighttpd":
        pytest.skip("lighttpd, as shipped, hands an upload on when it is complete")
    if state == "queued" and victim in ("client", "app"):
        pytest.skip("there is none yet")
    if state == "websocket" and victim == "responder":
        pytest.skip("a WebSocket does not pass through it")
    drill = Drill(state)
    app = App(drill.handler)
    web = make_web(PIPEGATE_OFFLINE_WAIT=5)
    client = None
    if state != "queued":
        client = web.client(app.url)
        assert web.get("/demo/warm").status == 200
    before = {p.name: p.descriptors() for p in (web.broker, web.responder)}
    result = {}
    thread = threading.Thread(target=call, args=(web, drill, 1, result), daemon=True)
    thread.start()
    if state == "queued":
        web.wait_metric("pipegate_exchanges_queued", 1)
    else:
        assert drill.there.wait(PATIENCE_S), "the state was not reached"
        if state == "websocket":
            wait_until(lambda: result.get("began"), "the echo came")
    client, app = strike(victim, web, client, app, drill)
    if state == "queued":
        client = web.client(app.url, wait=False)
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "hangs"
    held = result["outcome"] in ("right", "error", "cut") and result["took_s"] < STATED_S and drill.executed["1"] <= 1
    tries, held_before = table.get((state, victim, server), (0, 0))
    table[state, victim, server] = (tries + 1, held_before + held)
    assert held, (result, drill.executed)

    wait_until(lambda: again(web) == 200, "service is back")
    web.wait_empty()
    for p in (web.broker, web.responder):
        wait_until(lambda: p.descriptors() <= before[p.name] + 8, f"{p.name} gives its descriptors back")
    app.close()


def again(web):
    try:
        return web.get("/demo/again").status
    except (ConnectionError, OSError):
        return 0
