"""An unmodified RuoYi-Vue3 frontend, as ruoyi.md tells what it calls: axios behind one proxy.

Its page and its service share an origin, so it never asks for leave. Every request carries the
token, once there is one, but those that say `isToken: false`; the outcome is `code`, whatever the
HTTP status should be, and another status than 200 is an answer that it cannot read.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.dialects.clients.browser import AXIOS, JSON_OF_AXIOS, Page

Solve = Callable[[str], str]
Answer = dict[str, Any]

WITHOUT_TOKEN = {"isToken": "false"}
NAME_LENGTHS, PASSWORD_LENGTHS = range(2, 21), range(5, 21)
PICTURES = re.compile(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL)


class Refused(Exception):
    """The frontend shows a message and goes no further: `code`, and what people see."""

    def __init__(self, code: int, shown: str) -> None:
        super().__init__(f"{code}: {shown}")
        self.code = code
        self.shown = shown


class Dead(Refused):
    """The session is dead: the frontend asks people to log in again."""


@dataclass
class RuoYi:
    """One tab with the frontend.

    Args:
        page: where it runs.
        solve: who reads the pictures, by `uuid`.
        prefix: what its build puts before every path, `/prod-api`, where no proxy takes it away.
    """

    page: Page
    solve: Solve
    prefix: str = ""
    token: str | None = None
    uuid: str | None = None
    captcha_enabled: bool = True
    user: dict[str, Any] = field(default_factory=dict)
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    notices: list[Any] = field(default_factory=list)

    # --- Pages ---

    def open_door(self) -> None:
        """Open the log-in page, or the one to register, or click on the picture."""
        answer = self._call("GET", "/captchaImage", headers=WITHOUT_TOKEN)
        self.captcha_enabled = answer.get("captchaEnabled", True)
        if self.captcha_enabled:
            self.uuid = answer["uuid"]
            assert PICTURES.match(base64.b64decode(answer["img"], validate=True))

    def log_in(self, username: str, password: str, code: str | None = None) -> None:
        """Send the form; then go home, or get a new picture."""
        form = {"username": username, "password": password, "code": self._typed(code)}
        headers = {**WITHOUT_TOKEN, "repeatSubmit": "false"}
        self.token = self._from_door("/login", {**form, "uuid": self.uuid}, headers)["token"]
        self.go_home()

    def register(self, username: str, password: str, code: str | None = None) -> str:
        """Send the form, whose rules the frontend checks itself; return what people see."""
        assert len(username) in NAME_LENGTHS, "the frontend does not send it"
        assert len(password) in PASSWORD_LENGTHS, "the frontend does not send it"
        form = {"username": username, "password": password, "confirmPassword": password}
        form["code"] = self._typed(code)
        answer = self._from_door("/register", {**form, "uuid": self.uuid}, WITHOUT_TOKEN)
        assert "token" not in answer
        return str(answer["msg"])

    def go_home(self) -> None:
        """Load what stands between the door and the home page, in the order of its router."""
        answer = self._call("GET", "/getInfo")
        self.user = answer["user"]
        assert {"userId", "userName", "nickName", "avatar"} <= self.user.keys()
        self.roles, self.permissions = answer["roles"], answer["permissions"]
        assert isinstance(self._call("GET", "/getRouters")["data"], list)
        answer = self._call("GET", "/system/notice/listTop")
        self.notices = answer["data"]
        assert answer["unreadCount"] == len(self.notices)

    def reload(self) -> None:
        """Reload the page: all is forgotten but the token, which lies in a cookie of its own."""
        self.user, self.roles, self.permissions = {}, [], []
        self.go_home()

    def unlock_screen(self, password: str) -> None:
        """Unlock the locked screen."""
        self._call("POST", "/unlockscreen", {"password": password})

    def log_out(self) -> str:
        """Log out; return what the service says."""
        answer = self._call("POST", "/logout")
        self.token, self.user, self.roles, self.permissions = None, {}, [], []
        return str(answer["msg"])

    # --- Its axios ---

    def _typed(self, code: str | None) -> str:
        if code is not None:
            return code
        return self.solve(self.uuid or "") if self.captcha_enabled else ""

    def _from_door(self, path: str, form: dict[str, Any], headers: dict[str, str]) -> Answer:
        try:
            return self._call("POST", path, form, headers)
        except Refused:
            if self.captcha_enabled:
                self.open_door()
            raise

    def _call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {**AXIOS, **(headers or {})}
        if self.token is not None and sent.get("isToken") != "false":
            sent["Authorization"] = f"Bearer {self.token}"
        reply = self.page.send(method, self.prefix + path, body, sent, JSON_OF_AXIOS)
        if reply.status != 200:
            raise Refused(reply.status, f"系统接口{reply.status}异常")
        answer: Answer = reply.json()
        code = answer.get("code", 200)
        if code == 401:
            raise Dead(code, answer["msg"])
        if code != 200:
            raise Refused(code, answer["msg"])
        return answer
