"""What `make install` writes, and the output of systemd-analyze for the units, if it is installed. `make systemd-check`
boots them."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from harness import BUILD, PATIENCE_S, ROOT


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


@pytest.mark.parametrize("name", ["broker", "fcgi"])
def test_libzmq_may_set_the_scheduling_of_its_threads(name):
    """Otherwise it aborts: the filter that allows the call must follow the one that forbids its group."""
    unit = (ROOT / f"conf/systemd/pipegate-{name}.service").read_text()
    assert -1 < unit.index("SystemCallFilter=~@resources\n") < unit.index("SystemCallFilter=sched_setscheduler\n")
