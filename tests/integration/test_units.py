"""What `make install` writes, and the output of systemd-analyze for the units, if it is installed. `make systemd-check`
boots them."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from harness import BUILD, PATIENCE_S, ROOT, Process, environment, freeze, program, token


@pytest.fixture
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="pipegate-"))
    yield path
    shutil.rmtree(path)


def make(*arguments):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("MFLAGS", "DESTDIR", "PREFIX")}
    subprocess.run(["make", "-s", "-C", str(ROOT), "-o", "all", f"B={BUILD.name}", *arguments], env=env, check=True,
                   capture_output=True, timeout=PATIENCE_S)


def files(directory):
    return [p for p in directory.rglob("*") if not p.is_dir()]


def test_prefix(directory):
    make("install", f"DESTDIR={directory}", "PREFIX=/usr")
    texts = {p: p.read_text() for p in files(directory) if "bin" not in p.parts}
    assert len(texts) > 15
    assert not [p for p, text in texts.items() if "/usr/local" in text]
    unit = texts[directory / "usr/lib/systemd/system/pipegate-broker.service"]
    assert "ExecStart=/usr/bin/pipegate-broker\n" in unit
    assert "/usr/share/pipegate/" in texts[directory / "usr/share/pipegate/apache/examples/path.conf"]
    make("uninstall", f"DESTDIR={directory}", "PREFIX=/usr")
    assert not files(directory)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_units(directory):
    make("install", "DESTDIR=", f"PREFIX={directory}")
    units = [str(p).replace("@", "@my-app") for p in (directory / "lib/systemd/system").iterdir()]
    assert len(units) == 5
    os.symlink("pipegate-client@.service", directory / "lib/systemd/system/pipegate-client@my-app.service")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=PATIENCE_S)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "pipegate" in line]
    assert not lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["pipegate-broker", "pipegate-fcgi", "pipegate-client@"])
def test_exposure(name):
    """At most 1.5 of 10, as `systemd-analyze security` counts."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
                           str(ROOT / f"conf/systemd/{name}.service")], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("name", ["broker", "fcgi"])
def test_libzmq_may_set_the_scheduling_of_its_threads(name):
    """Otherwise it aborts: the filter that allows the call must follow the one that forbids its group."""
    unit = (ROOT / f"conf/systemd/pipegate-{name}.service").read_text()
    assert -1 < unit.index("SystemCallFilter=~@resources\n") < unit.index("SystemCallFilter=sched_setscheduler\n")


@pytest.mark.parametrize("name, arguments", [("broker", ["--listen", "127.0.0.1:0"]), ("fcgi", ["--listen", "unix:{directory}/fcgi.sock"])])
def test_watchdog(directory, name, arguments):
    """systemd hears that the program is ready, then again and again that its loop turns, and that it stops; a frozen one is silent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(PATIENCE_S)
        process = Process(directory, name, [program(name), "--gate", f"ipc://{directory}/gate.sock",
                                            *(a.format(directory=directory) for a in arguments)],
                          environment(NOTIFY_SOCKET=directory / "notify", WATCHDOG_USEC=3_000_000))
        assert manager.recv(100) == b"READY=1"
        for _ in range(3):
            assert manager.recv(100) == b"WATCHDOG=1"
        freeze(process.pid)
        manager.settimeout(3)
        with pytest.raises(TimeoutError):
            while manager.recv(100):  # what was sent before
                pass
        process.signal(signal.SIGCONT)
        manager.settimeout(PATIENCE_S)
        assert manager.recv(100) == b"WATCHDOG=1"
        process.signal(15)
        while (said := manager.recv(100)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"
        process.wait()
        process.close()


def test_credential(directory):
    """The client's token from systemd's credentials; an empty one counts as none."""
    for text, reason in (("abc def xyz", "CREDENTIALS_DIRECTORY"), ("", "no token"), ("-", "no token")):
        (directory / "token").write_text(text)
        done = subprocess.run([program("client"), "3000", "ws://127.0.0.1:1/"], capture_output=True, text=True, timeout=PATIENCE_S,
                              env=environment(CREDENTIALS_DIRECTORY=directory))
        assert done.returncode == 78 and reason in done.stderr and "abc def" not in done.stderr, done
    (directory / "token").write_text(token("my-app") + "\n")
    process = Process(directory, "client", [program("client"), "3000", "ws://127.0.0.1:1/"], environment(CREDENTIALS_DIRECTORY=directory))
    process.wait_log("tunnel.closed")
    process.stop()
