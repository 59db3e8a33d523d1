"""GET /metrics: what a request, a refusal and a reconnect count; Prometheus's own tool reads it; the alert rules and the board
name what there is. And the hook program."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from harness import PATIENCE_S, V1Client, environment, program, token, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "conf/prometheus/pipegate.rules.yml"
BOARD = ROOT / "conf/grafana/pipegate.json"
HOPS = ("web", "queue", "tunnel", "app")


def text_of(web):
    done = subprocess.run(["curl", "-sS", "--fail", "--unix-socket", str(web.admin), "http://x/metrics"], capture_output=True,
                          text=True, timeout=PATIENCE_S, check=True)
    return done.stdout


def test_hops_of_a_request(web, make_app, name):
    """An app that takes its time: it shows as the app's, not as the tunnel's."""
    def slow(request, connection):
        time.sleep(0.3)
        connection.answer(201, body=b"x")
    web.client(f"http://127.0.0.1:{make_app(slow).port}", sub=name)
    before = web.metrics()
    assert web.get(f"/{name}/").status == 201
    web.wait_empty()
    after = web.metrics()

    def grown(metric):
        return after[metric] - before[metric]
    for hop in HOPS:
        assert grown(f'pipegate_hop_seconds_count{{hop="{hop}"}}') == 1, hop
    assert 0.3 <= grown('pipegate_hop_seconds_sum{hop="app"}') < PATIENCE_S
    assert grown('pipegate_hop_seconds_bucket{hop="app",le="0.25"}') == 0
    assert grown('pipegate_hop_seconds_bucket{hop="app",le="+Inf"}') == 1
    assert grown("pipegate_request_seconds_count") == 1 and grown("pipegate_request_seconds_sum") >= 0.3
    assert grown('pipegate_responses_total{class="2xx"}') == 1
    assert grown('pipegate_requests_total{outcome="ok"}') == 1


def test_time_in_the_queue(web, make_app, name):
    web.client(f"http://127.0.0.1:{make_app(lambda r, c: (time.sleep(0.2), c.answer(200)) and None).port}", sub=name,
               tok=token(name, max_running=1))
    before = web.metrics()
    from harness import Caller
    callers = [Caller(web.port) for _ in range(2)]
    for caller in callers:
        caller.request("GET", f"/{name}/")
    for caller in callers:
        assert caller.response().status == 200
        caller.close()
    web.wait_empty()
    assert web.metrics()['pipegate_hop_seconds_sum{hop="queue"}'] - before['pipegate_hop_seconds_sum{hop="queue"}'] >= 0.15


def test_refusals_and_reconnects(web, name):
    before = web.metrics()
    url = f"ws://127.0.0.1:{web.broker_port}/"
    for text, more in (("x", ""), (token(exp=1), ""), (token(nbf=int(time.time()) + 9999), ""), ("", "")):
        V1Client(f"{url}?token={text}").wait_open().wait_closed()
    V1Client(f"{url}?token={token(name)}&id=another").opened.wait(PATIENCE_S)
    for _ in range(3):
        V1Client(f"{url}?token={token(name)}").wait_open().close()
        web.wait_metric("pipegate_tunnels", before["pipegate_tunnels"])
    after = web.metrics()
    for reason in ("missing-token", "invalid-token", "expired-token", "token-not-yet-valid", "other-id"):
        metric = f'pipegate_tunnel_refusals_total{{reason="{reason}"}}'
        assert after[metric] - before[metric] == 1, reason
    assert after["pipegate_tunnels_refused_total"] - before["pipegate_tunnels_refused_total"] == 5
    assert after["pipegate_tunnel_reconnects_total"] - before["pipegate_tunnel_reconnects_total"] == 2


def test_of_the_process(web):
    m = web.metrics()
    assert abs(m["process_open_fds"] - web.broker.descriptors()) <= 8 and m["process_max_fds"] > m["process_open_fds"]
    assert abs(m["process_resident_memory_bytes"] / 1024 - web.broker.rss_kib()) < 32 * 1024
    assert 0 <= time.time() - m["process_start_time_seconds"] < 3600
    assert m['pipegate_loop_lag_seconds_bucket{le="+Inf"}'] > 0


def test_prometheus_reads_it(web, make_app, name):
    web.client(f"http://127.0.0.1:{make_app().port}", sub=name)
    assert web.get(f"/{name}/").status == 200
    done = subprocess.run(["promtool", "check", "metrics"], input=text_of(web), capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and not done.stderr and not done.stdout, done


def test_labels_are_bounded(web, name):
    """No name of a peer's choice becomes a label."""
    V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={token(name)}").wait_open().close()
    web.get(f"/{name}/")
    assert name not in text_of(web)


def names_in(text):
    return set(re.findall(r"\b(?:pipegate|process)_[a-z_]+", text))


def known(web):
    names = {m.split("{")[0] for m in web.metrics()}
    return names | {n.removesuffix("_bucket") for n in names}


def test_rules(web):
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done
    expressions = "\n".join(re.findall(r"expr: (.*(?:\n {10}.*)*)", RULES.read_text()))
    names = names_in(expressions)
    assert len(names) >= 9 and names <= known(web), names - known(web)


def test_rules_fire(tmp_path):
    """By promtool's own test: each alert, from figures that deserve it."""
    cases = {
        "PipeGateDown": {'up{job="pipegate",instance="a"}': "0x60"},
        "PipeGateNoTunnels": {'pipegate_tunnels{instance="a"}': "1x20 0x60"},
        "PipeGateFailures": {'pipegate_requests_total{instance="a",outcome="ok"}': "0+60x80",
                             'pipegate_requests_total{instance="a",outcome="tunnel-lost"}': "0+60x80"},
        "PipeGateQueue": {'pipegate_exchanges_queued{instance="a"}': "90x60"},
        "PipeGateOverBudget": {'pipegate_ids_over_budget{instance="a"}': "1x60"},
        "PipeGateRefusals": {'pipegate_tunnel_refusals_total{instance="a",reason="expired-token"}': "0+60x80"},
        "PipeGateReconnects": {'pipegate_tunnel_reconnects_total{instance="a"}': "0+60x80", 'pipegate_tunnels{instance="a"}': "3x80"},
        "PipeGateLoopLag": {'pipegate_loop_lag_seconds_bucket{instance="a",le="0.25"}': "0x80",
                            'pipegate_loop_lag_seconds_bucket{instance="a",le="1"}': "0+60x80",
                            'pipegate_loop_lag_seconds_bucket{instance="a",le="+Inf"}': "0+60x80"},
        "PipeGateDescriptors": {'process_open_fds{job="pipegate",instance="a"}': "900x60",
                                'process_max_fds{job="pipegate",instance="a"}': "1000x60"},
    }
    assert set(cases) == set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    rules = tmp_path / "rules.yml"
    shutil.copy(RULES, rules)
    for alert, series in cases.items():
        for fires, at in ((True, "40m"), (False, "0m")):
            # An alert with labels is compared as a whole, so only its absence is: the test fails where it should.
            test = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [{
                "interval": "1m", "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}]}]}
            path = tmp_path / "test.yml"
            path.write_text(json.dumps(test))
            done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=PATIENCE_S,
                                  check=False)
            assert (done.returncode != 0) == fires, (alert, at, done)
            assert not fires or f"alertname: {alert}" in done.stdout + done.stderr or alert in done.stdout + done.stderr


def test_board(web):
    board = json.loads(BOARD.read_text())
    expressions = [t["expr"] for p in board["panels"] for t in p["targets"]]
    names = names_in("\n".join(expressions))
    assert len(board["panels"]) >= 8 and len(names) >= 12 and names <= known(web), names - known(web)
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    for expression in expressions:  # the parser of Prometheus, with Grafana's variables filled in
        text = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rule = json.dumps({"groups": [{"name": "x", "rules": [{"record": "x", "expr": text}]}]})
        done = subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=rule, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, (expression, done)


# --- the hook ---

HOOK = """#!/bin/sh
env >{directory}/environment.$2
echo "$@" >>{directory}/events
{more}
"""


@pytest.fixture
def make_hooked(make_web, tmp_path):
    os.chmod(tmp_path, 0o755)

    def make(more="", **variables):
        hook = tmp_path / "hook"
        hook.write_text(HOOK.format(directory=tmp_path, more=more))
        hook.chmod(0o755)
        return make_web(PIPEGATE_HOOK=str(hook), **variables)
    return make


def events(tmp_path):
    path = tmp_path / "events"
    return path.read_text().splitlines() if path.exists() else []


def test_hook(make_hooked, tmp_path):
    """Each change once, in order; not for a second tunnel of an id; no secret in its environment."""
    web = make_hooked()
    url = f"ws://127.0.0.1:{web.broker_port}/?token="
    first = V1Client(url + token("a")).wait_open()
    web.wait_metric("pipegate_tunnels", 1)
    second = V1Client(url + token("a")).wait_open()
    web.wait_metric("pipegate_tunnels", 2)
    other = V1Client(url + token("b")).wait_open()
    web.wait_metric("pipegate_tunnels", 3)
    first.close()
    second.close()
    web.wait_metric("pipegate_tunnels", 1)
    wait_until(lambda: len(events(tmp_path)) == 3, "three events")
    assert events(tmp_path) == ["online a", "online b", "offline a"]
    names = {line.split("=")[0] for line in (tmp_path / "environment.a").read_text().splitlines()}
    assert "PATH" in names and not any(n.startswith("PIPEGATE") for n in names)
    # A stop tells the hook of what leaves with it.
    web.broker.stop()
    other.wait_closed()
    assert events(tmp_path)[-1] == "offline b"
    web.broker = web.start_broker()


def test_slow_hook(make_hooked, make_app, tmp_path):
    """It blocks nobody, and is killed in the end; what waited is run after it."""
    web = make_hooked(more=f"[ $2 = slow ] && exec sleep 1000; [ $2 = bad ] && exit 3; true # {tmp_path}")
    url = f"ws://127.0.0.1:{web.broker_port}/?token="
    clients = [V1Client(url + token(n)).wait_open() for n in ("slow", "bad")]
    web.client(f"http://127.0.0.1:{make_app().port}", sub="fast")
    assert web.get("/fast/").status == 200
    wait_until(lambda: "online fast" in events(tmp_path), "the event after the slow one")
    wait_until(lambda: web.metrics()["pipegate_hooks_lost_total"] == 2, "both are counted")
    log = web.broker.log()
    assert 'hook.lost event=online conn=slow reason="killed by a signal"' in log
    assert 'hook.lost event=online conn=bad reason="it failed"' in log
    for c in clients:
        c.close()


@pytest.mark.parametrize("value", ["relative", "/nonexistent/hook", "/etc/passwd", "/tmp"])
def test_no_hook(value):
    done = subprocess.run([program("broker"), "--check"], capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environment(PIPEGATE_HOOK=value))
    assert done.returncode == 78 and done.stderr.count("\n") == 1 and "PIPEGATE_HOOK" in done.stderr and f'"{value}"' in done.stderr
