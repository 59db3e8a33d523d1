"""The tunnel listener (contract section 4): tokens, v1 details, plain requests. No web server is involved, except
where a request must arrive through one."""
import base64
import json
import socket
import threading
import time

import pytest

from harness import PATIENCE_S, UNDER, Caller, V1Client, token, wait_until
from test_hostile import bad_client
from test_websockets import PING, PONG, WebSocketCaller, frame, read_frame

NOW = int(time.time())


def close_of(web, query="", headers=None):
    peer = V1Client(f"ws://127.0.0.1:{web.broker_port}/{query}", headers=headers)
    assert peer.opened.wait(PATIENCE_S) and peer.error is None, peer.error
    return peer.wait_closed()


def swap_alg(text, alg):
    head = base64.urlsafe_b64encode(json.dumps({"alg": alg, "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return head + "." + text.split(".", 1)[1]


@pytest.mark.parametrize("query, reason", [
    ("", "Missing token"),
    ("?token=", "Missing token"),
    ("?other=1", "Missing token"),
    ("?token=garbage", "Invalid token"),
    ("?token=a.b.c", "Invalid token"),
    ("?token=" + token(exp=NOW - 10), "Token expired"),
    ("?token=" + token(exp=None), "Invalid token"),
    ("?token=" + token(nbf=NOW + 1000), "Token not yet valid"),
    ("?token=" + token(secret="another"), "Invalid token"),
    ("?token=" + token(secret="another", exp=NOW - 10), "Invalid token"),
    ("?token=" + token()[:-4] + "AAAA", "Invalid token"),
    ("?token=" + token().rsplit(".", 1)[0] + ".", "Invalid token"),
    ("?token=" + token(alg="none"), "Invalid token"),
    ("?token=" + swap_alg(token(), "none"), "Invalid token"),
    ("?token=" + token(alg="HS512"), "Invalid token"),
    ("?token=" + swap_alg(token(), "RS256"), "Invalid token"),
    ("?token=" + token(iss="other"), "Invalid token"),
    ("?token=" + token(aud="other"), "Invalid token"),
    ("?token=" + token(iss=None), "Invalid token"),
    ("?token=" + token(sub="a/b"), "Invalid token"),
    ("?token=" + token(sub=""), "Invalid token"),
    ("?token=" + token(sub=None), "Invalid token"),
    ("?token=" + token(sub="x" * 65), "Invalid token"),
    ("?token=" + token(sub="healthz"), "Invalid token"),
    ("?token=" + token(sub=7), "Invalid token"),
])
def test_refused_tokens(web, query, reason):
    assert close_of(web, query) == (1008, reason)


def test_authorization(web, name):
    assert close_of(web, "?token=" + token(), {"Authorization": "Bearer garbage"}) == (1008, "Invalid token")
    peer = V1Client(f"ws://127.0.0.1:{web.broker_port}/?token=garbage", headers={"Authorization": f"Bearer {token(name)}"})
    peer.wait_open()
    wait_until(lambda: f"conn={name} " in web.broker.log(), "accepted")
    peer.close()
    # RFC 9110 11.4 has 1*SP
    assert close_of(web, "", {"Authorization": f"Bearer   {token(sub=name, exp=1)}"}) == (1008, "Token expired")
    assert close_of(web, "?token=" + token(), {"Authorization": "Bearer  "}) == (1008, "Invalid token")


def padded(size, sub):
    """A valid token of this many bytes."""
    claims = dict(exp=NOW + 3600, pad="")
    least = (size - len(token(sub, **claims))) * 3 // 4 - 3
    for pad in range(least, least + 6):
        text = token(sub, **{**claims, "pad": "x" * pad})
        if len(text) == size:
            return text
    raise AssertionError(size)


@pytest.mark.parametrize("where", ["query", "header"])
def test_a_token_of_8_kib(web, name, where):
    """One byte more is refused, although it is valid."""
    def ask(text):
        if where == "query":
            return f"?token={text}", None
        return "", {"Authorization": f"Bearer {text}"}

    query, headers = ask(padded(8192, name))
    peer = V1Client(f"ws://127.0.0.1:{web.broker_port}/{query}", headers=headers).wait_open()
    wait_until(lambda: f"conn={name} " in web.broker.log(), "accepted")
    peer.close()
    assert close_of(web, *ask(padded(8193, name))) == (1008, "Invalid token")


def test_tokens_are_never_logged(web, name):
    text = token(name)
    peer = V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={text}").wait_open()
    close_of(web, "?token=" + text[:-3] + "xyz")
    peer.close()
    for part in text.split(".")[1:]:
        assert part not in web.broker.log()


def raw(web, data):
    with socket.create_connection(("127.0.0.1", web.broker_port), timeout=PATIENCE_S) as s:
        s.sendall(data)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize("data, status", [
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    (b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"HEAD /x HTTP/1.1\r\nHost: x\r\nbad\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"garbage\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 40000, 431),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n", 426),
    (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
     b"Sec-WebSocket-Key: short\r\n\r\n", 400),
], ids=lambda v: f"{v[:20]!r}-{len(v)}" if isinstance(v, bytes) else None)
def test_plain_requests_at_the_listener(web, data, status):
    answer = raw(web, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    head, body = answer.decode().split("\r\n\r\n", 1)
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert (body == "") == data.startswith(b"HEAD"), answer
    assert headers["cache-control"] == "no-store" and len(headers["x-pipegate-correlation-id"]) == 32
    if status != 200:
        assert headers["x-pipegate-error"] == f"{'not-found' if status == 404 else 'bad-request'}; delivered=no"
        assert not body or "detail" in json.loads(body)
    assert headers.get("sec-websocket-version") == ("13" if status == 426 else None)


def test_own_answer_as_a_page(web):
    data = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n" + b"X: y\r\n" * 300 + b"\r\n"
    answer = raw(web, data)
    assert answer.startswith(b"HTTP/1.1 431 ") and b"text/html" in answer and b"<h1>431" in answer


def test_v1_large_request(web, name):
    """Over PIPEGATE_V1_MESSAGE_BYTES: the original's WebSocket library would drop the tunnel."""
    peer = web.v1(name)
    r = web.call("POST", f"/{name}/x", body=b"x" * 1000000)
    assert r.status == 413 and r.error.startswith("body-too-large")
    assert web.call("POST", f"/{name}/x", body=b"x" * 500000).status == 200
    assert len(peer.received) == 1 and len(base64.b64decode(peer.received[0]["body"])) == 500000


def test_v1_methods(web, name):
    web.v1(name)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        body = b"" if method in ("POST", "PUT", "PATCH") else None
        assert web.call(method, f"/{name}/x", body=body).status == 200
    r = web.call("PROPFIND", f"/{name}/x")
    assert (r.status, r.error) == (501, "unsupported-by-client; delivered=no")


def test_v1_noise_is_ignored(web, name):
    def handler(message):
        for noise in ("not json", "[]", "{}", "7", '{"correlation_id": 7}', '{"correlation_id": "nobody"}',
                      '{"correlation_id": "00000000-0000-0000-0000-000000000000", "headers": "{}", "body": "",'
                      ' "status_code": 200}', "[" * 100000, '"\\ud800"'):
            peer.loop.create_task(peer.socket.send(noise))
        peer.loop.create_task(peer.socket.send(b"\x00\xff\x00 binary"))
        return V1Client.answer(message, 200, {}, b"good")

    peer = web.v1(name, handler)
    assert web.get(f"/{name}/x").body == b"good"
    assert web.get(f"/{name}/x").body == b"good"
    assert not peer.closed.is_set()


def test_v1_answers_for_another_tunnel_are_ignored(web, name):
    thief = web.v1(name + "-thief")

    def handler(message):
        thief.send(V1Client.answer(message, 200, {}, b"stolen"))
        return V1Client.answer(message, 200, {}, b"mine")

    web.v1(name, handler)
    for _ in range(5):
        assert web.get(f"/{name}/x").body == b"mine"


def test_v1_answers_twice(web, name):
    def handler(message):
        peer.loop.create_task(peer.socket.send(json.dumps(V1Client.answer(message, 200, {}, b"first"))))
        peer.loop.create_task(peer.socket.send(json.dumps(V1Client.answer(message, 500, {}, b"second"))))

    peer = web.v1(name, handler)
    for _ in range(5):
        assert web.get(f"/{name}/x").body == b"first"
    web.wait_empty()


def test_v1_large_answers(web, name):
    # Under valgrind the broker needs longer for 11 MiB of JSON than the responder waits for a sign of life.
    sizes = {"ok": (1 if UNDER else 11) * 1024 * 1024, "big": 13 * 1024 * 1024}
    peer = web.v1(name, lambda m: V1Client.answer(m, 200, {}, b"x" * sizes[m["url_path"]]))
    assert len(web.get(f"/{name}/ok").body) == sizes["ok"]
    r = web.get(f"/{name}/big")
    assert (r.status, r.error) == (502, "tunnel-lost; delivered=maybe")
    assert peer.wait_closed()[0] == 1009


def test_v1_decoded_bodies(web, name):
    """The original's client decodes bodies and keeps the header: the broker corrects length and coding."""
    web.v1(name, lambda m: V1Client.answer(m, 200, {"content-encoding": "gzip", "content-length": "3",
                                                    "transfer-encoding": "chunked"}, b"not gzip at all"))
    r = web.get(f"/{name}/x")
    assert (r.body, r.header("content-length"), r.header("content-encoding")) == (b"not gzip at all", "15", None)


def test_v1_lengths(web, name):
    """The length of a response is that of the received body, not of the compressed one; for HEAD it is the app's."""
    said = {"gone": {"content-encoding": "gzip", "content-length": "20"}, "none": {}}
    web.v1(name, lambda m: V1Client.answer(m, 200, said[m["url_path"]], b""))
    for method, path, length, coding in (("GET", "gone", "0", None), ("POST", "gone", "0", None), ("HEAD", "gone", "20", "gzip"),
                                         ("HEAD", "none", None, None), ("GET", "none", "0", None)):
        r = web.call(method, f"/{name}/{path}", body=b"" if method == "POST" else None)
        assert (r.status, r.body, r.complete, r.error) == (200, b"", True, None), (method, path, r)
        assert (r.header("content-length"), r.header("content-encoding")) == (length, coding), (method, path, r)


def test_v1_forged_headers(web, name):
    forged = {"Status": "500 evil", "X-Sendfile": "/etc/passwd", "X-Accel-Redirect": "/x", "X-LIGHTTPD-send-file": "/etc/passwd",
              "x-pipegate-error": "evil", "X-PipeGate-Correlation-Id": "evil", "X-Kept": "1"}
    web.v1(name, lambda m: V1Client.answer(m, 200, forged, b"body"))
    r = web.get(f"/{name}/x")
    assert (r.status, r.body, r.header("x-kept"), r.error) == (200, b"body", "1", None)
    assert not any("evil" in v or "passwd" in v for _, v in r.headers)


def test_v1_own_504(web, name):
    web.v1(name, lambda m: {"correlation_id": m["correlation_id"], "headers": "{}", "body": "", "status_code": 504})
    r = web.get(f"/{name}/x")
    assert (r.status, r.error, r.body) == (504, None, b"")


def test_a_lost_machine_is_a_lost_tunnel(web, name):
    peer = web.v1(name)
    peer.drop()
    wait_until(lambda: f"tunnel.closed conn={name} " in web.broker.log(), "noticed")


def test_idle_tunnels_stay_up(make_web, make_app, server):
    """Two rounds of Pings, for each kind of client."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    web.client(make_app().url, "ours")
    web.v1("theirs")
    raw_client = bad_client(web, "raw", protocol=None)
    wait_until(lambda: web.metrics()["pipegate_tunnels"] == 3, "three tunnels")
    start = time.monotonic()
    for _ in range(2):
        opcode, _, payload = read_frame(raw_client.file)
        assert opcode == PING and payload, "libwebsockets reports no empty Pong"
        raw_client.send(frame(PONG, payload, masked=True))
    assert time.monotonic() - start > 30
    raw_client.send(frame(PONG, b"unasked", masked=True))
    assert "tunnel.closed" not in web.broker.log()
    assert web.get("/ours/x").status == web.get("/theirs/x").status == 200
    # From here on it responds to no Ping.
    wait_until(lambda: "tunnel.closed conn=raw " in web.broker.log(), "given up")
    assert read_frame(raw_client.file)[0] == PING and read_frame(raw_client.file) is None
    assert 50 < time.monotonic() - start < 75
    assert web.metrics()["pipegate_tunnels"] == 2
    raw_client.close()


def test_a_slow_client_is_no_silent_one(make_web, server):
    """It takes longer to read one message than a silent client is kept, and sees our Ping late, because that is behind the message."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web(PIPEGATE_V1_MESSAGE_BYTES=64 << 20)
    slow = WebSocketCaller.__new__(WebSocketCaller)
    Caller.__init__(slow, web.broker_port, receive_buffer=65536)
    slow.request("GET", f"/?token={token('slow')}", [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")])
    assert slow.head()[0] == 101
    wait_until(lambda: "conn=slow " in web.broker.log(), "the tunnel is known")
    caller = Caller(web.port)
    threading.Thread(target=caller.request, args=("POST", "/slow/x", (), bytes(9 << 20)), daemon=True).start()
    start = time.monotonic()
    pause = threading.Event()
    read, pings = b"", 0
    while time.monotonic() - start < 45:
        piece = slow.sock.recv(30000)
        assert piece, "cut"
        read = read[-20:] + piece
        if b"\x89\x08pipegate" in read:
            slow.sock.sendall(b"\x8a\x88\0\0\0\0pipegate")
            read, pings = b"", pings + 1
        pause.wait(0.1)
    assert pings
    assert "tunnel.closed" not in web.broker.log()
    slow.close()
    caller.close()
