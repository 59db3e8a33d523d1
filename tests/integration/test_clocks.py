"""Deadlines while others are busy, after a stall of the whole broker, and by whatever clock."""
import signal
import subprocess
import threading
import time

import pytest

from gate import ALIVE, OPEN, STEP, Gate, control, message
from harness import PATIENCE_S, SANITIZED, V1Client, freeze, token, wait_until
from test_bounds import close_code
from test_hostile import HELLO, bad_client, connect, fields
from test_websockets import BINARY, KEY, PING, PONG, TEXT, WebSocketCaller, frame, open_handshake, read_frame


class Traffic:
    """Calls `act` at intervals while the block runs; an exception of it fails the test."""

    def __init__(self, act, every_s):
        self.act, self.every_s, self.error = act, every_s, None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.over.wait(self.every_s):
                self.act()
        except Exception as e:
            self.error = e

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *error):
        self.over.set()
        self.thread.join(PATIENCE_S)
        if self.error:
            raise self.error


def handshake(web, path, tok=None):
    s = connect(web)
    query = f"?token={tok}" if tok else ""
    s.sendall(f"GET {path}{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode())
    return s


def read_to_end(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data


def test_requests_of_one_tenant_postpone_nothing(make_web, make_app):
    """With a request every 30 ms, all other deadlines are still met."""
    web = make_web()
    web.client(make_app().url, "busy")

    def act():
        assert web.get("/busy/x").status == 200

    with Traffic(act, 0.03):
        expires = V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={token('expires', exp=int(time.time()) + 3)}").wait_open()
        no_hello = bad_client(web, "no-hello")
        guesser = handshake(web, "/", token("guess", secret="wrong"))
        half = connect(web)
        half.sendall(b"GET / HTTP/1.1\r\n")
        assert expires.wait_closed() == (1008, "Token expired")
        assert read_to_end(guesser).endswith(b"\x88\x0f\x03\xf0Invalid token")  # and sent no response
        assert read_to_end(half) == b""
        assert close_code(no_hello) == 1002
    for s in (no_hello, guesser, half):
        s.close()


def test_requests_of_one_tenant_keep_no_mute_tunnel(make_web, make_app, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    web.client(make_app().url, "busy")

    def act():
        assert web.get("/busy/x").status == 200

    with Traffic(act, 0.03):
        mute = bad_client(web, "mute")
        mute.send(frame(BINARY, HELLO, masked=True))
        seen = []
        while got := read_frame(mute.file):
            seen.append(got[0])
        assert PING in seen
        web.broker.wait_log('conn=mute tunnel=2 code=1006 reason="connection lost"')
    mute.close()


def test_handshakes_postpone_nothing(make_web, make_app):
    """With several handshakes a second without a token, Pings and the ends of WebSockets are still on time."""
    web = make_web(PIPEGATE_WEBSOCKET_PING=1, PIPEGATE_OFFLINE_WAIT=0)
    go = threading.Event()

    def handler(request, connection):
        open_handshake(request, connection)
        if request.target == "/ends":
            return False
        go.wait(PATIENCE_S)

    web.client(make_app(handler).url)
    before = web.broker.descriptors()

    def act():
        s = handshake(web, "/nobody/x")
        assert read_to_end(s).startswith(b"HTTP/1.1 503")
        s.close()

    with Traffic(act, 0.2):
        silent = WebSocketCaller(web.broker_port, "/demo/x").opened()
        assert silent.next() == (PING, True, b"")
        silent.frame(PONG)
        assert silent.next() == (PING, True, b"")
        left = WebSocketCaller(web.broker_port, "/demo/ends").opened()
        assert left.next() is None
        # It does not close; the broker does, after a while.
        wait_until(lambda: web.broker.descriptors() <= before + 2, "only the silent one is left")
    go.set()
    silent.close()
    left.close()


def test_what_came_while_the_broker_stood_still(make_web, make_app, server):
    """The broker reads what has arrived before it decides which peers were silent: responder, tunnel, pending connection, stream."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web(PIPEGATE_IDLE_TIMEOUT=5)
    late, tick, over = threading.Event(), threading.Event(), threading.Event()

    def stream(request, connection):
        open_handshake(request, connection)
        while not over.is_set():
            connection.send(frame(TEXT, b"tick"))
            tick.wait(1)

    def answer_late(m):
        late.wait(PATIENCE_S)
        return V1Client.answer(m, 200, {}, b"late")

    slow = bad_client(web, "slow")
    slow.send(frame(BINARY, HELLO, masked=True))
    while (got := read_frame(slow.file))[0] != PING:
        pass  # its HELLO; then nothing for 19 s
    ping = got[2]

    web.client(make_app(stream).url, "stream")  # only now: it would give up a broker that is silent for 30 s
    caller = WebSocketCaller(web.broker_port, "/stream/x").opened()
    assert caller.next() == (TEXT, True, b"tick")
    web.v1("late", answer_late)
    corr = bytes(range(16))
    gate = Gate(web.directory / "gate.sock")
    head = fields((b":method", b"GET"), (b":target", b"/"))
    gate.send(message(control(OPEN, number=10000, corr=corr, process=7, identity=b"late", head=head, flags=1)))
    web.wait_metric("pipegate_exchanges_running", 2)
    stranger = connect(web)
    stranger.sendall(b"GET /healthz HTTP/1.1\r\n")
    wait_until(lambda: web.metrics()["pipegate_connections_unauthenticated"] >= 1, "it is in")

    freeze(web.broker.pid)
    slow.send(frame(PONG, ping, masked=True))
    stranger.sendall(b"Host: x\r\n\r\n")
    for _ in range(7):  # longer than any of the silences: 5, 10 and 10 s
        gate.send(message(control(ALIVE, process=7)))
        tick.wait(2)
    web.broker.signal(signal.SIGCONT)

    assert b" 200 OK\r\n" in read_to_end(stranger)
    with Traffic(lambda: gate.send(message(control(ALIVE, process=7))), 1):
        web.broker.wait_log("ready")
        for _ in range(20):
            assert caller.next() == (TEXT, True, b"tick")
        slow.send(frame(PING, b"still there?", masked=True))
        assert read_frame(slow.file) == (PONG, True, b"still there?")
        late.set()
        while not (reply := gate.reply()).over:  # when a hold was over
            gate.send(message(control(STEP, number=10000, corr=corr, process=7, boot=reply.boot)))
    assert not reply.failed and reply.data.endswith(b"late")
    over.set()
    for s in (slow, caller, gate, stranger):
        s.close()


def test_a_clock_that_is_behind(web, name):
    """A token from a machine whose clock is ahead is accepted within a minute, and is not yet valid beyond that."""
    def close_of(**claims):
        c = V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={token(name, **claims)}")
        c.opened.wait(PATIENCE_S)
        return c

    now = int(time.time())
    good = close_of(nbf=now + 30, iat=now + 30)
    web.broker.wait_log(f"conn={name} ")
    assert not good.closed.is_set()
    good.close()
    for claims in ({"nbf": now + 600}, {"iat": now + 600}):
        assert close_of(**claims).wait_closed() == (1008, "Token not yet valid")
    assert close_of(iat="now").wait_closed() == (1008, "Invalid token")
    assert close_of(exp=now - 1).wait_closed() == (1008, "Token expired")


WALL_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long offset_s(void)
{
	long offset = 0;
	FILE *f = fopen(getenv("WALL_CLOCK_OFFSET"), "r");

	if (f != NULL && fscanf(f, "%ld", &offset) != 1)
		offset = 0;
	if (f != NULL)
		fclose(f);
	return offset;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	static int (*real)(clockid_t, struct timespec *);

	if (real == NULL)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, t);
	if (clock == CLOCK_REALTIME)
		t->tv_sec += offset_s();
	return result;
}

time_t time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out != NULL)
		*out = t.tv_sec;
	return t.tv_sec;
}
"""


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's library has to be the first one")
def test_the_wall_clock_jumps(make_web, tmp_path, server):
    """A jump neither ends an open tunnel early nor prolongs it; new tokens are checked against the current clock."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    library, offset = tmp_path / "clock.so", tmp_path / "offset"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], input=WALL_CLOCK, text=True, check=True)
    web = make_web(LD_PRELOAD=library, WALL_CLOCK_OFFSET=offset)

    def jump(seconds):
        new = offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(offset)

    def open_tunnel(sub, life_s):
        url = f"ws://127.0.0.1:{web.broker_port}/?token={token(sub, exp=int(time.time()) + life_s)}"
        return V1Client(url)

    lasting = open_tunnel("lasting", 3600).wait_open()
    for seconds, reason in ((7200, "Token expired"), (-7200, "Token not yet valid")):
        jump(0)
        short = open_tunnel("short", 4).wait_open()
        web.broker.wait_log("conn=short ")
        jump(seconds)
        assert open_tunnel("new", 3600).wait_closed() == (1008, reason)
        assert short.wait_closed() == (1008, "Token expired")  # in its own time
        assert not lasting.closed.is_set() and web.get("/lasting/x").body == b"hello"
    lasting.close()
