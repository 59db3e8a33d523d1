"""What the rules of `make rules` share: the C files of the tree, and their comments."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("broker", "fcgi", "client")
DIRECTORIES = (*PROGRAMS, "common")
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def read(root=ROOT, directories=DIRECTORIES):
    """The C files below the directories: {"broker/gate.c": text}."""
    return {str(p.relative_to(root)): p.read_text(encoding="utf-8") for d in directories
            for p in sorted((root / d).rglob("*.[ch]"))}


def comments(text):
    """(offset, comment) of each comment; those in strings are none."""
    return [(m.start(), m.group()) for m in COMMENT_OR_STRING.finditer(text) if m.group().startswith("/")]


def without_comments(text):
    """The same text and lines, with blanks in place of comments."""
    return COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m.group()) if m.group().startswith("/") else m.group(), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def program_of(path):
    return path.split("/")[0]


def stem(path):
    return pathlib.PurePath(path).stem


def table(path):
    """The rows of a table: (first word, the other words). A line ends at its '#'."""
    rows = (line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
    return [(row[0], row[1:]) for row in rows if row]
