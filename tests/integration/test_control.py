"""pipegate-ctl: what it shows and does, with a broker and without one."""
import json
import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness import PATIENCE_S, UNDER, Process, V1Client, environment, program, token, wait_until


class Control:
    """A stack with a control socket and a state directory."""

    def __init__(self, make_web, directory, **more):
        self.state = directory / "state"
        self.state.mkdir(exist_ok=True)
        self.path = directory / "control.sock"
        self.web = make_web(PIPEGATE_STATE=str(self.state), PIPEGATE_CONTROL=f"unix:{self.path}", **more)

    def argv(self, *arguments):
        return [*UNDER, program("ctl"), "--control", f"unix:{self.path}", *arguments]

    def run(self, *arguments, check=0):
        done = subprocess.run(self.argv(*arguments), capture_output=True, text=True, timeout=PATIENCE_S,
                              env=environment())
        assert done.returncode == check, done
        return done

    def ask(self, *arguments):
        return json.loads(self.run("--json", *arguments).stdout)


@pytest.fixture
def control(make_web, tmp_path):
    return Control(make_web, tmp_path)


def v1(web, text):
    return V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={text}").wait_open()


def test_list_and_show(control, make_app):
    web, release = control.web, []
    app = make_app(lambda request, connection: release.append(connection))
    web.client(f"http://127.0.0.1:{app.port}", sub="shown", direct=False)
    old = v1(web, token("old-one", jti="of-the-old-one"))
    web.wait_metric("pipegate_tunnels", 2)
    by_id = {t["id"]: t for t in control.ask("list")["tunnels"]}
    shown, v1_tunnel = by_id["shown"], by_id["old-one"]
    assert shown["client"].startswith("pipegate-client/") and shown["protocol"] == "v2" and shown["state"] == "OPEN"
    assert shown["address"] == "127.0.0.1" and shown["rtt_ms"] >= 0
    assert abs(shown["since"] - time.time()) < 60 and 3500 < shown["expires_in_ms"] / 1000 < 3600
    assert (v1_tunnel["protocol"], v1_tunnel["client"], v1_tunnel["jti"]) == ("v1", None, "of-the-old-one")
    assert len(control.ask("list", "shown")["tunnels"]) == 1

    from harness import Caller
    caller = Caller(web.port)
    caller.request("POST", "/shown/secret?key=1", body=b"12345")
    wait_until(lambda: release, "the request is at the app")
    one = control.ask("show", "shown")
    assert one["running_or_queued"] == 1 and one["exchanges"][0]["state"] == "SENT" and one["exchanges"][0]["up_bytes"] == 5
    assert one["tunnels"][0]["running"] == 1 and one["tunnels"][0]["requests"] == 1 and one["tunnels"][0]["out_bytes"] > 5
    lines = control.run("list").stdout.splitlines()
    assert lines[0].split() == ["ID", "CLIENT", "ADDRESS", "AGE", "RTT", "RUN", "WAIT", "IN", "OUT"]
    assert all(len(line) <= 80 for line in lines) and len({len(line) for line in lines[:-1]}) == 1, lines
    assert lines[-1] == "2 tunnels"
    table = control.run("show", "shown").stdout
    assert one["exchanges"][0]["corr"] in table and all(len(line) <= 80 for line in table.splitlines())
    release[0].answer(200)
    assert caller.response().status == 200
    caller.close()
    old.close()


def test_long_names_are_cut(control):
    name = "x" * 64
    v1(control.web, token(name)).close  # noqa: B018
    control.web.wait_metric("pipegate_tunnels", 1)
    lines = control.run("list").stdout.splitlines()
    assert lines[1].startswith("x" * 17 + ".. ") and len(lines[1]) <= 80
    assert control.ask("list")["tunnels"][0]["id"] == name


def test_kick(control, make_app):
    """The client comes back by itself."""
    web = control.web
    client = web.client(f"http://127.0.0.1:{make_app().port}", sub="kicked")
    assert control.run("kick", "kicked").stdout == "Closed 1 tunnels.\n"
    client.wait_log("closed by the operator")
    client.wait_log("tunnel.open", 2)
    wait_until(lambda: web.get("/kicked/").status == 200, "it is back")
    refused = control.run("kick", "nobody", check=1)
    assert refused.stderr == "pipegate-ctl: This connection id has no tunnel.\n"


def test_revoke_a_token(control, make_app):
    """The door shuts at once and stays shut over a restart; another token of the same id opens it."""
    web = control.web
    first, second = token("revoked", jti="first"), token("revoked", jti="second")
    client = web.client(f"http://127.0.0.1:{make_app().port}", sub="revoked", tok=first)
    other = v1(web, second)
    assert control.ask("revoke", "--jti", "first") == {"closed": 1, "kept": True}
    assert client.wait() == 77
    assert "Token revoked" in client.log()
    assert v1(web, first).wait_closed() == (1008, "Token revoked")
    assert not other.closed.is_set()
    assert stat.S_IMODE((control.state / "revocations.json").stat().st_mode) == 0o600
    web.broker.stop()
    other.wait_closed()
    web.broker = web.start_broker()
    assert v1(web, first).wait_closed() == (1008, "Token revoked")
    again = v1(web, second)
    web.wait_metric("pipegate_tunnels", 1)
    again.close()


def test_revoke_a_sub_and_a_time(control):
    web, now = control.web, int(time.time())
    old, mine, theirs = token("mine", iat=now - 100), token("mine", iat=now - 10), token("theirs", iat=now - 10)
    tunnels = [v1(web, t) for t in (old, mine, theirs)]
    web.wait_metric("pipegate_tunnels", 3)
    assert control.ask("revoke", "--sub", "mine", "--issued-before", str(now - 50))["closed"] == 1
    assert tunnels[0].wait_closed() == (1008, "Token revoked")
    assert control.ask("revoke", "--sub", "mine")["closed"] == 1
    assert tunnels[1].wait_closed() == (1008, "Token revoked")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 5))
    assert control.ask("revoke", "--issued-before", at)["closed"] == 1
    assert tunnels[2].wait_closed() == (1008, "Token revoked")
    fresh = v1(web, token("theirs", iat=now))
    web.wait_metric("pipegate_tunnels", 1)
    # A token of that sub that is made from now on is good, by the next second at the latest.
    later = v1(web, token("mine", iat=now + 30))
    web.wait_metric("pipegate_tunnels", 2)
    later.close()
    fresh.close()


def test_not_kept(make_web, tmp_path):
    """Without PIPEGATE_STATE; and with a disk that takes nothing: in force, and said."""
    web = make_web(PIPEGATE_CONTROL=f"unix:{tmp_path}/control.sock")
    argv = [*UNDER, program("ctl"), "--control", f"unix:{tmp_path}/control.sock", "revoke", "--jti", "j"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    assert done.returncode == 0 and "until the broker stops" in done.stdout
    assert v1(web, token(jti="j")).wait_closed() == (1008, "Token revoked")


def test_state_cannot_be_written(control):
    control.run("revoke", "--jti", "a")
    (control.state / "revocations.new").mkdir()
    failed = control.run("revoke", "--jti", "b", check=1)
    assert failed.stderr.startswith("pipegate-ctl: ") and "revocations.json" in failed.stderr
    assert "control.revocation_not_saved" in control.web.broker.log()
    assert v1(control.web, token(jti="b")).wait_closed() == (1008, "Token revoked")
    assert json.loads((control.state / "revocations.json").read_text())["jti"] == ["a"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"jti": 1, "sub": {}, "issued_before": 0}'])
def test_broken_state(control, text):
    """A broker that cannot read what is revoked does not start, and leaves the file as it is."""
    control.web.broker.stop()
    path = control.state / "revocations.json"
    path.write_text(text)
    done = subprocess.run([program("broker")], capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environment(PIPEGATE_STATE=str(control.state), PIPEGATE_LISTEN="127.0.0.1:0",
                                          PIPEGATE_GATE=f"ipc://{control.state}/gate.sock"))
    assert done.returncode == 78 and done.stderr.count("\n") == 1 and "revocations.json" in done.stderr, done
    assert path.read_text() == text
    path.unlink()
    control.web.broker = control.web.start_broker()


def test_two_brokers_on_one_state(control):
    done = subprocess.run([program("broker")], capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environment(PIPEGATE_STATE=str(control.state), PIPEGATE_LISTEN="127.0.0.1:0",
                                          PIPEGATE_GATE=f"ipc://{control.state}/gate.sock"))
    assert done.returncode == 78 and done.stderr.count("\n") == 1, done
    assert "PIPEGATE_STATE" in done.stderr and "in use by another broker" in done.stderr


def test_reload(control, tmp_path):
    assert control.run("reload").stdout == "The keys are read again.\n"
    assert "keys.reloaded keys=1" in control.web.broker.log()


def test_drain(control):
    assert control.run("drain").returncode == 0
    assert control.web.broker.wait() == 0
    dead = control.run("list", check=1)
    assert dead.stderr.startswith("pipegate-ctl: no broker at unix:") and dead.stderr.count("\n") == 1
    control.web.broker = control.web.start_broker()


def test_log(control):
    """Lines of one id as they come, and of all; an empty line that keeps the connection is not shown."""
    web = control.web
    one = Process(web.directory, "ctl-one", control.argv("log", "one"))
    every = Process(web.directory, "ctl-all", control.argv("log"))
    # The broker says nothing of its readers, so lines are made until each has one.
    def seen(process, text):
        v1(web, token("one")).close()
        v1(web, token("two")).close()
        v1(web, token("one-more")).close()
        return text in process.log()
    wait_until(lambda: seen(one, "tunnel.closed conn=one ") and seen(every, "conn=two "), "both have lines")
    assert "conn=two" not in one.log() and "conn=one-more" not in one.log()
    assert "\n\n" not in one.log()
    for process in (one, every):
        process.signal(signal.SIGTERM)
        process.wait()
        process.close()


def test_frozen_reader_of_the_log(control, make_app):
    """It costs nobody else anything, and its lines are counted."""
    web = control.web
    web.client(f"http://127.0.0.1:{make_app().port}", sub="busy")
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(str(control.path))
    s.sendall(b"GET /v1/log HTTP/1.1\r\nHost: x\r\n\r\n")
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    path = "/busy/" + "x" * 200
    for _ in range(3000):
        assert web.get(path).status == 200
    assert control.ask("list", "busy")["tunnels"][0]["requests"] == 3000
    s.settimeout(PATIENCE_S)
    text = b""
    while b"log.dropped" not in text:
        text = text[-100:] + s.recv(65536)
        web.get("/busy/")
    s.close()


def test_socket_mode(control):
    mode = control.path.stat()
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o660 and mode.st_gid == os.getegid()


def test_foreign_socket(make_web, tmp_path):
    """Something else listens there, or nothing: one line."""
    path = tmp_path / "foreign.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"SSH-2.0-x\r\n", b""):
            s.listen()
            p = subprocess.Popen([program("ctl"), "--control", f"unix:{path}", "list"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, env=environment())
            c, _ = s.accept()
            c.recv(1000)
            c.sendall(answer)
            c.close()
            out, err = p.communicate(timeout=PATIENCE_S)
            assert p.returncode == 1 and err.count("\n") == 1 and err.startswith("pipegate-ctl: ") and not out, (out, err)


@pytest.mark.parametrize("arguments, code", [
    (["fly"], 2), ([], 2), (["show"], 2), (["kick"], 2), (["reload", "x"], 2), (["revoke"], 2), (["list", "a", "b"], 2),
    (["revoke", "--issued-before", "yesterday"], 2), (["--control", "/run/x", "list"], 78), (["--json=1", "list"], 2),
])
def test_misuse(arguments, code):
    done = subprocess.run([program("ctl"), *arguments], capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environment())
    assert done.returncode == code and done.stderr.count("\n") == 1, done


@pytest.mark.parametrize("arguments, status", [
    ("GET /v1/id", 400), ("GET /v1/id?id=a/b", 400), ("GET /v1/id?id=nobody", 404), ("GET /v1/kick?id=a", 404),
    ("POST /v1/revoke", 400), ("POST /v1/revoke?jti=", 400), ("POST /v1/revoke?sub=a/b", 400), ("POST /v1/tunnels", 404),
    ("POST /v1/revoke?jti=a&sub=b", 400), ("POST /v1/revoke?issued_before=x", 400), ("GET /v1/log?id=..", 400),
    ("POST /v1/revoke?jti=" + "x" * 256, 400),
])
def test_bad_calls(control_of_module, arguments, status):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE_S)
        s.connect(str(control_of_module.path))
        s.sendall(f"{arguments} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert s.recv(1000).split()[1] == str(status).encode()


@pytest.fixture(scope="module")
def control_of_module(server, tmp_path_factory):
    from conftest_shared import make_directory
    from harness import Stack
    directory = make_directory()

    def make(**settings):
        return Stack(directory, server, **settings)
    one = Control(make, tmp_path_factory.mktemp("control"))
    yield one
    one.web.close()
