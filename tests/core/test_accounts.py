"""The use cases of accounts: what each answers, and in which order it does its work."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from authsvc.core.accounts import Accounts, Policy
from authsvc.core.clients import Client
from authsvc.core.errors import (
    EmailTaken,
    InvalidCode,
    InvalidCredentials,
    InvalidEmail,
    InvalidPassword,
    InvalidPermission,
    InvalidToken,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    SecondFactorRequired,
    SessionsUnavailable,
    SignUpClosed,
    TooManyAttempts,
    UserDisabled,
    UsernameTaken,
    UsersUnavailable,
    WeakPassword,
)
from authsvc.core.guessing import Guard, GuessPolicy
from authsvc.core.letters import VERIFY, Letter
from authsvc.core.passwords import PasswordRule
from authsvc.core.sessions import SessionPolicy, Sessions
from authsvc.core.users import NewUser, User
from tests.core.fake_guesses import FakeGuesses
from tests.core.fake_sessions import FakeSessionStore
from tests.core.fakes import FakeAudit, FakeClock, FakeHasher, FakeTokens, FakeUsers, Noted

PASSWORD = "correct horse"
LIFETIME = 7200
CODE = "123456"
CLIENT = Client("192.0.2.1", "192.0.2.1", "a test", "request")


class FakeCodes:
    """Knows one code."""

    def spend(self, user: User, code: str, client: Client) -> None:
        if code != CODE:
            raise InvalidCode


@dataclass
class World:
    """Accounts, all that they stand on, and the journal of what they asked for."""

    clock: FakeClock = field(default_factory=FakeClock)
    users: FakeUsers = field(default_factory=FakeUsers)
    guesses: FakeGuesses | None = None
    hasher: FakeHasher = field(default_factory=FakeHasher)
    journal: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        users = self._noted("users", self.users)
        self.rule = PasswordRule(8, {"password1"})
        self.sessions = Sessions(
            store=self._noted("sessions", FakeSessionStore(self.clock)),
            tokens=self._noted("tokens", FakeTokens(self.clock)),
            users=users,
            audit=FakeAudit(),
            clock=self.clock,
            key=b"key",
            policy=SessionPolicy(token_lifetime=LIFETIME),
        )
        self.accounts = Accounts(
            users=users,
            hasher=self._noted("hasher", self.hasher),
            rule=self.rule,
            sessions=self.sessions,
            guard=Guard(self.guesses),
            second_factor=self._noted("codes", FakeCodes()),
            policy=Policy(),
        )

    def new_user(self, name: str = "bob", **given: Any) -> NewUser:
        return self.accounts.new_user(name, given.pop("password", PASSWORD), **given)

    def stored(self, name: str = "bob", **given: Any) -> User:
        return self.accounts.register(self.new_user(name, **given), CLIENT)

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
    assert world.accounts.log_in("bob", password, CLIENT)[0].username == "bob"


def test_a_refused_password_is_told_the_least_length() -> None:
    world = World()
    accounts = world.accounts
    world.rule.min_length = 12
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
    user, token = world.accounts.sign_up(world.new_user(), CLIENT)
    assert world.journal == [
        "hasher.admission",
        "sessions.check",
        "tokens.prepare",
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
        world.accounts.sign_up(world.new_user(), CLIENT)
    assert world.users.by_username_key("bob") is None
    world.fails.clear()
    world.accounts.sign_up(world.new_user(), CLIENT)


def test_a_registration_opens_no_session(world: World) -> None:
    world.fails["sessions.open"] = SessionsUnavailable()
    user = world.accounts.register(world.new_user(), CLIENT)
    assert world.journal == ["hasher.hash", "users.add"]
    assert world.users.by_id(user.id) == user


def test_a_sign_up_that_finds_no_free_hash_touches_no_user(world: World) -> None:
    world.hasher.overloaded_at = "hash"
    with pytest.raises(Overloaded):
        world.accounts.sign_up(world.new_user(), CLIENT)
    assert world.journal == [
        "hasher.admission",
        "sessions.check",
        "tokens.prepare",
        "hasher.hash",
    ]


def test_a_sign_up_that_finds_no_store_of_sessions_hashes_nothing(world: World) -> None:
    world.fails["sessions.check"] = SessionsUnavailable()
    with pytest.raises(SessionsUnavailable):
        world.accounts.sign_up(world.new_user(), CLIENT)
    assert world.journal == ["hasher.admission", "sessions.check"]


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
        world.accounts.sign_up(world.new_user(name, email=email), CLIENT)


# Logging in.


def test_a_log_in_looks_up_verifies_and_then_opens_a_session(world: World) -> None:
    user = world.stored()
    world.journal.clear()
    found, token = world.accounts.log_in(" ＢＯＢ ", PASSWORD, CLIENT)
    assert world.journal == [
        "hasher.admission",
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
        world.accounts.log_in("bob", "wrong horse", CLIENT)
    assert world.journal == ["hasher.admission", "users.by_username_key", "hasher.verify"]


def test_an_unknown_name_costs_a_decoy_hash(world: World) -> None:
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("nobody", PASSWORD, CLIENT)
    assert world.journal == ["hasher.admission", "users.by_username_key", "hasher.verify_decoy"]


@pytest.mark.parametrize("name", ["", "x" * 65, "b\x00b", "b\ud800b"])
def test_a_name_that_nobody_can_have_costs_a_decoy_hash(world: World, name: str) -> None:
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in(name, PASSWORD, CLIENT)
    assert world.journal == ["hasher.admission", "hasher.verify_decoy"]


@pytest.mark.parametrize("password", ["x" * 1025, "密" * 342, "password\ud800"])
def test_a_password_that_nobody_can_have_costs_a_decoy_hash(world: World, password: str) -> None:
    world.stored()
    world.journal.clear()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", password, CLIENT)
    assert world.journal == ["hasher.admission", "users.by_username_key", "hasher.verify_decoy"]


def test_a_password_shorter_than_the_rule_is_simply_wrong_at_log_in(world: World) -> None:
    world.stored()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "x", CLIENT)


def test_a_password_set_under_a_laxer_rule_still_logs_in(world: World) -> None:
    world.rule.min_length = 1
    world.stored(password="x")
    world.rule.min_length = 8
    assert world.accounts.log_in("bob", "x", CLIENT)


def test_a_log_in_renews_a_hash_made_with_other_parameters(world: World) -> None:
    user = world.stored()
    world.hasher.cost = 2
    world.accounts.log_in("bob", PASSWORD, CLIENT)
    renewed = world.users.by_id(user.id)
    assert renewed is not None
    assert renewed.password_hash != user.password_hash
    assert not world.hasher.needs_rehash(renewed.password_hash)
    world.journal.clear()
    world.accounts.log_in("bob", PASSWORD, CLIENT)
    assert "hasher.hash" not in world.journal


def test_a_wrong_password_renews_no_hash(world: World) -> None:
    world.stored()
    world.hasher.cost = 2
    world.journal.clear()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "wrong horse", CLIENT)
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
    assert world.accounts.log_in("bob", PASSWORD, CLIENT)


@pytest.mark.parametrize("case", ["log_in", "sign_up"])
def test_what_cannot_be_hashed_costs_nothing(world: World, case: str) -> None:
    world.stored()
    new_user = world.new_user("alice")
    world.journal.clear()
    world.hasher.overloaded_at = "admission"
    tries: dict[str, Callable[[], object]] = {
        "log_in": lambda: world.accounts.log_in("bob", PASSWORD, CLIENT),
        "sign_up": lambda: world.accounts.sign_up(new_user, CLIENT),
    }
    with pytest.raises(Overloaded):
        tries[case]()
    assert world.journal == ["hasher.admission"]


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
        world.accounts.log_in("bob", PASSWORD, CLIENT)


# Whose a token is.


def test_a_token_is_decoded_then_its_session_then_its_user_looked_up(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.journal.clear()
    world.accounts.who_is(token)
    assert world.journal == ["tokens.decode", "sessions.touch", "users.by_id"]


def test_a_token_that_is_none_asks_nothing_outside(world: World) -> None:
    with pytest.raises(InvalidToken):
        world.accounts.who_is("garbage")
    assert world.journal == ["tokens.decode"]


def test_a_token_tells_the_user_as_stored_now(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.users.replace_hash(user, "another")
    assert world.accounts.who_is(token).password_hash == "another"


def test_a_revoked_token_is_refused(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.sessions.revoke(token)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


def test_revoking_one_session_leaves_the_others_open(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user(), CLIENT)
    _, other = world.accounts.log_in("bob", PASSWORD, CLIENT)
    world.sessions.revoke(token)
    assert world.accounts.who_is(other) == user


def test_a_token_is_honoured_for_its_lifetime_and_no_longer(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.clock.advance(LIFETIME - 1)
    world.accounts.who_is(token)
    world.clock.advance(1)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


def test_a_token_whose_user_is_gone_is_refused(world: World) -> None:
    user, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.users.put(user, None)
    with pytest.raises(InvalidToken):
        world.accounts.who_is(token)


@pytest.mark.parametrize(
    ("step", "failure"),
    [("sessions.touch", SessionsUnavailable()), ("users.by_id", UsersUnavailable())],
)
def test_a_token_that_cannot_be_checked_is_not_called_invalid(
    world: World, step: str, failure: Exception
) -> None:
    _, token = world.accounts.sign_up(world.new_user(), CLIENT)
    world.fails[step] = failure
    with pytest.raises(type(failure)):
        world.accounts.who_is(token)


# Administrators.


def test_an_ordinary_user_is_no_administrator(world: World) -> None:
    _, token = world.accounts.sign_up(world.new_user(), CLIENT)
    with pytest.raises(PermissionDenied):
        world.accounts.administrator(token)


def test_the_permission_of_an_administrator_is_a_policy(world: World) -> None:
    world.stored(permission=2)
    user, token = world.accounts.log_in("bob", PASSWORD, CLIENT)
    assert world.accounts.administrator(token) == user
    world.accounts.policy = Policy(admin_permission=3)
    with pytest.raises(PermissionDenied):
        world.accounts.administrator(token)


@pytest.mark.parametrize("permission", [0, 1, 2])
def test_an_administrator_grants_up_to_what_they_hold(world: World, permission: int) -> None:
    creator = world.stored(permission=2)
    user = world.accounts.create_user(creator, world.new_user("new", permission=permission), CLIENT)
    assert user.permission == permission
    assert world.users.by_id(user.id) == user


def test_nobody_grants_more_than_they_hold(world: World) -> None:
    creator = world.stored(permission=2)
    world.journal.clear()
    with pytest.raises(PermissionDenied):
        world.accounts.create_user(creator, world.new_user("new", permission=3), CLIENT)
    assert world.journal == []


@pytest.mark.parametrize(
    "now",
    [{"permission": 1}, {"disabled": True}, {"permission": 0}],
    ids=["demoted", "disabled", "no administrator"],
)
def test_a_creator_is_held_to_what_they_are_when_the_user_is_stored(
    world: World, now: dict[str, Any]
) -> None:
    creator = world.stored(permission=2)
    world.users.put(creator, replace(creator, **now))
    with pytest.raises(PermissionDenied):
        world.accounts.create_user(creator, world.new_user("new", permission=2), CLIENT)
    assert world.users.by_username_key("new") is None


def test_the_audit_log_says_which_permission_was_granted(world: World) -> None:
    creator = world.stored(permission=2)
    world.accounts.create_user(creator, world.new_user("new", permission=1), CLIENT)
    [entry] = world.users.notes[-1].entries
    assert (entry.actor, entry.details) == (creator, {"permission": 1})


def test_a_user_made_by_an_administrator_has_no_session(world: World) -> None:
    creator = world.stored(permission=1)
    world.journal.clear()
    world.accounts.create_user(creator, world.new_user("new"), CLIENT)
    assert world.journal == ["hasher.hash", "users.add"]


# Second factors, addresses, guesses.


def with_codes(world: World, **given: Any) -> User:
    user = world.stored(**given)
    after = replace(user, totp_on=True)
    world.users.put(user, after)
    return after


def test_who_has_codes_cannot_log_in_where_there_is_no_place_for_one(world: World) -> None:
    with_codes(world)
    with pytest.raises(InvalidCredentials) as refusal:
        world.accounts.log_in("bob", PASSWORD, CLIENT)
    assert type(refusal.value) is InvalidCredentials


@pytest.mark.parametrize(
    ("password", "code", "fact"),
    [
        (PASSWORD, None, SecondFactorRequired),
        (PASSWORD, "000000", InvalidCode),
        ("wrong horse", CODE, InvalidCredentials),
        ("wrong horse", None, InvalidCredentials),
    ],
)
def test_a_code_is_asked_for_once_the_password_is_right(
    world: World, password: str, code: str | None, fact: type[Exception]
) -> None:
    with_codes(world)
    with pytest.raises(fact) as refusal:
        world.accounts.log_in_renewably("bob", password, code, CLIENT)
    assert type(refusal.value) is fact
    user, tokens = world.accounts.log_in_renewably("bob", PASSWORD, CODE, CLIENT)
    assert world.accounts.who_is(tokens.access_token) == user


def test_a_verified_address_logs_in_and_an_unverified_one_does_not(world: World) -> None:
    user = world.stored(email="Bob@example.com")
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in_renewably("bob@EXAMPLE.com", PASSWORD, None, CLIENT)
    world.users.put(user, replace(user, email_verified=True))
    found, _ = world.accounts.log_in_renewably("bob@EXAMPLE.com", PASSWORD, None, CLIENT)
    assert found.id == user.id
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob@example.com", PASSWORD, CLIENT)


LOG_INS: dict[str, Callable[[World, str], object]] = {
    "log-in": lambda world, word: world.accounts.log_in("bob", word, CLIENT),
    "with codes": lambda world, word: world.accounts.log_in_renewably("bob", word, None, CLIENT),
}


@pytest.mark.parametrize("log_in", LOG_INS.values(), ids=LOG_INS)
def test_a_disabled_user_is_a_wrong_password_at_the_same_cost(
    world: World, log_in: Callable[[World, str], object]
) -> None:
    user = world.stored()
    world.users.put(user, replace(user, disabled=True))
    for word, fact in [(PASSWORD, UserDisabled), ("wrong horse", InvalidCredentials)]:
        world.journal.clear()
        with pytest.raises(InvalidCredentials) as refused:
            log_in(world, word)
        assert refused.type is fact
        assert [step for step in world.journal if "users" not in step] == [
            "hasher.admission",
            "hasher.verify",
        ]


def test_the_right_password_of_a_disabled_user_is_a_guess_like_any_other() -> None:
    world = World(guesses=FakeGuesses(FakeClock(), GuessPolicy(pair=3)))
    user = world.stored()
    world.users.put(user, replace(user, disabled=True))
    for _ in range(3):
        with pytest.raises(UserDisabled):
            world.accounts.log_in("bob", PASSWORD, CLIENT)
    with pytest.raises(TooManyAttempts) as refused:
        world.accounts.log_in("bob", PASSWORD, CLIENT)
    assert refused.value.free == 3


def test_sign_up_is_open_unless_the_operator_closes_it(world: World) -> None:
    world.accounts.require_open_sign_up()
    world.accounts.policy = Policy(sign_up_open=False)
    with pytest.raises(SignUpClosed):
        world.accounts.require_open_sign_up()


def test_who_must_wait_costs_no_look_up_and_no_hash() -> None:
    world = World(guesses=FakeGuesses(FakeClock(), GuessPolicy(pair=1)))
    world.stored()
    with pytest.raises(InvalidCredentials):
        world.accounts.log_in("bob", "wrong horse", CLIENT)
    world.journal.clear()
    for name in ("bob", "ＢＯＢ "):
        with pytest.raises(TooManyAttempts):
            world.accounts.log_in(name, PASSWORD, CLIENT)
    assert world.journal == ["hasher.admission"] * 2


def test_guesses_are_counted_alike_whether_the_user_exists() -> None:
    world = World(guesses=FakeGuesses(FakeClock(), GuessPolicy(pair=3)))
    world.stored()
    for name in ("bob", "nobody"):
        for _ in range(3):
            with pytest.raises(InvalidCredentials):
                world.accounts.log_in(name, "wrong horse", CLIENT)
        with pytest.raises(TooManyAttempts):
            world.accounts.log_in(name, "wrong horse", CLIENT)


def test_a_code_that_is_asked_for_is_no_wrong_guess() -> None:
    world = World(guesses=FakeGuesses(FakeClock(), GuessPolicy(pair=1)))
    with_codes(world)
    for _ in range(3):
        with pytest.raises(SecondFactorRequired):
            world.accounts.log_in_renewably("bob", PASSWORD, None, CLIENT)
    with pytest.raises(InvalidCode):
        world.accounts.log_in_renewably("bob", PASSWORD, "000000", CLIENT)
    with pytest.raises(TooManyAttempts):
        world.accounts.log_in_renewably("bob", PASSWORD, CODE, CLIENT)


def test_weak_passwords_are_refused_by_the_strict_and_by_nobody_else(world: World) -> None:
    world.new_user(password="password1")
    with pytest.raises(WeakPassword):
        world.new_user(password="password1", strict=True)
    world.accounts.policy = Policy(strict_passwords=True)
    with pytest.raises(WeakPassword):
        world.new_user(password="password1")


def test_a_sign_up_asks_to_confirm_its_address_where_mail_is_sent(world: World) -> None:
    world.accounts.sign_up(world.new_user("ann", email="ann@example.com"), CLIENT)
    assert not world.users.notes[-1].letters
    world.accounts.policy = Policy(sends_mail=True)
    user, _ = world.accounts.sign_up(world.new_user("eve", email="eve@example.com"), CLIENT)
    assert world.users.notes[-1].letters == (Letter(VERIFY, user.id, "eve@example.com", "en"),)
    world.accounts.sign_up(world.new_user("joe"), CLIENT)
    assert not world.users.notes[-1].letters
