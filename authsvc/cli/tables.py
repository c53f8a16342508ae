"""Tables that a person can read, and JSON for scripts."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tabulate import tabulate

_WIDE = frozenset("WF")
_MARKS = frozenset({"Mn", "Me"})


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]], widest: int = 40) -> None:
    """Print a table; what is wider than `widest` columns of the terminal ends in an ellipsis."""
    cells = [[clip(str(cell), widest) for cell in row] for row in rows]
    click.echo(tabulate(cells, headers=headers, disable_numparse=True))


def show_json(value: Any) -> None:
    """Print a value as one line of ASCII, which no terminal can take for a command."""
    click.echo(json.dumps(value))


def clip(text: str, columns: int) -> str:
    """Return as much of a text as there is room for."""
    used = 0
    for position, character in enumerate(text):
        used += _width(character)
        if used > columns:
            return _fitting(text[:position], columns - 1) + "…"
    return text


def local_time(seconds: int) -> str:
    """Return a moment as people write it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _fitting(text: str, columns: int) -> str:
    while sum(map(_width, text)) > columns:
        text = text[:-1]
    return text


def _width(character: str) -> int:
    if unicodedata.category(character) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
