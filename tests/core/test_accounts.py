"""The use cases of accounts: what each answers, and in which order it does its work."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from authsvc.core.accounts import Accounts, Policy
from authsvc.core.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidEmail,
    InvalidPassword,
    InvalidPermission,
    InvalidToken,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    SessionsUnavailable,
    UsernameTaken,
    UsersUnavailable,
)
from authsvc.core.users import NewUser, User
from tests.core.fakes import FakeClock, FakeHasher, FakeSessions, FakeTokens, FakeUsers, Noted

PASSWORD = "correct horse"
LIFETIME = 7200


@dataclass
class World:
    """Accounts, all that they stand on, and the journal of what they asked for."""

    clock: FakeClock = field(default_factory=FakeClock)
    users: FakeUsers = field(default_factory=FakeUsers)
    hasher: FakeHasher = field(default_factory=FakeHasher)
    journal: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.accounts = Accounts(
            users=self._noted("users", self.users),
            hasher=self._noted("hasher", self.hasher),
            tokens=self._noted("tokens", FakeTokens(self.clock)),
            sessions=self._noted("sessions", FakeSessions(self.clock)),
            clock=self.clock,
            policy=Policy(token_lifetime=LIFETIME),
        )

    def new_user(self, name: str = "bob", **given: Any) -> NewUser:
        return self.accounts.new_user(name, given.pop("password", PASSWORD), **given)

    def stored(self, name: str = "bob", **given: Any) -> User:
        return self.accounts.register(self.new_user(name, **given))

    def _noted(self, name: str, outside: Any) -> Any:
        return Noted(name, outside, self.journal, self.fails)


@pytest.fixture
def world() -> World:
    return World()


# What a user is to be made of.


def test_a_new_user_is_checked_without_anything_outside(world: World) -> None:
    new_user = world.new_user(" Straße ", email="Bob@Example.com", permission=3)
    assert new_user == NewUser(
        username="Straße",
        username_key="strasse",
        email="Bob@Example.com",
        email_key="bob@example.com",
        permission=3,
        password=PASSWORD,
    )
    assert world.journal == []


def test_a_new_user_may_have_no_address(world: World) -> None:
    new_user = world.new_user()
    assert (new_user.email, new_user.email_key, new_user.permission) == (None, None, 0)


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"name": "b\x00b"}, InvalidUsername),
        ({"email": "bob"}, InvalidEmail),
        ({"email": ""}, InvalidEmail),
        ({"password": "x" * 7}, InvalidPassword),
        ({"password": ""}, InvalidPassword),
        ({"password": "x" * 1025}, InvalidPassword),
        ({"password": "密" * 342}, InvalidPassword),
        ({"password": "password\ud800"}, InvalidPassword),
        ({"permission": -1}, InvalidPermission),
    ],
)
def test_what_can_never_be_stored_is_refused(
    world: World, given: dict[str, Any], fact: type[Exception]
) -> None:
    with pytest.raises(fact):
        world.new_user(**given)


@pytest.mark.parametrize("password", ["x" * 8, "密" * 8, "x" * 1024, "        ", "pass\x00word"])
def test_a_password_of_eight_characters_to_1024_bytes_can_be_set(
    world: World, password: str
) -> None:
    world.stored(password=password)
    assert world.accounts.log_in("bob", password)[0].username == "bob"


def test_a_refused_password_is_told_the_least_length() -> None:
    accounts = World().accounts
    accounts.policy = Policy(password_min_length=12)
    with pytest.raises(InvalidPassword) as refusal:
        accounts.new_user("bob", "x" * 11)
    assert refusal.value.min_length == 12


def test_no_password_and_no_hash_is_printed(world: World) -> None:
    assert PASSWORD not in repr(world.new_user())
    assert PASSWORD not in repr(world.stored())


# Signing up.


def test_a_sign_up_hashes_before_the_transaction_and_opens_the_session_inside_it(
    world: World,
) -> None:
    user, token = world.accounts.sign_up(world.new_user())
    assert world.journal == [
        "sessions.check",
        "hasher.hash",
        "users.add",
        "tokens.issue",
        "sessions.open",
    ]
    assert world.accounts.who_is(token) == user


@pytest.mark.parametrize("step", ["tokens.issue", "sessions.open"])
def test_a_sign_up_that_cannot_open_a_session_leaves_no_user(world: World, step: str) -> None:
    world.fails[step] = SessionsUnavailable()
    with pytest.raises(SessionsUnavailable):
        world.accounts.sign_up(world.new_user())
    assert world.users.by_username_key("bob") is None
    world.fails.clear()
    world.accounts.sign_up(world.new_user())


def test_a_registration_opens_no_session(world: World) -> None:
    world.fails["sessions.open"] = SessionsUnavailable()
    user = world.accounts.register(world.new_user())
    assert world.journal == ["hasher.hash", "users.add"]
    assert world.users.by_id(user.id) == user


def test_a_sign_up_that_finds_no_free_hash_touches_no_user(world: World) -> None:
    world.hasher.overloaded_at = "hash"
    with pytest.raises(Overloaded):
        world.accounts.sign_up(world.new_user())
    assert world.journal == ["sessions.check", "hasher.hash"]


def test_a_sign_up_that_finds_no_store_of_sessions_hashes_nothing(world: World) -> None:
    world.fails["sessions.check"] = SessionsUnavailable()
    with pytest.raises(SessionsUnavailable):
        world.accounts.sign_up(world.new_user())
    assert world.journal == ["sessions.check"]


@pytest.mark.parametrize(
    ("name", "email", "fact"),
    [
        ("ＢＯＢ", "new@example.com", UsernameTaken),
        ("new", "BOB@EXAMPLE.com", EmailTaken),
        ("BOB", "bob@example.com", UsernameTaken),
    ],
)
def test_a_taken_name_is_told_before_a_taken_address(
    world: World, name: str, email: str, fact: type[Exception]
) -> None:
    world.stored(email="bob@example.com")
    with pytest.raises(fact):
        world.accounts.sign_up(world.new_user(name, email=email))


# Logging in.


def test_a_log_in_looks_up_verifies_and_then_opens_a_session(world: World) -> None:
    user = world.stored()
    world.journal.clear()
    found, token = world.accounts.log_in(" ＢＯＢ ", PASSWORD)
    assert world.journal == [
        "users.by_username_key",
        "hasher.verify",
        "hasher.needs_rehash",
        "tokens.issue",
        "sessions.open",
    ]
    assert found == user
    assert world.accounts.who_is(token) == user


def test_a_wrong_password_opens_no_session(world: World) -> None:
    world.stored()
    world.journal.clear()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "wrong horse")
    assert world.journal == ["users.by_username_key", "hasher.verify"]


def test_an_unknown_name_costs_a_decoy_hash(world: World) -> None:
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("nobody", PASSWORD)
    assert world.journal == ["users.by_username_key", "hasher.verify_decoy"]


@pytest.mark.parametrize("name", ["", "x" * 65, "b\x00b", "b\ud800b"])
def test_a_name_that_nobody_can_have_costs_a_decoy_hash(world: World, name: str) -> None:
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in(name, PASSWORD)
    assert world.journal == ["hasher.verify_decoy"]


@pytest.mark.parametrize("password", ["x" * 1025, "密" * 342, "password\ud800"])
def test_a_password_that_nobody_can_have_costs_a_decoy_hash(world: World, password: str) -> None:
    world.stored()
    world.journal.clear()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", password)
    assert world.journal == ["users.by_username_key", "hasher.verify_decoy"]


def test_a_password_shorter_than_the_rule_is_simply_wrong_at_log_in(world: World) -> None:
    world.stored()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "x")


def test_a_password_set_under_a_laxer_rule_still_logs_in(world: World) -> None:
    world.accounts.policy = Policy(password_min_length=1)
    world.stored(password="x")
    world.accounts.policy = Policy(password_min_length=8)
    assert world.accounts.log_in("bob", "x")


def test_a_log_in_renews_a_hash_made_with_other_parameters(world: World) -> None:
    user = world.stored()
    world.hasher.cost = 2
    world.accounts.log_in("bob", PASSWORD)
    renewed = world.users.by_id(user.id)
    assert renewed is not None
    assert renewed.password_hash != user.password_hash
    assert not world.hasher.needs_rehash(renewed.password_hash)
    world.journal.clear()
    world.accounts.log_in("bob", PASSWORD)
    assert "hasher.hash" not in world.journal


def test_a_wrong_password_renews_no_hash(world: World) -> None:
    world.stored()
    world.hasher.cost = 2
    world.journal.clear()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "wrong horse")
    assert "hasher.hash" not in world.journal


def test_a_renewed_hash_does_not_overwrite_a_password_changed_meanwhile(world: World) -> None:
    user = world.stored()
    before = replace(user, password_hash="an older one")
    world.users.replace_hash(before, "the renewed one")
    assert world.users.by_id(user.id) == user


@pytest.mark.parametrize(
    ("step", "failure"),
    [("users.replace_hash", UsersUnavailable()), ("hasher.hash", Overloaded(retry_after=5))],
)
def test_a_hash_that_cannot_be_renewed_refuses_nobody(
    world: World, step: str, failure: Exception
) -> None:
    world.stored()
    world.hasher.cost = 2
    world.fails[step] = failure
    assert world.accounts.log_in("bob", PASSWORD)


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ("users.by_username_key", UsersUnavailable()),
        ("hasher.verify", Overloaded(retry_after=5)),
        ("sessions.open", SessionsUnavailable()),
    ],
)
def test_a_log_in_says_what_did_not_answer(world: World, step: str, failure: Exception) -> None:
    world.stored()
    world.fails[step] = failure
    with pytest.raises(type(failure)):
        world.accounts.log_in("bob", PASSWORD)


# Whose a token is.


def test_a_token_is_decoded_then_its_session_then_its_user_looked_up(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user())
    world.journal.clear()
    world.accounts.who_is(token)
    assert world.journal == ["tokens.decode", "sessions.is_open", "users.by_id"]


def test_a_token_that_is_none_asks_nothing_outside(world: World) -> None:
    with pytest.raises(InvalidToken):
        world.accounts.who_is("garbage")
    assert world.journal == ["tokens.decode"]


def test_a_token_tells_the_user_as_stored_now(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user())
    world.users.replace_hash(user, "another")
    assert world.accounts.who_is(token).password_hash == "another"


def test_a_revoked_token_is_refused(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user())
    world.accounts.revoke(token)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


def test_revoking_one_session_leaves_the_others_open(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user())
    _, other = world.accounts.log_in("bob", PASSWORD)
    world.accounts.revoke(token)
    assert world.accounts.who_is(other) == user


def test_a_token_is_honoured_for_its_lifetime_and_no_longer(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user())
    world.clock.advance(LIFETIME - 1)
    world.accounts.who_is(token)
    world.clock.advance(1)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


def test_a_token_whose_user_is_gone_is_refused(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user())
    world.users.delete(user)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


@pytest.mark.parametrize(
    ("step", "failure"),
    [("sessions.is_open", SessionsUnavailable()), ("users.by_id", UsersUnavailable())],
)
def test_a_token_that_cannot_be_checked_is_not_called_invalid(
    world: World, step: str, failure: Exception
) -> None:
    _, token = world.accounts.sign_up(world.new_user())
    world.fails[step] = failure
    with pytest.raises(type(failure)):
        world.accounts.who_is(token)


# Administrators.


def test_an_ordinary_user_is_no_administrator(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user())
    with pytest.raises(PermissionDenied):
        world.accounts.administrator(token)


def test_the_permission_of_an_administrator_is_a_policy(world: World) -> None:
    world.stored(permission=2)
    user, token = world.accounts.log_in("bob", PASSWORD)
    assert world.accounts.administrator(token) == user
    world.accounts.policy = Policy(admin_permission=3)
    with pytest.raises(PermissionDenied):
        world.accounts.administrator(token)


@pytest.mark.parametrize("permission", [0, 1, 2])
def test_an_administrator_grants_up_to_what_they_hold(world: World, permission: int) -> None:
    creator = world.stored(permission=2)
    user = world.accounts.create_user(creator, world.new_user("new", permission=permission))
    assert user.permission == permission
    assert world.users.by_id(user.id) == user


def test_nobody_grants_more_than_they_hold(world: World) -> None:
    creator = world.stored(permission=2)
    world.journal.clear()
    with pytest.raises(PermissionDenied):
        world.accounts.create_user(creator, world.new_user("new", permission=3))
    assert world.journal == []


def test_a_user_made_by_an_administrator_has_no_session(world: World) -> None:
    creator = world.stored(permission=1)
    world.journal.clear()
    world.accounts.create_user(creator, world.new_user("new"))
    assert world.journal == ["hasher.hash", "users.add"]
