import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from conftest_shared import make_app, make_web, name, pytest_terminal_summary, server, web  # noqa: E402,F401
