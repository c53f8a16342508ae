"""`/openapi…`: the documents of the mounted dialects, for programs and for pages that show them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import NotFound

from authsvc.web.addresses import Address, addresses
from authsvc.web.dialect import Dialect
from authsvc.web.mounts import Mount, MountedFlask
from authsvc.web.openapi.words import WORDS

reference = Blueprint("openapi", __name__)

_EXTENSION = "authsvc-openapi"


@dataclass(frozen=True, slots=True)
class Reference:
    """A mounted dialect's document, and where it is.

    Args:
        dialect: its dialect's name.
        title: what it is called.
        language: the one that it is written in.
        path: where it is served.
        servers: where its operations are, as far as that is known here: below the origin that was
            asked, or below another.
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
    servers = json.dumps(
        [_server(place, dialect) for place in _addresses(dialect)], ensure_ascii=False
    )
    return _kept(f'{{"servers": {servers}, {_documents().text(dialect)[1:]}')


def _kept(text: str) -> Response:
    """Return JSON that may be kept, and is asked for again before it is used."""
    response = Response(text, mimetype="application/json")
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _reference(dialect: Dialect) -> Reference:
    servers = tuple(place.url for place in _addresses(dialect) if place.url is not None)
    path = f"/openapi/{dialect.name}.json"
    return Reference(dialect.name, dialect.title, dialect.language, path, servers)


def _addresses(dialect: Dialect) -> list[Address]:
    return [place for place in addresses() if place.mount.dialect == dialect.name]


def _server(place: Address, dialect: Dialect) -> dict[str, Any]:
    """Return a server of OpenAPI; where its origin is not known, whoever reads it fills it in."""
    if place.url is not None:
        return {"url": place.url}
    told = WORDS[dialect.language]["origin"].format(port=place.port)
    origin = {"default": f"http://localhost:{place.port}", "description": told}
    return {"url": f"{{origin}}{place.path}", "variables": {"origin": origin}}


def _mounts() -> tuple[Mount, ...]:
    return cast(MountedFlask, current_app).mount_table.mounts


def _documents() -> _Documents:
    return cast(_Documents, current_app.extensions[_EXTENSION])
