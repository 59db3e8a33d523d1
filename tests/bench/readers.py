"""Callers that read a large body in the background: as fast as it comes, slowly, or not at all behind the head."""
import selectors
import socket
import threading
import time

from servers import HOST

SLOW_BYTES, SLOW_S = 10240, 0.1  # 100 KiB/s
RECEIVE_BYTES = 65536
PATIENCE_S = 60


class Readers:
    def __init__(self, port, path, fast=0, slow=0, frozen=0):
        self.sockets, self.fast, self.slow = [], set(), []
        self.bytes, self.fault = 0, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        try:
            for _ in range(fast + slow + frozen):
                self.sockets.append(ask(port, path))
            for sock in self.sockets:
                line = sock.recv(12, socket.MSG_WAITALL)
                if line != b"HTTP/1.1 200":
                    raise OSError(f"a reader was answered {line!r}")
                sock.setblocking(False)
        except OSError:
            self.close()
            raise
        self.fast, self.slow = set(self.sockets[:fast]), self.sockets[fast:fast + slow]
        self.thread.start()

    def run(self):
        selector, slow_at = selectors.DefaultSelector(), time.monotonic()
        for sock in self.fast:
            selector.register(sock, selectors.EVENT_READ)
        try:
            while not self.stopped.is_set():
                for key, _ in selector.select(SLOW_S) if self.fast else ():
                    self.read(key.fileobj, 65536)
                if not self.fast:
                    self.stopped.wait(SLOW_S)
                if time.monotonic() < slow_at:
                    continue
                slow_at = time.monotonic() + SLOW_S
                for sock in self.slow:
                    self.read(sock, SLOW_BYTES)
        except OSError as e:
            self.fault = e
        finally:
            selector.close()

    def read(self, sock, most):
        try:
            data = sock.recv(most)
        except BlockingIOError:
            return
        if not data:
            raise OSError("a body in the background has ended")
        self.bytes += len(data)

    def wait_bytes(self, count):
        """Until so many have been read: the line is full."""
        end = time.monotonic() + PATIENCE_S
        while self.bytes < count and not self.fault and time.monotonic() < end:
            self.stopped.wait(0.02)
        self.check()
        if self.bytes < count:
            raise OSError(f"only {self.bytes} bytes of the background's arrived in {PATIENCE_S} s")

    def check(self):
        if self.fault:
            raise self.fault

    def close(self):
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()
        for sock in self.sockets:
            sock.close()


def ask(port, path):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.settimeout(PATIENCE_S)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return sock
