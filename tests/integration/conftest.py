from conftest_shared import (make_app, make_web, name, pytest_make_parametrize_id, pytest_sessionfinish, pytest_terminal_summary,  # noqa: F401
                             pytest_testnodedown, server, web)
