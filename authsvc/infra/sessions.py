"""The sessions, in Redis: a hash each, and for each user an index of them.

All keys of a user share a slot of Redis Cluster. Times are Redis' own, in milliseconds.

In the index a session stands at its end; a sliding one at the end that was known when it was
last looked at there, as its uses write nothing in the index. So what seems to have ended is
looked at once more, before it is dropped; the index lives for as long as any session could.
"""

from typing import Any

from authsvc.core.clients import Client
from authsvc.core.errors import SessionsUnavailable
from authsvc.core.ports import Renewal, Session, Use
from authsvc.infra.redis import Call, RedisClient, translated

MOST_SESSIONS = 500
"""Live sessions of one user; one more ends the older one that would have ended first.

A sliding session ends when it would if it were not used again.
"""

_ENDED, _REPLAYED = -1, -2
_USED_WITHIN_MS = 60_000
_NOW = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local function live_for(left, longest)
  redis.call('PEXPIRE', KEYS[1], left)
  redis.call('ZADD', KEYS[2], now + left, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], math.max(longest, redis.call('PTTL', KEYS[2])))
end
"""
_OPEN = (
    _NOW
    + """
local left = math.min(ARGV[2], ARGV[3])
local longest, kind = left, {'generation', 0, 'oldest', 0}
if ARGV[9] == '1' then
  longest, kind = ARGV[3], {'idle', left}
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'created', now, 'used', now,
  'ends', now + ARGV[3], 'address', ARGV[5], 'agent', ARGV[6], unpack(kind))
local listed, most = redis.call('ZCARD', KEYS[2]), ARGV[7] - 1
while listed > 0 do
  local id, ends, _, following = unpack(redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES'))
  if listed <= most and tonumber(ends) > now then break end
  local lives = redis.call('PTTL', ARGV[8] .. id)
  if lives > 0 and (listed <= most or now + lives > tonumber(following or ends)) then
    redis.call('ZADD', KEYS[2], now + lives, id)
  else
    redis.call('DEL', ARGV[8] .. id)
    redis.call('ZREM', KEYS[2], id)
    listed = listed - 1
  end
end
live_for(left, longest)
"""
)
_TOUCH = (
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'epoch', 'used', 'idle')
if not found[1] then
  return false
end
local left
if found[3] then
  left = math.min(found[3], redis.call('HGET', KEYS[1], 'ends') - now)
  if left <= 0 then
    return false
  end
end
if now - found[2] > tonumber(ARGV[1]) then
  redis.pcall('HSET', KEYS[1], 'used', now)
end
if not left then
  return found[1]
end
redis.pcall('PEXPIRE', KEYS[1], left)
return {found[1], left}
"""
)
_RENEW = (
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'generation', 'epoch', 'ends', 'oldest')
local newest, given, grace = tonumber(found[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
if not newest or given > newest then
  return {-1, 0, 0}
end
if given < newest then
  local first = redis.call('HGET', KEYS[1], 'first:' .. given)
  if not first or now - first > grace then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
    return {-2, 0, 0}
  end
  return {newest, tonumber(found[2]), redis.call('PTTL', KEYS[1])}
end
local oldest = tonumber(found[4])
while oldest < given do
  local first = redis.call('HGET', KEYS[1], 'first:' .. oldest)
  if first and now - first <= grace then break end
  redis.call('HDEL', KEYS[1], 'first:' .. oldest)
  oldest = oldest + 1
end
newest = newest + 1
redis.call('HSET', KEYS[1], 'generation', newest, 'first:' .. given, now, 'oldest', oldest,
  'used', now, 'address', ARGV[5], 'agent', ARGV[6])
local left = math.min(ARGV[3], found[3] - now)
live_for(left, left)
return {newest, tonumber(found[2]), left}
"""
)
_MOVE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
end
"""
_CLOSE_ALL = """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if id ~= ARGV[2] then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('ZREM', KEYS[1], id)
  end
end
"""
_OF = """
local sessions = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local found = redis.call('HMGET', ARGV[1] .. id, 'epoch', 'created', 'used', 'address', 'agent')
  if found[1] then
    table.insert(sessions, {id, unpack(found)})
  end
end
return sessions
"""


class RedisSessions:
    """Meets `authsvc.core.ports.SessionStore`."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._open = client.register_script(_OPEN)
        self._touch = client.register_script(_TOUCH)
        self._renew = client.register_script(_RENEW)
        self._move = client.register_script(_MOVE)
        self._close_all = client.register_script(_CLOSE_ALL)
        self._of = client.register_script(_OF)

    def check(self) -> None:
        """Do nothing, if the store answers."""
        with translated(SessionsUnavailable):
            self._client.check()

    def open(self, session: Session, lifetime: int, longest: int, *, sliding: bool = False) -> None:
        """Keep a session, in its first generation, or sliding: then it has no generations."""
        told = (session.id, lifetime * 1000, longest * 1000, session.epoch)
        who = (session.address, session.user_agent, MOST_SESSIONS, _prefix(session.user_id))
        arguments = [*told, *who, int(sliding)]
        with translated(SessionsUnavailable):
            self._client.one(self._open.call(_keys(session.user_id, session.id), arguments))

    def touch(self, user_id: int, session_id: str) -> Use | None:
        """Use a session now, and return what came of it; None if it is not live."""
        with translated(SessionsUnavailable):
            answer = self._client.one(
                self._touch.call([_key(user_id, session_id)], [_USED_WITHIN_MS])
            )
        if answer is None:
            return None
        if isinstance(answer, bytes):
            return Use(int(answer))
        epoch, left = answer
        return Use(int(epoch), _seconds(left))

    def renew(
        self,
        user_id: int,
        session_id: str,
        generation: int,
        lifetime: int,
        grace: int,
        client: Client,
    ) -> Renewal:
        """Replace a generation by the next, in one indivisible step."""
        told = (session_id, generation, lifetime * 1000, grace * 1000)
        with translated(SessionsUnavailable):
            newest, epoch, left = self._client.one(
                self._renew.call(
                    _keys(user_id, session_id), [*told, client.address, client.user_agent]
                )
            )
        if newest in (_ENDED, _REPLAYED):
            return Renewal(None, replayed=newest == _REPLAYED)
        return Renewal(newest, epoch=epoch, left=_seconds(left))

    def look(self, user_id: int, session_id: str) -> Renewal:
        """Return what using the newest generation would begin from, and change nothing."""
        key = _key(user_id, session_id)
        with translated(SessionsUnavailable):
            (generation, epoch), left = self._client.run(
                Call(("HMGET", key, "generation", "epoch"), key), Call(("PTTL", key), key)
            )
        if generation is None:
            return Renewal(None)
        return Renewal(int(generation), epoch=int(epoch), left=_seconds(left))

    def move(self, user_id: int, session_id: str, epoch: int) -> None:
        """Let a live session go on in another epoch."""
        with translated(SessionsUnavailable):
            self._client.one(self._move.call([_key(user_id, session_id)], [epoch]))

    def close(self, user_id: int, session_id: str) -> bool:
        """End a session now; tell whether it was live."""
        key, index = _keys(user_id, session_id)
        with translated(SessionsUnavailable):
            deleted, _ = self._client.run(
                Call(("DEL", key), key), Call(("ZREM", index, session_id), index)
            )
        return bool(deleted)

    def close_all(self, user_id: int, keep: str | None = None) -> None:
        """End all sessions of a user, but one."""
        with translated(SessionsUnavailable):
            self._client.one(
                self._close_all.call([_index(user_id)], [_prefix(user_id), keep or ""])
            )

    def of(self, user_id: int) -> list[Session]:
        """Return the user's live sessions, the newest first."""
        with translated(SessionsUnavailable):
            rows = self._client.one(self._of.call([_index(user_id)], [_prefix(user_id)]))
        rows.sort(key=_created, reverse=True)
        return [_session(user_id, row) for row in rows]


def _created(row: list[bytes]) -> int:
    return int(row[2])


def _session(user_id: int, row: list[bytes]) -> Session:
    session_id, epoch, created, used, address, agent = row
    return Session(
        id=session_id.decode(),
        user_id=user_id,
        epoch=int(epoch),
        created_at=int(created) // 1000,
        last_used_at=int(used) // 1000,
        address=address.decode(),
        user_agent=agent.decode(),
    )


def _seconds(milliseconds: Any) -> int:
    return max(1, int(milliseconds) // 1000)


def _index(user_id: int) -> str:
    return f"authsvc:sessions:{{{user_id}}}"


def _prefix(user_id: int) -> str:
    return f"authsvc:session:{{{user_id}}}:"


def _key(user_id: int, session_id: str) -> str:
    return f"{_prefix(user_id)}{session_id}"


def _keys(user_id: int, session_id: str) -> list[str]:
    return [_key(user_id, session_id), _index(user_id)]
