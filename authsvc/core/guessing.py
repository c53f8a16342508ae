"""Guesses at passwords and codes: counted before they are made, and slowed when too many fail."""

import logging
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from authsvc.core.clients import Client
from authsvc.core.errors import (
    GuessesUnavailable,
    InvalidCredentials,
    WrongCode,
    WrongPassword,
)

KNOWN_FOR = 90 * 24 * 3600
"""Seconds for which a network stays known for a name, from its last success on."""

_WRONG_GUESSES = (InvalidCredentials, WrongPassword, WrongCode)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GuessPolicy:
    """What an operator decides about guessing.

    A counter that holds as many tries within the window as it may slows what it
    counts: the next try waits `first_wait` since the last that was counted, and
    each one that is counted doubles the wait. It forgets everything when no try
    was counted for the current wait and a window.

    Args:
        pair: failures of one name from one network that are free.
        address: failures of one network that are free.
        name: failures of one name from all networks not known for it that are free.
        window: seconds for which a failure counts.
        first_wait: seconds between tries at first; at most the longest wait.
        longest_wait: seconds between tries at the most.
    """

    pair: int = 5
    address: int = 50
    name: int = 100
    window: float = 900
    first_wait: float = 1
    longest_wait: float = 900

    @property
    def doublings(self) -> int:
        """How often the first wait is doubled until it is the longest."""
        return math.ceil(math.log2(self.longest_wait / self.first_wait))


@dataclass(frozen=True, slots=True)
class Reservation:
    """A try that was counted before it is made."""

    id: str
    name: str = field(repr=False)
    network: str


class GuessStore(Protocol):
    """The counters of tries: of each pair of name and network, each network, each name.

    Every method is one indivisible step, and can raise `GuessesUnavailable`. A
    reservation is taken back once at most; another time changes nothing.
    """

    def reserve(self, name: str, network: str) -> Reservation:
        """Count a try of a name, which need not exist and may be any text, from a network.

        The name's counter is neither asked nor moved for a network that is known for it.

        Raises:
            TooManyAttempts: a counter asks to wait; nothing was counted.
        """

    def succeed(self, reservation: Reservation) -> None:
        """Take back a try, forget all others of its pair, and make the network known."""

    def excuse(self, reservation: Reservation) -> None:
        """Take back a try, as if it had never been counted."""


class Attempt:
    """A try to guess, for the length of a `with` block. What leaves the block decides.

    - Nothing: a success. The try is taken back, the failures of its pair are
      forgotten, and the network is known for the name.
    - `InvalidCredentials`, `WrongPassword`, `WrongCode`: the try stays counted.
    - Anything else: it was no guess, and is taken back.

    A store that does not answer by then is logged, and changes nothing else.
    """

    def __init__(self, store: GuessStore, name_key: str, client: Client) -> None:
        self._store = store
        self._name_key = name_key
        self._network = client.network

    def __enter__(self) -> None:
        self._reservation = self._store.reserve(self._name_key, self._network)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, _WRONG_GUESSES):
            return
        settle = self._store.succeed if error is None else self._store.excuse
        try:
            settle(self._reservation)
        except GuessesUnavailable:
            _log.warning("a try that was no wrong guess stays counted")


class Guard:
    """Counts whoever tries to guess a password or a code.

    Args:
        store: keeps the counters; None counts nothing.
    """

    def __init__(self, store: GuessStore | None) -> None:
        self._store = store

    def attempt(self, name_key: str, client: Client) -> AbstractContextManager[None]:
        """Count a try when the block is entered, before any hash is spent; see `Attempt`.

        Args:
            name_key: the folded name as typed, whether or not anybody has it; of any length.
            client: whoever tries; its network is counted.

        Raises:
            TooManyAttempts: on entering; nothing was counted.
            GuessesUnavailable: on entering.
        """
        if self._store is None:
            return nullcontext()
        return Attempt(self._store, name_key, client)
