#!/usr/bin/python3
"""Writes a compilation database. usage: compile_commands.py FILE... -- COMPILER FLAG..."""
import json
import os
import sys

split = sys.argv.index("--")
json.dump([{"directory": os.getcwd(), "file": name, "arguments": [*sys.argv[split + 1:], "-c", name]} for name in sys.argv[1:split]],
          sys.stdout, indent=1)
