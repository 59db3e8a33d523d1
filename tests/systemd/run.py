#!/usr/bin/python3
"""make systemd-check: real systemd, in a container for each release of Debian, and README followed to the letter: its
blocks are what is run and pasted here. Needs root. The container has no network; all packages are in its root."""
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from machine import OPERATOR, Machine, quote
from readme import block, blocks

HOST = "www.example.org"
HOME = f"/home/{OPERATOR}"
TREE = f"{HOME}/pipegate"
SITE = {"apache2": f"/etc/apache2/sites-available/{HOST}.conf", "lighttpd": "/etc/lighttpd/lighttpd.conf"}
PATIENCE_S = 60


def wait_until(predicate, what):
    end = time.monotonic() + PATIENCE_S
    while not (value := predicate()):
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.2)
    return value


class Check:
    def __init__(self, release, directory):
        self.release = release
        self.m = Machine(release, directory)
        self.passed = self.failed = 0

    def step(self, function, *arguments):
        name = " ".join([function.__name__, *arguments])
        begin = time.monotonic()
        try:
            function(self, *arguments)
        except (AssertionError, OSError) as e:
            self.failed += 1
            print(f"{self.release}: FAIL {name}\n{e}", flush=True)
            self.show_journal()
        else:
            self.passed += 1
            print(f"{self.release}: ok   {name} ({time.monotonic() - begin:.1f} s)", flush=True)

    def show_journal(self):
        if self.m.leader:
            print(self.root("journalctl --no-pager -n 15 -u 'pipegate*' -u apache2 -u lighttpd", check=False).stdout)

    def run(self, script, **more):
        return self.m.run(script, **more)

    def root(self, script, **more):
        return self.m.run(script, user="root", **more)

    def output(self, script):
        return self.root(script).stdout.strip()

    def write(self, path, text, mode=0o644):
        target = self.m.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def is_active(self, *units):
        for unit in units:
            state = self.root(f"systemctl is-active {quote(unit)}", check=False).stdout.strip()
            assert state == "active", f"{unit} is {state}"

    def fetch(self, url):
        """What the app has been asked for."""
        def answer():
            done = self.run(f"curl -sS -m 20 {quote(url)}", check=False)
            return json.loads(done.stdout) if done.stdout.startswith('{"target"') else None
        return wait_until(answer, f"{url}: {self.run(f'curl -sSi -m 20 {quote(url)}', check=False)}")["target"]

    def websocket(self, url):
        done = self.run(f"python3 tests/systemd/websocket.py {quote(url)}", check=False)
        assert done.returncode == 0, done
        return json.loads(done.stdout)["target"]


# --- what a machine has before PipeGate comes ---


def boots(c):
    c.m.copy_tree()
    c.m.boot()
    c.root(f'echo "127.0.0.1 localhost $(hostname) {HOST}" >>/etc/hosts')
    c.root("systemctl disable --now apache2 lighttpd; systemctl reset-failed", check=False)
    c.root(f"""
		mkdir -p /etc/letsencrypt/live/{HOST}; cd /etc/letsencrypt/live/{HOST}
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -addext subjectAltName=DNS:{HOST} \
			-keyout privkey.pem -out fullchain.pem
		cp fullchain.pem /usr/local/share/ca-certificates/check.crt; update-ca-certificates""")
    c.write("/etc/systemd/system/app.service", f"[Service]\nUser={OPERATOR}\nExecStart=python3 {TREE}/tests/systemd/app.py 3000\n"
            "[Install]\nWantedBy=multi-user.target\n")
    c.write("/etc/systemd/system/app-unix.service", f"[Service]\nUser={OPERATOR}\nExecStart=python3 {TREE}/tests/systemd/app.py "
            f"{HOME}/app.sock\n[Install]\nWantedBy=multi-user.target\n")
    c.root("systemctl daemon-reload; systemctl enable --now app app-unix")


# --- README, section by section ---


def install(c):
    for language, code in blocks("1. Install"):
        assert language == "sh"
        c.run(code)
    c.is_active("pipegate-broker.service", "pipegate-broker.socket", "pipegate-fcgi.socket")
    assert c.output("stat -c '%U %a' /etc/pipegate/broker.env") == "root 600"


def secret(c):
    """Made once, kept by a second run, and in no log."""
    value = re.search(r"^PIPEGATE_JWT_SECRET=(.+)$", c.output("cat /etc/pipegate/broker.env"), re.M).group(1)
    assert len(value) == 44
    c.run(block("1. Install", "sh", 1))
    assert f"PIPEGATE_JWT_SECRET={value}\n" in c.output("cat /etc/pipegate/broker.env") + "\n"
    assert value not in c.output("journalctl --no-pager -o cat"), "the secret is in the journal"
    c.is_active("pipegate-broker.service")


def sockets(c):
    """Owner, mode, and who may connect."""
    wanted = {"fcgi.sock": "root www-data 660", "tunnels.sock": "root www-data 660", "gate.sock": "pipegate pipegate 660"}
    for name, owner in wanted.items():
        assert c.output(f"stat -c '%U %G %a' /run/pipegate/{name}") == owner, c.output("ls -la /run/pipegate")
    assert c.output("stat -c '%U %G %a' /run/pipegate") == "pipegate pipegate 755"
    for user, name, may in [("www-data", "tunnels.sock", True), ("www-data", "fcgi.sock", True), ("www-data", "gate.sock", False),
                            (OPERATOR, "tunnels.sock", False), (OPERATOR, "fcgi.sock", False), (OPERATOR, "gate.sock", False),
                            ("pipegate-fcgi", "tunnels.sock", False)]:
        done = c.m.run(f"""python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/pipegate/{name}")'""", user=user,
                       check=False)
        assert (done.returncode == 0) == may, f"{user} at {name}: {done.stderr}"


def any_order(c):
    """Sockets, broker and responder in each order, without systemd-tmpfiles: the same owners and modes."""
    units = ("pipegate-broker.socket", "pipegate-fcgi.socket", "pipegate-broker.service", "pipegate-fcgi.service")
    for order in [(0, 1, 2, 3), (1, 0, 2, 3), (1, 3, 0, 2), (0, 2, 1, 3)]:
        c.root("systemctl stop " + " ".join(units))
        c.root("rm -rf /run/pipegate")
        for i in order:
            c.root(f"systemctl start {units[i]}")
        sockets(c)
    c.root("systemctl restart pipegate-broker.service")
    sockets(c)


def wrong_configuration(c):
    """The broker tries again until it is right, and what waits at the socket is served then."""
    c.root("mv /etc/pipegate/broker.env /etc/pipegate/keep; grep -v SECRET /etc/pipegate/keep >/etc/pipegate/broker.env")
    c.root("systemctl stop pipegate-broker.service")
    done = c.root("""
		curl -sS -m 60 --unix-socket /run/pipegate/tunnels.sock http://x/healthz & request=$!
		until [ "$(systemctl show -P NRestarts pipegate-broker.service)" -ge 6 ]; do sleep 0.2; done
		mv /etc/pipegate/keep /etc/pipegate/broker.env
		wait $request""")
    assert '"ok"' in done.stdout, done
    c.is_active("pipegate-broker.service", "pipegate-broker.socket")


def token(c):
    """README's block 3, and the client's file."""
    out = c.run(block("3. A token", "sh")).stdout
    c.token = re.search(r"^JWT Bearer:    (\S+)$", out, re.M).group(1)
    assert "Connection-id: my-app\n" in out


def client_unit(c, target="http://localhost:3000", name="my-app", options=""):
    server = re.search(r"^pipegate-client \S+ (\S+)$", block("4. The client", "sh"), re.M).group(1)
    c.write(f"/etc/pipegate/client-{name}.env", f"TARGET_URL={target}\nSERVER_URL={server}\nPIPEGATE_TOKEN={c.token}\n{options}", 0o600)
    c.root(f"systemctl enable --now pipegate-client@{name}")


def configure(c, server):
    """TLS section's block for this web server."""
    if server == "apache2":
        c.run("sudo systemctl disable --now lighttpd; sudo a2enmod ssl")
        code = block("TLS", "apache")
        for line in block("2a. Apache", "apache").splitlines():
            assert line.strip() in code, f"TLS differs from 2a: {line}"
        c.write(SITE[server], code)
        c.run(f"sudo a2dissite 000-default; sudo a2ensite {HOST}")
        c.run("sudo systemctl enable apache2")
        c.run(block("2a. Apache", "sh"))
    else:
        c.run("sudo systemctl disable --now apache2; sudo systemctl enable lighttpd")
        c.plain_lighttpd = c.output(f"cat {SITE[server]}") + "\n"
        c.write(SITE[server], c.plain_lighttpd + block("TLS", "lighttpd"))
        c.run(block("2b. lighttpd", "sh"))
    c.is_active(server)


def plain_configuration(c, server):
    """The blocks of 2a and 2b as they are, without TLS: the default host serves tunnels."""
    path = "/etc/apache2/sites-available/000-default.conf" if server == "apache2" else SITE[server]
    before = c.output(f"cat {path}") + "\n"
    if server == "apache2":
        c.write(path, before.replace("</VirtualHost>", block("2a. Apache", "apache") + "</VirtualHost>"))
        c.run("sudo systemctl enable apache2")
        c.run(block("2a. Apache", "sh"))
    else:
        c.run("sudo systemctl disable --now apache2; sudo systemctl enable lighttpd")
        c.write(path, before + block("2b. lighttpd", "lighttpd"))
        c.run(block("2b. lighttpd", "sh"))
    wait_until(lambda: c.run("curl -sS -m 20 http://localhost/tunnels/healthz", check=False).stdout == '{"status":"ok"}', "health")
    done = c.run("timeout 20 python3 tests/systemd/websocket.py ws://localhost/tunnels/my-app/x", check=False)
    assert "503" in done.stderr, "tunnel-unknown, from the broker: " + str(done)
    c.write(path, before)
    c.run(f"sudo systemctl stop {server}")


def traffic(c, server):
    """A request and a WebSocket, through the tunnel; nothing in clear."""
    c.is_active(server, "pipegate-client@my-app")
    assert c.fetch(f"https://{HOST}/tunnels/my-app/a%2Fb?x=1") == "/a%2Fb?x=1"
    assert c.websocket(f"wss://{HOST}/tunnels/my-app/live?v=1") == "/live?v=1"
    done = c.run(f"curl -sSi -m 20 'http://{HOST}/tunnels/my-app/a?x=1'").stdout
    assert " 301 " in done.splitlines()[0] and f"https://{HOST}/tunnels/my-app/a?x=1" in done, done
    done = c.run(f"python3 tests/systemd/websocket.py ws://{HOST}/tunnels/my-app/live", check=False)
    assert " 301 " in done.stderr, done
    refused = c.root("journalctl --no-pager -b -o cat | grep -i 'operation not permitted.*src/' || :").stdout
    assert not refused, refused


def client_by_hand(c):
    """README's block 4 as it is, but for the token."""
    code = block("4. The client", "sh")
    assert "eyJhbGciOi..." in code
    c.root("systemctl stop pipegate-client@my-app")
    script = code.replace("eyJhbGciOi...", c.token).replace("pipegate-client ", "exec pipegate-client ", 1)
    c.run(f"({script}) >/tmp/client.log 2>&1 & echo $! >/tmp/client.pid")
    assert c.fetch(f"https://{HOST}/tunnels/my-app/by-hand") == "/by-hand"
    c.run("kill $(cat /tmp/client.pid)")
    c.root("systemctl start pipegate-client@my-app")


def client_of_a_user(c):
    """The unix socket in somebody's home, with the drop-in of pipegate-client(1), and a flag."""
    page = (pathlib.Path(__file__).resolve().parents[2] / "client/pipegate-client.1").read_text()
    drop_in = re.search(r"^\[Service\]\n.*?(?=^\.Ed)", page, re.M | re.S).group(0).replace("alice", OPERATOR)
    c.write("/etc/systemd/system/pipegate-client@unix.service.d/override.conf", drop_in)
    c.root("systemctl daemon-reload; systemctl stop pipegate-client@my-app")
    client_unit(c, f"unix:{HOME}/app.sock", "unix", "PIPEGATE_CLIENT_OPTIONS=--host-header target --verbose\n")
    assert c.fetch(f"https://{HOST}/tunnels/my-app/unix") == "/unix"
    c.root("systemctl disable --now pipegate-client@unix; systemctl start pipegate-client@my-app")


def reboot(c):
    c.m.shut_down()
    c.m.boot()
    c.is_active("pipegate-broker.service", "pipegate-broker.socket", "pipegate-fcgi.socket", "pipegate-client@my-app")
    sockets(c)


def verify_units(c):
    """systemd-analyze finds nothing to complain about, and the hardening is what it was."""
    names = " ".join(sorted(p.name.replace("@", "@my-app") for p in
                            (pathlib.Path(__file__).resolve().parents[2] / "conf/systemd").glob("pipegate*")))
    done = c.root(f"systemd-analyze verify {names}", check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "pipegate" in line and "Command 'man" not in line]
    assert not lines, lines
    for unit, most in (("pipegate-broker", 2.0), ("pipegate-fcgi", 2.0), ("pipegate-client@my-app", 2.5)):
        level = c.root(f"systemd-analyze security --no-pager {unit}.service | grep 'Overall exposure'").stdout
        assert float(re.search(r"(\d+\.\d+)", level).group(1)) <= most, level


def upgrade(c):
    before = c.output("sha256sum /etc/pipegate/*")
    pid = c.output("systemctl show -P MainPID pipegate-broker.service")
    c.run(block("Upgrade", "sh"))
    assert c.output("sha256sum /etc/pipegate/*") == before
    assert c.output("systemctl show -P MainPID pipegate-broker.service") != pid
    sockets(c)


def to_tcp_and_back(c):
    """An installation without the unix socket, and README's way to it."""
    c.root("systemctl disable --now pipegate-broker.socket; systemctl restart pipegate-broker.service")
    assert "ok" in c.output("curl -sS -m 20 http://127.0.0.1:8000/healthz")
    c.run(block("Upgrade", "sh", 1))
    sockets(c)


def uninstall(c):
    c.run(block("Uninstall", "sh"))
    left = c.output("systemctl list-units --all --plain --no-legend 'pipegate*' | grep -v not-found || :")
    assert not left, left
    for path in ("/etc/systemd/system", "/usr/local"):
        left = c.output(f"find {path} -name '*pipegate*' -not -name '*.service.d' || :")
        assert not left, left
    assert not c.output("pgrep -l pipegate || :")
    assert c.output("ls /etc/pipegate")


def starts_afterwards(c, server):
    """The lines of README are still in its configuration."""
    other = "lighttpd" if server == "apache2" else "apache2"
    c.root(f"systemctl stop {other}; systemctl restart {server}")
    c.is_active(server)
    wait_until(lambda: c.run(f"curl -sS -o /dev/null -w '%{{http_code}}' -m 20 https://{HOST}/tunnels/my-app/",
                             check=False).stdout == "404", "its own 404")


def prefix_usr(c):
    c.run("sudo make install PREFIX=/usr && sudo systemctl daemon-reload")
    c.root("systemctl enable --now pipegate-broker.socket pipegate-fcgi.socket pipegate-broker.service")
    assert c.output("readlink /proc/$(systemctl show -P MainPID pipegate-broker.service)/exe") == "/usr/bin/pipegate-broker"
    sockets(c)
    left = c.output("grep -rl /usr/local/ /usr/share/pipegate /usr/lib/systemd/system/pipegate* || :")
    assert not left, left
    c.run("sudo make uninstall PREFIX=/usr")
    left = c.output("find /etc/systemd/system /usr/bin /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d "
                    "-name '*pipegate*' -not -name '*.service.d'")
    assert not left, left


def dependencies_start_nothing(c):
    """tests/install-deps leaves a web server that it installs disabled, and one that was there enabled."""
    c.root("systemctl enable apache2; apt-get purge -y lighttpd >/dev/null 2>&1")
    c.root(f"{TREE}/tests/install-deps demo")  # from apt's cache, as there is no network
    assert c.root("systemctl is-enabled lighttpd", check=False).stdout.strip() == "disabled"
    assert c.output("systemctl is-enabled apache2") == "enabled"


def check(release, directory):
    c = Check(release, directory)
    try:
        c.step(boots)
        for function in (install, secret, sockets, verify_units, any_order, wrong_configuration):
            c.step(function)
        for server in ("apache2", "lighttpd"):
            c.step(plain_configuration, server)
        c.step(token)
        c.step(configure, "apache2")
        c.step(client_unit)
        c.step(traffic, "apache2")
        c.step(client_by_hand)
        c.step(client_of_a_user)
        c.step(reboot)
        c.step(traffic, "apache2")
        c.step(configure, "lighttpd")
        c.step(traffic, "lighttpd")
        c.step(reboot)
        c.step(traffic, "lighttpd")
        c.step(upgrade)
        c.step(to_tcp_and_back)
        c.step(traffic, "lighttpd")
        c.step(uninstall)
        for server in ("lighttpd", "apache2"):
            c.step(starts_afterwards, server)
        c.step(prefix_usr)
        c.step(dependencies_start_nothing)
    finally:
        c.m.close()
    return c.passed, c.failed


def main():
    if os.geteuid() != 0:
        sys.exit("systemd-check: needs root (containers, mounts)")
    passed = failed = 0
    for release in sys.argv[1:] or ["bookworm", "trixie"]:
        directory = tempfile.mkdtemp(prefix="pipegate-systemd-", dir="/var/tmp")
        try:
            more_passed, more_failed = check(release, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        passed += more_passed
        failed += more_failed
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
