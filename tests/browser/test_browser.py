"""Real frameworks behind the tunnel, driven by headless Chromium through both web servers.

Screenshots are kept in build/screenshots/.
"""
import asyncio
import http
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest
import websockets
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from harness import PATIENCE_S, ROOT, Process, free_port, wait_until

SCREENSHOTS = ROOT / "build" / "screenshots"
HERE = pathlib.Path(__file__).parent


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--host-resolver-rules=MAP *.example.org 127.0.0.1"):
        options.add_argument(argument)
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(PATIENCE_S)
    yield driver
    driver.quit()


def until(browser, predicate):
    return WebDriverWait(browser, PATIENCE_S).until(predicate)


def keep(browser, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def start(web, argv, says, **more):
    p = Process(web.directory, "framework", argv, **more)
    web.processes.append(p)
    p.wait_log(says)
    return p


def stop(p):
    p.popen.kill()
    p.popen.wait()


def test_flask_login_below_a_prefix(web, name, browser, server):
    """Location and the cookie's Path get the prefix, or nobody could log in."""
    port = free_port()
    p = start(web, [sys.executable, str(HERE / "flask_app.py"), str(port)], "Running on")
    web.client(str(port), name)
    base = f"http://127.0.0.1:{web.port}/{name}"
    browser.get(base)  # the slash, then the login page
    until(browser, lambda b: b.current_url == f"{base}/login")
    browser.find_element(By.ID, "user").send_keys("Ada")
    browser.find_element(By.ID, "go").click()
    until(browser, lambda b: b.find_elements(By.ID, "hello"))
    assert browser.find_element(By.ID, "hello").text == "Hello Ada"
    cookie = browser.get_cookie("session")
    assert cookie["path"] == f"/{name}/"
    keep(browser, f"flask-{server}")
    browser.find_element(By.ID, "out").click()
    until(browser, lambda b: b.current_url == f"{base}/login")
    stop(p)


PAGE = """<!doctype html><title>ws</title><pre id=out></pre><script>
const out = document.getElementById("out");
const ws = new WebSocket(new URL("echo", location.href.replace(/^http/, "ws")), ["chat"]);
ws.binaryType = "arraybuffer";
ws.onopen = () => { ws.send("gr\\u00fc\\u00dfe"); ws.send(new Uint8Array(100000)); };
ws.onmessage = e => {
  out.textContent += (typeof e.data === "string" ? e.data : e.data.byteLength) + " ";
  if (typeof e.data !== "string") ws.close(4001, "done");
};
ws.onclose = e => { out.textContent += ws.protocol + " " + e.code + " " + e.reason + " end"; };
</script>"""


def test_websocket_of_a_page(web, name, browser, server):
    ports, ready, loop = [], threading.Event(), asyncio.new_event_loop()

    async def serve():
        async def echo(ws):
            try:
                async for message in ws:
                    await ws.send(message)
            except websockets.ConnectionClosed:
                pass

        async def page(first, second):
            """(path, headers) before websockets 14, then (connection, request)."""
            if isinstance(first, str):
                return None if first.startswith("/echo") else (http.HTTPStatus.OK, [("Content-Type", "text/html")], PAGE.encode())
            if second.path.startswith("/echo"):
                return None
            response = first.respond(http.HTTPStatus.OK, PAGE)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "text/html"
            return response

        async with websockets.serve(echo, "127.0.0.1", 0, process_request=page, subprotocols=["chat"]) as s:
            ports.append(s.sockets[0].getsockname()[1])
            ready.set()
            await stopped.wait()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE_S)
    web.client(str(ports[0]), name)
    browser.get(f"http://127.0.0.1:{web.port}/{name}/")
    until(browser, lambda b: "end" in b.find_element(By.ID, "out").text)
    assert browser.find_element(By.ID, "out").text == "gr\u00fc\u00dfe 100000 chat 4001 done end"
    keep(browser, f"websocket-{server}")
    loop.call_soon_threadsafe(stopped.set)
    thread.join(PATIENCE_S)


@pytest.fixture(scope="session")
def vite():
    """A directory with the dev server in it, from npm."""
    directory = ROOT / "build" / "vite"
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    if not (directory / "node_modules/vite").exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "package.json").write_text('{"private": true, "type": "module"}')
        r = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "vite@8"], cwd=directory, capture_output=True,
                           text=True, timeout=PATIENCE_S * 5)
        if r.returncode != 0:
            pytest.skip(f"vite cannot be installed: {r.stderr[-300:]}")
    return directory


MAIN = """const at = document.getElementById("out");
export const text = "%s";
at.textContent = text;
window.loads = window.loads || 0;
if (import.meta.hot) import.meta.hot.accept(m => { at.textContent = m.text; });
"""


def test_vite_hot_reload_with_a_host_name(vite, make_web, browser, server):
    web = make_web(example="one-tunnel")
    port = free_port()
    (vite / "vite.config.js").write_text("export default { server: { allowedHosts: true } }")
    (vite / "index.html").write_text('<!doctype html><p id="out"></p><script type="module" src="/main.js"></script>')
    (vite / "main.js").write_text(MAIN % "first")
    p = Process(web.directory, "vite", [str(vite / "node_modules/.bin/vite"), str(vite), "--host", "127.0.0.1",
                                        "--port", str(port), "--strictPort"])
    try:
        p.wait_log("ready in")
        web.client(str(port), "my-app")
        browser.get(f"http://my-app.example.org:{web.port}/")
        until(browser, lambda b: b.find_element(By.ID, "out").text == "first")
        wait_until(lambda: web.metrics()["pipegate_websockets"] >= 1, "the page's WebSocket is open")
        browser.execute_script("window.stays = 'same page'")
        (vite / "main.js").write_text(MAIN % "second")
        until(browser, lambda b: b.find_element(By.ID, "out").text == "second")
        assert browser.execute_script("return window.stays") == "same page"  # hot, not reloaded
        keep(browser, f"vite-{server}")
    finally:
        stop(p)
        p.close()
