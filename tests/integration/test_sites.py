"""The public site around the tunnels: its own passwords, a proxy in front of it, a site for clients only."""
import base64

import pytest

from http2 import HEADERS, STATUS_200, Http2WebSocket
from test_websockets import WebSocketCaller, echo

from harness import App, token, wait_until

ADA = "Basic " + base64.b64encode(b"ada:secret").decode()
OTHER = "Basic " + base64.b64encode(b"ada:of the app").decode()
SITES = {  # example: host, prefix of the tunnel's URLs
    "one-tunnel": ("my-app.example.org", ""),
    "wildcard": ("my-app.t.example.org", ""),
    "path": ("example.org", "/tunnels/my-app"),
}
CLIENTS = {"one-tunnel": "tunnels.example.org", "wildcard": "t.example.org"}


@pytest.fixture
def app(make_app):
    seen = []

    def handler(request, connection):
        seen.append({n.lower(): v for n, v in request.headers})
        return echo(request, connection) if request.header("upgrade") else App.echo(request, connection)

    app = make_app(handler)
    app.seen = seen
    return app


def head_of_websocket(web, target, headers=(), host="public.example"):
    caller = WebSocketCaller(web.port, target, headers, host=host)
    try:
        return caller.head()[0]
    finally:
        caller.close()


def as_the_app_sees_it(web, app, target, headers=(), host="public.example"):
    """The header fields of a request and of a WebSocket as the app receives them."""
    assert web.call("GET", target, headers, host=host).status == 200
    assert head_of_websocket(web, target, headers, host) == 101
    return app.seen[-2:]


# --- a password of the public site ---


def ask_for_password(server, directory, path):
    """Placed before or after the shipped file, as operators do."""
    if server == "lighttpd":
        (directory / "users").write_text("ada:secret\n")
        return f"""
auth.backend = "plain"
auth.backend.plain.userfile = "{directory}/users"
$HTTP["url"] =^ "{path}" {{ auth.require = ( "" => ( "method" => "basic", "realm" => "x", "require" => "valid-user" ) ) }}
"""
    (directory / "users").write_text("ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # of "secret"
    return f"""
<Location "{path}">
AuthType Basic
AuthName x
AuthUserFile {directory}/users
Require valid-user
</Location>
"""


@pytest.fixture(params=["before", "behind"])
def protected(request, make_web, server):
    where = {"before": "settings", "behind": "after"}[request.param]
    return make_web(**{where: lambda directory: ask_for_password(server, directory, "/private/")})


def test_password_of_the_site_stays_there(protected, app):
    protected.client(app.url, "private")
    for headers in ((), [("Authorization", OTHER)]):
        assert protected.call("GET", "/private/x", headers).status == 401
        assert head_of_websocket(protected, "/private/x", headers) == 401
    assert app.seen == []
    for seen in as_the_app_sees_it(protected, app, "/private/x", [("Authorization", ADA)]):
        assert "authorization" not in seen and "remote-user" not in seen and "remote_user" not in seen["forwarded"]


def test_password_of_the_app_reaches_it(protected, app):
    protected.client(app.url, "public")
    for given in (OTHER, ADA, "Bearer x", 'Digest username="a"'):
        forged = [("Authorization", given), ("Forwarded", "remote_user=ada"), ("Remote-User", "ada")]
        for seen in as_the_app_sees_it(protected, app, "/public/x", forged):
            assert seen["authorization"] == given


# --- another proxy in front ---


def trust_proxy(server):
    if server == "lighttpd":
        return 'extforward.forwarder = ( "127.0.0.1" => "trust" )\n'
    return "Define PIPEGATE_SCHEME https\nRemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n"


@pytest.mark.parametrize("mount", ["", "/tunnels"])
def test_scheme_and_address_behind_another_proxy(make_web, server, app, mount):
    web = make_web(mount=mount, settings=trust_proxy(server))
    web.client(app.url, "my-app")
    said = [("X-Forwarded-For", "203.0.113.9, 192.0.2.7"), ("X-Forwarded-Proto", "https")]
    request, websocket = as_the_app_sees_it(web, app, f"{mount}/my-app/x", said)
    for seen in (request, websocket):
        assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
        assert "proto=https" in seen["forwarded"]
    assert request["x-forwarded-for"] == "192.0.2.7"
    assert websocket["x-forwarded-for"] == ("192.0.2.7" if server == "apache" else "127.0.0.1")  # conf/README.md, "What the web..."


def test_scheme_that_a_caller_claims(make_web, app):
    web = make_web()
    web.client(app.url, "my-app")
    for seen in as_the_app_sees_it(web, app, "/my-app/x", [("X-Forwarded-Proto", "https"), ("X-Pipegate-Scheme", "https")]):
        assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", "80")


def test_redirect_behind_another_proxy(make_web, server, make_app):
    """The app's own origin is the public one, with the public scheme."""
    def redirect(request, connection):
        connection.answer(302, [("Location", f"https://{request.header('host')}/login")])

    web = make_web(settings=trust_proxy(server))
    web.client(make_app(redirect).url, "my-app")
    r = web.call("GET", "/my-app/x", [("X-Forwarded-Proto", "https")])
    assert r.header("location") == "https://public.example/my-app/login"


# --- clients only ---


@pytest.fixture(params=CLIENTS)
def site(request, make_web):
    web = make_web(example=request.param)
    web.host, web.clients_host = SITES[request.param][0], CLIENTS[request.param]
    return web


def test_site_for_clients_only(site, app):
    """If callers are refused at a tunnel's host name, the same tunnel is not open by path elsewhere."""
    site.client(app.url, "my-app")
    for target in ("/my-app/x", "/my-app/", "/my-app", "/", "/x?y", "//my-app/x", "/./my-app/x", "/%6dy-app/x",
                   "/healthz/my-app/x", "/healthz/../my-app/x"):
        response = site.get(target, host=site.clients_host)
        assert response.status in (400, 404) and response.error.startswith(("not-found", "bad-path")), (target, response)
        assert head_of_websocket(site, target, host=site.clients_host) in ((400, 404) if target != "/" else (101,)), target
    assert app.seen == []
    assert site.get("/healthz", host=site.clients_host).json() == {"status": "ok"}
    assert site.get("/my-app/x", host=site.host).json()["target"] == "/my-app/x"


def test_site_for_clients_only_over_http2(site, app, server):
    if server == "apache":
        pytest.skip("Apache does not offer it")
    site.client(app.url, "my-app")
    caller = Http2WebSocket(site.port, "/my-app/x", site.clients_host)
    kind, payload = caller.next()
    assert kind == HEADERS and payload[0] != STATUS_200
    caller.close()
    assert app.seen == []


def test_client_at_the_site_for_clients(site):
    """The client's connection, with both ways to pass a token."""
    for target, headers in ((f"/?token={token('a')}", ()), ("/", [("Authorization", f"Bearer {token('b')}")])):
        caller = WebSocketCaller(site.port, target, headers, host=site.clients_host).opened()
        name = "b" if headers else "a"
        wait_until(lambda: f"conn={name} " in site.broker.log(), "the broker knows the tunnel")
        caller.close()


@pytest.mark.parametrize("mount", ["/tunnels"])
def test_mount_for_clients_only(make_web, server, app, mount):
    if server == "lighttpd":
        web = make_web(mount=mount, example=f'''
var.pipegate_mount = "{mount}"
var.pipegate_socket = "/run/pipegate/fcgi.sock"
var.pipegate_host = "127.0.0.1"
var.pipegate_port = 8000
include "/usr/local/share/pipegate/lighttpd/clients.conf"
''')
    else:
        web = make_web(mount=mount, settings="Define PIPEGATE_CLIENTS_ONLY on\n")
    web.client(app.url, "my-app", direct=False)
    for target in (f"{mount}/my-app/x", f"{mount}/my-app", f"{mount}/"):
        assert web.get(target).status == 404
    assert head_of_websocket(web, f"{mount}/my-app/x") == 404
    assert web.get(f"{mount}/healthz").json() == {"status": "ok"}
    for target in (mount, f"{mount}/"):
        assert head_of_websocket(web, target) == 101
