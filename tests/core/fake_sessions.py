"""A stand-in for the store of sessions, which keeps the port's promises in memory."""

import threading
from dataclasses import dataclass, field, replace

from authsvc.core.clients import Client
from authsvc.core.errors import SessionsUnavailable
from authsvc.core.ports import Renewal, Session, Use
from tests.core.fakes import FakeClock

MOST_SESSIONS = 500


@dataclass
class _Kept:
    session: Session
    longest_ends: float
    ends: float
    generation: int | None = 0
    idle: int | None = None
    first_used: dict[int, float] = field(default_factory=dict)


class FakeSessionStore:
    """Meets `SessionStore`. Times are those of the clock.

    Set `down`, and nothing answers any more.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._kept: dict[tuple[int, str], _Kept] = {}
        self._lock = threading.RLock()
        self.down = False

    def check(self) -> None:
        if self.down:
            raise SessionsUnavailable

    def open(self, session: Session, lifetime: int, longest: int, *, sliding: bool = False) -> None:
        with self._answering():
            now = self._clock()
            live = sorted(self._live(session.user_id), key=lambda kept: kept.ends)
            for surplus in live[: max(0, len(live) + 1 - MOST_SESSIONS)]:
                del self._kept[session.user_id, surplus.session.id]
            opened = replace(session, created_at=int(now), last_used_at=int(now))
            kept = _Kept(opened, now + longest, now + min(lifetime, longest))
            if sliding:
                kept.generation, kept.idle = None, lifetime
            self._kept[session.user_id, session.id] = kept

    def touch(self, user_id: int, session_id: str) -> Use | None:
        with self._answering():
            kept = self._find(user_id, session_id)
            if kept is None:
                return None
            now = self._clock()
            if now - kept.session.last_used_at > 60:
                kept.session = replace(kept.session, last_used_at=int(now))
            left = None
            if kept.idle is not None:
                kept.ends = min(now + kept.idle, kept.longest_ends)
                left = max(1, int(kept.ends - now))
            return Use(kept.session.epoch, left)

    def renew(
        self,
        user_id: int,
        session_id: str,
        generation: int,
        lifetime: int,
        grace: int,
        client: Client,
    ) -> Renewal:
        with self._answering():
            kept, now = self._find(user_id, session_id), self._clock()
            if kept is None or kept.generation is None or generation > kept.generation:
                return Renewal(None)
            if generation == kept.generation:
                kept.first_used[generation] = now
                kept.generation += 1
                kept.ends = min(now + lifetime, kept.longest_ends)
                kept.session = replace(
                    kept.session,
                    last_used_at=int(now),
                    address=client.address,
                    user_agent=client.user_agent,
                )
            elif now - kept.first_used[generation] > grace:
                del self._kept[user_id, session_id]
                return Renewal(None, replayed=True)
            return self._renewal(kept)

    def look(self, user_id: int, session_id: str) -> Renewal:
        with self._answering():
            kept = self._find(user_id, session_id)
            if kept is None or kept.generation is None:
                return Renewal(None)
            return self._renewal(kept)

    def move(self, user_id: int, session_id: str, epoch: int) -> None:
        with self._answering():
            kept = self._find(user_id, session_id)
            if kept is not None:
                kept.session = replace(kept.session, epoch=epoch)

    def close(self, user_id: int, session_id: str) -> bool:
        with self._answering():
            live = self._find(user_id, session_id) is not None
            self._kept.pop((user_id, session_id), None)
            return live

    def close_all(self, user_id: int, keep: str | None = None) -> None:
        with self._answering():
            for kept in self._live(user_id):
                if kept.session.id != keep:
                    del self._kept[user_id, kept.session.id]

    def of(self, user_id: int) -> list[Session]:
        with self._answering():
            return [kept.session for kept in reversed(self._live(user_id))]

    def _answering(self) -> threading.RLock:
        self.check()
        return self._lock

    def _renewal(self, kept: _Kept) -> Renewal:
        left = max(1, int(kept.ends - self._clock()))
        return Renewal(kept.generation, epoch=kept.session.epoch, left=left)

    def _find(self, user_id: int, session_id: str) -> _Kept | None:
        kept = self._kept.get((user_id, session_id))
        return kept if kept is not None and kept.ends > self._clock() else None

    def _live(self, user_id: int) -> list[_Kept]:
        """The user's live sessions, in the order in which they were opened."""
        now = self._clock()
        owned = [kept for (owner, _), kept in self._kept.items() if owner == user_id]
        return [kept for kept in owned if kept.ends > now]
