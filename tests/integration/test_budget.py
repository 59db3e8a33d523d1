"""Limits of one connection id in the broker: bytes, tunnels, descriptors, time for a message. Each refusal has a
name, and affects only that id."""
import base64
import hashlib
import json
import resource
import struct
import threading

import pytest

from harness import PATIENCE_S, SANITIZED, Caller, V1Client, report, wait_until
from test_hostile import HELLO, bad_client, connect, fields, v2
from test_websockets import BINARY, PING, PONG, TEXT, WebSocketCaller, frame, open_handshake, read_frame

MIB = 1 << 20
MOST = 16 * MIB - 100  # of a v1 message
CORR = "01010101-0101-0101-0101-010101010101"
TOO_MANY = b"too many tunnels for this connection id"


class Peak:
    """The growth of a process's peak memory since the start."""

    def __init__(self, process):
        self.process = process
        with open(f"/proc/{process.pid}/clear_refs", "w") as f:
            f.write("5")
        self.start, self.cpu_s = self.hwm_kib(), process.cpu_s()

    def hwm_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1])

    def mib(self):
        return (self.hwm_kib() - self.start) / 1024


def only_once(server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")


def long_frame(payload, announced=None):
    """A masked frame, with a mask of zeros. `announced`: the length in its header."""
    return bytes([0x81, 0xFF]) + struct.pack(">Q", announced or len(payload)) + bytes(4) + payload


def close_of(caller):
    """The code and reason of the Close that arrives, after any other frames."""
    while (got := read_frame(caller.file)) is not None:
        if got[0] == 8:
            return int.from_bytes(got[2][:2], "big"), got[2][2:]
    return None


def filled(before, unit, after):
    return before + unit * ((MOST - len(before) - len(after)) // len(unit)) + after


NAMED = b'{"correlation_id":"%s",' % CORR.encode()
MESSAGES = {
    "objects": filled(b"[", b"{},", b"{}]"), "lists in lists": filled(b"", b"[", b""), "numbers": filled(b"[", b"1,", b"1]"),
    "members": filled(b"{", b'"a":1,', b'"b":1}'), "objects in objects": filled(b"", b'{"a":', b""),
    "headers of many values": filled(NAMED + b'"body":"","status_code":200,"headers":"[', b"{},", b'{}]"}'),
    "headers of one value": filled(NAMED + b'"body":"","status_code":200,"headers":"{\\"a\\":\\"', b"x", b'\\"}"}'),
    "a long name": filled(b'{"', b"a", b'":1}'), "escapes": filled(b'{"body":"', b"\\u0041", b'"}'),
    "no base64": filled(NAMED + b'"body":"', b"%", b'"}'), "white space": filled(b"{", b" ", b"}"),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_a_message_costs_its_own_size(web, server, name, what):
    """A message of {},{},... used to take 1.2 GiB and more than a second."""
    only_once(server)
    bad = bad_client(web, name, None)
    peak = Peak(web.broker)
    bad.send(long_frame(MESSAGES[what]) + frame(PING, b"well?", masked=True))
    while (got := read_frame(bad.file)) and got[0] != PONG:
        pass
    assert got, "the tunnel lives"
    wait_until(lambda: f"tunnel.message_ignored conn={name} " in web.broker.log(), "ignored")
    report(f"16 MiB of {what}: {peak.mib():.0f} MiB, {web.broker.cpu_s() - peak.cpu_s:.2f} s of CPU")
    assert SANITIZED or peak.mib() < 40
    bad.close()


@pytest.mark.parametrize("extra", [{"x": [{}] * 100000}, {"x": "y" * (2 * MIB)}, {"headers": "[" * 100000},
                                   {"headers": json.dumps({f"a{i}": "" for i in range(5000)})}],
                         ids=["values", "length", "nested", "headers"])
def test_a_response_that_is_too_much(web, name, extra):
    """Wherever it names a running exchange, that exchange fails, and the tunnel stays open."""
    def handler(message):
        answer = V1Client.answer(message, 200, {}, b"right")
        return json.dumps({**extra, **answer, **extra} if message["url_path"] == "bad" else answer)

    web.v1(name, handler)
    r = web.get(f"/{name}/bad")
    assert (r.status, r.error) == (502, "bad-response; delivered=maybe"), r
    assert web.get(f"/{name}/good").body == b"right"


@pytest.mark.parametrize("escaped", [False, True])
def test_a_large_response_in_any_spelling_of_base64(web, name, escaped):
    body = bytes(range(256)) * 20000 + b"\xff\xef"

    def handler(message):
        text = json.dumps(V1Client.answer(message, 200, {"x-a": "b"}, body))
        return text.replace("/", "\\/").replace("+", "\\u002b") if escaped else text

    web.v1(name, handler)
    for _ in range(3):
        r = web.get(f"/{name}/x")
        assert (r.status, r.header("x-a"), r.body == body) == (200, "b", True)


def test_a_large_request_to_a_v1_client(make_web):
    """Its base64 is encoded in pieces; every length modulo 3 is tested."""
    web = make_web(PIPEGATE_V1_MESSAGE_BYTES=4 * MIB)
    web.v1("demo", lambda m: V1Client.answer(m, 200, {}, hashlib.sha256(base64.b64decode(m["body"])).hexdigest().encode()))
    for size in (0, 1, 2, 3, 49149, 49150, 49151, 49152, 200000, 2 * MIB + 1):
        body = bytes(i * 7 % 251 for i in range(size))
        r = web.call("POST", "/demo/x", body=body)
        assert (r.status, r.body) == (200, hashlib.sha256(body).hexdigest().encode()), size


def feed(caller, data):
    try:
        caller.send(data)
    except OSError:
        pass  # not read any more, or closed


def test_unfinished_messages(make_web, make_app, server):
    """40 incomplete messages of nearly 16 MiB each used to take 651 MiB."""
    only_once(server)
    web = make_web()
    web.client(make_app().url, "good")
    web.client(make_app().url, "evil")
    bad = [bad_client(web, "evil", None) for _ in range(40)]
    peak = Peak(web.broker)
    threads = [threading.Thread(target=feed, args=(b, long_frame(bytes(MOST - 1000), MOST)), daemon=True) for b in bad]
    for t in threads:
        t.start()
    web.wait_metric("pipegate_ids_over_budget", 1)
    r = web.get("/evil/x")
    assert (r.status, r.error) == (503, "overloaded; delivered=no") and r.header("retry-after"), r
    assert web.get("/good/x").status == 200
    # one stalls after the other, and is closed; so all end by themselves
    wait_until(lambda: 'reason="unfinished message holds the buffer"' in web.broker.log(), "the one that is read stalls")
    assert web.metrics()["pipegate_buffer_bytes"] <= 64 * MIB
    report(f"40 unfinished messages of 16 MiB of one id: {peak.mib():.0f} MiB")
    assert SANITIZED or peak.mib() < 64 + 32
    for b in bad:
        b.sock.shutdown(2)
        b.close()
    # what they had sent before is read first, and may fill it once more
    wait_until(lambda: web.get("/evil/x").status == 200, "there is room again")
    assert web.get("/good/x").status == 200
    wait_until(lambda: web.metrics()["pipegate_buffer_bytes"] == 0, "all is given back")
    for t in threads:
        t.join(PATIENCE_S)


def test_a_message_that_takes_too_long(make_web, server):
    only_once(server)
    web = make_web(PIPEGATE_RESPONSE_TIMEOUT=1)
    bad = bad_client(web, "evil", None)
    bad.send(long_frame(b"x" * 1000, 2000))
    assert close_of(bad) == (1008, b"message not complete in time")
    bad.close()


class AllAtOnce:
    """A v1 client that responds only once `count` requests have arrived: later ones would be refused."""

    def __init__(self, web, name, count, body):
        self.encoded, self.count, self.waiting = base64.b64encode(body).decode(), count, []
        self.peer = web.v1(name, self.handler)

    def handler(self, message):
        self.waiting.append(message["correlation_id"])
        if len(self.waiting) == self.count:
            self.peer.loop.create_task(self.answer())

    async def answer(self):
        for corr in self.waiting:
            await self.peer.socket.send(json.dumps({"correlation_id": corr, "headers": "", "body": self.encoded, "status_code": 200}))


def all_responses(callers):
    """Reads all responses concurrently: an unread response holds bytes for which others wait."""
    responses = [None] * len(callers)

    def read(i):
        responses[i] = callers[i].response()

    threads = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(len(callers))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE_S)
    return responses


def test_slow_callers_of_a_v1_tunnel(make_web):
    """The bodies are 700 MiB. A response that was accepted stays until its caller has read it; the broker stops reading
    the tunnel at the limit; in the end every caller has received its whole body."""
    body = bytes(range(256)) * 45000  # 11.5 MB
    web = make_web(PIPEGATE_MAX_CONCURRENT=30, PIPEGATE_MAX_BUFFER_BYTES_PER_ID=64 * MIB)
    AllAtOnce(web, "slow", 20, body)
    web.v1("good")
    peak = Peak(web.broker)
    callers = [Caller(web.port, receive_buffer=8192) for _ in range(20)]
    for c in callers:
        c.request("GET", "/slow/x")
    web.wait_metric("pipegate_ids_over_budget", 1)
    assert web.metrics()["pipegate_exchanges_running"] == 20
    r = web.get("/slow/x")
    assert (r.status, r.error) == (503, "overloaded; delivered=no"), r
    assert web.get("/good/x").body == b"hello"
    responses = all_responses(callers)
    assert [(r.status, r.complete, r.body == body) for r in responses] == [(200, True, True)] * len(callers)
    report(f"20 slow callers of 11.5 MB each, of one v1 tunnel: {peak.mib():.0f} MiB")
    assert SANITIZED or peak.mib() < 64 + 32
    web.wait_empty()
    wait_until(lambda: web.metrics()["pipegate_buffer_bytes"] == 0, "all is given back")


def test_answered_exchanges_keep_their_places(make_web):
    body = bytes(8 * MIB)
    web = make_web(PIPEGATE_MAX_CONCURRENT=2)
    peer = web.v1("slow", lambda m: V1Client.answer(m, 200, {}, body))
    callers = [Caller(web.port, receive_buffer=8192) for _ in range(6)]
    for c in callers:
        c.request("GET", "/slow/x")
    web.wait_metric("pipegate_exchanges_queued", 4)
    web.wait_metric("pipegate_exchanges_running", 2)
    wait_until(lambda: web.metrics()["pipegate_buffer_bytes"] > 8 * MIB, "two are answered")
    assert len(peer.received) == 2
    assert [r.body == body for r in all_responses(callers)] == [True] * 6
    web.wait_empty()


def test_a_paused_tunnel_is_not_silent(make_web, server):
    """Its Pongs are not read while it is paused. It stays open, and continues once its callers have read."""
    only_once(server)
    body = bytes(5 * MIB)
    web = make_web(PIPEGATE_MAX_BUFFER_BYTES_PER_ID=16 * MIB)
    AllAtOnce(web, "slow", 4, body)
    callers = [Caller(web.port, receive_buffer=8192) for _ in range(4)]
    for c in callers:
        c.request("GET", "/slow/x")
    web.wait_metric("pipegate_ids_over_budget", 1)
    threading.Event().wait(35)  # silence ends a tunnel after 30 s: the time is what is tested
    assert web.metrics()["pipegate_tunnels"] == 1 and "tunnel.closed" not in web.broker.log()
    assert [r.body == body for r in all_responses(callers)] == [True] * 4


def test_tunnels_of_one_id(make_web, make_app, server):
    only_once(server)
    web = make_web(PIPEGATE_MAX_TUNNELS=3)
    client = web.client(make_app().url, "evil")
    first = [bad_client(web, "evil", None) for _ in range(2)]
    web.wait_metric("pipegate_tunnels", 3)
    for protocol in (None, "pipegate.v2"):
        more = bad_client(web, "evil", protocol)
        if protocol:
            more.send(frame(BINARY, HELLO, masked=True))
        assert close_of(more) == (1013, TOO_MANY)
        more.close()
    assert web.metrics()["pipegate_tunnels_over_limit_total"] == 2
    # a process that comes back replaces its own earlier connection
    hello = v2(1, 0, fields((b"version", b"2"), (b"instance", b"0123456789abcdef" * 2)))
    first.pop().close()
    web.wait_metric("pipegate_tunnels", 2)
    old = bad_client(web, "evil")
    old.send(frame(BINARY, hello, masked=True))
    web.wait_metric("pipegate_tunnels", 3)
    new = bad_client(web, "evil")
    new.send(frame(BINARY, hello, masked=True))
    assert close_of(old) == (1000, b"replaced")
    new.send(frame(PING, b"well?", masked=True))
    while (got := read_frame(new.file)) and got[0] != PONG:
        pass
    assert got
    web.client(make_app().url, "good")
    assert web.get("/good/x").status == 200
    client.stop()
    web.wait_metric("pipegate_tunnels", 3)
    for b in (old, new, *first):
        b.close()


@pytest.mark.parametrize("protocol", [None, "pipegate.v2"], ids=["v1", "v2"])
def test_one_token_does_not_take_all_descriptors(make_web, make_app, server, protocol):
    """However fast connections are opened, and whether or not they send HELLO or respond to our Close."""
    only_once(server)
    web = make_web(PIPEGATE_MAX_TUNNELS=8)
    web.client(make_app().url, "good")
    before = web.broker.descriptors()
    most = 0
    sockets = []
    for i in range(300):
        b = bad_client(web, "evil", protocol)
        if protocol and i % 2:
            b.send(frame(BINARY, HELLO, masked=True))
        sockets.append(b)
        most = max(most, web.broker.descriptors())
    assert most <= before + 3 * 8 + 8, "open ones, those that have not greeted, and those that close"
    assert web.get("/good/x").status == 200
    for b in sockets:
        b.close()


def test_websockets_of_one_id(make_web, make_app, server):
    """Each uses a descriptor: the limit is four times that of one tunnel, however many tunnels there are."""
    only_once(server)

    def handler(request, connection):
        open_handshake(request, connection)
        connection.wait_peer_gone()
        return False

    web = make_web(PIPEGATE_MAX_WEBSOCKETS=1)
    for _ in range(6):
        web.client(make_app(handler).url, "many")
    web.wait_metric("pipegate_tunnels", 6)
    callers = [WebSocketCaller(web.broker_port, "/many/").opened() for _ in range(4)]
    r = WebSocketCaller(web.broker_port, "/many/").response()
    assert (r.status, r.error) == (503, "queue-full; delivered=no")
    for c in callers:
        c.close()
    web.wait_metric("pipegate_websockets", 0)
    WebSocketCaller(web.broker_port, "/many/").opened().close()


def test_a_caller_that_sends_and_never_reads(make_web, make_app, server):
    """Each of its frames would fetch another piece of the app's data."""
    only_once(server)
    flood = frame(BINARY, bytes(MIB))

    def handler(request, connection):
        open_handshake(request, connection)
        for _ in range(128):
            connection.send(flood)
        return False

    web = make_web(PIPEGATE_BUFFER_BYTES=0)  # no window grows, however slow the machine is
    web.client(make_app(handler).url)
    caller = WebSocketCaller(web.broker_port, "/demo/", receive_buffer=8192).opened()
    peak = Peak(web.broker)
    for i in range(300):
        caller.frame(BINARY, b"x")
        wait_until(lambda: web.metrics()["pipegate_request_body_bytes_total"] >= 7 * (i + 1), "it has come in")
    report(f"a WebSocket caller that sends 300 frames and reads nothing: {peak.mib():.0f} MiB")
    assert web.metrics()["pipegate_buffer_bytes"] < MIB
    assert SANITIZED or peak.mib() < 8
    caller.close()
    web.wait_empty()


def test_memory_that_is_not_there(make_web, make_app, server):
    """A message larger than the memory that is left ends its tunnel, not the broker."""
    only_once(server)
    if SANITIZED:
        pytest.skip("a sanitizer's address space is larger than any limit")
    web = make_web()
    web.client(make_app().url, "good")
    bad = bad_client(web, "evil", None)
    web.wait_metric("pipegate_tunnels", 2)
    size = int(open(f"/proc/{web.broker.pid}/statm").read().split()[0]) * resource.getpagesize()
    usual = resource.prlimit(web.broker.pid, resource.RLIMIT_AS)
    resource.prlimit(web.broker.pid, resource.RLIMIT_AS, (size + 6 * MIB, usual[1]))
    threading.Thread(target=feed, args=(bad, long_frame(bytes(MOST))), daemon=True).start()
    assert close_of(bad) == (1011, b"no memory")
    assert web.get("/good/x").status == 200
    resource.prlimit(web.broker.pid, resource.RLIMIT_AS, usual)
    bad.close()
