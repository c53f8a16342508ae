"""Letters that wait to be sent, and the tokens of those that were, in SQL.

A letter is claimed by one sender at a time: a conditional UPDATE puts its next try
beyond the end of a lease, on every database alike. Whoever crashes while holding a
letter loses it to the next sender when the lease is over.
"""

import random
import threading
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from authsvc.core.errors import UsersUnavailable
from authsvc.core.letters import Letter
from authsvc.core.mails import MOST_PER_HOUR, PAUSE
from authsvc.core.ports import MailToken
from authsvc.infra.connections import commit, connected, fetch, is_in_the_way
from authsvc.infra.database import LetterRow, MailTokenRow, UserRow
from authsvc.infra.notes import store_letter, void_mail_tokens
from authsvc.infra.repeating import repeated

LEASE = 60
"""Seconds for which a letter belongs to the sender who claimed it."""
GIVEN_UP_AFTER = 86_400
"""Seconds after which a letter that cannot be sent is dropped."""

_FIRST_WAIT, _LONGEST_WAIT = 30, 3600
_CANDIDATES = 20
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter that was claimed.

    Args:
        id: names it.
        letter: what is to be written.
        created_at: seconds since the epoch.
        tries: how many there were, this one included.
    """

    id: int
    letter: Letter
    created_at: int
    tries: int


class SqlOutbox:
    """Meets `authsvc.core.ports.Outbox`, and lends the letters to their senders.

    `news` is set whenever this process puts a letter.
    """

    def __init__(self) -> None:
        self.news = threading.Event()

    def put(self, letter: Letter) -> None:
        """Keep a letter until it has been sent."""
        repeated(lambda: _put(letter))
        self.news.set()

    def claim(self) -> Waiting | None:
        """Return a letter that is due, and let nobody else have it for `LEASE` seconds.

        Raises:
            UsersUnavailable
        """
        while due := _due():
            random.shuffle(due)  # so that senders who look at once rarely want the same
            for letter_id, seen in due:
                waiting = _claim_one(letter_id, seen)
                if waiting is not None:
                    return waiting
        return None

    def done(self, waiting: Waiting) -> None:
        """Forget a letter: it was sent, or is not to be.

        Raises:
            UsersUnavailable
        """
        with connected(writes=True) as connection:
            connection.execute(delete(LetterRow).where(LetterRow.id == waiting.id))
            connection.commit()

    def holds(self, waiting: Waiting) -> bool:
        """Tell whether a letter still waits: a change of its user may have withdrawn it.

        Raises:
            UsersUnavailable
        """
        this = select(LetterRow.id).where(LetterRow.id == waiting.id)
        return bool(fetch(this))

    def failed(self, waiting: Waiting) -> bool:
        """Keep a letter for a later try: after 30 s, then twice as long each time, up to 1 h.

        Returns:
            False if a day has passed: the letter is forgotten.

        Raises:
            UsersUnavailable
        """
        now = int(time.time())
        if now - waiting.created_at >= GIVEN_UP_AFTER:
            self.done(waiting)
            return False
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(waiting.tries - 1, 10))
        mine = (LetterRow.id == waiting.id) & (LetterRow.tries == waiting.tries)
        with connected(writes=True) as connection:
            connection.execute(update(LetterRow).where(mine).values(next_try_at=now + wait))
            connection.commit()
        return True


class SqlMailTokens:
    """Meets `authsvc.core.mails.MailTokenStore`.

    A token that is replaced stays for a while, under a hash that nothing has, so that
    it is still counted.
    """

    def keep(self, token_hash: str, token: MailToken, made_at: int, lifetime: int) -> bool:
        """Keep a token in place of the user's earlier ones of the purpose, if that is not too soon.

        The user is locked, so that two tokens are never both the first.
        """
        return repeated(lambda: _keep(token_hash, token, made_at, lifetime))

    def look(self, token_hash: str, now: int) -> MailToken | None:
        """Return a token that is kept and has not expired."""
        live = (MailTokenRow.token_hash == token_hash) & (MailTokenRow.expires_at > now)
        wanted = select(MailTokenRow.user_id, MailTokenRow.purpose, MailTokenRow.email)
        rows = fetch(wanted.where(live))
        return MailToken(*rows[0]) if rows else None

    def withdraw(self, token_hash: str) -> None:
        """Forget a token that was never sent, as if it had not been made."""
        with connected(writes=True) as connection:
            connection.execute(delete(MailTokenRow).where(MailTokenRow.token_hash == token_hash))
            connection.commit()

    def prune(self) -> None:
        """Drop what expired more than an hour ago, and so is not counted any more.

        Raises:
            UsersUnavailable
        """
        old = MailTokenRow.expires_at <= int(time.time()) - _HOUR
        with connected(writes=True) as connection:
            connection.execute(delete(MailTokenRow).where(old))
            connection.commit()


def _put(letter: Letter) -> None:
    with connected(writes=True) as connection:
        store_letter(connection, letter)
        commit(connection)


def _keep(token_hash: str, token: MailToken, made_at: int, lifetime: int) -> bool:
    with connected(writes=True) as connection:
        user = select(UserRow.id).where(UserRow.id == token.user_id).with_for_update()
        if connection.execute(user).first() is None:
            return False
        if _is_too_soon(connection, token, made_at, lifetime):
            return False
        void_mail_tokens(connection, _of_purpose(token))
        connection.execute(
            insert(MailTokenRow).values(
                token_hash=token_hash,
                user_id=token.user_id,
                purpose=token.purpose,
                email=token.email,
                expires_at=made_at + lifetime,
            )
        )
        commit(connection)
    return True


def _due() -> list[tuple[int, int]]:
    wanted = (
        select(LetterRow.id, LetterRow.next_try_at)
        .where(LetterRow.next_try_at <= int(time.time()))
        .order_by(LetterRow.next_try_at, LetterRow.id)
        .limit(_CANDIDATES)
    )
    return [(letter_id, seen) for letter_id, seen in fetch(wanted)]


def _claim_one(letter_id: int, seen: int) -> Waiting | None:
    try:
        return _claim_once(letter_id, seen)
    except UsersUnavailable as error:
        if is_in_the_way(error.__cause__):
            return None
        raise


def _claim_once(letter_id: int, seen: int) -> Waiting | None:
    unclaimed = (LetterRow.id == letter_id) & (LetterRow.next_try_at == seen)
    lease = {"next_try_at": int(time.time()) + LEASE, "tries": LetterRow.tries + 1}
    with connected(writes=True) as connection:
        if not connection.execute(update(LetterRow).where(unclaimed).values(lease)).rowcount:
            return None
        columns = (
            LetterRow.kind,
            LetterRow.user_id,
            LetterRow.address,
            LetterRow.language,
            LetterRow.created_at,
            LetterRow.tries,
        )
        row = connection.execute(select(*columns).where(LetterRow.id == letter_id)).one()
        connection.commit()
    letter = Letter(row.kind, row.user_id, row.address, row.language)
    return Waiting(letter_id, letter, row.created_at, row.tries)


def _of_purpose(token: MailToken) -> ColumnElement[bool]:
    return (MailTokenRow.user_id == token.user_id) & (MailTokenRow.purpose == token.purpose)


def _is_too_soon(connection: Connection, token: MailToken, now: int, lifetime: int) -> bool:
    wanted = select(MailTokenRow.email, MailTokenRow.expires_at).where(_of_purpose(token))
    made = [(row.email, row.expires_at - lifetime) for row in connection.execute(wanted)]
    within_hour = sum(at > now - _HOUR for _, at in made)
    return within_hour >= MOST_PER_HOUR or any(
        email == token.email and at > now - PAUSE for email, at in made
    )
