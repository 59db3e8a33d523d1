"""No circle of calls: of the files of broker/core/, none calls one that calls it back, directly or through others. A lower
one speaks upward only through a table of functions that it was given."""
import graphlib
import subprocess

PURE = "broker/core/"


def wanted(build, files):
    """{"broker/core/hub.c": names} of what each object file of the core takes from others."""
    found = {}
    for path in files:
        built = build / path.replace(".c", ".o")
        if path.startswith(PURE) and path.endswith(".c") and built.exists():
            out = subprocess.run(["nm", "-u", "--format=posix", built], check=True, capture_output=True, text=True)
            found[path] = [line.split()[0] for line in out.stdout.splitlines()]
    return found


def faults(exported, uses):
    owner = {name: path for path, names in exported.items() for name in names if path in uses}
    calls = {path: {owner[n] for n in names if owner.get(n, path) != path} for path, names in uses.items()}
    try:
        graphlib.TopologicalSorter(calls).prepare()
    except graphlib.CycleError as e:
        yield "a circle of calls: " + " < ".join(e.args[1])
