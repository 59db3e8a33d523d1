"""README, the man pages and conf/pipegate.env.example name the flags, variables and defaults that the programs have.
What they have is what --help prints: each program makes it from the table that it reads them by (common/options.h)."""
import pathlib
import re
import subprocess

import pytest

from harness import PATIENCE_S, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAN = {"broker": "broker/pipegate-broker.8", "token": "broker/pipegate-token.1", "ctl": "broker/pipegate-ctl.8", "fcgi": "fcgi/pipegate-fcgi.8",
       "client": "client/pipegate-client.1"}
EXAMPLE = "conf/pipegate.env.example"
# Variables that the units and the web servers' files set; those files define what they use.
ELSEWHERE = "conf/systemd", "conf/apache", "conf/lighttpd"


class Program:
    """What one program's --help says."""

    def __init__(self, name):
        self.name = name
        self.help = subprocess.run([program(name), "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
        self.flags, self.variables, self.alias = {}, {}, {}  # name: default or None
        entry = r"^  (?:(?:-(\w), |    )?(--[\w-]+)|(PIPEGATE_\w+))(?: \S+)?\s+(.*(?:\n {20,}\S.*)*)"
        for letter, flag, variable, text in re.findall(entry, self.help, re.M):
            text = " ".join(text.split())
            default = re.search(r"\(default: (?:.* or else )?([^()]*)\)$", text)
            as_flag = re.fullmatch(r"as (--[\w-]+)", text)
            if flag:
                self.flags[flag] = default and default[1]
                if letter:
                    self.flags["-" + letter] = default and default[1]
            else:
                self.variables[variable] = self.flags[as_flag[1]] if as_flag else default and default[1]


@pytest.fixture(scope="module")
def programs():
    return {name: Program(name) for name in MAN}


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def all_variables(programs, names=tuple(MAN)):
    return {variable: default for name in names for variable, default in programs[name].variables.items()}


# --- the man pages ---

def items(page):
    """The tagged items of a man page: (macros of its .It line, its text)."""
    return re.findall(r"^\.It (.*)\n((?:(?!\.It |\.El|\.Sh |\.Ss ).*\n)*)", page, re.M)


def man_faults(p, page):
    flags, variables = {}, {}
    for macros, text in items(page):
        for letter_or_dash, name in re.findall(r"\bFl (-?)([\w-]+)", macros):
            flags[f"-{letter_or_dash}{name}"] = text
    for macros, text in items(page[page.index(".Sh ENVIRONMENT"):]):
        for name in re.findall(r"\bEv (PIPEGATE_\w+)", macros):
            variables[name] = text
    synopsis = page[page.index(".Sh SYNOPSIS"):page.index(".Sh DESCRIPTION")]
    for flag, default in p.flags.items():
        if flag not in flags:
            yield f"{flag} is missing"
        elif default and default not in flags[flag]:
            yield f"{flag}: its default is {default}"
        if f"Fl {flag[1:]}" not in synopsis and f"| {flag[1:]}" not in synopsis and flag not in ("--verbose", "-v"):
            if not p.help.startswith(f"usage: pipegate-{p.name} [options]"):
                yield f"{flag} is missing in the synopsis"
    for variable, default in p.variables.items():
        if variable not in variables:
            yield f"{variable} is missing"
        elif default and default not in variables[variable] and "See\n.Fl" not in variables[variable]:
            yield f"{variable}: its default is {default}"
    yield from (f"{flag} does not exist" for flag in flags if flag not in p.flags)
    yield from (f"{name} does not exist" for name in variables if name not in p.variables)


@pytest.mark.parametrize("name", MAN)
def test_man_page(programs, name):
    assert list(man_faults(programs[name], read(MAN[name]))) == []


@pytest.mark.parametrize("name, before, after", [
    ("broker", ".It Fl -check\n", ".It Fl -verify\n"), ("broker", "Default: 256.", "Default: 255."),
    ("broker", "PIPEGATE_MAX_TUNNELS", "PIPEGATE_TUNNELS_MAX"), ("fcgi", "Default: 1024.", "Default: 1023."),
    ("token", ".Op Fl -json\n", ""), ("client", ".It Fl -insecure\n", "Also,\n"), ("client", ".It Ev PIPEGATE_TOKEN\n", "Also,\n"),
])
def test_a_wrong_man_page_is_found(programs, name, before, after):
    page = read(MAN[name])
    assert before in page
    assert list(man_faults(programs[name], page.replace(before, after))) != []


# --- the environment file ---

def example_faults(programs, text):
    known = all_variables(programs, ("broker", "fcgi", "token"))
    shown = dict(re.findall(r"^#?(\w+)=(.*)$", text, re.M))
    yield from (f"{variable} is missing" for variable in known if variable not in shown)
    yield from (f"{variable} does not exist" for variable in shown if variable not in known)
    for variable, value in shown.items():
        if known.get(variable) and value.strip("'") != known[variable]:
            yield f"{variable}: its default is {known[variable]}"


def test_environment_file(programs):
    assert list(example_faults(programs, read(EXAMPLE))) == []


@pytest.mark.parametrize("before, after", [("=256\n", "=255\n"), ("MAX_TUNNELS=64", "TUNNELS_MAX=64"), ("#PIPEGATE_GATE=", "# ")])
def test_a_wrong_environment_file_is_found(programs, before, after):
    text = read(EXAMPLE)
    assert before in text and list(example_faults(programs, text.replace(before, after))) != []


def test_environment_file_is_valid():
    """With every line in force."""
    values = dict(re.findall(r"^#?(PIPEGATE_\w+)=(.*)$", read(EXAMPLE), re.M))
    variables = {name: value.strip("'") for name, value in values.items()} | {"PIPEGATE_JWT_SECRET": "x" * 32}
    for command in ([program("broker"), "--check"], [program("token")]):
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_programs_agree(programs):
    """A variable that two programs read has one default; pipegate-ctl looks where the unit of the broker puts the socket."""
    for p in programs.values():
        for variable, default in p.variables.items():
            assert variable == "PIPEGATE_CONTROL" or {q.variables[variable] for q in programs.values() if variable in q.variables} == {default}, variable


# --- README and the other documents ---

def names_elsewhere():
    files = [f for directory in ELSEWHERE for f in (ROOT / directory).rglob("*") if f.is_file()]
    return set(re.findall(r"PIPEGATE_\w+", "\n".join(f.read_text(encoding="utf-8") for f in files)))


def document_faults(programs, text, elsewhere):
    known = all_variables(programs)
    for variable, default in re.findall(r"^\| `(PIPEGATE_\w+)` \| ([^|]*) \|", text, re.M):
        expected = known.get(variable)
        if variable in known and default.strip(" `") not in (expected, "required" if expected is None else None, "off" if expected is None else None):
            yield f"{variable}: its default is {expected}"
    for name in set(re.findall(r"PIPEGATE_\w+", text)) - {"PIPEGATE_"}:
        if name not in known and name not in elsewhere and not name.endswith("_"):
            yield f"{name} does not exist"
    flags = {flag for p in programs.values() for flag in p.flags} | OTHER_FLAGS
    for line in re.findall(r"`(-[^`\n]*)`|(?:^|;|\) |\$ )pipegate-\w+ ([^`\n]*)", text, re.M):
        for flag in re.findall(r"(?:^| )(--?[a-z][\w-]*)", " ".join(line)):
            if flag not in flags:
                yield f"{flag} does not exist"


OTHER_FLAGS = {"--deploy-hook"}  # of certbot
DOCUMENTS = ["README.md", "SECURITY.md", "conf/README.md", "conf/OPERATING.md", "conf/RECIPES.md"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_document(programs, path):
    assert list(document_faults(programs, read(path), names_elsewhere())) == []


@pytest.mark.parametrize("before, after", [
    ("| 256 |", "| 255 |"), ("PIPEGATE_IDLE_TIMEOUT", "PIPEGATE_TIMEOUT_IDLE"), ("`--token-file`", "`--tokenfile`"),
])
def test_a_wrong_document_is_found(programs, before, after):
    text = read("README.md")
    assert before in text and list(document_faults(programs, text.replace(before, after), names_elsewhere())) != []


# --- what is defined in a header of common/ ---

def test_failure_codes_are_in_the_man_pages():
    """Except those that no caller receives."""
    codes = set(re.findall(r'X\(FAIL_\w+, .*"([a-z-]+)", ', read("common/fail.h"))) - {"ok", "idle-timeout", "cancelled"}
    pages = read(MAN["fcgi"]) + read(MAN["broker"])
    assert len(codes) >= 15 and [c for c in codes if not re.search(rf"\b{c}\b", pages)] == []


@pytest.mark.parametrize("header, prefix", [("common/gate_msg.h", "GATE"), ("common/frame.h", "FRAME")])
def test_messages_are_in_the_protocol(header, prefix):
    """With their numbers."""
    body = re.search(r"enum (?:gate_kind|frame_type) \{(.*?)\};", read(header), re.S)[1]
    messages = re.findall(rf"{prefix}_(\w+) = (\d+),", body)
    protocol = read("common/PROTOCOL.md")
    assert len(messages) >= 7
    assert [name for name, number in messages if not re.search(rf"\| .*\b{number} {name}\b", protocol)] == []


def test_readme_is_short():
    """It is what a newcomer reads; details belong into the documents to which it links."""
    assert len(read("README.md").split()) <= 1300


def test_help_is_read(programs):
    """The numbers, so that a change of the layout of --help does not make the rest of this file look at nothing."""
    assert programs["broker"].variables["PIPEGATE_MAX_BUFFER_BYTES_PER_ID"] == "67108864"
    assert programs["broker"].variables["PIPEGATE_GATE"] == programs["fcgi"].flags["--gate"] == "ipc:///run/pipegate/gate.sock"
    assert programs["broker"].flags["--listen"] == "127.0.0.1:8000" and programs["token"].variables["PIPEGATE_JWT_TTL_DAYS"] == "21"
    assert set(programs["token"].flags) == {"-c", "--connection-id", "--ttl-days", "--ids", "--max-running",
                                            "--max-body", "--key", "--json", "-v", "--verbose", "-h", "--help", "--version"}
    assert len(programs["broker"].variables) >= 20 and len(programs["client"].flags) >= 12
