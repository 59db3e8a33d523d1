"""The gate: the reply to a message has the form of the message (PROTOCOL.md, "Gate")."""
import pytest

from gate import MORE, PING, PONG, Gate, Reply, control, message, part


@pytest.fixture
def gate(make_web, server):
    if server != "lighttpd":
        pytest.skip("no web server has a part in it")
    gate = Gate(make_web().directory / "gate.sock")
    yield gate
    gate.close()


def pong(gate, seat):
    """The message parts before the reply."""
    before = []
    while (got := gate.part())[0] == MORE:
        before.append(got[1])
    assert got[0] == 0 and got[1][1] == PONG and Reply(got[1]).seat == seat
    return before


def test_a_message_of_one_part(gate):
    """From a responder's link: no part precedes the reply, and the seat is returned."""
    for seat in (0, 1, 65535):
        gate.send(part(control(PING, seat=seat)))
        assert pong(gate, seat) == []


def test_a_message_of_a_req_socket(gate):
    gate.send(message(control(PING, seat=7)))
    assert pong(gate, 7) == [b""]


def test_a_message_that_came_through_proxies(gate):
    gate.send(part(b"one", MORE) + part(b"two", MORE) + message(control(PING)))
    assert pong(gate, 0) == [b"one", b"two", b""]


@pytest.mark.parametrize("parts", [
    [b""],
    [b"x"],
    [b"", b""],
    [b"one", control(PING)],
    [b"", b"x", control(PING)],
    [b"", b"", control(PING)],
    [b"1", b"2", b"3", b"4", b"", control(PING)],
    [b"x" * 256, b"", control(PING)],
    [b"x" * 65, b"y" * 65, b"", control(PING)],
], ids=["empty", "short", "delimiter alone", "no delimiter", "two payloads", "two delimiters", "many parts", "long part", "long parts"])
def test_a_message_that_is_malformed(gate, parts):
    """It is dropped, and the peer's next message gets a reply."""
    gate.send(b"".join(part(p, MORE) for p in parts[:-1]) + part(parts[-1]))
    gate.send(part(control(PING, seat=9)))
    assert pong(gate, 9) == []
