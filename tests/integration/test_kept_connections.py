"""Apache keeps its connections to the responder: a response that is early leaves nothing behind for the next request.
lighttpd keeps none, and gives the same responses."""
import collections
import select
import threading

from harness import PATIENCE_S, Caller, wait_until

CALLERS = 6  # of each kind
REQUESTS = 40  # of each caller
PIECE = bytes(range(256)) * 64
PIECES = 12


def app(request, connection):
    """/early: the response comes before the body. The rest says in its path what the response is."""
    kind, _, number = request.target[1:].partition("/")
    if kind == "early":
        connection.answer(403, [("X-Number", number)], b"early")
    body = request.body()
    if kind == "reset":
        connection.reset()
        return False
    if kind == "cut":
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Number: {number}\r\n\r\nhalf".encode())
        return False
    if kind == "204" or kind == "304":
        connection.answer(int(kind), [("X-Number", number)], length=False)
    elif kind == "head":
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Number: {number}\r\n\r\n".encode())
    elif kind != "early":
        connection.answer(200, [("X-Number", number)], b"%d bytes" % len(body))
    return None


def upload(caller, target, chunked, pieces=PIECES, aborted=False):
    """The body in pieces, until the response is there; then the rest of it at once."""
    length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", pieces * len(PIECE))
    caller.request("POST", target, [length])
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    answered = False
    for _ in range(pieces // 2 if aborted else pieces):
        caller.send(piece)
        answered = answered or bool(select.select([caller.sock], [], [], 0.001)[0])
    caller.send(b"0\r\n\r\n" if chunked and not aborted else b"")


# kind: method, status, body, complete
EXPECTED = {
    "early": ("POST", 403, b"early", True),
    "whole": ("POST", 200, b"%d bytes" % (PIECES * len(PIECE)), True),
    "plain": ("GET", 200, b"0 bytes", True),
    "head": ("HEAD", 200, b"", True),
    "204": ("GET", 204, b"", True),
    "304": ("GET", 304, b"", True),
    "cut": ("GET", 200, b"half", False),
    "reset": ("GET", 504, None, True),
    "large": ("POST", 413, None, True),
    "aborted": ("POST", None, None, None),
}
LARGE_BYTES = 2 * PIECES * len(PIECE)  # of the bodies that are refused


def once(caller, kind, number):
    """One request. Returns what was wrong with its response; None: nothing."""
    method, status, body, complete = EXPECTED[kind]
    target = f"/demo/{kind}/{number}"
    if kind == "aborted":
        upload(caller, target, chunked=number % 2, aborted=True)
        return None
    if method == "POST":
        upload(caller, target, chunked=number % 2 or kind == "large", pieces=(3 if kind == "large" else 1) * PIECES)
    else:
        caller.request(method, target)
    r = caller.response()
    number_there = r.header("x-number") == str(number) or kind in ("reset", "large")
    if r.status == status and number_there and r.complete == complete and body in (None, r.body):
        return None
    return f"{kind}: {r.status} {r.error} {r.header('x-number')} {r.body[:50]!r} complete={r.complete}"


# Kinds after which a caller makes a new connection: some end it, and after others the web server may.
ENDING = ("early", "cut", "reset", "large", "aborted")


class Callers:
    """Callers of several kinds concurrently; `wrong` counts what they got instead of the right response."""

    def __init__(self, port, kinds, each, requests):
        self.port, self.pause = port, threading.Event()
        self.right, self.wrong = collections.Counter(), collections.Counter()
        self.threads = [threading.Thread(target=self.run, args=(kind, i * 1000000, requests), daemon=True)
                        for kind in kinds for i in range(each)]
        for t in self.threads:
            t.start()

    def run(self, kind, first, requests):
        caller = None
        for number in range(first, first + requests):
            try:
                caller = caller or Caller(self.port)
                wrong = once(caller, kind, number)
            except (OSError, ValueError) as e:
                wrong = f"{kind}: {e!r}"
                caller = None
                self.pause.wait(0.05)  # a caller that was refused does not ask again at once
            if wrong:
                self.wrong[wrong] += 1
            else:
                self.right[kind] += 1
            # Apache ends a caller's connection after 100 requests.
            if caller and (wrong or number % 50 == 49 or kind in ENDING):
                caller.close()
                caller = None

    def join(self):
        for t in self.threads:
            t.join(PATIENCE_S)
        return self


def test_early_responses_beside_others(make_web, make_app):
    web = make_web()
    web.client(make_app(app).url)
    callers = Callers(web.port, ["early", "plain"], CALLERS, REQUESTS).join()
    assert not callers.wrong and callers.right == {"early": CALLERS * REQUESTS, "plain": CALLERS * REQUESTS}, callers.wrong
    web.wait_empty()


def test_all_kinds_of_responses_on_the_same_connections(make_web, make_app):
    """A response that is cut ends its connection to the responder; the others leave theirs to any request that follows."""
    web = make_web(PIPEGATE_MAX_BODY_BYTES=LARGE_BYTES)
    web.client(make_app(app).url)
    callers = Callers(web.port, EXPECTED, 1, 10).join()
    assert not callers.wrong and callers.right == dict.fromkeys(EXPECTED, 10), callers.wrong
    web.wait_empty()


def test_the_web_server_reloads_and_its_processes_are_killed(make_web, make_app):
    """With early responses in progress. Whose connection a killed process had gets no response; nobody gets a wrong one."""
    web = make_web()
    web.client(make_app(app).url)
    callers = Callers(web.port, ["early", "plain"], 4, 4 * REQUESTS)
    wait_until(lambda: sum(callers.right.values()) > 50, "some responses")
    web.web.reload()
    count = sum(callers.right.values())
    wait_until(lambda: sum(callers.right.values()) > count + 50, "responses after the reload")
    web.web.kill_workers()
    callers.join()
    assert not [w for w in callers.wrong if "Error(" not in w], callers.wrong
    assert callers.right["early"] > 2 * REQUESTS and callers.right["plain"] > 2 * REQUESTS
    web.wait_empty()
