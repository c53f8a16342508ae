"""The outbox and the tokens of mails in SQL: on SQLite and on MariaDB alike."""

import hashlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update

from authsvc.core.clients import Client
from authsvc.core.errors import InvalidMailToken
from authsvc.core.letters import PASSWORD_CHANGED, RESET, VERIFY, Letter
from authsvc.core.mails import MOST_PER_HOUR, PAUSE
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, MailToken
from authsvc.core.recovery import Recovery, RecoveryPolicy
from authsvc.core.users import User
from authsvc.infra.connections import connected
from authsvc.infra.database import LetterRow, MailTokenRow
from authsvc.infra.outbox import GIVEN_UP_AFTER, LEASE, SqlMailTokens, SqlOutbox, Waiting
from authsvc.infra.users import SqlUsers
from tests.infra.databases import Crowd, migrated, new_user, sqlite_url
from tests.support.mariadb import MariaDB

ADDRESS = "alice@example.org"
LETTER = Letter(RESET, None, ADDRESS, "zh")
LIFETIME = 1800
SOMEONE = Client("192.0.2.1", "192.0.2.1")


@pytest.fixture(params=["sqlite", "mariadb"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application whose context is entered, over an empty database of each kind."""
    if request.param == "sqlite":
        url = sqlite_url(tmp_path)
    else:
        server: MariaDB = request.getfixturevalue("mariadb")
        url = server.create_database()
    with migrated(url) as app:
        yield app


@pytest.fixture
def outbox(app: Flask) -> SqlOutbox:
    return SqlOutbox()


@pytest.fixture
def tokens(app: Flask) -> SqlMailTokens:
    return SqlMailTokens()


@pytest.fixture
def alice(app: Flask) -> User:
    return add("alice", ADDRESS)


def add(name: str, email: str | None) -> User:
    user, _ = SqlUsers().add(new_user(name, email), "hash", lambda _: None)
    return user


def write(statement: Any) -> None:
    with connected(writes=True) as connection:
        connection.execute(statement)
        connection.commit()


def let_time_pass(seconds: int) -> None:
    """Put every letter so much further into the past."""
    write(
        update(LetterRow).values(
            created_at=LetterRow.created_at - seconds, next_try_at=LetterRow.next_try_at - seconds
        )
    )


def count(row: Any) -> int:
    with connected() as connection:
        return connection.scalar(select(func.count()).select_from(row)) or 0


def seconds_until_due() -> int:
    with connected() as connection:
        [next_try_at] = connection.scalars(select(LetterRow.next_try_at))
    return int(next_try_at - time.time())


def claim(outbox: SqlOutbox) -> Waiting:
    waiting = outbox.claim()
    assert waiting is not None
    return waiting


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_a_letter_is_claimed_as_it_was_put(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    waiting = claim(outbox)
    assert (waiting.letter, waiting.tries) == (LETTER, 1)


def test_putting_a_letter_wakes_the_senders_of_the_process(outbox: SqlOutbox) -> None:
    assert not outbox.news.is_set()
    outbox.put(LETTER)
    assert outbox.news.is_set()


def test_a_claimed_letter_is_nobody_elses(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    claim(outbox)
    assert SqlOutbox().claim() is None


def test_a_letter_whose_sender_crashed_is_claimed_again_after_the_lease(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    first = claim(outbox)
    let_time_pass(LEASE + 1)
    second = claim(outbox)
    assert (second.id, second.tries) == (first.id, 2)


def test_a_letter_that_was_sent_is_gone(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    outbox.done(claim(outbox))
    assert count(LetterRow) == 0


def test_a_letter_that_could_not_be_sent_waits_ever_longer_up_to_an_hour(
    outbox: SqlOutbox,
) -> None:
    outbox.put(LETTER)
    waits = []
    for _ in range(9):
        assert outbox.failed(claim(outbox))
        waits.append(seconds_until_due())
        write(update(LetterRow).values(next_try_at=int(time.time())))
    expected = [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert waits == [pytest.approx(wait - 2, abs=2) for wait in expected]


def test_a_letter_is_given_up_after_a_day(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    let_time_pass(GIVEN_UP_AFTER)
    assert not outbox.failed(claim(outbox))
    assert count(LetterRow) == 0


def test_a_sender_who_overslept_the_lease_does_not_put_the_letter_off(outbox: SqlOutbox) -> None:
    outbox.put(LETTER)
    late = claim(outbox)
    let_time_pass(LEASE + 1)
    claim(outbox)
    due = seconds_until_due()
    outbox.failed(late)
    assert seconds_until_due() == pytest.approx(due, abs=1)


def test_twenty_senders_at_once_claim_each_of_fifty_letters_once(
    app: Flask, outbox: SqlOutbox
) -> None:
    for _ in range(50):
        outbox.put(LETTER)
    start = threading.Barrier(20)

    def claim_all() -> list[int]:
        start.wait(10)
        claimed = []
        while (waiting := outbox.claim()) is not None:
            claimed.append(waiting.id)
            outbox.done(waiting)
        return claimed

    with Crowd(app, 20) as crowd:
        work = [crowd.begin(claim_all) for _ in range(20)]
        claims = Counter(letter_id for future in work for letter_id in future.result(60))
    assert len(claims) == 50
    assert set(claims.values()) == {1}


def test_a_token_is_found_by_its_hash_until_it_expires(tokens: SqlMailTokens, alice: User) -> None:
    proof = MailToken(alice.id, RESET, ADDRESS)
    assert tokens.keep("a" * 64, proof, 1_000_000, LIFETIME)
    assert tokens.look("a" * 64, 1_000_000 + LIFETIME - 1) == proof
    assert tokens.look("a" * 64, 1_000_000 + LIFETIME) is None
    assert tokens.look("b" * 64, 1_000_000) is None


def test_a_token_replaces_the_users_earlier_one_of_the_purpose_only(
    tokens: SqlMailTokens, alice: User
) -> None:
    proof = MailToken(alice.id, RESET, ADDRESS)
    tokens.keep("a" * 64, proof, 1_000_000, LIFETIME)
    tokens.keep("b" * 64, replace(proof, purpose=VERIFY), 1_000_000, LIFETIME)
    now = 1_000_000 + PAUSE
    assert tokens.keep("c" * 64, proof, now, LIFETIME)
    found = [tokens.look(digit * 64, now) is not None for digit in "abc"]
    assert found == [False, True, True]


def test_a_second_token_for_the_address_is_refused_within_the_pause(
    tokens: SqlMailTokens, alice: User
) -> None:
    proof = MailToken(alice.id, VERIFY, ADDRESS)
    tokens.keep("a" * 64, proof, 1_000_000, LIFETIME)
    assert not tokens.keep("b" * 64, proof, 1_000_000 + PAUSE - 1, LIFETIME)
    assert tokens.look("a" * 64, 1_000_000) == proof
    other = replace(proof, email="alice@example.net")
    assert tokens.keep("c" * 64, other, 1_000_000 + PAUSE - 1, LIFETIME)


def test_a_user_has_no_more_than_five_tokens_of_a_purpose_within_an_hour(
    tokens: SqlMailTokens, alice: User
) -> None:
    proof = MailToken(alice.id, VERIFY, ADDRESS)

    def keep(at: int) -> bool:
        return tokens.keep(secrets.token_hex(32), proof, 1_000_000 + at, LIFETIME)

    assert [keep(100 * turn) for turn in range(MOST_PER_HOUR + 1)] == [True] * 5 + [False]
    assert keep(3600)
    assert not keep(3600 + PAUSE)


def test_a_token_that_was_withdrawn_is_void_and_not_counted(
    tokens: SqlMailTokens, alice: User
) -> None:
    proof = MailToken(alice.id, RESET, ADDRESS)
    tokens.keep("a" * 64, proof, 1_000_000, LIFETIME)
    tokens.withdraw("a" * 64)
    assert tokens.look("a" * 64, 1_000_000) is None
    assert tokens.keep("b" * 64, proof, 1_000_001, LIFETIME)


def test_no_token_is_kept_for_a_user_who_is_gone(tokens: SqlMailTokens) -> None:
    assert not tokens.keep("a" * 64, MailToken(999, RESET, ADDRESS), 1_000_000, LIFETIME)


def test_of_tokens_made_at_once_one_is_kept(app: Flask, tokens: SqlMailTokens) -> None:
    senders = 6
    start = threading.Barrier(senders)

    def keep(proof: MailToken) -> bool:
        start.wait(10)
        return tokens.keep(secrets.token_hex(32), proof, 1_000_000, LIFETIME)

    with Crowd(app, senders) as crowd:
        for turn in range(5):
            proof = MailToken(add(f"user{turn}", ADDRESS + str(turn)).id, RESET, ADDRESS)
            work = [crowd.begin(keep, proof) for _ in range(senders)]
            assert sum(future.result(30) for future in work) == 1


def test_pruning_drops_tokens_that_expired_an_hour_ago(tokens: SqlMailTokens, alice: User) -> None:
    now = int(time.time())
    for digit, expires_at in (("a", now - 3700), ("b", now - 3500), ("c", now + 100)):
        row = {"token_hash": digit * 64, "user_id": alice.id, "purpose": RESET, "email": ADDRESS}
        write(insert(MailTokenRow).values(**row, expires_at=expires_at))
    tokens.prune()
    assert count(MailTokenRow) == 2


class PlainHasher:
    """Hashes that hide nothing."""

    def admission(self) -> AbstractContextManager[None]:
        return nullcontext()

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, password_hash: str, password: str) -> bool:
        return password_hash == self.hash(password)

    def verify_decoy(self) -> None:
        return

    def needs_rehash(self, password_hash: str) -> bool:
        return False


class NoSessions:
    """Sessions of which there are none."""

    def close_all(self, user_id: int) -> None:
        return


def recovery_over(outbox: SqlOutbox, tokens: SqlMailTokens) -> Recovery:
    return Recovery(
        SqlUsers(),
        outbox,
        tokens,
        PlainHasher(),
        PasswordRule(8, frozenset()),
        NoSessions(),
        time.time,
        RecoveryPolicy(sends_mail=True),
    )


def test_of_two_resets_at_once_with_one_token_exactly_one_wins(
    app: Flask, outbox: SqlOutbox, tokens: SqlMailTokens, alice: User
) -> None:
    recovery = recovery_over(outbox, tokens)
    for turn in range(5):
        token = secrets.token_urlsafe(32)
        proof = MailToken(alice.id, RESET, ADDRESS)
        assert tokens.keep(hash_of(token), proof, int(time.time()), LIFETIME)
        start = threading.Barrier(2)

        def reset(word: str, token: str = token, start: threading.Barrier = start) -> str | None:
            start.wait(10)
            try:
                recovery.reset(token, word, SOMEONE)
            except InvalidMailToken:
                return None
            return word

        words = [f"{name} password {turn}" for name in ("one", "other")]
        with Crowd(app, 2) as crowd:
            won = [future.result(30) for future in [crowd.begin(reset, word) for word in words]]
        [winner] = [word for word in won if word is not None]
        stored = SqlUsers().by_id(alice.id)
        assert stored is not None
        assert stored.password_hash == f"hash of {winner}"
        assert stored.epoch == turn + 1


def test_a_reset_leaves_a_letter_and_no_token(
    app: Flask, outbox: SqlOutbox, tokens: SqlMailTokens, alice: User
) -> None:
    token = secrets.token_urlsafe(32)
    proof = MailToken(alice.id, RESET, ADDRESS)
    tokens.keep(hash_of(token), proof, int(time.time()), LIFETIME)
    recovery_over(outbox, tokens).reset(token, "a new password", SOMEONE)
    assert claim(outbox).letter == Letter(PASSWORD_CHANGED, alice.id, None, "en")
    assert count(MailTokenRow) == 0


def test_neither_the_outbox_nor_the_tokens_hold_what_opens_a_link(
    app: Flask, outbox: SqlOutbox, tokens: SqlMailTokens, alice: User
) -> None:
    recovery = recovery_over(outbox, tokens)
    recovery.ask_reset(ADDRESS, SOMEONE)
    mail = recovery.write(claim(outbox).letter)
    assert mail is not None
    assert mail.token is not None
    with connected() as connection:
        rows = [*connection.execute(select(LetterRow.__table__))]
        rows += [*connection.execute(select(MailTokenRow.__table__))]
    assert len(rows) == 2
    assert mail.token not in str(rows)
    assert hash_of(mail.token) in str(rows)


def test_a_reset_takes_back_links_to_other_addresses_that_still_wait_to_be_sent(
    app: Flask, outbox: SqlOutbox, tokens: SqlMailTokens, alice: User
) -> None:
    outbox.put(Letter(VERIFY, alice.id, "thief@example.net", "en"))
    token = secrets.token_urlsafe(32)
    proof = MailToken(alice.id, RESET, ADDRESS)
    tokens.keep(hash_of(token), proof, int(time.time()), LIFETIME)
    recovery_over(outbox, tokens).reset(token, "a new password", SOMEONE)
    assert claim(outbox).letter.kind == PASSWORD_CHANGED
    assert outbox.claim() is None


def test_links_that_a_change_of_the_user_voids_still_count_within_the_hour(
    app: Flask, tokens: SqlMailTokens, alice: User
) -> None:
    now = int(time.time())
    kept = []
    for number in range(6):
        proof = MailToken(alice.id, VERIFY, f"new{number}@example.com")
        kept.append(tokens.keep(hash_of(str(number)), proof, now, LIFETIME))
        SqlUsers().edit(alice.id, lambda user, _: Change(user, drops_mail_tokens=True))
        assert tokens.look(hash_of(str(number)), now) is None
    assert kept == [True] * 5 + [False]


def test_a_letter_is_held_until_it_is_sent_or_withdrawn(outbox: SqlOutbox, alice: User) -> None:
    outbox.put(Letter(VERIFY, alice.id, "new@example.com", "en"))
    waiting = claim(outbox)
    assert outbox.holds(waiting)
    SqlUsers().edit(alice.id, lambda user, _: Change(user, drops_mail_tokens=True))
    assert not outbox.holds(waiting)
