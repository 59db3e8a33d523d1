#!/usr/bin/env python3
"""Measures the size of the code, a row for each directory of the programs (pip install lizard). The limits are in layout.py.

length: lines from the signature to the closing brace; ccn: cyclomatic complexity, as lizard counts both.
"""
import pathlib
import re
import statistics

import lizard

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIRECTORIES = ("broker", "fcgi", "client", "common")


def comment_share(text):
    comments = sum(len(c) for c in re.findall(r"/\*.*?\*/|//[^\n]*", text, re.S))
    return comments / max(1, len(text))


def p90(values):
    return sorted(values)[int(len(values) * 0.9)] if values else 0


class Row:
    def __init__(self):
        self.files = []      # (lines, path)
        self.functions = []  # lizard's, with the path
        self.comments = {".c": [0, 0], ".h": [0, 0]}

    def add(self, path):
        text = path.read_text()
        share = self.comments[path.suffix]
        share[0] += comment_share(text) * len(text)
        share[1] += len(text)
        if path.suffix == ".c":
            self.files.append((text.count("\n"), path))
            self.functions += [(f, path) for f in lizard.analyze_file(str(path)).function_list]

    def merge(self, other):
        self.files += other.files
        self.functions += other.functions
        for suffix, share in other.comments.items():
            self.comments[suffix][0] += share[0]
            self.comments[suffix][1] += share[1]

    def cells(self):
        lines = [n for n, _ in self.files]
        lengths = [f.end_line - f.start_line + 1 for f, _ in self.functions]
        percent = [f"{100 * a / max(1, b):.0f} %" for a, b in (self.comments[".c"], self.comments[".h"])]
        return [len(self.files), f"{sum(lines):,}", f"{statistics.median(lines):.0f} / {max(lines)}", len(lengths),
                f"{statistics.median(lengths):.0f} / {p90(lengths)} / {max(lengths)}",
                sum(n > 60 for n in lengths), sum(f.cyclomatic_complexity > 15 for f, _ in self.functions),
                sum(len(f.parameters) > 5 for f, _ in self.functions), " / ".join(percent)]


def main():
    total = Row()
    print("| | .c files | .c lines | median / largest file | functions | length median / p90 / max | > 60 | ccn > 15 "
          "| params > 5 | comment share of characters .c / .h |")
    print("|---" * 10 + "|")
    for directory in DIRECTORIES:
        row = Row()
        for path in sorted((ROOT / directory).glob("*.[ch]")):
            row.add(path)
        for path in sorted((ROOT / directory).glob("*/*.[ch]")):
            row.add(path)
        total.merge(row)
        print("|", " | ".join(map(str, [directory, *row.cells()])), "|")
    print("|", " | ".join(map(str, ["all", *total.cells()])), "|")
    for lines, path in sorted(total.files, reverse=True, key=lambda x: x[0]):
        if lines > 500:
            print(f"over 500 lines: {path.relative_to(ROOT)}: {lines}")
    for f, path in total.functions:
        if f.end_line - f.start_line + 1 > 60:
            print(f"over 60 lines: {path.relative_to(ROOT)}:{f.start_line}: {f.name}")


if __name__ == "__main__":
    main()
