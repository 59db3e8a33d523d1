"""Sizes of files and functions, and the place of comments."""
import re

from tree import ROOT, comments, line_of, program_of, table, without_comments

COLUMNS, TAB = 100, 8
TRAILING_WORDS = 12
FILE_AIM, FILE_MAX = 500, 600
FUNCTION_AIM, FUNCTION_MAX = 60, 80
HEADER_AIM = 120


def functions(text):
    """(name, first line, lines) of each definition, as clang-format lays it out: '{' and '}' in the first column."""
    lines = without_comments(text).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            while start > 0 and not re.match(r"\w", lines[start]):
                start -= 1
        elif line.startswith("}") and start is not None:
            name = re.search(r"(\w+)\(", lines[start] + lines[start + 1])
            yield name[1] if name else "?", start + 1, number - start + 1
            start = None


def sizes(files):
    """(fault, is it red) of each file and function that is longer than the aim."""
    for path, text in files.items():
        count = text.count("\n")
        if path.endswith(".h") and count > HEADER_AIM:
            yield f"{path}: {count} lines in a header", count > FILE_MAX
        elif count > FILE_AIM:
            yield f"{path}: {count} lines", count > FILE_MAX
        for name, line, length in functions(text):
            if length > FUNCTION_AIM:
                yield f"{path}:{line}: {name}() has {length} lines", length > FUNCTION_MAX


def wide(text):
    """Lines of comments that end beyond the last column."""
    lines = text.split("\n")
    for offset, comment in comments(text):
        first = line_of(text, offset)
        for number in range(first, first + comment.count("\n") + 1):
            if len(lines[number - 1].expandtabs(TAB)) > COLUMNS:
                yield number


def behind_code(text):
    """(offset, comment, code before it on its line) of each comment that has code before it."""
    for offset, comment in comments(text):
        before = text[text.rfind("\n", 0, offset) + 1:offset]
        if before.strip():
            yield offset, comment, before


def trailing(text):
    """Lines with a long comment behind the code: above it, it would be read first."""
    for offset, comment, _ in behind_code(text):
        if len(comment.split()) - 2 > TRAILING_WORDS:
            yield line_of(text, offset)


def torn(text):
    """Lines where a comment behind the code does not fit there: it goes on below, or clang-format has broken the code for it."""
    code = without_comments(text)
    for offset, comment, before in behind_code(text):
        line = text.rfind("\n", 0, offset) + 1
        above = code[code.rfind("\n", 0, max(line - 1, 0)) + 1:max(line - 1, 0)]
        joined = len(above.expandtabs(TAB)) + len(before.strip())
        broken = before.rstrip().endswith((";", ",")) and re.search(r"[\w(=*]$" if before.rstrip().endswith(";") else r"=$", above) and not above.startswith("#") and joined < COLUMNS
        if "\n" in comment or (broken and not re.search(r"\b(else|do)$|^\w+:$", above.strip())):
            yield line_of(text, offset)


RULES = {"wide": (wide, f"comment beyond column {COLUMNS}"),
         "torn": (torn, "comment that does not fit behind its code"),
         "trailing": (trailing, f"comment of more than {TRAILING_WORDS} words behind code")}


def load():
    """How many of each kind a directory may still have; none where there is no row."""
    return {(words[0], name): int(words[1]) for name, words in table(ROOT / "tests/lint/limits")}


def comment_faults(files, limits):
    """A list of faults, and of limits that can be lowered."""
    found, faults, notes = {}, [], []
    for path, text in files.items():
        for rule, (lines, _) in RULES.items():
            found.setdefault((rule, program_of(path)), []).extend(f"{path}:{n}" for n in lines(text))
    for (rule, directory), places in sorted(found.items()):
        limit = limits.get((rule, directory), 0)
        if len(places) > limit:
            faults += [f"{place}: {RULES[rule][1]}" for place in places]
            faults.append(f"{directory}/: {len(places)} of them, {limit} are allowed (tests/lint/limits)")
        elif len(places) < limit:
            notes.append(f"tests/lint/limits: {directory} {rule} can be {len(places)}, not {limit}")
    return faults, notes
