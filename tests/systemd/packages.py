#!/usr/bin/python3
"""make debian-check: the packages of each release, built in a container of that release, installed, enabled at both web servers as
an operator would, upgraded while callers send requests, removed and purged. Needs root. The container has no network."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from machine import OPERATOR
from run import HOST, TREE, Check, boots, wait_until

DEBS = f"{TREE}/build-deb"
INCLUDE = "Include /etc/pipegate/apache.conf"
CALLERS, URL = 16, f"http://{HOST}/tunnels/my-app/"


def build(c):
    c.run("make deb >/tmp/deb.log 2>&1 || { tail -n 30 /tmp/deb.log; exit 1; }")
    for package in ("server", "client"):
        assert c.output(f"ls {DEBS}/pipegate-{package}_*.deb")


def lintian(c):
    """No error and no warning, says that of this machine."""
    changes = [str(p) for p in (c.m.root / DEBS.lstrip("/")).glob("*.changes")]
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *changes], capture_output=True, text=True, check=False)
    assert changes and done.returncode == 0, done


def install(c):
    c.root("systemctl disable --now apache2 lighttpd; systemctl reset-failed", check=False)
    c.root(f"dpkg -i {DEBS}/pipegate-server_*.deb")
    c.is_active("pipegate-broker.service", "pipegate-broker.socket", "pipegate-fcgi.socket")
    for unit in ("pipegate-broker.service", "pipegate-broker.socket", "pipegate-fcgi.socket"):
        assert c.output(f"systemctl is-enabled {unit}") == "enabled", unit
    assert c.output("stat -c '%U %G %a' /etc/pipegate/broker.env") == "root pipegate-ctl 640"
    secret = re.search(r"^PIPEGATE_JWT_SECRET=(.+)$", c.output("cat /etc/pipegate/broker.env"), re.M).group(1)
    assert len(secret) == 44
    assert secret not in c.output("journalctl --no-pager -o cat")
    assert c.output("stat -c '%U %G %a' /run/pipegate/control.sock") == "pipegate pipegate-ctl 660"
    done = c.m.run("cat /etc/pipegate/broker.env", user="pipegate-fcgi", check=False)
    assert done.returncode != 0, "the responder can read the secret"
    assert c.output("pipegate-ctl list").endswith("0 tunnels")
    for user in ("www-data", "pipegate-fcgi", OPERATOR):
        assert c.m.run("pipegate-ctl list", user=user, check=False).returncode == 1, user
    assert "/usr/local" not in c.output("cat /usr/share/pipegate/apache/examples/*.conf /etc/pipegate/apache.conf")


def client(c):
    """With its token as a credential, a file that only root can read."""
    out = c.output("set -a; . /etc/pipegate/broker.env; pipegate-token -c my-app")
    token = re.search(r"^JWT Bearer:    (\S+)$", out, re.M).group(1)
    c.root(f"dpkg -i {DEBS}/pipegate-client_*.deb")
    c.write("/etc/pipegate/client-my-app.env", f"TARGET_URL=3000\nSERVER_URL=ws://{HOST}/tunnels/\n")
    c.write("/etc/pipegate/client-my-app.token", token + "\n", 0o600)
    c.root("systemctl enable --now pipegate-client@my-app")


def enable(c, server):
    """One command, a line in Apache's virtual host, and a restart."""
    other = "lighttpd" if server == "apache2" else "apache2"
    c.root(f"systemctl stop {other}")
    if server == "apache2":
        c.root(f"""a2enmod pipegate
			sed -i 's|^</VirtualHost>|{INCLUDE}\\n&|' /etc/apache2/sites-available/000-default.conf; apachectl configtest""")
    else:
        c.root("lighty-enable-mod pipegate && lighttpd -tt -f /etc/lighttpd/lighttpd.conf")
    c.root(f"systemctl restart {server}")
    c.root("systemctl restart pipegate-client@my-app")
    serves(c)


def serves(c):
    assert c.fetch(f"{URL}a%2Fb?x=1") == "/a%2Fb?x=1"
    assert c.websocket(f"ws://{HOST}/tunnels/my-app/live?v=1") == "/live?v=1"
    assert "my-app" in c.output("pipegate-ctl list")


def upgrade(c):
    """Callers of short requests do not notice it, nor a restart of each service."""
    before = c.output("sha256sum /etc/pipegate/*")
    pid = c.output("systemctl show -P MainPID pipegate-broker.service")
    c.run(f"""
		rm -f /tmp/outcomes* /tmp/stop
		for i in $(seq {CALLERS}); do
			(while [ ! -e /tmp/stop ]; do curl -sS -o /dev/null -w '%{{http_code}} %header{{x-pipegate-error}}\\n' -m 30 {URL} >>/tmp/outcomes 2>&1; done) &
		done
		more() {{
			n=$(cat /tmp/outcomes 2>/dev/null | wc -l)
			while [ "$(cat /tmp/outcomes 2>/dev/null | wc -l)" -lt $((n + 200)) ]; do sleep 0.1; done
			mv /tmp/outcomes /tmp/outcomes.$1
		}}
		more before
		sudo dpkg -i {DEBS}/pipegate-server_*.deb >/tmp/upgrade.log 2>&1; more dpkg
		sudo systemctl restart pipegate-broker.service; more broker
		sudo systemctl restart pipegate-fcgi.service; more responder
		sudo systemctl restart pipegate-broker.service pipegate-fcgi.service; more both
		touch /tmp/stop; wait""")
    outcomes = c.output("cd /tmp; for f in outcomes.*; do sort $f | uniq -c | sed \"s/$/ $f/\"; done").split("\n")
    if not all(line.split()[1] == "200" for line in outcomes):
        print(c.output("journalctl --no-pager -o short-precise -u 'pipegate*' | grep -v request.done | tail -60"))
    assert all(line.split()[1] == "200" for line in outcomes), outcomes
    assert c.output("sha256sum /etc/pipegate/*") == before
    assert c.output("systemctl show -P MainPID pipegate-broker.service") != pid
    print(f"{c.release}:      {sum(int(line.split()[0]) for line in outcomes)} requests, all right", flush=True)


def revoke(c):
    c.root("pipegate-ctl revoke --sub my-app")
    wait_until(lambda: c.root("systemctl is-active pipegate-client@my-app", check=False).stdout.strip() == "failed", "the client has ended")
    assert c.output("systemctl show -P ExecMainStatus pipegate-client@my-app") == "77"
    c.root("systemctl restart pipegate-broker.service")
    c.root("systemctl start pipegate-client@my-app; sleep 1", check=False)
    assert c.root("systemctl is-active pipegate-client@my-app", check=False).stdout.strip() != "active"
    assert c.output("stat -c '%U %a' /var/lib/pipegate/revocations.json") == "pipegate 600"


def remove(c):
    """The configuration stays, and so does what is revoked; both web servers still start."""
    c.root("systemctl disable --now pipegate-client@my-app", check=False)
    c.root("dpkg -r pipegate-client pipegate-server")
    assert c.output("ls /etc/pipegate/broker.env /var/lib/pipegate/revocations.json")
    assert not c.output("pgrep -l pipegate || :")
    assert not c.output("ls /usr/bin/pipegate* /usr/share/pipegate 2>/dev/null || :")
    for server in ("apache2", "lighttpd"):
        c.root(f"systemctl stop apache2 lighttpd; systemctl restart {server}")
        c.is_active(server)


def purge(c):
    """Nothing is left but the client's files, which the administrator has made."""
    c.root("dpkg -P pipegate-client pipegate-server")
    c.root(f"sed -i '\\|{INCLUDE}|d' /etc/apache2/sites-available/000-default.conf; rm -f /etc/pipegate/client-*; rmdir /etc/pipegate")
    left = c.output("find / -xdev \\( -path /home -o -path /proc -o -path /sys -o -path /tmp -o -path /var/log -o -path /root \\) -prune -o "
                    "-name '*pipegate*' -not -path '/var/lib/apache2/module/*' -print")
    assert not left, left
    assert not c.output("getent passwd | grep pipegate || :") and not c.output("getent group | grep pipegate || :")
    for server in ("apache2", "lighttpd"):
        c.root(f"systemctl stop apache2 lighttpd; systemctl restart {server}")
        c.is_active(server)


def again(c):
    install(c)


def check(release, directory):
    c = Check(release, directory)
    try:
        for function in (boots, build, lintian, install, client):
            c.step(function)
        for server in ("apache2", "lighttpd"):
            c.step(enable, server)
            c.step(upgrade)
        for function in (revoke, remove, purge, again):
            c.step(function)
    finally:
        c.m.close()
    return c.passed, c.failed


def main():
    if os.geteuid() != 0:
        sys.exit("debian-check: needs root (containers, mounts)")
    passed = failed = 0
    for release in sys.argv[1:] or ["bookworm", "trixie"]:
        directory = tempfile.mkdtemp(prefix="pipegate-debian-", dir="/var/tmp")
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
