"""`/openapi…`: the documents of the mounted dialects, for programs and for pages that show them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import NotFound

from authsvc.web.dialect import Dialect
from authsvc.web.mounts import Mount, MountedFlask

reference = Blueprint("openapi", __name__)

_EXTENSION = "authsvc-openapi"
_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_ANY_HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Reference:
    """A mounted dialect's document, and where it is.

    Args:
        dialect: its dialect's name.
        title: what it is called.
        language: the one that it is written in.
        path: where it is served.
        servers: where its operations are: of the service itself, or on another port.
    """

    dialect: str
    title: str
    language: str
    path: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Documents:
    dialects: Mapping[str, Dialect]
    examples: Path
    made: dict[str, str] = field(default_factory=dict)

    def text(self, dialect: Dialect) -> str:
        """Return a document without its servers; made when it is asked for first."""
        if dialect.name not in self.made:
            # Few ask for a document: until one does, no worker holds what makes it.
            from authsvc.web.openapi.document import document_of

            document = document_of(dialect, self.examples)
            self.made[dialect.name] = json.dumps(document, ensure_ascii=False)
        return self.made[dialect.name]


def install(app: Flask, dialects: Mapping[str, Dialect], examples: Path) -> None:
    """Serve `/openapi` and `/openapi/<dialect>.json`.

    Args:
        app: its dialects are mounted already, or will be.
        dialects: those that there are.
        examples: the folder of their examples.
    """
    app.extensions[_EXTENSION] = _Documents(dialects, examples)
    app.register_blueprint(reference)


def references() -> list[Reference]:
    """Return what is mounted in the application that is answering, in the operator's order."""
    names = dict.fromkeys(mount.dialect for mount in _mounts())
    return [_reference(_documents().dialects[name]) for name in names]


@reference.get("/openapi")
def list_documents() -> Response:
    """List the documents."""
    documents = [
        {
            "dialect": one.dialect,
            "title": one.title,
            "language": one.language,
            "url": f"{request.script_root}{one.path}",
            "servers": one.servers,
        }
        for one in references()
    ]
    return _kept(json.dumps({"documents": documents}, ensure_ascii=False))


@reference.get("/openapi/<name>.json")
def show_document(name: str) -> Response:
    """Show the document of a mounted dialect."""
    if name not in {mount.dialect for mount in _mounts()}:
        raise NotFound
    dialect = _documents().dialects[name]
    servers = json.dumps([{"url": url} for url in _reference(dialect).servers])
    return _kept(f'{{"servers": {servers}, {_documents().text(dialect)[1:]}')


def _kept(text: str) -> Response:
    """Return JSON that may be kept, and is asked for again before it is used."""
    response = Response(text, mimetype="application/json")
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _reference(dialect: Dialect) -> Reference:
    servers = tuple(_server(mount) for mount in _mounts() if mount.dialect == dialect.name)
    path = f"/openapi/{dialect.name}.json"
    return Reference(dialect.name, dialect.title, dialect.language, path, servers)


def _server(mount: Mount) -> str:
    """Return the address of a mount, on the host that the client has named."""
    path = f"{request.script_root}{mount.prefix}"
    if mount.port is None:
        return path or "/"
    named = _HOST.fullmatch(request.host)
    host = named["name"] if named else _ANY_HOST
    return f"{request.scheme}://{host}:{mount.port}{path}"


def _mounts() -> tuple[Mount, ...]:
    return cast(MountedFlask, current_app).mount_table.mounts


def _documents() -> _Documents:
    return cast(_Documents, current_app.extensions[_EXTENSION])
