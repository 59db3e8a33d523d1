#!/usr/bin/python3
"""Each rule of rules.py finds what is planted for it, and nothing in what is right."""
import pathlib
import subprocess
import tempfile
import unittest

import circles
import exports
import headers
import includes
import layout
import tree

TABLE = includes.Table([("common/", ["common/"]), ("broker/", ["broker/", "broker/core/", "common/"]),
                        ("broker/core/", ["broker/core/", "common/"]), ("fcgi/", ["fcgi/", "common/"]),
                        ("zmq.h", ["broker/gate.c"]), ("zmq.h", ["fcgi/mux.c"]), ("system", ["stdio.h", "sys/*"])])
USES_ZMQ = {"broker/gate.c": "#include <zmq.h>\n", "fcgi/mux.c": "#include <zmq.h>\n"}


class Includes(unittest.TestCase):
    def faults(self, path, text):
        return list(includes.faults(USES_ZMQ | {path: text}, TABLE))

    def test_right(self):
        self.assertEqual(self.faults("broker/hub.c", '#include "broker/core/hub.h"\n#include "common/buf.h"\n#include <stdio.h>\n'
                                     '#include <sys/socket.h>\n/* #include <zmq.h> */\n'), [])

    def test_planted(self):
        for path, line in (("broker/hub.c", "<zmq.h>"), ("fcgi/relay.c", "<zmq.h>"), ("broker/hub.c", "<glib.h>"),
                           ("common/buf.c", '"broker/hub.h"'), ("broker/hub.c", '"fcgi/mux.h"'), ("fcgi/mux2.c", '"broker/hub.h"'),
                           ("broker/core/hub.c", '"broker/gate.h"'), ("broker/hub.c", '"tests/fuzz/world.h"'),
                           ("elsewhere/x.c", '"common/buf.h"')):
            self.assertEqual(len(self.faults(path, f"  # include {line}\n")), 1, (path, line))

    def test_a_row_that_nothing_needs(self):
        self.assertEqual(list(includes.faults({"broker/gate.c": "#include <zmq.h>\n"}, TABLE)),
                         ["tests/lint/includes: fcgi/mux.c does not include <zmq.h>"])

    def test_the_real_table_is_strict(self):
        for path, header in (("common/buf.c", "uv.h"), ("broker/hub.c", "libwebsockets.h"), ("fcgi/server.c", "uv.h"),
                             ("client/v2.c", "jansson.h")):
            self.assertIsNotNone(includes.load().library_fault(path, header), (path, header))
        for path in ("common/x.c", "fcgi/x.c", "client/x.c"):
            self.assertIsNotNone(includes.load().layer_fault(path, "broker/hub.h"), path)


class Circles(unittest.TestCase):
    NAMES = {"broker/core/a.c": ["a_do"], "broker/core/b.c": ["b_do"], "broker/core/c.c": ["c_do"], "broker/ws.c": ["ws_do"]}

    def test_right(self):
        self.assertEqual(list(circles.faults(self.NAMES, {"broker/core/a.c": ["b_do", "c_do", "free"], "broker/core/b.c": ["c_do", "b_do"],
                                                          "broker/core/c.c": []})), [])

    def test_planted(self):
        for last in ("a_do", "b_do"):
            self.assertEqual(len(list(circles.faults(self.NAMES, {"broker/core/a.c": ["b_do"], "broker/core/b.c": ["c_do"],
                                                                  "broker/core/c.c": [last]}))), 1, last)


class Exports(unittest.TestCase):
    NAMES = {"broker/gate.c": ["gate_new"], "broker/ws_relay.c": ["ws_relays_new", "ws_relay_new"], "common/check.c": ["xmalloc"]}

    def faults(self, more, files=None, exceptions=(("common/check.c", "x*alloc"), ("*/main.c", "main.c"))):
        return list(exports.faults(files or {}, self.NAMES | more, exceptions))

    def test_right(self):
        self.assertEqual(self.faults({"fcgi/mux.c": ["mux_new"]}, {"fcgi/main.c": "", "client/main.c": "", "fcgi/mux.h": "struct mux {"}), [])

    def test_planted(self):
        for names in ({"fcgi/mux.c": ["muxer"]}, {"fcgi/mux.c": ["xmalloc"]}, {"broker/hub.c": ["exchange_new"]}, {"broker/hub.c": ["hubris"]},
                      {"fcgi/gate.c": ["gate_new"]}):
            self.assertNotEqual(self.faults(names), [], names)
        self.assertEqual(len(self.faults({}, {"fcgi/request.c": "", "client/request.c": ""})), 1)
        self.assertEqual(len(self.faults({}, {"fcgi/a.c": "struct slot {\n", "client/b.h": "static struct slot {\n"})), 1)
        self.assertEqual(len(self.faults({}, {"broker/a.c": "enum end {\n", "common/b.h": "struct end\n{\n"})), 1)

    def test_an_exception_that_nothing_needs(self):
        self.assertEqual(list(exports.unused({}, self.NAMES, [("common/check.c", "x*alloc"), ("common/check.c", "free_all")])),
                         ["tests/lint/exports: common/check.c free_all is not needed"])

    def test_symbols_of_an_object(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "broker").mkdir()
            source = root / "broker/gate.c"
            source.write_text("static int hidden; int shown; int f(void) { return hidden + shown; }\n")
            subprocess.run(["cc", "-c", "-o", root / "broker/gate.o", source], check=True)
            self.assertEqual(exports.symbols(root, {"broker/gate.c": "", "broker/hub.c": ""}), {"broker/gate.c": ["f", "shown"]})


class Headers(unittest.TestCase):
    def test_guards(self):
        def header(guard, code="int x;", end="#endif"):
            return f"/* x */\n#ifndef {guard}\n#define {guard}\n{code}\n{end}\n"
        right = {"client/url.h": header("PIPEGATE_URL_H"), "client/v1.h": header("PIPEGATE_CLIENT_V1_H"), "broker/v1.h": header("PIPEGATE_V1_H")}
        self.assertEqual(list(headers.guard_faults(right)), [])
        for text in (header("PIPEGATE_URI_H"), header("URL_H"), "int x;\n", header("PIPEGATE_URL_H", end="#endif\nint y;")):
            self.assertEqual(len(list(headers.guard_faults({"client/url.h": text}))), 1, text)
        self.assertEqual(len(list(headers.guard_faults({"client/url.h": header("PIPEGATE_URL_H"), "fcgi/url.h": header("PIPEGATE_URL_H")}))), 1)

    def test_compile_alone(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "common").mkdir()
            (root / "common/good.h").write_text("#include <stddef.h>\nsize_t good(void);\n")
            (root / "common/bad.h").write_text("size_t bad(void);\n")
            found = list(headers.compile_faults({"common/good.h": "", "common/bad.h": ""}, root))
            self.assertEqual(len(found), 1)
            self.assertTrue(found[0].startswith("common/bad.h: "), found)


class Layout(unittest.TestCase):
    @staticmethod
    def function(lines):
        return "static int f(int a,\n\t     int b)\n{\n" + "\tx(a);\n" * (lines - 4) + "}\n"

    def test_functions(self):
        text = "struct s {\n\tint x;\n};\n\n" + self.function(7) + "\nint table[] = {\n\t1,\n};\n\n" + self.function(9)
        self.assertEqual([(name, length) for name, _, length in layout.functions(text)], [("f", 7), ("f", 9)])

    def test_sizes(self):
        def red(path, text):
            return [is_red for _, is_red in layout.sizes({path: text})]
        self.assertEqual(red("broker/a.c", self.function(60)), [])
        self.assertEqual(red("broker/a.c", self.function(61)), [False])
        self.assertEqual(red("broker/a.c", self.function(81)), [True])
        self.assertEqual(red("broker/a.c", "\n" * 500), [])
        self.assertEqual(red("broker/a.c", "\n" * 501), [False])
        self.assertEqual(red("broker/a.c", "\n" * 601), [True])
        self.assertEqual(red("broker/a.h", "\n" * 121), [False])

    def test_comments(self):
        long = "\t/* " + "x" * 90 + " */\n"
        self.assertEqual(list(layout.wide("int x;\n" + long + f'char *s = "{long.strip()}{"y" * 30}";\n')), [2])
        self.assertEqual(list(layout.wide("\t/* " + "x" * 86 + " */\n")), [])
        self.assertEqual(list(layout.trailing("int x; /* a few words about it */\n/* " + "word " * 20 + "*/\nint y; /* " + "word " * 13 + "*/\n")), [3])

    def test_torn(self):
        for text in ("int x; /* torn\n        * apart */\n", "void f(\n\tint a); /* what it does */\n", "\tchar *\n\t\tname; /* of it */\n", "\tX =\n\t\t1, /* of it */\n"):
            self.assertEqual(len(list(layout.torn(text))), 1, text)
        for text in ("int x; /* fits */\n", "\tif (a)\n\t\tb(); /* fits */\n", "int f(" + "x" * 80 + ",\n      int b); /* fits */\n",
                     "\telse\n\t\tb(); /* fits */\n"):
            self.assertEqual(list(layout.torn(text)), [], text)

    def test_limits(self):
        files = {"fcgi/a.c": "int y; /* " + "word " * 13 + "*/\n"}
        self.assertEqual(layout.comment_faults(files, {("trailing", "fcgi"): 1}), ([], []))
        self.assertEqual(len(layout.comment_faults(files, {})[0]), 2)
        self.assertEqual(len(layout.comment_faults(files, {("trailing", "fcgi"): 2})[1]), 1)


class Tree(unittest.TestCase):
    def test_comments_are_not_in_strings(self):
        text = 'a("/* no */"); /* yes */ b(\'"\'); // also\n'
        self.assertEqual([c for _, c in tree.comments(text)], ["/* yes */", "// also"])
        self.assertEqual(len(tree.without_comments(text)), len(text))

    def test_the_tree_is_read(self):
        self.assertGreater(len(tree.read()), 100)


if __name__ == "__main__":
    unittest.main()
