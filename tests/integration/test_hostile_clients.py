"""Tunnel clients with a valid token and bad intent, v2 byte by byte and v1 text by text. Whatever they send affects only
their own callers, which get 502, an evident cut, or a response without the forged part."""
import base64
import json
import threading

import pytest

from harness import PATIENCE_S, SANITIZED, Caller, V1Client, token, wait_until
from test_hostile import GOOD_HEAD, HELLO, bad_client, fields, v2
from test_websockets import BINARY, CLOSE, PING, PONG, TEXT, frame, read_frame

HELLO_, OPEN, HEAD, DATA, WINDOW, RESET, GOAWAY, PING_, PONG_ = range(1, 10)
END = 1
FORGED = ["Status", "X-Sendfile", "X-Sendfile2", "X-Accel-Redirect", "X-Accel-Buffering", "X-LIGHTTPD-send-file",
          "X-LIGHTTPD-send-tempfile", "X-Pipegate-Error", "x-pipegate-anything"]


def head(*pairs, status=b"200", body=b"", stream=1, flags=END):
    text = fields((b":status", status), (b":origin", b"http://127.0.0.1"), *pairs)
    return v2(HEAD, stream, len(text).to_bytes(4, "big") + text + body, flags)


RIGHT = head(body=b"right")
BAD = (502, True, "bad-response; delivered=maybe")
LOST = (502, True, "tunnel-lost; delivered=maybe")


def open_hostile(web, name, hello=HELLO):
    bad = bad_client(web, name)
    bad.send(frame(BINARY, hello, masked=True))
    wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
    return bad


def ask(web, path, outcome):
    try:
        r = web.get(path)
        outcome.update(answer=(r.status, r.complete, r.error), response=r)
    except ConnectionError:
        outcome["answer"] = "cut"


def answer_with(web, name, bad, *messages):
    """A caller sends a request; on its arrival the client sends all of these bytes. Returns the caller's response."""
    outcome = {}
    thread = threading.Thread(target=ask, args=(web, f"/{name}/x", outcome), daemon=True)
    thread.start()
    while b"x-forwarded-for" not in read_frame(bad.file)[2]:
        pass
    for m in messages:
        try:
            bad.send(frame(BINARY, m, masked=True))
        except ConnectionError:
            break  # it was thrown out
    thread.join(PATIENCE_S)
    return outcome


def still_well(web, good_name):
    assert web.get(f"/{good_name}/x").status == 200
    web.wait_empty()


V2_ANSWERS = {
    # heads
    "NUL in a name": (BAD, [head((b"a\0b", b"x"))]),
    "NUL in a value": (BAD, [head((b"a", b"x\0y"))]),
    "CR in a name": (BAD, [head((b"a\rb", b"x"))]),
    "LF in a name": (BAD, [head((b"a\nb", b"x"))]),
    "CR in a value": (BAD, [head((b"a", b"x\ry"))]),
    "LF in a value": (BAD, [head((b"a", b"x\ny"))]),
    "DEL in a value": (BAD, [head((b"a", b"x\x7fy"))]),
    "a name with a colon": (BAD, [head((b"a:b", b"x"))]),
    "a name with a space": (BAD, [head((b"a b", b"x"))]),
    "an empty name": (BAD, [head((b"", b"x"))]),
    "a name with high bytes": (BAD, [head(("é".encode(), b"x"))]),
    "no status": (BAD, [v2(HEAD, 1, len(fields((b"a", b"b"))).to_bytes(4, "big") + fields((b"a", b"b")), END)]),
    "two lengths": (BAD, [head((b"content-length", b"5"), (b"content-length", b"6"), body=b"right")]),
    "a negative length": (BAD, [head((b"content-length", b"-1"), body=b"right")]),
    "a huge length": (BAD, [head((b"content-length", b"9" * 30), body=b"right")]),
    "a length with a plus": (BAD, [head((b"content-length", b"+5"), body=b"right")]),
    "a length of words": (BAD, [head((b"content-length", b"five"), body=b"right")]),
    "a list of lengths": (BAD, [head((b"content-length", b"5, 6"), body=b"right")]),
    "10,000 headers": (BAD, [head(*[(b"a%d" % i, b"") for i in range(10000)])]),
    "a head of 70,000 bytes": (BAD, [head((b"a", b"x" * 70000))]),
    "a head of 1 MiB": (LOST, [head((b"a", b"x" * (1 << 20)))]),
    "a head that is longer than its frame": (BAD, [v2(HEAD, 1, b"\xff\xff\xff\xff" + GOOD_HEAD, END)]),
    **{f"status {s.decode()}": (BAD, [head(status=s)]) for s in
       (b"-1", b"0", b"99", b"100", b"101", b"199", b"600", b"999", b"0200", b"2e2", b"+200", b"200 OK", b" 200", b"9" * 40, b"")},
    # streams
    "twice": ((200, True, None), [RIGHT + head(body=b"wrong")]),
    "twice, in two messages": ((200, True, None), [RIGHT, head(body=b"wrong")]),
    "a second head before the end": ((200, False, None), [head(body=b"right", flags=0) + head(status=b"404")]),
    "data after the end": ((200, True, None), [RIGHT + v2(DATA, 1, b"more", END) + v2(DATA, 1, bytes(100000))]),
    "data before the head": (BAD, [v2(DATA, 1, b"data")]),
    "on stream 0": ((200, True, None), [head(stream=0, body=b"wrong") + v2(DATA, 0, b"x", END) + v2(RESET, 0, b"\x01\0") + RIGHT]),
    "for streams that are not": ((200, True, None), [b"".join(head(stream=s, body=b"wrong") for s in (2, 3, 77, 2**31, 2**32 - 1)) + RIGHT]),
    "OPEN from a client": ((200, True, None), [v2(OPEN, 1, b"\0\0\0\0", END) + v2(OPEN, 9, b"\0\0\0\0", END) + RIGHT]),
    "HELLO again": ((200, True, None), [HELLO + HELLO + RIGHT]),
    "frames of a later version": ((200, True, None), [v2(99, 1, b"x" * 100, 255) + v2(0, 1, b"") + v2(255, 0, b"") + RIGHT]),
    "100,000 windows for nobody": ((200, True, None), [v2(WINDOW, 5, b"\0\0\0\1") * 10000] * 10 + [RIGHT]),
    "100,000 pings": ((200, True, None), [v2(PING_, 0, b"12345678") * 10000] * 10 + [RIGHT]),
    "100,000 pongs for no ping": ((200, True, None), [v2(PONG_, 0, b"12345678") * 10000] * 10 + [RIGHT]),
    "pings and pongs of a wrong size": ((200, True, None), [b"".join(v2(t, 0, bytes(n)) for t in (PING_, PONG_) for n in (0, 7, 9, 10000)) + RIGHT]),
    "pings and pongs on streams": ((200, True, None), [v2(PING_, 1, bytes(8)) + v2(PONG_, 1, bytes(8)) + v2(PING_, 77, bytes(8)) + RIGHT]),
    "10,000 goodbyes": ((200, True, None), [v2(GOAWAY, 0, b"") * 10000, RIGHT]),
    "a window that overflows": (BAD, [v2(WINDOW, 1, b"\x7f\xff\xff\xff") * 2]),
    "a window of 2^32-1": (BAD, [v2(WINDOW, 1, b"\xff\xff\xff\xff")]),
    "a window of 3 bytes": (BAD, [v2(WINDOW, 1, b"\0\0\1")]),
    "a window of nothing": (BAD, [v2(WINDOW, 1, b"")]),
    "a window of 0": ((200, True, None), [v2(WINDOW, 1, b"\0\0\0\0") * 1000 + RIGHT]),
    "an overdrawn window": ((200, False, None), [head(flags=0)] + [v2(DATA, 1, bytes(100000)) * 2] * 20),
    "a reset of no bytes": ((504, True, "target-unreachable; delivered=maybe"), [v2(RESET, 1, b"")]),
    "a reset of an unknown number": ((504, True, "target-unreachable; delivered=maybe"), [v2(RESET, 1, b"\xff\xff" * 30)]),
    "a reset as if by the broker": ((504, True, "target-unreachable; delivered=maybe"), [v2(RESET, 1, bytes([9, 1]))]),
    "a body coded in more than chunks": (BAD, [head((b"transfer-encoding", b"gzip, chunked"), body=b"right")]),
    "chunks in chunks": (BAD, [head((b"transfer-encoding", b"chunked, chunked"), body=b"right")]),
    "a reset after the head": ((200, False, None), [head(flags=0, body=b"right") + v2(RESET, 1, b"\x0c\1")]),
    # frames and messages
    "a frame cut short": (LOST, [RIGHT[:-2]]),
    "a frame of 4 GB": (LOST, [b"\3\0\0\0" + b"\0\0\0\1" + b"\xff\xff\xff\xff"]),
    "noise": (LOST, [bytes(range(256))]),
    "an empty message": ((200, True, None), [b"", RIGHT]),
}


@pytest.mark.parametrize("what", V2_ANSWERS)
def test_v2_answers(web, make_app, name, what):
    expected, messages = V2_ANSWERS[what]
    web.client(make_app().url, f"{name}-good")
    bad = open_hostile(web, name)
    outcome = answer_with(web, name, bad, *messages)
    got = outcome["answer"]
    if expected == (200, False, None):  # a cut, which the web server may show before the head left it
        assert got == "cut" or got == expected or got[0] in (500, 502, 503), got
    else:
        assert got == expected, got
    if expected == (200, True, None):
        assert outcome["response"].body == b"right"
    if expected != LOST and what != "10,000 goodbyes":
        bad.send(frame(PING, b"well?", masked=True))
        while read_frame(bad.file)[:1] != (PONG,):
            pass  # the tunnel lives
    bad.close()
    still_well(web, f"{name}-good")


def test_v2_forged_headers(web, name):
    bad = open_hostile(web, name)
    forged = [(n.encode(), b"/etc/passwd") for n in FORGED] + [(n.lower().encode(), b"/etc/passwd") for n in FORGED]
    hops = [(n, b"x-kept, chunked, upgrade") for n in (b"connection", b"upgrade", b"keep-alive", b"trailer")]
    hops.append((b"transfer-encoding", b"chunked"))
    outcome = answer_with(web, name, bad, head((b"x-mine", b"1"), *forged, *hops, (b":late", b"x"), body=b"right"))
    r = outcome["response"]
    assert (r.status, r.body, r.complete, r.error, r.header("x-mine")) == (200, b"right", True, None, "1")
    assert not any("passwd" in v for _, v in r.headers), r
    assert not any(n.lower() in ("upgrade", "trailer") or n.startswith(":") for n, _ in r.headers), r
    bad.close()


@pytest.mark.parametrize("sent", [3, 8])
def test_v2_a_body_of_another_length(web, name, sent):
    """Declared length 5. No caller takes the body for complete, and no surplus byte becomes part of the next response."""
    bad = open_hostile(web, name)
    caller = Caller(web.port)
    caller.request("GET", f"/{name}/x")
    while b"x-forwarded-for" not in read_frame(bad.file)[2]:
        pass
    bad.send(frame(BINARY, head((b"content-length", b"5"), body=b"12345HTTP/1.1 200 evil\r\n\r\n"[:sent]), masked=True))
    try:
        r = caller.response()
        assert r.status >= 500 or not r.complete or r.body == b"12345", r
    except ConnectionError:
        pass
    caller.sock.settimeout(3)
    try:
        assert b"evil" not in caller.file.read1(1000)
    except OSError:
        pass
    caller.close()
    bad.close()
    web.wait_empty()


def test_v2_answers_for_another_tunnel(web, make_app, name):
    """Stream ids are per tunnel: a client that responds to all likely ids reaches no caller of another tunnel."""
    go, there = threading.Event(), threading.Event()

    def hold(request, connection):
        there.set()
        go.wait(PATIENCE_S)
        connection.answer(body=b"mine")

    web.client(make_app(hold).url, name)
    thief = open_hostile(web, f"{name}-thief")
    outcome = {}
    thread = threading.Thread(target=ask, args=(web, f"/{name}/x", outcome), daemon=True)
    thread.start()
    assert there.wait(PATIENCE_S)
    for kind in (head, lambda stream: v2(RESET, stream, b"\x0c\0"), lambda stream: v2(DATA, stream, b"stolen", END)):
        thief.send(frame(BINARY, b"".join(kind(stream=s) for s in range(200)), masked=True))
    thief.send(frame(PING, b"", masked=True))
    while read_frame(thief.file)[0] != PONG:
        pass
    go.set()
    thread.join(PATIENCE_S)
    assert outcome["response"].body == b"mine"
    thief.close()


@pytest.mark.parametrize("numbers", [
    ((b"max-streams", b"-1"), (b"window", b"-1")), ((b"max-streams", b"0"), (b"window", b"0")),
    ((b"max-streams", b"9" * 40), (b"window", b"9" * 40)), ((b"max-streams", b"x"), (b"window", b"")),
    ((b"max-streams", b"4294967297"), (b"window", b"4294967297")), ((b"window", b"1"), (b"instance", b"\0" * 32)),
    ((b"instance", b"x" * 5000), (b"agent", b"\r\n" * 500)),
], ids=lambda n: n[0][1][:12].hex() + "-" + n[1][0].decode())
def test_v2_numbers_in_the_greeting(web, name, numbers):
    bad = open_hostile(web, name, v2(HELLO_, 0, fields((b"version", b"2"), *numbers)))
    assert answer_with(web, name, bad, RIGHT)["response"].body == b"right"
    bad.close()


# --- WebSocket ---


def raw_frame(first, second, payload=b"", mask=b"\0\0\0\0"):
    return bytes([first, second]) + mask + payload


@pytest.mark.parametrize("protocol", ["pipegate.v2", None], ids=["v2", "v1"])
@pytest.mark.parametrize("data", [
    raw_frame(0xC2, 0x85, b"bombs"),  # compressed, which was not negotiated
    raw_frame(0x83, 0x85, b"xxxxx"),  # reserved opcode
    raw_frame(0x09, 0x85, b"xxxxx"),  # a Ping in fragments
    raw_frame(0x89, 0xFE, b"\0\xff"[:0], b"\0\xff\0\0") + bytes(300),  # a long Ping
    raw_frame(0x82, 0xFF, b"", b"\xff\xff\xff\xff") + b"\xff\xff\xff\xff" + bytes(4),  # 2^64 bytes
    b"\x82\x05plain",  # not masked
    raw_frame(0x80, 0x85, b"xxxxx"),  # continues a message that never began
    raw_frame(0x88, 0x81, b"x"),  # Close with half a code
    raw_frame(0x88, 0x82, b"\0\0"),  # and with an impossible one
    b"\xff" * 3000, bytes(3000),
], ids=lambda d: d[:4].hex() + f"-{len(d)}")
def test_frames_against_the_rules(web, name, protocol, data):
    bad = bad_client(web, name, protocol)
    wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
    if protocol:
        bad.send(frame(BINARY, HELLO, masked=True))
    bad.send(data)
    try:
        bad.send(frame(CLOSE, b"\x03\xe8", masked=True))
        bad.sock.shutdown(1)
        while read_frame(bad.file) is not None:
            pass
    except (OSError, AssertionError):
        pass
    wait_until(lambda: f"tunnel.closed conn={name} " in web.broker.log(), "it has left")
    bad.close()
    assert web.get("/healthz").status == 200


@pytest.mark.parametrize("protocol", ["pipegate.v2", None], ids=["v2", "v1"])
def test_compression_is_not_agreed_on(web, name, protocol):
    """So compression bombs are impossible."""
    caller = Caller(web.broker_port)
    caller.request("GET", f"/?token={token(name)}", [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"),
        *([("Sec-WebSocket-Protocol", protocol)] if protocol else [])])
    status, headers = caller.head()
    assert status == 101 and "sec-websocket-extensions" not in [n.lower() for n, _ in headers]
    caller.close()


def test_fragments_of_a_v1_message_without_end(web, name):
    bad = bad_client(web, name, protocol=None)
    try:
        bad.send(frame(TEXT, b"x" * 60000, final=False, masked=True))
        for _ in range(300):
            bad.send(frame(0, b"x" * 60000, final=False, masked=True))
    except ConnectionError:
        pass
    try:
        while (got := read_frame(bad.file)) is not None and got[0] != CLOSE:
            pass
        assert got is None or got[2][:2] == (1009).to_bytes(2, "big")
    except ConnectionError:
        pass
    wait_until(lambda: f"conn={name} " in web.broker.log() and "code=1009" in web.broker.log().split(f"closed conn={name} ")[-1],
               "closed for its size")
    bad.close()


@pytest.mark.parametrize("protocol", ["pipegate.v2", None], ids=["v2", "v1"])
def test_a_client_that_reads_nothing(make_web, make_app, server, protocol):
    """Its callers get 504 in time, the bytes that wait for it are limited, and its silence ends the tunnel."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web(PIPEGATE_RESPONSE_TIMEOUT=1, PIPEGATE_MAX_QUEUE_DEPTH=1000)
    web.client(make_app().url, "good")
    bad = bad_client(web, "bad", protocol)
    if protocol:
        bad.send(frame(BINARY, v2(HELLO_, 0, fields((b"version", b"2"), (b"window", b"999999999"))), masked=True))
    wait_until(lambda: "conn=bad " in web.broker.log(), "the tunnel is known")
    before, descriptors = web.broker.rss_kib(), web.broker.descriptors()
    outcomes = []

    def upload():
        try:
            outcomes.append(web.call("POST", "/bad/x", body=bytes(600000)).status)
        except ConnectionError:
            outcomes.append("cut")

    for _ in range(4):
        threads = [threading.Thread(target=upload, daemon=True) for _ in range(50)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE_S)
    assert set(outcomes) <= {504, 502, 503} and len(outcomes) == 200, outcomes
    assert SANITIZED or web.broker.rss_kib() < before + 100 * 1024, "200 uploads of 600,000 bytes are 117 MiB"
    assert web.get("/good/x").status == 200
    assert web.get("/good/x").status == 200
    wait_until(lambda: "tunnel.closed conn=bad " in web.broker.log(), "given up after 30 s of silence")
    assert web.get("/good/x").status == 200 and "tunnel.closed conn=good " not in web.broker.log()
    wait_until(lambda: web.broker.descriptors() < descriptors, "its socket is closed")
    bad.close()
    web.wait_empty()


# --- v1 ---


def test_v1_forged_headers_in_any_case(web, name):
    forged = {n: "/etc/passwd" for n in FORGED + [n.lower() for n in FORGED] + [n.upper() for n in FORGED]}
    web.v1(name, lambda m: V1Client.answer(m, 200, {**forged, "x-mine": "1"}, b"right"))
    r = web.get(f"/{name}/x")
    assert (r.status, r.body, r.error, r.header("x-mine")) == (200, b"right", None, "1")
    assert not any("passwd" in v for _, v in r.headers), r


DEEP = "[" * 100000
V1_FIELDS = {
    "10,000 headers": {"headers": json.dumps({f"a{i}": "" for i in range(10000)})},
    "a head of 1 MiB": {"headers": json.dumps({"a": "x" * (1 << 20)})},
    "nested headers": {"headers": DEEP}, "nested objects": {"headers": '{"a":' * 100000},
    "a nested value": {"headers": '{"a":' + DEEP}, "a nested status": {"status_code": [[[[200]]]]},
    "a name of the wire": {"headers": '{":status": "500"}'}, "CR LF in a name": {"headers": '{"a\\r\\nb": "x"}'},
    "NUL in a name": {"headers": '{"a\\u0000b": "x"}'}, "NUL in a value": {"headers": '{"a": "x\\u0000y"}'},
    "half a surrogate": {"headers": '{"a": "\\ud800"}'}, "headers twice": {"headers": '{"a": "x", "a": 7}'},
    "status -200": {"status_code": -200}, "status 2^64": {"status_code": 2**64 + 200}, "status 10^30": {"status_code": 10**30}, "status 200.5": {"status_code": 200.5},
    "status text": {"status_code": "200"}, "no base64": {"body": "%%%%"}, "half base64": {"body": "QUJ"}, "null": {"body": None},
}


@pytest.mark.parametrize("what", V1_FIELDS)
def test_v1_answers(web, name, what):
    def handler(message):
        answer = V1Client.answer(message, 200, {}, b"right")
        if message["url_path"] == "bad":
            answer.update(V1_FIELDS[what])
        return answer

    peer = web.v1(name, handler)
    r = web.get(f"/{name}/bad")
    assert (r.status, r.error) == (502, "bad-response; delivered=maybe"), r
    assert web.get(f"/{name}/good").status == 200
    assert not peer.closed.is_set(), "the tunnel lives"


@pytest.mark.parametrize("prefix, suffix", [("", "x"), ("[", "]"), ('{"a":' * 5000, "}" * 5000), (DEEP, ""), ("\ufeff", "")])
def test_v1_texts_that_are_no_answer(web, name, prefix, suffix):
    """They are ignored, although they contain the right response."""
    def handler(message):
        answer = V1Client.answer(message, 200, {}, b"right")
        peer.loop.create_task(peer.socket.send(prefix + json.dumps({**answer, "body": base64.b64encode(b"wrong").decode()}) + suffix))
        return answer

    peer = web.v1(name, handler)
    assert web.get(f"/{name}/x").body == b"right"


def test_v1_invalid_utf8(web, name):
    """RFC 6455 8.1 asks for a Close; ignoring it is acceptable too. It is not accepted as a response."""
    bad = bad_client(web, name, protocol=None)
    wait_until(lambda: f"conn={name} " in web.broker.log(), "the tunnel is known")
    outcome = {}
    thread = threading.Thread(target=ask, args=(web, f"/{name}/x", outcome), daemon=True)
    thread.start()
    while (got := read_frame(bad.file))[0] != TEXT:
        pass
    answer = json.dumps(V1Client.answer(json.loads(got[2]), 200, {}, b"right")).encode()
    bad.send(frame(TEXT, answer[:-1] + b', "x": "\xff\xfe"}', masked=True))
    bad.send(frame(TEXT, answer, masked=True))
    thread.join(PATIENCE_S)
    assert outcome["answer"] == LOST or outcome["response"].body == b"right"
    bad.close()
