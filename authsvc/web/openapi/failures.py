"""The failures of an operation: which rows of its table it can meet, and what they answer."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, fields
from types import FunctionType
from typing import Any, cast

from flask import Response, current_app
from werkzeug.exceptions import MethodNotAllowed, NotFound, TooManyRequests

from authsvc.core.captchas import Captchas
from authsvc.core.errors import InvalidInput, InvalidToken
from authsvc.core.users import NewUser
from authsvc.web.body import MalformedBody, Taken
from authsvc.web.dialect import Dialect, Row
from authsvc.web.openapi.promises import Fact, raised_by

NO_OPERATION = (NotFound, MethodNotAllowed)
"""What a request meets that belongs to no operation."""

_PROBLEM = "application/problem+json"
_ABOUT_USERS = frozenset(field.name for field in fields(NewUser))
_SAMPLES: dict[Any, Any] = {int: 8, str: "common"}


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of a table, answered.

    Args:
        status, media_type: as they are sent.
        sentences: what it says.
        headers: those of the answer that go with its facts.
    """

    status: int
    media_type: str
    sentences: tuple[str, ...]
    headers: frozenset[str]


def met_by(dialect: Dialect, facts: Iterable[Fact], taken: Taken | None) -> set[Fact]:
    """Return the facts that an operation can meet, the members of a family among them.

    A fact about something of a user that the operation has no field for cannot arise, nor can
    one about a captcha where none is asked for.
    """
    promised = set(facts)
    schema = None if taken is None else taken.schema_in_force
    if taken is not None and schema is taken.without_captcha:
        promised -= set(raised_by(cast(FunctionType, Captchas.redeem)))
    members = {
        known
        for known in dialect.errors.rows
        if known.__mro__[1] in promised and known.__mro__[1] is not Exception
    }
    names = [] if schema is None else list(schema.fields)
    return {fact for fact in promised | members if _can_arise(fact, names)}


def failures_of(dialect: Dialect, operation: str | None, facts: Iterable[Fact]) -> list[Failure]:
    """Return the failures that facts come to, each row once, in the order of the table."""
    table = dialect.errors
    rows: dict[Row, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.__name__):
        rows.setdefault(table.row_of(fact, operation), []).append(fact)
    order = [*table.rows.values(), *table.by_operation.get(operation or "", {}).values()]
    return [_answered(dialect, row, rows[row]) for row in sorted(rows, key=order.index)]


def _can_arise(fact: Fact, names: list[str]) -> bool:
    if not issubclass(fact, InvalidInput) or fact.field not in _ABOUT_USERS:
        return True
    return any(name.endswith(fact.field) for name in names)


def _answered(dialect: Dialect, row: Row, facts: list[Fact]) -> Failure:
    samples = [sample for fact in facts for sample in samples_of(fact)]
    with current_app.test_request_context():
        answers = [current_app.make_response(dialect.failure(error, *row)) for error in samples]
    sentences = dict.fromkeys(_sentence(answer, row) for answer in answers)
    headers = frozenset(name for fact in facts for name in _headers(fact))
    media_type = answers[0].mimetype or ""
    return Failure(answers[0].status_code, media_type, tuple(sentences), headers)


def samples_of(fact: Fact) -> list[BaseException]:
    """Return errors of a class, made of whatever it is made of."""
    if issubclass(fact, MalformedBody):
        return [fact(), fact({"username": ["required"]})]
    made_of = [_SAMPLES[one] for one in _parameters(fact).values() if one in _SAMPLES]
    return [fact(*made_of)]


def _parameters(fact: Fact) -> dict[str, Any]:
    """Return what a class of errors is made of, each with its type; nothing by itself has none."""
    made_by = inspect.getattr_static(fact, "__init__")
    if not inspect.isfunction(made_by):
        return {}
    parameters = inspect.signature(made_by).parameters
    return {name: parameter.annotation for name, parameter in parameters.items()}


def _headers(fact: Fact) -> list[str]:
    if issubclass(fact, InvalidToken):
        return ["WWW-Authenticate"]
    if issubclass(fact, MethodNotAllowed):
        return ["Allow"]
    waits = issubclass(fact, TooManyRequests) or "retry_after" in _parameters(fact)
    return ["Retry-After"] if waits else []


def _sentence(response: Response, row: Row) -> str:
    if response.mimetype == _PROBLEM:
        problem = response.get_json()
        return f"{problem['detail']} (`{problem['code']}`)"
    first = next(item for item in row if isinstance(item, str))
    codes = [item for item in row[1:] if item is not first]
    return first + "".join(f" (`{code}`)" for code in codes)
