"""E-mail verification and password recovery: who gets which mail, and what a link does."""

import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar, cast

import pytest

from authsvc.core.audit import EMAIL_CHANGED as ADDRESS_CHANGED
from authsvc.core.audit import EMAIL_VERIFIED, PASSWORD_RESET
from authsvc.core.clients import Client
from authsvc.core.errors import (
    EmailTaken,
    InvalidEmail,
    InvalidMailToken,
    InvalidPassword,
    MailOff,
    Overloaded,
    SessionsUnavailable,
    UnknownUser,
    WeakPassword,
)
from authsvc.core.letters import EMAIL_CHANGED, PASSWORD_CHANGED, RESET, VERIFY, Letter
from authsvc.core.mails import Mail
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, MailToken, PasswordHasher, Users
from authsvc.core.recovery import Recovery, RecoveryPolicy
from authsvc.core.users import User, fold

ADDRESS, NEW_ADDRESS = "Alice@example.org", "alice@example.net"
ALICE = User(1, "alice", ADDRESS, 0, "{}", "old hash", email_verified=True)
READER = Client("192.0.2.1", "192.0.2.1", request_id="r1", language="zh")
T = TypeVar("T")
NOW = 1_800_000_000


class Tokens:
    """Keeps tokens; refuses the next ones on demand."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[MailToken, int]] = {}
        self.too_soon = False

    def keep(self, token_hash: str, token: MailToken, made_at: int, lifetime: int) -> bool:
        if not self.too_soon:
            self.kept[token_hash] = (token, made_at + lifetime)
        return not self.too_soon

    def look(self, token_hash: str, now: int) -> MailToken | None:
        token, expires_at = self.kept.get(token_hash, (None, 0))
        return token if expires_at > now else None

    def withdraw(self, token_hash: str) -> None:
        self.kept.pop(token_hash, None)


class Stored:
    """Users of whom only what recovery needs is kept, and what was noted along."""

    def __init__(self, tokens: Tokens, *users: User) -> None:
        self.users = {user.id: user for user in users}
        self.changes: list[Change] = []
        self._tokens = tokens

    def by_email_key(self, key: str) -> User | None:
        held = (user for user in self.users.values() if user.email and fold(user.email) == key)
        return next(held, None)

    def by_id(self, user_id: int) -> User | None:
        return self.users.get(user_id)

    def edit(
        self, user_id: int, decide: Callable[[User, User | None], Change], by: int | None = None
    ) -> User | None:
        if user_id not in self.users:
            raise UnknownUser
        change = decide(self.users[user_id], None)
        after = change.after
        assert after is not None
        assert change.spends_mail_token is not None
        if change.spends_mail_token not in self._tokens.kept:
            raise InvalidMailToken
        holder = None if after.email is None else self.by_email_key(fold(after.email))
        if holder is not None and holder.id != user_id:
            raise EmailTaken
        self._tokens.withdraw(change.spends_mail_token)
        self.users[user_id] = after
        self.changes.append(change)
        return after


class Hasher:
    """Hashes that hide nothing; called `full` it has no room."""

    def __init__(self) -> None:
        self.full = False
        self.hashed: list[str] = []

    def admission(self) -> AbstractContextManager[None]:
        if self.full:
            raise Overloaded(5)
        return nullcontext()

    def hash(self, password: str) -> str:
        if self.full:
            raise Overloaded(5)
        self.hashed.append(password)
        return f"hash of {password}"


class Ended:
    """Takes note of whose sessions are ended; called `down` it cannot."""

    def __init__(self) -> None:
        self.of: list[int] = []
        self.down = False

    def close_all(self, user_id: int) -> None:
        if self.down:
            raise SessionsUnavailable
        self.of.append(user_id)


class Box:
    """Meets `Outbox`."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def put(self, letter: Letter) -> None:
        self.letters.append(letter)


class World:
    """Recovery, and all that stands around it."""

    def __init__(self, *users: User, sends_mail: bool = True) -> None:
        self.now = NOW
        self.tokens, self.box = Tokens(), Box()
        self.users = Stored(self.tokens, *users)
        self.hasher, self.sessions = Hasher(), Ended()
        self.recovery = Recovery(
            cast(Users, self.users),
            self.box,
            self.tokens,
            cast(PasswordHasher, self.hasher),
            PasswordRule(8, frozenset({"12345678"})),
            self.sessions,
            lambda: float(self.now),
            RecoveryPolicy(sends_mail, 1800),
        )

    def write(self, kind: str, user_id: int | None, address: str | None) -> Mail | None:
        return self.recovery.write(Letter(kind, user_id, address, "zh"))

    def link(self, kind: str = RESET, address: str = ADDRESS) -> str:
        """Return the token of a mail to alice."""
        mail = self.write(kind, 1, address)
        assert mail is not None
        assert mail.token is not None
        return mail.token

    @property
    def alice(self) -> User:
        return self.users.users[1]


def test_asking_leaves_the_same_letter_whether_anyone_has_the_address_or_not() -> None:
    for users in ((), (ALICE,), (replace(ALICE, disabled=True),)):
        world = World(*users)
        world.recovery.ask_reset(ADDRESS, READER)
        world.recovery.ask_verification(ADDRESS, READER)
        assert world.box.letters == [
            Letter(RESET, None, ADDRESS, "zh"),
            Letter(VERIFY, None, ADDRESS, "zh"),
        ]


def test_what_is_no_address_is_refused() -> None:
    world = World()
    for email in ("", "alice", "a@b@example.org", "a@example.org\r\nBcc: b@example.org"):
        with pytest.raises(InvalidEmail):
            world.recovery.ask_reset(email, READER)
    assert world.box.letters == []


def test_nothing_is_asked_where_no_mail_is_sent() -> None:
    world = World(ALICE, sends_mail=False)
    with pytest.raises(MailOff):
        world.recovery.ask_reset(ADDRESS, READER)
    with pytest.raises(MailOff):
        world.recovery.ask_verification(ADDRESS, READER)


def test_a_reset_goes_to_the_stored_address_whatever_was_typed() -> None:
    mail = World(ALICE).write(RESET, None, "ALICE@EXAMPLE.ORG")
    assert mail is not None
    assert (mail.address, mail.username, mail.language, mail.minutes) == (
        ADDRESS,
        "alice",
        "zh",
        30,
    )


def test_a_token_is_43_characters_and_only_its_hash_is_kept() -> None:
    world = World(ALICE)
    token = world.link()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert list(world.tokens.kept) == [hashlib.sha256(token.encode()).hexdigest()]
    assert world.link() != token


@pytest.mark.parametrize(
    ("users", "kind", "user_id", "address"),
    [
        ((), RESET, None, ADDRESS),
        ((), VERIFY, None, ADDRESS),
        ((), PASSWORD_CHANGED, 1, None),
        ((ALICE,), RESET, None, "bob@example.org"),
        ((ALICE,), VERIFY, None, ADDRESS),
        ((ALICE,), VERIFY, 1, ADDRESS),
        ((replace(ALICE, disabled=True),), RESET, None, ADDRESS),
        ((replace(ALICE, disabled=True, email_verified=False),), VERIFY, 1, ADDRESS),
        ((replace(ALICE, email=None),), PASSWORD_CHANGED, 1, None),
        ((replace(ALICE, email=None),), VERIFY, 1, None),
    ],
)
def test_a_letter_without_a_reader_becomes_no_mail(
    users: tuple[User, ...], kind: str, user_id: int | None, address: str | None
) -> None:
    world = World(*users)
    assert world.write(kind, user_id, address) is None
    assert world.tokens.kept == {}


@pytest.mark.parametrize("kind", [RESET, VERIFY])
def test_a_mail_too_soon_after_another_is_not_sent(kind: str) -> None:
    world = World(replace(ALICE, email_verified=False))
    world.tokens.too_soon = True
    assert world.write(kind, None, ADDRESS) is None


def test_a_mail_to_an_address_that_is_not_verified_does_not_say_the_name() -> None:
    unverified = World(replace(ALICE, email_verified=False))
    for kind in (VERIFY, RESET):
        mail = unverified.write(kind, None, ADDRESS)
        assert mail is not None
        assert mail.username is None
    mail = World(ALICE).write(VERIFY, 1, NEW_ADDRESS)
    assert mail is not None
    assert (mail.address, mail.username) == (NEW_ADDRESS, None)


def test_the_old_address_is_told_of_the_new_one() -> None:
    mail = World(replace(ALICE, email=NEW_ADDRESS)).write(EMAIL_CHANGED, 1, ADDRESS)
    assert mail == Mail(EMAIL_CHANGED, ADDRESS, "zh")


def test_a_mail_that_could_not_be_sent_leaves_no_token() -> None:
    world = World(ALICE)
    mail = world.write(RESET, None, ADDRESS)
    assert mail is not None
    world.recovery.withdraw(mail)
    assert world.tokens.kept == {}


def test_a_link_verifies_the_address_once() -> None:
    world = World(replace(ALICE, email_verified=False))
    token = world.link(VERIFY)
    assert world.recovery.confirm(token, READER) == ADDRESS
    assert world.alice.email_verified
    [change] = world.users.changes
    assert [entry.action for entry in change.note.entries] == [EMAIL_VERIFIED]
    assert change.note.letters == ()
    with pytest.raises(InvalidMailToken):
        world.recovery.confirm(token, READER)


def test_a_link_to_another_address_changes_it_and_tells_the_old_one() -> None:
    world = World(ALICE)
    assert world.recovery.confirm(world.link(VERIFY, NEW_ADDRESS), READER) == NEW_ADDRESS
    assert (world.alice.email, world.alice.email_verified) == (NEW_ADDRESS, True)
    [change] = world.users.changes
    assert [entry.action for entry in change.note.entries] == [ADDRESS_CHANGED]
    assert change.note.letters == (Letter(EMAIL_CHANGED, 1, ADDRESS, "zh"),)
    assert change.drops_mail_tokens


def test_a_first_address_has_no_old_one_to_tell() -> None:
    world = World(replace(ALICE, email=None, email_verified=False))
    world.recovery.confirm(world.link(VERIFY, NEW_ADDRESS), READER)
    [change] = world.users.changes
    assert change.note.letters == ()


def test_an_address_that_another_user_took_meanwhile_stays_theirs() -> None:
    world = World(ALICE, replace(ALICE, id=2, username="bob", email=NEW_ADDRESS))
    token = world.link(VERIFY, NEW_ADDRESS)
    with pytest.raises(EmailTaken):
        world.recovery.confirm(token, READER)
    assert world.alice == ALICE
    assert world.tokens.kept != {}


def test_a_reset_replaces_the_password_and_ends_everything() -> None:
    world = World(replace(ALICE, email_verified=False, epoch=4))
    world.recovery.reset(world.link(), "a new password", READER)
    alice = world.alice
    assert (alice.password_hash, alice.epoch, alice.email_verified) == (
        "hash of a new password",
        5,
        True,
    )
    assert world.sessions.of == [1]
    [change] = world.users.changes
    assert change.drops_mail_tokens
    assert [entry.action for entry in change.note.entries] == [PASSWORD_RESET]
    assert change.note.letters == (Letter(PASSWORD_CHANGED, 1, None, "zh"),)


def test_a_reset_succeeds_while_the_store_of_sessions_is_down() -> None:
    world = World(ALICE)
    world.sessions.down = True
    world.recovery.reset(world.link(), "a new password", READER)
    assert world.alice.epoch == ALICE.epoch + 1


@pytest.mark.parametrize(
    ("password", "fact"),
    [("short", InvalidPassword), ("12345678", WeakPassword), ("alice-1234", WeakPassword)],
)
def test_a_password_that_is_refused_leaves_the_link_good(
    password: str, fact: type[Exception]
) -> None:
    world = World(ALICE)
    token = world.link()
    with pytest.raises(fact):
        world.recovery.reset(token, password, READER)
    assert world.hasher.hashed == []
    world.recovery.reset(token, "a new password", READER)


def test_an_overload_leaves_the_link_good() -> None:
    world = World(ALICE)
    token = world.link()
    world.hasher.full = True
    with pytest.raises(Overloaded):
        world.recovery.reset(token, "a new password", READER)
    world.hasher.full = False
    world.recovery.reset(token, "a new password", READER)


@pytest.mark.parametrize(
    "token", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n", "é" * 43]
)
def test_a_malformed_token_is_refused(token: str) -> None:
    world = World(ALICE)
    refused(world, token)


def test_an_unknown_token_is_refused_before_anything_is_hashed() -> None:
    world = World(ALICE)
    refused(world, "A" * 43)
    assert world.hasher.hashed == []


def test_a_link_expires() -> None:
    world = World(replace(ALICE, email_verified=False))
    reset, verify = world.link(RESET), world.link(VERIFY)
    world.now += 1800
    for token in (reset, verify):
        refused(world, token)


def test_a_link_of_one_purpose_is_good_for_no_other() -> None:
    world = World(replace(ALICE, email_verified=False))
    reset, verify = world.link(RESET), world.link(VERIFY)
    with pytest.raises(InvalidMailToken):
        world.recovery.confirm(reset, READER)
    with pytest.raises(InvalidMailToken):
        world.recovery.reset(verify, "a new password", READER)


@pytest.mark.parametrize("after", [None, replace(ALICE, disabled=True, email_verified=False)])
def test_the_links_of_a_user_who_is_gone_or_disabled_are_void(after: User | None) -> None:
    world = World(replace(ALICE, email_verified=False))
    reset, verify = world.link(RESET), world.link(VERIFY)
    if after is None:
        del world.users.users[1]
    else:
        world.users.users[1] = after
    for token in (reset, verify):
        refused(world, token)


def test_a_reset_link_is_void_once_the_user_has_another_address() -> None:
    world = World(ALICE)
    token = world.link()
    world.users.users[1] = replace(ALICE, email=NEW_ADDRESS)
    refused(world, token)


def test_neither_a_mail_nor_its_letter_shows_a_token_when_printed() -> None:
    mail = Mail(RESET, ADDRESS, "en", token="secret")
    assert "secret" not in repr(mail)


def refused(world: World, token: str) -> None:
    """Check that a token opens nothing."""
    with pytest.raises(InvalidMailToken):
        world.recovery.confirm(token, READER)
    with pytest.raises(InvalidMailToken):
        world.recovery.reset(token, "a new password", READER)
    assert world.users.changes == []
