"""gunicorn's own log, as part of the service's."""

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

_REFUSAL = "Invalid request from ip="


class ServerLogger(Logger):  # type: ignore[misc]
    """Leaves to the root logger what gunicorn would write in a form of its own.

    What gunicorn quotes of a request stays out: it can be a password or a token.
    """

    def setup(self, cfg: Any) -> None:
        """Follow gunicorn's configuration, at every start and reload."""
        super().setup(cfg)
        self.error_log.propagate = True

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Warn; of a request that is not HTTP, say whose it was and what was wrong, no more."""
        if msg.startswith(_REFUSAL):
            peer, _, fault = msg.partition(": ")
            msg = f"{peer}: {fault.partition(':')[0]}"
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log an exception, with the path of a request but not its query."""
        plain = [arg.partition("?")[0] if isinstance(arg, str) else arg for arg in args]
        super().exception(msg, *plain, **kwargs)

    def _set_handler(self, *_: Any, **__: Any) -> None:
        """Add no handler: there is the root logger's."""
