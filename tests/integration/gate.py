"""A responder's half of the gate, byte by byte: ZMTP 3.0 (ZeroMQ's RFC 23), straight to the broker's socket."""
import socket
import struct

from harness import PATIENCE_S

OPEN, STEP, PING, ALIVE, REPLY, PONG = 1, 2, 4, 5, 16, 17
MORE, LONG, COMMAND = 1, 2, 4


def control(kind, number=0, corr=bytes(16), process=0, identity=b"", head=b"", body=b"", flags=0, boot=0, seat=0):
    return struct.pack(">BBBBI16sQQQIHH8x", 1, kind, flags, 0, number, corr, boot, process, 0, len(head),
                       len(identity), seat) + identity + head + body


def part(data, flags=0):
    size = bytes([flags, len(data)]) if len(data) < 256 else struct.pack(">BQ", flags | LONG, len(data))
    return size + data


def message(data):
    """As a REQ socket sends it."""
    return part(b"", MORE) + part(data)


class Reply:
    def __init__(self, data):
        self.data, flags = data, data[2]
        self.seat = int.from_bytes(data[54:56], "big")
        self.boot = int.from_bytes(data[24:32], "big")
        self.failed = bool(flags & 8)
        self.over = self.failed or bool(flags & 4)


class Gate:
    def __init__(self, path, send_buffer=None):
        self.sock = socket.socket(socket.AF_UNIX)
        if send_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")
        self.send(b"\xff" + bytes(8) + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + bytes(32))
        assert self.file.read(64)[:1] == b"\xff"
        self.send(part(b"\5READY\x0bSocket-Type\0\0\0\6DEALER", COMMAND))
        assert self.part()[1].startswith(b"\5READY")

    def send(self, data):
        self.sock.sendall(data)

    def part(self):
        flags = self.file.read(1)[0]
        size = self.file.read(8 if flags & LONG else 1)
        return flags, self.file.read(int.from_bytes(size, "big"))

    def next(self):
        """The kind of the next message."""
        flags, data = self.part()
        assert flags == MORE and data == b""
        return self.part()[1][1]

    def reply(self):
        flags, data = self.part()
        assert flags == MORE and data == b""
        return Reply(self.part()[1])

    def close(self):
        self.file.close()
        self.sock.close()
