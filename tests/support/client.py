"""A small HTTP client: JSON out and in, headers as received, a choice of its own address."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Stands for "no body", because null is a body too.
NOTHING: Any = object()


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body, read as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Returns the body read as JSON, keys in their order."""
        return json.loads(self.body)


class Client:
    """Sends requests to one base URL, each on a connection of its own.

    Args:
        base: such as http://127.0.0.1:8080.
        source: the local address to come from, such as 127.0.0.2; the system's choice if None.
        timeout: seconds for each single read or write.
        headers: sent with every request.
    """

    def __init__(
        self,
        base: str,
        *,
        source: str | None = None,
        timeout: float = 15.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        address = urlsplit(base)
        self._host = address.hostname or "127.0.0.1"
        self._port = address.port
        self._prefix = address.path.rstrip("/")
        self._source = (source, 0) if source else None
        self._timeout = timeout
        self._headers = dict(headers or {})

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = NOTHING,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a request with a JSON body, raw bytes or no body; returns whatever answer comes.

        Raises:
            OSError, http.client.HTTPException: no whole answer came.
        """
        sent = dict(self._headers)
        if json is not NOTHING:
            body = encode(json)
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=self._timeout, source_address=self._source
        )
        try:
            connection.request(method, self._prefix + path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.reason, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Sends a GET."""
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, json: Any = NOTHING, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends a POST with a JSON body, or with none."""
        return self.request("POST", path, json=json, headers=headers)


def encode(value: Any) -> bytes:
    """Returns a value as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
