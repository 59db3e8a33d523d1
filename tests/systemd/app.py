"""The local app: says which target it was asked for, to requests and, in one frame, to WebSockets. app.py PORT|PATH"""
import base64
import hashlib
import http.server
import json
import os
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "-"

    def do_GET(self):
        text = json.dumps({"target": self.path, "forwarded_for": self.headers["X-Forwarded-For"]}).encode()
        key = self.headers["Sec-WebSocket-Key"]
        if key is None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.rfile.read1(1000)
        self.close_connection = True


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        return request, ("local", 0)


where = sys.argv[1]
if where.startswith("/"):
    os.umask(0o077)
    if os.path.exists(where):
        os.unlink(where)
    Unix(where, Handler).serve_forever()
else:
    Tcp(("127.0.0.1", int(where)), Handler).serve_forever()
