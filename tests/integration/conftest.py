from conftest_shared import make_app, make_web, name, server, web  # noqa: F401
