"""Receive windows that follow the path (PROTOCOL.md, "Flow control"): peers that speak v2 byte by byte, and real bodies over a
line that delays. Nothing here is timed: a round trip is so long that only a hang takes longer than it."""
import collections
import hashlib
import queue
import socket
import struct
import threading
import time

import pytest

from harness import PATIENCE_S, Caller, Process, environment, free_port, program, token, wait_until
from test_hostile import HELLO, bad_client, fields, v2
from test_hostile_servers import frame as server_frame
from test_hostile_servers import make_server, start, v2_frame  # noqa: F401  fixtures
from test_streaming import digest_of, pieces, send_big
from test_websockets import BINARY, CLOSE, WebSocketCaller, frame, open_handshake, read_frame

OPEN, HEAD, DATA, WINDOW, PING, PONG = 2, 3, 4, 5, 8, 9
END = 1
FIRST = 256 * 1024
MIB = 1 << 20
ROUND_TRIP_S = 1  # of a peer that answers its PING so late


def frames(message):
    """kind, stream, payload of each frame of a message."""
    while message:
        kind, _, _, stream, size = struct.unpack(">BBHII", message[:12])
        yield kind, stream, message[12:12 + size]
        message = message[12 + size:]


class Credit:
    """What a peer that sends a body knows of its window."""

    def __init__(self):
        self.left, self.sent, self.most = FIRST, 0, FIRST

    def grant(self, payload):
        self.left += int.from_bytes(payload, "big")
        self.most = max(self.most, self.left)

    def take(self, most=16384):
        assert self.sent < 1024 * MIB, f"the window never exceeded {self.most}"
        size = min(most, self.left)
        self.left -= size
        self.sent += size
        return size


class V2Client:
    """A tunnel client by hand: answers the broker's first PING late and no other, then a request with a body as long as is
    wanted."""

    def __init__(self, web, name, answers=True):
        self.peer = bad_client(web, name)
        self.seen = collections.deque()
        self.say(HELLO)
        wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
        payload = self.expect(PING)
        if answers:
            time.sleep(ROUND_TRIP_S)
            self.say(v2(PONG, 0, payload))

    def say(self, message):
        self.peer.send(frame(BINARY, message, masked=True))

    def next(self):
        while not self.seen:
            opcode, _, message = read_frame(self.peer.file)
            if opcode == BINARY:
                self.seen.extend(frames(message))
        return self.seen.popleft()

    def expect(self, wanted):
        while True:
            kind, _, payload = self.next()
            if kind == wanted:
                return payload

    def respond(self, enough):
        """Sends a body as fast as windows allow, until enough(credit). Returns the credit."""
        self.expect(OPEN)
        head, credit = fields((b":status", b"200"), (b":origin", b"http://x")), Credit()
        self.say(v2(HEAD, 1, len(head).to_bytes(4, "big") + head))
        while not enough(credit):
            while credit.left:
                self.say(v2(DATA, 1, bytes(credit.take())))
            credit.grant(self.expect(WINDOW))
        self.say(v2(DATA, 1, b"", END))
        return credit


def get_length(web, target, outcome):
    caller = Caller(web.port)
    caller.request("GET", target)
    assert caller.head()[0] == 200
    outcome["bytes"] = sum(len(p) for p in caller.pieces())
    caller.close()


def download(web, client, name, enough):
    outcome = {}
    thread = threading.Thread(target=get_length, args=(web, f"/{name}/x", outcome), daemon=True)
    thread.start()
    credit = client.respond(enough)
    thread.join(PATIENCE_S)
    assert outcome["bytes"] == credit.sent
    web.wait_metric("pipegate_window_bytes", 0)
    client.peer.close()
    return credit


def test_the_brokers_window_grows(web, name):
    credit = download(web, V2Client(web, name), name, lambda c: c.most >= 4 * MIB)
    assert credit.most <= 16 * MIB


def test_it_does_not_for_a_client_that_answers_no_ping(web, name):
    credit = download(web, V2Client(web, name, answers=False), name, lambda c: c.sent >= 8 * MIB)
    assert credit.most == FIRST


def test_it_does_not_without_a_budget(make_web, name):
    web = make_web(PIPEGATE_BUFFER_BYTES=0)
    credit = download(web, V2Client(web, name), name, lambda c: c.sent >= 8 * MIB)
    assert credit.most == FIRST


def upload_from(peer, enough):
    """As the broker: an OPEN, and its body as fast as windows allow. Returns the credit."""
    credit = Credit()
    head = fields((b":method", b"POST"), (b":target", b"/x"), (b"host", b"a"))
    peer.send(server_frame(BINARY, v2_frame(OPEN, len(head).to_bytes(4, "big") + head, 1)))
    while not enough(credit):
        while credit.left:
            peer.send(server_frame(BINARY, v2_frame(DATA, bytes(credit.take()), 1)))
        opcode, message = peer.next()
        for kind, stream, payload in frames(message) if opcode == BINARY else ():
            if kind == WINDOW and stream == 1:
                credit.grant(payload)
    peer.send(server_frame(BINARY, struct.pack(">BBHII", DATA, END, 0, 1, 0)))
    return credit


@pytest.mark.parametrize("flags, grows", [((), True), (("--buffer-bytes", "0"), False)])
def test_the_clients_window(make_server, start, make_app, flags, grows):  # noqa: F811
    arrived = []

    def handler(request, connection):
        arrived.append(sum(len(p) for p in request.body_pieces()))
        connection.answer()

    server, app = make_server(), make_app(handler)
    start(server.url, *flags, target=app.url)
    peer = server.accept().open()
    ping = next(payload for _, message in iter(peer.next, None) for kind, _, payload in frames(message) if kind == PING)
    time.sleep(ROUND_TRIP_S)
    peer.send(server_frame(BINARY, v2_frame(PONG, ping)))
    credit = upload_from(peer, lambda c: c.most >= 4 * MIB if grows else c.sent >= 8 * MIB)
    wait_until(lambda: arrived, "the app has all of it")
    assert arrived == [credit.sent]
    assert credit.most <= 16 * MIB if grows else credit.most == FIRST


class DelayLine:
    """Carries connections to a port, each byte `delay_s` later."""

    def __init__(self, port, delay_s):
        self.to, self.delay_s = port, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.sockets += [near, far]
            for pair in ((near, far), (far, near)):
                waiting = queue.Queue()
                threading.Thread(target=self.read, args=(pair[0], waiting), daemon=True).start()
                threading.Thread(target=self.write, args=(pair[1], waiting), daemon=True).start()

    def read(self, sock, waiting):
        data = True
        while data:
            try:
                data = sock.recv(1 << 18)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.delay_s, data))

    @staticmethod
    def write(sock, waiting):
        while True:
            due, data = waiting.get()
            time.sleep(max(0, due - time.monotonic()))
            try:
                if not data:
                    return sock.shutdown(socket.SHUT_WR)
                sock.sendall(data)
            except OSError:
                return

    def close(self):
        self.listener.close()
        for s in self.sockets:
            s.close()


@pytest.fixture
def far(web, make_app, name):
    """far(handler): the app's answers come over a line of half a second each way and back. Returns the client."""
    made = []

    def make(handler):
        app, line = make_app(handler), DelayLine(web.broker_port, 0.25)
        argv = [program("client"), "-v", app.url, f"ws://127.0.0.1:{line.port}/"]
        client = Process(web.directory, f"far-{free_port()}", argv, environment(PIPEGATE_TOKEN=token(name)))
        made.append((client, line))
        client.wait_log("kind=PONG")
        wait_until(lambda: f"conn={name} " in web.broker.log(), "the broker knows the tunnel")
        return client

    yield make
    for client, line in made:
        client.stop()
        client.close()
        line.close()


def test_a_response_from_far_away(web, far, name):
    total, most, h = 12 * MIB, 0, hashlib.sha256()
    far(send_big(total))
    caller = Caller(web.port)
    caller.request("GET", f"/{name}/x")
    assert caller.head()[0] == 200
    for p in caller.pieces():
        h.update(p)
        most = most or int(web.metrics()["pipegate_window_bytes"])
    assert h.hexdigest() == digest_of(total)
    assert most > 0, "the window has grown"
    web.wait_empty()
    web.wait_metric("pipegate_window_bytes", 0)


def test_a_request_to_far_away(web, far, name):
    total, got = 8 * MIB, hashlib.sha256()

    def handler(request, connection):
        for p in request.body_pieces():
            got.update(p)
        connection.answer(body=b"ok")

    client = far(handler)
    body = b"".join(pieces(total))
    r = web.call("POST", f"/{name}/x", body=body)
    assert (r.status, got.hexdigest()) == (200, hashlib.sha256(body).hexdigest())
    assert "window.grown" in client.log()


def test_a_websocket_from_far_away(web, far, name):
    total, most, h = 12 * MIB, 0, hashlib.sha256()

    def handler(request, connection):
        open_handshake(request, connection)
        for p in pieces(total):
            connection.send(frame(BINARY, p))
        connection.send(frame(CLOSE, b"\x03\xe8"))
        connection.wait_peer_gone()
        return False

    far(handler)
    caller = WebSocketCaller(web.port, f"/{name}/x").opened()
    while (got := read_frame(caller.file))[0] != CLOSE:
        h.update(got[2])
        most = max(most, int(web.metrics()["pipegate_window_bytes"]))
    assert h.hexdigest() == digest_of(total)
    assert most > 0, "the window has grown"
    caller.close()
