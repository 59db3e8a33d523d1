"""One request is found in the logs of all three programs by its correlation id; their output on SIGUSR1,
with -v, as JSON; and what no line may contain."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

from fastcgi import STDIN, WebServer, begin, parameters, record, request
from harness import PATIENCE_S, Caller, Process, environment, program, token, wait_until
from test_websockets import CLOSE, KEY, accept_of, frame, read_frame

CORR = "x-pipegate-correlation-id"


def fields(line):
    """A line of the log: level, event, and its keys."""
    level, event, rest = (line + " ").split(" ", 2)
    return {"level": level, "event": event,
            **{k: v[1:-1] if v.startswith('"') else v for k, v in re.findall(r'(\w+)=("(?:\\.|[^"\\])*"|\S*)', rest)}}


def lines_of(process, event, corr=None):
    return [f for f in map(fields, process.log().splitlines()) if f["event"] == event and corr in (None, f.get("corr"))]


def done(process, corr):
    """The one line of a finished request."""
    found = wait_until(lambda: lines_of(process, "request.done", corr), f"{process.name} logs {corr}")
    assert len(found) == 1 and found[0]["level"] == "info", found
    return found[0]


def upgrade(web, target):
    caller = Caller(web.port)
    caller.request("GET", target, [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                   ("Sec-WebSocket-Key", KEY)])
    return caller


def test_one_request_in_three_logs(web, name, make_app):
    client = web.client(make_app(lambda r, c: (r.body(), c.answer(201, body=b"x" * 1000))[1]).url, name)
    r = web.call("POST", f"/{name}/a%20b/c?secret=1", body=b"y" * 5000)
    assert r.status == 201
    lines = [done(p, r.header(CORR)) for p in (web.responder, web.broker, client)]
    for line in lines:
        assert (line["conn"], line["method"], line["status"]) == (name, "POST", "201"), line
        assert (line["up_bytes"], line["down_bytes"]) == ("5000", "1000") and "code" not in line, line
        assert int(line["ms"]) >= int(line["head_ms"]) >= 0, line
    assert [line["path"] for line in lines] == [f"/{name}/a%20b/c", "/a%20b/c", "/a%20b/c"]
    assert int(lines[1]["queued_ms"]) >= 0 and int(lines[1]["tunnel"]) > 0 and int(lines[2]["connect_ms"]) >= 0


def test_a_request_over_v1(web, name):
    client = web.v1(name)
    r = web.get(f"/{name}/x")
    assert r.body == b"hello" and client.received
    for process in (web.responder, web.broker):
        line = done(process, r.header(CORR))
        assert (line["conn"], line["status"], line["down_bytes"]) == (name, "200", "5"), line


def test_failures(web, name, make_app):
    unknown = web.get("/nobody-there/x?token=abc")
    app = make_app()
    client = web.client(app.url, name)
    app.close()
    away = web.get(f"/{name}/x")
    for r, status, code, delivered, processes in (
            (unknown, "503", unknown.error.split(";")[0], "no", (web.responder, web.broker)),
            (away, "504", "target-unreachable", "no", (web.responder, web.broker))):
        assert r.error == f"{code}; delivered={delivered}"
        for process in processes:
            line = done(process, r.header(CORR))
            assert (line["status"], line["code"], line["delivered"]) == (status, code, delivered), line
    line = done(client, away.header(CORR))
    assert (line["status"], line["code"], line["delivered"]) == ("0", "target-unreachable", "no")
    assert lines_of(client, "target.failed", away.header(CORR)), "other events have the id too"


def test_a_cut(web, name, make_app):
    headed = threading.Event()

    def cut(request, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
        headed.wait(PATIENCE_S)
        return False

    client = web.client(make_app(cut).url, name)
    caller = Caller(web.port)
    caller.request("GET", f"/{name}/cut")
    assert caller.head()[0] == 200
    headed.set()
    wait_until(lambda: f'path="/{name}/cut"' in web.responder.log(), "logged")
    line = next(f for f in lines_of(web.responder, "request.done") if f["path"] == f"/{name}/cut")
    assert (line["status"], line["code"], line["delivered"]) == ("200", "target-unreachable", "maybe"), line
    for process in (web.broker, client):
        assert done(process, line["corr"])["code"] == "target-unreachable"
    caller.close()


def test_a_websocket_at_its_end(web, name, make_app):
    def app(request, connection):
        connection.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Accept: {accept_of(request.header('sec-websocket-key'))}\r\n\r\n".encode())
        opcode, _, payload = read_frame(connection.file)
        connection.send(frame(opcode, payload))
        assert read_frame(connection.file)[0] == CLOSE
        connection.send(frame(CLOSE, b"\x03\xe8"))
        return False

    client = web.client(make_app(app).url, name)
    caller = upgrade(web, f"/{name}/live?token=secret")
    status, headers = caller.head()
    corr = dict((n.lower(), v) for n, v in headers)[CORR]
    assert status == 101
    caller.send(frame(1, b"hello", masked=True))
    assert read_frame(caller.file)[2] == b"hello"
    assert not lines_of(web.broker, "request.done", corr), "it is not over"
    caller.send(frame(CLOSE, b"\x03\xe8", masked=True))
    while read_frame(caller.file):
        pass
    caller.close()
    for process in (web.broker, client):
        line = done(process, corr)
        assert (line["conn"], line["path"], line["status"]) == (name, "/live", "101"), line
        assert int(line["up_bytes"]) >= 11 and int(line["down_bytes"]) >= 7, line


def test_refused_and_redirected(web, name):
    wrong = web.get("/not%20an%20id/x")
    redirect = web.get(f"/{name}?a=b")
    for r, status in ((wrong, "404"), (redirect, "308")):
        assert done(web.responder, r.header(CORR))["status"] == status
    before = len(lines_of(web.responder, "request.done"))
    assert web.get("/healthz").status == 200
    assert len(lines_of(web.responder, "request.done")) == before, "a health check is no exchange"


def test_nothing_forges_a_line_and_no_secret_is_in_one(web, name, server, make_app):
    """Sent directly to the responder, because no web server passes such bytes."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    client = web.client(make_app().url, name)
    connection = WebServer(web)
    evil = 'x" status=200 conn=other\nerror forged.event a=1\\'
    r = connection.call(f"/{name}/{evil}?password=hunter2")
    connection.call(f"/{name}/ok?password=hunter2", HTTP_COOKIE="hunter3", HTTP_AUTHORIZATION="Bearer hunter4")
    connection.call(f"/{name}/" + "p" * 3000)
    connection.send(begin() + parameters(f"/{name}/x", method='GET" code=forged\n') + record(STDIN))
    assert connection.response().status == 400
    connection.close()
    assert r.status == 400
    wait_until(lambda: "p" * 100 in client.log() and "code=forged" in web.responder.log(), "logged")
    for process in (web.responder, web.broker, client):
        log = process.log()
        assert "hunter" not in log and process.log().count("\nerror ") == 0, log
        for line in log.splitlines():
            assert len(line) < 1000 and line.isprintable() and fields(line)["level"] in ("info", "warn"), line
            assert fields(line).get("conn", name) != "other" and "code" not in fields(line) or "forged" not in fields(line)["code"]
        assert token(name).split(".")[2] not in log and client.log().count("eyJ") == 0


def test_quiet(make_web, make_app):
    web = make_web(PIPEGATE_LOG="quiet")
    app = make_app()
    client = web.client(app.url)
    assert web.get("/demo/x").status == 200
    app.close()
    assert web.get("/demo/x").status == 504
    for process in (web.responder, web.broker, client):
        assert "request.done" not in process.log()
    assert "target.failed" in client.log(), "other lines stay"


def test_json(server, make_app):
    """Every line is an object, from the first to the last, whatever bytes a request has."""
    directory = tempfile.mkdtemp(prefix="pipegate-")
    os.chmod(directory, 0o755)
    gate, listen = f"ipc://{directory}/gate.sock", f"unix:{directory}/fcgi.sock"
    variables = environment(PIPEGATE_LOG="json")

    class stack:
        socket = f"{directory}/fcgi.sock"

    broker = Process(directory, "broker", [program("broker"), "-v", "--listen", "127.0.0.1:0", "--gate", gate], variables)
    port = json.loads(next(x for x in broker.wait_log('"event": "listening"').splitlines() if "listening" in x))["address"].split(":")[1]
    responder = Process(directory, "fcgi", [program("fcgi"), "-v", "--listen", listen, "--gate", gate], variables)
    responder.wait_log("gate.connected")
    client = Process(directory, "client", [program("client"), "-v", make_app().url, f"ws://127.0.0.1:{port}/"],
                     environment(PIPEGATE_LOG="json", PIPEGATE_TOKEN=token("123")))
    client.wait_log("tunnel.open")
    wait_until(lambda: '"to": "OPEN"' in broker.log(), "the broker knows the tunnel")
    connection = WebServer(stack)
    good = connection.call("/123/a?b=c")
    connection.call('/123/\xff\x01"\\\n' + "q" * 500, PIPEGATE_MOUNT="no mount")
    connection.close()
    for process in (broker, responder, client):
        process.signal(signal.SIGUSR1)
        process.wait_log("dump.end")
    lines = {}
    for process in (client, responder, broker):
        process.stop()
        lines[process.name] = [json.loads(line) for line in process.log().splitlines()]
        for line in lines[process.name]:
            assert list(line)[:4] == ["time", "level", "program", "event"] and re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]), line
            assert line["program"] == f"pipegate-{process.name}", line
    for found in lines.values():
        line = next(x for x in found if x["event"] == "request.done" and x["corr"] == good.header(CORR))
        assert (line["conn"], line["method"], line["status"], line["level"]) == ("123", "GET", 200, "info"), line
        assert isinstance(line["ms"], int)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("which", ["broker", "fcgi", "client"])
def test_an_impossible_value(which, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    argv = {"broker": ["--check"], "fcgi": ["--listen", "unix:/nowhere/x"], "client": ["3000", "ws://127.0.0.1:1/"]}[which]
    for value in ("loud", "", "JSON"):
        out = subprocess.run([program(which), *argv], env=environment(PIPEGATE_LOG=value, PIPEGATE_TOKEN=token()),
                             capture_output=True, text=True)
        assert out.returncode == 78
        assert out.stderr == f'pipegate-{which}: PIPEGATE_LOG: neither text nor json nor quiet: "{value}"\n'


def test_tables_on_signal(web, name, make_app):
    """The tables of all three programs have the running request, by its id, and the programs continue."""
    held, go = [], threading.Event()
    client = web.client(make_app(lambda r, c: (held.append(c), go.wait(PATIENCE_S), c.answer())[2]).url, name)
    callers = [Caller(web.port) for _ in range(3)]
    for i, caller in enumerate(callers):
        caller.request("GET", f"/{name}/{i}")
    wait_until(lambda: len(held) == 3, "all are at the app")
    for process in (web.responder, web.broker, client):
        count = len(lines_of(process, "dump.end"))
        process.signal(signal.SIGUSR1)
        wait_until(lambda: len(lines_of(process, "dump.end")) == count + 1, "dumped")
    rows = {p.name: [f for f in lines_of(p, event) if f["conn"] == name] for p, event in (
        (web.responder, "dump.request"), (web.broker, "dump.exchange"), (client, "dump.request"))}
    ids = [{f["corr"] for f in found} for found in rows.values()]
    assert len(ids[0]) == 3 and ids[0] == ids[1] == ids[2], rows
    assert {f["state"] for f in rows["fcgi"]} == {"WAITS_FOR_BROKER"}
    assert {f["state"] for f in rows["broker"]} == {"SENT"}
    assert {f["state"] for f in rows[client.name]} == {"WAITS_FOR_APP"}
    assert all(int(f["age_ms"]) >= 0 for found in rows.values() for f in found)
    tunnel = next(f for f in lines_of(web.broker, "dump.tunnel") if f["conn"] == name)
    assert (tunnel["state"], tunnel["running"], tunnel["protocol"]) == ("OPEN", "3", "v2")
    assert next(f for f in lines_of(client, "dump.tunnel"))["state"] == "OPEN"
    go.set()
    for caller in callers:
        assert caller.response().status == 200
        caller.close()


def test_a_dump_is_bounded(make_web, make_app):
    web = make_web(PIPEGATE_MAX_CONCURRENT="300", PIPEGATE_MAX_QUEUE_DEPTH="300")
    held, go = [], threading.Event()
    client = web.client(make_app(lambda r, c: (held.append(c), go.wait(PATIENCE_S), c.answer())[2]).url)
    connections = [WebServer(web) for _ in range(250)]
    for connection in connections:
        connection.send(request("/demo/x"))
    wait_until(lambda: len(held) == 250, "all are at the app")
    for process, key in ((web.responder, "requests"), (web.broker, "exchanges"), (client, "requests")):
        process.signal(signal.SIGUSR1)
        process.wait_log("dump.end")
        end = lines_of(process, "dump.end")[0]
        assert (end[key], end[f"{key}_left_out"]) == ("250", "50"), end
    go.set()
    for connection in connections:
        assert connection.response().status == 200
        connection.close()


def test_verbose_names_frames_and_states(make_app, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    directory = tempfile.mkdtemp(prefix="pipegate-")
    gate, listen = f"ipc://{directory}/gate.sock", f"unix:{directory}/fcgi.sock"

    class stack:
        socket = f"{directory}/fcgi.sock"

    broker = Process(directory, "broker", [program("broker"), "-v", "--listen", "127.0.0.1:0", "--gate", gate])
    port = broker.wait_log("ready gate=").split("what=tunnels address=127.0.0.1:")[1].split()[0]
    responder = Process(directory, "fcgi", [program("fcgi"), "-v", "--listen", listen, "--gate", gate])
    responder.wait_log("gate.connected")
    client = Process(directory, "client", [program("client"), "-v", make_app().url, f"ws://127.0.0.1:{port}/"],
                     environment(PIPEGATE_TOKEN=token("demo")))
    client.wait_log("tunnel.open")
    wait_until(lambda: "to=OPEN" in broker.log(), "the broker knows the tunnel")
    connection = WebServer(stack)
    corr = connection.call("/demo/x", body=b"1" * 300000).header(CORR)
    connection.close()
    for process in (responder, broker, client):
        done(process, corr)
    kinds = {(p.name, event): [f["kind"] for f in lines_of(p, event, corr)] for p in (broker, client) for event in ("frame.in", "frame.out")}
    assert "OPEN" in kinds["broker", "frame.out"] and "DATA" in kinds["broker", "frame.out"]
    assert "HEAD" in kinds["client", "frame.out"] and "HEAD" in kinds["broker", "frame.in"]
    assert "WINDOW" in kinds["client", "frame.out"] and "WINDOW" in kinds["broker", "frame.in"]
    assert [f["to"] for f in lines_of(broker, "exchange.state", corr)][-1] == "ANSWERED"
    assert [f["to"] for f in lines_of(client, "request.state", corr)] == ["CONNECTING", "WAITS_FOR_APP", "RESPONDING", "OVER"]
    assert {"CONNECTING", "SHAKING", "GREETING", "OPEN"} <= {f["to"] for f in lines_of(client, "tunnel.state")}
    assert [f["kind"] for f in lines_of(responder, "gate.out", corr)][0] == "OPEN"
    assert {f["kind"] for f in lines_of(responder, "gate.in", corr)} == {"REPLY"}
    assert {"PARAMS", "STDIN"} <= {f["type"] for f in lines_of(responder, "fastcgi.in")}
    assert {"STDOUT", "END_REQUEST"} <= {f["type"] for f in lines_of(responder, "fastcgi.out")}
    for process in (client, responder, broker):
        process.stop()
    shutil.rmtree(directory, ignore_errors=True)


def test_a_reader_that_stops_stops_no_program(make_web, make_app, server):
    """stderr is a pipe that is not read: lines are dropped, and requests continue."""
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    web = make_web()
    read_end, write_end = os.pipe()
    p = subprocess.Popen([program("client"), make_app().url, f"ws://127.0.0.1:{web.broker_port}/"], stderr=write_end,
                         env=environment(PIPEGATE_TOKEN=token("demo")))
    os.close(write_end)
    try:
        wait_until(lambda: "conn=demo " in web.broker.log(), "the broker knows the tunnel")
        connection = WebServer(web)
        for _ in range(1000):  # 200 bytes each; a pipe holds 64 KiB
            assert connection.call("/demo/x").status == 200
        connection.close()
        seen = b""
        while b"log.dropped" not in seen:
            connection = WebServer(web)
            seen += os.read(read_end, 65536)
            assert connection.call("/demo/x").status == 200
            connection.close()
        assert re.search(rb"\nwarn log.dropped lines=\d+\n", seen)
    finally:
        p.terminate()
        p.wait()
        os.close(read_end)
