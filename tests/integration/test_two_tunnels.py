"""Two of the client's tunnels in one process and one loop, each with an app and a broker of its own (two_tunnels.c): neither
knows of the other."""
import os
import signal
import subprocess
import threading

import pytest

from harness import BUILD, ROOT, Process, token, wait_until

SANITIZERS = ("address", "undefined", "thread")


@pytest.fixture(scope="module")
def two_tunnels():
    target = BUILD / "tests/integration/two_tunnels"
    sanitizers = ",".join(s for s in SANITIZERS if s in BUILD.name)
    subprocess.run(["make", "-s", f"B={os.path.relpath(BUILD, ROOT)}", f"SAN={sanitizers}", os.path.relpath(target, ROOT)], cwd=ROOT,
                   check=True)
    return target


def named(text, blocked=None):
    """A handler that answers with its name and the request's body; `blocked`: /wait waits for this event."""
    def handler(request, connection):
        if request.target == "/wait":
            connection.answer(200, [("X-App", text)], b"waited") if blocked.wait(60) else None
        else:
            connection.answer(200, [("X-App", text)], request.body())
    return handler


def test_two_tunnels(two_tunnels, web, make_web, make_app, name, tmp_path):
    released = threading.Event()
    other, ids = make_web(), (f"{name}a", f"{name}b")
    apps = make_app(named("first", released)), make_app(named("second"))
    stacks = web, other
    urls = [f"ws://127.0.0.1:{s.broker_port}/?token={token(i)}" for s, i in zip(stacks, ids)]
    process = Process(tmp_path, "two", [str(two_tunnels), apps[0].url, urls[0], apps[1].url, urls[1]])

    def ask(which, path="x", body=b""):
        r = stacks[which].call("POST", f"/{ids[which]}/{path}", [], body)
        return r.status, r.header("x-app"), r.body

    def is_up(which):
        return ask(which)[0] == 200

    for which, text in enumerate(("first", "second")):
        wait_until(lambda: is_up(which), "the tunnel")  # pylint: disable=cell-var-from-loop
        assert ask(which, body=text.encode() * 100000) == (200, text, text.encode() * 100000)

    # The second broker dies and comes back while the first tunnel serves a request.
    waiting = threading.Thread(target=lambda: answers.append(ask(0, "wait")))
    answers = []
    waiting.start()
    wait_until(lambda: apps[0].count > 2, "the request that waits")
    other.broker.kill()
    process.wait_log("tunnel.closed")
    assert ask(0) == (200, "first", b"")
    other.broker = other.start_broker()
    wait_until(lambda: is_up(1), "the second tunnel again")

    # The first one stops: its request finishes, the other one goes on.
    process.signal(signal.SIGUSR1)
    wait_until(lambda: ask(0)[0] == 503, "the first tunnel takes no more")
    assert "two.over" not in process.log() and ask(1) == (200, "second", b"")
    released.set()
    waiting.join()
    assert answers == [(200, "first", b"waited")]
    process.wait_log("two.over tunnel=0 code=0")
    assert ask(1) == (200, "second", b"")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log()
    process.close()
