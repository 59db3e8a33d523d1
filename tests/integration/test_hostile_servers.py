"""Our client at servers, proxies and networks that are broken, hostile or merely usual. No web server is involved, except where
a tunnel's public URL is."""
import base64
import hashlib
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from harness import PATIENCE_S, SANITIZED, App, Process, environment, free_port, program, token, wait_until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SOON_S = PATIENCE_S / 6  # far less than any wait that would be wrong: 18 s, 20 s, 30 s


def field(name, value):
    return struct.pack(">HI", len(name), len(value)) + name + value


def v2_frame(kind, payload=b"", stream=0):
    return struct.pack(">BBHII", kind, 0, 0, stream, len(payload)) + payload


HELLO = v2_frame(1, field(b"version", b"2"))


def frame(opcode, payload=b"", final=True, reserved=0, masked=False):
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack(">BH", mask | 126, len(payload))
    else:
        head += struct.pack(">BQ", mask | 127, len(payload))
    return head + (b"KEY!" + payload if masked else payload)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE_S)
        self.file = sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def request(self):
        raw = App.read_head(self.file)
        if not raw:
            raise ConnectionError("no request")
        self.lines = raw.decode().split("\r\n")
        self.headers = {n.lower(): v.strip() for n, v in (x.split(":", 1) for x in self.lines[1:] if x)}
        return self

    def switch(self, protocol="pipegate.v2", accept=None, more=""):
        digest = hashlib.sha1((self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        return (f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}\r\n"
                + (f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else "") + more + "\r\n").encode()

    def open(self, protocol="pipegate.v2"):
        """Accepts the token, as a server does."""
        self.request().send(self.switch(protocol) + (frame(BINARY, HELLO) if protocol else b""))
        return self

    def next(self):
        """Returns the client's next frame; None: the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return None
        assert head[1] & 0x80, "a client masks"
        size = head[1] & 0x7f
        if size >= 126:
            size = int.from_bytes(self.file.read(2 if size == 126 else 8), "big")
        key = self.file.read(4)
        payload = bytes(b ^ key[i % 4] for i, b in enumerate(self.file.read(size)))
        return head[0] & 15, payload

    def next_control(self):
        while (got := self.next()) and got[0] < 8:
            pass
        return got

    def close(self):
        self.file.close()
        self.sock.close()


class Server:
    def __init__(self, address="127.0.0.1", tls=None, port=0, family=socket.AF_INET):
        self.tls = tls
        self.listener = socket.create_server((address, port), family=family)
        self.listener.settimeout(PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        self.url = f"ws{'s' if tls else ''}://127.0.0.1:{self.port}/"
        self.peers = []

    def accept(self):
        sock = self.listener.accept()[0]
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True)
        self.peers.append(Peer(sock))
        return self.peers[-1]

    def close(self):
        self.listener.close()
        for p in self.peers:
            p.close()


@pytest.fixture
def start(tmp_path):
    """start(server_url, *flags, **variables) starts our client."""
    made = []

    def make(url, *flags, target="1", tok=None, before=(), **variables):
        env = {k: None for k in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")}
        env.update({"PIPEGATE_TOKEN": tok or token(), **variables})
        made.append(Process(tmp_path, f"client-{len(made)}", [*before, program("client"), *flags, target, url], environment(**env)))
        return made[-1]

    yield make
    for p in made:
        if p.popen.poll() is None:
            p.stop()
        p.close()


@pytest.fixture
def make_server(start):  # it ends first: the clients then have no server to send a goodbye to
    made = []

    def make(*args, **kwargs):
        made.append(Server(*args, **kwargs))
        return made[-1]

    yield make
    for s in made:
        s.close()


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    if SANITIZED:
        pytest.skip("a preloaded library stands before the sanitizer's")
    path = tmp_path_factory.mktemp("preload") / "preload.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, pathlib.Path(__file__).with_name("preload.c"), "-ldl"], check=True)
    return str(path)


def closed_line(client, count=1):
    lines = [x for x in client.wait_log("tunnel.closed", count).splitlines() if "tunnel.closed" in x]
    return lines[count - 1]


def stops(client):
    """The client stops by itself, long before the deadline of an attempt."""
    start = time.monotonic()
    client.signal(15)
    assert client.wait() == 0, client.log()
    assert time.monotonic() - start < SOON_S, client.log()


# --- the handshake ---


@pytest.mark.parametrize("response, words", [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 27\r\n\r\n{\"detail\":\"No such tunnel\"}", "HTTP 404 Not Found: No such tunnel"),
    (b"HTTP/1.1 400 Bad\r\n\r\n{\"detail\":\"take the id off\"}", "HTTP 400 Bad Request: take the id off"),
    (b"HTTP/1.1 301 Moved\r\nLocation: https://other.example/t/?token=secret\r\nContent-Length: 0\r\n\r\n",
     "HTTP 301 Moved Permanently to https://other.example/t/?...:"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<html", "HTTP 502 Bad Gateway\""),
    (b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n", "HTTP 407"),
    (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "Sec-WebSocket-Accept"),
    (b"HTTP/1.1 101 S\r\nSec-WebSocket-Accept: x\r\n\r\n", "with a 101 that does not switch to a WebSocket"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200 OK"),
    (b"HTTP/1.1 404 X\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n", "with a head larger than 64 KiB"),
    (b"HTTP/1.1 103 Early\r\n\r\n" * 20000, "with too many informational responses"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP/1.1 response"),
    (b"", "closed the connection without a response"),
    (b"HTTP/1.1 101 Swi", "closed the connection without a response"),
], ids=lambda v: v[:16].decode() if isinstance(v, bytes) else None)
def test_handshakes_that_fail_say_why(make_server, start, response, words):
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    assert peer.headers["authorization"].startswith("Bearer ey")
    try:
        peer.send(response)
        peer.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has read enough
    line = closed_line(client)
    assert line.startswith("warn ") and words in line and f"address=127.0.0.1:{server.port}" in line, line
    assert "tunnel.open" not in client.log() and "secret" not in client.log()


@pytest.mark.parametrize("more, words", [
    (dict(accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "Sec-WebSocket-Accept"), (dict(protocol="pipegate.v3"), "sub-protocol"),
    (dict(more="Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension"),
])
def test_switches_that_were_not_asked_for(make_server, start, more, words):
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    peer.send(peer.switch(**more))
    assert words in closed_line(client)
    assert peer.next() is None, "and nothing was said to it"


def test_one_byte_at_a_time(make_server, start):
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in peer.switch() + frame(BINARY, HELLO) + frame(PING, b"slow"):
        peer.send(bytes([byte]))
    client.wait_log("protocol=pipegate.v2")
    assert peer.next_control() == (PONG, b"slow")


def test_an_error_whose_body_does_not_end(make_server, start):
    server = make_server()
    client = start(server.url)
    server.accept().request().send(b"HTTP/1.1 404 X\r\nContent-Length: 1000\r\n\r\n{")
    assert "HTTP 404" in closed_line(client)


@pytest.mark.parametrize("status", [401, 403])
def test_http_refusals_are_final(make_server, start, status):
    server = make_server()
    client = start(server.url)
    server.accept().request().send(f"HTTP/1.1 {status} No\r\nContent-Length: 22\r\n\r\n{{\"detail\":\"no entry!\"}}".encode())
    assert client.wait() == 77
    assert f"code={status}" in client.log() and ": no entry!" in client.log() and "tunnel.open" not in client.log()


# --- ends ---


@pytest.mark.parametrize("protocol", ["pipegate.v2", None])
@pytest.mark.parametrize("code, reason, final", [
    (1008, "Missing token", True), (1008, "Invalid token", True), (1008, "Token expired", True), (1008, "Token revoked", True),
    (1008, "Token not yet valid", False), (1008, "reads nothing", False), (1008, "", False), (1000, "Invalid token", False),
    (1001, "shutting down", False), (1011, "", False), (1009, "too big", False), (4000, "x", False)])
def test_what_is_final(make_server, start, protocol, code, reason, final):
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    peer.send(peer.switch(protocol) + frame(CLOSE, struct.pack(">H", code) + reason.encode()))
    assert peer.next_control() == (CLOSE, struct.pack(">H", code) + reason.encode()), "the Close is answered"
    peer.close()
    if final:
        assert client.wait() == 77
        assert f'error tunnel.refused server={server.url} address=127.0.0.1:{server.port} code={code} reason="{reason}"' in client.log()
    else:
        assert f"code={code} " in closed_line(client) and (reason or "without a reason") in closed_line(client)
        server.accept()
    assert "tunnel.open" not in client.log()


@pytest.mark.parametrize("data, code", [
    (frame(BINARY, HELLO, masked=True), 1002), (frame(BINARY, HELLO, reserved=0x40), 1002), (frame(3, b"x"), 1002), (frame(11), 1002),
    (frame(PING, b"x", final=False), 1002), (b"\x89\x7e\0\x7e" + b"x" * 126, 1002), (frame(0, b"x"), 1002),
    (frame(BINARY, b"x", final=False) + frame(BINARY, b"y"), 1002), (frame(CLOSE, b"x"), 1002), (frame(CLOSE, struct.pack(">H", 1005)), 1002),
    (frame(CLOSE, b"\x03\xe8\xff"), 1007), (frame(TEXT, b"\xc3("), 1007), (b"\x82\x7f" + struct.pack(">Q", 1 << 40), 1009),
    (frame(BINARY, bytes(200000), final=False) + b"\x80\x7f" + struct.pack(">Q", 200000), 1009),
    (b"\x82\x7f" + b"\xff" * 8, 1002), (frame(BINARY, b"no frame of v2"), 1002),
], ids=lambda v: str(v) if isinstance(v, int) else v[:12].hex())
def test_broken_frames(make_server, start, data, code):
    server = make_server()
    client = start(server.url)
    peer = server.accept().open()
    client.wait_log("tunnel.open")
    peer.send(data)
    opcode, payload = peer.next_control()
    assert (opcode, struct.unpack(">H", payload[:2])[0]) == (CLOSE, code)
    peer.close()
    assert f"code={code} " in closed_line(client)
    server.accept().open()
    client.wait_log("tunnel.open", 2)


def test_misuse_of_a_stream_costs_that_stream(make_server, start):
    server = make_server()
    client = start(server.url)
    peer = server.accept().open()
    assert peer.next()[1][0] == 1, "its HELLO: what comes later is a message of its own"
    head = field(b":method", b"GET") + field(b":target", b"/") + field(b"host", b"a")
    opens = struct.pack(">BBHII", 2, 1, 0, 1, 4 + len(head)) + struct.pack(">I", len(head)) + head
    peer.send(frame(BINARY, opens + v2_frame(5, b"\x7f\xff\xff\xff", 1)))
    got = peer.next()
    assert got[0] == BINARY and got[1][0] == 6
    assert got[1][4:8] == struct.pack(">I", 1) and got[1][12] == 12, "RESET, bad-response"
    peer.send(frame(PING, b"alive"))
    assert peer.next() == (PONG, b"alive")
    assert 'warn stream.misused stream=1 corr=- why="WINDOW out of range"' in client.log() and "tunnel.closed" not in client.log()


def test_a_server_that_vanishes(make_server, start):
    server = make_server()
    client = start(server.url)
    server.accept().open()
    client.wait_log("tunnel.open")
    server.peers[-1].close()
    assert "without a Close" in closed_line(client) or "Connection reset" in closed_line(client)
    peer = server.accept().open()
    client.wait_log("tunnel.open", 2)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    assert "Connection reset" in closed_line(client, 2)


def test_a_half_open_connection_is_given_up(make_server, start):
    """The server sends nothing and responds to nothing, as after a network failure: a Ping after 20 s, the end after 30."""
    server = make_server()
    client = start(server.url)
    peer = server.accept().open()
    begin = time.monotonic()
    assert peer.next_control()[0] == PING
    assert time.monotonic() - begin > 18
    peer.send(frame(PONG, b"ping"))
    assert peer.next_control()[0] == PING, "and again, as it was answered"
    line = closed_line(client)
    assert "silent for 30 s" in line and time.monotonic() - begin > 45


def test_no_hello(make_server, start):
    """An open WebSocket alone is not a tunnel."""
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    peer.send(peer.switch())
    assert "no HELLO" in closed_line(client) and "tunnel.open" not in client.log()


def test_a_flood_of_pings(make_server, start):
    """Many Pings at once do not grow the client's memory; the last one gets a Pong. A server that does not read does not change this."""
    server = make_server()
    client = start(server.url)
    peer = server.accept().open()
    client.wait_log("tunnel.open")
    before = client.rss_kib()
    for i in range(40):
        peer.send(frame(PING, b"x" * 125) * 5000)
    peer.send(frame(PING, b"last"))
    while (got := peer.next_control()) != (PONG, b"last"):
        assert got[0] == PONG
    assert client.rss_kib() - before < 4096 or SANITIZED
    assert "tunnel.closed" not in client.log()


# --- stopping ---


@pytest.mark.parametrize("state", ["handshake", "greeting", "open", "v1", "silent", "no goaway", "backoff"])
def test_a_stop_in_each_state(make_server, start, state):
    server = make_server()
    client = start(server.url)
    peer = server.accept().request()
    if state == "backoff":
        peer.close()
        closed_line(client)
    elif state != "handshake":
        peer.send(peer.switch(None if state == "v1" else "pipegate.v2") + (b"" if state in ("greeting", "v1") else frame(BINARY, HELLO)))
    if state in ("open", "v1", "silent", "no goaway"):
        client.wait_log("tunnel.open")
    if state == "greeting":
        assert peer.next()[1].startswith(b"\1"), "its HELLO"
    if state == "open":
        client.signal(15)
        while (got := peer.next()) and got != (BINARY, v2_frame(7)):
            pass
        peer.send(frame(BINARY, v2_frame(7)))  # GOAWAY, both ways
    if state in ("greeting", "open", "v1", "no goaway"):  # nothing is in progress: the client does not wait long for a response to GOAWAY
        client.signal(15)
        assert peer.next_control() == (CLOSE, struct.pack(">H", 1000) + b"client stops")
        peer.send(frame(CLOSE, struct.pack(">H", 1000)))
        peer.close()
        assert client.wait() == 0
    elif state == "silent":
        begin = time.monotonic()
        client.signal(15)
        client.wait_log("stopping")
        client.signal(15)  # the second ends the wait for GOAWAY
        assert client.wait() == 0 and time.monotonic() - begin < SOON_S
    else:
        stops(client)


def test_a_stop_while_a_name_is_looked_up(start, preload, tmp_path):
    client = start("ws://server.example/", "-v", LD_PRELOAD=preload, RESOLVE="hang")
    client.wait_log("tunnel.connect")
    wait_until(lambda: len(os.listdir(f"/proc/{client.pid}/task")) > 1, "the look-up has a thread")
    stops(client)


def silent_listener(address="127.0.0.1", family=socket.AF_INET, port=0):
    """SYNs to it get no response, because its queue is full."""
    listener = socket.create_server((address, port), family=family, backlog=0)
    fillers = []
    for _ in range(4):
        s = socket.socket(family)
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
        fillers.append(s)
    return listener, fillers


def test_a_stop_while_nothing_answers(start):
    listener, fillers = silent_listener()
    client = start(f"ws://127.0.0.1:{listener.getsockname()[1]}/", "-v")
    client.wait_log("tunnel.connect")
    wait_until(lambda: f":{listener.getsockname()[1]} " in subprocess.run(
        ["ss", "-Hantp", "state", "syn-sent"], capture_output=True, text=True).stdout, "a SYN is under way")
    stops(client)
    for s in (listener, *fillers):
        s.close()


# --- addresses ---


@pytest.mark.parametrize("addresses", ["::1,127.0.0.1", "127.0.0.1,::1", "127.0.0.2,127.0.0.1"])
def test_all_addresses_are_tried(make_server, start, preload, addresses):
    server = make_server()
    client = start(f"ws://server.example:{server.port}/", LD_PRELOAD=preload, RESOLVE=addresses)
    server.accept().open()
    client.wait_log("tunnel.open")
    assert f"address=127.0.0.1:{server.port}" in client.log()


def test_a_silent_address_does_not_stand_before_one_that_answers(make_server, start, preload):
    """Both address families are tried concurrently (RFC 8305)."""
    server = make_server()
    listener, fillers = silent_listener("::1", socket.AF_INET6, server.port)
    begin = time.monotonic()
    client = start(f"ws://server.example:{server.port}/", LD_PRELOAD=preload, RESOLVE="::1,127.0.0.1")
    server.accept().open()
    client.wait_log("tunnel.open")
    assert time.monotonic() - begin < SOON_S
    for s in (listener, *fillers):
        s.close()


def test_ipv6(make_server, start):
    server = make_server("::1", family=socket.AF_INET6)
    client = start(f"ws://[::1]:{server.port}/")
    peer = server.accept().open()
    client.wait_log(f"address=[::1]:{server.port}")
    assert peer.headers["host"] == f"[::1]:{server.port}"


def test_names_that_lead_nowhere(start):
    client = start("ws://no.such.host.invalid/")
    assert "no.such.host.invalid" in closed_line(client) and "resolve" in closed_line(client)


# --- proxies ---


class Proxy:
    """Accepts CONNECT for any name, and connects to the port it was made with."""

    def __init__(self, port, answer=b"HTTP/1.1 200 OK\r\n\r\n"):
        self.port_behind, self.answer, self.heads, self.passed = port, answer, [], b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            self.sockets.append(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                return
            head += byte
        self.heads.append(head.decode())
        if self.answer is None:
            return
        client.sendall(self.answer)
        if b" 200 " not in self.answer:
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self.port_behind))
        self.sockets.append(server)
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server, True)

    def pump(self, a, b, up=False):
        try:
            while data := a.recv(65536):
                self.passed += data if up else b""
                b.sendall(data)
        except OSError:
            pass
        try:
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for s in self.sockets:
            s.close()


@pytest.fixture
def make_proxy():
    made = []

    def make(*args, **kwargs):
        made.append(Proxy(*args, **kwargs))
        return made[-1]

    yield make
    for p in made:
        p.close()


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_proxy(make_server, start, make_proxy, variable):
    server = make_server()
    proxy = make_proxy(server.port)
    client = start("ws://server.example:81/t/", **{variable: f"http://me:pass%21word@127.0.0.1:{proxy.port}"})
    peer = server.accept().open()
    client.wait_log("tunnel.open")
    assert proxy.heads[0].startswith("CONNECT server.example:81 HTTP/1.1\r\n"), proxy.heads
    assert "Bearer" not in proxy.heads[0] and "Proxy-Authorization: Basic" in proxy.heads[0]
    assert peer.lines[0] == "GET /t/ HTTP/1.1" and "proxy-authorization" not in peer.headers
    assert "warn tunnel.clear" in client.log(), "what passes can be read by the proxy"
    assert "pass" not in client.log()


def test_a_proxy_for_tls(make_server, start, make_proxy, certificate):
    server = make_server(tls=certificate.context)
    proxy = make_proxy(server.port)
    client = start("wss://localhost.example/", "--ca-file", certificate.ca, https_proxy=f"http://127.0.0.1:{proxy.port}")
    server.accept().open()
    client.wait_log("tunnel.open")
    assert "warn" not in client.log() and b"Bearer" not in proxy.passed and b"GET" not in proxy.passed


@pytest.mark.parametrize("variables", [{}, {"no_proxy": "127.0.0.1"}, {"no_proxy": "*"}, {"no_proxy": "example"}])
def test_where_no_proxy_is_used(make_server, start, make_proxy, preload, variables):
    """A loopback server is never reached through a proxy; no_proxy works as in curl."""
    server = make_server()
    proxy = make_proxy(server.port)
    name = "server.example" if variables.get("no_proxy") in ("*", "example") else "127.0.0.1"
    client = start(f"ws://{name}:{server.port}/", http_proxy=f"http://127.0.0.1:{proxy.port}", all_proxy=f"http://127.0.0.1:{proxy.port}",
                   LD_PRELOAD=preload, **variables)
    server.accept().open()
    client.wait_log("tunnel.open")
    assert proxy.heads == []


@pytest.mark.parametrize("name", ["127.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1.", "localhost.", "LOCALHOST", "0.0.0.0", "0",
                                  "[::ffff:127.0.0.1]", "[::]"])
def test_no_spelling_of_this_machine_leads_to_a_proxy(start, make_proxy, name):
    """Whether or not the resolver accepts the name, it is the client that reports the failed connection."""
    proxy, port = make_proxy(0, None), free_port()
    client = start(f"ws://{name}:{port}/", http_proxy=f"http://127.0.0.1:{proxy.port}", all_proxy=f"http://127.0.0.1:{proxy.port}")
    assert "proxy" not in closed_line(client)
    assert proxy.heads == []


@pytest.mark.parametrize("answer, words", [
    (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", "407"),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"), (b"HTTP/1.1 502 Bad\r\n\r\n", "502"), (b"garbage\r\n\r\n", "CONNECT"),
])
def test_proxies_that_refuse(start, make_proxy, answer, words):
    """No response of a proxy counts as the server's refusal of the token."""
    proxy = make_proxy(0, answer)
    client = start("ws://server.example/", http_proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    assert words in closed_line(client) and "secret" not in client.log()
    assert f'reason="through the proxy 127.0.0.1:{proxy.port} (http_proxy): ' in closed_line(client)
    closed_line(client, 2)


def test_a_proxy_that_says_nothing(start, make_proxy):
    proxy = make_proxy(0, None)
    client = start("ws://server.example/", http_proxy=f"http://127.0.0.1:{proxy.port}")
    wait_until(lambda: proxy.heads, "CONNECT has come")
    stops(client)


def test_no_proxy_there(start):
    port = free_port()
    client = start("ws://server.example/", ALL_PROXY=f"http://me:secret@127.0.0.1:{port}")
    assert f"through the proxy 127.0.0.1:{port} (ALL_PROXY): " in closed_line(client) and "refused" in closed_line(client)
    assert "secret" not in client.log() and "secret" not in closed_line(client)


def test_a_proxy_of_no_known_name(start):
    client = start("wss://server.example/", https_proxy="me:secret@proxy.invalid:3128", no_proxy="other.example")
    assert "through the proxy proxy.invalid:3128 (https_proxy): " in closed_line(client) and "resolve proxy" in closed_line(client)
    assert "secret" not in client.log()


def test_a_server_for_which_no_proxy_is_used_is_not_one_behind_it(start):
    client = start("ws://server.invalid/", http_proxy="http://proxy.invalid:3128", no_proxy="server.invalid")
    assert "resolve host" in closed_line(client) and "proxy" not in closed_line(client)


# --- TLS ---


class Certificate:
    def __init__(self, directory, days):
        def openssl(*args):
            subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=directory)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30")
        openssl("req", *key, "-subj", "/CN=x", "-keyout", "key", "-out", "csr")
        (directory / "ext").write_text("subjectAltName=DNS:localhost.example,IP:127.0.0.1")
        openssl("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert", "-extfile", "ext",
                "-days", str(days))
        self.ca = str(directory / "ca.pem")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "cert", directory / "key")
        self.names = []
        self.context.sni_callback = lambda s, name, c: self.names.append(name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("tls"), 2)


def refused_by_tls(server, client):
    with pytest.raises((ssl.SSLError, OSError)):
        server.accept().open()
        raise OSError("the client has closed")  # it may have seen the certificate later than we its greeting
    return closed_line(client)


def test_tls(make_server, start, certificate, preload):
    server = make_server(tls=certificate.context)
    client = start(f"wss://localhost.example:{server.port}/", "--ca-file", certificate.ca, LD_PRELOAD=preload)
    peer = server.accept().open()
    client.wait_log("tunnel.open")
    assert certificate.names[-1] == "localhost.example"
    # Bytes that libcurl has already read from the socket cause no event, and must be read nevertheless.
    peer.send(b"".join(frame(BINARY, v2_frame(200, bytes(60000))) for _ in range(30)) + frame(PING, b"behind"))
    assert peer.next_control() == (PONG, b"behind")
    client.signal(15)
    peer.send(frame(BINARY, v2_frame(7)))
    assert peer.next_control()[0] == CLOSE


def test_tls_without_trust(make_server, start, certificate):
    server = make_server(tls=certificate.context)
    assert "certificate" in refused_by_tls(server, start(server.url))


def test_tls_of_another_name(make_server, start, certificate, preload):
    server = make_server(tls=certificate.context)
    client = start(f"wss://other.example:{server.port}/", "--ca-file", certificate.ca, LD_PRELOAD=preload)
    assert "other.example" in refused_by_tls(server, client)


def test_tls_expired(make_server, start, tmp_path):
    old = Certificate(tmp_path, -1)
    server = make_server(tls=old.context)
    assert "expired" in refused_by_tls(server, start(server.url, "--ca-file", old.ca))


def test_insecure_is_for_the_server_alone(make_server, start, certificate):
    """And --target-insecure is for the app alone."""
    server = make_server(tls=certificate.context)
    client = start(server.url, "--insecure")
    server.accept().open()
    log = client.wait_log("tunnel.open")
    assert "warn tls.unchecked side=server" in log and "side=target" not in log
    client = start(server.url, "--target-insecure", "--target-ca-file", certificate.ca)
    assert "certificate" in refused_by_tls(server, client)


OPEN = field(b":method", b"GET") + field(b":target", b"/") + field(b"host", b"h")


@pytest.mark.parametrize("flags, reached", [
    ((), False), (("--insecure",), False), (("--target-insecure",), True), (("--ca-file", "CA"), False), (("--target-ca-file", "CA"), True)])
def test_flags_of_an_https_app(make_server, start, certificate, flags, reached):
    app = App(tls=certificate.context)
    server = make_server()
    flags = [certificate.ca if f == "CA" else f for f in flags]
    client = start(server.url, *flags, target=f"https://127.0.0.1:{app.port}")
    peer = server.accept().open()
    client.wait_log("tunnel.open")
    peer.send(frame(BINARY, struct.pack(">BBHII", 2, 1, 0, 1, 4 + len(OPEN)) + struct.pack(">I", len(OPEN)) + OPEN))
    kind = None
    while kind not in (3, 6):  # HEAD or RESET
        kind = peer.next()[1][0]
    assert (kind == 3) == reached, client.log()
    app.close()


def test_plain_http_where_tls_was_meant(make_server, start):
    server = make_server()
    client = start(f"wss://127.0.0.1:{server.port}/")
    server.accept().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "SSL" in closed_line(client)


# --- the first minute ---


def test_a_public_url_as_server(web, name, make_app, tmp_path):
    for i, path in enumerate((f"/{name}/", f"/{name}")):
        tok = token(name)
        p = Process(tmp_path, f"client-{i}", [program("client"), make_app().url, f"http://127.0.0.1:{web.port}{path}"],
                    environment(PIPEGATE_TOKEN=f"Connection-id: {name}\nJWT Bearer:    {tok}\n"))
        log = p.wait_log("tunnel.open")
        assert f"warn server.url server=ws://127.0.0.1:{web.port}/:" in log
        wait_until(lambda: web.get(f"/{name}/x").status == 200, "the app answers")
        p.stop()


@pytest.mark.parametrize("text", ["JWT Bearer:    {}", "{} \t\r\n", "Connection-id: x\r\nJWT Bearer:    {}\r\n", "\n{}"])
def test_forms_of_a_token_file(make_server, start, tmp_path, text):
    server = make_server()
    tok = token()
    (tmp_path / "token").write_text(text.format(tok))
    start(server.url, "--token-file", str(tmp_path / "token"))
    assert server.accept().request().headers["authorization"] == f"Bearer {tok}"


# --- for a long time ---


def test_it_wakes_up(make_server, start, preload, tmp_path):
    """After a suspend the client tries at once, however long its back-off had become."""
    port = free_port()
    awake = tmp_path / "awake"
    client = start(f"ws://127.0.0.1:{port}/", LD_PRELOAD=preload, AWAKE_FILE=awake)
    closed_line(client, 5)  # the next attempt is due in 13 s or more
    server = make_server(port=port)
    awake.write_text("")
    server.accept().open()
    assert "clock.woke" in client.wait_log("tunnel.open")


def test_many_reconnects(make_server, start, preload):
    """Time runs 200 times faster. Tunnels, refused handshakes and broken ones leave nothing behind."""
    server = make_server()
    server.listener.listen(64)
    client = start(server.url, LD_PRELOAD=preload, FASTER="200")
    held, counts = threading.Event(), []
    for i in range(600):
        peer = server.accept()
        try:
            if i % 3 == 0:
                peer.open()
                held.wait(0.06)  # a tunnel that was open for 12 s resets the back-off
            elif i % 3 == 1:
                peer.request().send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass  # on a busy machine the time was over before
        peer.close()
        server.peers.clear()
        if i in (150, 599):
            counts.append((client.descriptors(), client.rss_kib()))
    assert counts[1][0] <= counts[0][0] + 3 and counts[1][1] < counts[0][1] + 1024, counts
