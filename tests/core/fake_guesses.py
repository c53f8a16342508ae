"""A small real stand-in for the store of guesses, which keeps the port's promises in memory."""

import itertools
import math
import threading
from dataclasses import dataclass, field

from authsvc.core.errors import TooManyAttempts
from authsvc.core.guessing import KNOWN_FOR, GuessPolicy, Reservation
from tests.core.fakes import FakeClock


@dataclass
class Counter:
    """The tries that one counter holds: id → when."""

    limit: int
    policy: GuessPolicy
    tries: dict[str, float] = field(default_factory=dict)

    def left(self, now: float) -> float:
        """Return the seconds until a try may pass."""
        return self._due() - now if self._slows(now) else 0

    def count(self, name: str, now: float) -> None:
        if not self._slows(now):
            begin = now - self.policy.window
            self.tries = {other: at for other, at in self.tries.items() if at > begin}
        self.tries[name] = now

    def _slows(self, now: float) -> bool:
        return len(self.tries) >= self.limit and now < self._due() + self.policy.window

    def _due(self) -> float:
        doublings = min(len(self.tries) - self.limit, self.policy.doublings)
        wait = min(math.ldexp(self.policy.first_wait, doublings), self.policy.longest_wait)
        return max(self.tries.values()) + wait


class FakeGuesses:
    """Meets `GuessStore`."""

    def __init__(self, clock: FakeClock, policy: GuessPolicy) -> None:
        self._clock = clock
        self._policy = policy
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._known: dict[tuple[str, str], float] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()

    def reserve(self, name: str, network: str) -> Reservation:
        with self._lock:
            now = self._clock()
            counters = [self._pair(name, network), self._address(network)]
            if self._known.get((name, network), -math.inf) <= now:
                counters.append(self._name(name))
            slowest = max(counters, key=lambda counter: counter.left(now))
            if (left := slowest.left(now)) > 0:
                raise TooManyAttempts(math.ceil(left), slowest.limit)
            reservation = Reservation(str(next(self._ids)), name, network)
            for counter in counters:
                counter.count(reservation.id, now)
            return reservation

    def succeed(self, reservation: Reservation) -> None:
        name, network = reservation.name, reservation.network
        self.excuse(reservation)
        with self._lock:
            self._pair(name, network).tries.clear()
            self._known[name, network] = self._clock() + KNOWN_FOR

    def excuse(self, reservation: Reservation) -> None:
        name, network = reservation.name, reservation.network
        with self._lock:
            for counter in (self._pair(name, network), self._address(network), self._name(name)):
                counter.tries.pop(reservation.id, None)

    def _pair(self, name: str, network: str) -> Counter:
        return self._counter(self._policy.pair, "pair", name, network)

    def _address(self, network: str) -> Counter:
        return self._counter(self._policy.address, "address", network)

    def _name(self, name: str) -> Counter:
        return self._counter(self._policy.name, "name", name)

    def _counter(self, limit: int, *key: str) -> Counter:
        return self._counters.setdefault(key, Counter(limit, self._policy))
