"""Requests through both web servers to our own client (v2) and a v1 peer: what callers and apps receive (contract 3)."""
import gzip
import hashlib
import json
import os

import pytest

from harness import SERVERS, App, Caller, V1Client


def test_healthz(web):
    r = web.get("/healthz")
    assert (r.status, r.json()) == (200, {"status": "ok"})


def test_healthz_is_for_get_and_head(web):
    r = web.call("HEAD", "/healthz")
    assert (r.status, r.body) == (200, b"")
    for method in ("POST", "PUT", "DELETE"):
        r = web.call(method, "/healthz", body=b"")
        assert (r.status, r.error) == (404, "not-found; delivered=no")


def test_round_trip(web, make_app, name):
    web.client(make_app().url, name)
    r = web.call("POST", f"/{name}/a%2Fb//c%3F?x=%2F+&x=&&y", [("X-Mine", "1"), ("Cookie", "a=1; b=2")], b"\0\xff" * 5000)
    seen = r.json()
    assert r.status == 200 and r.complete
    assert (seen["method"], seen["target"]) == ("POST", "/a%2Fb//c%3F?x=%2F+&x=&&y")
    assert seen["sha256"] == hashlib.sha256(b"\0\xff" * 5000).hexdigest()
    headers = dict(seen["headers"])
    assert headers["x-mine"] == "1" and headers["cookie"] == "a=1; b=2"
    assert headers["Host"] == "public.example"
    assert headers["x-forwarded-for"] == "127.0.0.1" and headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == "public.example" and headers["x-forwarded-prefix"] == f"/{name}"
    corr = headers["x-pipegate-correlation-id"]
    assert len(corr) == 32 and r.header("x-pipegate-correlation-id") == corr
    web.wait_empty()


def test_through_the_web_server_s_own_upgrade_rule(web, make_app, name):
    web.client(make_app().url, name, direct=False)
    assert web.get(f"/{name}/x").status == 200


def test_redirect_to_the_slash(web):
    r = web.get("/abc?q=%2F")
    assert (r.status, r.header("location")) == (308, "/abc/?q=%2F")


@pytest.mark.parametrize("target, status, code", [
    ("/", 404, "not-found"),
    ("/healthz/x", 404, "not-found"),
    ("/a.b/x", 404, "not-found"),
    ("/" + "a" * 65 + "/x", 404, "not-found"),
    ("/t/private/%2e%2e/x", 400, "bad-path"),
    ("/t/x%2f..%2fy", 400, "bad-path"),
    ("/t/x%5c..%5cy", 400, "bad-path"),
    ("/t/x/..%5cy", 400, "bad-path"),
    ("/%74/x", 400, "bad-path"),
    ("//t/x", 400, "bad-path"),
])
def test_paths_refused(web, target, status, code):
    r = web.get(target)
    assert (r.status, r.error) == (status, f"{code}; delivered=no")
    assert r.header("cache-control") == "no-store" and "detail" in r.json()
    assert len(r.header("x-pipegate-correlation-id")) == 32


def test_encoded_control_characters(server, make_web, make_app, name):
    """They reach the app unchanged. Without an option in its file, lighttpd would respond 400."""
    settings = 'server.http-parseopts := ("header-strict" => "enable", "url-normalize" => "disable")' if server == "lighttpd" else ""
    web = make_web(settings=settings)
    web.client(make_app().url, name)
    path = "/a%01b%09c%0Ad%0D%0aX-Injected:%20y%1f%7F"
    r = web.get(f"/{name}{path}")
    assert r.status == 200 and r.json()["target"] == path, r
    assert "x-injected" not in [n.lower() for n, _ in r.json()["headers"]]
    peer = web.v1(f"{name}-v1")
    assert web.get(f"/{name}-v1{path}").status == 200
    assert [m["url_path"] for m in peer.received] == [path[1:]]


def test_own_answer_as_a_page(web):
    r = web.call("GET", "/", [("Accept", "text/html,*/*;q=0.8")])
    assert r.status == 404 and r.header("content-type").startswith("text/html") and b"<h1>" in r.body


@pytest.mark.parametrize("mount", ["", "/tunnels"])
def test_access_rules_of_the_web_server_hold(server, make_web, make_app, mount):
    rule = SERVERS[server].deny(f"{mount}/t/private")
    web = make_web(settings=rule, mount=mount)
    app = make_app()
    web.client(app.url, "t", direct=False)
    r = web.get(f"{mount}/t/public")
    assert r.status == 200 and dict(r.json()["headers"])["x-forwarded-prefix"] == f"{mount}/t"
    for path in ("private/x", "%70rivate/x", "/private/x", "./private/x", "x/%2e%2e/private/x", "x/../private/x",
                 "private/%2e%2e/x", "private/..%2fx", "private//x", "x/..%5cprivate/x", "x\\..\\private/x", "x/%2e./private/x", "x/.%2e/private/x", "%2fprivate/x", "%2e/private/x",
                 "x/%2e%2e%2fprivate", "x/..;/../private/x", "pri%76ate/x?y", "private%2fx", "%2F%2fprivate%2Fx",
                 "privat%65%2fx"):
        r = web.get(f"{mount}/t/{path}")
        assert (r.status in (400, 403), app.count) == (True, 1), path
    # These are other names for the web server. The app receives them unchanged or not at all, never as the private path.
    for path in ("x/%252e%252e/private/x", "x/%c0%ae%c0%ae/private/x", "%c0%afprivate/x", "x/%uff0e%uff0e/private/x",
                 "x/..;/private/x", "Private/x", "private%00/x", "x/%e0%80%ae%e0%80%ae/private/x",
                 "private;x/y", "private%3bx", "private\\x", "private%5cx"):
        count = app.count
        r = web.get(f"{mount}/t/{path}")
        assert r.status in (200, 400, 403, 404) and app.count == count + (r.status == 200), path
        assert r.status != 200 or r.json()["target"] == f"/{path}", path


def test_forged_names(web, make_app, name):
    web.client(make_app().url, name)
    forged = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "ftp"), ("X-Forwarded-Host", "evil"),
              ("X-Forwarded-Prefix", "/evil"), ("X-Pipegate-Correlation-Id", "f" * 32), ("Proxy", "evil"),
              ("Pipegate-Mount", "/evil"), ("Connection", "close, X-Hop"), ("X-Hop", "evil"), ("TE", "trailers")]
    seen = web.call("GET", f"/{name}/x", forged).json()
    values = [v for _, v in seen["headers"]]
    assert "evil" not in values and "/evil" not in [v for n, v in seen["headers"] if n != "pipegate-mount"]
    assert "6.6.6.6" not in str(values) and "f" * 32 not in values
    assert not {"connection", "te", "x-hop", "proxy"} & {n.lower() for n, _ in seen["headers"]}


def test_apps_answers_pass_untouched(web, make_app, name):
    body = gzip.compress(os.urandom(3000))

    def handler(request, connection):
        status = int(request.target[1:])
        connection.answer(status, [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/x; HttpOnly"),
                                   ("Location", "/login?next=%2F"), ("Content-Encoding", "gzip"), ("X-Empty", ""),
                                   ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")], body)

    web.client(make_app(handler).url, name)
    for status in (200, 201, 206, 301, 302, 303, 307, 308, 400, 401, 403, 404, 418, 500, 502, 503, 599):
        r = web.get(f"/{name}/{status}")
        assert (r.status, r.body, r.complete) == (status, body, True)
        assert r.error is None
        assert r.all("set-cookie") == [f"a=1; Path=/{name}/", f"b=2; Path=/{name}/x; HttpOnly"]
        assert r.header("content-encoding") == "gzip" and r.header("content-length") == str(len(body))
        if status != 200:
            assert r.header("location") == f"/{name}/login?next=%2F"


HOPS = [("Connection", "keep-alive, X-Hop, Content-Length"), ("X-Hop", "secret"), ("X-Far", "1")]


def test_connection_names_what_goes_no_further(web, make_app, name):
    web.client(make_app(lambda request, connection: connection.answer(200, HOPS, b"body")).url, name)
    web.v1(name + "-v1", lambda m: V1Client.answer(m, 200, {n.lower(): v for n, v in HOPS}, b"body"))
    for path in (f"/{name}/x", f"/{name}-v1/x"):
        r = web.get(path)
        assert (r.status, r.body, r.header("content-length"), r.header("x-far")) == (200, b"body", "4", "1"), r
        assert r.header("x-hop") is None, r


def test_head_and_bodiless(web, make_app, name):
    def handler(request, connection):
        if request.target == "/204":
            connection.send(b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n")
        elif request.target == "/304":
            connection.send(b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        return request.method != "GET" or None

    web.client(make_app(handler).url, name)
    for _ in range(3):
        r = web.call("HEAD", f"/{name}/x")
        assert (r.status, r.header("content-length"), r.body) == (200, "12345", b"")
    assert web.get(f"/{name}/204").status == 204
    r = web.get(f"/{name}/304")
    assert (r.status, r.header("etag")) == (304, '"x"')


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT"])
def test_methods(web, make_app, name, method):
    web.client(make_app().url, name)
    r = web.call(method, f"/{name}/x", body=b"body")
    assert r.json()["method"] == method and r.json()["bytes"] == 4


def test_no_body_is_no_body(web, make_app, name):
    web.client(make_app().url, name)
    for method in ("GET", "DELETE", "OPTIONS"):
        names = [n.lower() for n, _ in web.call(method, f"/{name}/x").json()["headers"]]
        assert "content-length" not in names and "transfer-encoding" not in names
    assert dict(web.call("POST", f"/{name}/x", body=b"").json()["headers"])["Content-Length"] == "0"


def test_two_cookie_lines(web, make_app, name):
    web.client(make_app().url, name)
    seen = web.call("GET", f"/{name}/x", [("Cookie", "a=1"), ("Cookie", 'b="x, y"; c=3')]).json()
    assert dict(seen["headers"])["cookie"] == 'a=1; b="x, y"; c=3'


def test_comma_in_a_cookie(server, web, make_app, name):
    """Behind Apache it looks like two joined lines."""
    web.client(make_app().url, name)
    seen = web.call("GET", f"/{name}/x", [("Cookie", "a=x, b=y; c=3")]).json()
    assert dict(seen["headers"])["cookie"] == ("a=x, b=y; c=3" if server == "lighttpd" else "a=x; b=y; c=3")


def test_host_header(web, make_app, name):
    app = make_app()
    for argument, expected in (("target", app.url[7:]), ("other.example", "other.example"), ("keep", "public.example")):
        client = web.client(app.url, f"{name}-{argument[:3]}", "--host-header", argument)
        assert dict(web.get(f"/{name}-{argument[:3]}/").json()["headers"])["Host"] == expected
        client.stop()


def test_targets(web, make_app, name):
    app = make_app()
    web.client(app.url + "/base/", f"{name}a")
    assert web.get(f"/{name}a/x?y").json()["target"] == "/base/x?y"
    web.client(str(app.port), f"{name}b")
    assert web.get(f"/{name}b/x").json()["target"] == "/x"
    unix = make_app(path=str(web.directory / f"{name}.sock"))
    web.client(unix.url, f"{name}c")
    assert web.get(f"/{name}c/x").json()["target"] == "/x"


def test_base_of_the_target(web, make_app, name):
    """URLs in which the app names its own paths lead back to it."""
    def handler(request, connection):
        if request.target != "/base/login":
            return App.echo(request, connection)
        return connection.answer(302, [("Location", "/base/x?y"), ("Set-Cookie", "a=b; Path=/base"), ("Set-Cookie", "c=d; Path=/x")])

    web.client(make_app(handler).url + "/base/", name)
    r = web.get(f"/{name}/login")
    assert r.header("location") == f"/{name}/x?y"
    assert r.all("set-cookie") == [f"a=b; Path=/{name}/", f"c=d; Path=/{name}/x"]
    assert web.get(r.header("location")).json()["target"] == "/base/x?y"


def test_keep_alive_callers(web, make_app, name):
    web.client(make_app().url, name)
    caller = Caller(web.port)
    for i in range(20):
        caller.request("POST", f"/{name}/{i}", body=b"x" * i)
        assert caller.response().json()["target"] == f"/{i}"
    caller.close()


def test_v1_sees_and_says(web, name):
    def handler(message):
        if message["url_path"] == "empty":
            return {"correlation_id": message["correlation_id"], "headers": "{}", "body": "", "status_code": 204}
        return V1Client.answer(message, 201, {"x-a": "1", "content-type": "application/octet-stream"}, b"\0\1\xff" * 100)

    peer = web.v1(name, handler)
    r = web.call("POST", f"/{name}/a%2Fb/c?x=1&x=2+3&y=&z=%C3%A9", [("X-One", "1"), ("Accept-Encoding", "gzip")], b"\0\xfe")
    assert (r.status, r.body, r.header("x-a")) == (201, b"\0\1\xff" * 100, "1")
    m = peer.received[0]
    assert (m["url_path"], m["method"], m["body"]) == ("a%2Fb/c", "POST", "AP4=")
    assert json.loads(m["url_query"]) == [["x", "1"], ["x", "2 3"], ["y", ""], ["z", "é"]]
    headers = json.loads(m["headers"])
    assert headers["accept-encoding"] == "identity" and headers["x-one"] == "1"
    assert headers["x-pipegate-correlation-id"].replace("-", "") == m["correlation_id"].replace("-", "")
    assert web.get(f"/{name}/empty").status == 204
