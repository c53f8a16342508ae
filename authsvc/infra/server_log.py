"""gunicorn's own log, as part of the service's."""

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]


class ServerLogger(Logger):  # type: ignore[misc]
    """Leaves to the root logger what gunicorn would write in a form of its own."""

    def setup(self, cfg: Any) -> None:
        """Follow gunicorn's configuration, at every start and reload."""
        super().setup(cfg)
        self.error_log.propagate = True

    def _set_handler(self, *_: Any, **__: Any) -> None:
        """Add no handler: there is the root logger's."""
