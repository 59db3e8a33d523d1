"""A Debian root in a container of its own, with systemd as its first process: built once by debootstrap, kept outside the
tree, and used through an overlay that ends with the run. No network but its own loopback interface."""
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("PIPEGATE_SYSTEMD_CACHE", "/var/cache/pipegate-systemd"))
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Besides what `make deps` installs: the system of an operator who has both web servers and a certificate.
PACKAGES = ("systemd systemd-sysv dbus sudo make ca-certificates openssl curl python3 iproute2 procps apache2 lighttpd "
            "lighttpd-mod-openssl libcmocka-dev debhelper dpkg-dev fakeroot").split()
OPERATOR = "alice"
PATIENCE_S = 240


def build_packages():
    text = (ROOT / "tests/install-deps").read_text()
    return re.search(r'^build="(.*?)"', text, re.M | re.S).group(1).split()


def mirror():
    """The archive that apt of this machine uses."""
    text = ""
    for path in [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]:
        if path.suffix in (".list", ".sources") and path.exists():
            text += path.read_text() + "\n"
    for line in text.splitlines():
        words = [w for w in line.split() if not w.startswith(("[", "signed-by", "arch"))]
        urls = [w for w in words[1:] if re.match(r"https?://", w)]
        if words and words[0] in ("deb", "URIs:") and urls and re.search(r"/debian/?$", urls[0]):
            return urls[0]
    sys.exit("systemd-check: no Debian archive in the apt sources of this machine")


def base(release):
    """The path of a root with all packages; made if it is not there."""
    packages = PACKAGES + build_packages()
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    done = CACHE / f"{release}-{key}"
    if done.exists():
        return done
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = CACHE / f"{release}.{os.getpid()}.partial"
    print(f"systemd-check: making a root of Debian {release} in {CACHE}", flush=True)
    log = CACHE / f"{release}.log"
    try:
        with open(log, "wb") as out:
            subprocess.run(["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", "--include=" + ",".join(packages),
                            release, str(partial), mirror()], check=True, stdout=out, stderr=out)
        subprocess.run(["chroot", str(partial), "useradd", "--create-home", "--shell", "/bin/bash", OPERATOR], check=True)
        (partial / f"etc/sudoers.d/{OPERATOR}").write_text(f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")
        partial.rename(done)
    except subprocess.CalledProcessError:
        shutil.rmtree(partial, ignore_errors=True)
        sys.exit(f"systemd-check: no root of {release}; see {log}")
    return done


class Machine:
    def __init__(self, release, directory):
        self.directory = pathlib.Path(directory)
        for name in ("upper", "work", "root"):
            (self.directory / name).mkdir()
        self.root = self.directory / "root"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={base(release)},upperdir={self.directory}/upper,workdir={self.directory}/work",
                        str(self.root)], check=True)
        self.console = self.directory / "console.log"
        self.process = None
        self.leader = None

    def copy_tree(self):
        """The files of the checkout, as they are now, in the operator's home."""
        names = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                               check=True, capture_output=True).stdout
        target = self.root / f"home/{OPERATOR}/pipegate"
        target.mkdir()
        subprocess.run(["tar", "-C", str(ROOT), "--null", "-T", "-", "--ignore-failed-read", "-cf", str(self.directory / "tree.tar")],
                       input=names, check=True)
        subprocess.run(["tar", "-C", str(target), "-xf", str(self.directory / "tree.tar")], check=True)
        subprocess.run(["chroot", str(self.root), "chown", "-R", f"{OPERATOR}:{OPERATOR}", f"/home/{OPERATOR}"], check=True)

    def boot(self):
        argv = ["systemd-nspawn", "-D", str(self.root), "--boot", "--register=no", "--keep-unit", "--private-network",
                f"--machine=pipegate-check-{os.getpid()}", "--console=pipe", "--quiet"]
        with open(self.console, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        end = time.monotonic() + PATIENCE_S
        state = ""
        while state not in ("running", "degraded"):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"systemd-check: systemd does not come up; {self.console}:\n{self.console.read_text()[-3000:]}")
            time.sleep(0.2)
            words = open(children).read().split()
            if words:
                self.leader = words[0]
                state = self.run("systemctl is-system-running --wait", user="root", check=False).stdout.strip()
        return state

    def run(self, script, user=OPERATOR, check=True, stdin=None):
        """A bash script in the running system, as a user, in the checkout where there is one."""
        home = "/root" if user == "root" else f"/home/{user}"
        inner = f"cd {home}/pipegate 2>/dev/null || cd /\n{script}"
        argv = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--", "/usr/bin/env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={home}", "LANG=C.UTF-8", "TERM=dumb"]
        argv += ["/bin/bash", "-e", "-c", inner] if user == "root" else [
            "/usr/sbin/runuser", "-u", user, "--", "/bin/bash", "-e", "-c", inner]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S * 2, input=stdin)
        if check and done.returncode:
            raise AssertionError(f"exit code {done.returncode} of:\n{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done

    def shut_down(self):
        if self.process is None:
            return
        if self.process.poll() is None and self.leader:
            self.run("systemctl poweroff", user="root", check=False)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process = self.leader = None

    def close(self):
        self.shut_down()
        subprocess.run(["umount", str(self.root)], check=False)


def quote(text):
    return shlex.quote(text)
