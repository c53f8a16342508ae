"""A client of token.md: axios, the token in Authorization ever after."""

from dataclasses import dataclass
from typing import Any

from tests.dialects.clients.browser import AXIOS, JSON_OF_AXIOS, Page, Reply

OF_BASE = "/api"


@dataclass
class TokenClient:
    """Registers, logs in, and then sends what it was given with whatever it asks."""

    page: Page
    token: str | None = None
    user: dict[str, Any] | None = None
    reply: Reply | None = None

    def register(self, username: str, password: str, email: str) -> bool:
        form = {"username": username, "password": password, "email": email}
        return self._take(self.request("POST", f"{OF_BASE}/register", form))

    def log_in(self, username: str, password: str) -> bool:
        form = {"username": username, "password": password}
        return self._take(self.request("POST", f"{OF_BASE}/login", form))

    def request(self, method: str, path: str, body: Any = None) -> Reply:
        """Send as its axios instance does: with the token, once there is one."""
        headers = dict(AXIOS)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        self.reply = self.page.send(method, path, body, headers, JSON_OF_AXIOS)
        return self.reply

    def _take(self, reply: Reply) -> bool:
        if not reply.ok:
            return False
        answer = reply.json()
        self.token = answer.pop("token")
        self.user = answer
        return True
