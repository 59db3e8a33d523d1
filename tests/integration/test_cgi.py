"""The responder as a plain CGI program of a real web server (contract 1), for a host that has nothing else."""
import hashlib
import os
import shutil

import pytest

from harness import Process, free_port, program, wait_until

LIGHTTPD = """
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{directory}"
server.modules = ("mod_cgi", "mod_setenv", "mod_alias")
server.upload-dirs = ("{directory}")
alias.url = ("/tunnels" => "{directory}/pipegate.cgi")
cgi.assign = (".cgi" => "")
setenv.set-environment = ("PIPEGATE_GATE" => "{gate}", "PIPEGATE_MOUNT" => "/tunnels")
"""
APACHE = """
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/cgi.pid
ErrorLog {directory}/cgi-error.log
ServerName public.example
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
{user}
ScriptSock {directory}/cgi-daemon
AllowEncodedSlashes On
ScriptAlias /tunnels {directory}/pipegate.cgi
SetEnv PIPEGATE_GATE {gate}
SetEnv PIPEGATE_MOUNT /tunnels
"""


@pytest.fixture
def cgi(make_web, server):
    """The web server's own port is another one; the stack's calls go to it from here on."""
    web = make_web()
    os.chmod(web.directory / "gate.sock", 0o666)  # the web server's user has no part in our groups here
    shutil.copy(program("fcgi"), web.directory / "pipegate.cgi")
    os.chmod(web.directory / "pipegate.cgi", 0o755)
    port = free_port()
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    text = {"lighttpd": LIGHTTPD, "apache": APACHE}[server]
    path = web.directory / "cgi.conf"
    path.write_text(text.format(port=port, directory=web.directory, gate=web.gate, user=user))
    argv = ["lighttpd", "-D", "-f"] if server == "lighttpd" else ["apache2", "-D", "FOREGROUND", "-f"]
    process = Process(web.directory, "cgi-server", [*argv, str(path)])
    log = web.directory / ("cgi-server.log" if server == "lighttpd" else "cgi-error.log")
    ready = "server started" if server == "lighttpd" else "resuming normal operations"
    wait_until(lambda: log.exists() and ready in log.read_text(), "the web server is up")
    web.port = port
    yield web
    process.stop(expect=None)


def test_plain_cgi(cgi, make_app):
    cgi.client(make_app().url, "demo")
    r = cgi.get("/tunnels/demo/a%2Fb?x=%2F+")
    assert r.status == 200 and r.json()["target"] == "/a%2Fb?x=%2F+"
    assert dict(r.json()["headers"])["x-forwarded-prefix"] == "/tunnels/demo"
    body = os.urandom(300000)
    r = cgi.call("POST", "/tunnels/demo/x", body=body)
    assert r.json()["sha256"] == hashlib.sha256(body).hexdigest()
    r = cgi.get("/tunnels/demo")
    assert (r.status, r.header("location")) == (308, "/tunnels/demo/")
    assert cgi.get("/tunnels/healthz").json() == {"status": "ok"}
    r = cgi.get("/tunnels/demo/x%2f..%2fy")
    assert (r.status, r.error) == (400, "bad-path; delivered=no")
    cgi.broker.kill()
    assert cgi.get("/tunnels/demo/x").status == 503
