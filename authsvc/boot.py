"""From the environment to an application, or to a few plain sentences and exit status 1."""

import os
import sys
from typing import NoReturn

from flask import Flask

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra import logs
from authsvc.infra.embedded import EmbeddedRedisError
from authsvc.settings import Settings, SettingsError

_COMMAND = "FLASK_RUN_FROM_CLI"
"""Set by the `flask` command."""


def settings_or_exit() -> Settings:
    """Return the settings, with the log set up; print all their faults and exit with status 1."""
    try:
        chosen = settings.load()
    except SettingsError as error:
        fail(*error.faults)
    logs.configure(chosen.log_level, chosen.log_format)
    return chosen


def app_or_exit() -> Flask:
    """Return the application; if it cannot be built, say why and exit with status 1."""
    chosen = settings_or_exit()
    try:
        app = create_app(chosen)
    except SettingsError as error:
        fail(*error.faults)
    except EmbeddedRedisError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}.")
    if _COMMAND in os.environ:
        from authsvc import cli  # with Alembic, which costs those who serve time and memory

        cli.install(app)
    return app


def fail(*sentences: str) -> NoReturn:
    """Print the sentences on standard error and exit with status 1."""
    for sentence in sentences:
        print(f"authsvc: {sentence}", file=sys.stderr)
    sys.exit(1)
