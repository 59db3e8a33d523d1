"""websocket.py URL: opens a WebSocket and prints the first message; exit code 1 and the status where it is refused."""
import socket
import ssl
import sys
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
secure = url.scheme == "wss"
s = socket.create_connection((url.hostname, url.port or (443 if secure else 80)), 30)
if secure:
    s = ssl.create_default_context().wrap_socket(s, server_hostname=url.hostname)
target = url.path + (f"?{url.query}" if url.query else "")
s.sendall(f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
file = s.makefile("rb")
status = file.readline().decode().strip()
while file.readline() not in (b"\r\n", b""):
    pass
if " 101 " not in status + " ":
    sys.exit(status)
first = file.read(2)
print(file.read(first[1] & 0x7f).decode())
