"""What a peer may send without limit must not be amplified: no page, log line or reply for each message."""
import re
import time

import pytest

from fastcgi import WebServer
from harness import PATIENCE_S, V1Client, token
from test_clocks import handshake
from test_hostile import HELLO, bad_client
from test_websockets import BINARY, PING, PONG, TEXT, frame, read_frame


def page_faults(process):
    return int(open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[7])


def told(log, event):
    """Returns how many lines of an event there are, plus how many they report as suppressed."""
    lines = [line for line in log.splitlines() if re.match(rf"(\w+ {event} |warn log.suppressed event={event} )", line)]
    shown = sum(" log.suppressed " not in line for line in lines)
    return shown, shown + sum(int(n) for line in lines for n in re.findall(r" suppressed=(\d+)", line))


def is_through(bad):
    """True once the program has processed everything that was sent."""
    bad.send(frame(PING, b"the last one", masked=True))
    while (got := read_frame(bad.file)) != (PONG, True, b"the last one"):
        assert got is not None


def test_pongs_that_nobody_asked_for(web, name, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    bad = bad_client(web, name)
    bad.send(frame(BINARY, HELLO, masked=True))
    is_through(bad)
    before = page_faults(web.broker)
    for _ in range(200):
        bad.send(frame(PONG, b"pipegate", masked=True) * 100)
    is_through(bad)
    assert page_faults(web.broker) - before < 5000  # 20,000 Pongs
    bad.close()


def test_pings_of_one_that_reads_nothing(web, name, server):
    """They are not each answered: the bytes that wait for a peer are limited."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    bad = bad_client(web, name)
    bad.send(frame(BINARY, HELLO, masked=True))
    before = web.broker.rss_kib()
    for _ in range(2000):
        bad.send(frame(PING, bytes(125), masked=True) * 100)  # 26 MB
    assert web.broker.rss_kib() < before + 4096
    bad.close()


@pytest.mark.parametrize("payload", [b"", b"{}", b"no JSON"])
def test_messages_that_say_nothing(make_web, name, server, payload):
    """The log reports their number, and still has the lines about other peers."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    start = time.monotonic()
    bad = bad_client(web, "bad", protocol=None)
    for _ in range(100):
        bad.send(frame(TEXT, payload, masked=True) * 100)
    is_through(bad)
    other = bad_client(web, "other", protocol=None)
    other.send(frame(TEXT, payload, masked=True))
    is_through(other)
    assert "tunnel.message_ignored conn=other " in web.broker.log()
    bad.close()
    other.close()
    web.broker.stop()
    shown, all_of_them = told(web.broker.log(), "tunnel.message_ignored")
    assert all_of_them == 10001
    assert shown <= 20 + 1 + time.monotonic() - start + 1


def test_refused_tokens(make_web, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    start = time.monotonic()
    for i in range(200):
        s = handshake(web, "/", token("demo", secret=f"guess-{i}"))
        s.settimeout(PATIENCE_S)
        while not s.recv(1000).endswith(b"Invalid token"):
            pass
        s.close()
    late = V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={token('late', exp=1000)}")
    assert late.wait_closed() == (1008, "Token expired")
    assert 'tunnel.refused reason="Token expired" conn=late' in web.broker.log()
    web.broker.stop()
    shown, all_of_them = told(web.broker.log(), "tunnel.refused")
    assert all_of_them == 201 and shown <= 20 + 1 + time.monotonic() - start + 1


def test_requests_for_an_app_that_is_away(make_web, make_app):
    web = make_web()
    app = make_app()
    client = web.client(app.url)
    app.close()
    start = time.monotonic()
    for _ in range(150):
        assert web.get("/demo/x").error == "target-unreachable; delivered=no"
    client.stop()
    shown, all_of_them = told(client.log(), "target.failed")
    assert all_of_them == 150 and shown <= 20 + time.monotonic() - start + 1


def test_a_parameter_of_the_web_server_that_is_wrong(make_web, server):
    """Every request has the wrong parameter; the log does not get a line for every request."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    start = time.monotonic()
    connection = WebServer(web)
    for _ in range(100):
        assert connection.call("/demo/x", PIPEGATE_MOUNT="no/path").status >= 400
    connection.close()
    web.responder.stop()
    shown, all_of_them = told(web.responder.log(), "request.bad_parameter")
    assert all_of_them == 100 and shown <= 20 + time.monotonic() - start + 1
