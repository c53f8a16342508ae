"""What a view can end in: what the functions that it calls promise, under `Raises:`, to raise."""

import dis
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_type_hints

from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, TooManyRequests

from authsvc.core import errors
from authsvc.core.errors import AuthError, Overloaded
from authsvc.web import dialect
from authsvc.web.dialect import UseCases

Fact = type[BaseException]

_RAISES = re.compile(r"^Raises:\n(?P<entries>(?:[ ]+.*(?:\n|\Z)|\n)+)", re.MULTILINE)
_NAME = re.compile(r"\b[A-Z]\w+")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
_OWN = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Promises:
    """What is known of a view without running it.

    Args:
        facts: what it can raise.
        calls: the functions that it calls, directly or through others.
    """

    facts: frozenset[Fact]
    calls: frozenset[Callable[..., Any]]


def promises_of(view: Callable[..., Any]) -> Promises:
    """Follow a view through the functions of its page, up to those that say what they raise.

    What counts and admits requests before the view does is marked on it, and counts too.
    """
    marks = {"limited": TooManyRequests, "hashes": Overloaded}
    facts: set[Fact] = {Exception, *(fact for mark, fact in marks.items() if hasattr(view, mark))}
    seen: set[Any] = set()
    todo: list[Any] = [inspect.unwrap(view)]
    while todo:
        found = todo.pop()
        if found in seen:
            continue
        seen.add(found)
        if isinstance(found, type):
            facts.add(found)
        elif promised := set(raised_by(found)):
            facts |= promised
        elif found.__module__.partition(".")[0] in (_OWN, view.__module__.partition(".")[0]):
            todo += _used(found.__code__, found.__globals__)
    return Promises(frozenset(facts), frozenset(seen))


def raised_by(function: FunctionType) -> Iterator[Fact]:
    """Yield the exceptions that a docstring names under `Raises:`."""
    section = _RAISES.search(inspect.getdoc(function) or "")
    for name in _NAME.findall(section["entries"]) if section else ():
        for place in (function.__globals__, vars(errors), vars(exceptions)):
            if _is_fact(place.get(name)):
                yield place[name]
                break


def _used(code: CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """Yield the functions and exceptions that code refers to by global names."""
    instructions = list(dis.get_instructions(code))
    for this, following in zip(instructions, [*instructions[1:], None], strict=True):
        if this.opname != "LOAD_GLOBAL":
            continue
        value = names.get(this.argval)
        if following is not None and following.opname in _ATTRIBUTE:
            value = _attribute(value, following.argval)
        if isinstance(value, FunctionType) or _is_fact(value):
            yield value
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _used(constant, names)


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, ModuleType):
        return getattr(value, name, None)
    for case, kind in get_type_hints(UseCases).items():
        if value is vars(dialect).get(case):
            return inspect.getattr_static(kind, name, None)
    return None


def _is_fact(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, AuthError | HTTPException)
