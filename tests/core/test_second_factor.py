"""One-time and recovery codes, over real databases."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select

from authsvc.core.clients import Client
from authsvc.core.errors import (
    AuthError,
    InvalidCode,
    InvalidToken,
    SecondFactorOff,
    SecondFactorOn,
    TooManyAttempts,
    WrongCode,
    WrongPassword,
)
from authsvc.core.ports import Change
from authsvc.core.second_factor import SecondFactor
from authsvc.core.sessions import Identity
from authsvc.infra.connections import connected
from authsvc.infra.database import RecoveryCodeRow
from authsvc.infra.vault import Vault
from tests.core.stored_accounts import CLIENT, PASSWORD, World, database
from tests.infra.databases import Crowd, sqlite_url

ELSEWHERE = Client("192.0.2.2", "192.0.2.2")
CROWD = 50
SQLITE = pytest.param("sqlite", id="sqlite")
MARIADB = pytest.param("mariadb", id="mariadb", marks=pytest.mark.mariadb)


@pytest.fixture(scope="module", params=[SQLITE, MARIADB])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("codes"))
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with database(url) as app:
        yield app


@pytest.fixture
def world(app: Flask) -> World:
    return World()


@pytest.fixture
def factor(world: World) -> SecondFactor:
    return world.second_factor


def recovery_hashes() -> list[str]:
    with connected() as connection:
        return list(connection.scalars(select(RecoveryCodeRow.code_hash)))


def actions(world: World) -> list[str]:
    return [action for action, *_ in world.entries()]


def race(app: Flask, work: Callable[[], Any]) -> Counter[str]:
    """Do the work fifty times at once, and count how each time ended."""

    def outcome() -> str:
        try:
            work()
        except AuthError as error:
            return type(error).__name__
        return "success"

    with Crowd(app, CROWD) as crowd:
        return Counter(f.result() for f in [crowd.begin(outcome) for _ in range(CROWD)])


class TestSettingUp:
    def test_the_secret_is_shown_and_stored_sealed_and_nothing_is_asked_for_yet(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, uri = factor.prepare(world.identity, PASSWORD, CLIENT)
        stored = world.stored()
        assert uri == world.codes.uri(secret, "ann")
        assert stored == replace(world.user, totp_secret=stored.totp_secret)
        assert stored.totp_secret is not None
        assert secret not in stored.totp_secret
        assert world.vault.open(stored.totp_secret, f"totp:{stored.id}") == secret.encode()
        assert world.entries() == []

    def test_a_secret_is_good_for_its_own_user_only(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        sealed = world.stored().totp_secret
        other = world.add("bob")
        world.users.edit(other.id, lambda bob, _: Change(replace(bob, totp_secret=sealed)))
        with pytest.raises(WrongCode):
            factor.confirm(Identity(other, "session"), world.code(secret), CLIENT)

    def test_the_newest_secret_counts(self, world: World, factor: SecondFactor) -> None:
        first, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        second, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        with pytest.raises(WrongCode):
            factor.confirm(world.identity, world.code(first), CLIENT)
        factor.confirm(world.identity, world.code(second), CLIENT)

    def test_a_wrong_password_sets_nothing_up_and_is_counted(
        self, world: World, factor: SecondFactor
    ) -> None:
        for _ in range(5):
            with pytest.raises(WrongPassword):
                factor.prepare(world.identity, "wrong", CLIENT)
        with pytest.raises(TooManyAttempts):
            factor.prepare(world.identity, PASSWORD, CLIENT)
        assert world.stored() == world.user

    def test_a_password_that_was_replaced_meanwhile_sets_nothing_up(
        self, world: World, factor: SecondFactor
    ) -> None:
        identity = world.identity
        world.edit(password_hash="another")
        with pytest.raises(WrongPassword):
            factor.prepare(identity, PASSWORD, CLIENT)
        assert world.stored().totp_secret is None

    def test_nothing_is_set_up_where_codes_are_asked_for(
        self, world: World, factor: SecondFactor
    ) -> None:
        world.turn_on()
        before = world.stored()
        with pytest.raises(SecondFactorOn):
            factor.prepare(world.identity, PASSWORD, CLIENT)
        assert world.stored() == before


class TestConfirming:
    def test_the_first_code_turns_codes_on_and_is_used_up(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        code = world.code(secret)
        factor.confirm(world.identity, code, CLIENT)
        me, stored = world.user.id, world.stored()
        assert (stored.totp_on, stored.totp_step) == (True, int(world.clock()) // 30)
        assert world.entries() == [("totp.on", me, me, {})]
        with pytest.raises(InvalidCode):
            factor.spend(stored, code, CLIENT)

    def test_ten_recovery_codes_are_shown_and_only_their_hashes_stored(
        self, world: World, factor: SecondFactor
    ) -> None:
        _, codes = world.turn_on()
        hashes = recovery_hashes()
        assert len(codes) == len(set(codes)) == len(hashes) == 10
        for code in codes:
            assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{5}-[0-9a-hjkmnp-tv-z]{5}", code)
        assert all(re.fullmatch("[0-9a-f]{64}", code_hash) for code_hash in hashes)

    @pytest.mark.parametrize(
        "code", ["", "000000 ", "abc", "00000-00000", "x" * 65, "\ud800", "١٢٣٤٥٦"]
    )
    def test_what_is_not_the_code_turns_nothing_on(
        self, world: World, factor: SecondFactor, code: str
    ) -> None:
        factor.prepare(world.identity, PASSWORD, CLIENT)
        with pytest.raises(WrongCode):
            factor.confirm(world.identity, code, CLIENT)
        assert not world.stored().totp_on
        assert recovery_hashes() == []

    def test_wrong_codes_are_counted_as_guesses_at_the_name(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        for _ in range(5):
            with pytest.raises(WrongCode):
                factor.confirm(world.identity, world.code(secret, 2), CLIENT)
        with pytest.raises(TooManyAttempts):
            factor.confirm(world.identity, world.code(secret), CLIENT)
        with pytest.raises(TooManyAttempts):
            world.guesses.reserve("ann", CLIENT.network)

    def test_nothing_is_confirmed_that_was_not_begun(
        self, world: World, factor: SecondFactor
    ) -> None:
        for _ in range(6):
            with pytest.raises(SecondFactorOff):
                factor.confirm(world.identity, "123456", CLIENT)

    def test_nothing_is_confirmed_twice(self, world: World, factor: SecondFactor) -> None:
        secret, _ = world.turn_on()
        hashes = recovery_hashes()
        with pytest.raises(SecondFactorOn):
            factor.confirm(world.identity, world.code(secret), CLIENT)
        assert recovery_hashes() == hashes

    def test_of_fifty_confirmations_at_once_one_gives_out_codes(
        self, app: Flask, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        identity, code = world.identity, world.code(secret)
        outcomes = race(app, lambda: factor.confirm(identity, code, CLIENT))
        assert outcomes["success"] == 1
        assert outcomes.keys() <= {"success", "SecondFactorOn", "TooManyAttempts"}
        assert len(recovery_hashes()) == 10


class TestSpending:
    @pytest.mark.parametrize("steps", [0, 1])
    def test_a_one_time_code_is_spent_once(
        self, world: World, factor: SecondFactor, steps: int
    ) -> None:
        secret, _ = world.turn_on()
        code = world.code(secret, steps)
        factor.spend(world.user, code, CLIENT)
        with pytest.raises(InvalidCode):
            factor.spend(world.user, code, CLIENT)

    def test_no_earlier_code_is_good_after_a_later_one(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = world.turn_on()
        world.clock.advance(30)
        factor.spend(world.user, world.code(secret), CLIENT)
        with pytest.raises(InvalidCode):
            factor.spend(world.user, world.code(secret, -1), CLIENT)
        factor.spend(world.user, world.code(secret, 1), CLIENT)

    @pytest.mark.parametrize("steps", [-2, 2])
    def test_a_code_of_another_time_is_refused(
        self, world: World, factor: SecondFactor, steps: int
    ) -> None:
        secret, _ = world.turn_on()
        world.clock.advance(60)
        with pytest.raises(InvalidCode):
            factor.spend(world.user, world.code(secret, steps), CLIENT)

    def test_of_fifty_at_once_with_one_one_time_code_one_succeeds(
        self, app: Flask, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = world.turn_on()
        code = world.code(secret)
        outcomes = race(app, lambda: factor.spend(world.user, code, CLIENT))
        assert outcomes == {"success": 1, "InvalidCode": CROWD - 1}

    def test_of_fifty_at_once_with_one_recovery_code_one_succeeds(
        self, app: Flask, world: World, factor: SecondFactor
    ) -> None:
        _, codes = world.turn_on()
        outcomes = race(app, lambda: factor.spend(world.user, codes[0], CLIENT))
        assert outcomes == {"success": 1, "InvalidCode": CROWD - 1}
        assert actions(world).count("totp.recovery_code_used") == 1
        assert len(recovery_hashes()) == 9

    def test_each_recovery_code_is_spent_once_and_noted_without_the_code(
        self, world: World, factor: SecondFactor
    ) -> None:
        _, codes = world.turn_on()
        for code in codes:
            factor.spend(world.user, code, CLIENT)
            with pytest.raises(InvalidCode):
                factor.spend(world.user, code, CLIENT)
        me = world.user.id
        assert world.entries() == [
            ("totp.on", me, me, {}),
            *[("totp.recovery_code_used", me, me, {})] * 10,
        ]
        assert world.stored().totp_on

    @pytest.mark.parametrize(
        "spelling",
        [
            str.upper,
            lambda code: code.replace("-", ""),
            lambda code: f"  {code.replace('-', '  ')}\n",
            lambda code: "-".join(code.replace("-", "")),
            lambda code: code.translate({ord(c): 0xFEE0 + ord(c) for c in code if c != "-"}),
        ],
    )
    def test_a_recovery_code_may_be_typed_in_any_case_with_any_blanks_and_hyphens(
        self, world: World, factor: SecondFactor, spelling: Callable[[str], str]
    ) -> None:
        _, codes = world.turn_on()
        factor.spend(world.user, spelling(codes[3]), CLIENT)

    @pytest.mark.parametrize(
        "code", ["", "-", "00000-00000", "00000-0000", "uuuuu-uuuuu", "\ud800", "\x00", "一二三"]
    )
    def test_what_is_no_code_is_refused(
        self, world: World, factor: SecondFactor, code: str
    ) -> None:
        world.turn_on()
        with pytest.raises(InvalidCode):
            factor.spend(world.user, code, CLIENT)
        assert len(recovery_hashes()) == 10

    def test_a_recovery_code_among_too_many_blanks_is_refused(
        self, world: World, factor: SecondFactor
    ) -> None:
        _, codes = world.turn_on()
        factor.spend(world.user, codes[0] + " " * 53, CLIENT)
        with pytest.raises(InvalidCode):
            factor.spend(world.user, codes[1] + " " * 54, CLIENT)

    def test_a_recovery_code_of_somebody_else_is_refused(
        self, world: World, factor: SecondFactor
    ) -> None:
        _, codes = world.turn_on()
        other = world.add("bob")
        world.users.edit(other.id, lambda bob, _: Change(replace(bob, totp_on=True)))
        with pytest.raises(InvalidCode):
            factor.spend(other, codes[0], CLIENT)
        assert len(recovery_hashes()) == 10

    def test_recovery_codes_work_although_the_secret_cannot_be_unsealed(self, world: World) -> None:
        _, codes = world.turn_on()
        moved = SecondFactor(
            world.users, world.codes, Vault("another"), world.guard, world.hasher, world.clock
        )
        moved.spend(world.user, codes[0], CLIENT)

    def test_who_turned_codes_off_meanwhile_has_none(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = world.turn_on()
        before = world.stored()
        world.edit(totp_on=False)
        with pytest.raises(InvalidCode):
            factor.spend(before, world.code(secret), CLIENT)

    def test_who_is_gone_meanwhile_has_no_code(self, world: World, factor: SecondFactor) -> None:
        secret, _ = world.turn_on()
        before = world.stored()
        world.users.edit(before.id, lambda *_: Change(None))
        with pytest.raises(InvalidCode):
            factor.spend(before, world.code(secret), CLIENT)


class TestRemoving:
    def test_a_one_time_code_and_the_password_turn_codes_off(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = world.turn_on()
        factor.remove(world.identity, PASSWORD, world.code(secret), CLIENT)
        assert world.stored() == world.user
        assert recovery_hashes() == []
        assert actions(world) == ["totp.on", "totp.off"]

    def test_a_recovery_code_turns_codes_off_too(self, world: World, factor: SecondFactor) -> None:
        _, codes = world.turn_on()
        factor.remove(world.identity, PASSWORD, codes[0], CLIENT)
        assert world.stored() == world.user
        assert recovery_hashes() == []
        assert actions(world) == ["totp.on", "totp.recovery_code_used", "totp.off"]

    def test_a_wrong_password_spends_no_code(self, world: World, factor: SecondFactor) -> None:
        secret, _ = world.turn_on()
        code = world.code(secret)
        with pytest.raises(WrongPassword):
            factor.remove(world.identity, "wrong", code, CLIENT)
        factor.remove(world.identity, PASSWORD, code, CLIENT)

    def test_a_wrong_code_turns_nothing_off(self, world: World, factor: SecondFactor) -> None:
        secret, _ = world.turn_on()
        before = world.stored()
        for code in (world.code(secret, 2), world.code(secret, -1), "00000-00000", "", "x"):
            with pytest.raises(WrongCode):
                factor.remove(world.identity, PASSWORD, code, ELSEWHERE)
        with pytest.raises(TooManyAttempts):
            factor.remove(world.identity, PASSWORD, world.code(secret), ELSEWHERE)
        assert world.stored() == before
        assert len(recovery_hashes()) == 10

    def test_there_is_nothing_to_turn_off_where_nothing_is_on(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, _ = factor.prepare(world.identity, PASSWORD, CLIENT)
        with pytest.raises(SecondFactorOff):
            factor.remove(world.identity, PASSWORD, world.code(secret), CLIENT)

    def test_codes_can_be_turned_on_again_within_the_same_step(
        self, world: World, factor: SecondFactor
    ) -> None:
        secret, old_codes = world.turn_on()
        factor.remove(world.identity, PASSWORD, world.code(secret, 1), CLIENT)
        again, new_codes = world.turn_on()
        factor.spend(world.user, pyotp.TOTP(again).at(world.clock()), CLIENT)
        factor.spend(world.user, new_codes[0], CLIENT)
        with pytest.raises(InvalidCode):
            factor.spend(world.user, old_codes[0], CLIENT)

    def test_a_user_who_is_gone_has_no_token(self, world: World, factor: SecondFactor) -> None:
        identity = world.identity
        world.users.edit(world.user.id, lambda *_: Change(None))
        with pytest.raises(InvalidToken):
            factor.remove(identity, PASSWORD, "123456", CLIENT)
        with pytest.raises(InvalidToken):
            factor.prepare(identity, PASSWORD, CLIENT)
        with pytest.raises(InvalidToken):
            factor.confirm(identity, "123456", CLIENT)
