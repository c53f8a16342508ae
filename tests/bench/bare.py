"""A Flask application of one view, which the service's are compared with.

It is run by the service's own configuration of gunicorn, whose hooks find nothing to do here.
"""

from collections import defaultdict
from typing import Any

from flask import Flask

from tests.support.service import Service


class _Idle(tuple[Any, ...]):
    """Whatever gunicorn's configuration starts and stops in a worker: none, one or many."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


app = Flask("bare", static_folder=None)
app.extensions = defaultdict(_Idle)


@app.get("/")
@app.get("/version")
def view() -> dict[str, Any]:
    """Answers as much as /v1/me does, and asks nobody."""
    return {"id": 1, "username": "bench-0", "email": "bench-0@example.com", "permission": 0}


class BareService(Service):
    """The application above, under the same gunicorn."""

    name = "bare"

    def command(self) -> list[str]:
        return [*super().command()[:-1], "tests.bench.bare:app"]
