"""Other tunnels, where their programs are on PATH: one of each to nginx and one to app.py.

A peer has `name`, `port` and `app_port` (its public sides), `programs` (roles to processes) and `start(ground)`. Over a
`line`, the relay stands between its two halves.
"""
import pathlib
import shutil
import socket
import sys

import measures
from servers import HOST, Relay, Route

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
import harness  # noqa: E402


class Peer:
    needs = ()

    def __init__(self, line=None):
        self.line = line
        self.port, self.app_port = harness.free_port(), harness.free_port()
        self.control = harness.free_port()
        self.programs = {"peer server": [], "peer client": []}

    @classmethod
    def missing(cls):
        return [p for p in cls.needs if not shutil.which(p)]

    def run(self, ground, role, *argv):
        """Starts a program; it ends with the ground."""
        count = sum(map(len, self.programs.values()))
        process = harness.Process(ground.directory, f"{self.name}-{self.port}-{count}", [str(a) for a in argv])
        ground.processes.append(process)
        self.programs[f"peer {role}"].append(process)
        return process

    def dial(self, ground, control):
        """The port at which the client reaches the server's."""
        return Relay(ground, self.line, control).port if self.line else control

    def server_is_up(self, port):
        harness.wait_until(lambda: listens(port), f"{self.name} listens")

    def route(self, name=None):
        return Route(name or f"{self.name}, bare", self.port, "", "", self.app_port, self.programs)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Rathole(Peer):
    name, needs = "rathole", ("rathole",)

    def start(self, ground):
        services = {"pages": (self.port, ground.nginx.port), "app": (self.app_port, ground.app.port)}
        server = f'[server]\nbind_addr = "127.0.0.1:{self.control}"\ndefault_token = "bench"\n'
        dialled = self.dial(ground, self.control)
        client = f'[client]\nremote_addr = "127.0.0.1:{dialled}"\ndefault_token = "bench"\n'
        for name, (public, local) in services.items():
            server += f'[server.services.{name}]\nbind_addr = "127.0.0.1:{public}"\n'
            client += f'[client.services.{name}]\nlocal_addr = "127.0.0.1:{local}"\n'
        for role, text in (("server", server), ("client", client)):
            path = ground.directory / f"rathole-{self.control}-{role}.toml"
            path.write_text(text)
            self.run(ground, role, "rathole", f"--{role}", path)


class Bore(Peer):
    """Its control port is fixed, so there is one server, and each line has an address of its own for that port."""
    name, needs = "bore", ("bore",)
    CONTROL = 7835
    server, addresses = [], 1

    def start(self, ground):
        to = "127.0.0.1"
        if self.line is None:
            if listens(self.CONTROL):
                raise OSError(f"port {self.CONTROL} is in use")
            Bore.server = [self.run(ground, "server", "bore", "server", "--min-port", 1024, "--bind-addr", to)]
            self.server_is_up(self.CONTROL)
        else:
            Bore.addresses += 1
            to = f"127.0.0.{Bore.addresses}"
            Relay(ground, self.line, self.CONTROL, f"{to}:{self.CONTROL}")
            self.programs["peer server"] = Bore.server
        for public, local in ((self.port, ground.nginx.port), (self.app_port, ground.app.port)):
            self.run(ground, "client", "bore", "local", local, "--local-host", "127.0.0.1", "--to", to, "--port", public)


class Localtunnel(Peer):
    """Tells tunnels apart by the first label of Host, so each side has a server of its own. With its ten sockets: with
    many more the client keeps both cores busy while nothing happens."""
    name, needs = "localtunnel", ("lt", "lt-server")

    def start(self, ground):
        if self.line:
            raise OSError("its server chooses the ports at which the client connects")
        subdomain, domain = HOST.split(".", 1)
        for public, local in ((self.port, ground.nginx.port), (self.app_port, ground.app.port)):
            self.run(ground, "server", "lt-server", "--port", public, "--address", "127.0.0.1", "--domain", domain,
                     "--max-sockets", 256)
            self.server_is_up(public)
            self.run(ground, "client", "lt", "--host", f"http://127.0.0.1:{public}", "--port", local,
                     "--local-host", "127.0.0.1", "--subdomain", subdomain)


class Frp(Peer):
    """As a reverse proxy that understands HTTP, which is what PipeGate is."""
    name, needs = "frp", ("frps", "frpc")

    def start(self, ground):
        for role, public, local in (("pages", self.port, ground.nginx.port), ("app", self.app_port, ground.app.port)):
            control = harness.free_port()
            server, client = (ground.directory / f"frp-{control}-{side}.toml" for side in ("server", "client"))
            dialled = self.dial(ground, control)
            server.write_text(f'bindAddr = "127.0.0.1"\nbindPort = {control}\nproxyBindAddr = "127.0.0.1"\n'
                              f'vhostHTTPPort = {public}\n')
            client.write_text(f'serverAddr = "127.0.0.1"\nserverPort = {dialled}\n[[proxies]]\nname = "{role}"\n'
                              f'type = "http"\nlocalPort = {local}\ncustomDomains = ["{HOST}"]\n')
            self.run(ground, "server", "frps", "-c", server)
            self.server_is_up(control)
            self.run(ground, "client", "frpc", "-c", client)


class Chisel(Peer):
    name, needs = "chisel", ("chisel",)

    def start(self, ground):
        self.run(ground, "server", "chisel", "server", "--reverse", "--host", "127.0.0.1", "--port", self.control)
        self.server_is_up(self.control)
        dialled = self.dial(ground, self.control)
        self.run(ground, "client", "chisel", "client", f"http://127.0.0.1:{dialled}",
                 *(f"R:127.0.0.1:{public}:127.0.0.1:{local}"
                   for public, local in ((self.port, ground.nginx.port), (self.app_port, ground.app.port))))


KNOWN = {p.name: p for p in (Rathole, Bore, Localtunnel, Frp, Chisel)}


def start_one(ground, kind, line=None):
    """The peer and None, or None and why it does not start."""
    peer = kind(line)
    try:
        peer.start(ground)
        for url in (peer.route().url("/2"), peer.route().app_url("/upload")):
            harness.wait_until(lambda: measures.answers(url), f"{kind.name} answers {url}")
        return peer, None
    except Exception as e:  # noqa: BLE001
        return None, f"does not start: {str(e)[:200]}"


def start(ground, names):
    """The peers that run, and why the others do not."""
    found, absent = [], {}
    for name in names:
        if name not in KNOWN:
            absent[name] = "unknown to this benchmark"
        elif missing := KNOWN[name].missing():
            absent[name] = f"not on PATH: {', '.join(missing)}"
        else:
            peer, why = start_one(ground, KNOWN[name])
            if why:
                absent[name] = why
            else:
                found.append(peer)
    return found, absent
