"""Holds idle tunnels open: one process, raw sockets straight to the broker's listener, pings answered.

idle.py PORT PROTOCOL(v1|v2): for each number on standard input it opens tunnels until there are so many, and
prints "open COUNT SECONDS". It ends at the end of its input.
"""
import os
import pathlib
import selectors
import socket
import struct
import sys
import time

import websocket

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402


def fields(*pairs):
    return b"".join(struct.pack(">HI", len(n), len(v)) + n.encode() + v.encode() for n, v in pairs)


def hello():
    """The first frame of tunnel v2, see common/PROTOCOL.md."""
    payload = fields(("version", "2"), ("max-streams", "256"), ("window", "262144"),
                     ("instance", os.urandom(16).hex()), ("agent", "bench"))
    return websocket.frame(struct.pack(">BBHII", 1, 0, 0, 0, len(payload)) + payload, mask=True)


class Tunnels:
    def __init__(self, port, protocol):
        self.port, self.protocol = port, protocol
        self.selector = selectors.DefaultSelector()
        self.count = 0

    def open(self):
        name = f"idle-{self.count}"
        headers = [f"Authorization: Bearer {harness.token(name)}"]
        if self.protocol == "v2":
            headers.append("Sec-WebSocket-Protocol: pipegate.v2")
        sock = socket.create_connection(("127.0.0.1", self.port), 30)
        sock.sendall(websocket.request("/", f"127.0.0.1:{self.port}", headers))
        text = b""
        while b"\r\n\r\n" not in text:
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError(f"the broker closed the connection after {text[:60]!r}")
            text += piece
        if b" 101 " not in text.split(b"\r\n")[0]:
            raise ConnectionError(f"not answered 101: {text[:60]!r}")
        if self.protocol == "v2":
            sock.sendall(hello())
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ)
        self.count += 1

    def answer(self, wait_s):
        """Answers pings. Returns whether there is a new line of input."""
        line = False
        for key, _ in self.selector.select(wait_s):
            if key.fileobj is sys.stdin:
                line = True
                continue
            data = key.fileobj.recv(65536)
            if not data:
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
                print("lost a tunnel", flush=True)
            elif data[0] & 15 == websocket.PING:
                key.fileobj.sendall(websocket.frame(data[2:2 + (data[1] & 127)], websocket.PONG, mask=True))
        return line


def main():
    tunnels = Tunnels(int(sys.argv[1]), sys.argv[2])
    tunnels.selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        if not tunnels.answer(10):
            continue
        line = sys.stdin.readline()
        if not line:
            return
        start = time.monotonic()
        try:
            while tunnels.count < int(line):
                tunnels.open()
                if tunnels.count % 200 == 0:
                    tunnels.answer(0)
        except OSError as e:
            print("failed", tunnels.count, e, flush=True)
            continue
        print("open", tunnels.count, time.monotonic() - start, flush=True)


if __name__ == "__main__":
    main()
