from conftest_shared import make_app, make_web, name, pytest_terminal_summary, server, web  # noqa: F401
