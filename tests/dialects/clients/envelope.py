"""A client of envelope.md: a Vue page whose axios turns whatever comes into one `ApiResponse`."""

from dataclasses import dataclass
from typing import Any

from tests.dialects.clients.browser import AXIOS, JSON_OF_AXIOS, Page

ApiResponse = dict[str, Any]


@dataclass
class EnvelopeClient:
    """Registers, then logs in: registration gives no token."""

    page: Page
    token: str | None = None

    def register(self, username: str, password: str) -> ApiResponse:
        return self._call("/register", {"username": username, "password": password})

    def log_in(self, username: str, password: str) -> ApiResponse:
        answer = self._call("/login", {"username": username, "password": password})
        if answer["success"]:
            self.token = answer["data"]["token"]
        return answer

    def _call(self, path: str, form: dict[str, str]) -> ApiResponse:
        """Return the body of any status, which axios gives as `error.response.data` if it threw."""
        reply = self.page.send("POST", f"/api{path}", form, AXIOS, JSON_OF_AXIOS)
        answer: ApiResponse = reply.json()
        assert answer["statusCode"] == reply.status
        assert answer["success"] is reply.ok
        return answer
