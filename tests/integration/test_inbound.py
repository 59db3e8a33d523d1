"""What the app receives of a caller's head, and the names in its responses, behind both web servers (contract 3, 5 and 6)."""
import json
import re

import pytest

from harness import App, Caller, Process, V1Client, environment, program, token, wait_until
from test_names import SITES
from test_websockets import KEY, WebSocketCaller, open_handshake

FORGED = [  # all of them say "evil", or 6.6.6.6
    ("Forwarded", "for=6.6.6.6;host=evil;proto=evil"), ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Host", "evil"),
    ("X-Forwarded-Proto", "evil"), ("X-Forwarded-Port", "6666"), ("X-Forwarded-Prefix", "/evil"), ("X-Forwarded-Server", "evil"),
    ("X-Forwarded-Ssl", "evil"), ("X-Forwarded-Scheme", "evil"), ("X-Forwarded-By", "evil"), ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Anything", "evil"), ("X-Forwarded", "evil"), ("Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"),
    ("X-Client-IP", "6.6.6.6"), ("Client-IP", "6.6.6.6"), ("True-Client-IP", "6.6.6.6"), ("CF-Connecting-IP", "6.6.6.6"),
    ("X-Cluster-Client-IP", "6.6.6.6"), ("X-ProxyUser-Ip", "6.6.6.6"), ("X-Original-URL", "/evil"), ("X-Rewrite-URL", "/evil"),
    ("X-Original-Host", "evil"), ("X-Host", "evil"), ("X-HTTP-Host-Override", "evil"), ("Front-End-Https", "evil"),
    ("X-Url-Scheme", "evil"), ("X-Scheme", "evil"), ("X-Script-Name", "/evil"), ("Script-Name", "/evil"), ("Proxy", "evil"),
    ("X-Envoy-External-Address", "6.6.6.6"), ("X-Pipegate-Correlation-Id", "evil"), ("X-Pipegate-Other", "evil"),
    ("X_Forwarded_For", "6.6.6.6"), ("X_Forwarded_Host", "evil"), ("X-Forwarded_Proto", "evil"), ("X_Real_IP", "6.6.6.6"),
    ("X_Original_URL", "/evil"), ("x_pipegate_correlation_id", "evil"), ("SCRIPT_NAME", "/evil"), ("PATH_INFO", "/evil"),
]
HONEST = [("X-Request-Id", "r7"), ("X-HTTP-Method-Override", "PATCH"), ("Via", "1.1 before"), ("Authorization", "Bearer of-the-app"),
          ("X-Mine", "m")]


@pytest.fixture(params=SITES)
def site(request, make_web):
    web = make_web(example=request.param)
    web.host, web.prefix = SITES[request.param]
    return web


@pytest.fixture
def app(make_app):
    """Remembers requests; opens handshakes."""
    seen = []

    def handler(request, connection):
        seen.append(request)
        if request.header("upgrade"):
            open_handshake(request, connection)
            return False
        return App.echo(request, connection)

    app = make_app(handler)
    app.seen = seen
    return app


def check_forwarding(site, headers):
    port = "80"
    names = {n.lower(): v for n, v in headers}
    assert re.fullmatch("[0-9a-f]{32}", names["x-pipegate-correlation-id"])  # random digits: they may hold "6666"
    text = str([(n, v) for n, v in headers if n.lower() != "x-pipegate-correlation-id" or v != names[n.lower()]])
    assert "evil" not in text and "6.6.6.6" not in text and "6666" not in text, headers
    assert names["x-forwarded-for"] == "127.0.0.1" and names["x-forwarded-proto"] == "http"
    assert names["host"] == names["x-forwarded-host"] == site.host and names["x-forwarded-port"] == port
    assert names.get("x-forwarded-prefix", "") == site.prefix
    assert names["forwarded"] == f"for=127.0.0.1;host={site.host};proto=http"
    ours = [n.lower() for n, _ in headers if n.lower().startswith("x-forwarded") or n.lower() in ("forwarded", "host")]
    assert len(ours) == len(set(ours)), "each once"
    for name, value in HONEST:
        assert names[name.lower()] == value


def test_forged_forwarding_headers(site, app):
    site.client(app.url, "my-app")
    for forged in (FORGED[:22], FORGED[22:]):  # lighttpd's limit of a head
        assert site.call("GET", f"{site.prefix}/x", forged + HONEST, host=site.host).status == 200
        check_forwarding(site, app.seen[-1].headers)
        WebSocketCaller(site.port, f"{site.prefix}/x", forged + HONEST, host=site.host).opened().close()
        check_forwarding(site, app.seen[-1].headers)


def test_port_of_the_public_url(web, app, name):
    web.client(app.url, name)
    for host, port, quoted in (("pub.example:8443", "8443", '"pub.example:8443"'), ("pub.example", "80", "pub.example"),
                               ("[::1]:81", "81", '"[::1]:81"')):
        web.get(f"/{name}/x", host=host)
        WebSocketCaller(web.port, f"/{name}/x", host=host).opened().close()
        for request in app.seen[-2:]:
            assert request.header("x-forwarded-port") == port and request.header("x-forwarded-host") == host
            assert request.header("forwarded") == f"for=127.0.0.1;host={quoted};proto=http"


def test_comma_in_a_cookie_of_a_handshake(web, server, app, name):
    """As for requests: only Apache joins two lines in this way."""
    web.client(app.url, name)
    caller = WebSocketCaller(web.port, f"/{name}/x", [("Cookie", "a=x, b=y; c=3"), ("X-Pipegate-Connection", "x")]).opened()
    assert app.seen[-1].header("cookie") == ("a=x, b=y; c=3" if server == "lighttpd" else "a=x; b=y; c=3")
    caller.close()


# --- a tunnel's token reaches no app ---


def handshake(web, port, target, headers=(), host="public.example"):
    caller = WebSocketCaller(port, target, headers, host=host)
    status, fields = caller.head()
    body = caller.file.read(int(dict(fields).get("Content-Length", 0))) if status != 101 else b""
    caller.close()
    return status, {n.lower(): v for n, v in fields}, body


def test_a_tunnel_client_at_the_url_of_a_tunnel(site, app):
    """SERVER_URL is a tunnel's public URL by mistake: the client gets an error, and that app receives no token."""
    site.client(app.url, "my-app")
    good, other, expired = token("my-app"), token("other"), token("my-app", exp=1)
    for what, target, headers in (
            ("bearer", "", [("Authorization", f"Bearer {good}")]), ("of another id", "", [("authorization", f"bearer  {other}")]),
            ("expired", "", [("Authorization", f"Bearer {expired}")]), ("query", f"?a=b&token={good}", []),
            ("other issuer", "", [("Authorization", f"Bearer {token('x', iss='elsewhere')}")]),
            ("both", f"?token={good}", [("Authorization", "Basic eDp5")]),
            ("v2", "", [("Sec-WebSocket-Protocol", "chat, pipegate.v2")]),
            ("v2, without a token that is good", "", [("Sec-WebSocket-Protocol", "pipegate.v2"), ("Authorization", "Bearer x.y.z")])):
        paths = [f"{site.prefix}/{target}", f"{site.prefix}/deep/x{target}"] + ([site.prefix + target] if site.prefix else [])
        for path in paths:
            status, fields, body = handshake(site, site.port, path, headers, site.host)
            assert (status, fields.get("x-pipegate-error")) == (400, "bad-request; delivered=no"), (what, path)
            assert "without the connection id" in json.loads(body)["detail"]
    assert app.seen == []
    assert "address of a tunnel" in site.broker.log()
    assert good not in site.broker.log() and good.split(".")[1] not in site.broker.log()
    for header in ("Bearer of-the-app", f"Bearer {token('my-app', secret='the secret of another')}", "Basic eDp5"):
        WebSocketCaller(site.port, f"{site.prefix}/x?token=of-the-app", [("Authorization", header), ("Sec-WebSocket-Protocol", "chat")],
                        host=site.host).opened().close()
        assert app.seen[-1].header("authorization") == header and app.seen[-1].target == "/x?token=of-the-app"


def test_our_client_at_the_url_of_a_tunnel(web, app, name):
    """Below its own id, or at the URL of another tunnel: no app receives the token, and the client shows the broker's error."""
    web.client(app.url, name)
    web.client(app.url, f"{name}-other")
    for number, path in enumerate((f"{name}/deeper/", f"{name}-other/")):
        url = f"ws://127.0.0.1:{web.port}/{path}"
        lost = Process(web.directory, f"lost-{name}-{number}", [program("client"), app.url, url],
                       environment(PIPEGATE_TOKEN=token(name)))
        wait_until(lambda: "address of a tunnel" in lost.log(), "the client shows what the broker says")
        lost.stop(expect=None)
    assert app.seen == []


def test_our_client_leaves_its_own_id_out(web, app, name):
    """SERVER_URL is the public URL in README."""
    client = Process(web.directory, f"own-{name}", [program("client"), app.url, f"ws://127.0.0.1:{web.port}/{name}/"],
                     environment(PIPEGATE_TOKEN=token(name)))
    wait_until(lambda: "tunnel.open" in client.log(), "the tunnel is open")
    assert app.seen == []
    assert web.get(f"/{name}/x").status == 200
    client.stop()


# --- handshakes at the listener ---


def raw(web, data):
    caller = Caller(web.broker_port)
    caller.method = "GET"
    caller.send(data.encode())
    r = caller.response() if not data.startswith("HEAD") else None
    caller.close()
    return r


GOOD = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]


@pytest.mark.parametrize("path", ["/", "/my-app/x", "/my-app"])
@pytest.mark.parametrize("line, fields", [
    ("GET {} HTTP/1.0", GOOD), ("POST {} HTTP/1.1", GOOD), ("PUT {} HTTP/1.1", GOOD), ("GET {} HTTP/1.1", GOOD[1:]),
    ("GET {} HTTP/1.1", ["Host:"] + GOOD[1:]), ("GET {} HTTP/1.1", ["Host: a b"] + GOOD[1:]),
    ("GET {} HTTP/1.1", ["Host: a/b"] + GOOD[1:]), ("GET {} HTTP/1.1", ["Host: y"] + GOOD),
    ("GET {} HTTP/1.1", GOOD + ["Host:"]), ("GET {} HTTP/1.1", GOOD[:1] + GOOD[2:]),
    ("GET {} HTTP/1.1", GOOD[:1] + ["Connection: close"] + GOOD[2:]), ("GET {} HTTP/1.1", GOOD[:2] + GOOD[3:]),
    ("GET {} HTTP/1.1", GOOD + ["Upgrade: h2c"]), ("GET {} HTTP/1.1", GOOD + ["Upgrade: websocket"]),
    ("GET {} HTTP/1.1", GOOD + [f"Sec-WebSocket-Key: {KEY}"]), ("GET {} HTTP/1.1", GOOD + ["Sec-WebSocket-Version: 13"]),
    ("GET {} HTTP/1.1", GOOD + ["Content-Length: 5"]), ("GET {} HTTP/1.1", GOOD + ["Transfer-Encoding: chunked"]),
    ("GET {} HTTP/1.1", GOOD + ["Content-Length: 5", "Content-Length: 6"]),
    ("GET {} HTTP/1.1", GOOD + ["Connection: " + ",".join(f"n{i}" for i in range(100))]),
])
def test_no_handshake(web, path, line, fields):
    if path == "/" and "n99" in fields[-1]:
        pytest.skip("of a tunnel's own handshake no field goes further")
    r = raw(web, line.format(path) + "\r\n" + "".join(f"{f}\r\n" for f in fields) + "\r\n")
    assert (r.status, r.error) == (400, "bad-request; delivered=no"), r


@pytest.mark.parametrize("key", ["", "short", "A" * 24, "A" * 21 + "===", "A" * 20 + "!A==", None])
def test_key_of_a_handshake(web, app, name, key):
    web.client(app.url, name)
    caller = Caller(web.port)
    caller.request("GET", f"/{name}/x", [tuple(f.split(": ")) for f in GOOD[1:4]] + ([] if key is None else [("Sec-WebSocket-Key", key)]))
    assert (caller.head()[0], app.seen) == (400, []), key
    caller.close()


@pytest.mark.parametrize("version", ["", "8", "14", "13.0", None])
def test_version_of_a_handshake(web, app, name, version):
    web.client(app.url, name)
    caller = Caller(web.port)
    caller.request("GET", f"/{name}/x", [tuple(f.split(": ")) for f in GOOD[1:3] + GOOD[4:]] +
                   ([] if version is None else [("Sec-WebSocket-Version", version)]))
    status, fields = caller.head()[:2]
    assert (status, dict((n.lower(), v) for n, v in fields).get("sec-websocket-version"), app.seen) == (426, "13", []), (version, fields)
    caller.close()


def test_said_twice(web, app, name):
    """Web servers may join two lines: neither PipeGate nor the app chooses one of the values."""
    web.client(app.url, name)
    for field in (("Sec-WebSocket-Key", "BBBBBBBBBBBBBBBBBBBBBA=="), ("Sec-WebSocket-Version", "8"), ("Host", "other.example")):
        caller = WebSocketCaller(web.port, f"/{name}/x", [field])
        assert caller.head()[0] == 400, field
        caller.close()
    assert app.seen == []


def test_connection_of_many_names(web, app, name):
    """Too many names are refused, not honoured in part; usual numbers, and more, pass."""
    web.client(app.url, name)
    many = ", ".join(f"x-{i}" for i in range(64))
    for extra, good in (("x-1, x-2, close", True), (many + ", x-64, x-65", False)):
        r = web.call("GET", f"/{name}/x", [("Connection", extra)])
        assert (r.status == 200) == good, r
        if not good:
            assert (r.status, r.error) == (400, "bad-request; delivered=no")
        caller = Caller(web.broker_port)
        caller.request("GET", f"/{name}/x", [("Connection", f"Upgrade, {extra}")] + [tuple(f.split(": ")) for f in GOOD[2:]])
        assert (caller.head()[0] == 101) == good
        caller.close()


# --- names in responses ---

LOCATIONS = [  # the app's name for itself; {port} is its own port
    "http://localhost:{port}/y?z", "http://127.0.0.1:{port}/y?z", "http://[::1]:{port}/y?z", "HTTP://LOCALHOST:{port}/y?z",
    "http://0.0.0.0:{port}/y?z", "https://localhost:{port}/y?z", "//localhost:{port}/y?z", "http://{host}/y?z", "//{host}/y?z",
]


@pytest.mark.parametrize("how", ["keep", "target", "internal.example:8000"])
def test_location_of_the_target(site, make_app, how):
    """With a prefix or without: no caller is redirected to its own machine."""
    def handler(request, connection):
        where = request.header("x-where")
        connection.answer(302, [("Location", where), ("Content-Location", where), ("Refresh", f"1; url={where}"),
                                ("Set-Cookie", "a=b; Domain=localhost; Path=/q")])

    app = make_app(handler)
    site.client(app.url, "my-app", "--host-header", how)
    wheres = [w.format(port=app.port, host=site.host) for w in LOCATIONS]
    if how.startswith("internal"):
        wheres += ["http://internal.example:8000/y?z", "http://INTERNAL.example:8000/y?z"]
    for where in wheres:
        r = site.call("GET", f"{site.prefix}/x", [("X-Where", where)], host=site.host)
        public = f"http://{site.host}{site.prefix}/y?z"
        assert (r.header("location"), r.header("content-location")) == (public, public), where
        assert r.header("refresh") == f"1; url={public}" and r.header("set-cookie") == f"a=b; Path={site.prefix}/q"
    for where in ("http://localhost:1/y", "http://elsewhere.example/y", f"http://u@localhost:{app.port}/y",
                  f"http://{site.host}:9/y", f"http://127.0.0.2:{app.port}/y"):
        r = site.call("GET", f"{site.prefix}/x", [("X-Where", where)], host=site.host)
        assert r.header("location") == where


def test_location_with_the_other_scheme(server, make_web, make_app):
    """An app that ignores forwarding headers writes http:// behind an https site."""
    web = make_web(settings="SetEnv HTTPS on" if server == "apache" else 'setenv.set-environment = ("HTTPS" => "on")')
    app = make_app(lambda request, connection: connection.answer(302, [("Location", request.header("x-where"))]))
    web.client(app.url)
    for where in ("http://public.example/y", "http://public.example:80/y", "https://public.example/y", "HTTP://Public.example/y",
                  f"http://127.0.0.1:{app.port}/y"):
        r = web.call("GET", "/demo/x", [("X-Where", where)])
        assert r.header("location") == "https://public.example/demo/y", where
    r = web.call("GET", "/demo/x", [("X-Where", "http://public.example:8080/y")])
    assert r.header("location") == "http://public.example:8080/y"


def test_a_site_without_tls_lets_its_app_ask_for_it(web, make_app, name):
    """Rewriting the redirect to http would make a loop."""
    web.client(make_app(lambda request, connection: connection.answer(302, [("Location", "https://public.example/y")])).url, name)
    assert web.get(f"/{name}/x").header("location") == f"https://public.example/{name}/y"


def test_orders_to_the_web_server(web, make_app, name):
    orders = [("X-Sendfile", "/etc/passwd"), ("X-Sendfile2", "/etc/passwd 0-"), ("X-Sendfile-Type", "x"), ("X_Sendfile", "/etc/passwd"),
              ("X-Accel-Redirect", "/x"), ("X_Accel_Redirect", "/x"), ("X-LiteSpeed-Location", "/x"), ("X-LiteSpeed-Tag", "x"),
              ("X-LIGHTTPD-send-file", "/etc/passwd"), ("Status", "404 no"), ("X_Pipegate_Error", "fake"), ("X-Far", "1")]
    web.client(make_app(lambda request, connection: connection.answer(200, orders, b"body")).url, name)
    r = web.get(f"/{name}/x")
    assert (r.status, r.body, r.header("x-far")) == (200, b"body", "1")
    got = {n.lower().replace("_", "-") for n, _ in r.headers}
    assert not [n for n in got if n.startswith(("x-sendfile", "x-accel", "x-litespeed", "x-lighttpd", "x-pipegate-error"))], got


def test_lengths_that_are_said_twice(web, name):
    """A tunnel client sends Content-Length twice."""
    told = {}
    web.v1(name, lambda m: V1Client.answer(m, 200, told, b"hello"))
    for headers, good in (({"transfer-encoding": "chunked"}, True), ({"transfer-encoding": "gzip, chunked"}, False),
                          ({"transfer-encoding": "chunked, chunked"}, False)):
        told.clear()
        told.update(headers)
        r = web.get(f"/{name}/x")
        assert (r.status, r.error) == ((200, None) if good else (502, "bad-response; delivered=maybe")), headers


# --- WebDAV ---


@pytest.mark.parametrize("how, base", [("keep", ""), ("target", ""), ("keep", "/base"), ("dav.internal", "/base")])
def test_destinations(site, app, how, base):
    """The app receives /a, and compares Destination with its own scheme, Host and path."""
    site.client(app.url + base, "my-app", "--host-header", how)
    own = {"keep": site.host, "target": app.url[7:]}.get(how, how)
    public = f"http://{site.host}{site.prefix}"
    for said, seen in ((f"{public}/b%20c?d", f"http://{own}{base}/b%20c?d"), (f"https://{site.host}{site.prefix}/b", f"http://{own}{base}/b"),
                       (f"{public}//b/c", f"http://{own}{base}//b/c"),
                       (f"{site.prefix or public}//b/c", f"http://{own}{base}//b/c"),  # never "//b/c", which is a host's
                       (f"{site.prefix}/b", f"{base}/b"), ("http://elsewhere.example/b", "http://elsewhere.example/b")):
        for method in ("MOVE", "COPY"):
            r = site.call(method, f"{site.prefix}/a", [("Destination", said), ("If", f"<{said}> (<urn:uuid:1> [\"e\"]) (Not <DAV:no-lock>)")],
                          host=site.host)
            assert r.status == 200 and app.seen[-1].target == f"{base}/a", r
            assert app.seen[-1].header("destination") == seen, (said, how)
            assert app.seen[-1].header("if") == f"<{seen}> (<urn:uuid:1> [\"e\"]) (Not <DAV:no-lock>)"
    for outside in (f"{public}/..;/b", f"{app.url}/other", f"{public}/a/%252e%252e/b", "//outside/b", f"//{site.host}{site.prefix}/b") if base else ():
        count = len(app.seen)
        r = site.call("COPY", f"{site.prefix}/a", [("Destination", outside)], host=site.host)
        assert (r.status, len(app.seen)) == (400, count), (outside, r)


# --- cost ---


def test_cost_of_a_head(web, app, name):
    """Fields times names in Connection: the cost of a head of four times the size is about 4 times, not 16 times as high."""
    web.client(app.url, name)

    def cpu_of(fields, names):
        head = f"GET /{name}.no/x HTTP/1.1\r\n" + "".join(f"{f}\r\n" for f in GOOD)
        head += "Connection: " + "a,b," * names + "\r\n" + "".join(f"x-{i}: y\r\n" for i in range(fields)) + "\r\n"
        before = web.broker.cpu_s()
        for _ in range(150):
            assert raw(web, head.replace(f"/{name}.no", f"/{name}-none")).status in (503, 404)
        return web.broker.cpu_s() - before

    few, many = cpu_of(50, 1500), cpu_of(200, 6000)
    assert many < 9 * max(few, 0.05), (few, many)
