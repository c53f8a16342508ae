"""Every operation of every dialect, and the schemas that it reads: found by walking, not listed."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from marshmallow import Schema

from authsvc import dialects
from authsvc.web.body import taken_by
from authsvc.web.dialect import Dialect
from authsvc.web.mounts import MountedFlask, MountTable, mount_dialects, parse

IMPLIED = {"HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Operation:
    """One method of one rule.

    Args:
        dialect: who speaks.
        view: the view's own name, by which its table of errors knows it.
        method, path: how it is asked; the path with its variables.
        variables: their names.
        schemas: what it may read its body or its query with.
    """

    dialect: Dialect
    view: str
    method: str
    path: str
    variables: tuple[str, ...]
    schemas: tuple[Schema, ...]

    def __str__(self) -> str:
        return f"{self.dialect.name}-{self.method}-{self.path}"


def operations_of(mounts: str) -> list[Operation]:
    """Returns what the dialects of a table of portless mounts answer."""
    app = MountedFlask("operations", static_folder=None)
    table = MountTable(parse(mounts), [None])
    mount_dialects(app, table, dialects.REGISTRY)
    found = []
    for rule in app.url_map.iter_rules():
        mount = table.owner(None, rule.rule)
        if mount is not None:
            view = app.view_functions[rule.endpoint]
            found += [
                Operation(
                    dialects.REGISTRY[mount.dialect],
                    rule.endpoint.rpartition(".")[2],
                    method,
                    rule.rule,
                    tuple(sorted(rule.arguments)),
                    schemas_of(view),
                )
                for method in sorted(set(rule.methods or ()) - IMPLIED)
            ]
    return sorted(found, key=str)


def schemas_of(view: Callable[..., Any]) -> tuple[Schema, ...]:
    """Returns the schemas that a view declares."""
    taken = taken_by(view)
    return () if taken is None else taken.schemas


def pages() -> Iterator[ModuleType]:
    """Yields every module of the dialects."""
    for found in pkgutil.walk_packages(dialects.__path__, f"{dialects.__name__}."):
        yield importlib.import_module(found.name)


@cache
def every_schema() -> tuple[Schema, ...]:
    """Returns the schemas that the dialects' modules made."""
    found = {
        id(value): value
        for page in pages()
        for value in vars(page).values()
        if isinstance(value, Schema)
    }
    return tuple(found.values())
