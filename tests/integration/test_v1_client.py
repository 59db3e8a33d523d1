"""Our client at a server that speaks v1 only, as the original's does (contract section 4). No web server."""
import asyncio
import base64
import json
import threading
import uuid

import pytest
import websockets

from harness import PATIENCE_S, SANITIZED, App, Process, environment, program, report, token


class V1Server:
    """Written from the contract. It accepts one client."""

    def __init__(self):
        self.waiting, self.socket = {}, None
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(ready),), daemon=True)
        self.thread.start()
        assert ready.wait(PATIENCE_S)

    async def run(self, ready):
        self.stopped = asyncio.Event()
        async with websockets.serve(self.serve, "127.0.0.1", 0, max_size=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self.stopped.wait()

    async def serve(self, socket, *_):
        self.socket = socket
        async for text in socket:
            answer = json.loads(text)
            self.waiting.pop(answer["correlation_id"]).set_result(answer)

    async def exchange(self, message):
        got = self.waiting[message["correlation_id"]] = self.loop.create_future()
        await self.socket.send(json.dumps(message))
        return await asyncio.wait_for(got, PATIENCE_S)

    def ask(self, path="", query=(), **changes):
        """Status, headers, body."""
        message = {"correlation_id": str(uuid.uuid4()), "url_path": path, "url_query": json.dumps(query), "method": "GET",
                   "headers": '{"host": "public.example"}', "body": "", **changes}
        answer = asyncio.run_coroutine_threadsafe(self.exchange(message), self.loop).result(PATIENCE_S)
        return answer["status_code"], json.loads(answer["headers"]), base64.b64decode(answer["body"])

    def close(self):
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(PATIENCE_S)


@pytest.fixture
def ask(tmp_path, make_app):
    """ask(handler=None): a server's ask(), with our client and that app behind it."""
    made = []

    def make(handler=None):
        server = V1Server()
        client = Process(tmp_path, f"client-{len(made)}", [program("client"), make_app(handler).url,
                                                           f"ws://127.0.0.1:{server.port}/"],
                         environment(PIPEGATE_TOKEN=token()))
        made.append((client, server))
        client.wait_log("protocol=v1")
        return server.ask

    yield make
    for client, server in made:
        client.stop()
        server.close()


def seen_by_app(answer):
    status, _, body = answer
    assert status == 200, answer
    seen = json.loads(body)
    return seen["target"], {n.lower(): v for n, v in seen["headers"]}


def test_connection_names_what_goes_no_further(ask):
    def handler(request, connection):
        if request.target == "/echo":
            App.echo(request, connection)
        else:
            connection.answer(200, [("Connection", "X-Hop"), ("X-Hop", "secret"), ("X-Far", "1")], b"body")

    server = ask(handler)
    sent = {"connection": "close, X-Hop", "x-hop": "secret", "x-far": "1"}
    _, headers = seen_by_app(server("echo", headers=json.dumps(sent)))
    assert "x-hop" not in headers and headers["x-far"] == "1"
    status, headers, body = server("answer")
    assert (status, body, headers["x-far"]) == (200, b"body", "1") and "x-hop" not in headers


def test_nul(ask):
    """A caller may write it as %00."""
    server = ask()
    assert seen_by_app(server("a\0b/%00", [["a", "\0"], ["\0", "x\0y"]]))[0] == "/a%00b/%00?a=%00&%00=x%00y"


@pytest.mark.parametrize("changes", [
    {"headers": '{"a": "x\\u0000y"}'}, {"headers": '{"a": "x\\r\\ny: z"}'}, {"headers": '{"a\\u0000b": "x"}'}, {"headers": '{"a b": "x"}'},
    {"headers": '{"a": 7}'}, {"headers": "[]"}, {"headers": {}}, {"url_query": "{}"}, {"url_query": '[["a"]]'}, {"url_path": None},
    {"method": "G\0ET"}, {"method": "BAD METHOD"}, {"method": None}, {"body": "%%%%"}, {"body": "QUI=\0"},
])
def test_requests_that_cannot_be_made_are_answered(ask, changes):
    server = ask()
    assert server("x", **changes) == (400, {}, b"")
    assert seen_by_app(server("x"))[0] == "/x", "and the tunnel lives"


def test_methods_that_v1_does_not_have(ask):
    server = ask()
    assert server("x", method="PROPFIND") == (501, {}, b"")
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert seen_by_app(server("x", method=method))[0] == "/x"


def test_response_headers_that_are_no_utf8(ask):
    def handler(request, connection):
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="\xe9t\xe9.pdf"\r\n'
                        b"X-Utf: \xc3\xa9\r\nX-Both: \xc3\xa9\r\nX-Both: \xe9\r\nContent-Length: 0\r\n\r\n")

    status, headers, _ = ask(handler)("x")
    assert status == 200 and headers["content-disposition"] == 'attachment; filename="été.pdf"'
    assert (headers["x-utf"], headers["x-both"]) == ("é", "é, é")


def test_target_base_is_a_boundary(tmp_path, make_app):
    """Whatever the server sends: a hostile server, or the original's, which passes on what a caller wrote."""
    app, server = make_app(), V1Server()
    client = Process(tmp_path, "client-base", [program("client"), f"{app.url}/base", f"ws://127.0.0.1:{server.port}/"],
                     environment(PIPEGATE_TOKEN=token()))
    try:
        client.wait_log("protocol=v1")
        for path in ("../x", "..", "a/../../x", "%2e%2e/x", "..%2fx", "..\\x", "..%5cx", "%252e%252e/x", "..;/x", "..;a=b", "a\0/../x"):
            assert server.ask(path) == (400, {}, b""), path
        assert app.count == 0
        for path in ("..x", "a/.../b", "%2e", "a%2fb"):
            assert seen_by_app(server.ask(path))[0] == f"/base/{path}"
    finally:
        client.stop()
        server.close()


def test_responses_that_are_too_large(ask):
    """12 MiB are too large for a v1 message: refused at once if the app declares it, otherwise when the count is exceeded."""
    def handler(request, connection):
        if request.target == "/declared":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nbegin")
            closed.append(connection.wait_peer_gone())
            return False
        if request.target == "/endless":
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.send(bytes(1 << 20))
        connection.answer(body=b"ok")

    closed, server = [], ask(handler)
    for path in ("declared", "endless"):
        status, headers, body = server(path)
        assert (status, headers["content-type"]) == (502, "application/json") and b"larger" in body
        assert server("x")[2] == b"ok"
    assert closed == [True]


def test_many_large_responses_at_once(tmp_path, make_app):
    """40 of 10 MB: all arrive, and the client's memory for them is bounded."""
    server = V1Server()
    app = make_app(lambda request, connection: connection.answer(body=request.target[1:].encode() * 5_000_000))
    client = Process(tmp_path, "client-large", [program("client"), app.url, f"ws://127.0.0.1:{server.port}/"],
                     environment(PIPEGATE_TOKEN=token()))
    try:
        client.wait_log("protocol=v1")
        sizes = []

        def ask_for(path):
            sizes.append((path, server.ask(path)[2] == path.encode() * 5_000_000))

        threads = [threading.Thread(target=ask_for, args=(f"{i:02}",)) for i in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(sizes) == 40 and all(same for _, same in sizes)
        peak = int(next(line for line in open(f"/proc/{client.pid}/status") if line.startswith("VmHWM")).split()[1])
        report(f"v1 client, 40 responses of 10 MB at once: {peak // 1024} MiB at most")
        assert SANITIZED or peak < 250 * 1024, peak
    finally:
        client.stop()
        server.close()
