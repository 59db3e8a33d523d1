"""What is measured: nginx as the local app, PipeGate behind each web server, and that server's own proxy beside it.

A `Route` is one way from a caller to the app. The processes come from tests/integration/harness.py.
"""
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile

import goals

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402

HOST = "bench.test"  # the public name in every request, for peers that tell tunnels apart by it
MOUNT = "/t"
TUNNEL = ("broker", "responder", "client", "peer server", "peer client")


class Route:
    """`pages` is the path of nginx and `app` that of app.py; `programs` maps a role to its processes."""

    def __init__(self, name, port, pages, app, app_port, programs, base=None, ratios=None, figures=None):
        self.name, self.port, self.pages, self.app, self.app_port = name, port, pages, app, app_port
        self.programs, self.base = programs, base
        self.ratios, self.figures = ratios or {}, figures or {}  # goals
        self.before = None  # the same route of the version before

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


# What conf/lighttpd/pipegate.conf advises for the whole server and no version before it did.
ADVISED = "server.chunkqueue-chunk-sz = 65536\n"


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


def version_before(directory):
    """The test harness of another checkout: its Stack starts that checkout's programs with its configuration files."""
    path = pathlib.Path(directory).resolve() / "tests" / "integration" / "harness.py"
    spec = importlib.util.spec_from_file_location("harness_before", path)
    before = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(before)
    before.Apache.of_the_server = harness.Apache.of_the_server
    if not pathlib.Path(before.program("broker")).exists():
        raise SystemExit(f"bench: BEFORE: no programs in {before.BUILD}: run make there")
    return before


class Relay:
    """tests/bench/relay in front of a port."""

    def __init__(self, ground, line, port, listen="127.0.0.1:0"):
        argv = [str(harness.BUILD / "tests" / "bench" / "relay"), *map(str, line), listen, f"127.0.0.1:{port}"]
        self.process = harness.Process(ground.directory, f"relay-{len(ground.processes)}", argv)
        ground.processes.append(self.process)
        self.port = int(self.process.wait_log("listening on").split()[-1].rsplit(":", 1)[1])


def client_at(ground, route, port, local, name):
    """A client of the route's version that dials this port."""
    house, stack = route.house, route.stack
    path = "/" if ground.direct_tunnels else MOUNT + "/"
    argv = [house.program("client"), f"http://127.0.0.1:{local}", f"ws://127.0.0.1:{port}{path}"]
    process = house.Process(stack.directory, f"client-{name}", argv, house.environment(PIPEGATE_TOKEN=house.token(name)))
    stack.processes.append(process)
    process.wait_log("tunnel.open")
    harness.wait_until(lambda: f"conn={name} " in stack.broker.log(), "the broker knows the tunnel")
    return process


class Ground:
    """Everything that runs, and the one place that ends it."""

    def __init__(self, transfer_mib, direct_tunnels=False):
        self.directories, self.processes, self.stacks = [], [], []
        self.direct_tunnels = direct_tunnels
        self.directory = self.make_directory()
        self.nginx = Nginx(self.directory, transfer_mib)
        self.source = self.directory / "www" / "large"
        self.processes.append(self.nginx.process)
        self.app = App(self.directory)
        self.processes.append(self.app.process)

    def make_directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="pipegate-bench-"))  # short: sockets' paths are
        path.chmod(0o755)
        self.directories.append(path)
        return path

    def stack(self, server, targets=None, house=harness, **more):
        settings = SETTINGS[server](targets or {})
        if server == "lighttpd" and house is harness:
            settings = ADVISED + settings
        stack = house.Stack(self.make_directory(), server, settings, MOUNT, PIPEGATE_MAX_BODY_BYTES=0, **more)
        self.stacks.append(stack)
        return stack

    def direct(self):
        app = {"app": [self.nginx.process]}
        return Route("nginx, direct", self.nginx.port, "", "", self.app.port, app)

    def ours(self, name, server, targets=None, house=harness):
        """PipeGate behind this web server."""
        stack, direct = self.stack(server, targets, house), self.direct_tunnels
        clients = [stack.client(f"http://127.0.0.1:{self.nginx.port}", "pages", direct=direct),
                   stack.client(f"http://127.0.0.1:{self.app.port}", "app", direct=direct)]
        programs = {"web server": [stack.web.process], "responder": [stack.responder], "broker": [stack.broker],
                    "client": clients, "app": [self.nginx.process]}
        route = Route(f"{name}, {server}", stack.port, f"{MOUNT}/pages", f"{MOUNT}/app", stack.port, programs)
        route.stack, route.house = stack, house
        return route

    def routes(self, server, peers, before=None):
        """PipeGate behind this web server, the version before, the server's own proxy, and the peers behind that."""
        targets = {"/plain": self.nginx.port, "/plain-app": self.app.port}
        for peer in peers:
            targets[f"/{peer.name}"], targets[f"/{peer.name}-app"] = peer.port, peer.app_port
        ours = self.ours("PipeGate", server, targets)
        port, web, app = ours.port, ours.programs["web server"], ours.programs["app"]
        plain = Route(f"{server}'s own proxy", port, "/plain", "/plain-app", port, {"web server": web, "app": app})
        ours.base, ours.ratios, ours.figures = plain, goals.RATIOS[server], goals.figures(server)
        routes = [ours, plain]
        if before:
            ours.before = self.ours("before", server, None, before)
            routes.insert(1, ours.before)
        for peer in peers:
            routes.append(Route(f"{peer.name}, {server}", port, f"/{peer.name}", f"/{peer.name}-app", port,
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
