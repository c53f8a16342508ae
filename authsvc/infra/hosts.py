"""The database's hosts: how a URL names them, and which of them is worth a try now."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.engine import make_url

DEFAULT_PORT = 3306

_URL = re.compile(
    r"(?P<scheme>[\w+]+://(?:[^:/@]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)(?P<rest>.*)", re.DOTALL
)
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:,@\[\]/]+)(?::(?P<port>[0-9]{1,5}))?")
_REST_SECONDS = 3.0
_PROBE_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server of the database listens."""

    host: str
    port: int = DEFAULT_PORT


def parse(url: str) -> tuple[URL, tuple[Place, ...]]:
    """Return a database's URL with its first host alone, and all of its hosts.

    Hosts stand one after another, with commas: `h1:3306,h2,[::1]:3307`. There are none
    in the URL of a file.

    Raises:
        ValueError: a host is malformed or named twice; says which.
        sqlalchemy.exc.ArgumentError: it is no URL.
    """
    match = _URL.fullmatch(url)
    if match is None or not match["hosts"]:
        return make_url(url), ()
    entries = [entry.strip() for entry in match["hosts"].split(",")]
    places = tuple(_place(entry) for entry in entries)
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"names {place.host}:{place.port} twice")
    return make_url(match["scheme"] + entries[0] + match["rest"]), places


def _place(entry: str) -> Place:
    match = _PLACE.fullmatch(entry)
    if match is None or not 1 <= int(match["port"] or DEFAULT_PORT) <= 65535:
        raise ValueError(f'"{entry}" is not a host, host:port or [IPv6]:port')
    return Place(match["host"].strip("[]"), int(match["port"] or DEFAULT_PORT))


class Hosts:
    """Remembers which host works, and leaves alone those that do not.

    A host that refused is tried last for some seconds. One that was silent until a
    time-out is not tried at all: a thread asks it, again and again, until it answers,
    so that nobody else waits for it.

    Args:
        places: the hosts; every process begins with the first.
        answers: tells, within about a second, whether a host can be worked with, or
            None if it refuses at once.
    """

    def __init__(self, places: tuple[Place, ...], answers: Callable[[Place], bool | None]) -> None:
        self._places = places
        self._answers = answers
        self._first = 0
        self._resting: dict[Place, float] = {}
        self._silent: set[Place] = set()
        self._probe: threading.Thread | None = None
        self._turn = 0
        self._lock = threading.Lock()

    def worth_trying(self) -> list[Place]:
        """Return the hosts to try now, the likeliest first; none if all are silent."""
        with self._lock:
            now = time.monotonic()
            rotated = self._places[self._first :] + self._places[: self._first]
            spoken = [place for place in rotated if place not in self._silent]
        return sorted(spoken, key=lambda place: self._resting.get(place, 0.0) > now)

    def works(self, place: Place) -> None:
        """Begin with this host from now on."""
        with self._lock:
            self._first = self._places.index(place)
            self._resting.pop(place, None)

    def refuses(self, place: Place) -> None:
        """Try this host after the others for some seconds."""
        with self._lock:
            self._resting[place] = time.monotonic() + _REST_SECONDS

    def is_silent(self, place: Place) -> None:
        """Leave this host alone until it answers."""
        with self._lock:
            self._silent.add(place)
            if self._probe is None:
                self._probe = threading.Thread(target=self._ask, name="database probe", daemon=True)
                self._probe.start()

    def _ask(self) -> None:
        while (place := self._next_silent()) is not None:
            answer = self._answers(place)
            if answer is False:
                time.sleep(_PROBE_PAUSE)
                continue
            if answer is None:
                self.refuses(place)
            with self._lock:
                self._silent.discard(place)

    def _next_silent(self) -> Place | None:
        with self._lock:
            silent = [place for place in self._places if place in self._silent]
            if not silent:
                self._probe = None
                return None
            self._turn += 1
            return silent[self._turn % len(silent)]
