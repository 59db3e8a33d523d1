"""How the cost of a request grows: with the tunnels that share the traffic, and with GROWTH=1 also with idle tunnels and
with slow requests."""
import socket
import statistics
import time

import goals
import idle_tunnels
import machine
import measures
import servers

CALLERS = 64
SHARING = (1, 100, 300)
PINGED_S = 21  # every idle tunnel is pinged once
TUNNELS = (1, 10, 100, 1000)
SLOW_TUNNELS = 8  # so that the waiting requests run, and do not queue for one tunnel


class Waiters:
    """Callers whose requests the app does not answer."""

    def __init__(self, port, paths, count):
        self.sockets = []
        for i in range(count):
            sock = socket.create_connection(("127.0.0.1", port), 10)
            sock.sendall(f"GET {paths[i % len(paths)]} HTTP/1.1\r\nHost: {servers.HOST}\r\n\r\n".encode())
            self.sockets.append(sock)

    def close(self):
        for sock in self.sockets:
            sock.close()


def cost(stack, paths, seconds):
    """One run: requests a second, p99, microseconds of CPU for each request by program."""
    cpu = machine.Cpu({"broker": [stack.broker.pid], "responder": [stack.responder.pid],
                       "clients": [p.pid for p in stack.processes if "client" in p.name],
                       "web server": [stack.web.process.pid]})
    r = measures.wrk(f"http://127.0.0.1:{stack.port}{paths[0]}", CALLERS, seconds, paths)
    spent = cpu.spent()
    good = max(1, r["requests"] - r["bad_status"])
    row = {f"us/request, {role}": s / good * 1e6 for role, s in spent.items()}
    return row | {"requests/s": good / (r["us"] / 1e6), "p99 ms": r["p99_us"] / 1000,
                  "failed": r["bad_status"] + r["broken"]}


def median_rows(rows):
    return {k: statistics.median(row[k] for row in rows) for k in rows[0]}


def paths(count):
    return [f"{servers.MOUNT}/g{i}/2" for i in range(count)]


def with_tunnels(stack, seconds, rounds, counts=TUNNELS):
    """So many tunnels share the same traffic; interleaved."""
    found = {count: [] for count in counts}
    for _ in range(rounds):
        for count, rows in found.items():
            rows.append(cost(stack, paths(count), seconds))
    return [{"tunnels in traffic": count} | median_rows(rows) for count, rows in found.items()]


def on_the_host(row):
    """CPU of what runs on the public host; the clients are on other machines."""
    return sum(row[f"us/request, {role}"] for role in ("broker", "responder", "web server"))


def light_clients(stack, count, direct):
    """One process (clients.c) that holds a tunnel for each of so many ids. It answers the requests itself."""
    tokens = stack.directory / "tokens"
    tokens.write_text("".join(servers.harness.token(f"g{i}") + "\n" for i in range(count)))
    port, path = (stack.broker_port, "/") if direct else (stack.port, f"{servers.MOUNT}/")
    with open(tokens) as f:
        process = servers.harness.Process(stack.directory, "clients", [
            str(servers.harness.BUILD / "tests" / "bench" / "clients"), str(port), path], stdin=f)
    stack.processes.append(process)
    process.wait_log("tunnels")


def sharing(ground, seconds, rounds, house=servers.harness):
    """Rows of 1, 100 and 300 tunnels, and what each costs beside one."""
    # lighttpd reaches the broker as the README sets it up.
    stack = ground.stack("lighttpd", house=house, unix_listener=not ground.direct_tunnels)
    try:
        light_clients(stack, SHARING[-1], ground.direct_tunnels)
        stack.wait_metric("pipegate_tunnels", SHARING[-1])
        measures.wrk(f"http://127.0.0.1:{stack.port}{paths(1)[0]}", CALLERS, 1)
        rows = with_tunnels(stack, seconds, rounds, SHARING)
    finally:
        ground.stacks.remove(stack)
        servers.end_stack(stack)
    for row in rows:
        ratio = on_the_host(row) / on_the_host(rows[0])
        row["broker + responder + web server"] = on_the_host(row)
        row["/ one tunnel"] = f"{ratio:.2f}" + (f", {goals.verdict(goals.TUNNELS, ratio)}" if row is rows[-1] else "")
    return rows


def with_idle(stack, *_):
    """Long runs, so that pings are in them."""
    rows, limit = [], idle_tunnels.room()
    herd = idle_tunnels.Herd(stack.broker_port, "v2")
    try:
        for count in (0, 1000, 10000):
            row = {"idle tunnels": count}
            rows.append(row)
            if count > limit:
                row["skipped"] = f"the limit of descriptors (ulimit -Hn) is {limit + idle_tunnels.SPARE}"
                continue
            try:
                herd.grow(count)
            except OSError as e:
                row["skipped"] = str(e)
                continue
            row |= cost(stack, paths(1), PINGED_S)
            cpu = machine.Cpu({"broker": [stack.broker.pid]})
            time.sleep(PINGED_S)
            row["broker CPU without requests, %"] = cpu.spent()["broker"] / PINGED_S * 100
    finally:
        herd.close()
    return rows


def release(stack):
    """Lets the app answer: more than once, as some may come to it only now."""
    def none_waits():
        stack.call("GET", f"{servers.MOUNT}/slow0/release", host=servers.HOST)
        return stack.metrics()["pipegate_exchanges_running"] == 0

    servers.harness.wait_until(none_waits, "no request waits any more")


def with_waiting(stack, seconds, rounds):
    rows = []
    slow = [f"{servers.MOUNT}/slow{i}/hold" for i in range(SLOW_TUNNELS)]
    for count in (0, 64, 256, 1000):
        waiters = Waiters(stack.port, slow, count)
        try:
            row = {"slow requests": count}
            rows.append(row)
            try:
                stack.wait_metric("pipegate_exchanges_running", count)
            except AssertionError:
                pass
            metrics = stack.metrics()
            row["of them held by the broker"] = metrics["pipegate_exchanges_running"]
            row |= median_rows([cost(stack, paths(1), seconds) for _ in range(rounds)])
        finally:
            waiters.close()
            release(stack)
    return rows


def measure(ground, seconds, rounds):
    idle_tunnels.room()
    stack = ground.stack("lighttpd", threads=1500)
    for i in range(SLOW_TUNNELS):
        stack.client(f"http://127.0.0.1:{ground.app.port}", f"slow{i}")
    for i in range(TUNNELS[-1]):
        stack.client(f"http://127.0.0.1:{ground.nginx.port}", f"g{i}", wait=i % 20 == 19)
    stack.wait_metric("pipegate_tunnels", TUNNELS[-1] + SLOW_TUNNELS)
    measures.wrk(f"http://127.0.0.1:{stack.port}{paths(1)[0]}", CALLERS, 1)
    found = {}
    for name, part in (("tunnels in traffic", with_tunnels), ("slow requests waiting", with_waiting),
                       ("idle tunnels beside", with_idle)):
        try:
            found[name] = part(stack, seconds, rounds)
        except Exception as e:  # noqa: BLE001
            found[name] = [{"failed": str(e)[:300]}]
    ground.stacks.remove(stack)
    servers.end_stack(stack)
    return found
