"""`/demo`: one page on which people sign up, log in, and see what goes over the wire."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app

from authsvc.web.addresses import addresses
from authsvc.web.pages.serving import ASSETS, file, with_policy

CLIENT = "authsvc.mjs"

_EXTENSION = "authsvc-demo"

demo = Blueprint("demo", __name__)


@dataclass(frozen=True, slots=True)
class Demo:
    """What the page must know of the service.

    Args:
        client: the reference client's file.
        sign_up_captcha: whether signing up asks for a captcha, where the document has one.
        password_min_length: in characters.
    """

    client: Path
    sign_up_captcha: bool
    password_min_length: int


def install(app: Flask, settings: Demo) -> None:
    """Serve the demo page."""
    app.extensions[_EXTENSION] = settings
    app.register_blueprint(demo)


@demo.get("/demo")
def demo_page() -> Response:
    """Show the page."""
    return with_policy(file(ASSETS, "demo.html"))


@demo.get("/demo/mounts.json")
def demo_mounts() -> dict[str, Any]:
    """Tell the page which dialects are mounted, and where; null where that is not known."""
    return {
        "mounts": [{"dialect": one.mount.dialect, "url": one.url} for one in addresses()],
        "signUpCaptcha": _demo().sign_up_captcha,
        "passwordMinLength": _demo().password_min_length,
        "docs": "docs" in current_app.blueprints,
    }


@demo.get("/demo/<name>")
def demo_file(name: str) -> Response:
    """Send one of the page's files."""
    folder = _demo().client.parent if name == CLIENT else ASSETS / "demo"
    return file(folder, name)


def _demo() -> Demo:
    return cast(Demo, current_app.extensions[_EXTENSION])
