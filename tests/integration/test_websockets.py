"""Callers' WebSockets through both web servers, with the shipped files, to a scripted local app (contract 3 and 4)."""
import asyncio
import base64
import hashlib
import os
import re
import ssl
import struct
import subprocess
import threading

import pytest
import websockets

from harness import PATIENCE_S, ROOT, SANITIZED, SERVERS, App, Caller, wait_until

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(bytes(16)).decode()
TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


# --- RFC 6455 by hand: frames that a library would not send ---


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload=b"", final=True, masked=False):
    size = len(payload)
    head = bytes([opcode | (0x80 if final else 0)])
    flag = 0x80 if masked else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = b"\x11\x22\x33\x44"
    if size == 0:
        return head + mask
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def read_frame(file):
    """opcode, final, payload; None at the end of the stream."""
    head = file.read(2)
    if len(head) < 2:
        return None
    size = head[1] & 127
    if size == 126:
        size = struct.unpack("!H", file.read(2))[0]
    elif size == 127:
        size = struct.unpack("!Q", file.read(8))[0]
    mask = file.read(4) if head[1] & 128 else None
    payload = file.read(size)
    assert len(payload) == size, "cut inside a frame"
    if mask and size:
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return head[0] & 15, bool(head[0] & 128), payload


class WebSocketCaller(Caller):
    def __init__(self, port, target, headers=(), host="public.example", receive_buffer=None):
        super().__init__(port, receive_buffer)
        self.request("GET", target, [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                     ("Sec-WebSocket-Key", KEY), *headers], host=host)

    def opened(self):
        status, headers = self.head()
        assert status == 101, (status, headers, self.file.read1(1000))
        names = {n.lower(): v for n, v in headers}
        assert names["sec-websocket-accept"] == accept_of(KEY) and names["upgrade"].lower() == "websocket"
        self.headers = names
        return self

    def frame(self, opcode, payload=b"", final=True):
        self.send(frame(opcode, payload, final, masked=True))

    def next(self):
        return read_frame(self.file)


def open_handshake(request, connection, headers=()):
    connection.send((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept_of(request.header('sec-websocket-key'))}\r\n"
                     + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n").encode())


def echo(request, connection):
    """Returns each frame unchanged, including fragments; ends at a Close."""
    open_handshake(request, connection)
    while got := read_frame(connection.file):
        opcode, final, payload = got
        if opcode == PONG:
            continue
        connection.send(frame(PONG if opcode == PING else opcode, payload, final))
        if opcode == CLOSE:
            break
    return False


# --- tests ---


def test_handshake(web, make_app, name):
    seen = {}

    def handler(request, connection):
        seen["request"] = request
        open_handshake(request, connection, [("Sec-WebSocket-Protocol", "chat"), ("Set-Cookie", "a=1; Path=/"),
                                             ("Set-Cookie", "b=2"), ("Connection", "X-Hop"), ("X-Hop", "secret")])
        return False

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/live/socket?v=2&v=3&x=", [
        ("Sec-WebSocket-Protocol", "chat, super"), ("Origin", "https://public.example"), ("Cookie", "s=1"),
        ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Prefix", "/evil"), ("X-Pipegate-Correlation-Id", "f" * 32),
        ("X-Forwarded-Host", "evil"), ("Proxy", "evil"), ("User-Agent", "test")]).opened()
    request = seen["request"]
    assert request.target == "/live/socket?v=2&v=3&x="
    h = {n.lower(): v for n, v in request.headers}
    assert h["sec-websocket-protocol"] == "chat, super" and h["origin"] == "https://public.example"
    assert h["cookie"] == "s=1" and h["sec-websocket-key"] == KEY and h["host"] == "public.example"
    assert h["x-forwarded-for"] == "127.0.0.1" and h["x-forwarded-proto"] == "http"
    assert h["x-forwarded-host"] == "public.example" and h["x-forwarded-prefix"] == f"/{name}"
    assert re.fullmatch("[0-9a-f]{32}", h["x-pipegate-correlation-id"]) and h["x-pipegate-correlation-id"] != "f" * 32
    assert "evil" not in str(request.headers)
    assert caller.headers["sec-websocket-protocol"] == "chat"
    assert [v for n, v in caller.head_headers if n.lower() == "set-cookie"] == [f"a=1; Path=/{name}/", "b=2"]
    assert caller.headers["x-pipegate-correlation-id"] == h["x-pipegate-correlation-id"]
    assert "x-hop" not in caller.headers, "Connection names it"
    caller.close()
    web.wait_empty()


def test_encoded_control_characters(server, make_web, make_app, name):
    settings = 'server.http-parseopts := ("header-strict" => "enable", "url-normalize" => "disable")' if server == "lighttpd" else ""
    web = make_web(settings=settings)
    seen = []

    def handler(request, connection):
        seen.append(request.target)
        open_handshake(request, connection)
        return False

    web.client(make_app(handler).url, name)
    path = "/a%01b%09c%0Ad%0D%0aX-Injected:%20y%1f%7F"
    WebSocketCaller(web.port, f"/{name}{path}").opened().close()
    assert seen == [path]


SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", SIZES)
def test_messages(web, make_app, name, opcode, size):
    web.client(make_app(echo).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/").opened()
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    sender = threading.Thread(target=caller.frame, args=(opcode, payload), daemon=True)
    sender.start()  # the echo begins before the end
    assert caller.next() == (opcode, True, payload)
    sender.join()
    caller.frame(CLOSE, struct.pack("!H", 1000) + b"done")
    assert caller.next() == (CLOSE, True, struct.pack("!H", 1000) + b"done")
    assert caller.next() is None
    caller.close()
    web.wait_empty()


def test_fragments_and_control_frames_between_them(web, make_app, name):
    web.client(make_app(echo).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/").opened()
    caller.frame(TEXT, b"one", final=False)
    caller.frame(PING, b"are you there")
    caller.frame(MORE, b"", final=False)
    caller.frame(MORE, b"two", final=True)
    assert [caller.next() for _ in range(4)] == [(TEXT, False, b"one"), (PONG, True, b"are you there"),
                                                 (MORE, False, b""), (MORE, True, b"two")]
    for i in range(200):  # a frame of one byte each
        caller.frame(MORE if i else BINARY, b"x", final=i == 199)
    assert b"".join(caller.next()[2] for _ in range(200)) == b"x" * 200
    caller.close()


def test_bytes_are_not_looked_into(web, make_app, name):
    """Invalid UTF-8, reserved bits and unknown opcodes concern only the app and the caller."""
    web.client(make_app(echo).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/", [("Sec-WebSocket-Extensions", "permessage-deflate")]).opened()
    assert "sec-websocket-extensions" not in caller.headers
    for opcode, payload in ((TEXT, b"\xff\xfe\xc0\x80"), (0x40 | TEXT, b"rsv1"), (0x0B, b"reserved control"), (0x03, b"x")):
        caller.frame(opcode, payload)
        assert caller.next() == (opcode & 15, True, payload)
    caller.close()


@pytest.mark.parametrize("code, reason", [(1000, b""), (1001, b"going"), (1011, "caf\xe9".encode()), (4999, b"x" * 123)])
def test_the_app_closes(web, make_app, name, code, reason):
    answered = []

    def handler(request, connection):
        open_handshake(request, connection)
        connection.send(frame(CLOSE, struct.pack("!H", code) + reason))
        answered.append(read_frame(connection.file))
        return False

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/").opened()
    assert caller.next() == (CLOSE, True, struct.pack("!H", code) + reason)
    caller.frame(CLOSE, struct.pack("!H", code))
    assert caller.next() is None
    assert answered == [(CLOSE, True, struct.pack("!H", code))]
    web.wait_empty()


def test_abrupt_ends(make_web, make_app):
    """lighttpd does not notice an end that arrives together with data until it writes; the Ping each minute makes it write."""
    web, name = make_web(PIPEGATE_WEBSOCKET_PING=1), "demo"
    gone, reset = threading.Event(), threading.Event()

    def handler(request, connection):
        open_handshake(request, connection)
        if request.target == "/app":
            connection.send(frame(TEXT, b"half of it")[:5])
            reset.wait(PATIENCE_S)
            connection.reset()
        else:
            connection.wait_peer_gone()
            gone.set()
        return False

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/app").opened()
    assert len(caller.file.read(5)) == 5
    reset.set()
    assert caller.file.read() == b""  # no Close is made up
    caller.close()
    caller = WebSocketCaller(web.port, f"/{name}/caller").opened()
    caller.frame(TEXT, b"x")
    caller.close()
    assert gone.wait(PATIENCE_S)
    web.wait_empty()


def test_many_headers(web, make_app, name):
    """As many as pass with a GET: Apache's limit is 200."""
    seen = []

    def handler(request, connection):
        seen.append(len([n for n, _ in request.headers if n.lower().startswith("x-many-")]))
        open_handshake(request, connection)
        return False

    web.client(make_app(handler).url, name)
    WebSocketCaller(web.port, f"/{name}/x", [(f"X-Many-{i}", "y") for i in range(190)]).opened().close()
    assert seen == [190]


def test_ambiguous_names(web, name):
    """As with a GET."""
    for path in (f"/%{ord(name[0]):x}{name[1:]}/x", f"/{name}%2Fx", f"//{name}/x"):
        caller = WebSocketCaller(web.broker_port, path)
        status, headers = caller.head()
        assert (status, dict(headers)["x-pipegate-error"]) == (400, "bad-path; delivered=no"), path
        caller.close()
    for path in ("/a.b/x", "/%00/x", "/"+ "a" * 65 + "/x", "//", "/healthz/x", "/%68ealthz/x"):
        caller = WebSocketCaller(web.broker_port, path)
        assert caller.head()[0] == 404, path
        caller.close()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_the_app_refuses(web, make_app, name, framing):
    def handler(request, connection):
        if framing == "chunked":
            connection.answer(403, [("Transfer-Encoding", "chunked"), ("X-Why", "a"), ("X-Why", "b")],
                              b"3\r\nnot\r\n6\r\n today\r\n0\r\n\r\n", length=False)
        else:
            connection.answer(403, [("X-Why", "a"), ("X-Why", "b")], b"not today", length=framing == "length")
        return False

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/")
    r = caller.response()
    assert (r.status, r.body, r.complete, r.error) == (403, b"not today", True, None)
    assert ",".join(r.all("x-why")).replace(" ", "") == "a,b"
    caller.close()
    web.wait_empty()


def test_the_app_refuses_and_is_cut(web, make_app, name):
    def handler(request, connection):
        connection.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nonly this")
        return False

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/")
    try:
        r = caller.response()
        assert not r.complete or r.error  # a cut before anything left can still be told
    except ConnectionError:
        pass
    caller.close()
    web.wait_empty()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"garbage\r\n\r\n",
                                    b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\nX-Bad\x01: 1\r\n\r\n"])
def test_impossible_answers(web, make_app, name, answer):
    def handler(request, connection):
        connection.send(answer)
        return False

    web.client(make_app(handler).url, name)
    r = WebSocketCaller(web.port, f"/{name}/").response()
    assert (r.status, r.error) == (502, "bad-response; delivered=maybe")
    web.wait_empty()


def test_nobody_there(web, make_app, name, server):
    """The same responses as for requests (contract 5)."""
    app = make_app()
    app.close()
    web.client(app.url, name)
    r = WebSocketCaller(web.port, f"/{name}/").response()
    assert (r.status, r.error) == (504, "target-unreachable; delivered=no")
    web.v1(f"{name}-v1")
    r = WebSocketCaller(web.port, f"/{name}-v1/").response()
    assert (r.status, r.error) == (501, "unsupported-by-client; delivered=no")
    r = WebSocketCaller(web.port, "/no.id/x").response()
    assert (r.status, r.error) == (404, "not-found; delivered=no")
    r = WebSocketCaller(web.port, f"/{name}/a/%2e%2e/b").response()
    assert r.error == ("bad-path; delivered=no" if server == "apache" else "target-unreachable; delivered=no")
    r = WebSocketCaller(web.port, f"/{name}?a=b").response()
    assert (r.status, r.error) == (504, "target-unreachable; delivered=no")


def test_offline(make_web, make_app):
    web = make_web(PIPEGATE_OFFLINE_WAIT=60)
    caller = WebSocketCaller(web.port, "/demo/")  # held: the broker has just started
    web.wait_metric("pipegate_exchanges_queued", 1)
    client = web.client(make_app(echo).url)
    caller.opened().frame(TEXT, b"hello")
    assert caller.next() == (TEXT, True, b"hello")
    client.popen.kill()  # and after the 101 its loss is a cut
    assert caller.file.read() == b""
    web.wait_empty()


@pytest.mark.parametrize("mount", ["", "/tunnels"])
def test_access_rules_and_mount(server, make_web, make_app, mount):
    web = make_web(settings=SERVERS[server].deny(f"{mount}/t/private"), mount=mount)
    seen = []

    def handler(request, connection):
        seen.append(request)
        return echo(request, connection)

    web.client(make_app(handler).url, "t", direct=False)
    WebSocketCaller(web.port, f"{mount}/t/public").opened().close()
    assert seen[0].header("x-forwarded-prefix") == f"{mount}/t" and seen[0].target == "/public"
    for path in ("private/x", "%70rivate/x", "/private/x", "./private/x", "x/%2e%2e/private/x", "x/../private/x",
                 "private/%2e%2e/x", "private/..%2fx"):
        caller = WebSocketCaller(web.port, f"{mount}/t/{path}")
        status, _ = caller.head()
        # lighttpd hands the path on as its rules saw it.
        assert status in (400, 403, 404) or "private" not in seen[-1].target, path
        caller.close()


def test_slow_caller_stops_the_app(web, make_app, name):
    sent = [0]

    def handler(request, connection):
        open_handshake(request, connection)
        while True:
            connection.send(frame(BINARY, bytes(65536)))
            sent[0] += 65536

    web.client(make_app(handler).url, name)
    caller = WebSocketCaller(web.port, f"/{name}/", receive_buffer=65536).opened()
    seen = [-1]

    def still():
        was, seen[0] = seen[0], sent[0]
        return was == seen[0] > 0
    wait_until(still, "the local app waits")
    assert sent[0] < 64 << 20
    assert caller.next() == (BINARY, True, bytes(65536))
    caller.close()
    web.wait_empty()


def test_targets(web, make_app, name, tmp_path):
    unix = make_app(echo, path=str(web.directory / f"{name}.sock"))
    web.client(unix.url, f"{name}u")
    caller = WebSocketCaller(web.port, f"/{name}u/").opened()
    caller.frame(TEXT, b"unix")
    assert caller.next()[2] == b"unix"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key",
                    "-out", tmp_path / "cert"], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    app = App(echo, tls=context)
    web.client(f"https://localhost:{app.port}/base", f"{name}t", "--target-ca-file", str(tmp_path / "cert"))
    caller = WebSocketCaller(web.port, f"/{name}t/").opened()
    payload = os.urandom(300000)
    threading.Thread(target=caller.frame, args=(BINARY, payload), daemon=True).start()
    assert caller.next() == (BINARY, True, payload)
    caller.close()
    web.client(f"https://localhost:{app.port}", f"{name}v")  # a certificate without a trusted issuer
    assert WebSocketCaller(web.port, f"/{name}v/").response().error == "target-unreachable; delivered=no"
    app.close()
    web.wait_empty()


def test_a_library_at_both_ends(web, name):
    """Compression, masking and closing between two real implementations."""
    ports, ready = [], threading.Event()

    async def app(ws):
        async for message in ws:
            await ws.send(message)

    async def serve():
        async with websockets.serve(app, "127.0.0.1", 0, max_size=None) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()

    async def call():
        async with websockets.connect(f"ws://127.0.0.1:{web.port}/{name}/", max_size=None) as ws:
            for size in SIZES[:-1]:
                for message in ("\u00e9" * size, b"\0\xff" * size):
                    await ws.send(message)
                    assert await asyncio.wait_for(ws.recv(), PATIENCE_S) == message
            await (await ws.ping())
            await ws.close(4321, "enough")

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    web.client(f"http://127.0.0.1:{ports[0]}", name)
    asyncio.run(call())
    loop.call_soon_threadsafe(stop.set)
    thread.join(PATIENCE_S)
    web.wait_empty()


def test_a_silent_one_stays_up(make_web, make_app):
    """Timers are scaled by 60: a Ping each second, and every other limit is five seconds."""
    web = make_web(PIPEGATE_WEBSOCKET_PING=1, PIPEGATE_IDLE_TIMEOUT=5, PIPEGATE_RESPONSE_TIMEOUT=5)
    web.client(make_app(echo).url)
    caller = WebSocketCaller(web.port, "/demo/").opened()
    for _ in range(8):
        assert caller.next() == (PING, True, b"")
        caller.frame(PONG)
    caller.frame(TEXT, b"still here")
    while (got := caller.next())[0] == PING:
        caller.frame(PONG)
    assert got == (TEXT, True, b"still here")
    while caller.next() is not None:  # and a caller that does not respond is closed
        pass
    web.wait_empty()


def test_pings_come_before_any_time_out_of_the_shipped_files():
    ping_s = 60
    assert '.variable = "PIPEGATE_WEBSOCKET_PING", .standard = "60",' in (ROOT / "broker/config.c").read_text()
    for text, pattern in (((ROOT / "conf/apache/pipegate.conf").read_text(), r"timeout=(\d+)"),
                          ((ROOT / "conf/lighttpd/pipegate.conf").read_text(), r"max-(?:read|write)-idle = (\d+)")):
        found = [int(n) for n in re.findall(pattern, text)]
        assert found and all(n > 300 > 4 * ping_s for n in found)


@pytest.mark.parametrize("server", ["lighttpd", "apache"], indirect=True)
def test_a_thousand_at_once(make_web, make_app, server):
    count = 200 if SANITIZED else 1000
    web = make_web(settings="server.max-fds = 8192\nserver.max-connections = 4000" if server == "lighttpd" else "")
    client = web.client(make_app(echo).url)
    callers = []
    for start in range(0, count, 50):
        some = [WebSocketCaller(web.port, "/demo/") for _ in range(50)]
        callers += [c.opened() for c in some]
    for i, c in enumerate(callers):
        c.frame(TEXT, b"%d" % i)
    for i, c in enumerate(callers):
        assert c.next() == (TEXT, True, b"%d" % i)
    assert web.metrics()["pipegate_websockets"] == count
    for c in callers:
        c.close()
    web.wait_empty()
    wait_until(lambda: web.metrics()["pipegate_websockets"] == 0, "all are gone")
    wait_until(lambda: client.descriptors() < 100 and web.broker.descriptors() < 100, "descriptors are given back")


def test_the_limit(make_web, make_app):
    web = make_web(PIPEGATE_MAX_WEBSOCKETS=2)
    web.client(make_app(echo).url)
    first = [WebSocketCaller(web.port, "/demo/").opened() for _ in range(2)]
    r = WebSocketCaller(web.port, "/demo/").response()
    assert (r.status, r.error) == (503, "queue-full; delivered=no")
    first[0].close()
    web.wait_metric("pipegate_websockets", 1)  # its socket counts until it is closed
    WebSocketCaller(web.port, "/demo/").opened().close()


def test_the_broker_stops(make_web, make_app):
    web = make_web(PIPEGATE_DRAIN_SECONDS=0)
    web.client(make_app(echo).url)
    caller = WebSocketCaller(web.port, "/demo/").opened()
    web.broker.stop()
    assert caller.file.read() == b""


def test_the_broker_drains(make_web, make_app):
    """New WebSockets are refused with a reason, and existing ones are closed with one: contract 5, "broker stops"."""
    web = make_web(PIPEGATE_DRAIN_SECONDS=PATIENCE_S)
    app = make_app(echo)
    web.client(app.url)
    running = WebSocketCaller(web.port, "/demo/").opened()
    web.broker.signal(15)
    web.broker.wait_log("stopping signal=15")
    r = WebSocketCaller(web.port, "/demo/").response()
    assert (r.status, r.error) == (503, "shutting-down; delivered=no"), r
    assert r.header("retry-after") and r.header("cache-control") == "no-store" and r.json()["detail"]
    assert len(r.header("x-pipegate-correlation-id")) == 32
    listener = Caller(web.broker_port)
    listener.request("GET", "/healthz")
    r = listener.response()
    assert (r.status, r.json()) == (503, {"status": "unavailable"})
    client = web.client(app.url, wait=False)  # it will try again
    assert "code=503" in client.wait_log("retry_ms")
    running.frame(TEXT, b"still here")
    assert running.next() == (TEXT, True, b"still here")
    running.close()
    assert web.broker.wait() == 0
    web.broker = web.start_broker()
    client.wait_log("tunnel.open")
    WebSocketCaller(web.port, "/demo/").opened().close()
