"""Against the original itself: its client on our broker, our client on its server.

It is no Debian package, and what PyPI calls "pipegate" is another project: install it from its repository and name
its command, PIPEGATE_ORIGINAL=/path/to/venv/bin/pipegate. Without it these tests are skipped; the v1 peers of the
other tests are written from the contract.
"""
import hashlib
import os
import threading

import pytest

from harness import SECRET, App, Caller, Process, environment, free_port, program, token, wait_until

ORIGINAL = os.environ.get("PIPEGATE_ORIGINAL")
pytestmark = pytest.mark.skipif(not ORIGINAL, reason="PIPEGATE_ORIGINAL is not set")
BODY = bytes(range(256)) * 300


def original_environment():
    return environment(PIPEGATE_JWT_SECRET=SECRET, PIPEGATE_JWT_ALGORITHMS='["HS256"]', PYTHONUNBUFFERED="1")


def exercise(call, name, compressed):
    """Everything that v1 can carry, in both directions."""
    r = call("POST", f"/{name}/a%20b/c?x=1&x=2&y=", [("X-Mine", "1"), ("Content-Type", "application/octet-stream")], BODY)
    assert r.status == 200, r
    seen = r.json()
    assert (seen["method"], seen["sha256"]) == ("POST", hashlib.sha256(BODY).hexdigest())
    assert seen["target"] == "/a%20b/c?x=1&x=2&y="
    assert {n.lower(): v for n, v in seen["headers"]}["x-mine"] == "1"
    for status in (201, 404, 500, 302):
        r = call("GET", f"/{name}/status/{status}")
        assert (r.status, r.body) == (status, b"\0\1\xff body"), r
    assert call("GET", f"/{name}/binary").body == BODY
    if compressed:
        assert call("HEAD", f"/{name}/status/200").status == 200
    answers = {}

    def one(i):
        answers[i] = call("GET", f"/{name}/n?i={i}").json()["target"]

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == {i: f"/n?i={i}" for i in range(30)}


def handler(request, connection):
    if request.target.startswith("/status/"):
        body = b"\0\1\xff body"
        connection.answer(int(request.target[8:]), [("Location", "/elsewhere")], b"" if request.method == "HEAD" else body)
    elif request.target == "/binary":
        connection.answer(body=BODY)
    else:
        App.echo(request, connection)


def test_its_client_on_our_broker(web, make_app, name):
    app = make_app(handler)
    url = f"ws://127.0.0.1:{web.port}/?token={token(name)}"
    client = Process(web.directory, f"original-{name}", [ORIGINAL, "client", app.url, url], original_environment())
    try:
        wait_until(lambda: f"conn={name} " in web.broker.log(), "the original's client is there")
        exercise(web.call, name, True)
        web.wait_empty()
    finally:
        client.kill()


def test_our_client_on_its_server(make_app, tmp_path):
    port = free_port()
    server = Process(tmp_path, "original-server", [ORIGINAL, "server", "--host", "127.0.0.1", "--port", str(port)],
                     original_environment())
    client = None
    try:
        server.wait_log("running on http")
        client = Process(tmp_path, "client", [program("client"), make_app(handler).url,
                                               f"ws://127.0.0.1:{port}/?token={token('demo')}"])
        client.wait_log("tunnel.open")

        def call(method, target, headers=(), body=None):
            caller = Caller(port)
            caller.request(method, target, headers, body)
            return caller.response()

        exercise(call, "demo", False)
        client.stop()
    finally:
        server.kill()
        if client:
            client.kill()
