"""The broker listens on a unix socket (pipegate-broker.socket, or --listen unix:PATH): the web servers proxy the
handshakes of clients and of callers to it, and every way to name a tunnel works as over TCP."""
import os
import socket
import stat
import threading

import pytest

from test_websockets import TEXT, WebSocketCaller, echo

from harness import App


def copy(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def relay():
    """relay(path): a TCP port that leads to the unix socket. The client dials no unix sockets."""
    listeners = []

    def serve(listener, path):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(path))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    def make(path):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, path), daemon=True).start()
        return listener.getsockname()[1]

    yield make
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def app(make_app):
    seen = []

    def handler(request, connection):
        if request.header("upgrade"):
            seen.append(request.target)
            return echo(request, connection)
        return App.echo(request, connection)

    app = make_app(handler)
    app.seen = seen
    return app


def websocket_target(web, app, target, host):
    """The target that the app sees of a caller's WebSocket."""
    caller = WebSocketCaller(web.port, target, host=host).opened()
    caller.frame(TEXT, b"hello")
    assert caller.next() == (TEXT, True, b"hello")
    caller.close()
    return app.seen[-1]


RAW = 'server.http-parseopts := ( "header-strict" => "enable", "url-normalize" => "disable" )\n'


@pytest.mark.parametrize("mount", ["", "/tunnels"])
def test_tunnels_and_callers_through_the_web_server(make_web, app, server, mount):
    web = make_web(mount=mount, unix_listener=True, settings=RAW if server == "lighttpd" else "")
    mode = os.stat(web.tunnels)
    assert stat.S_IMODE(mode.st_mode) == 0o660
    web.client(app.url, "my-app")
    assert web.get(f"{mount}/my-app/a%2Fb?x=1").json()["target"] == "/a%2Fb?x=1"
    assert websocket_target(web, app, f"{mount}/my-app/live%2Fx?v=%20", "public.example") == "/live%2Fx?v=%20", "the raw path"
    web.broker.stop()
    assert web.get(f"{mount}/healthz").status == 503
    web.broker = web.start_broker()
    web.broker.wait_log("conn=my-app ")
    assert websocket_target(web, app, f"{mount}/my-app/x", "public.example") == "/x"
    web.wait_empty()


@pytest.mark.parametrize("mount", ["/tunnels"])
def test_mount_without_a_slash(make_web, mount):
    web = make_web(mount=mount, unix_listener=True)
    assert WebSocketCaller(web.port, mount).head()[0] == 101, "Missing token comes after the handshake"


@pytest.mark.parametrize("example, host, prefix", [
    ("path", "example.org", "/tunnels/my-app"),
    ("wildcard", "my-app.t.example.org", ""),
    ("one-tunnel", "my-app.example.org", ""),
])
def test_names(make_web, app, relay, example, host, prefix):
    web = make_web(example=example, unix_listener=True)
    web.tunnels, web.broker_port = None, relay(web.tunnels)
    web.client(app.url, "my-app")
    assert web.get(f"{prefix}/a?b", host=host).json()["target"] == "/a?b"
    assert websocket_target(web, app, f"{prefix}/live?v=1", host) == "/live?v=1"
    web.wait_empty()
