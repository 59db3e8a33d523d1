"""Command lines, bad configuration, names in use, signals (contract sections 1 and 2). No web server."""
import fcntl
import os
import pathlib
import re
import select
import shutil
import socket
import stat
import subprocess
import tempfile

import pytest

from harness import PATIENCE_S, SECRET, Process, V1Client, environment, free_port, program, token, wait_until

PROGRAMS = ("broker", "fcgi", "client", "token")


@pytest.fixture
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="pipegate-"))
    yield path
    shutil.rmtree(path)


def run(name, *arguments, stdin=subprocess.DEVNULL, **variables):
    done = subprocess.run([program(name), *arguments], env=environment(**variables), capture_output=True, text=True,
                          timeout=PATIENCE_S, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_version(name):
    for flag in ("-h", "--help"):
        code, out, err = run(name, flag)
        assert (code, err) == (0, "") and out.startswith(f"usage: pipegate-{name}")
    code, out, err = run(name, "--version")
    assert (code, err) == (0, "") and re.match(rf"pipegate-{name} \d+\.\d+\.\d+ \(", out)


@pytest.mark.parametrize("name", PROGRAMS)
def test_unknown_flag(name):
    code, out, err = run(name, "--nonsense")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "nonsense" in err


@pytest.mark.parametrize("name, arguments", [
    ("broker", ["extra"]), ("fcgi", ["extra"]), ("token", ["extra"]),
    ("fcgi", ["--threads", "0"]), ("fcgi", ["--threads", "x"]), ("fcgi", ["--threads", "-1"]), ("broker", ["--listen"]),
    ("token", ["--ttl-days", "x"]), ("token", ["--ttl-days", "0"]),
    ("client", []), ("client", ["3000"]), ("client", ["3000", "ws://x/?token=a", "more"]),
    ("client", ["ftp://x", "ws://x/?token=a"]), ("client", ["0", "ws://x/?token=a"]), ("client", ["99999", "ws://x/?token=a"]),
    ("client", ["http://", "ws://x/?token=a"]), ("client", ["unix:relative", "ws://x/?token=a"]),
    ("client", ["3000", "ftp://x/?token=a"]), ("client", ["3000", "4000"]), ("client", ["nonsense", "ws://x/?token=a"]),
    ("client", ["--host-header", "a b", "3000", "ws://x/?token=a"]),
])
def test_impossible_arguments(name, arguments):
    code, out, err = run(name, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1


@pytest.mark.parametrize("name, arguments", [
    ("client", ["--insec", "3000", "ws://x/?token=a"]), ("client", ["--token", "x", "3000", "ws://x/"]),
    ("client", ["--token=x", "3000", "ws://x/"]), ("broker", ["--chec"]), ("fcgi", ["--list", "unix:/nonexistent/x"]),
    ("token", ["--connection=x"]), ("client", ["3000", "--host", "keep", "ws://x/?token=a"]),
])
def test_flags_are_not_abbreviated(name, arguments):
    code, out, err = run(name, *arguments)
    flag = next(a for a in arguments if a.startswith("--")).split("=")[0]
    assert (code, out, err) == (2, "", f'pipegate-{name}: unknown flag: "{flag}"\n')


@pytest.mark.parametrize("name, arguments, message", [
    ("token", ["-c"], 'needs an argument: "-c"'), ("token", ["-vx"], 'unknown flag: "-x"'),
    ("client", ["--token-file"], 'needs an argument: "--token-file"'),
    ("client", ["--insecure=yes"], 'takes no argument: "--insecure"'), ("broker", ["a", "b"], 'unexpected argument: "a"'),
])
def test_what_is_wrong_with_a_flag(name, arguments, message):
    assert run(name, *arguments) == (2, "", f"pipegate-{name}: {message}\n")


TOKEN = token()
SWAPPED = SECRET[:20] + "!" + SECRET[20:]  # a secret that does not look like one


@pytest.mark.parametrize("name, arguments, variables", [
    ("client", [f"ws://h/?token={TOKEN}", "3000"], {}), ("client", [TOKEN, "ws://h/"], {}), ("client", ["3000", TOKEN], {}),
    ("client", [f"http://h/token={TOKEN}?x", "ws://h/"], {}), ("client", ["3000", f"ws://{TOKEN}@h/"], {}),
    ("client", ["3000", f"http://me:{TOKEN}@h/x"], {}), ("client", [f"unix:{TOKEN}", "ws://h/"], {}),
    ("client", ["--token", TOKEN, "3000", "ws://h/"], {}), ("client", [f"--token={TOKEN}", "3000", "ws://h/"], {}),
    ("client", [f"--insecure={TOKEN}", "3000", "ws://h/"], {}), ("client", [f"--{TOKEN}", "3000", "ws://h/"], {}),
    ("client", ["--token-file", TOKEN, "3000", "ws://h/"], {}), ("client", [f"--token-file=/x/{TOKEN}", "3000", "ws://h/"], {}),
    ("client", ["--ca-file", TOKEN, "3000", "ws://h/?token=x"], {}), ("client", ["--host-header", f"a {TOKEN}", "3000", "ws://h/"], {}),
    ("client", [TOKEN], {}), ("client", [TOKEN, "3000", "ws://h/"], {}), ("client", ["3000", f"ws://h/{TOKEN}"], {}),
    ("client", ["3000", "ws://h/"], {"PIPEGATE_TOKEN": f"{TOKEN} {TOKEN}"}),
    ("client", ["opaque", "ws://h/"], {"PIPEGATE_TOKEN": "opaque"}), ("client", ["--token-file", "opaque", "3000", "ws://h/"], {"PIPEGATE_TOKEN": "opaque"}),
    ("token", [TOKEN], {}), ("token", ["-c", TOKEN], {}), ("token", ["--ttl-days", TOKEN], {}), ("token", [f"--json={TOKEN}"], {}),
    ("token", ["-c", SWAPPED], {"PIPEGATE_JWT_SECRET": SWAPPED}), ("token", [SWAPPED], {"PIPEGATE_JWT_SECRET": SWAPPED}),
    ("token", [], {"PIPEGATE_JWT_SECRET": SWAPPED, "PIPEGATE_JWT_ALGORITHMS": SWAPPED}),
    ("broker", [TOKEN], {}), ("broker", ["--listen", TOKEN], {}), ("broker", ["--gate", TOKEN], {}), ("broker", ["--gate", f"ipc:///nonexistent/{TOKEN}"], {}),
    ("broker", ["--listen", f"unix:/nonexistent/{TOKEN}", "--gate", "ipc:///nonexistent/x"], {}), ("broker", ["--socket-group", TOKEN], {}),
    ("broker", [], {"PIPEGATE_JWT_SECRET": SWAPPED, "PIPEGATE_ADMIN": SWAPPED}), ("broker", [], {"PIPEGATE_JWT_ALGORITHMS": TOKEN}),
    ("broker", [], {"PIPEGATE_JWT_SECRET": SWAPPED, "PIPEGATE_MAX_CONCURRENT": SWAPPED}),
    ("fcgi", [TOKEN], {}), ("fcgi", ["--listen", TOKEN], {}), ("fcgi", ["--gate", TOKEN, "--listen", "unix:/nonexistent/x"], {}),
    ("fcgi", [f"--threads={TOKEN}"], {}), ("fcgi", ["--listen", f"unix:/nonexistent/{TOKEN}"], {}),
])
def test_no_secret_is_printed(name, arguments, variables):
    """Wherever on the command line or in the environment it is."""
    code, out, err = run(name, *arguments, **variables)
    assert code in (2, 78) and out == "" and err.count("\n") == 1, err
    for secret in (*TOKEN.split("."), SWAPPED, "opaque", SECRET):
        assert secret not in err, err


@pytest.mark.parametrize("variable, text, query, words", [
    (f'"{TOKEN}"', None, "", "PIPEGATE_TOKEN: has quotes around the token"), (f"'{TOKEN}'", None, "", "PIPEGATE_TOKEN: has quotes"),
    ("", None, "", "PIPEGATE_TOKEN: is empty"), (None, None, "", "PIPEGATE_TOKEN: no token"), (f"{TOKEN} {TOKEN}", None, "", "PIPEGATE_TOKEN: is not a token"),
    (None, "", "", "--token-file: is empty"), (None, " \n", "", "--token-file: is empty"), (None, f'"{TOKEN}"\n', "", "--token-file: has quotes"),
    (None, "Connection-id: x\n", "", "--token-file: holds no token"), (None, f"{TOKEN}\n{TOKEN}\n", "", "--token-file: holds more than one token"),
    (None, None, "?token=", "token= in SERVER_URL: is empty"), ("", None, "?a&token=&b", "token= in SERVER_URL: is empty"),
    (None, None, f"?token='{TOKEN}'", "token= in SERVER_URL: has quotes"), (None, None, f"?token=%22{TOKEN}%22", "token= in SERVER_URL: has quotes"),
])
def test_what_is_wrong_with_a_token(directory, variable, text, query, words):
    file = directory / "token"
    if text is not None:
        file.write_text(text)
    code, out, err = run("client", *(["--token-file", str(file)] if text is not None else []), "3000", f"ws://h/{query}", PIPEGATE_TOKEN=variable)
    assert (code, out) == (78, "") and err.startswith(f"pipegate-client: {words}") and err.count("\n") == 1, err
    assert not any(part in err for part in TOKEN.split(".")), err


def test_no_token_is_logged_by_the_client(directory):
    """Even if it is part of a URL."""
    port = free_port()
    for server in (f"ws://127.0.0.1:{port}/{TOKEN}/?token={TOKEN}", f"ws://127.0.0.1:{port}/token={TOKEN}?token=x",
                   f"ws://{TOKEN}:{port}/?token=x"):
        client = Process(directory, "client", [program("client"), "-v", "3000", server])
        client.wait_log("tunnel.closed")
        assert not any(part in client.log() for part in TOKEN.split(".")), client.log()
        client.stop()


NUMBERS = ("PIPEGATE_MAX_QUEUE_DEPTH", "PIPEGATE_MAX_CONCURRENT", "PIPEGATE_V1_MESSAGE_BYTES", "PIPEGATE_RESPONSE_TIMEOUT",
           "PIPEGATE_IDLE_TIMEOUT", "PIPEGATE_OFFLINE_WAIT", "PIPEGATE_DRAIN_SECONDS", "PIPEGATE_MAX_BODY_BYTES")


@pytest.mark.parametrize("variable, value", [(v, x) for v in NUMBERS for x in ("", "x", "-1", "1.5", "99999999999999999999")] + [
    ("PIPEGATE_JWT_SECRET", None), ("PIPEGATE_JWT_SECRET", ""),
    ("PIPEGATE_JWT_ALGORITHMS", None), ("PIPEGATE_JWT_ALGORITHMS", ""), ("PIPEGATE_JWT_ALGORITHMS", "HS256"),
    ("PIPEGATE_JWT_ALGORITHMS", "[]"), ("PIPEGATE_JWT_ALGORITHMS", '["none"]'), ("PIPEGATE_JWT_ALGORITHMS", '["RS256"]'),
    ("PIPEGATE_JWT_ALGORITHMS", '[7]'), ("PIPEGATE_JWT_ALGORITHMS", '{"a": 1}'),
    ("PIPEGATE_LISTEN", "nonsense"), ("PIPEGATE_LISTEN", "127.0.0.1:99999"), ("PIPEGATE_LISTEN", "unix:"),
    ("PIPEGATE_GATE", "nonsense"), ("PIPEGATE_GATE", "ipc://relative"), ("PIPEGATE_GATE", "tcp://0.0.0.0:5000"),
    ("PIPEGATE_GATE", "tcp://*:5000"), ("PIPEGATE_ADMIN", "nonsense"),
])
def test_bad_configuration_of_the_broker(directory, variable, value):
    variables = {"PIPEGATE_GATE": f"ipc://{directory}/gate", "PIPEGATE_LISTEN": "127.0.0.1:0", variable: value}
    for arguments in ([], ["--check"]):
        code, out, err = run("broker", *arguments, **variables)
        assert (code, out) == (78, "") and err.count("\n") == 1 and variable in err
        if value and variable != "PIPEGATE_JWT_SECRET":
            assert f'"{value}"' in err.replace('\\"', '"')
    assert os.listdir(directory) == [], "nothing half started"


@pytest.mark.parametrize("name, arguments, variables, words", [
    ("fcgi", ["--listen", "nonsense"], {}, ["--listen", '"nonsense"']),
    ("fcgi", ["--gate", "nonsense", "--listen", "unix:/tmp/x"], {}, ["--gate", '"nonsense"']),
    ("fcgi", [], {}, ["--listen"]),
    ("fcgi", ["--listen", "unix:/nonexistent/x"], {}, ["--listen", "/nonexistent/x"]),
    ("fcgi", ["--listen", "unix:/tmp/x", "--socket-group", "no-such-group"], {}, ["--socket-group", '"no-such-group"']),
    ("fcgi", ["--listen", "unix:/tmp/x"], {"PIPEGATE_MAX_BODY_BYTES": "x"}, ["PIPEGATE_MAX_BODY_BYTES", '"x"']),
    ("token", [], {"PIPEGATE_JWT_SECRET": None}, ["PIPEGATE_JWT_SECRET"]),
    ("token", [], {"PIPEGATE_JWT_TTL_DAYS": "0"}, ["PIPEGATE_JWT_TTL_DAYS", '"0"']),
    ("token", [], {"PIPEGATE_CONNECTION_ID": "a/b"}, ["PIPEGATE_CONNECTION_ID", '"a/b"']),
    ("client", ["3000", "ws://127.0.0.1:1/"], {}, ["PIPEGATE_TOKEN"]),
    ("client", ["--token-file", "/nonexistent", "3000", "ws://127.0.0.1:1/"], {}, ["--token-file", '"/nonexistent"']),
    ("client", ["--ca-file", "/nonexistent", "3000", "ws://127.0.0.1:1/?token=x"], {}, ["--ca-file", '"/nonexistent"']),
    ("client", ["--ca-file", "/etc/passwd", "3000", "ws://127.0.0.1:1/?token=x"], {}, ["--ca-file: holds no certificate", '"/etc/passwd"']),
    ("client", ["--target-ca-file", "/etc", "3000", "ws://127.0.0.1:1/?token=x"], {}, ["--target-ca-file: is not a regular file"]),
])
def test_bad_configuration(name, arguments, variables, words):
    code, out, err = run(name, *arguments, **variables)
    assert (code, out) == (78, "") and err.count("\n") == 1, err
    assert all(w in err for w in words), err


@pytest.mark.parametrize("name, arguments, variables", [
    ("token", ["-c", "good"], {"PIPEGATE_CONNECTION_ID": "bad id"}),
    ("token", ["--ttl-days", "3"], {"PIPEGATE_JWT_TTL_DAYS": "x"}),
    ("broker", ["--check", "--listen", "127.0.0.1:0"], {"PIPEGATE_LISTEN": ""}),
    ("broker", ["--check", "--listen", "127.0.0.1:0"], {"PIPEGATE_LISTEN": "nonsense"}),
    ("broker", ["--check", "--gate", "ipc:///tmp/x"], {"PIPEGATE_GATE": ""}),
])
def test_flag_wins_over_a_bad_variable(name, arguments, variables):
    code, _, err = run(name, *arguments, **variables)
    assert (code, err) == (0, "")


def test_flag_wins_over_a_bad_variable_of_programs_that_stay(directory):
    gate = f"ipc://{directory}/gate.sock"
    broker = Process(directory, "broker", [program("broker"), "--listen", "127.0.0.1:0", "--gate", gate],
                     environment(PIPEGATE_LISTEN="", PIPEGATE_GATE="nonsense"))
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    responder = Process(directory, "fcgi", [program("fcgi"), "--listen", "127.0.0.1:0", "--gate", gate],
                        environment(PIPEGATE_GATE=""))
    responder.wait_log("gate.connected")
    (directory / "token").write_text(token())
    client = Process(directory, "client", [program("client"), "--token-file", str(directory / "token"), "3000",
                                           f"ws://127.0.0.1:{port}/"], environment(PIPEGATE_TOKEN="no token"))
    client.wait_log("tunnel.open")
    for p in (client, responder, broker):
        p.stop()


@pytest.mark.parametrize("name, arguments, variables", [
    ("token", [], {"PIPEGATE_LISTEN": "", "PIPEGATE_GATE": "", "PIPEGATE_MAX_BODY_BYTES": "x"}),
    ("broker", ["--check"], {"PIPEGATE_CONNECTION_ID": "bad id", "PIPEGATE_JWT_TTL_DAYS": "x"}),
])
def test_variables_of_another_program_do_not_matter(name, arguments, variables):
    code, _, err = run(name, *arguments, **variables)
    assert (code, err) == (0, "")


def claims(text):
    import base64
    import json
    part = text.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_token():
    code, out, err = run("token")
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 2)
    assert re.fullmatch(r"Connection-id: [0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", lines[0])
    assert lines[1].startswith("JWT Bearer:    ey")
    c = claims(lines[1].split()[-1])
    assert set(c) == {"sub", "exp", "nbf", "iat", "iss", "aud", "jti"}
    assert c["sub"] == lines[0].split()[-1] and c["exp"] - c["iat"] == 21 * 86400
    assert claims(run("token", "-c", "my-app", "--ttl-days", "2")[1].split()[-1])["sub"] == "my-app"
    assert "Connection-id: pinned\n" in run("token", PIPEGATE_CONNECTION_ID="pinned")[1]
    assert "Connection-id: flag\n" in run("token", "--connection-id", "flag", PIPEGATE_CONNECTION_ID="pinned")[1]
    for bad in ("a/b", "", "x" * 65, "healthz"):
        assert run("token", "-c", bad)[0] in (2, 78)


def start_broker(directory, *arguments, name="broker"):
    p = Process(directory, name, [program("broker"), "--gate", f"ipc://{directory}/gate.sock",
                                  *(arguments or ("--listen", "127.0.0.1:0"))])
    return p


def test_names_in_use(directory):
    first = start_broker(directory)
    port = first.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    code, _, err = run("broker", "--listen", "127.0.0.1:0", "--gate", f"ipc://{directory}/gate.sock")
    assert code == 78 and "gate.sock" in err.splitlines()[-1]
    code, _, err = run("broker", "--listen", f"127.0.0.1:{port}", "--gate", f"ipc://{directory}/other.sock")
    assert code == 78 and port in err.splitlines()[-1]
    assert not (directory / "other.sock").exists(), "nothing half started"
    code, _, err = run("broker", "--listen", "127.0.0.1:0", "--gate", f"ipc://{directory}/other.sock",
                       PIPEGATE_ADMIN=f"127.0.0.1:{port}")
    assert code == 78 and "PIPEGATE_ADMIN" in err and err.count("\n") == 1
    responder = Process(directory, "fcgi", [program("fcgi"), "--listen", f"unix:{directory}/f.sock", "--gate",
                                            f"ipc://{directory}/gate.sock"])
    responder.wait_log("gate.connected")
    code, _, err = run("fcgi", "--listen", f"unix:{directory}/f.sock", "--gate", f"ipc://{directory}/gate.sock")
    assert code == 78 and "f.sock" in err
    for name in ("gate.sock", "f.sock"):
        assert stat.S_IMODE(os.stat(directory / name).st_mode) == 0o660
    responder.stop()
    first.stop()
    assert not (directory / "f.sock").exists() and not (directory / "gate.sock").exists()


def test_dead_names_are_replaced(directory):
    for name in ("gate.sock", "l.sock"):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(directory / name))
    p = start_broker(directory, "--listen", f"unix:{directory}/l.sock")
    p.wait_log("ready")
    p.kill()
    p = start_broker(directory, "--listen", f"unix:{directory}/l.sock", name="broker2")
    p.wait_log("ready")
    p.stop()


def test_nobody_keeps_a_name_by_a_lock(directory):
    """Every user can open /run/pipegate, and so lock it. A lock that is held delays the start by 5 s, and the error names its file."""
    with open(directory / "gate.sock.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, err = run("broker", "--listen", "127.0.0.1:0", "--gate", f"ipc://{directory}/gate.sock")
        assert code == 78 and "gate.sock.lock" in err and err.count("\n") == 1
    descriptor = os.open(directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    p = start_broker(directory)
    p.wait_log("ready")
    p.stop()
    os.close(descriptor)
    assert not list(directory.glob("*.lock"))


def run_activated(argv, listeners, **options):
    """Starts the program as systemd does with sockets: its own process id in LISTEN_PID, the sockets from descriptor 3."""
    count = len(listeners)

    def place():  # the copies are inherited; first out of the way of each other
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100) for s in listeners]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)

    return subprocess.Popen(["sh", "-c", f'LISTEN_FDS={count} LISTEN_PID=$$ exec "$@"', "sh", *argv], stdin=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, preexec_fn=place, close_fds=False, **options)


def test_broker_takes_systemds_socket(directory):
    path = directory / "tunnels.sock"
    argv = [program("broker"), "--gate", f"ipc://{directory}/gate.sock"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        for attempt in range(2):
            p = run_activated(argv, [listener], env=environment())
            lines = iter(p.stderr.readline, "")
            assert any(f"listening what=tunnels address=unix:{path}" in line for line in lines)
            assert any("ready" in line for line in lines)
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE_S)
                s.connect(str(path))
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert s.recv(65536).startswith(b"HTTP/1.1 200")
            p.terminate()
            assert p.wait(PATIENCE_S) == 0
            p.stderr.close()
            assert path.exists(), "it is systemd's, for the next broker"


@pytest.mark.parametrize("flags, variables", [(["--listen", "127.0.0.1:0"], {}), ([], {"PIPEGATE_LISTEN": "127.0.0.1:0"})])
def test_an_address_wins_over_systemds_socket(directory, flags, variables):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "tunnels.sock"))
        listener.listen()
        p = run_activated([program("broker"), "--gate", f"ipc://{directory}/gate.sock", *flags], [listener],
                          env=environment(**variables))
        lines = iter(p.stderr.readline, "")
        assert any("listener.inherited_ignored" in line for line in lines)
        assert any("listening what=tunnels address=127.0.0.1:" in line for line in lines)
        assert any("ready" in line for line in lines)
        p.terminate()
        assert p.wait(PATIENCE_S) == 0
        p.stderr.close()


def test_broker_refuses_several_sockets(directory):
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        p = run_activated([program("broker"), "--gate", f"ipc://{directory}/gate.sock"], [a, b], env=environment())
        _, err = p.communicate(timeout=PATIENCE_S)
    assert p.returncode == 78 and "LISTEN_FDS" in err and err.count("\n") == 1


def test_a_file_that_is_no_socket_stays(directory):
    (directory / "l.sock").write_text("precious")
    code, _, err = run("broker", "--listen", f"unix:{directory}/l.sock", "--gate", f"ipc://{directory}/g.sock")
    assert code == 78 and (directory / "l.sock").read_text() == "precious"


def test_refused_token_ends_the_client(directory):
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    bad = token(secret="another")
    code, _, err = run("client", "3000", f"ws://127.0.0.1:{port}/?token={bad}")
    assert code == 77 and "Invalid token" in err and bad not in err
    code, _, err = run("client", "3000", f"ws://127.0.0.1:{port}/", PIPEGATE_TOKEN=token(exp=1))
    assert code == 77 and "Token expired" in err
    broker.stop()


@pytest.mark.parametrize("status", [401, 403])
def test_http_refusal_ends_the_client(status):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen([program("client"), "3000", f"ws://127.0.0.1:{listener.getsockname()[1]}/?token=x"],
                                  stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        _, err = client.communicate(timeout=PATIENCE_S)
        connection.close()
    assert client.returncode == 77 and str(status) in err


def test_why_there_is_no_tunnel(directory):
    port = free_port()
    client = Process(directory, "client", [program("client"), "3000", f"ws://127.0.0.1:{port}/?token=x"])
    line = client.wait_log("tunnel.closed")
    assert line.startswith("warn ") and f"127.0.0.1 port {port}" in line and "Connection refused" in line, line
    client.stop()


def test_client_waits_for_a_slow_handshake():
    """Up to 20 s in all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen([program("client"), "3000", f"ws://127.0.0.1:{listener.getsockname()[1]}/?token=x"],
                                  stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        connection.recv(65536)
        assert not select.select([connection], [], [], 7)[0], "it has given up"
        connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert any("code=503" in line for line in client.stderr)
        client.terminate()
        client.communicate(timeout=PATIENCE_S)
        connection.close()


def test_client_comes_back(directory):
    """The server is not up yet, then dies, then is up again."""
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    broker.stop()
    client = Process(directory, "client", [program("client"), "3000", f"ws://127.0.0.1:{port}/"],
                     environment(PIPEGATE_TOKEN=token()))
    client.wait_log("retry_ms")
    for i in (1, 2):
        broker = start_broker(directory, "--listen", f"127.0.0.1:{port}", name=f"broker{i}")
        client.wait_log("tunnel.open", i)
        broker.kill()
    client.stop()


@pytest.mark.parametrize("signal", [15, 2])
def test_signals(directory, signal):
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    client = Process(directory, "client", [program("client"), "3000", f"ws://127.0.0.1:{port}/"],
                     environment(PIPEGATE_TOKEN=token()))
    client.wait_log("tunnel.open")
    responder = Process(directory, "fcgi", [program("fcgi"), "--listen", "127.0.0.1:0", "--gate", f"ipc://{directory}/gate.sock"])
    responder.wait_log("gate.connected")
    for p in (client, responder, broker):
        p.signal(signal)
        assert p.wait() == 0, p.log()
        p.close()


def test_token_file(directory):
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    (directory / "token").write_text(token("from-file") + "\n")
    client = Process(directory, "client", [program("client"), "--token-file", str(directory / "token"), "3000",
                                           f"ws://127.0.0.1:{port}/"])
    client.wait_log("tunnel.open")
    broker.wait_log("conn=from-file ")
    client.stop()
    broker.stop()


@pytest.mark.parametrize("mode, warned", [(0o644, True), (0o640, False)])
def test_token_file_that_everybody_can_read(directory, mode, warned):
    file = directory / "token"
    file.write_text(token())
    file.chmod(mode)
    client = Process(directory, "client", [program("client"), "--token-file", str(file), "3000", "ws://127.0.0.1:1/"])
    assert (f'warn token.public file="{file}"' in client.wait_log("tunnel.closed")) == warned
    client.stop()


def test_token_file_that_is_a_fifo(directory):
    """It is read to its end; without an end the client does not wait for one."""
    file = directory / "token"
    os.mkfifo(file)
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    client = Process(directory, "client", [program("client"), "--token-file", str(file), "3000", f"ws://127.0.0.1:{port}/"])
    with file.open("w", buffering=1) as fifo:
        fifo.write("Connection-id: x\n")
        fifo.write(token("from-fifo") + "\n")
    client.wait_log("tunnel.open")
    broker.wait_log("conn=from-fifo ")
    client.stop()
    broker.stop()
    code, _, err = run("client", "--token-file", str(file), "3000", "ws://127.0.0.1:1/")
    assert code == 78 and "--token-file: did not end in time" in err


def test_plain_cgi(directory):
    """For a host that supports only CGI: the process serves one request and exits."""
    broker = start_broker(directory)
    port = broker.wait_log("ready").split("address=127.0.0.1:")[1].split()[0]
    peer = V1Client(f"ws://127.0.0.1:{port}/?token={token('cgi')}").wait_open()
    wait_until(lambda: "conn=cgi " in broker.log(), "the tunnel")
    env = environment(GATEWAY_INTERFACE="CGI/1.1", REQUEST_METHOD="POST", REQUEST_URI="/cgi/x", SCRIPT_NAME="/cgi/x",
                      CONTENT_LENGTH="4", PIPEGATE_GATE=f"ipc://{directory}/gate.sock", SERVER_PROTOCOL="HTTP/1.1")
    done = subprocess.run([program("fcgi")], input=b"body", env=env, capture_output=True, timeout=PATIENCE_S)
    head, body = done.stdout.split(b"\r\n\r\n", 1)
    assert done.returncode == 0 and head.startswith(b"Status: 200") and body == b"hello"
    assert peer.received[0]["body"] == "Ym9keQ=="
    peer.close()
    broker.stop()


def test_fastcgi_on_descriptor_0(directory):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "zero.sock"))
        listener.listen()
        p = subprocess.Popen([program("fcgi"), "--gate", f"ipc://{directory}/gate.sock"], stdin=listener,
                             stderr=subprocess.PIPE, env=environment())
        assert b"responder.start" in p.stderr.readline()
        p.terminate()
        assert p.wait(PATIENCE_S) == 0
        assert (directory / "zero.sock").exists(), "it is not ours to remove"
        p.stderr.close()
