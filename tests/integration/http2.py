"""A WebSocket over HTTP/2 (RFC 8441), as a browser opens it on a connection that it has: frames by hand."""
import socket
import struct

from harness import PATIENCE_S

DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_HEADERS, ACK = 4, 1
STATUS_200 = 0x88  # RFC 7541, appendix A: entry 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def literal(name, value):
    """Without indexing, without Huffman's code (RFC 7541 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Http2WebSocket:
    def __init__(self, port, target, host):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(PATIENCE_S)
        self.file = self.sock.makefile("rb")
        fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": target, ":authority": host,
                  "sec-websocket-version": "13", "origin": "http://" + host}
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(
            HEADERS, END_HEADERS, 1, b"".join(literal(n, v) for n, v in fields.items())))

    def send(self, data):
        self.sock.sendall(frame(DATA, 0, 1, data))

    def next(self):
        """Kind and payload of the next frame on our stream."""
        while True:
            head = self.file.read(9)
            assert len(head) == 9, "closed"
            payload = self.file.read(int.from_bytes(head[:3], "big"))
            if head[3] == SETTINGS and not head[4] & ACK:
                self.sock.sendall(frame(SETTINGS, ACK, 0))
            if int.from_bytes(head[5:], "big") == 1 and head[3] != WINDOW_UPDATE:
                return head[3], payload

    def opened(self):
        kind, payload = self.next()
        assert kind == HEADERS and payload[0] == STATUS_200, (kind, payload)
        return self

    def read(self, size):
        data = b""
        while len(data) < size:
            kind, payload = self.next()
            assert kind == DATA, (kind, payload)
            data += payload
        return data

    def close(self):
        self.file.close()
        self.sock.close()
