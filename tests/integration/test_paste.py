"""Text that users paste is pasted here: fenced blocks of the Markdown files, commented examples in the files under conf/, literal
blocks of the man pages. Web server blocks are put into a real configuration, with the test's own paths and ports."""
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import ssl
import subprocess
import tempfile

import pytest

from harness import PATIENCE_S, ROOT, SECRET, SERVERS, Apache, App, Lighttpd, Stack, environment, program

MARKDOWN = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "conf/README.md", "conf/OPERATING.md", "conf/RECIPES.md", "tests/bench/README.md"]
MAN_PAGES = ["broker/pipegate-broker.8", "broker/pipegate-ctl.8", "broker/pipegate-token.1", "fcgi/pipegate-fcgi.8", "client/pipegate-client.1"]
CONF_FILES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "conf").rglob("*.conf"))


class Block:
    def __init__(self, path, line, language, text):
        self.path, self.line, self.language, self.text = path, line, language, text

    def __repr__(self):
        return f"{self.path}:{self.line}"


def fenced_blocks(path):
    text = (ROOT / path).read_text()
    for found in re.finditer(r"^( *)```(\w+)\n(.*?)^ *```$", text, re.M | re.S):
        lines = (line.removeprefix(found[1]) for line in found[3].splitlines(True))
        yield Block(path, text[:found.start()].count("\n") + 1, found[2], "".join(lines))


def language_of(path):
    return next((name for name in SERVERS if f"/{name}/" in path), "sh" if path.endswith(".env.example") else "ini")


def commented_blocks(path):
    """Lines of a comment that are indented by four blanks or more, in the language of the file."""
    text = (ROOT / path).read_text()
    for found in re.finditer(r"(?:^#(?: {4,}\S.*)\n)+", text, re.M):
        lines = re.sub(r"^#( {5})?", "", found[0], flags=re.M)
        yield Block(path, text[:found.start()].count("\n") + 1, language_of(path), lines)


def man_blocks(path):
    text = (ROOT / path).read_text()
    for found in re.finditer(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text, re.M | re.S):
        commands = re.findall(r"^[#$] (.*)$", found[1], re.M)
        yield Block(path, text[:found.start()].count("\n") + 1, "sh", "\n".join(commands) + "\n")


BLOCKS = [b for path in MARKDOWN for b in fenced_blocks(path)]
BLOCKS += [b for path in CONF_FILES for b in commented_blocks(path)]
BLOCKS += [b for path in MAN_PAGES for b in man_blocks(path)]
WHOLE_FILES = [Block(p, 1, language_of(p), (ROOT / p).read_text()) for p in CONF_FILES]


def of(*languages):
    return [b for b in BLOCKS if b.language in languages]


def test_there_are_blocks():
    """Otherwise the patterns above are wrong."""
    for language, least in (("apache", 5), ("lighttpd", 5), ("sh", 8)):
        assert len(of(language)) >= least, language


@pytest.mark.parametrize("block", of("apache") + [b for b in WHOLE_FILES if b.language == "apache"], ids=repr)
def test_no_comment_behind_a_directive(block):
    """Apache would read it as arguments."""
    assert not re.findall(r"^[ \t]*[^#\s].*[ \t]#.*$", block.text, re.M)


# --- web server blocks ---


def below(block):
    """A URL path and a host of the tunnel "my-app" in this configuration."""
    text = re.sub(r"^\s*#.*", "", block.text, flags=re.M)
    if block.path.endswith(("one-tunnel.conf", "wildcard.conf")) and block.language == "lighttpd":
        text += {"one-tunnel.conf": 'pipegate_connection_id = "my-app"', "wildcard.conf": 'pipegate_suffix = ".t.example.org"'}[
            pathlib.Path(block.path).name]
    if found := re.search(r"PIPEGATE_CONNECTION_ID (\S+)|pipegate_connection_id *:?= *\"(.*?)\"", text):
        return "/x", "my-app.example.org"
    if found := re.search(r"PIPEGATE_HOST_SUFFIX (\S+)|pipegate_suffix *:?= *\"(.*?)\"", text):
        return "/x", "my-app" + (found[1] or found[2])
    found = re.search(r"PIPEGATE_MOUNT (\S+)|pipegate_mount *:?= *\"(.*?)\"", text)
    mount = (found[1] or found[2] or "") if found else ""
    host = re.search(r"\"host\"\] == \"(.*?)\"|ServerName (?:https://)?(\S+)", text)
    return f"{mount}/my-app/x", (host[1] or host[2]) if host else "www.example.org"


def complete_apache(block):
    """Adds what the surrounding text tells the user to have."""
    if "<VirtualHost" in block.text or re.match(r"\s*(Listen|LoadModule)", block.text):
        return block.text
    include = "" if "pipegate.conf" in block.text else "Include /usr/local/share/pipegate/apache/pipegate.conf\n"
    return f"<VirtualHost *:80>\n{block.text}{include}</VirtualHost>\n"


def complete_lighttpd(block):
    text = block.text
    defaults = {"pipegate_mount": '""', "pipegate_connection_id": '"my-app"', "pipegate_suffix": '".t.example.org"',
                "pipegate_socket": '"/run/pipegate/fcgi.sock"', "pipegate_host": '"127.0.0.1"', "pipegate_port": "8000"}
    head = "".join(f"var.{n} = {v}\n" for n, v in defaults.items() if f"var.{n}" not in text)
    if "include" not in text:
        name = block.path if block.path.startswith("conf/lighttpd/") else "conf/lighttpd/pipegate.conf"
        if name.endswith("wildcard.conf") or "pipegate_suffix" in text:
            text += f'include "{ROOT}/conf/lighttpd/wildcard.conf"\n'
        else:
            text += f'$HTTP["host"] =~ "" {{\n\tinclude "{ROOT}/{name}"\n}}\n'
    return head + text


@pytest.fixture(scope="module")
def stack():
    directory = tempfile.mkdtemp(prefix="pipegate-")
    app = App()
    made = Stack(directory, None)
    made.client(app.url, "my-app")
    (made.directory / "index.html").write_text("the site")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=public.example", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"],
                   check=True, capture_output=True)
    yield made
    made.close()
    app.close()
    shutil.rmtree(directory, ignore_errors=True)


class PastedApache(Apache):
    MODULES = Apache.MODULES + ("reqtimeout", "alias", "socache_shmcb", "ssl")


def get_by_tls(port, target, host):
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=ssl._create_unverified_context())
    try:
        connection.request("GET", target, headers={"Host": host})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


@pytest.mark.parametrize("block", of("apache", "lighttpd"), ids=repr)
def test_web_server_block(stack, block):
    """The web server starts with it, and a request for the tunnel arrives."""
    if block.language == "apache":
        web = PastedApache(stack, example=complete_apache(block))
    else:
        own_modules = "mod_fastcgi" in block.text
        web = Lighttpd(stack, example=complete_lighttpd(block), modules=() if own_modules else Lighttpd.MODULES)
    try:
        target, host = below(block)
        stack.port = web.port
        if ":443" in block.text:
            assert stack.get(target, host=host).status == 301
            assert get_by_tls(web.tls_port, target, host)["target"] == "/x"
            return
        response = stack.get(target, host=host)
        if "PIPEGATE_CLIENTS_ONLY" in block.text or block.path.endswith("/clients.conf"):
            assert response.status == 404 and stack.get("/healthz").json() == {"status": "ok"}
            return
        assert response.status == 200 and response.json()["target"] == "/x", (response, web.body)
        if block.language == "lighttpd":  # reports unknown settings, and continues
            unknown = set(re.findall(r"unknown config-key: (\S+)", web.process.log()))
            assert unknown <= {"deflate.mimetypes"}, "mod_deflate is a package of its own, and not needed here"
    finally:
        web.stop()
        web.process.kill()


# --- shell blocks ---


@pytest.mark.parametrize("block", of("sh"), ids=repr)
def test_shell_block(block):
    done = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", [b for b in of("sh") if re.search(r"\bmake\b", b.text)], ids=repr)
def test_targets_of_make(block):
    """Each target that the documents name exists."""
    text = re.sub(r" #.*|install -y make", "", block.text)
    for arguments in re.findall(r"(?:^|&&|sudo) *make((?: +(?:[\w=.,-]|\".*?\")+)*)", text, re.M):
        words = shlex.split(arguments)
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, (words, done.stderr)


TOKEN_BLOCKS = [b for b in of("sh") if re.search(r"\bpipegate-token\b", b.text)]


@pytest.mark.parametrize("block", TOKEN_BLOCKS, ids=repr)
def test_block_that_mints_a_token(block, tmp_path):
    """Run as root would, with the installed environment file."""
    env = (ROOT / "conf/pipegate.env.example").read_text()
    (tmp_path / "broker.env").write_text(re.sub(r"^PIPEGATE_JWT_SECRET=.*", f"PIPEGATE_JWT_SECRET={SECRET}", env, flags=re.M))
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    (tmp_path / "keys").mkdir()
    text = block.text.replace("/etc/pipegate/", f"{tmp_path}/")
    path = f"{tmp_path}:{pathlib.Path(program('token')).parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-e"], input=text, capture_output=True, text=True, timeout=PATIENCE_S,
                          cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Connection-id: my-app\nJWT Bearer:    \S+$", done.stdout, re.M), done.stdout


# --- names in the text ---

DOCUMENTS = MARKDOWN + MAN_PAGES + CONF_FILES + ["conf/pipegate.env.example"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_installed_files_that_are_named(path):
    for name in re.findall(r"/usr/local/share/pipegate/([\w./-]+\w)", (ROOT / path).read_text().replace(".con[f]", ".conf")):
        assert (ROOT / "conf" / name).exists(), name


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if not p.startswith("conf/systemd")])
def test_flags_that_are_named(path):
    helps = {}
    for name, rest in re.findall(r"pipegate-(broker|fcgi|client|token)((?: +[^\s`|.]+)* *)", (ROOT / path).read_text()):
        if name not in helps:
            helps[name] = subprocess.run([program(name), "--help"], capture_output=True, text=True, check=True,
                                         env=environment(), timeout=PATIENCE_S).stdout
        for flag in re.findall(r"(?<=\s)--[a-z-]+", rest):
            assert flag in helps[name], (name, flag)
