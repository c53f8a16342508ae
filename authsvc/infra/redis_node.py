"""One Redis server: the connections to it, and whether it answers."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as TimedOut

PROBE_EVERY = 0.5
"""Seconds between two requests that try a server which did not answer in time."""

NOT_SERVING = (ConnectionLost, TimedOut, ClusterDownError, ReadOnlyError)
"""What a server says, or does not say, that cannot serve now; another may soon, in its place."""


class Connection(Protocol):
    """What is used of a connection of redis-py."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def pack_commands(self, commands: list[tuple[Any, ...]]) -> list[bytes]: ...
    def send_packed_command(self, command: list[bytes], check_health: bool) -> None: ...
    def read_response(self) -> Any: ...


class NotAnswering(ConnectionLost):
    """The server did not answer in time a moment ago: nobody waits for it again so soon."""


class NoConnectionFree(ConnectionLost):
    """All connections that there may be are in use; of the server it tells nothing."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which a server knows by its digest once it has run there."""

    text: str
    sha: str

    def call(self, keys: Sequence[str], arguments: Iterable[Any]) -> "Call":
        """Return a call of the script; its keys share a slot, and there is one at least."""
        return Call(("EVALSHA", self.sha, len(keys), *keys, *arguments), keys[0], self)


@dataclass(slots=True, eq=False)
class Call:
    """One command, and what came of it.

    Args:
        words: the command.
        key: one of its keys, all of which share a slot; None where it has none.
        script: the script that it runs by its digest, if it does.
        node: the one server that can answer; None for the one that serves the key.
        asking: whether that server has the key's slot only in part yet.
        answer: what the server said, or the error.
    """

    words: tuple[Any, ...]
    key: str | None = None
    script: Script | None = None
    node: "Node | None" = None
    asking: bool = False
    answer: Any = None

    def send_text(self) -> None:
        """Send the script itself, as the server does not know its digest."""
        if self.script is not None:
            self.words = ("EVAL", self.script.text, *self.words[2:])


class Node:
    """A server and the connections to it.

    Args:
        name: tells it from others.
        make: makes a connection, which is not connected yet.
        most: connections at a time.
        wait: seconds to wait for a free one.
    """

    def __init__(self, name: str, make: Callable[[], Connection], most: int, wait: float) -> None:
        self.name = name
        self.unwell_since: float | None = None
        self._make = make
        self._most = most
        self._wait = wait
        self._lock = threading.Lock()
        self._begin_anew()

    @property
    def in_use(self) -> int:
        """The connections that wait for an answer at this moment."""
        return len(self._lent)

    def send(self, calls: Sequence[Call]) -> Connection:
        """Send calls, and return the connection from which `receive` reads their answers.

        Raises:
            RedisError: they were not sent, or not all.
        """
        began = time.monotonic()
        connection = self._take(began)
        try:
            connection.send_packed_command(
                connection.pack_commands(_words_of(calls)), check_health=False
            )
        except BaseException as error:
            self.drop(connection)
            self._note(error, began)
            raise
        return connection

    def receive(self, connection: Connection, calls: Sequence[Call]) -> None:
        """Read the answers to calls that were sent, errors among them; then others may use it.

        An answer that does not come is an error too, the same one for all that follow.
        """
        began, left = time.monotonic(), deque(calls)
        try:
            while left:
                if left[0].asking:
                    connection.read_response()
                left[0].answer = _answer(connection)
                left.popleft()
        except RedisError as error:
            self.drop(connection)
            for call in left:
                call.answer = error
        else:
            self._give_back(connection)
        self._note(_first_refusal(calls), began)

    def drop(self, connection: Connection) -> None:
        """Close a connection that is in use, if it still is."""
        connection.disconnect()
        if connection in self._lent:
            self._lent.discard(connection)
            self._room.release()

    def forget_outage(self) -> None:
        """Take the server for well again: others say that it serves now."""
        self.unwell_since, self._silent_until = None, 0.0

    def close_idle(self) -> None:
        """Close the connections that nobody uses: the server may have closed them all."""
        while connection := self._idle_one():
            connection.disconnect()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Connection] = deque()
        self._lent: set[Connection] = set()
        self._room = threading.BoundedSemaphore(self._most)
        self._silent_until = self._last_answer = 0.0

    def _take(self, now: float) -> Connection:
        if self._pid != os.getpid():
            self._begin_anew()  # Connections belong to the process that made them.
        if not self._room.acquire(timeout=self._wait):
            raise NoConnectionFree(f"{self.name}: {self._most} connections are in use")
        connection: Connection | None = None
        try:
            self._spare_the_silent()
            connection = self._idle_one() or self._make()
            self._lent.add(connection)
            connection.connect()
        except BaseException as error:
            if connection is None:
                self._room.release()
            else:
                self.drop(connection)
            self._note(error, now)
            raise
        return connection

    def _idle_one(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._lent.discard(connection)
        self._room.release()

    def _spare_the_silent(self) -> None:
        if not self._silent_until:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._silent_until:
                raise NotAnswering(f"{self.name} did not answer in time a moment ago")
            self._silent_until = now + PROBE_EVERY

    def _note(self, error: BaseException | None, began: float) -> None:
        """Remember how a request went that began then."""
        if error is None:
            self._last_answer, self.unwell_since, self._silent_until = time.monotonic(), None, 0.0
        elif isinstance(error, NOT_SERVING) and not isinstance(error, NotAnswering):
            self.unwell_since = self.unwell_since or began
            if isinstance(error, TimedOut) and self._last_answer < began:
                self._silent_until = time.monotonic() + PROBE_EVERY


def deliver(lots: Iterable[tuple[Node, list[Call]]]) -> None:
    """Send each server its calls, all before the first answer is read; each call has its answer.

    Nothing is raised for a server that fails.
    """
    sent: list[tuple[Node, Connection, list[Call]]] = []
    try:
        for node, calls in lots:
            try:
                sent.append((node, node.send(calls), calls))
            except RedisError as error:
                for call in calls:
                    call.answer = error
        for node, connection, calls in sent:
            node.receive(connection, calls)
    except BaseException:
        for node, connection, _ in sent:
            node.drop(connection)
        raise


def _words_of(calls: Sequence[Call]) -> list[tuple[Any, ...]]:
    words: list[tuple[Any, ...]] = []
    for call in calls:
        if call.asking:
            words.append(("ASKING",))
        words.append(call.words)
    return words


def _first_refusal(calls: Sequence[Call]) -> Exception | None:
    answers = (call.answer for call in calls)
    return next((answer for answer in answers if isinstance(answer, NOT_SERVING)), None)


def _answer(connection: Connection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
