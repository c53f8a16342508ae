"""What views answer, as their return annotations declare it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from flask import Response

Png = Annotated[Response, "image/png"]
Wav = Annotated[Response, "audio/wav"]
Nothing = Annotated[Response, 204]
NoContent = tuple[Literal[""], Literal[204]]

_NAMES: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
}
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Declared:
    """An answer that a view may give.

    Args:
        status: its status; None where the annotation leaves it open.
        media_type: its type; None where there is no body.
        schema: the JSON Schema of its body; None for what is not JSON.
    """

    status: int | None
    media_type: str | None
    schema: dict[str, Any] | None


def answers_of(view: Callable[..., Any]) -> list[Declared]:
    """Return what a view's return annotation says that it answers.

    A TypedDict stands for a JSON object, `tuple[…, Literal[201]]` for another status than 200,
    `Annotated[Response, …]` for a response of that body, media type or status, and a union for
    any of them.
    """
    return list(_answers(get_type_hints(view, include_extras=True)["return"]))


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type.

    Raises:
        TypeError: there is none.
    """
    origin, of = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if is_typeddict(kind):
        return _object(kind)
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if origin is Literal:
        return {"enum": list(of)}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(choice) for choice in of]}
    if origin is list:
        return {"type": "array", "items": schema_of(of[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(of[1])}
    raise TypeError(f"{kind!r} says nothing about JSON")


def _object(kind: Any) -> dict[str, Any]:
    fields = get_type_hints(kind, include_extras=True)
    properties = {name: schema_of(_without_qualifier(field)) for name, field in fields.items()}
    required = [name for name in fields if name in kind.__required_keys__]
    described = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**described, "required": required} if required else described


def _without_qualifier(field: Any) -> Any:
    return get_args(field)[0] if get_origin(field) in (NotRequired, Required) else field


def _answers(kind: Any, status: int | None = 200) -> Iterator[Declared]:
    origin, of = get_origin(kind), get_args(kind)
    if kind == NoContent:
        yield Declared(204, None, None)
    elif origin is tuple:
        yield from _answers(of[0], _status(of[1]))
    elif origin in (Union, UnionType):
        for choice in of:
            yield from _answers(choice, status)
    elif origin is Annotated:
        yield _response(kind.__metadata__[0], status)
    else:
        yield Declared(status, _JSON, schema_of(kind))


def _status(kind: Any) -> int | None:
    return get_args(kind)[0] if get_origin(kind) is Literal else None


def _response(body: Any, status: int | None) -> Declared:
    if isinstance(body, int):
        return Declared(body, None, None)
    if isinstance(body, str):
        return Declared(status, body, None)
    return Declared(status, _JSON, schema_of(body))
