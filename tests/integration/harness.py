"""The real things on loopback: programs, web servers with the shipped files, a scripted local app, raw callers.

Nothing here sleeps to put events in order: it waits for a line in a log, a byte on a socket, or a number in the
metrics, each with a generous deadline that only a hang can reach.
"""
import asyncio
import base64
import hashlib
import hmac
import importlib.metadata
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
UNDER = os.environ.get("UNDER", "").split()  # such as valgrind, before each program of ours
SANITIZED = "build-" in str(BUILD.name) or bool(UNDER)
PATIENCE_S = 600 if UNDER else 60  # which only a hang can reach; valgrind is 20 to 50 times slower
SECRET = "0123456789abcdef0123456789abcdef"
# websockets 14 (Debian 13 has 15) renamed it.
HEADERS_OF_CONNECT = ("extra_headers" if int(importlib.metadata.version("websockets").split(".")[0]) < 14
                      else "additional_headers")
figures = []  # printed by pytest at the end of the run
REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "CHECK failed", "check failed")


def wait_until(predicate, what="condition"):
    """Polls a condition for which there is no event."""
    end = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, f"still not: {what}"
        pause.wait(0.02)


def freeze(pid):
    """Sends SIGSTOP, and waits until all threads have stopped."""
    def stopped():
        tasks = [open(f"/proc/{pid}/task/{t}/stat").read() for t in os.listdir(f"/proc/{pid}/task")]
        return all(text.rsplit(")", 1)[1].split()[0] == "T" for text in tasks)

    os.kill(pid, signal.SIGSTOP)
    wait_until(stopped, f"{pid} has stopped")


def report(*lines):
    """Prints lines at the end of the run, whether or not its tests passed."""
    figures.extend(lines)


def most_unread(port=None, peer_port=None, path=None):
    """Returns the most bytes that any of these sockets has not read; a connection that is not accepted yet counts as that much."""
    arguments = ["-x"] if path else ["-t", f"sport = :{port}" if port else f"dport = :{peer_port}"]
    out = subprocess.run(["ss", "-Han", *arguments], capture_output=True, text=True, check=True).stdout
    most = 0
    for line in out.splitlines():
        words = line.split()
        if path and str(path) not in words:
            continue
        receive_queue = next(int(w) for w in words if w.isdigit())
        # Of a listening socket it counts connections. Those of a unix socket are shown nowhere else.
        if "LISTEN" in words:
            receive_queue = 1 << 20 if path and receive_queue else 0
        most = max(most, receive_queue)
    return most


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name):
    return str(BUILD / f"pipegate-{name}")


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PIPEGATE_")}
    env.update(PIPEGATE_JWT_SECRET=SECRET, PIPEGATE_JWT_ALGORITHMS='["HS256"]')
    env.update({k: str(v) for k, v in more.items()})
    return {k: v for k, v in env.items() if v != "None"}


class Process:
    """A program with its stderr in a file."""

    def __init__(self, directory, name, argv, env=None, stdin=subprocess.DEVNULL):
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        self.name = name
        if str(argv[0]).startswith(str(BUILD)):
            argv = UNDER + argv
        self.log_file = open(self.log_path, "ab")
        self.log_start = self.log_path.stat().st_size
        self.popen = subprocess.Popen(argv, stdin=stdin, stdout=self.log_file, stderr=self.log_file,
                                      env=env if env is not None else environment())

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        with open(self.log_path, "rb") as f:
            f.seek(self.log_start)
            return f.read().decode(errors="replace")

    def wait_log(self, text, count=1):
        def there():
            if self.log().count(text) >= count:
                return True
            assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.log()}"
            return False
        wait_until(there, f"{text!r} in the log of {self.name}:\n{self.log()}")
        return self.log()

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self):
        return self.popen.wait(PATIENCE_S)

    def stop(self, expect=0):
        """Sends SIGTERM; the process must exit by itself, with this code, and without a sanitizer's report."""
        if self.popen.poll() is None:
            self.signal(signal.SIGCONT)  # first: it would undo the stop by which LeakSanitizer looks at what ends
            self.signal(signal.SIGTERM)
            code = self.wait()
            assert expect is None or code == expect, f"{self.name} ended with {code}:\n{self.log()}"
        self.close()

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self.log_file.close()

    def close(self):
        self.log_file.close()
        log = self.log()
        assert not any(r in log for r in REPORTS), log

    def rss_kib(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self):
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- tokens ---


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(sub="demo", secret=SECRET, alg="HS256", **claims):
    now = int(time.time())
    payload = {"sub": sub, "iss": "pipegate", "aud": "pipegate", "iat": now, "nbf": now - 5, "exp": now + 3600,
               "jti": "x"}
    payload.update(claims)
    payload = {k: v for k, v in payload.items() if v is not None}
    text = b64url(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + "." + b64url(json.dumps(payload).encode())
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg)
    signature = hmac.new(secret.encode(), text.encode(), digest).digest() if digest else b""
    return text + "." + b64url(signature)


# --- the local app ---


class AppRequest:
    def __init__(self, line, headers, raw, connection):
        self.method, self.target, _ = line.split(" ", 2)
        self.headers = headers
        self.raw_head = raw
        self.connection = connection

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        return values[0] if values else None

    def body_pieces(self):
        f = self.connection.file
        if self.header("transfer-encoding"):
            while size := int(f.readline().split(b";")[0], 16):
                yield f.read(size)
                f.readline()
            f.readline()
            return
        left = int(self.header("content-length") or 0)
        while left:
            piece = f.read1(min(left, 65536))
            if not piece:
                raise ConnectionError("request cut")
            left -= len(piece)
            yield piece

    def body(self):
        return b"".join(self.body_pieces())


class AppConnection:
    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, status=200, headers=(), body=b"", length=True):
        head = f"HTTP/1.1 {status} Status\r\n"
        if length:
            head += f"Content-Length: {len(body)}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in headers)
        self.send(head.encode("latin-1") + b"\r\n" + body)

    def wait_peer_gone(self):
        """True once the other side has closed."""
        self.sock.settimeout(PATIENCE_S)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def reset(self):
        """The app dies: RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.file.close()
        self.sock.close()


class App:
    """An HTTP server whose responses the test writes: `handler(request, connection)`."""

    def __init__(self, handler=None, path=None, tls=None, port=0):
        self.tls = tls
        self.handler = handler or self.echo
        self.count = 0
        self.lock = threading.Lock()
        self.reading = threading.Event()  # cleared: requests lie unread in front of it
        self.reading.set()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.url = f"unix:{path}"
        else:
            self.listener = socket.create_server(("127.0.0.1", port))
            self.port = self.listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
        self.listener.listen(1024)
        self.connections = set()
        threading.Thread(target=self.accept, daemon=True).start()

    @staticmethod
    def echo(request, connection):
        body = request.body()
        text = json.dumps({"method": request.method, "target": request.target, "headers": request.headers,
                           "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
        connection.answer(headers=[("Content-Type", "application/json")], body=text.encode())

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        self.connections.add(sock)
        connection = None
        try:
            self.reading.wait(PATIENCE_S)
            connection = AppConnection(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)
            while raw := self.read_head(connection.file):
                lines = raw.decode("latin-1").split("\r\n")
                headers = [tuple(x.strip(" ") for x in line.split(":", 1)) for line in lines[1:] if line]
                with self.lock:
                    self.count += 1
                request = AppRequest(lines[0], headers, raw, connection)
                if self.handler(request, connection) is False:
                    break
        except (OSError, ValueError):
            pass
        finally:
            self.connections.discard(sock)
            if connection:
                connection.file.close()
                connection.sock.close()
            sock.close()

    @staticmethod
    def read_head(file):
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return b""
            raw += line
        return raw

    def die(self):
        """As by kill -9: every connection is reset, and the listener is closed."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.connections):
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in list(self.connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# --- callers ---


class Response:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.header("x-pipegate-error")

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r} complete={self.complete}>"


class Caller:
    """One connection to a web server, byte by byte."""

    def __init__(self, port, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(("127.0.0.1", port))
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method, target, headers=(), body=None, host="public.example"):
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in headers)
        if body is not None and not any(n.lower() == "transfer-encoding" for n, _ in headers):
            head += f"Content-Length: {len(body)}\r\n"
        self.send(head.encode("latin-1") + b"\r\n" + (body or b""))
        self.method = method

    def head(self):
        """Returns status and header lines; informational responses are skipped."""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("no answer")
            self.status_line = line
            status = int(line.split()[1])
            self.head_headers = []
            while (line := self.file.readline()) not in (b"\r\n", b""):
                name, value = line.decode("latin-1").rstrip("\r\n").split(":", 1)
                self.head_headers.append((name, value.strip()))
            if status >= 200 or status == 101:
                return status, self.head_headers

    def chunked_pieces(self):
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("cut")
            size = int(line.split(b";")[0], 16)
            piece = self.file.read(size)
            if len(piece) < size or self.file.readline() != b"\r\n":
                yield piece
                raise ConnectionError("cut")
            if size == 0:
                return
            yield piece

    def pieces(self):
        """Yields the body as it arrives; ConnectionError if it is cut."""
        names = {n.lower(): v for n, v in self.head_headers}
        if self.method == "HEAD" or int(self.status_line.split()[1]) in (204, 304):
            return
        if names.get("transfer-encoding") == "chunked":
            yield from self.chunked_pieces()
        elif "content-length" in names:
            left = int(names["content-length"])
            while left:
                piece = self.file.read1(min(left, 65536))
                if not piece:
                    raise ConnectionError("cut")
                left -= len(piece)
                yield piece
        else:
            while piece := self.file.read1(65536):
                yield piece

    def response(self):
        status, headers = self.head()
        body, complete = b"", True
        try:
            for piece in self.pieces():
                body += piece
        except ConnectionError:
            complete = False
        return Response(status, headers, body, complete)

    def close(self):
        self.file.close()
        self.sock.close()


# --- tunnel clients ---


class V1Client:
    """A tunnel of protocol v1, written from the contract: `handler(message) -> answer dict, text or None`."""

    def __init__(self, url, handler=None, headers=None):
        self.url, self.handler, self.headers = url, handler or self.hello, headers or {}
        self.received = []
        self.opened, self.closed = threading.Event(), threading.Event()
        self.code = self.reason = self.error = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(),), daemon=True)
        self.thread.start()

    @staticmethod
    def answer(message, status=200, headers=None, body=b""):
        return {"correlation_id": message["correlation_id"], "headers": json.dumps(headers or {}),
                "body": base64.b64encode(body).decode(), "status_code": status}

    def hello(self, message):
        return self.answer(message, 200, {"content-type": "text/plain"}, b"hello")

    async def run(self):
        try:
            async with websockets.connect(self.url, max_size=None, open_timeout=PATIENCE_S,
                                          **{HEADERS_OF_CONNECT: self.headers}) as self.socket:
                self.opened.set()
                async for text in self.socket:
                    message = json.loads(text)
                    self.received.append(message)
                    answer = self.handler(message)
                    if answer is not None:
                        await self.socket.send(answer if isinstance(answer, (str, bytes)) else json.dumps(answer))
                self.code, self.reason = self.socket.close_code, self.socket.close_reason
        except websockets.ConnectionClosed:
            self.code, self.reason = self.socket.close_code, self.socket.close_reason
        except Exception as e:  # shown by the test that waits
            self.error = e
        finally:
            self.opened.set()
            self.closed.set()

    def wait_open(self):
        assert self.opened.wait(PATIENCE_S) and self.error is None, self.error
        return self

    def wait_closed(self):
        assert self.closed.wait(PATIENCE_S), "still open"
        return self.code, self.reason

    def send(self, answer):
        """May be called from any thread."""
        text = answer if isinstance(answer, (str, bytes)) else json.dumps(answer)
        asyncio.run_coroutine_threadsafe(self.socket.send(text), self.loop).result(PATIENCE_S)

    def drop(self):
        """The network fails: no Close frame is sent."""
        self.loop.call_soon_threadsafe(self.socket.transport.abort)
        self.wait_closed()

    def close(self):
        if not self.closed.is_set() and hasattr(self, "socket"):
            asyncio.run_coroutine_threadsafe(self.socket.close(), self.loop)
        self.wait_closed()
        self.thread.join(PATIENCE_S)


# --- the stack ---


def example_text(server, example):
    """The text of a shipped example, or, where it has more lines than one, the text itself."""
    return example if "\n" in example else (ROOT / f"conf/{server}/examples/{example}.conf").read_text()


class Lighttpd:
    name = "lighttpd"
    # mod_auth must precede the modules that respond to requests.
    MODULES = ("mod_extforward", "mod_auth", "mod_authn_file", "mod_rewrite", "mod_access", "mod_fastcgi", "mod_proxy",
               "mod_setenv")

    def __init__(self, stack, settings="", mount="", example=None, after="", modules=MODULES):
        self.port, self.tls_port = free_port(), free_port()
        if example:
            body = self.adapt(stack, example_text("lighttpd", example))
        else:
            body = f"""
var.pipegate_mount = "{mount}"
var.pipegate_socket = "{stack.socket}"
var.pipegate_host = "{stack.broker_host}"
var.pipegate_port = {stack.broker_port}
include "{ROOT}/conf/lighttpd/pipegate.conf"
"""
        path = stack.directory / "lighttpd.conf"
        base = f"""
server.port = {self.port}
server.bind = "127.0.0.1"
server.document-root = "{stack.directory}"
server.modules = ({", ".join(f'"{m}"' for m in modules)})
server.max-request-field-size = 32768
server.max-read-idle = 330
server.max-write-idle = 330
server.upload-dirs = ("{stack.directory}")
"""
        said = set(re.findall(r"^([\w.-]+) *:?=(?!>)", body, re.M))  # a second time would be an error
        base = "".join(line for line in base.splitlines(True) if line.split(" ")[0] not in said)
        path.write_text(f"{base}\n{settings}\n{body}\n{after}\n")
        self.directory, self.path, self.body = stack.directory, path, body
        self.start()

    def adapt(self, stack, body):
        """Paths and ports of this test's own."""
        body = re.sub(r'(pipegate_host *:?=) *".*?"', rf'\1 "{stack.broker_host}"', body).replace(".con[f]", ".conf")
        body = re.sub(r"(pipegate_port *:?=) *\d+", rf"\1 {stack.broker_port}", body)
        for old, new in (("/usr/local/share/pipegate", f"{ROOT}/conf"), ("/run/pipegate/fcgi.sock", stack.socket),
                         ('":443"', f'"127.0.0.1:{self.tls_port}"'), (":80", f":{self.port}"),
                         (r"/etc/[\w./-]+(cert|fullchain)[\w.-]*", stack.directory / "cert.pem"),
                         (r"/etc/[\w./-]+key[\w.-]*", stack.directory / "key.pem")):
            body = re.sub(rf"{old}(?!\w)", str(new), body)
        return body

    def start(self):
        self.process = Process(self.directory, "lighttpd", ["lighttpd", "-D", "-f", str(self.path)])
        self.process.wait_log("server started")

    def workers(self):
        return [self.process.pid]

    def kill_workers(self):
        """The one process that serves; then an operator starts it again."""
        self.process.kill()
        self.start()

    def reload(self):
        """Gracefully: the old one ends when its requests have."""
        self.process.signal(signal.SIGUSR1)
        self.process.wait_log("server started", 2)

    def deny(path):
        return f'$HTTP["url"] =~ "^{path}" {{ url.access-deny = ("") }}'

    def stop(self):
        self.process.stop(expect=None)


class Apache:
    name = "apache"
    MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "proxy", "proxy_http",
               "proxy_fcgi", "rewrite", "headers", "env", "setenvif", "remoteip")
    of_the_server = ""  # directives that are not allowed in a virtual host

    def __init__(self, stack, settings="", mount="", example=None, after=""):
        self.port, self.tls_port = free_port(), free_port()
        path = stack.directory / "apache.conf"
        where = f"Define PIPEGATE_SOCKET {stack.socket}\n"
        where += (f"Define PIPEGATE_TUNNELS {stack.tunnels}\n" if stack.tunnels else
                  f"Define PIPEGATE_LISTENER 127.0.0.1:{stack.broker_port}\n")
        if example:
            body = self.adapt(stack, example_text("apache", example), where)
        else:
            body = f"""
<VirtualHost *:{self.port}>
{where}
{f"Define PIPEGATE_MOUNT {mount}" if mount else ""}
{settings}
Include {ROOT}/conf/apache/pipegate.conf
{after}
</VirtualHost>
"""
        load = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in self.MODULES)
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        path.write_text(f"""
ServerRoot {stack.directory}
DefaultRuntimeDir {stack.directory}
PidFile {stack.directory}/apache.pid
ErrorLog {stack.directory}/apache-error.log
ServerName public.example
Listen 127.0.0.1:{self.port}
{f"Listen 127.0.0.1:{self.tls_port}" if f":{self.tls_port}" in body else ""}
{load}{user}
ServerLimit 16
ThreadsPerChild 64
MaxRequestWorkers 1024
KeepAliveTimeout 2
GracefulShutdownTimeout 1
{self.of_the_server}
{body}
""")
        self.body = body
        self.error_log = stack.directory / "apache-error.log"
        before = self.times_up()
        self.process = Process(stack.directory, "apache", ["apache2", "-D", "FOREGROUND", "-f", str(path)])
        self.wait_up(before + 1)

    def adapt(self, stack, body, where):
        """Paths and ports of this test's own."""
        body = re.sub(r"^\s*Define PIPEGATE_(SOCKET|LISTENER|TUNNELS) .*\n", "", body, flags=re.M)
        body = re.sub(r"^\s*Include\w* /usr/local/share/pipegate/", lambda m: where + "Include" + m[0].split("Include")[1].removeprefix("Optional"), body, flags=re.M)
        for old, new in (("/usr/local/share/pipegate", f"{ROOT}/conf"), ("/var/www/html", stack.directory),
                         (r"\*:443", f"*:{self.tls_port}"), (r"\*:80", f"*:{self.port}"),
                         (r"/etc/[\w./-]+(cert|fullchain)[\w.-]*", stack.directory / "cert.pem"),
                         (r"/etc/[\w./-]+key[\w.-]*", stack.directory / "key.pem")):
            body = re.sub(rf"{old}(?!\w)", str(new), body)
        return body

    def times_up(self):
        return self.error_log.read_text().count("resuming normal operations") if self.error_log.exists() else 0

    def wait_up(self, count):
        def is_up():
            assert self.process.popen.poll() is None, f"Apache has ended:\n{self.process.log()}"
            return self.times_up() >= count

        wait_until(is_up, "Apache is up")

    def workers(self):
        return [int(pid) for pid in open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()]

    def kill_workers(self):
        """All children; the parent starts new ones."""
        freeze(self.process.pid)  # or one that it is about to start would be missed
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        self.process.signal(signal.SIGCONT)

    def reload(self):
        count = self.times_up()
        self.process.signal(signal.SIGUSR1)
        self.wait_up(count + 1)

    def deny(path):
        return f'<Location "{path}">\nRequire all denied\n</Location>'

    def stop(self):
        self.process.stop(expect=None)


SERVERS = {"lighttpd": Lighttpd, "apache": Apache}


def limited(descriptors):
    return ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []


class Stack:
    """Broker, responder and web server in one directory; variables lower the time-outs where a test wants it. No web
    server where `server` is None: see fastcgi.py."""

    def __init__(self, directory, server, settings="", mount="", example=None, after="", threads=None,
                 descriptors=None, responder_descriptors=None, unix_listener=False, **variables):
        self.directory = pathlib.Path(directory)
        os.chmod(self.directory, 0o755)
        self.gate = f"ipc://{self.directory}/gate.sock"
        self.socket = self.directory / "fcgi.sock"
        self.admin = self.directory / "admin.sock"
        self.variables, self.threads = variables, threads
        self.descriptors, self.responder_descriptors = descriptors, responder_descriptors
        self.broker_port = 0
        self.tunnels = self.directory / "tunnels.sock" if unix_listener else None
        self.broker_host = str(self.tunnels or "127.0.0.1")
        self.mount = mount
        self.processes = []
        self.broker = self.start_broker()
        self.responder = self.start_responder()
        settings, example, after = (text(self.directory) if callable(text) else text for text in (settings, example, after))
        self.web = SERVERS[server](self, settings, mount, example, after) if server else None
        self.port = self.web.port if server else None

    def start_broker(self):
        listen = f"unix:{self.tunnels}" if self.tunnels else f"127.0.0.1:{self.broker_port}"
        argv = [*limited(self.descriptors), program("broker"), "--listen", listen, "--gate", self.gate]
        if self.tunnels and os.geteuid() == 0:
            argv += ["--socket-group", pwd.getpwnam("www-data").pw_name]
        p = Process(self.directory, "broker", argv, environment(PIPEGATE_ADMIN=f"unix:{self.admin}", **self.variables))
        self.processes.append(p)
        log = p.wait_log("ready gate=")
        if not self.tunnels:
            self.broker_port = int(log.split("what=tunnels address=127.0.0.1:")[1].split()[0])
        return p

    def start_responder(self, *arguments):
        argv = [*limited(self.responder_descriptors), program("fcgi"), "--listen", f"unix:{self.socket}", "--gate", self.gate,
                *arguments]
        if self.threads:
            argv += ["--threads", str(self.threads)]
        if os.geteuid() == 0:
            argv += ["--socket-group", pwd.getpwnam("www-data").pw_name]
        p = Process(self.directory, "fcgi", argv, environment(**self.variables))
        self.processes.append(p)
        p.wait_log("gate.connected")
        return p

    def client(self, target, sub="demo", *arguments, direct=True, wait=True, tok=None):
        """Our own client. `direct`: to the broker's listener, not through the web server. It dials no unix socket."""
        direct = direct and not self.tunnels
        port = self.broker_port if direct else self.port
        path = "/" if direct else self.mount + "/"
        argv = [program("client"), *arguments, target, f"ws://127.0.0.1:{port}{path}"]
        p = Process(self.directory, f"client-{len(self.processes)}", argv,
                    environment(PIPEGATE_TOKEN=tok or token(sub), PIPEGATE_LOG=self.variables.get("PIPEGATE_LOG")))
        self.processes.append(p)
        if wait:
            p.wait_log("tunnel.open")
            wait_until(lambda: f"conn={sub} " in self.broker.log(), "the broker knows the tunnel")
        return p

    def v1(self, sub="demo", handler=None):
        c = V1Client(f"ws://127.0.0.1:{self.broker_port}/?token={token(sub)}", handler)
        self.processes.append(c)
        return c.wait_open()

    def call(self, method, target, headers=(), body=None, **more):
        caller = Caller(self.port)
        try:
            caller.request(method, target, headers, body, **more)
            return caller.response()
        finally:
            caller.close()

    def get(self, target, **more):
        return self.call("GET", target, **more)

    def metrics(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE_S)
            s.connect(str(self.admin))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            text = b""
            while piece := s.recv(65536):
                text += piece
        lines = text.decode().split("\r\n\r\n", 1)[1].splitlines()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def wait_metric(self, name, value):
        wait_until(lambda: self.metrics()[name] == value, f"{name} is {value}: {self.metrics()}")

    def wait_empty(self):
        """Waits until no state of any exchange remains."""
        for name in ("running", "queued", "open"):
            self.wait_metric(f"pipegate_exchanges_{name}", 0)

    def close(self):
        try:
            if self.web:
                self.web.stop()
            for p in reversed(self.processes):
                if isinstance(p, V1Client):
                    p.close()
                else:
                    p.stop(expect=None if p.popen.poll() is not None else 0)
        finally:
            for p in self.processes:
                if isinstance(p, Process):
                    p.kill()
            if self.web:
                self.web.process.kill()
