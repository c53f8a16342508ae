"""Visits: browser profiles of their own, and what happens in them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page

from tests.support.service import ROOT

SCREENSHOTS = ROOT / "var" / "screenshots"
PATIENCE_MS = 30_000
"""How long a condition is waited for: machines are slow."""
STEP_MS = 20
LOCAL = ("127.0.0.1", "localhost", "")


@dataclass(eq=False)
class Visit:
    """A browser profile of its own, and what happened in it.

    Attributes:
        refused: the answers of 400 and more, of which Chromium writes lines too.
        unreached: the requests that were not answered.
        faults: whatever else it complains of.
        hosts: the hosts that were asked.
    """

    context: BrowserContext
    base: str
    refused: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def page(self, path: str = "/demo") -> Page:
        """Open another tab; wait until its script has done what it does at first."""
        tab = self.context.new_page()
        tab.on("pageerror", lambda error: self.faults.append(str(error)))
        tab.on("console", lambda message: self._hear(message))
        tab.goto(path)
        if path in ("/demo", "/docs"):
            tab.wait_for_selector("body[data-ready]")
        return tab

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Let the tabs go on until something holds."""
        deadline = monotonic() + PATIENCE_MS / 1000
        while not condition():
            assert monotonic() < deadline, "waited in vain"
            self.context.pages[0].wait_for_timeout(STEP_MS)

    def watch(self) -> None:
        """Take down every request."""
        self.context.on("request", self._note)

    def _note(self, request: Any) -> None:
        self.hosts.add(urlsplit(request.url).hostname or "")
        self.requests.append(f"{request.method} {urlsplit(request.url).path}")

    def _hear(self, message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        kinds = {
            "Failed to load resource: the server responded with": self.refused,
            "Failed to load resource: net::": self.unreached,
        }
        kind = next((kinds[said] for said in kinds if message.text.startswith(said)), self.faults)
        kind.append(f"{message.text} {message.location}")


Visiting = Callable[..., Visit]
