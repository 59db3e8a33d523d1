"""The local app for what nginx cannot do: events that carry the time, an upload sink, requests that wait, a WebSocket.

Run as a program it prints its port and serves until it is killed.
"""
import pathlib
import socket
import sys
import threading
import time
import urllib.parse

import websocket

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402

released = threading.Condition()


def events(request, connection):
    """?count=&gap_ms=: each event is the time (CLOCK_MONOTONIC, one for all processes) at which it was written."""
    asked = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(int(asked["count"])):
        time.sleep(int(asked["gap_ms"]) / 1000)
        event = f"data: {time.monotonic_ns()}\n\n".encode()
        connection.send(b"%x\r\n%s\r\n" % (len(event), event))
    connection.send(b"0\r\n\r\n")


def upload(request, connection):
    connection.answer(body=str(sum(len(piece) for piece in request.body_pieces())).encode())


def hold(request, connection):
    with released:
        released.wait()
    connection.answer(body=b"ok")


def release(request, connection):
    with released:
        released.notify_all()
    connection.answer(body=b"ok")


def echo(request, connection):
    connection.send(websocket.answer(request.header("sec-websocket-key")))
    while (message := websocket.read(connection.file)) is not None:
        connection.send(websocket.frame(message))
    return False


def push(request, connection):
    """?bytes=: messages of 64 KiB, as fast as they can be sent; then it waits for the caller's end."""
    left = int(dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))["bytes"])
    connection.send(websocket.answer(request.header("sec-websocket-key")))
    message = websocket.frame(bytes(MESSAGE_BYTES))
    while left > 0:
        connection.send(message if left >= MESSAGE_BYTES else websocket.frame(bytes(left)))
        left -= MESSAGE_BYTES
    while websocket.read(connection.file) is not None:
        pass
    return False


MESSAGE_BYTES = 65536
PAGES = {"/events": events, "/upload": upload, "/hold": hold, "/release": release, "/echo": echo, "/push": push}


def serve(request, connection):
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return PAGES[request.target.partition("?")[0]](request, connection)


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    print("port", harness.App(serve).port, flush=True)
    threading.Event().wait()
