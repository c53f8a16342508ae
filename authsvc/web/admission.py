"""Admission: a view that hashes is refused, when there is no place, before it costs anything."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import wraps
from typing import Any, TypeVar

from flask import Flask
from werkzeug.exceptions import HTTPException

from authsvc.web import body

View = TypeVar("View", bound=Callable[..., Any])
Admission = Callable[[], AbstractContextManager[None]]


def hashes(view: View) -> View:
    """Mark a view that anyone may call, and that hashes a password."""
    view.hashes = True  # type: ignore[attr-defined]
    return view


def install(app: Flask, admission: Admission) -> None:
    """Let marked views be entered only within an admission; their limits come later.

    Args:
        app: its views have all been registered, and are counted already.
        admission: keeps a place for the length of a block, or raises `Overloaded`.
    """
    admitted: dict[Callable[..., Any], Callable[..., Any]] = {}
    for endpoint, view in app.view_functions.items():
        if hasattr(view, "hashes"):
            if view not in admitted:
                admitted[view] = _admit(admission, view)
            app.view_functions[endpoint] = admitted[view]


def _admit(admission: Admission, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def admitted(*arguments: Any, **options: Any) -> Any:
        with suppress(HTTPException):  # the view will say so
            body.receive()  # so that nobody keeps a place while they are sending
        with admission():
            return view(*arguments, **options)

    return admitted
