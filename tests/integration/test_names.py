"""Every way to name a tunnel, by the shipped example files, for requests and WebSockets alike (contract 3)."""
import pytest

from http2 import Http2WebSocket
from test_websockets import KEY, TEXT, WebSocketCaller, echo, frame, open_handshake

from harness import App, Caller


def serve(request, connection):
    if request.header("upgrade"):
        connection.seen.append(request)
        return echo(request, connection)
    if request.target.startswith("/redirect"):
        return connection.answer(302, [("Location", "/login"), ("Set-Cookie", "s=1; Path=/")])
    App.echo(request, connection)


@pytest.fixture
def app(make_app):
    seen = []

    def handler(request, connection):
        connection.seen = seen
        return serve(request, connection)

    app = make_app(handler)
    app.seen = seen
    return app


def socket_headers(web, app, target, host):
    """The header fields of a WebSocket handshake as the app receives them."""
    caller = WebSocketCaller(web.port, target, host=host).opened()
    caller.frame(TEXT, b"hello")
    assert caller.next() == (TEXT, True, b"hello")
    caller.close()
    request = app.seen[-1]
    return request.target, {n.lower(): v for n, v in request.headers}


def test_one_tunnel(make_web, app):
    web = make_web(example="one-tunnel")
    web.client(app.url, "my-app")
    r = web.get("/a%20b?x=1", host="my-app.example.org").json()
    headers = {n.lower(): v for n, v in r["headers"]}
    assert r["target"] == "/a%20b?x=1" and "x-forwarded-prefix" not in headers
    assert headers["host"] == headers["x-forwarded-host"] == "my-app.example.org"
    assert web.get("/healthz", host="my-app.example.org").json()["target"] == "/healthz"
    assert web.get("/", host="my-app.example.org").json()["target"] == "/"
    r = web.get("/redirect", host="my-app.example.org")
    assert (r.status, r.header("location"), r.header("set-cookie")) == (302, "/login", "s=1; Path=/")
    for target in ("/live?v=1", "/my-app/x", "/"):
        seen, headers = socket_headers(web, app, target, "my-app.example.org")
        assert seen == target and "x-forwarded-prefix" not in headers
        assert headers["host"] == "my-app.example.org" and headers["x-forwarded-for"] == "127.0.0.1"
    web.wait_empty()


def test_wildcard(make_web, app):
    web = make_web(example="wildcard")
    web.client(app.url, "my-app")
    web.client(app.url, "other", "--host-header", "other")
    for host, name in (("my-app.t.example.org", "my-app.t.example.org"), ("MY-APP.t.example.org:8080", "my-app"),
                       ("other.t.example.org", "other")):
        r = web.get("/a/b?c", host=host)
        assert r.status == 200, (host, r)
        headers = {n.lower(): v for n, v in r.json()["headers"]}
        assert r.json()["target"] == "/a/b?c" and "x-forwarded-prefix" not in headers
        seen, headers = socket_headers(web, app, "/live/x?v=1", host)
        assert seen == "/live/x?v=1" and "x-forwarded-prefix" not in headers
    assert headers["host"] == "other"
    assert web.get("/healthz", host="my-app.t.example.org").json()["target"] == "/healthz"
    for host in ("a.b.t.example.org", "-.-.t.example.org", "%41.t.example.org"):
        assert web.get("/x", host=host).status in (400, 404), host
        assert WebSocketCaller(web.port, "/my-app/x", host=host).response().status in (400, 404, 503), host
    # The suffix's own name is where clients connect, and has nothing for callers (test_sites.py).
    assert web.get("/my-app/x", host="t.example.org").error.startswith("not-found")
    assert web.get("/healthz", host="t.example.org").json() == {"status": "ok"}
    web.wait_empty()


def test_below_a_path(make_web, app):
    web = make_web(example="path")
    (web.directory / "index.html").write_text("the site")
    web.client(app.url, "my-app")
    r = web.get("/tunnels/my-app/x", host="example.org").json()
    assert r["target"] == "/x" and dict(r["headers"])["x-forwarded-prefix"] == "/tunnels/my-app"
    r = web.get("/tunnels/my-app/redirect", host="example.org")
    assert (r.header("location"), r.header("set-cookie")) == ("/tunnels/my-app/login", "s=1; Path=/tunnels/my-app/")
    seen, headers = socket_headers(web, app, "/tunnels/my-app/live", "example.org")
    assert (seen, headers["x-forwarded-prefix"]) == ("/live", "/tunnels/my-app")
    assert web.get("/index.html", host="example.org").body == b"the site"
    assert web.get("/my-app/x", host="example.org").status == 404


SITES = {  # example: host, prefix of the tunnel's URLs
    "one-tunnel": ("my-app.example.org", ""),
    "wildcard": ("my-app.t.example.org", ""),
    "path": ("example.org", "/tunnels/my-app"),
}


@pytest.fixture(params=SITES)
def site(request, make_web):
    web = make_web(example=request.param)
    web.host, web.prefix = SITES[request.param]
    return web


HEADERS = [("Set-Cookie", "a=b; Path=/x"), ("Set-Cookie", "c=d; Path=/my-app/x"), ("Location", "/my-app/y"),
           ("Content-Location", "/y"), ("Set-Cookie", "e=f; Path=/tunnels/my-app/z")]


@pytest.mark.parametrize("status", [101, 302])
def test_paths_in_answers_to_handshakes(site, make_app, status):
    """As in responses to requests: the prefix is neither added twice nor removed."""

    def handler(request, connection):
        if status == 302 or not request.header("upgrade"):
            return connection.answer(302, HEADERS)
        open_handshake(request, connection, HEADERS)
        return False

    site.client(make_app(handler).url, "my-app")
    names = {n.lower() for n, _ in HEADERS}
    wanted = [(n.lower(), v) for n, v in site.get(f"{site.prefix}/x", host=site.host).headers if n.lower() in names]
    assert ("set-cookie", f"a=b; Path={site.prefix}/x") in wanted and ("content-location", f"{site.prefix}/y") in wanted
    caller = WebSocketCaller(site.port, f"{site.prefix}/x", host=site.host)
    got, headers = caller.head()
    assert got == status
    assert sorted((n.lower(), v) for n, v in headers if n.lower() in names) == sorted(wanted)
    caller.close()


def test_websocket_without_the_slash(site, app):
    """Browsers follow no redirect of a handshake: it is the app's "/"."""
    site.client(app.url, "my-app")
    for query in ("?a=%2F&b", "?", ""):
        seen, headers = socket_headers(site, app, (site.prefix or "/") + query, site.host)
        assert seen == "/" + query and headers.get("x-forwarded-prefix", "") == site.prefix
    if site.prefix:  # a request is redirected, as relative links need it
        r = site.get(site.prefix + "?a=b", host=site.host)
        assert (r.status, r.header("location")) == (308, f"{site.prefix}/?a=b")


def test_websocket_over_http2(site, server, app):
    """Browsers use an existing HTTP/2 connection for it. Apache supports that only with H2WebSockets."""
    if server == "apache":
        pytest.skip("Apache does not offer it")
    site.client(app.url, "my-app")
    caller = Http2WebSocket(site.port, f"{site.prefix}/live?v=1", site.host).opened()
    assert app.seen[-1].target == "/live?v=1"
    caller.send(frame(TEXT, b"hello", masked=True))
    assert caller.read(7) == frame(TEXT, b"hello")
    caller.close()
    site.wait_empty()


def test_not_quite_a_handshake(site, app):
    """Another method, or no Connection: it is treated as a plain request."""
    site.client(app.url, "my-app")
    body = b"some"
    r = site.call("POST", f"{site.prefix}/form", [("Connection", "upgrade"), ("Upgrade", "websocket")], body, host=site.host)
    assert (r.status, r.json()["method"], r.json()["target"]) == (200, "POST", "/form")
    r = site.call("GET", f"{site.prefix}/x", [("Upgrade", "websocket")], host=site.host)
    assert (r.status, r.json()["target"]) == (200, "/x")


def test_what_a_handshake_names_in_connection(site, server, app):
    """Those fields do not pass. The web server's own fields pass, whatever names the caller lists."""
    site.client(app.url, "my-app")
    caller = Caller(site.port)
    forged = "X-Forwarded-Prefix, X-Forwarded-Proto, X-Forwarded-For, X-Pipegate-Connection, Cookie"
    caller.request("GET", f"{site.prefix}/x", [
        ("Connection", f"Upgrade, X-Hop, {forged}"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY), ("X-Hop", "1"), ("X-Pipegate-Connection", "x-end"), ("X-End", "2")], host=site.host)
    assert caller.head()[0] == 101
    seen = {n.lower(): v for n, v in app.seen[-1].headers}
    assert seen.get("x-forwarded-prefix", "") == site.prefix
    assert (seen["x-forwarded-proto"], seen["x-forwarded-for"]) == ("http", "127.0.0.1")
    assert server == "lighttpd" or ("x-hop" not in seen and seen["x-end"] == "2")
    caller.close()


def test_two_cookie_lines_of_a_handshake(site, app):
    site.client(app.url, "my-app")
    caller = WebSocketCaller(site.port, f"{site.prefix}/x", [("Cookie", "a=1"), ("Cookie", "b=2")], host=site.host).opened()
    assert [v for n, v in app.seen[-1].headers if n.lower() == "cookie"] == ["a=1; b=2"]
    caller.close()


def test_wildcard_beside_other_sites(make_web, app, server):
    """A host name that only resembles a tunnel's does not reach the tunnel."""
    others = ("client.example.org", "my-app.ext.example.org", "my-app-t.example.org", "my-app.tXexample.org")
    if server == "lighttpd":
        after = "".join(f'$HTTP["host"] == "{h}" {{ index-file.names = ("index.html") }}\n' for h in others)
    else:
        after = ""
    web = make_web(example="wildcard", after=after)
    (web.directory / "index.html").write_text("the site")
    for name in ("client", "my-app", "ws"):
        web.client(app.url, name)
    for host in others if server == "lighttpd" else ():
        assert web.get("/index.html", host=host).body == b"the site", host
        assert WebSocketCaller(web.port, "/ws", host=host).head()[0] != 101, host
    for host in ("my-app.foo.t.example.org", "foo.my-app.t.example.org", ".t.example.org"):
        assert web.get("/ws", host=host).status in (400, 404), host
        for target in ("/ws", "/ws/x", "/my-app/x"):
            assert WebSocketCaller(web.port, target, host=host).head()[0] in (400, 404), host
    assert app.seen == []
