"""The lines of a file of users: each a JSON object, as `flask users export` writes them."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from authsvc.core.newcomers import Newcomer
from authsvc.core.users import User

LONGEST_LINE = 64 * 1024

_TEXT, _FLAG, _NUMBER = (str,), (bool,), (int,)
_KINDS: dict[str, tuple[type, ...]] = {
    "username": _TEXT,
    "password": _TEXT,
    "passwordHash": _TEXT,
    "email": (str, type(None)),
    "emailVerified": _FLAG,
    "permission": _NUMBER,
    "disabled": _FLAG,
}
_NAMES = {"passwordHash": "password_hash", "emailVerified": "email_verified"}
_WORDS = {str: "text", bool: "true or false", int: "an integer", type(None): "null"}
_GREATEST_PERMISSION = 2**31 - 1


class MalformedLine(Exception):
    """A line is not a user, for the reason that is its text."""


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line; of one that is too long, only enough to show that it is."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 1) or b"\n"


def read_line(line: bytes) -> Newcomer:
    """Return the user whom a line describes.

    Raises:
        MalformedLine: it describes none.
    """
    given = _object(line)
    for name, value in given.items():
        if name != "data":
            _check(name, value)
    if "username" not in given:
        raise MalformedLine("username is missing.")
    if ("password" in given) == ("passwordHash" in given):
        raise MalformedLine("give either password or passwordHash.")
    if "data" in given:
        given["data"] = _text(given["data"])
    return Newcomer(**{_NAMES.get(name, name): value for name, value in given.items()})


def write_line(user: User, *, with_hash: bool) -> bytes:
    """Return the line that describes a user."""
    described = {
        "username": user.username,
        "email": user.email,
        "emailVerified": user.email_verified,
        "permission": user.permission,
        "data": json.loads(user.data),
        "disabled": user.disabled,
    }
    if with_hash:
        described["passwordHash"] = user.password_hash
    return json.dumps(described).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise MalformedLine("the line is longer than 64 KiB.")
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedLine("the line is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise MalformedLine("the line is not a JSON object.")
    return value


def _check(name: str, value: object) -> None:
    if name not in _KINDS:
        raise MalformedLine(f"there is no field {json.dumps(name[:64])}.")
    if type(value) not in _KINDS[name]:
        words = " or ".join(_WORDS[kind] for kind in _KINDS[name])
        raise MalformedLine(f"{name} is not {words}.")
    if name == "permission" and value not in range(_GREATEST_PERMISSION + 1):
        raise MalformedLine(f"permission is not from 0 to {_GREATEST_PERMISSION}.")


def _text(data: object) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a number that was read as infinite, as 1e999
        raise MalformedLine("data holds a number that is too large.") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
