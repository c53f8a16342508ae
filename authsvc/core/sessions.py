"""Sessions: opened, renewed, listed and ended; and whose a token is."""

import hmac
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from authsvc.core.audit import TOKEN_REPLAYED, AuditTrail, Entry
from authsvc.core.clients import Client
from authsvc.core.errors import (
    InvalidRefreshToken,
    InvalidToken,
    UnknownSession,
    UsersUnavailable,
)
from authsvc.core.events import Events, Uncounted
from authsvc.core.ports import Claims, Clock, Session, SessionStore, TokenIssuer, Use, Users
from authsvc.core.users import User

ACCESS, REFRESH = "access", "refresh"

_REFRESH_TOKEN = re.compile(
    r"(?P<family>(?P<user_id>[1-9][0-9]{0,18})\.(?P<session_id>[A-Za-z0-9_-]{22})"
    r"\.(?P<generation>0|[1-9][0-9]{0,14}))\.(?P<mac>[A-Za-z0-9_-]{43})"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What an operator decides about sessions; all in seconds.

    Args:
        token_lifetime: how long an access token is honoured.
        refresh_lifetime: how long a session lasts that is not renewed.
        longest: how long a session lasts, renewed or not.
        grace: how long a refresh token that was used can be used again.
        idle: how long a sliding session lasts that is not used.
        longest_sliding: how long a sliding session lasts, used or not.
    """

    token_lifetime: int = 7200
    refresh_lifetime: int = 30 * 86400
    longest: int = 365 * 86400
    grace: int = 30
    idle: int = 1800
    longest_sliding: int = 86400

    @property
    def longest_token(self) -> int:
        """How long any access token is honoured at the most."""
        return max(self.token_lifetime, self.longest_sliding)

    def lifetimes(self, *, renewable: bool, sliding: bool) -> tuple[int, int]:
        """Return how long a session lasts, unless it is renewed or used, and at the most."""
        if sliding:
            lifetime, longest = self.idle, self.longest_sliding
        elif renewable:
            lifetime, longest = self.refresh_lifetime, self.longest
        else:
            lifetime = longest = self.token_lifetime
        return min(lifetime, longest), longest


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client is given.

    `expires_in`: seconds that the access token is honoured; of a sliding session, if it is
    used often enough.
    """

    session_id: str
    access_token: str
    expires_in: int
    refresh_token: str | None
    refresh_expires_in: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a token is: the user, as stored now, and the session."""

    user: User
    session_id: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a token that is good now. Times in seconds since the epoch, if known.

    `expires_at`: of a sliding session, when it ends unless it is used again.
    """

    kind: str
    user: User
    session_id: str
    token_id: str | None = None
    issuer: str | None = None
    issued_at: int | None = None
    expires_at: int | None = None


class Sessions:
    """Open, renew and end sessions, and tell whose a token is.

    A session is a family: all access and refresh tokens that came of one log-in. A refresh
    token is derived from its family and generation, so that none is stored, and whoever lost
    the answer to a renewal is given the same one again.

    Args:
        store: keeps the live sessions.
        tokens: makes access tokens.
        users: the stored users.
        audit: takes note of replayed tokens.
        clock: the time of day.
        key: what refresh tokens are derived from; secret.
        policy: what the operator decided.
        events: counts what happens.
    """

    def __init__(
        self,
        store: SessionStore,
        tokens: TokenIssuer,
        users: Users,
        audit: AuditTrail,
        clock: Clock,
        key: bytes,
        policy: SessionPolicy,
        events: Events | None = None,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._users = users
        self._audit = audit
        self._clock = clock
        self._key = key
        self._policy = policy
        self._count = (events or Uncounted()).session

    def check(self) -> None:
        """Do nothing, if sessions can be opened, inside a transaction too.

        Raises:
            SessionsUnavailable, UsersUnavailable
        """
        self._store.check()
        self._tokens.prepare()

    def open(
        self, user: User, client: Client, *, renewable: bool = False, sliding: bool = False
    ) -> Tokens:
        """Open a session for a user who proved who they are.

        Args:
            user: whose it is.
            client: from where.
            renewable: whether a refresh token is given out; without one the session
                ends with its access token.
            sliding: whether each use of the access token lets the session go on for as
                long as one may be idle. It is given no refresh token; its access token
                expires when the session ends at the latest.

        Raises:
            SessionsUnavailable
        """
        now = int(self._clock())
        session = Session(
            id=secrets.token_urlsafe(16),
            user_id=user.id,
            epoch=user.epoch,
            created_at=now,
            last_used_at=now,
            address=client.address,
            user_agent=client.user_agent,
        )
        lifetime, longest = self._policy.lifetimes(renewable=renewable, sliding=sliding)
        if sliding:
            tokens = self._issue(user, session.id, None, longest, sliding=True)
        else:
            tokens = self._issue(user, session.id, 0 if renewable else None, lifetime)
        self._store.open(session, lifetime, longest, sliding=sliding)
        self._count("opened")
        return tokens

    def refresh(self, refresh_token: str, client: Client) -> Tokens:
        """Renew a session, with the tokens that take the place of the given one.

        Within the grace a token that was used already is answered with the newest ones;
        after it, the whole session ends.

        Raises:
            InvalidRefreshToken: malformed, forged, expired, revoked, or replayed too late.
            UsersUnavailable, SessionsUnavailable
        """
        user_id, session_id, generation = self._read(refresh_token)
        user = self._users.by_id(user_id)
        policy = self._policy
        renewal = self._store.renew(
            user_id, session_id, generation, policy.refresh_lifetime, policy.grace, client
        )
        if renewal.replayed:
            self._count("replayed")
            self._report(user, session_id, client)
        if renewal.generation is None:
            raise InvalidRefreshToken
        if user is not None and user.epoch != renewal.epoch:
            # The session may have survived a change of the user meanwhile, or be about to.
            user = self._users.by_id(user_id)
        if user is None or user.disabled or user.epoch != renewal.epoch:
            raise InvalidRefreshToken
        self._count("renewed")
        return self._issue(user, session_id, renewal.generation, renewal.left)

    def session_of(self, refresh_token: str) -> str:
        """Return the id of the session that a genuine refresh token belongs to.

        Raises:
            InvalidRefreshToken
        """
        _, session_id, _ = self._read(refresh_token)
        return session_id

    def who_is(self, token: str) -> Identity:
        """Return for whom, and for which session, an access token was issued.

        Raises:
            InvalidToken: it is malformed, forged, expired or revoked, or its user is
                gone or disabled.
            UsersUnavailable, SessionsUnavailable
        """
        identity, _, _ = self._use(token)
        return identity

    def inspect(self, token: str) -> Inspection | None:
        """Return what is known of an access or refresh token that is good now; else None.

        Raises:
            UsersUnavailable, SessionsUnavailable
        """
        if _REFRESH_TOKEN.fullmatch(token):
            return self._inspect_refresh_token(token)
        try:
            identity, claims, use = self._use(token)
        except InvalidToken:
            return None
        return Inspection(
            ACCESS,
            identity.user,
            identity.session_id,
            claims.token_id,
            claims.issuer,
            claims.issued_at,
            self._end_of(claims, use),
        )

    def of(self, user: User) -> list[Session]:
        """Return the user's live sessions, the newest first.

        Raises:
            SessionsUnavailable
        """
        return [session for session in self._store.of(user.id) if session.epoch == user.epoch]

    def close(self, user: User, session_id: str) -> None:
        """End one of the user's sessions.

        Raises:
            UnknownSession: the user has no live session of this id.
            SessionsUnavailable
        """
        if not self._end(user.id, session_id):
            raise UnknownSession

    def close_own(self, identity: Identity) -> None:
        """End this session; it may have ended already.

        Raises:
            SessionsUnavailable
        """
        self._end(identity.user.id, identity.session_id)

    def close_others(self, identity: Identity) -> None:
        """End all sessions of the user but this one.

        Raises:
            SessionsUnavailable
        """
        self._end_all(identity.user.id, identity.session_id)

    def close_all(self, user_id: int) -> None:
        """End all sessions of a user.

        Raises:
            SessionsUnavailable
        """
        self._end_all(user_id)

    def survive(self, identity: Identity, user: User) -> None:
        """Let one session go on though the user's epoch has changed, and end all others.

        Args:
            identity: the session.
            user: the user after the change.

        Raises:
            SessionsUnavailable: the session may have ended as well.
        """
        self._store.move(user.id, identity.session_id, user.epoch)
        self._end_all(user.id, identity.session_id)

    def revoke(self, token: str) -> None:
        """End the session of a genuine access token.

        Raises:
            InvalidToken, SessionsUnavailable
        """
        claims = self._tokens.decode(token)
        self._end(claims.user_id, claims.session_id)

    def _use(self, token: str) -> tuple[Identity, Claims, Use]:
        claims = self._tokens.decode(token)
        use = self._store.touch(claims.user_id, claims.session_id)
        if use is None:
            raise InvalidToken
        user = self._users.by_id(claims.user_id)
        if user is None or user.disabled or user.epoch != use.epoch:
            raise InvalidToken
        return Identity(user, claims.session_id), claims, use

    def _end_of(self, claims: Claims, use: Use) -> int:
        """Return when a token ends, unless its session is used again."""
        if use.left is None:
            return claims.expires_at
        return min(claims.expires_at, int(self._clock()) + use.left)

    def _end(self, user_id: int, session_id: str) -> bool:
        ended = self._store.close(user_id, session_id)
        if ended:
            self._count("ended")
        return ended

    def _end_all(self, user_id: int, keep: str | None = None) -> None:
        self._store.close_all(user_id, keep=keep)
        self._count("ended")

    def _inspect_refresh_token(self, token: str) -> Inspection | None:
        try:
            user_id, session_id, generation = self._read(token)
        except InvalidRefreshToken:
            return None
        state, user = self._store.look(user_id, session_id), self._users.by_id(user_id)
        if user is None or user.disabled:
            return None
        if (state.generation, state.epoch) != (generation, user.epoch):
            return None
        return Inspection(REFRESH, user, session_id, expires_at=int(self._clock()) + state.left)

    def _issue(
        self,
        user: User,
        session_id: str,
        generation: int | None,
        left: int,
        *,
        sliding: bool = False,
    ) -> Tokens:
        now = int(self._clock())
        lifetime = left if sliding else min(self._policy.token_lifetime, left)
        token_id = secrets.token_urlsafe(16)
        return Tokens(
            session_id=session_id,
            access_token=self._tokens.issue(user, session_id, token_id, now, now + lifetime),
            expires_in=lifetime,
            refresh_token=None if generation is None else self._sign(user, session_id, generation),
            refresh_expires_in=left,
        )

    def _sign(self, user: User, session_id: str, generation: int) -> str:
        family = f"{user.id}.{session_id}.{generation}"
        return f"{family}.{self._mac(family)}"

    def _mac(self, family: str) -> str:
        digest = hmac.digest(self._key, family.encode(), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _read(self, refresh_token: str) -> tuple[int, str, int]:
        match = _REFRESH_TOKEN.fullmatch(refresh_token)
        if match is None or not hmac.compare_digest(match["mac"], self._mac(match["family"])):
            raise InvalidRefreshToken
        return int(match["user_id"]), match["session_id"], int(match["generation"])

    def _report(self, user: User | None, session_id: str, client: Client) -> None:
        _log.warning("an old refresh token came back: session %s has ended", session_id[:8])
        try:
            self._audit.append(Entry(TOKEN_REPLAYED, None, user, client))
        except UsersUnavailable:
            _log.exception("the incident is not in the audit log")
