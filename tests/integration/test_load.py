"""Many concurrent requests: none is lost or sent twice, and no state remains."""
import collections
import threading

import pytest

from harness import PATIENCE_S, SANITIZED, Caller, wait_until

REQUESTS = 2000 if SANITIZED else 10000
CALLERS = 64
GROWTH_KIB = 4096


def call_many(web, path, numbers, wrong):
    """One caller: keeps its connection as a browser does."""
    caller = Caller(web.port)
    try:
        for n, count in zip(numbers, range(1, 1 << 30)):
            body = b"%d" % n if n % 3 == 0 else None
            caller.request("POST" if body else "GET", f"{path}/{n}?n={n}", body=body)
            r = caller.response()
            if (r.status, r.body, r.complete) != (200, b"answer %d" % n, True):
                wrong.append((n, r))
            if count % 90 == 0:  # Apache closes after 100, lighttpd after 1000
                caller.close()
                caller = Caller(web.port)
    finally:
        caller.close()


def run_callers(web, path, total):
    wrong, errors = [], []

    def run(k):
        try:
            call_many(web, path, range(k, total, CALLERS), wrong)
        except Exception as e:  # shown below
            errors.append(e)

    threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(CALLERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE_S * 5)
    assert not errors and not wrong, (errors[:3], wrong[:3])


@pytest.mark.parametrize("protocol", ["v2", "v1"])
def test_ten_thousand(make_web, make_app, protocol):
    seen = collections.Counter()
    lock = threading.Lock()

    def handler(request, connection):
        n = int(request.target.split("=")[1])
        body = request.body()
        assert body == (b"%d" % n if n % 3 == 0 else b"")
        with lock:
            seen[n] += 1
        connection.answer(body=b"answer %d" % n)

    def v1_handler(message):
        n = int(message["url_path"])
        seen[n] += 1
        return peer.answer(message, 200, {}, b"answer %d" % n)

    web = make_web(PIPEGATE_MAX_QUEUE=200)
    processes = [web.broker, web.responder]
    if protocol == "v2":
        processes.append(web.client(make_app(handler).url))
    else:
        peer = web.v1("demo", v1_handler)
    run_callers(web, "/demo", REQUESTS)  # buffers and threads are there
    web.wait_empty()
    wait_until(lambda: web.metrics()["pipegate_exchanges_open"] == 0, "empty")
    before = {p.name: (p.rss_kib(), p.descriptors()) for p in processes}
    seen.clear()
    run_callers(web, "/demo", REQUESTS)
    assert len(seen) == REQUESTS and set(seen.values()) == {1}
    web.wait_empty()
    for p in processes:
        rss_kib, descriptors = before[p.name]
        # The client's kept connections to the app, and the responder's to the web server, come and go.
        wait_until(lambda: p.descriptors() <= descriptors + CALLERS, f"descriptors of {p.name} are given back")
        if not SANITIZED:
            assert p.rss_kib() < rss_kib + GROWTH_KIB, p.name


def test_two_hundred_held_until_all_are_there(make_web, make_app):
    barrier = threading.Barrier(200)

    def handler(request, connection):
        barrier.wait(PATIENCE_S)
        connection.answer(body=request.target.encode())

    web = make_web()
    client = web.client(make_app(handler).url)
    answers = {}

    def call(i):
        answers[i] = web.get(f"/demo/{i}")

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(200)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE_S)
    assert {i: r.body for i, r in answers.items()} == {i: b"/%d" % i for i in range(200)}
    web.wait_empty()
    assert_idle(web, client)


def assert_idle(web, client):
    """No busy loop: after the load the programs use next to no CPU time in two seconds."""
    processes = [web.broker, web.responder, client]
    before = [p.cpu_s() for p in processes]
    threading.Event().wait(2)
    used_s = {p.name: p.cpu_s() - b for p, b in zip(processes, before)}
    assert all(v < 0.2 for v in used_s.values()), used_s
