"""A browser without a window: what a page's fetch or axios sends, and what it is let read.

It keeps its connection, sends the headers that Chromium sends and in its order, asks for leave
before a request to another origin that is not a simple one, remembers the leave for as long as it
was given, and hands a page nothing that the answer does not let it read (Fetch, 2024, section 3).
"""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

FETCH = {"Accept": "*/*"}
AXIOS = {"Accept": "application/json, text/plain, */*"}
IMAGE = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}
JSON = "application/json"
JSON_OF_AXIOS = "application/json;charset=utf-8"

AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36"
)
_SIMPLE_METHODS = ("GET", "HEAD", "POST")
_SIMPLE_HEADERS = ("accept", "accept-language", "content-language")
_READABLE = ("cache-control", "content-language", "content-length", "content-type", "expires")


class Blocked(AssertionError):
    """The browser keeps an answer from the page, or does not send the request at all."""


@dataclass(frozen=True)
class Reply:
    """What a page is let see of an answer: `headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether fetch calls it so, and axios does not throw."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Page:
    """A page of an origin, and what it has sent.

    Args:
        base: the service, or the proxy before it.
        origin: where the page itself comes from; the same as `base` if behind one proxy.
        source: the address that its browser has.
        language: what its browser asks for.
    """

    base: str
    origin: str
    source: str = "127.0.0.2"
    language: str = "zh-CN,zh;q=0.9,en;q=0.8"
    sent: list[str] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._leave: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close its connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Reply:
        """Send what a script sends; its body, if any, as JSON.stringify writes it.

        Raises:
            Blocked: no leave for it was given, or the answer may not be read.
        """
        written = {name: value for name, value in (headers or {}).items() if value}
        raw = None
        if body is not None:
            raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            written["Content-Type"] = content_type
        if self._is_foreign and not self._is_simple(method, written):
            self._ask_leave(method, path, written)
        foreign = self._is_foreign or method not in ("GET", "HEAD")
        reply = self._exchange(
            method, path, raw, written, {"Origin": self.origin} if foreign else {}
        )
        return self._let_read(reply) if self._is_foreign else reply

    def show(self, path: str) -> Reply:
        """Load a picture as `<img>` does: without an origin, and without leave to read it."""
        reply = self._exchange("GET", path, None, IMAGE, {}, "no-cors", "image")
        policy = reply.headers.get("cross-origin-resource-policy")
        if self._is_foreign and policy != "cross-origin":
            raise Blocked(f"{path} is for pages of its own origin: {policy}")
        return reply

    @property
    def _is_foreign(self) -> bool:
        return self.base != self.origin

    def _is_simple(self, method: str, headers: Mapping[str, str]) -> bool:
        return method in _SIMPLE_METHODS and not _unsafe(headers)

    def _ask_leave(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        needed = _unsafe(headers)
        until, allowed = self._leave.get((method, path), (0.0, frozenset()))
        if time.monotonic() < until and allowed >= set(needed):
            return
        asked = {"Access-Control-Request-Method": method}
        if needed:
            asked["Access-Control-Request-Headers"] = ",".join(needed)
        asks = {"Accept": "*/*", **asked}
        reply = self._exchange("OPTIONS", path, None, asks, {"Origin": self.origin})
        self._check_origin(reply)
        methods = _listed(reply, "access-control-allow-methods")
        allowed = frozenset(name.lower() for name in _listed(reply, "access-control-allow-headers"))
        if not reply.ok or (method not in methods and method not in _SIMPLE_METHODS):
            raise Blocked(f"{method} {path} was given no leave: {reply.status} {methods}")
        if not allowed >= set(needed):
            raise Blocked(f"{method} {path} may not carry {set(needed) - allowed}")
        age = int(reply.headers.get("access-control-max-age", "5"))
        self._leave[method, path] = (time.monotonic() + age, allowed)

    def _let_read(self, reply: Reply) -> Reply:
        self._check_origin(reply)
        exposed = {name.lower() for name in _listed(reply, "access-control-expose-headers")}
        known = {
            name: value for name, value in reply.headers.items() if name in {*_READABLE, *exposed}
        }
        return Reply(reply.status, known, reply.body)

    def _check_origin(self, reply: Reply) -> None:
        allowed = reply.headers.get("access-control-allow-origin")
        if allowed not in ("*", self.origin):
            raise Blocked(f"an answer {reply.status} is for {allowed}, not for {self.origin}")

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        origin: Mapping[str, str],
        mode: str = "cors",
        wanted: str = "empty",
    ) -> Reply:
        address = urlsplit(self.base)
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=15, source_address=(self.source, 0)
            )
            self.connections += 1
        length = (
            {} if body is None and method != "POST" else {"Content-Length": str(len(body or b""))}
        )
        every = {
            "Host": address.netloc,
            "Connection": "keep-alive",
            **length,
            "User-Agent": AGENT,
            **headers,
            **origin,
            "Sec-Fetch-Site": "cross-site" if self._is_foreign else "same-origin",
            "Sec-Fetch-Mode": mode,
            "Sec-Fetch-Dest": wanted,
            "Referer": f"{self.origin}/",
            "Accept-Encoding": "gzip, deflate, br, zstd",
            "Accept-Language": headers.get("Accept-Language", self.language),
        }
        self._connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in every.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        reply = Reply(
            answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        )
        if answer.will_close:
            self.close()
        self.sent.append(f"{method} {path}")
        assert not 300 <= reply.status < 400, f"{method} {path} is redirected"
        return reply


def _unsafe(headers: Mapping[str, str]) -> list[str]:
    """Return the names for which leave is needed, as they are asked for."""
    return sorted(name.lower() for name in headers if name.lower() not in _SIMPLE_HEADERS)


def _listed(reply: Reply, name: str) -> list[str]:
    return [item.strip() for item in reply.headers.get(name, "").split(",") if item.strip()]
