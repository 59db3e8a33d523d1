"""The rows of conf/RECIPES.md that claim to be tested: apps with these settings, below a path of the
public site. An app that is not installed is skipped: `make recipes` installs it."""
import importlib.util
import os
import subprocess
import sys

import pytest

from harness import App, Process, free_port, wait_until

FLASK = """
from flask import Flask, redirect, url_for
from werkzeug.middleware.proxy_fix import ProxyFix
app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
@app.get("/")
def home():
    return url_for("login", _external=True)
@app.get("/login")
def login():
    return "login"
@app.get("/out")
def out():
    return redirect(url_for("login"))
"""
DJANGO = """
import os
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
settings.configure(ALLOWED_HOSTS=["public.example"], ROOT_URLCONF=__name__, SECRET_KEY="x",
                   FORCE_SCRIPT_NAME=os.environ["BASE"], USE_X_FORWARDED_HOST=True,
                   SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
urlpatterns = [path("", lambda r: HttpResponse(r.build_absolute_uri(reverse("login")))),
               path("login", lambda r: HttpResponse("login"), name="login"),
               path("out", lambda r: HttpResponseRedirect(reverse("login")))]
from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
"""
FASTAPI = """
import os
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse
app = FastAPI(root_path=os.environ["BASE"])
@app.get("/", response_class=PlainTextResponse)
def home(request: Request):
    return str(request.url_for("login"))
@app.get("/login", response_class=PlainTextResponse)
def login():
    return "login"
@app.get("/out")
def out(request: Request):
    return RedirectResponse(str(request.url_for("login")), 302)
"""
WSGI = """
from wsgiref.simple_server import make_server
from app import app
make_server("127.0.0.1", int(__import__("sys").argv[1]), app).serve_forever()
"""


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: make recipes")


def start(web, directory, argv, base, port):
    environment = dict(os.environ, BASE=base, PYTHONPATH=str(directory))
    process = Process(directory, "app", argv, environment)

    def is_up():
        assert process.popen.poll() is None, process.log()
        return subprocess.run(["curl", "-s", "-o", os.devnull, f"http://127.0.0.1:{port}/login"]).returncode == 0
    wait_until(is_up, "the app answers")
    return process


@pytest.mark.parametrize("kind", ["flask", "django", "fastapi"])
def test_python_app_below_a_path(web, name, tmp_path, kind):
    """Its own links and redirects have the prefix, once."""
    need(*{"flask": ["flask"], "django": ["django"], "fastapi": ["fastapi", "uvicorn"]}[kind])
    (tmp_path / "app.py").write_text({"flask": FLASK, "django": DJANGO, "fastapi": FASTAPI}[kind])
    (tmp_path / "serve.py").write_text(WSGI)
    port = free_port()
    argv = ([sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)] if kind == "fastapi" else
            [sys.executable, str(tmp_path / "serve.py"), str(port)])
    process = start(web, tmp_path, argv, f"/{name}", port)
    try:
        web.client(str(port), name)
        assert web.get(f"/{name}/").body.decode() == f"http://public.example/{name}/login"
        assert web.get(f"/{name}/login").body == b"login"
        location = web.get(f"/{name}/out").header("location")
        assert location in (f"/{name}/login", f"http://public.example/{name}/login")
    finally:
        process.kill()


def test_body_over_the_limit(make_web, make_app):
    """As with `git push` of more than 10 MiB, and `docker push`; PIPEGATE_MAX_BODY_BYTES=0 lets them pass."""
    body = b"x" * 4096
    for limit, status in ((1024, 413), (0, 200)):
        web = make_web(PIPEGATE_MAX_BODY_BYTES=limit)
        web.client(make_app().url, "my-app")
        assert web.call("POST", "/my-app/repository.git/git-receive-pack", body=body).status == status


def test_app_that_checks_host(web, name, make_app):
    """Vite, webpack-dev-server, MCP servers: `--host-header target`."""
    def picky(request, connection):
        if request.header("host") != f"127.0.0.1:{app.port}":
            return connection.answer(403, body=b"Blocked request. This host is not allowed.")
        return App.echo(request, connection)

    app = make_app(picky)
    keep = web.client(app.url, f"{name}-keep")
    target = web.client(app.url, f"{name}-target", "--host-header", "target")
    for _ in range(3):
        assert web.get(f"/{name}-keep/").status == 403
        assert web.get(f"/{name}-target/").status == 200
    hint = 'target.refuses_host status=403 hint="--host-header target"'
    assert keep.wait_log(hint).count(hint) == 1 and hint not in target.log()
