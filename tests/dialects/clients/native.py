"""A client of /v1, as clients/js/authsvc.mjs: fetch, a refresh token, one renewal after a 401."""

from dataclasses import dataclass, field
from typing import Any

from tests.dialects.clients.browser import Page, Reply
from tests.dialects.clients.session import Solve


@dataclass
class NativeClient:
    """Signs up with a captcha, logs in, renews its tokens, asks who it is, logs out."""

    page: Page
    solve: Solve
    tokens: dict[str, Any] = field(default_factory=dict)

    def sign_up(self, username: str, password: str, email: str | None = None) -> Reply:
        captcha_id: str = self._send("GET", "/captcha").json()["captchaId"]
        assert self.page.show(f"/v1/captcha/{captcha_id}").status == 200
        form = {"username": username, "password": password, "captchaId": captcha_id}
        form["value"] = self.solve(captcha_id)
        return self._keep(self._send("POST", "/signup", form | ({"email": email} if email else {})))

    def log_in(self, username: str, password: str) -> Reply:
        return self._keep(
            self._send("POST", "/login", {"username": username, "password": password})
        )

    def refresh(self) -> Reply:
        body = {"refreshToken": self.tokens["refreshToken"]}
        return self._keep(self._send("POST", "/token/refresh", body))

    def who_am_i(self) -> Reply:
        """Ask; after a 401 renew the tokens and ask again, once."""
        reply = self._send("GET", "/me", token=self.tokens["accessToken"])
        if reply.status != 401 or not self.refresh().ok:
            return reply
        return self._send("GET", "/me", token=self.tokens["accessToken"])

    def log_out(self) -> Reply:
        return self._send("POST", "/logout", {"scope": "local"}, self.tokens["accessToken"])

    def _send(self, method: str, path: str, body: Any = None, token: str = "") -> Reply:
        headers = {"Accept": "*/*", "Accept-Language": "en"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.page.send(method, f"/v1{path}", body, headers)

    def _keep(self, reply: Reply) -> Reply:
        if reply.ok:
            self.tokens = {**self.tokens, **reply.json()}
        return reply
