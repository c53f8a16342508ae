"""`/demo`: one page on which people sign up, log in, and see what goes over the wire."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app

from authsvc.web.pages.serving import ASSETS, file, mounts, with_policy

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
    return with_policy(file(ASSETS / "demo.html"))


@demo.get("/demo/mounts.json")
def demo_mounts() -> dict[str, Any]:
    """Tell the page which dialects it can speak, and where."""
    known = asdict(_demo())
    return {
        "mounts": [
            {"dialect": mount.dialect, "prefix": mount.prefix, "port": port}
            for mount, port in mounts()
        ],
        "signUpCaptcha": known["sign_up_captcha"],
        "passwordMinLength": known["password_min_length"],
    }


@demo.get("/demo/<name>")
def demo_file(name: str) -> Response:
    """Send one of the page's files."""
    return file(_demo().client if name == CLIENT else ASSETS / "demo" / name)


def _demo() -> Demo:
    return cast(Demo, current_app.extensions[_EXTENSION])
