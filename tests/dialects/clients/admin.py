"""A client of admin.md: axios with a base URL, and a page on which an administrator makes users."""

from dataclasses import dataclass
from typing import Any

from tests.dialects.clients.browser import AXIOS, JSON_OF_AXIOS, Page, Reply


@dataclass
class AdminClient:
    """Logs in, registers, makes users; shows `message` whatever the status."""

    page: Page
    token: str | None = None
    user: dict[str, Any] | None = None
    said: str = ""

    def register(self, username: str, password: str, email: str) -> bool:
        form = {"username": username, "password": password, "email": email}
        return self._take(self._post("/register", form))

    def log_in(self, username: str, password: str) -> bool:
        return self._take(self._post("/login", {"username": username, "password": password}))

    def create_user(self, permission: int, **form: str) -> Reply:
        """Make a user, with the token of who is logged in."""
        headers = {"Authorization": self.authorization()} if self.token else {}
        return self._post("/createUser", {**form, "permission": permission}, headers)

    def authorization(self) -> str:
        return f"Bearer {self.token}"

    def _post(
        self, path: str, form: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Reply:
        sent = {**AXIOS, **(headers or {})}
        reply = self.page.send("POST", f"/api/auth{path}", form, sent, JSON_OF_AXIOS)
        self.said = reply.json()["message"]
        return reply

    def _take(self, reply: Reply) -> bool:
        if reply.ok:
            self.token, self.user = reply.json()["token"], reply.json()["user"]
        return reply.ok


class BareAdminClient(AdminClient):
    """Sends the token as it is, without `Bearer`."""

    def authorization(self) -> str:
        return self.token or ""
