"""tests/bench/relay, the long or slow line of the benchmark: it keeps every byte, and takes the time that it was told."""
import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from harness import BUILD, PATIENCE_S, Process, wait_until

RELAY = BUILD / "tests" / "bench" / "relay"
DELAY_MS = 30


class Line:
    """A relay, and the listening socket that is its target."""

    def __init__(self, directory, *options):
        self.target = socket.create_server(("127.0.0.1", 0))
        self.target.settimeout(PATIENCE_S)
        self.process = Process(directory, "relay", [
            str(RELAY), *options, "127.0.0.1:0", f"127.0.0.1:{self.target.getsockname()[1]}"])
        log = self.process.wait_log("listening on")
        self.port = int(log.rsplit(":", 1)[1])
        self.sockets = []

    def caller(self):
        return self.keep(socket.create_connection(("127.0.0.1", self.port), PATIENCE_S))

    def accept(self):
        return self.keep(self.target.accept()[0])

    def keep(self, sock):
        sock.settimeout(PATIENCE_S)
        self.sockets.append(sock)
        return sock

    def pair(self):
        caller = self.caller()
        return caller, self.accept()

    def close(self):
        for sock in [*self.sockets, self.target]:
            sock.close()
        self.process.stop(expect=-15)


@pytest.fixture
def make_line(tmp_path):
    lines = []

    def make(*options):
        lines.append(Line(tmp_path, *options))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def read_all(sock):
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def send_and_shut(sock, body):
    sock.sendall(body)
    sock.shutdown(socket.SHUT_WR)


def start(function, *arguments):
    def run():
        try:
            function(*arguments)
        except OSError:  # the test has closed its sockets
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


OPTIONS = {"no delay": (), "a delay": ("--delay-ms", DELAY_MS), "a slow line": ("--delay-ms", 5, "--rate-bits", 80_000_000),
           "little memory": ("--delay-ms", 5, "--memory-mib", 1)}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_byte_arrives_both_ways(make_line, options):
    line = make_line(*map(str, options))
    caller, server = line.pair()
    bodies = [os.urandom(8 << 20) for _ in range(2)]
    threads = [start(send_and_shut, sock, body) for sock, body in zip((caller, server), bodies)]
    found = {}
    threads.append(start(lambda: found.update(server=read_all(server))))
    found["caller"] = read_all(caller)
    for thread in threads:
        thread.join(PATIENCE_S)
    digests = [hashlib.sha256(body).hexdigest() for body in bodies]
    assert [hashlib.sha256(found[side]).hexdigest() for side in ("server", "caller")] == digests


def test_a_byte_takes_the_delay_each_way(make_line):
    line = make_line("--delay-ms", str(DELAY_MS))
    caller, server = line.pair()
    for sender, receiver in ((caller, server), (server, caller)) * 5:
        began = time.monotonic()
        sender.sendall(b"x")
        assert receiver.recv(1) == b"x"
        assert time.monotonic() - began >= DELAY_MS / 1000


def test_a_connection_costs_a_round_trip_before_its_first_byte(make_line):
    line = make_line("--delay-ms", str(DELAY_MS))
    began = time.monotonic()
    caller = line.caller()
    caller.sendall(b"x")
    assert line.accept().recv(1) == b"x"
    assert time.monotonic() - began >= 3 * DELAY_MS / 1000


def test_a_half_close_arrives_behind_the_bytes_and_leaves_the_other_way_open(make_line):
    line = make_line("--delay-ms", str(DELAY_MS))
    caller, server = line.pair()
    began = time.monotonic()
    send_and_shut(caller, b"question")
    assert read_all(server) == b"question"
    assert time.monotonic() - began >= DELAY_MS / 1000
    send_and_shut(server, b"reply")
    assert read_all(caller) == b"reply"


def test_a_line_takes_the_time_of_its_rate_for_all_connections_together(make_line):
    line = make_line("--rate-bits", "40000000")
    pairs = [line.pair() for _ in range(4)]
    began = time.monotonic()
    threads = [start(send_and_shut, caller, bytes(1 << 20)) for caller, _ in pairs]
    for _, server in pairs:
        threads.append(start(read_all, server))
    for thread in threads:
        thread.join(PATIENCE_S)
    # What waits in the router's queue at the start is not spared either: the line sends every byte.
    assert time.monotonic() - began >= (4 << 20) * 8 / 40e6


def test_a_small_message_waits_for_the_queue_and_not_for_the_bulk(make_line):
    line = make_line("--rate-bits", "8000000", "--queue-bytes", "32768")
    (bulk, sink), (caller, server) = line.pair(), line.pair()
    start(send_and_shut, bulk, bytes(16 << 20))
    assert sink.recv(1)
    got = {"bytes": 0}

    def count():
        while piece := sink.recv(65536):
            got["bytes"] += len(piece)

    start(count)
    caller.sendall(b"x")
    assert server.recv(1) == b"x"
    assert got["bytes"] < 8 << 20


def test_a_receiver_that_does_not_read_stops_the_sender_and_no_other(make_line):
    line = make_line("--delay-ms", "1", "--memory-mib", "64")
    stuck, _ = line.pair()
    stuck.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 1 << 30:
            sent += stuck.send(bytes(1 << 20))
    caller, server = line.pair()
    caller.sendall(b"x")
    assert server.recv(1) == b"x"


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("from_server", (False, True))
def test_a_reset_is_passed_on(make_line, from_server):
    line = make_line("--delay-ms", str(DELAY_MS))
    caller, server = line.pair()
    caller.sendall(b"x")
    assert server.recv(1) == b"x"
    reset(server if from_server else caller)
    with pytest.raises(ConnectionResetError):
        (caller if from_server else server).recv(1)


def test_a_refused_connection_is_reset(make_line):
    line = make_line("--delay-ms", str(DELAY_MS))
    line.target.close()
    caller = line.caller()
    with pytest.raises(ConnectionResetError):
        caller.recv(1)


def test_ended_connections_leave_nothing(make_line):
    line = make_line("--delay-ms", "1")
    before = line.process.descriptors()
    for i in range(50):
        caller, server = line.pair()
        if i % 2:
            reset(caller)
        else:
            send_and_shut(caller, b"x")
            send_and_shut(server, read_all(server))
            assert read_all(caller) == b"x"
        for sock in (caller, server):
            sock.close()
    wait_until(lambda: line.process.descriptors() == before, "all are closed")


def test_waiting_for_the_line_costs_no_processor(make_line):
    line = make_line("--delay-ms", "1", "--rate-bits", "1000000")
    bulk, sink = line.pair()
    start(send_and_shut, bulk, bytes(1 << 20))
    assert sink.recv(1)
    began, before = time.monotonic(), line.process.cpu_s()
    left = 65536
    while left > 0:
        left -= len(sink.recv(left))
    assert line.process.cpu_s() - before < (time.monotonic() - began) / 2
