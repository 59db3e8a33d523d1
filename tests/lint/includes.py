"""Layers and libraries: which file may include which header. The table is `includes`."""
import fnmatch
import re

from tree import ROOT, table, without_comments

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


class Table:
    def __init__(self, rows):
        self.directories, self.system, self.libraries = {}, [], {}
        for name, words in rows:
            if name.endswith("/"):
                self.directories[name] = words
            elif name == "system":
                self.system += words
            else:
                self.libraries.setdefault(name, []).extend(words)

    def layers_of(self, path):
        """The directories that a file may include: those of the longest row that names the file's own."""
        rows = [d for d in self.directories if path.startswith(d)]
        return self.directories[max(rows, key=len)] if rows else None

    def library_fault(self, path, header):
        for pattern, files in self.libraries.items():
            if fnmatch.fnmatchcase(header, pattern):
                return None if path in files else f"<{header}> belongs to {', '.join(files)}"
        if any(fnmatch.fnmatchcase(header, pattern) for pattern in self.system):
            return None
        return f"<{header}> is not in the table of tests/lint/includes"

    def layer_fault(self, path, header):
        allowed = self.layers_of(path)
        if allowed is None:
            return "its directory is not in the table of tests/lint/includes"
        # "broker/" allows broker/gate.h, and not broker/core/hub.h unless that is allowed too.
        directory = header.rpartition("/")[0] + "/"
        return None if directory in allowed or header in allowed else f'"{header}" is not of a layer below'


def load():
    return Table(table(ROOT / "tests/lint/includes"))


def faults(files, rules):
    used = set()
    for path, text in files.items():
        for kind, header in INCLUDE.findall(without_comments(text)):
            fault = rules.library_fault(path, header) if kind == "<" else rules.layer_fault(path, header)
            if fault:
                yield f"{path}: {fault}"
            used.add((path, header))
    for pattern, owners in rules.libraries.items():
        for path in owners:
            if not any(p == path and fnmatch.fnmatchcase(header, pattern) for p, header in used):
                yield f"tests/lint/includes: {path} does not include <{pattern}>"
