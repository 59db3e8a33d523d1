"""A web server's half of FastCGI, record by record, straight to the responder's socket."""
import socket
import struct

from harness import PATIENCE_S, Response

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, GET_VALUES = 1, 2, 3, 4, 5, 6, 9


def record(kind, content=b"", padding=0, request_id=1):
    return struct.pack(">BBHHBx", 1, kind, request_id, len(content), padding) + content + bytes(padding)


def begin(keep=True, role=1):
    return record(BEGIN, struct.pack(">HB5x", role, keep))


def length(n):
    return bytes([n]) if n < 128 else struct.pack(">I", n | 1 << 31)


def parameters(target, method="GET", body_bytes=None, **more):
    fields = dict(REQUEST_METHOD=method, REQUEST_URI=target, SCRIPT_NAME="", PATH_INFO=target.partition("?")[0],
                  SERVER_PROTOCOL="HTTP/1.1", REMOTE_ADDR="127.0.0.1", HTTP_HOST="public.example", REQUEST_SCHEME="http",
                  **more)
    if body_bytes is not None:
        fields["CONTENT_LENGTH"] = str(body_bytes)
    data = b"".join(length(len(n)) + length(len(v)) + n.encode() + v.encode() for n, v in fields.items())
    return b"".join(record(PARAMS, data[i:i + 65535]) for i in range(0, len(data), 65535)) + record(PARAMS)


def request(target, body=b"", keep=True, **more):
    pieces = b"".join(record(STDIN, body[i:i + 8192]) for i in range(0, len(body), 8192))
    return begin(keep) + parameters(target, "POST" if body else "GET", len(body), **more) + pieces + record(STDIN)


class WebServer:
    """One connection to a responder."""

    def __init__(self, stack, receive_buffer=None):
        self.sock = socket.socket(socket.AF_UNIX)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(stack.socket))
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def response(self):
        """None: the connection was closed instead."""
        out, complete = b"", False
        while not complete:
            header = self.file.read(8)
            if len(header) < 8:
                break
            _, kind, _, content_bytes, padding = struct.unpack(">BBHHBx", header)
            content = self.file.read(content_bytes)
            self.file.read(padding)
            out += content if kind == STDOUT else b""
            complete = kind == END
        if not out:
            return None
        head, _, body = out.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode("latin-1").split("\r\n")]
        return Response(int(dict(headers)["Status"][:3]), headers, body, complete)

    def call(self, target, body=b"", **more):
        self.send(request(target, body, **more))
        return self.response()

    def is_closed(self):
        return self.file.read(1) == b""

    def close(self):
        self.file.close()
        self.sock.close()
