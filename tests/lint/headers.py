"""Headers: each has a guard with its name, and compiles alone."""
import concurrent.futures
import os
import re
import shlex
import subprocess

from tree import ROOT, without_comments


def guards_of(path):
    """PIPEGATE_URL_H; with the directory where two programs have a file of that name."""
    words = [w.upper() for w in re.split(r"[/.]", path)]
    return {"_".join(["PIPEGATE", *words[i:]]) for i in range(len(words) - 1)}


def guard_faults(files):
    seen = {}
    for path, text in files.items():
        if not path.endswith(".h"):
            continue
        code = without_comments(text).strip()
        guard = re.match(r"#ifndef (\w+)\n#define (\w+)\n", code)
        if guard is None or guard[1] != guard[2] or not code.endswith("#endif"):
            yield f"{path}: has no guard around all of it"
        elif guard[1] not in guards_of(path):
            yield f"{path}: its guard is {guard[1]}, not {max(guards_of(path), key=len)} or less of it"
        elif guard[1] in seen:
            yield f"{path}: {seen[guard[1]]} has the same guard"
        else:
            seen[guard[1]] = path


def compile_fault(path, root):
    command = [*shlex.split(os.environ.get("CC", "cc")), "-std=c11", "-D_GNU_SOURCE", f"-I{root}", "-Wall", "-Wextra", "-Werror",
               "-fsyntax-only", "-x", "c", "-include", path, "/dev/null"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"{path}: does not compile alone: {done.stderr.splitlines()[0]}"


def compile_faults(files, root=ROOT):
    headers = [p for p in files if p.endswith(".h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(lambda p: compile_fault(p, root), headers))
