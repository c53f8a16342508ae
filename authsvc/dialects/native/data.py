"""The application's data, as they come in: any JSON, loaded as its text."""

import json
from typing import Any

from marshmallow import fields, missing

from authsvc.core.errors import InvalidData

MAX_DEPTH = 64
"""Objects and arrays within one another, so that whoever reads the data can."""


class Json(fields.Raw):
    """Any JSON value, null included, as text; `InvalidData` if it cannot be written again."""

    def deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return value if value is missing else _text(value)


def _text(value: object) -> str:
    if _depth(value) > MAX_DEPTH:
        raise InvalidData
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a number that was read as infinite, as 1e999
        raise InvalidData from None


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [part for whole in level for part in _parts(whole)]:
        depth += 1
    return depth


def _parts(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
