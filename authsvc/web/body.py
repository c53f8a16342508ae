"""What a request carries, read once and held to the schema that its view declares."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import current_app, g, request
from marshmallow import EXCLUDE, Schema, ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from authsvc.core.captchas import SIGN_UP
from authsvc.web.dialect import captchas

View = TypeVar("View", bound=Callable[..., Any])

JSON, QUERY, FORM = "application/json", "query", "application/x-www-form-urlencoded"
"""Where an operation finds what it takes: in a body of this type, or in its address."""

MAX_BYTES = 64 * 1024
READ_BYTES = MAX_BYTES + 1
"""How much of a body is read: one byte more shows that a chunked one is too large."""


class Body(Schema):
    """A JSON object of known fields; a field that the document does not name is passed over."""

    class Meta:
        unknown = EXCLUDE


class MalformedBody(BadRequest):
    """The body is not a JSON object of the form that the operation takes.

    Args:
        faults: field → sentences, in the words of the schema; empty when no
            field is to blame.
    """

    def __init__(self, faults: dict[str, list[str]] | None = None) -> None:
        super().__init__()
        self.faults = faults or {}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a view takes.

    Args:
        schema: what it is held to.
        place: `JSON`, `QUERY` or `FORM`.
        optional: whether no body at all stands for `{}`.
        without_captcha: takes the schema's place where no captcha is asked for.
        captcha: the purpose of that captcha.
    """

    schema: Schema
    place: str
    optional: bool
    without_captcha: Schema | None
    captcha: str

    @property
    def schema_in_force(self) -> Schema:
        """The schema that the application which is answering goes by."""
        if self.without_captcha is None or captchas.is_required(self.captcha):
            return self.schema
        return self.without_captcha

    @property
    def schemas(self) -> tuple[Schema, ...]:
        """All that may be in force."""
        return (
            (self.schema,) if self.without_captcha is None else (self.schema, self.without_captcha)
        )


def takes(
    schema: Schema,
    place: str = JSON,
    *,
    optional: bool = False,
    without_captcha: Schema | None = None,
    captcha: str = SIGN_UP,
) -> Callable[[View], View]:
    """Declare what a view takes, which it then gets with `read…`; see `Taken`."""

    def mark(view: View) -> View:
        taken = Taken(schema, place, optional, without_captcha, captcha)
        view.takes = taken  # type: ignore[attr-defined]
        return view

    return mark


def taken_by(view: Callable[..., Any]) -> Taken | None:
    """Return what a view has declared that it takes."""
    return getattr(view, "takes", None)


def read() -> dict[str, Any]:
    """Return the request's JSON body, as the schema that its view declares loads it.

    Raises:
        MalformedBody: no body, not JSON in UTF-8, not an object, or against the schema.
        UnsupportedMediaType: a Content-Type that is not JSON's.
        RequestEntityTooLarge: over 64 KiB.
    """
    taken = _declared()
    return load_json(taken.schema_in_force, optional=taken.optional)


def read_query() -> dict[str, Any]:
    """Return the request's query string, as the schema that its view declares loads it.

    Raises:
        MalformedBody: it is not UTF-8, against the schema, or gives a parameter twice.
    """
    return load_query(_declared().schema_in_force)


def read_form() -> dict[str, Any] | None:
    """Return the request's form as `read` does; None if it is not as its view declares."""
    repeated = any(len(values) > 1 for values in request.form.listvalues())
    if request.mimetype != FORM or repeated:
        return None
    try:
        return _loaded(_declared().schema_in_force, request.form.to_dict())
    except MalformedBody:
        return None


def load_json(schema: Schema, *, optional: bool = False) -> dict[str, Any]:
    """Return the request's JSON body as the schema loads it; see `read`."""
    if optional and not receive():
        return _loaded(schema, {})
    return _loaded(schema, _object())


def load_query(schema: Schema) -> dict[str, Any]:
    """Return the request's query string as the schema loads it; see `read_query`."""
    asked = parameters()
    repeated = {name: ["malformed"] for name, values in asked.lists() if len(values) > 1}
    if repeated:
        raise MalformedBody(repeated)
    return _loaded(schema, asked.to_dict())


def parameters() -> MultiDict[str, str]:
    """Return the parameters of the request's query string.

    Raises:
        MalformedBody: it is not UTF-8.
    """
    try:
        return request.args
    except UnicodeDecodeError:
        raise MalformedBody from None


def peek(field: str) -> str | None:
    """Return a text field of the body, or None if there is no such thing. Raises nothing."""
    try:
        value = _object().get(field)
    except HTTPException:
        return None
    return value if isinstance(value, str) else None


def receive() -> bytes:
    """Return the request's body, which `request.form` then reads too.

    Raises:
        MalformedBody: it is framed wrongly.
        RequestEntityTooLarge: over 64 KiB.
    """
    if "received" not in g:
        try:
            g.received = _receive()
        except HTTPException as error:
            g.received = error
    if isinstance(g.received, HTTPException):
        raise g.received
    raw: bytes = g.received
    return raw


def _receive() -> bytes:
    try:
        raw = request.get_data()
    except HTTPException:
        raise
    except Exception as error:  # each WSGI server has its own for a body that is framed wrongly
        raise MalformedBody from error
    if len(raw) > MAX_BYTES:
        raise RequestEntityTooLarge
    return raw


def _declared() -> Taken:
    return cast(Taken, taken_by(current_app.view_functions[request.endpoint or ""]))


def _loaded(schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(schema.load(given))
    except ValidationError as error:
        raise MalformedBody(cast(dict[str, list[str]], error.messages)) from None


def _object() -> dict[str, Any]:
    if "body" not in g:
        try:
            g.body = _parse()
        except HTTPException as error:
            g.body = error
    if isinstance(g.body, HTTPException):
        raise g.body
    body: dict[str, Any] = g.body
    return body


def _parse() -> dict[str, Any]:
    raw = receive()
    if not request.is_json and (raw or request.content_type):
        raise UnsupportedMediaType
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedBody from None
    if not isinstance(value, dict):
        raise MalformedBody
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
