"""What users do with their own account: over a real database, sessions and guesses stand-ins."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from flask import Flask

from authsvc.core.accounts import Policy
from authsvc.core.errors import (
    AuthError,
    InvalidData,
    InvalidEmail,
    InvalidPassword,
    InvalidToken,
    LastAdministrator,
    MailOff,
    Overloaded,
    TooManyAttempts,
    WeakPassword,
    WrongPassword,
)
from authsvc.core.password_strength import Passwords, Strength
from authsvc.core.passwords import PasswordRule
from authsvc.core.profile import Profile
from authsvc.core.sessions import Identity, Sessions
from tests.core.stored_accounts import CLIENT, EMAIL, PASSWORD, World, database
from tests.infra.databases import Crowd, sqlite_url

NEW_EMAIL = "New@Example.com"
NEW_PASSWORD = "another horse stable"
RULE = PasswordRule(8, cast(Any, frozenset({"password"})))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with database(sqlite_url(tmp_path_factory.mktemp("profile"))) as app:
        yield app


@pytest.fixture
def world(app: Flask) -> World:
    return World()


def profile_of(world: World, *, sends_mail: bool = True) -> Profile:
    sessions, policy = cast(Sessions, world.sessions), Policy(sends_mail=sends_mail)
    return Profile(world.users, world.hasher, RULE, sessions, world.guard, policy)


@pytest.fixture
def profile(world: World) -> Profile:
    return profile_of(world)


Operation = Callable[[Profile, Identity, str], Any]
CONFIRMED: dict[str, Operation] = {
    "e-mail": lambda p, i, word: p.update(i, CLIENT, email=NEW_EMAIL, password=word),
    "no e-mail": lambda p, i, word: p.update(i, CLIENT, email=None, password=word),
    "same e-mail": lambda p, i, word: p.update(i, CLIENT, email=EMAIL, password=word),
    "password": lambda p, i, word: p.change_password(i, word, NEW_PASSWORD, CLIENT),
    "deletion": lambda p, i, word: p.delete(i, word, CLIENT),
}
CHANGES = {name: CONFIRMED[name] for name in CONFIRMED if name != "same e-mail"}


def each(operations: dict[str, Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations.values(), ids=operations.keys())


@each(CONFIRMED)
class TestConfirmation:
    @pytest.mark.parametrize("wrong", ["", "wrong", PASSWORD + " ", "\ud800", "x" * 2000])
    def test_a_wrong_password_changes_nothing(
        self, world: World, profile: Profile, operation: Operation, wrong: str
    ) -> None:
        with pytest.raises(WrongPassword):
            operation(profile, world.identity, wrong)
        assert world.stored() == world.user
        assert (world.entries(), world.letters(), world.sessions.calls) == ([], [], [])

    def test_wrong_passwords_are_counted_as_guesses_at_the_name(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        for _ in range(5):
            with pytest.raises(WrongPassword):
                operation(profile, world.identity, "wrong")
        with pytest.raises(TooManyAttempts):
            operation(profile, world.identity, PASSWORD)
        with pytest.raises(TooManyAttempts):
            world.guesses.reserve("ann", CLIENT.network)
        assert world.stored() == world.user

    def test_a_right_password_forgives_the_wrong_ones_before_it(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        for _ in range(4):
            with pytest.raises(WrongPassword):
                operation(profile, world.identity, "wrong")
        operation(profile, world.identity, PASSWORD)
        for _ in range(5):
            world.guesses.reserve("ann", CLIENT.network)

    def test_a_right_password_forgives_nothing_where_codes_are_asked_for(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        world.turn_on()
        for _ in range(4):
            with pytest.raises(WrongPassword):
                operation(profile, world.identity, "wrong")
        operation(profile, world.identity, PASSWORD)
        world.guesses.reserve("ann", CLIENT.network)
        with pytest.raises(TooManyAttempts):
            world.guesses.reserve("ann", CLIENT.network)

    def test_a_password_that_was_replaced_meanwhile_confirms_nothing(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        identity = world.identity
        world.edit(password_hash=world.hasher.hash("elsewhere"))
        with pytest.raises(WrongPassword):
            operation(profile, identity, PASSWORD)
        assert world.stored() == replace(world.user, password_hash=world.hasher.hash("elsewhere"))
        assert (world.entries(), world.letters(), world.sessions.calls) == ([], [], [])

    def test_a_user_who_is_gone_has_no_token(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        identity = world.identity
        profile.delete(identity, PASSWORD, CLIENT)
        with pytest.raises(InvalidToken):
            operation(profile, identity, PASSWORD)

    def test_too_much_work_is_no_guess(
        self, world: World, profile: Profile, operation: Operation
    ) -> None:
        world.hasher.overloaded_at = "verify"
        for _ in range(6):
            with pytest.raises(Overloaded):
                operation(profile, world.identity, PASSWORD)


def test_a_password_is_confirmed_for_nothing_else_and_counted_as_a_guess(
    world: World, profile: Profile
) -> None:
    for _ in range(4):
        with pytest.raises(WrongPassword):
            profile.confirm(world.identity, "wrong", CLIENT)
    profile.confirm(world.identity, PASSWORD, CLIENT)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            profile.confirm(world.identity, "wrong", CLIENT)
    with pytest.raises(TooManyAttempts):
        profile.confirm(world.identity, PASSWORD, CLIENT)
    assert world.stored() == world.user
    assert (world.entries(), world.letters(), world.sessions.calls) == ([], [], [])


class TestData:
    def test_data_are_stored_without_a_password_and_noted_without_their_content(
        self, world: World, profile: Profile
    ) -> None:
        data = json.dumps({"colour": "red"})
        assert profile.update(world.identity, CLIENT, data=data) == replace(world.user, data=data)
        assert world.stored().data == data
        me = world.user.id
        assert world.entries() == [("user.edited", me, me, {"fields": ["data"]})]
        assert world.letters() == []

    def test_the_same_data_are_no_change(self, world: World, profile: Profile) -> None:
        assert profile.update(world.identity, CLIENT, data="{}") == world.user
        assert world.entries() == []

    def test_nothing_given_changes_nothing(self, world: World, profile: Profile) -> None:
        assert profile.update(world.identity, CLIENT) == world.user
        assert world.entries() == []

    @pytest.mark.parametrize(
        "data", ['"' + "x" * 16_383 + '"', '"' + "长" * 5461 + '"', '"\ud800"']
    )
    def test_too_much_data_is_refused_before_anything_is_hashed(
        self, world: World, profile: Profile, data: str
    ) -> None:
        world.hasher.overloaded_at = "verify"
        with pytest.raises(InvalidData):
            profile.update(world.identity, CLIENT, data=data, email=None, password=PASSWORD)
        assert world.stored() == world.user

    def test_16_kib_of_data_are_stored(self, world: World, profile: Profile) -> None:
        data = '"' + "x" * 16_382 + '"'
        assert profile.update(world.identity, CLIENT, data=data).data == data


class TestEmail:
    def test_a_new_address_is_only_written_to(self, world: World, profile: Profile) -> None:
        updated = profile.update(world.identity, CLIENT, email=NEW_EMAIL, password=PASSWORD)
        me = world.user.id
        assert updated == world.stored() == world.user
        assert world.letters() == [("verify", me, NEW_EMAIL, "zh")]
        assert world.entries() == [("user.edited", me, me, {"email": "asked"})]

    def test_another_typing_of_the_address_is_a_new_address(
        self, world: World, profile: Profile
    ) -> None:
        profile.update(world.identity, CLIENT, email=EMAIL.lower(), password=PASSWORD)
        assert world.letters() == [("verify", world.user.id, EMAIL.lower(), "zh")]
        assert world.stored() == world.user

    @pytest.mark.parametrize("sends_mail", [True, False])
    def test_the_same_address_is_no_change(self, world: World, sends_mail: bool) -> None:
        profile = profile_of(world, sends_mail=sends_mail)
        world.edit(email_verified=True)
        updated = profile.update(world.identity, CLIENT, email=EMAIL, password=PASSWORD)
        assert updated == replace(world.user, email_verified=True)
        assert (world.entries(), world.letters()) == ([], [])

    def test_somebody_elses_address_is_answered_as_any(
        self, world: World, profile: Profile
    ) -> None:
        world.add("bob", NEW_EMAIL)
        assert (
            profile.update(world.identity, CLIENT, email=NEW_EMAIL, password=PASSWORD) == world.user
        )

    def test_a_user_without_an_address_can_ask_for_one(
        self, world: World, profile: Profile
    ) -> None:
        world.edit(email=None)
        profile.update(world.identity, CLIENT, email=NEW_EMAIL, password=PASSWORD)
        assert world.letters() == [("verify", world.user.id, NEW_EMAIL, "zh")]

    def test_no_address_takes_effect_at_once_and_the_old_one_is_told(
        self, world: World, profile: Profile
    ) -> None:
        world.edit(email_verified=True)
        updated = profile.update(world.identity, CLIENT, email=None, password=PASSWORD)
        me = world.user.id
        assert updated == world.stored() == replace(world.user, email=None, email_verified=False)
        assert world.users.by_email_key(EMAIL.casefold()) is None
        assert world.letters() == [("email_changed", me, EMAIL, "zh")]
        assert world.entries() == [("email.changed", me, me, {"email": None})]

    def test_no_address_where_there_is_none_is_no_change(
        self, world: World, profile: Profile
    ) -> None:
        world.edit(email=None)
        profile.update(world.identity, CLIENT, email=None, password=PASSWORD)
        assert (world.entries(), world.letters()) == ([], [])

    def test_an_address_and_data_change_together(self, world: World, profile: Profile) -> None:
        profile.update(world.identity, CLIENT, data="1", email=None, password=PASSWORD)
        assert world.stored() == replace(world.user, data="1", email=None)
        assert [action for action, *_ in world.entries()] == ["user.edited", "email.changed"]

    def test_data_are_not_stored_when_the_address_is_refused(
        self, world: World, profile: Profile
    ) -> None:
        with pytest.raises(WrongPassword):
            profile.update(world.identity, CLIENT, data="1", email=NEW_EMAIL, password="wrong")
        assert world.stored() == world.user

    def test_an_address_without_a_password_is_refused(self, world: World, profile: Profile) -> None:
        with pytest.raises(WrongPassword):
            profile.update(world.identity, CLIENT, email=NEW_EMAIL)
        assert world.letters() == []

    @pytest.mark.parametrize("email", ["", "no address", "a@b", "a@b.c" + "c" * 250])
    def test_what_is_no_address_is_refused_before_anything_is_hashed(
        self, world: World, profile: Profile, email: str
    ) -> None:
        world.hasher.overloaded_at = "verify"
        with pytest.raises(InvalidEmail):
            profile.update(world.identity, CLIENT, email=email, password=PASSWORD)

    def test_without_mail_an_address_can_only_be_dropped_and_nobody_is_told(
        self, world: World
    ) -> None:
        profile = profile_of(world, sends_mail=False)
        with pytest.raises(MailOff):
            profile.update(world.identity, CLIENT, email=NEW_EMAIL, password=PASSWORD)
        profile.update(world.identity, CLIENT, email=None, password=PASSWORD)
        assert world.stored().email is None
        assert world.letters() == []


class TestPassword:
    def test_a_new_password_ends_all_sessions_but_this_one(
        self, world: World, profile: Profile
    ) -> None:
        world.edit(email_verified=True)
        profile.change_password(world.identity, PASSWORD, NEW_PASSWORD, CLIENT)
        me, stored = world.user.id, world.stored()
        assert stored == replace(
            world.user,
            password_hash=world.hasher.hash(NEW_PASSWORD),
            epoch=world.user.epoch + 1,
            email_verified=True,
        )
        assert world.sessions.calls == [("survive", "session", me, stored.epoch)]
        assert world.letters() == [("password_changed", me, None, "zh")]
        assert world.entries() == [("password.changed", me, me, {})]

    @pytest.mark.parametrize("changed", [{"email": None}, {"email_verified": False}])
    def test_nobody_is_told_who_has_no_verified_address(
        self, world: World, profile: Profile, changed: dict[str, Any]
    ) -> None:
        world.edit(**changed)
        profile.change_password(world.identity, PASSWORD, NEW_PASSWORD, CLIENT)
        assert world.letters() == []

    def test_nobody_is_told_where_no_mail_is_sent(self, world: World) -> None:
        profile = profile_of(world, sends_mail=False)
        profile.change_password(world.identity, PASSWORD, NEW_PASSWORD, CLIENT)
        assert world.letters() == []

    @pytest.mark.parametrize(
        ("new", "refusal"),
        [
            ("short", InvalidPassword),
            ("x" * 1025, InvalidPassword),
            ("\ud800" * 8, InvalidPassword),
            ("Password", WeakPassword),
            (EMAIL, WeakPassword),
        ],
    )
    def test_a_bad_new_password_is_refused_before_anything_is_hashed(
        self, world: World, profile: Profile, new: str, refusal: type[AuthError]
    ) -> None:
        world.hasher.overloaded_at = "verify"
        with pytest.raises(refusal):
            profile.change_password(world.identity, PASSWORD, new, CLIENT)

    def test_of_twenty_changes_at_once_one_succeeds(
        self, app: Flask, world: World, profile: Profile
    ) -> None:
        identity = world.identity

        def change(number: int) -> str | None:
            new = f"{NEW_PASSWORD} {number}"
            try:
                profile.change_password(identity, PASSWORD, new, CLIENT)
            except (WrongPassword, TooManyAttempts):
                return None
            return new

        with Crowd(app, 20) as crowd:
            results = [f.result() for f in [crowd.begin(change, n) for n in range(20)]]
        [password] = filter(None, results)
        assert world.stored().password_hash == world.hasher.hash(password)
        assert world.stored().epoch == world.user.epoch + 1
        assert len(world.entries()) == 1

    def test_a_password_is_changed_although_the_sessions_cannot_be_ended_now(
        self, world: World, profile: Profile, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.sessions.down = True
        profile.change_password(world.identity, PASSWORD, NEW_PASSWORD, CLIENT)
        assert world.stored().epoch == world.user.epoch + 1
        assert caplog.messages == [f"ended sessions of user {world.user.id} are still stored"]


class TestDeletion:
    def test_a_deleted_user_is_gone_and_their_sessions_have_ended(
        self, world: World, profile: Profile
    ) -> None:
        profile.delete(world.identity, PASSWORD, CLIENT)
        me = world.user.id
        assert world.users.by_id(me) is None
        assert world.sessions.calls == [("close_all", me)]
        assert world.entries() == [("user.deleted", me, me, {})]

    def test_the_last_administrator_stays(self, world: World, profile: Profile) -> None:
        world.edit(permission=1)
        with pytest.raises(LastAdministrator):
            profile.delete(world.identity, PASSWORD, CLIENT)
        assert world.stored() == replace(world.user, permission=1)
        assert (world.entries(), world.sessions.calls) == ([], [])

    def test_an_administrator_who_is_not_the_last_may_go(
        self, world: World, profile: Profile
    ) -> None:
        world.edit(permission=1)
        world.add("boss", permission=1)
        profile.delete(world.identity, PASSWORD, CLIENT)
        assert world.users.by_id(world.user.id) is None

    def test_a_user_is_deleted_although_the_sessions_cannot_be_ended_now(
        self, world: World, profile: Profile, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.sessions.down = True
        profile.delete(world.identity, PASSWORD, CLIENT)
        assert world.users.by_id(world.user.id) is None
        assert len(caplog.messages) == 1


class LengthMeter:
    """Meets `StrengthMeter` with the number of hints, so that they can be seen."""

    def score(self, password: str, hints: Any) -> int:
        return len(hints)


@pytest.mark.parametrize(
    ("password", "username", "email", "strength"),
    [
        ("stable genius", None, None, Strength(0, True, None)),
        ("stable genius", "ann", EMAIL, Strength(2, True, None)),
        ("short", None, None, Strength(0, False, "too_short")),
        ("", None, None, Strength(0, False, "too_short")),
        ("x" * 1025, None, None, Strength(0, False, "too_long")),
        ("password", None, None, Strength(0, False, "common")),
        ("marianne1", "marianne", None, Strength(1, False, "username")),
        ("Ann@example.com", None, EMAIL, Strength(1, False, "email")),
    ],
)
def test_the_strength_of_a_password_says_whether_and_why_it_is_refused(
    password: str, username: str | None, email: str | None, strength: Strength
) -> None:
    assert Passwords(RULE, LengthMeter()).strength(password, username, email) == strength
