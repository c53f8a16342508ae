"""The way to Redis, shared by everything that keeps something there."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    MovedError,
    NoScriptError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from authsvc.core.errors import Unavailable
from authsvc.infra.redis_node import (
    NOT_SERVING,
    Call,
    NoConnectionFree,
    Node,
    NotAnswering,
    Script,
    deliver,
)
from authsvc.infra.redis_routes import (
    ASK_EVERY,
    Cluster,
    MasterBySentinel,
    OneServer,
    RedisOptions,
    Routes,
    parse_many_servers,
)

__all__ = ["Call", "RedisClient", "RedisOptions", "connect", "connections_in_use", "translated"]

ANSWERED_LATELY = 0.5
"""Seconds for which an answer in the same request is a sign of life."""

_MOST_REDIRECTS = 8
_SOON = (*NOT_SERVING, TryAgainError)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    """What a request that is being answered has to do with Redis."""

    waiting: list[Call] = field(default_factory=list)
    answered_at: float = 0.0


class RedisClient:
    """Sends calls to Redis, as few times as can be; see `connect`.

    What the thread's request queued with `later` travels with its next calls.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._here = threading.local()

    def register_script(self, text: str) -> Script:
        """Return a script, to be sent by its digest; nothing is sent now."""
        return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    def run(self, *calls: Call, patient: bool = True) -> list[Any]:
        """Make calls in one round trip, on a cluster one for each of their masters, all at once.

        A connection that Redis closed while it lay unused is replaced at once. Where another
        server can take over, an outage is waited for, up to `RIDE_OUT` seconds since it began.

        Args:
            calls: on one server they are made in this order, with others in between.
            patient: off, no outage is waited for.

        Returns:
            Their answers.

        Raises:
            RedisError: the first that there was; the other calls may have been made.
        """
        request = self._request()
        queued = []
        if request is not None:
            queued, request.waiting = request.waiting, []
        self._deliver([*queued, *calls], patient=patient)
        _report(queued)
        for call in calls:
            if isinstance(call.answer, Exception):
                raise call.answer
        if request is not None:
            request.answered_at = time.monotonic()
        return [call.answer for call in calls]

    def one(self, call: Call, *, patient: bool = True) -> Any:
        """Make one call, as `run` does, and return its answer."""
        [answer] = self.run(call, patient=patient)
        return answer

    def later(self, call: Call) -> None:
        """Make a call whose answer nobody needs: by the end of the thread's request.

        If it fails, a line in the log says so. Where no request is being answered, it is made now.

        Raises:
            RedisError: it was made now, in vain.
        """
        request = self._request()
        if request is None:
            self.one(call)
        else:
            request.waiting.append(call)

    def check(self) -> None:
        """Do nothing, if every master answers, or Redis just answered the same request.

        Raises:
            RedisError
        """
        request = self._request()
        if request is not None and time.monotonic() - request.answered_at < ANSWERED_LATELY:
            return
        self.ping()

    def ping(self) -> None:
        """Do nothing, if every master answers.

        Raises:
            RedisError
        """
        self.run(*(Call(("PING",), node=node) for node in self._routes.masters()), patient=False)

    def begin_request(self) -> None:
        """From now on queue what this thread gives to `later`."""
        self.end_request()
        self._here.request = _Request()

    def end_request(self) -> None:
        """Send what is queued, and queue no more."""
        request = self._request()
        self._here.request = None
        if request is not None and request.waiting:
            self._deliver(request.waiting, patient=True)
            _report(request.waiting)

    @property
    def connections_in_use(self) -> int:
        """The connections that wait for an answer at this moment, to all servers together."""
        return sum(node.in_use for node in self._routes.nodes())

    def close(self) -> None:
        """Close the connections that nobody uses; the client can be used again."""
        for node in self._routes.nodes():
            node.close_idle()

    def _request(self) -> _Request | None:
        return getattr(self._here, "request", None)

    def _deliver(self, calls: list[Call], *, patient: bool) -> None:
        """See to it that every call has an answer, which may be an error."""
        began, rounds, redirects = time.monotonic(), 0, 0
        while calls:
            rounds += 1
            lots = self._lots(calls)
            deliver(lots.items())
            sent_on = [call for call in calls if self._is_sent_on(call)]
            unserved = [call for call in calls if isinstance(call.answer, _SOON)]
            if not sent_on and not unserved:
                return
            redirects += bool(sent_on)
            if rounds == 1 and any(map(_is_stale, unserved)):
                self._renew(lots)
            elif unserved and not self._has_waited(unserved, began, patient=patient):
                unserved = []
            calls = [*(sent_on if redirects <= _MOST_REDIRECTS else ()), *unserved]

    def _lots(self, calls: list[Call]) -> dict[Node, list[Call]]:
        lots: dict[Node, list[Call]] = {}
        for call in calls:
            try:
                lots.setdefault(call.node or self._routes.node_of(call.key), []).append(call)
            except RedisError as error:
                call.answer = error
        return lots

    def _is_sent_on(self, call: Call) -> bool:
        """Tell whether a call has only to be sent elsewhere or otherwise, and prepare it."""
        error = call.answer
        if call.asking:
            call.asking, call.node = False, None
        if isinstance(error, NoScriptError):
            call.send_text()
        elif isinstance(error, AskError):
            call.node = self._routes.redirect(error)
            call.asking = not isinstance(error, MovedError)
        else:
            return False
        return True

    def _renew(self, lots: dict[Node, list[Call]]) -> None:
        """Forget connections that may have been closed, and servers that may have been replaced."""
        for node, calls in lots.items():
            if any(map(_is_stale, calls)):
                node.close_idle()
        self._routes.refresh()

    def _has_waited(self, unserved: list[Call], began: float, *, patient: bool) -> bool:
        """Wait a little for calls to be served; tell whether it is worth while to try again."""
        self._routes.refresh()
        outage = min((self._unwell_since(call) or began) for call in unserved)
        if not patient or time.monotonic() >= outage + self._routes.ride_out:
            return False
        time.sleep(ASK_EVERY)
        return True

    def _unwell_since(self, call: Call) -> float | None:
        try:
            return (call.node or self._routes.node_of(call.key)).unwell_since
        except RedisError:
            return None


def _is_stale(call: Call) -> bool:
    """Tell whether the connection was lost, as happens to those that lay unused."""
    told = (NotAnswering, NoConnectionFree, BusyLoadingError)
    return isinstance(call.answer, ConnectionLost) and not isinstance(call.answer, told)


def _report(queued: list[Call]) -> None:
    for call in queued:
        if isinstance(call.answer, Exception):
            _log.warning("what could wait was not done: %s: %s", call.words[0], call.answer)


def connect(url: str, options: RedisOptions) -> RedisClient:
    """Return a client; nothing is connected yet.

    Args:
        url: `redis://`, `rediss://` or `unix://` for one server; `redis+sentinel://` for the
            master that sentinels name; `redis+cluster://` for a cluster; `rediss+…` with TLS.
        options: connections to each server.

    Raises:
        ValueError: the URL is not of the form.
    """
    if "+" not in url.partition(":")[0]:
        return RedisClient(OneServer(url, options))
    servers = parse_many_servers(url)
    if servers.kind == "sentinel":
        return RedisClient(MasterBySentinel(servers, options))
    return RedisClient(Cluster(servers, options))


def connections_in_use(client: RedisClient) -> int:
    """Return how many connections wait for an answer at this moment, to all servers together."""
    return client.connections_in_use


def install(app: Flask, client: RedisClient) -> None:
    """Let what a request does in Redis travel together, and be sent by its end."""
    app.before_request(client.begin_request)
    app.teardown_request(lambda _: client.end_request())


@contextmanager
def translated(fact: Callable[[], Unavailable]) -> Iterator[None]:
    """State a failure of Redis as a fact of the core."""
    try:
        yield
    except RedisError as error:
        raise fact() from error
