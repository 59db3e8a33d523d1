#!/usr/bin/python3
"""The rules of the house that need no compiler's analysis (`make rules`, a part of `make check` and `make lint`).
usage: rules.py [BUILD], with the directory of the object files."""
import sys

import circles
import exports
import headers
import includes
import layout
import tree


def main():
    build = tree.ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build")
    files = tree.read()
    tests = tree.read(directories=("tests",))
    exported = exports.symbols(build, files)
    missing = [p for p in files if p.endswith(".c") and p not in exported]
    faults = [f"{build.name}/: no object of {p}: build first" for p in missing]
    faults += includes.faults(files, includes.load())
    faults += exports.faults(files, exported, exports.load())
    faults += exports.unused(files, exported, exports.load())
    faults += circles.faults(exported, circles.wanted(build, files))
    faults += headers.guard_faults(files | tests)
    faults += headers.compile_faults(files | tests)
    comment_faults, notes = layout.comment_faults(files | tests, layout.load())
    faults += comment_faults
    for fault, red in layout.sizes(files):
        (faults if red else notes).append(fault)
    for note in notes:
        print(f"note: {note}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
