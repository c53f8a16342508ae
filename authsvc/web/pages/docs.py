"""`/docs`: the reference of each mounted dialect, by Swagger UI, whose files are a package's."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, make_response, render_template
from werkzeug.exceptions import NotFound

from authsvc.web.addresses import addresses
from authsvc.web.pages.serving import ASSETS, file, with_policy

VIEWER = "flask_swagger_ui"
VIEWER_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css"})

docs = Blueprint("docs", __name__, template_folder="assets")


def install(app: Flask) -> None:
    """Serve the reference."""
    app.register_blueprint(docs)


@docs.get("/docs")
def docs_index() -> Response:
    """List the mounted dialects."""
    demo = "demo" in current_app.blueprints
    return with_policy(make_response(render_template("docs.html", places=addresses(), demo=demo)))


@docs.get("/docs/<dialect>")
def docs_reference(dialect: str) -> Response:
    """Show one dialect's reference.

    Raises:
        NotFound: it is not mounted.
    """
    places = [place for place in addresses() if place.mount.dialect == dialect]
    if not places:
        raise NotFound
    elsewhere = all(place.url is None for place in places)
    page = render_template("reference.html", dialect=dialect, elsewhere=elsewhere)
    return with_policy(make_response(page))


@docs.get("/docs/files/<name>")
def docs_file(name: str) -> Response:
    """Send one of the pages' files, or of the viewer's."""
    return file(_viewer() if name in VIEWER_FILES else ASSETS / "docs", name)


@cache
def _viewer() -> Path:
    """Return the folder of the viewer's files; its Python is not run."""
    spec = find_spec(VIEWER)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name=VIEWER)
    return Path(spec.submodule_search_locations[0]) / "dist"
