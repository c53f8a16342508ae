"""Accounts over a real database, with everything else a small stand-in or cheap."""

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pyotp
from flask import Flask
from sqlalchemy import delete, select

from authsvc.core.clients import Client
from authsvc.core.errors import SessionsUnavailable
from authsvc.core.guessing import Guard, GuessPolicy
from authsvc.core.ports import Change
from authsvc.core.second_factor import SecondFactor
from authsvc.core.sessions import Identity
from authsvc.core.users import NewUser, User, fold
from authsvc.infra.connections import PoolOptions, connected
from authsvc.infra.database import AuditRow, LetterRow, RecoveryCodeRow, UserRow
from authsvc.infra.one_time_codes import TotpCodes
from authsvc.infra.users import SqlUsers
from authsvc.infra.vault import Vault
from tests.core.fake_guesses import FakeGuesses
from tests.core.fakes import FakeClock, FakeHasher
from tests.infra.databases import PATIENT, migrated

CLIENT = Client("192.0.2.1", "192.0.2.1", request_id="r-1", language="zh")
PASSWORD = "correct horse battery"
EMAIL = "Ann@Example.com"
CROWDED: PoolOptions = replace(PATIENT, size=60, wait=30, write_timeout=30, read_timeout=30)


def database(url: str) -> AbstractContextManager[Flask]:
    """Be an application with this database, which fifty threads can use at once."""
    return migrated(url, CROWDED)


class EndedSessions:
    """Stands in for `Sessions`, and keeps in `calls` what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.down = False

    def survive(self, identity: Identity, user: User) -> None:
        self._note("survive", identity.session_id, user.id, user.epoch)

    def close_all(self, user_id: int) -> None:
        self._note("close_all", user_id)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.down:
            raise SessionsUnavailable


class World:
    """A user with a password and an address, and what stands around accounts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.users = SqlUsers()
        self.hasher = FakeHasher()
        self.sessions = EndedSessions()
        self.guesses = FakeGuesses(self.clock, GuessPolicy())
        self.guard = Guard(self.guesses)
        self.vault = Vault("a secret for tests")
        self.codes = TotpCodes("authsvc")
        self.second_factor = SecondFactor(
            self.users, self.codes, self.vault, self.guard, self.hasher, self.clock
        )
        _empty_tables()
        self.user = self.add("ann", EMAIL)

    @property
    def identity(self) -> Identity:
        """The session of the user, as stored now."""
        return Identity(self.stored(), "session")

    def add(self, name: str, email: str | None = None, permission: int = 0) -> User:
        """Store a user."""
        key = None if email is None else fold(email)
        new_user = NewUser(name, fold(name), email, key, permission, "")
        password_hash = self.hasher.hash(PASSWORD)
        user, _ = self.users.add(new_user, password_hash, lambda _: None)
        return user

    def stored(self) -> User:
        """The user as stored now."""
        user = self.users.by_id(self.user.id)
        assert user is not None
        return user

    def edit(self, **fields: Any) -> None:
        """Changes the user behind everybody's back."""
        self.users.edit(self.user.id, lambda stored, _: Change(replace(stored, **fields)))

    def turn_on(self) -> tuple[str, list[str]]:
        """Turns one-time codes on, in the step before the next; returns secret, recovery codes."""
        secret, _ = self.second_factor.prepare(self.identity, PASSWORD, CLIENT)
        codes = self.second_factor.confirm(self.identity, self.code(secret), CLIENT)
        self.clock.advance(30)
        return secret, codes

    def code(self, secret: str, steps: int = 0) -> str:
        """The one-time code of now, or of some steps later."""
        return pyotp.TOTP(secret).at(self.clock(), counter_offset=steps)

    def entries(self) -> list[tuple[str, int | None, int | None, Any]]:
        """The audit log: action, actor, target, details."""
        wanted = select(AuditRow.action, AuditRow.actor_id, AuditRow.target_id, AuditRow.details)
        with connected() as connection:
            rows = connection.execute(wanted.order_by(AuditRow.id)).all()
        return [(action, actor, target, json.loads(text)) for action, actor, target, text in rows]

    def letters(self) -> list[tuple[str, int | None, str | None, str]]:
        """The letters that wait: kind, user, address, language."""
        wanted = select(LetterRow.kind, LetterRow.user_id, LetterRow.address, LetterRow.language)
        with connected() as connection:
            rows = connection.execute(wanted.order_by(LetterRow.id)).all()
        return [(kind, user, address, language) for kind, user, address, language in rows]


def _empty_tables() -> None:
    with connected(writes=True) as connection:
        for table in (RecoveryCodeRow, LetterRow, AuditRow, UserRow):
            connection.execute(delete(table))
        connection.commit()
