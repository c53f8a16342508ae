"""Clients of session.md and of its edition without a captcha: a page of the time of jQuery's end.

They call `fetch`, read `session_token` or `error`, and show the latter to people.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.dialects.clients.browser import FETCH, Page, Reply

Solve = Callable[[str], str]
"""What a person reads in the picture of a captcha, by its id."""


class Unreadable(Exception):
    """The client shows its own sentence, for want of an answer that it understands."""


@dataclass
class SessionClient:
    """Opens the form, shows the picture, signs up, logs in; keeps the token.

    Args:
        page: where it runs.
        solve: who reads the pictures; None for the edition without captcha.
    """

    page: Page
    solve: Solve | None = None
    token: str | None = None
    said: str = ""
    replies: list[Reply] = field(default_factory=list)

    def sign_up(self, username: str, password: str, email: str) -> bool:
        """Fill in the form and send it; tell whether it went well."""
        form = {"username": username, "password": password, "email": email}
        if self.solve is not None:
            captcha_id = self.new_captcha()
            form |= {"captchaId": captcha_id, "value": self.typed(self.solve(captcha_id))}
        return self.understand(self.post("/signup", form))

    def log_in(self, username: str, password: str) -> bool:
        """Send name and password; tell whether it went well."""
        return self.understand(self.post("/login", {"username": username, "password": password}))

    def new_captcha(self) -> str:
        """Ask for an id, and load its picture."""
        captcha_id: str = self.page.send("GET", "/captcha", headers=FETCH).json()["captchaId"]
        picture = self.page.show(f"/captcha/{captcha_id}")
        assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
        assert picture.body.startswith(b"\x89PNG")
        return captcha_id

    def typed(self, answer: str) -> str:
        """Take what the person types."""
        return answer

    def post(self, path: str, form: dict[str, str]) -> Reply:
        self.replies.append(self.page.send("POST", path, form, FETCH))
        return self.replies[-1]

    def understand(self, reply: Reply) -> bool:
        """Keep the token, or the sentence."""
        body = reply.json()
        if not reply.ok:
            self.said = body["error"]
            return False
        return self.keep(body)

    def keep(self, body: dict[str, Any]) -> bool:
        self.said, self.token = body["message"], body["session_token"]
        return True


class BodyReader(SessionClient):
    """Reads the body alone: to it, another status than 200 is a network that failed."""

    def understand(self, reply: Reply) -> bool:
        if reply.status != 200:
            raise Unreadable(f"network error {reply.status}")
        body = reply.json()
        if "error" in body:
            self.said = body["error"]
            return False
        return self.keep(body)


class DigitsOnly(SessionClient):
    """Its field for the captcha takes digits alone, and the form is not sent without."""

    def typed(self, answer: str) -> str:
        if not re.fullmatch("[0-9]{4,8}", answer):
            raise Unreadable(f"{answer} is not a number")
        return answer
