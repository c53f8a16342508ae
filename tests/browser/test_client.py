"""The reference client: small, typed, and the very file that the demo uses."""

import subprocess
from pathlib import Path

from tests.support.client import Client
from tests.support.service import ROOT, Service

FILE = ROOT / "clients" / "js" / "authsvc.mjs"
MAX_BYTES = 5000
CHECK = "--allowJs --checkJs --noEmit --strict --target es2022 --module esnext --lib es2022,dom"


def test_the_client_is_smaller_than_five_kilobytes_and_needs_nothing() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert "import" not in text


def test_the_types_of_the_client_hold(node_clients: Path) -> None:
    compiler = node_clients / "node_modules" / ".bin" / "tsc"
    check = subprocess.run(
        [compiler, *CHECK.split(), FILE], capture_output=True, text=True, timeout=60
    )
    assert check.returncode == 0, check.stdout


def test_the_demo_is_given_the_client_itself(service: Service) -> None:
    answer = Client(service.first).get("/demo/authsvc.mjs")
    assert answer.body == FILE.read_bytes()
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    known = {"If-None-Match": answer.headers["ETag"]}
    assert Client(service.first).get("/demo/authsvc.mjs", headers=known).status == 304
