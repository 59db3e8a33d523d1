"""Names: what an object file exports begins with the file's name, and no two programs use a name twice. The exceptions
are in `exports`, each with its reason."""
import fnmatch
import re
import subprocess

from tree import PROGRAMS, ROOT, program_of, stem, table, without_comments

TYPE = re.compile(r"\b(struct|enum|union)\s+(\w+)\s*\{")


def load():
    return [(name, words[0]) for name, words in table(ROOT / "tests/lint/exports")]


def symbols(build, files):
    """{"broker/gate.c": names} of what is built."""
    found = {}
    for path in files:
        built = build / path.replace(".c", ".o")
        if path.endswith(".c") and built.exists():
            out = subprocess.run(["nm", "-g", "--defined-only", "--format=posix", built], check=True, capture_output=True, text=True)
            names = (line.split()[0] for line in out.stdout.splitlines())
            found[path] = sorted(n for n in names if not n.startswith(("__asan", "__ubsan", "__odr_asan", "__tsan")))
    return found


def has_prefix(name, prefix):
    """gate_new(), gate(); ws_relays_new() of many."""
    return name in (prefix, prefix + "s") or name.startswith((prefix + "_", prefix + "s_"))


def excused(exceptions, path, name):
    return any(fnmatch.fnmatchcase(path, where) and fnmatch.fnmatchcase(name, pattern) for where, pattern in exceptions)


def prefix_faults(exported, exceptions):
    for path, names in exported.items():
        for name in names:
            if not has_prefix(name, stem(path)) and not excused(exceptions, path, name):
                yield f"{path}: {name}() does not begin with \"{stem(path)}_\""


def twins(pairs, exceptions, kind):
    """Of (path, name): the names that two programs have. A name of common/ is every program's."""
    first = {}
    for path, name in pairs:
        other = first.setdefault(name, path)
        if program_of(other) != program_of(path) and not excused(exceptions, path, name):
            yield f"{path}: {kind} {name} is in {other} too"


def file_faults(files, exceptions):
    yield from twins([(p, p.rsplit("/", 1)[1]) for p in files], exceptions, "a file named")


def type_faults(files, exceptions):
    pairs = [(p, m[2]) for p, text in files.items() for m in TYPE.finditer(without_comments(text))]
    yield from twins(pairs, exceptions, "a type named")


def function_faults(exported, exceptions):
    yield from twins([(p, n) for p, names in exported.items() for n in names], exceptions, "a function named")


def faults(files, exported, exceptions):
    yield from prefix_faults(exported, exceptions)
    yield from function_faults(exported, exceptions)
    yield from file_faults(files, exceptions)
    yield from type_faults(files, exceptions)


def unused(files, exported, exceptions):
    """Exceptions that excuse nothing any more: they would hide the next fault."""
    for where, pattern in exceptions:
        rest = [e for e in exceptions if e != (where, pattern)]
        if len(list(faults(files, exported, rest))) == len(list(faults(files, exported, exceptions))):
            yield f"tests/lint/exports: {where} {pattern} is not needed"
