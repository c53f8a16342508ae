"""What the requests of this dialect have in common: a fault is named by a code."""

from typing import Any

from marshmallow import RAISE, Schema, fields
from marshmallow.validate import Length, OneOf

FAULTS: dict[str, Any] = {"required": "required", "null": "null", "invalid": "wrong_type"}


class StrictBody(Schema):
    """A JSON object of known fields; any other field is refused by its name."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "unknown_field", "type": "wrong_type"}


class Flag(fields.Boolean):
    """True or false, and nothing that resembles them."""

    default_error_messages = FAULTS

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


def text(
    most: int, *, required: bool = True, allow_none: bool = False, **options: Any
) -> fields.String:
    """Return a field of text that has 1 to `most` characters."""
    length = [Length(min=1, error="empty"), Length(max=most, error="too_long")]
    messages = {**FAULTS, "invalid_utf8": "malformed"}
    return fields.String(
        required=required,
        allow_none=allow_none,
        validate=length,
        error_messages=messages,
        **options,
    )


def choice(*values: str, default: str | None) -> fields.String:
    """Return a field that is one of a few words."""
    one = OneOf(values, error="not_a_choice")
    return fields.String(load_default=default, validate=one, error_messages=FAULTS)
