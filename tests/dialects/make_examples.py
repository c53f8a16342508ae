"""Make the examples of the OpenAPI documents from the golden answers, one for each outcome.

python -m tests.dialects.make_examples
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from authsvc import dialects
from authsvc.web.dialect import Dialect
from authsvc.web.mounts import MountTable, parse
from authsvc.web.openapi.document import WITHOUT_CAPTCHA, operations_of
from tests.dialects.situations import FORMS, GOLDEN, MOUNTS, Situation

TABLE = "session=/, token=/api, admin=/api/auth, native=/v1, envelope=:3000/api"
JSON = ("application/json", "application/problem+json")

_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
_ID = "s0-6B1tZyO2voxz28fhuJA"
_PUZZLE = "pow.0OvD7QbCuOqNFEgBb6IVpw"
SAMPLES: dict[str, Any] = {
    "<int>": 1,
    "<jwt>": _JWT,
    "<digits>": "1",
    "<captcha id>": _ID,
    "<session id>": "IuUckRrnMyl0-PVBrk2biQ",
    "<refresh token>": "2.IuUckRrnMyl0-PVBrk2biQ.0.HlMMQ_j2hEfXhTg4vY7bJw",
    "<time>": "2026-11-21T06:17:15Z",
    "<address>": "127.0.0.1",
    "<request id>": "e07405790b4a3bac",
    "<cursor>": "Mg",
    "<secret>": "XE2RPHU6E2A4PS6K6FD2D6WUZKAODRVG",
    "<uri>": "otpauth://totp/authsvc:alice?secret=XE2RPHU6E2A4PS6K6FD2D6WUZKAODRVG&issuer=authsvc",
    "<recovery code>": "4kdrw-580se",
    "<png in base64>": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR4nGNgAAAAAgABSK+kcQ"
    "AAAABJRU5ErkJggg==",
    "<puzzle id>": _PUZZLE,
    "<digest>": "b20e756adc78233b96ea6a8ed8a1c1a1f3f2b7a35f7d5a2f9e6c4f1b0d3e2a17",
    "<salt>": f"48e50b3ea663624662ba637a?expires=1795242135&id={_PUZZLE}&purpose=signup&",
    "{mailed}": "UD_3DkSajq1aYKtEj50G5GeJIwTEpAy3m2e0CnazAAY",
    "{captcha}": _ID,
    "{answer}": "A3K9M",
    "{token}": _JWT,
    "{refresh}": "2.IuUckRrnMyl0-PVBrk2biQ.0.HlMMQ_j2hEfXhTg4vY7bJw",
    "{code}": "921278",
    "{recovery}": "4kdrw-580se",
}
"""What stands in an example for a form, or for what is given."""


def shown(value: Any) -> Any:
    """Returns a golden value with samples in the place of forms."""
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return SAMPLES.get(value, value) if isinstance(value, str) else value


def examples_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Returns the examples of a document, by operation."""
    chosen: dict[tuple[str, int, str], dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json"), key=_plainness):
        situation = Situation.read(file)
        content_type = situation.answer["headers"].get("Content-Type")
        if content_type in JSON and isinstance(situation.answer["body"], dict):
            place, said = place_of(situation), json.dumps(situation.answer["body"])
            example = _example(file, situation, content_type)
            chosen.setdefault((place, situation.answer["status"], said), example)
    examples: dict[str, list[dict[str, Any]]] = {}
    for (place, _, _), example in sorted(chosen.items(), key=lambda item: item[0][:2]):
        examples.setdefault(place, []).append(example)
    return examples


def place_of(situation: Situation) -> str:
    """Returns the operation that a situation is about, as `POST /login`; empty if about none."""
    request = situation.request
    path = request["path"].partition("?")[0]
    table = MountTable(parse(MOUNTS.get(situation.dialect, TABLE)), [8080, 3000])
    mount = table.owner(request["port"], path)
    name = _dialect_of(situation).name
    if mount is None or mount.dialect != name:
        return ""
    asked = path.removeprefix(mount.prefix)
    return next(
        (
            f"{method} {template}"
            for method, template, _, _ in _by_literalness(name)
            if method == request["method"] and _matches(template, asked)
        ),
        "",
    )


def files() -> Iterator[tuple[Path, str]]:
    """Yields every file of examples, and its text."""
    for folder in sorted(GOLDEN.iterdir()):
        lines = [
            f"{json.dumps(place)}: [\n"
            + ",\n".join(json.dumps(one, ensure_ascii=False) for one in examples)
            + "\n]"
            for place, examples in examples_of(folder).items()
        ]
        yield dialects.EXAMPLES / f"{folder.name}.json", "{\n" + ",\n".join(lines) + "\n}\n"


def _example(file: Path, situation: Situation, content_type: str) -> dict[str, Any]:
    example = {
        "name": file.stem,
        "status": situation.answer["status"],
        "type": content_type,
        "answer": shown(situation.answer["body"]),
    }
    if _dialect_of(situation).language == "en":
        example["summary"] = json.loads(file.read_text(encoding="utf-8"))["situation"]
    if isinstance(situation.request.get("body"), dict) and not _is_refused(situation):
        example["request"] = shown(situation.request["body"])
    return example


def _is_refused(situation: Situation) -> bool:
    """Tells whether a failure is answered with a success of HTTP."""
    status, body = situation.answer["status"], situation.answer["body"]
    return bool(status < 400 and body.get("code", 200) != 200)


def _dialect_of(situation: Situation) -> Dialect:
    dialect: Dialect = dialects.REGISTRY[situation.dialect.removesuffix(WITHOUT_CAPTCHA)]
    return dialect


def _plainness(file: Path) -> tuple[bool, int, str]:
    """Put what the document shows first, then what is told in few words."""
    documented = json.loads(file.read_text(encoding="utf-8"))["documented"]
    return not documented, len(file.stem), file.stem


def _by_literalness(name: str) -> list[tuple[str, str, str, Any]]:
    found = operations_of(dialects.REGISTRY[name])
    return sorted(found, key=lambda operation: operation[1].count("{"))


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{.*?\}", "[^/]+", template), path) is not None


def main() -> None:
    """Write the files."""
    dialects.EXAMPLES.mkdir(exist_ok=True)
    for file, text in files():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    missing = FORMS.keys() - SAMPLES.keys()
    if missing:
        raise SystemExit(f"there is no sample of {missing}")
    main()
