"""As much of RFC 6455 as a benchmark needs: the handshake, and whole messages."""
import base64
import hashlib
import os
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


def request(path, host, headers=()):
    """The head of a handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def answer(key):
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def frame(payload, kind=BINARY, mask=False):
    """A final frame. The mask is zero, so that masking costs nothing."""
    bit, key = (0x80, bytes(4)) if mask else (0, b"")
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | kind, bit | size)
    elif size < 65536:
        head = struct.pack(">BBH", 0x80 | kind, bit | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | kind, bit | 127, size)
    return head + key + payload


def read(file):
    """The next message's payload (control frames are skipped); None at the end."""
    while len(head := file.read(2)) == 2:
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", file.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", file.read(8))[0]
        key = file.read(4) if head[1] & 0x80 else None
        payload = file.read(size)
        if key and key != bytes(4):
            payload = bytes(b ^ key[i % 4] for i, b in enumerate(payload))
        if head[0] & 15 == CLOSE:
            return None
        if head[0] & 15 < 8:
            return payload
    return None
