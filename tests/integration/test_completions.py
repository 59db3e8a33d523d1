"""Completion of flags, commands and connection ids, in the shells that are installed."""
import os
import shutil
import subprocess

import pytest

from harness import BUILD, PATIENCE_S, ROOT, V1Client, environment, token

FILES = ROOT / "conf/completions"
PROGRAMS = ["broker", "client", "ctl", "fcgi", "token"]


def run(argv, **more):
    path = f"{BUILD.resolve()}:{os.environ['PATH']}"
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(PATH=path, **more), check=False)


def bash(*words, **more):
    script = f"source {FILES}/pipegate.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _pipegate; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = run(["bash", "-c", script, "bash", *words], **more)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def fish(line, **more):
    done = run(["fish", "--no-config", "-c", f"source {FILES}/pipegate.fish; complete -C '{line}'"], **more)
    assert done.returncode == 0, done
    return [entry.split("\t")[0] for entry in done.stdout.splitlines()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_flags(name):
    flags = bash(f"pipegate-{name}", "--v")
    assert sorted(flags) == ["--verbose", "--version"]
    assert "--help" in bash(f"pipegate-{name}", "--")
    if shutil.which("fish"):
        assert {"--verbose", "--version"} <= set(fish(f"pipegate-{name} --v"))


def test_arguments():
    assert bash("pipegate-client", "--keep-alive", "") == ["on", "off"]
    assert bash("pipegate-client", "--host-header", "t") == ["target"]
    assert f"{FILES}/pipegate.bash" in bash("pipegate-client", "--token-file", f"{FILES}/pipe")
    assert bash("pipegate-ctl", "k") == ["kick"]
    assert bash("pipegate-ctl", "--json", "re") == ["revoke", "reload"]
    assert bash("pipegate-ctl", "show", "x", PIPEGATE_CONTROL="unix:/nonexistent") == []


def test_ids(make_web, tmp_path):
    control = f"unix:{tmp_path}/control.sock"
    web = make_web(PIPEGATE_CONTROL=control)
    tunnels = [V1Client(f"ws://127.0.0.1:{web.broker_port}/?token={token(n)}").wait_open() for n in ("app-one", "app-two", "other")]
    web.wait_metric("pipegate_tunnels", 3)
    assert bash("pipegate-ctl", "show", "app", PIPEGATE_CONTROL=control) == ["app-one", "app-two"]
    assert len(bash("pipegate-ctl", "kick", "", PIPEGATE_CONTROL=control)) == 3
    if shutil.which("fish"):
        assert {"app-one", "app-two", "other"} <= set(fish("pipegate-ctl kick ", PIPEGATE_CONTROL=control))
    for t in tunnels:
        t.close()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh(tmp_path):
    """Its completion function, with compadd replaced by a word that prints what it is given."""
    script = ('compadd() { [[ $1 == -- ]] && shift; print -l -- $@ }\n_files() { print files }\n'
              f'words=("$@"); CURRENT=$#; PREFIX=$words[$#]; source {FILES}/_pipegate')
    path = tmp_path / "complete.zsh"
    path.write_text(script)
    done = run(["zsh", "-f", str(path), "pipegate-ctl", "--"])
    assert done.returncode == 0 and {"--json", "--jti", "--version"} <= set(done.stdout.split()), done
    assert "kick" in run(["zsh", "-f", str(path), "pipegate-ctl", ""]).stdout.split()
    assert run(["zsh", "-f", str(path), "pipegate-client", ""]).stdout.split() == ["files"]
