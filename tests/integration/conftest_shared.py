import itertools
import shutil
import tempfile

import pytest

from harness import SERVERS, App, Stack, figures


def pytest_make_parametrize_id(val, argname):
    """Tests are named alike in each process of pytest-xdist: a token holds the time at which it was made."""
    return argname if isinstance(val, (str, bytes)) and len(val) > 60 else None


def pytest_sessionfinish(session):
    """In a worker of pytest-xdist: its figures go to the process that shows them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = figures


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    figures.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter):
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


def make_directory():
    # Short: the path of a unix socket has room for 107 bytes.
    return tempfile.mkdtemp(prefix="pipegate-")


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request):
    """Each test runs behind both web servers."""
    return request.param


@pytest.fixture(scope="module")
def web(server):
    """A stack with default settings, shared by the tests of a module: use an id of your own."""
    directory = make_directory()
    stack = Stack(directory, server)
    yield stack
    stack.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make_web(server):
    """make_web(PIPEGATE_...=...): a stack of the test's own."""
    made = []

    def make(**settings):
        directory = make_directory()
        made.append((Stack(directory, server, **settings), directory))
        return made[-1][0]

    yield make
    for stack, directory in made:
        stack.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make_app():
    apps = []

    def make(handler=None, path=None):
        apps.append(App(handler, path))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


numbers = itertools.count()


@pytest.fixture
def name():
    """A connection id that no other test uses."""
    return f"id-{next(numbers)}"
