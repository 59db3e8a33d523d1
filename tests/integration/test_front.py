"""Odd requests to the shipped configuration: which requests are handshakes, which codings a body may have, where a token may be."""
import socket

import pytest

from test_access_rules import SITES
from test_sites import app  # noqa: F401
from test_websockets import KEY

from harness import PATIENCE_S, Caller, V1Client, token

CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.fixture(params=SITES)
def site(request, make_web, app):  # noqa: F811
    web = make_web(example=None if request.param == "root" else request.param)
    web.host, web.prefix = SITES[request.param]
    web.client(app.url, "my-app")
    return web


def ask(site, connection="Upgrade", version="1.1", upgrade="websocket", method="GET", query=""):
    """Returns the status of a WebSocket handshake, and whether the app received it as one."""
    text = f"{method} {site.prefix}/x{query} HTTP/{version}\r\nHost: {site.host}\r\nUpgrade: {upgrade}\r\n"
    text += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    text += "".join(f"Connection: {line}\r\n" for line in connection.split("|"))
    with socket.create_connection(("127.0.0.1", site.port)) as s:
        s.settimeout(PATIENCE_S)
        s.sendall(text.encode() + b"\r\n")
        return int(s.makefile("rb").readline().split()[1])


def test_what_is_a_handshake(site, app):  # noqa: F811
    """Connection is a list (RFC 9110 5.6.1); HTTP/1.0 knows no upgrade (7.8)."""
    for connection in ("Upgrade", "UPGRADE", "keep-alive, Upgrade", "keep-alive,Upgrade", "keep-alive,\tUpgrade", "Upgrade\t, x",
                       ",,Upgrade", "Upgrade,", " , \t,upgrade ,", "keep-alive|Upgrade"):
        assert ask(site, connection) == 101, connection
        assert "upgrade" in app.seen.pop()
    for words in ({"connection": "Upgrade-Insecure"}, {"connection": "xupgrade"}, {"connection": "x-upgrade, keep-alive"},
                  {"connection": "x upgrade"}, {"connection": "upgrade x"}, {"upgrade": "xwebsocket"}, {"upgrade": "h2c"},
                  {"version": "1.0"}):
        assert ask(site, **words) in (200, 400), words
        assert not any("upgrade" in seen for seen in app.seen), words
        app.seen.clear()


def test_codings_of_a_body(site, app, server):  # noqa: F811
    """A body that is still coded, or coded differently, is not passed on as if it were plain."""
    def post(*codings):
        caller = Caller(site.port)
        caller.request("POST", f"{site.prefix}/x", [("Transfer-Encoding", c) for c in codings], CHUNKS, host=site.host)
        response = caller.response()
        caller.close()
        return response

    for coding in ("chunked", "Chunked", "\tchunked"):
        response = post(coding)
        assert (response.status, response.json()["bytes"], response.header("vary")) == (200, 5, None), coding
    app.seen.clear()
    for codings in (("gzip, chunked",), ("x, chunked",), ("identity, chunked",), ("chunked, chunked",), ("gzip", "chunked"),
                    ("gzip",), ("chunked, gzip",), ("chunked;q=1",)):
        response = post(*codings)
        assert response.status == (400 if server == "apache" else 501), (codings, response)
        if server == "apache" and codings[-1].endswith("chunked"):  # it refuses the others itself
            assert response.error == "bad-request; delivered=no"
    assert app.seen == []


@pytest.mark.parametrize("key", ["token", "%74oken", "toke%6e", "toke%6E", "%74%6f%6b%65%6e"])
def test_a_token_for_the_listener_does_not_reach_the_app(site, app, key):  # noqa: F811
    """A tunnel client connects to the URL of a tunnel, with the key `token` in any spelling."""
    for before in ("", "a=b&", "token=x&", "&&token&"):
        assert ask(site, query=f"?{before}{key}={token('my-app')}") == 400
    assert app.seen == []
    assert ask(site, query=f"?{key}=of-the-app") == 101
    assert len(app.seen) == 1


def test_token_key_in_any_spelling_opens_a_tunnel(web):
    for i, key in enumerate(("%74oken", "toke%6E")):
        tunnel = V1Client(f"ws://127.0.0.1:{web.broker_port}/?{key}={token(f'spelt-{i}')}").wait_open()
        assert web.get(f"/spelt-{i}/").body == b"hello"
        tunnel.close()


@pytest.mark.parametrize("framing", ["Content-Length: 4\r\n\r\nEVIL", "Transfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
                                     "Content-Length: 0\r\n\r\n", "Connection: close\r\n\r\nEVIL"])
@pytest.mark.parametrize("handshake", [False, True])
def test_reset_content_has_none(web, make_app, name, framing, handshake):
    """RFC 9110 15.3.6. Recipients differ in whether a 205 has a body: some would take the next response for it."""
    def handler(request, connection):
        request.body()
        if request.target != "/205":
            return connection.answer(body=b"second")
        connection.send(b"HTTP/1.1 205 Reset Content\r\n" + framing.encode())
        return "close" not in framing

    web.client(make_app(handler).url, name)
    caller = Caller(web.port)
    asks = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)]
    caller.request("GET", f"/{name}/205", asks if handshake else [])
    response = caller.response()
    assert (response.status, response.body, response.all("content-length")) == (205, b"", ["0"]), response
    if not handshake:
        caller.request("GET", f"/{name}/next")
        assert caller.response().body == b"second"
    caller.close()
    web.wait_empty()
