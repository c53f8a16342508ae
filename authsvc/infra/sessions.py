"""The sessions, in Redis: one key each, which ends by itself with the token."""

from redis import Redis

from authsvc.core.errors import SessionsUnavailable
from authsvc.infra.redis import translated


class RedisSessions:
    """Meets `authsvc.core.ports.Sessions`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def check(self) -> None:
        """Do nothing, if the store answers."""
        with translated(SessionsUnavailable):
            self._client.ping()

    def open(self, session_id: str, user_id: int, lifetime: int) -> None:
        """Record a session that ends by itself after `lifetime` seconds."""
        with translated(SessionsUnavailable):
            self._client.set(_key(session_id), user_id, ex=lifetime)

    def is_open(self, session_id: str) -> bool:
        """Tell whether the session was recorded and has neither ended nor been closed."""
        with translated(SessionsUnavailable):
            return bool(self._client.exists(_key(session_id)))

    def close(self, session_id: str) -> None:
        """End a session now; a session that is not open stays so."""
        with translated(SessionsUnavailable):
            self._client.delete(_key(session_id))


def _key(session_id: str) -> str:
    return f"authsvc:session:{session_id}"
