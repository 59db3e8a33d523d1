"""What is measured: nginx as the local app, PipeGate behind each web server, and that server's own proxy beside it.

A `Route` is one way from a caller to the app. The processes come from tests/integration/harness.py.
"""
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402

HOST = "bench.test"  # the public name in every request, for peers that tell tunnels apart by it
MOUNT = "/t"
TUNNEL = ("broker", "responder", "client", "peer server", "peer client")


class Route:
    """`pages` is the path of nginx and `app` that of app.py; `programs` maps a role to its processes."""

    def __init__(self, name, port, pages, app, app_port, programs, base=None, goals=None):
        self.name, self.port, self.pages, self.app, self.app_port = name, port, pages, app, app_port
        self.programs, self.base, self.goals = programs, base, goals or {}

    def url(self, page):
        return f"http://127.0.0.1:{self.port}{self.pages}{page}"

    def app_url(self, page):
        return f"http://127.0.0.1:{self.app_port}{self.app}{page}"

    def pids(self):
        return {role: [p.pid for p in processes] for role, processes in self.programs.items()}


class Nginx:
    """Small answers from memory, the large one from a file, connections kept."""

    def __init__(self, directory, transfer_mib):
        self.port = harness.free_port()
        www = directory / "www"
        www.mkdir()
        with open(www / "large", "wb") as f:
            for _ in range(transfer_mib):
                f.write(os.urandom(1 << 20))
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(f"{n}_temp_path {directory}/nginx-{n};\n"
                            for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = directory / "nginx.conf"
        conf.write_text(f"""
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 8192; }}
http {{
access_log off;
sendfile on;
keepalive_requests 1000000000;
keepalive_timeout 300;
{temporary}
server {{
listen 127.0.0.1:{self.port} backlog=4096;
root {www};
location = /2 {{ return 200 "ok"; }}
location = /1k {{ return 200 "{"x" * 1024}"; }}
}}
}}
""")
        self.process = harness.Process(directory, "nginx", [which("nginx"), "-e", "stderr", "-c", str(conf)])


class App:
    def __init__(self, directory):
        script = pathlib.Path(__file__).with_name("app.py")
        self.process = harness.Process(directory, "app", [sys.executable, str(script)])
        self.port = int(self.process.wait_log("port ").split()[1])


def which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or name


def lighttpd_settings(targets):
    text = "server.max-fds = 16384\nserver.max-connections = 8000\n"
    for prefix, port in targets.items():
        text += f"""
$HTTP["url"] =^ "{prefix}/" {{
server.stream-response-body = 2
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {port})))
proxy.header = ("upgrade" => "enable", "map-urlpath" => ("{prefix}/" => "/"))
}}
"""
    return text


def apache_settings(targets):
    text = "ProxyPreserveHost On\n"
    for prefix, port in targets.items():
        text += f'ProxyPass "{prefix}/" "http://127.0.0.1:{port}/" upgrade=websocket\n'
    return text


# Else Apache ends processes, and the kept connections that they have, whenever it finds itself idle.
harness.Apache.of_the_server = "StartServers 8\nMaxSpareThreads 1024"
SETTINGS = {"lighttpd": lighttpd_settings, "apache": apache_settings}
GOALS = {  # of the ratio to the web server's own proxy
    "lighttpd": {"rate": (">=", 1.0), "p99": ("<=", 1.2), "down": (">=", 0.6), "up": (">=", 0.8)},
    "apache": {"rate": (">=", 0.9), "p99": ("<=", 1.2), "down": (">=", 0.6), "up": (">=", 0.8)},
}


class Ground:
    """Everything that runs, and the one place that ends it."""

    def __init__(self, transfer_mib, direct_tunnels=False):
        self.directories, self.processes, self.stacks = [], [], []
        self.direct_tunnels = direct_tunnels
        self.directory = self.make_directory()
        self.nginx = Nginx(self.directory, transfer_mib)
        self.processes.append(self.nginx.process)
        self.app = App(self.directory)
        self.processes.append(self.app.process)

    def make_directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="pipegate-bench-"))  # short: sockets' paths are
        path.chmod(0o755)
        self.directories.append(path)
        return path

    def stack(self, server, targets=None, **more):
        settings = SETTINGS[server](targets or {})
        stack = harness.Stack(self.make_directory(), server, settings, MOUNT, PIPEGATE_MAX_BODY_BYTES=0, **more)
        self.stacks.append(stack)
        return stack

    def direct(self):
        app = {"app": [self.nginx.process]}
        return Route("nginx, direct", self.nginx.port, "", "", self.app.port, app)

    def routes(self, server, peers):
        """PipeGate behind this web server, its own proxy, and the peers behind the same proxy."""
        targets = {"/plain": self.nginx.port, "/plain-app": self.app.port}
        for peer in peers:
            targets[f"/{peer.name}"], targets[f"/{peer.name}-app"] = peer.port, peer.app_port
        stack = self.stack(server, targets)
        direct = self.direct_tunnels
        clients = [stack.client(f"http://127.0.0.1:{self.nginx.port}", "pages", direct=direct),
                   stack.client(f"http://127.0.0.1:{self.app.port}", "app", direct=direct)]
        web, app = [stack.web.process], [self.nginx.process]
        plain = Route(f"{server}'s own proxy", stack.port, "/plain", "/plain-app", stack.port,
                      {"web server": web, "app": app})
        ours = Route(f"PipeGate, {server}", stack.port, f"{MOUNT}/pages", f"{MOUNT}/app", stack.port,
                     {"web server": web, "responder": [stack.responder], "broker": [stack.broker],
                      "client": clients, "app": app}, base=plain, goals=GOALS[server])
        routes = [ours, plain]
        for peer in peers:
            routes.append(Route(f"{peer.name}, {server}", stack.port, f"/{peer.name}", f"/{peer.name}-app", stack.port,
                                {"web server": web, **peer.programs, "app": app}, base=plain))
        return routes

    def close(self):
        for stack in self.stacks:
            end_stack(stack)
        for process in reversed(self.processes):
            end_process(process)
        for path in self.directories:
            shutil.rmtree(path, ignore_errors=True)


def end_stack(stack):
    """How its programs end is the tests' business."""
    try:
        stack.close()
    except Exception as e:  # noqa: BLE001
        print(f"bench: at the end: {str(e)[:200]}", file=sys.stderr)


def end_process(process):
    """SIGTERM first: a master process has to end its workers."""
    try:
        process.stop(expect=None)
    except Exception:  # noqa: BLE001
        process.kill()
