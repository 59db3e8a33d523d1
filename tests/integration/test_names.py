"""Every way to name a tunnel, by the shipped example files, for requests and WebSockets alike (contract 3)."""
import pytest

from test_websockets import TEXT, WebSocketCaller, echo

from harness import App


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
    """What the app sees of a WebSocket."""
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
    # The suffix's own name has tunnels by path, and is where clients connect.
    assert web.get("/my-app/x", host="t.example.org").json()["target"] == "/x"
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
