"""kill -9 of each program in each state of an exchange (contract 5). Expected for every caller: the right bytes, or
an error that names itself, or an evident cut, within STATED_S; at most one execution at the local app;
and afterwards service recovers by itself and no state remains. The table is printed at the end of the run."""
import collections
import hashlib
import os
import signal
import threading
import time

import pytest

from harness import PATIENCE_S, App, Caller, freeze, most_unread, report, wait_until
from test_websockets import TEXT, WebSocketCaller, echo

STATED_S = 20
TRIES = int(os.environ.get("TRIES") or 1)
BODY = bytes(range(256)) * 2000
PAD = 3000  # of a request head: what lies unread in front of a program is surely that request
VICTIMS = ["responder", "broker", "client", "app", "web server"]
CASES = [
    ("before it is read", "GET"), ("before it is read", "POST"), ("before it is read", "WebSocket"),  # by the victim
    ("queued", "POST"),
    ("sent", "POST"), ("sent", "WebSocket"),  # down the tunnel, and not read by the client
    ("mid request body", "upload"),
    ("waiting for the head", "GET"), ("waiting for the head", "POST"),
    ("mid response body", "download with length"), ("mid response body", "download chunked"),
    ("idle", "WebSocket"),
]
# A WebSocket does not pass through the responder; an idle one has to go on there.
DRILLS = [(state, traffic, victim) for state, traffic in CASES for victim in VICTIMS
          if not (traffic == "WebSocket" and victim == "responder" and state != "idle")]
table = collections.defaultdict(list)  # (state, traffic, victim): (held, outcome)


@pytest.fixture(scope="module", autouse=True)
def print_table():
    yield
    report("", "kill -9, both web servers together: times the oracle held of tries, and what callers got", "",
           "| state | traffic | " + " | ".join(VICTIMS) + " |", "|---|---|" + "---|" * len(VICTIMS))
    for state, traffic in CASES:
        cells = []
        for victim in VICTIMS:
            tries = table[state, traffic, victim]
            outcomes = ", ".join(sorted({outcome for _, outcome in tries}))
            cells.append(f"{sum(held for held, _ in tries)} of {len(tries)}: {outcomes}" if tries else "")
        report(f"| {state} | {traffic} | " + " | ".join(cells) + " |")


class Drill:
    """A local app that reports when an exchange is at `state`, and counts executions."""

    def __init__(self, state, traffic):
        self.state, self.traffic = state, traffic
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
        if self.state == "mid response body":
            rest = BODY[100000:]
            if "length" in self.traffic:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:100000])
            else:
                connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (100000, BODY[:100000]))
                rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)
            self.go.wait(PATIENCE_S)
            connection.send(rest)
            return None
        self.there.set()
        if self.state == "waiting for the head" or number == "blocks":
            self.go.wait(PATIENCE_S)
        connection.answer(body=hashlib.sha256(body).hexdigest().encode())


def call(web, drill, result, number="1"):
    """Sends one request and stores the outcome in `result`."""
    start = time.monotonic()
    headers = [("X-Number", number), ("X-Pad", "x" * PAD)]
    try:
        if drill.traffic == "WebSocket" and number == "1":
            result["outcome"] = call_socket(web, drill, result, headers)
        else:
            result["outcome"] = call_http(web, drill, headers)
    except TimeoutError:
        result["outcome"] = "hangs"
    except (ConnectionError, OSError):
        result["outcome"] = "cut"
    finally:
        result["took_s"] = time.monotonic() - start


def call_socket(web, drill, result, headers):
    caller = WebSocketCaller(web.port, "/demo/", headers)
    caller.sock.settimeout(STATED_S)
    status, _ = caller.head()
    if status != 101:
        return "error" if status >= 500 else f"status {status}"
    for text in (b"hello", b"again"):
        caller.frame(TEXT, text)
        got = caller.next()
        if got is None:
            return "cut"
        if got != (TEXT, True, text):
            return "wrong bytes"
        result["began"] = True
        if drill.state == "idle":
            drill.go.wait(PATIENCE_S)
    caller.close()
    return "right"


def call_http(web, drill, headers):
    caller = Caller(web.port)
    caller.sock.settimeout(STATED_S)
    sent = b""
    if drill.traffic == "upload":
        sent = BODY
        head = f"POST /demo/x HTTP/1.1\r\nHost: x\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers)}"
        caller.method = "POST"
        caller.send(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:50000])
        drill.go.wait(PATIENCE_S)
        caller.send(BODY[50000:])
    elif drill.traffic == "POST":
        sent = BODY[:1000]
        caller.request("POST", "/demo/x", headers, sent)
    else:
        caller.request("GET", "/demo/x", headers)
    status, _ = caller.head()
    body = b""
    for piece in caller.pieces():
        body += piece
        if drill.state == "mid response body":
            drill.there.set()  # the caller has seen some of it
    caller.close()
    if status != 200:
        return "error" if status >= 500 else f"status {status}"
    expected = BODY if drill.state == "mid response body" else hashlib.sha256(sent).hexdigest().encode()
    return "right" if body == expected else "short or wrong body that looks whole"


class Cast:
    """The programs of the test; each of them may be killed."""

    def __init__(self, make_web, drill, server):
        after = ""
        if drill.traffic == "upload" and server == "lighttpd":  # as shipped, it hands an upload on when that is complete
            after = '$HTTP["url"] =^ "/demo" { server.stream-request-body = 2 }'
        self.drill = drill
        self.app = App(drill.handler)
        self.web = make_web(PIPEGATE_MAX_CONCURRENT=1, after=after)
        self.client = self.web.client(self.app.url)

    def close(self):
        self.app.close()

    def stop(self, who):
        """The process is alive, and reads nothing."""
        if who == "app":
            self.app.reading.clear()
        if who == "web server":  # first the parent, which would start further workers
            freeze(self.web.web.process.pid)
        for pid in self.pids(who):
            freeze(pid)

    def pids(self, who):
        processes = {"responder": self.web.responder, "broker": self.web.broker, "client": self.client}
        if who in processes:
            return [processes[who].pid]
        return self.web.web.workers() if who == "web server" else []

    def lies_unread(self, who, traffic):
        """A request waits in the kernel for this process."""
        web = self.web
        where = {"responder": {"path": web.socket}, "broker": {"path": web.directory / "gate.sock"},
                 "client": {"peer_port": web.broker_port}, "app": {"port": self.app.port}, "web server": {"port": web.port}}[who]
        if who == "broker" and traffic == "WebSocket":
            where = {"port": web.broker_port}
        wait_until(lambda: most_unread(**where) >= PAD, f"the request is in front of the {who}")

    def kill(self, who):
        """Kills the process and restarts it as an init system would."""
        web = self.web
        if who == "responder":
            web.responder.kill()
            web.responder = web.start_responder()
        elif who == "broker":
            web.broker.kill()
            web.broker = web.start_broker()
        elif who == "client":
            self.client.kill()
            self.client = web.client(self.app.url, wait=False)
        elif who == "app":
            self.app.die()
            self.app.reading.set()
            self.app = App(self.drill.handler, port=self.app.port)
        else:
            web.web.kill_workers()


def reach(cast, drill, victim, results):
    """Brings the exchange to its state. Returns the callers' threads."""
    threads = []

    def start(number, traffic=None):
        results[number] = {}
        threads.append(threading.Thread(target=call, args=(cast.web, drill, results[number], number), daemon=True))
        threads[-1].start()

    # Not where a connection that is kept would be used: what lies in front of those is not read either.
    if not (drill.state == "before it is read" and victim in ("responder", "app")):
        assert cast.web.get("/demo/warm").status == 200
    if drill.state == "before it is read":
        cast.stop(victim)
        start("1")
        cast.lies_unread(victim, drill.traffic)
        return threads
    if drill.state == "sent":
        cast.stop("client")
        start("1")
        cast.lies_unread("client", drill.traffic)
        return threads
    if drill.state == "queued":
        start("blocks")
        assert drill.there.wait(PATIENCE_S)
        start("1")
        cast.web.wait_metric("pipegate_exchanges_queued", 1)
        return threads
    start("1")
    assert drill.there.wait(PATIENCE_S), "the state was not reached"
    if drill.state == "idle":
        wait_until(lambda: results["1"].get("began"), "the echo came")
    return threads


@pytest.mark.parametrize("state, traffic, victim", DRILLS)
@pytest.mark.parametrize("attempt", range(TRIES))
def test_drill(make_web, state, traffic, victim, attempt, server):
    drill = Drill(state, traffic)
    cast = Cast(make_web, drill, server)
    web = cast.web
    before = {p.name: p.descriptors() for p in (web.broker, web.responder)}
    results = {}
    threads = reach(cast, drill, victim, results)
    dead = cast.pids(victim)
    cast.kill(victim)
    drill.go.set()
    if state == "sent" and victim != "client":
        cast.client.signal(signal.SIGCONT)
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "hangs"
    good = ("right",) if traffic == "WebSocket" and victim == "responder" else ("right", "error", "cut")
    held = all(r["outcome"] in good and r["took_s"] < STATED_S for r in results.values())
    held = held and all(drill.executed[number] <= 1 for number in results)
    table[state, traffic, victim].append((held, results["1"]["outcome"]))
    assert held, (results, drill.executed)

    wait_until(lambda: again(web) == 200, "service is back")
    web.wait_empty()
    for p in (web.broker, web.responder):
        wait_until(lambda: p.descriptors() <= before[p.name] + 8, f"{p.name} gives its descriptors back")
    for pid in dead:
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "no process is left")
    assert all(drill.executed[number] <= 1 for number in results), "executed afterwards"
    cast.close()


def again(web):
    try:
        return web.get("/demo/again").status
    except (ConnectionError, OSError):
        return 0
