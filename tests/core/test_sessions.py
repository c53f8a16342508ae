"""Sessions: opened, renewed, replayed, ended; and whose a token is."""

import base64
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from authsvc.core.audit import TOKEN_REPLAYED, Entry
from authsvc.core.clients import Client
from authsvc.core.errors import (
    InvalidRefreshToken,
    InvalidToken,
    SessionsUnavailable,
    UnknownSession,
    UsersUnavailable,
)
from authsvc.core.ports import Renewal
from authsvc.core.sessions import (
    ACCESS,
    REFRESH,
    Identity,
    SessionPolicy,
    Sessions,
    Tokens,
)
from authsvc.core.users import NewUser, User
from tests.core.fake_sessions import FakeSessionStore
from tests.core.fakes import FakeAudit, FakeClock, FakeTokens, FakeUsers

HERE = Client("192.0.2.1", "192.0.2.1", "browser", "request-1")
IDLE, SLIDING = 1800, 43_200
POLICY = SessionPolicy(
    token_lifetime=7200,
    refresh_lifetime=86400,
    longest=200_000,
    grace=30,
    idle=IDLE,
    longest_sliding=SLIDING,
)
KEY = b"k" * 32


class World:
    """Sessions over stand-ins, and two users."""

    def __init__(self, policy: SessionPolicy = POLICY) -> None:
        self.clock = FakeClock()
        self.store = FakeSessionStore(self.clock)
        self.tokens = FakeTokens(self.clock)
        self.users = FakeUsers()
        self.audit = FakeAudit()
        self.sessions = self.joined(policy)
        self.ann, self.bob = self.add("ann"), self.add("bob")

    def joined(self, policy: SessionPolicy = POLICY, key: bytes = KEY) -> Sessions:
        return Sessions(self.store, self.tokens, self.users, self.audit, self.clock, key, policy)

    def add(self, name: str) -> User:
        user, _ = self.users.add(NewUser(name, name, None, None, 0, ""), "hash", lambda _: None)
        return user

    def open(self, user: User | None = None) -> Tokens:
        return self.sessions.open(user or self.ann, HERE, renewable=True)

    def refresh(self, tokens: Tokens) -> Tokens:
        return self.sessions.refresh(refresh_token(tokens), HERE)

    def change(self, **fields: Any) -> User:
        """Change Ann behind everybody's back."""
        self.ann = replace(self.ann, **fields)
        self.users.put(self.ann, self.ann)
        return self.ann


@pytest.fixture
def world() -> World:
    return World()


def refresh_token(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


class TestOpening:
    def test_a_session_lets_its_user_in(self, world: World) -> None:
        tokens = world.open()
        assert world.sessions.who_is(tokens.access_token) == Identity(world.ann, tokens.session_id)
        assert (tokens.expires_in, tokens.refresh_expires_in) == (7200, 86400)

    def test_a_session_that_is_not_renewable_has_no_refresh_token_and_ends_with_its_access_token(
        self, world: World
    ) -> None:
        tokens = world.sessions.open(world.ann, HERE)
        assert tokens.refresh_token is None
        world.clock.advance(7199)
        assert len(world.sessions.of(world.ann)) == 1
        world.clock.advance(1)
        assert world.sessions.of(world.ann) == []
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)

    def test_every_session_and_token_has_an_id_of_its_own(self, world: World) -> None:
        opened = [world.open() for _ in range(20)]
        decoded = [world.tokens.decode(tokens.access_token) for tokens in opened]
        assert len({tokens.session_id for tokens in opened}) == 20
        assert len({claims.token_id for claims in decoded}) == 20
        assert all(len(tokens.session_id) == 22 for tokens in opened)

    def test_an_access_token_never_outlives_its_session(self) -> None:
        world = World(SessionPolicy(token_lifetime=7200, refresh_lifetime=100, longest=60))
        tokens = world.open()
        assert (tokens.expires_in, tokens.refresh_expires_in) == (60, 60)
        claims = world.tokens.decode(tokens.access_token)
        assert claims.expires_at - claims.issued_at == 60

    def test_nothing_is_opened_while_the_store_is_down(self, world: World) -> None:
        world.store.down = True
        with pytest.raises(SessionsUnavailable):
            world.sessions.check()
        with pytest.raises(SessionsUnavailable):
            world.open()

    def test_what_a_token_may_need_is_made_before_a_transaction(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise UsersUnavailable

        monkeypatch.setattr(world.tokens, "prepare", fail)
        with pytest.raises(UsersUnavailable):
            world.sessions.check()


class TestSliding:
    @pytest.fixture
    def tokens(self, world: World) -> Tokens:
        return world.sessions.open(world.ann, HERE, sliding=True)

    def test_it_goes_on_while_it_is_used_and_ends_when_it_is_idle(
        self, world: World, tokens: Tokens
    ) -> None:
        for _ in range(5):
            world.clock.advance(IDLE - 1)
            world.sessions.who_is(tokens.access_token)
        world.clock.advance(IDLE)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)
        assert world.sessions.of(world.ann) == []

    def test_its_token_is_honoured_until_the_longest_end_and_no_longer(
        self, world: World, tokens: Tokens
    ) -> None:
        claims = world.tokens.decode(tokens.access_token)
        assert claims.expires_at - claims.issued_at == tokens.expires_in == SLIDING
        while world.clock() + IDLE / 2 < claims.expires_at:
            world.clock.advance(IDLE / 2)
            assert world.sessions.who_is(tokens.access_token).user == world.ann
        world.clock.now = claims.expires_at - 0.5
        world.sessions.who_is(tokens.access_token)
        world.clock.now = claims.expires_at
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)
        assert world.sessions.of(world.ann) == []

    def test_it_has_no_refresh_token(self, world: World, tokens: Tokens) -> None:
        assert tokens.refresh_token is None
        assert world.sessions.open(world.ann, HERE, renewable=True, sliding=True).refresh_token is (
            None
        )

    @pytest.mark.parametrize(("idle", "longest"), [(100, 60), (60, 60)])
    def test_the_longest_binds_though_it_could_be_idle_for_longer(
        self, idle: int, longest: int
    ) -> None:
        world = World(SessionPolicy(idle=idle, longest_sliding=longest))
        tokens = world.sessions.open(world.ann, HERE, sliding=True)
        assert (tokens.expires_in, tokens.refresh_expires_in) == (60, 60)
        world.clock.advance(59)
        world.sessions.who_is(tokens.access_token)
        world.clock.advance(1)
        assert world.sessions.of(world.ann) == []
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)

    def test_the_lifetime_of_other_tokens_changes_nothing(self) -> None:
        world = World(SessionPolicy(token_lifetime=10, idle=100, longest_sliding=150))
        token = world.sessions.open(world.ann, HERE, sliding=True).access_token
        world.clock.advance(99)
        assert world.sessions.who_is(token).user == world.ann

    @pytest.mark.parametrize(
        ("token", "sliding", "longest"), [(7200, 86400, 86400), (7200, 60, 7200)]
    )
    def test_the_longest_token_is_that_of_either_kind(
        self, token: int, sliding: int, longest: int
    ) -> None:
        policy = SessionPolicy(token_lifetime=token, longest_sliding=sliding)
        assert policy.longest_token == longest

    def test_an_inspection_is_a_use_and_tells_when_it_ends_unless_there_is_another(
        self, world: World, tokens: Tokens
    ) -> None:
        for _ in range(3):
            world.clock.advance(IDLE - 1)
            found = world.sessions.inspect(tokens.access_token)
            assert found is not None
            assert (found.kind, found.session_id) == (ACCESS, tokens.session_id)
            assert found.expires_at == int(world.clock()) + IDLE
        world.clock.advance(IDLE)
        assert world.sessions.inspect(tokens.access_token) is None

    def test_an_inspection_never_promises_more_than_the_token(
        self, world: World, tokens: Tokens
    ) -> None:
        claims = world.tokens.decode(tokens.access_token)
        while world.clock() < claims.expires_at - IDLE:
            world.clock.advance(IDLE / 2)
            world.sessions.who_is(tokens.access_token)
        world.clock.now = claims.expires_at - 10
        found = world.sessions.inspect(tokens.access_token)
        assert found is not None
        assert found.expires_at == claims.expires_at

    def test_it_is_listed_ended_and_revoked_as_any_other(self, world: World) -> None:
        listed = [world.sessions.open(world.ann, HERE, sliding=True) for _ in range(3)]
        assert {session.id for session in world.sessions.of(world.ann)} == {
            tokens.session_id for tokens in listed
        }
        world.sessions.close(world.ann, listed[0].session_id)
        world.sessions.revoke(listed[1].access_token)
        world.sessions.close_own(world.sessions.who_is(listed[2].access_token))
        for tokens in listed:
            with pytest.raises(InvalidToken):
                world.sessions.who_is(tokens.access_token)

    def test_one_survives_a_change_of_password_and_slides_on_while_the_others_end(
        self, world: World, tokens: Tokens
    ) -> None:
        other = world.sessions.open(world.ann, HERE, sliding=True)
        changed = world.change(epoch=1)
        world.sessions.survive(Identity(world.ann, tokens.session_id), changed)
        for _ in range(3):
            world.clock.advance(IDLE - 1)
            assert world.sessions.who_is(tokens.access_token).user == changed
        assert world.sessions.inspect(other.access_token) is None

    def test_nothing_that_a_user_tries_while_disabled_lets_it_be_good_again(
        self, world: World, tokens: Tokens
    ) -> None:
        world.change(disabled=True, epoch=1)
        for _ in range(3):
            world.clock.advance(IDLE - 1)
            with pytest.raises(InvalidToken):
                world.sessions.who_is(tokens.access_token)
        world.change(disabled=False)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)

    def test_a_clock_that_is_set_back_lets_none_be_idle_for_longer(
        self, world: World, tokens: Tokens
    ) -> None:
        world.clock.advance(-60)
        world.sessions.who_is(tokens.access_token)
        world.clock.advance(IDLE)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)


class TestRefreshing:
    def test_a_renewal_gives_new_tokens_of_the_same_session(self, world: World) -> None:
        first = world.open()
        second = world.refresh(first)
        assert second.session_id == first.session_id
        assert second.refresh_token != first.refresh_token
        assert second.access_token != first.access_token
        for tokens in (first, second):
            assert world.sessions.who_is(tokens.access_token).session_id == first.session_id

    def test_a_chain_of_renewals_goes_on_until_the_longest(self, world: World) -> None:
        tokens = world.open()
        seen = {tokens.refresh_token}
        for _ in range(4):
            world.clock.advance(48_000)
            tokens = world.refresh(tokens)
            seen.add(tokens.refresh_token)
        assert len(seen) == 5
        assert (tokens.refresh_expires_in, tokens.expires_in) == (8000, 7200)
        world.clock.advance(8000)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(tokens)

    def test_the_last_access_token_ends_with_the_session(self, world: World) -> None:
        tokens = world.open()
        for _ in range(4):
            world.clock.advance(49_900)
            tokens = world.refresh(tokens)
        assert (tokens.expires_in, tokens.refresh_expires_in) == (400, 400)

    def test_a_session_that_is_not_renewed_in_time_has_ended(self, world: World) -> None:
        tokens = world.open()
        world.clock.advance(86_400)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(tokens)

    def test_a_lost_answer_is_given_again(self, world: World) -> None:
        first = world.open()
        lost, again = world.refresh(first), world.refresh(first)
        assert again.refresh_token == lost.refresh_token
        assert again.access_token != lost.access_token
        world.clock.advance(31)
        assert world.refresh(again).session_id == first.session_id
        assert world.audit.entries == []

    def test_within_the_grace_the_newest_tokens_are_given(self, world: World) -> None:
        first = world.open()
        third = world.refresh(world.refresh(first))
        assert world.refresh(first).refresh_token == third.refresh_token

    def test_the_grace_is_counted_from_the_first_use_and_never_extended(self, world: World) -> None:
        first = world.open()
        for _ in range(4):
            world.refresh(first)
            world.clock.advance(10)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(first)

    def test_a_replay_after_the_grace_ends_the_session_and_is_an_incident(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, other = world.open(), world.open()
        second = world.refresh(first)
        world.clock.advance(30.5)
        with caplog.at_level(logging.WARNING), pytest.raises(InvalidRefreshToken):
            world.refresh(first)
        for tokens in (first, second):
            with pytest.raises(InvalidToken):
                world.sessions.who_is(tokens.access_token)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(second)
        assert world.sessions.who_is(other.access_token).user == world.ann
        assert world.audit.entries == [Entry(TOKEN_REPLAYED, None, world.ann, HERE)]
        [record] = caplog.records
        assert (record.levelname, record.name) == ("WARNING", "authsvc.core.sessions")
        for tokens in (first, second):
            assert refresh_token(tokens) not in record.getMessage()
            assert tokens.session_id not in record.getMessage()

    def test_an_incident_ends_the_session_though_it_cannot_be_audited(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(_: Entry) -> None:
            raise UsersUnavailable

        monkeypatch.setattr(world.audit, "append", fail)
        first = world.open()
        world.refresh(first)
        world.clock.advance(31)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(first)
        assert world.sessions.of(world.ann) == []
        assert "not in the audit log" in caplog.text

    def test_fifty_at_once_end_with_one_live_family(self, world: World) -> None:
        first = world.open()
        start = threading.Barrier(50)

        def run(_: int) -> Tokens:
            start.wait(10)
            return world.refresh(first)

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(run, range(50)))
        assert len({tokens.refresh_token for tokens in answers}) == 1
        assert {world.sessions.who_is(tokens.access_token).user for tokens in answers} == {
            world.ann
        }
        assert len(world.sessions.of(world.ann)) == 1

    @pytest.mark.parametrize(
        "change", [{"disabled": True}, {"epoch": 1}, {"disabled": True, "epoch": 1}]
    )
    def test_who_was_disabled_or_ended_everywhere_is_not_renewed(
        self, world: World, change: dict[str, Any]
    ) -> None:
        tokens = world.open()
        world.change(**change)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(tokens)

    def test_who_is_gone_is_not_renewed(self, world: World) -> None:
        tokens = world.open()
        world.users.put(world.ann, None)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(tokens)

    def test_while_the_users_are_not_there_no_token_is_used_up(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: int) -> User:
            raise UsersUnavailable

        tokens = world.open()
        with monkeypatch.context() as patch:
            patch.setattr(world.users, "by_id", fail)
            with pytest.raises(UsersUnavailable):
                world.refresh(tokens)
        world.clock.advance(31)
        assert world.refresh(tokens).session_id == tokens.session_id

    def test_a_session_that_survives_a_change_of_password_is_renewed_at_the_same_moment(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens = world.open()
        identity = world.sessions.who_is(tokens.access_token)
        renew: Callable[..., Renewal] = world.store.renew

        def renew_after_the_change(*arguments: Any) -> Renewal:
            world.sessions.survive(identity, world.change(epoch=1))
            return renew(*arguments)

        monkeypatch.setattr(world.store, "renew", renew_after_the_change)
        renewed = world.refresh(tokens)
        assert world.sessions.who_is(renewed.access_token).session_id == tokens.session_id

    def test_a_refresh_between_a_change_of_password_and_its_end_logs_nobody_out(
        self, world: World
    ) -> None:
        tokens = world.open()
        identity = world.sessions.who_is(tokens.access_token)
        changed = world.change(epoch=1)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(tokens)
        world.sessions.survive(identity, changed)
        assert world.refresh(tokens).session_id == tokens.session_id


def parts_of(token: str) -> list[str]:
    return token.split(".")


FORGERIES: dict[str, Callable[[list[str]], list[str]]] = {
    "another user": lambda p: ["2", *p[1:]],
    "a user who cannot be": lambda p: ["9" * 19, *p[1:]],
    "a far too large user": lambda p: ["9" * 400, *p[1:]],
    "user 0": lambda p: ["0", *p[1:]],
    "a padded user": lambda p: ["01", *p[1:]],
    "digits of another script": lambda p: ["١", *p[1:]],
    "another session": lambda p: [p[0], "A" * 22, *p[2:]],
    "another case": lambda p: [p[0], p[1].swapcase(), *p[2:]],
    "the next generation": lambda p: [*p[:2], "1", p[3]],
    "a huge generation": lambda p: [*p[:2], "9" * 15, p[3]],
    "a far too large generation": lambda p: [*p[:2], "9" * 5000, p[3]],
    "a negative generation": lambda p: [*p[:2], "-1", p[3]],
    "a padded generation": lambda p: [*p[:2], "00", p[3]],
    "another mac": lambda p: [*p[:3], "A" * 43],
    "no mac": lambda p: [*p[:3], ""],
    "no mac at all": lambda p: p[:3],
    "a padded mac": lambda p: [*p[:3], p[3] + "="],
    "more": lambda p: [*p, "x"],
    "a line feed": lambda p: [*p[:3], p[3] + "\n"],
    "a space before": lambda p: [" " + p[0], *p[1:]],
    "nothing": lambda _: [""],
    "a NUL": lambda p: ["\0", *p[1:]],
    "a surrogate": lambda p: [*p[:3], "\ud800"],
    "1 MB": lambda p: [*p[:3], "x" * 1_000_000],
}


class TestForgeries:
    @pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
    def test_a_refresh_token_with_any_part_altered_is_refused_and_harms_nothing(
        self, world: World, forge: Callable[[list[str]], list[str]]
    ) -> None:
        tokens = world.open()
        forged = ".".join(forge(parts_of(refresh_token(tokens))))
        with pytest.raises(InvalidRefreshToken):
            world.sessions.refresh(forged, HERE)
        with pytest.raises(InvalidRefreshToken):
            world.sessions.session_of(forged)
        assert world.sessions.inspect(forged) is None
        assert world.audit.entries == []
        assert world.refresh(tokens).session_id == tokens.session_id

    def test_a_mac_in_another_spelling_of_base64_is_refused(self, world: World) -> None:
        *family, mac = parts_of(refresh_token(world.open()))
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        other = mac[:-1] + alphabet[alphabet.index(mac[-1]) ^ 1]
        assert base64.urlsafe_b64decode(other + "=") == base64.urlsafe_b64decode(mac + "=")
        with pytest.raises(InvalidRefreshToken):
            world.sessions.refresh(".".join([*family, other]), HERE)

    def test_a_token_made_with_another_key_is_refused(self, world: World) -> None:
        forged = world.joined(key=b"another").open(world.ann, HERE, renewable=True)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(forged)

    def test_one_kind_of_token_is_not_taken_for_the_other(self, world: World) -> None:
        tokens = world.open()
        with pytest.raises(InvalidToken):
            world.sessions.who_is(refresh_token(tokens))
        with pytest.raises(InvalidRefreshToken):
            world.sessions.refresh(tokens.access_token, HERE)


class TestWhoIs:
    @pytest.mark.parametrize("change", [{"disabled": True}, {"epoch": 1}])
    def test_a_token_ends_with_what_its_user_may_do(
        self, world: World, change: dict[str, Any]
    ) -> None:
        token = world.open().access_token
        world.change(**change)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(token)

    def test_a_token_of_a_user_who_is_gone_is_refused(self, world: World) -> None:
        token = world.open().access_token
        world.users.put(world.ann, None)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(token)

    def test_the_user_is_told_as_stored_now(self, world: World) -> None:
        token = world.open().access_token
        changed = world.change(permission=3)
        assert world.sessions.who_is(token).user == changed

    def test_a_store_that_is_down_is_no_invalid_token(self, world: World) -> None:
        token = world.open().access_token
        world.store.down = True
        with pytest.raises(SessionsUnavailable):
            world.sessions.who_is(token)
        with pytest.raises(SessionsUnavailable):
            world.sessions.inspect(token)


class TestEnding:
    def test_one_session_ends_and_the_others_go_on(self, world: World) -> None:
        one, other = world.open(), world.open()
        world.sessions.close(world.ann, one.session_id)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(one.access_token)
        with pytest.raises(InvalidRefreshToken):
            world.refresh(one)
        assert world.sessions.who_is(other.access_token).user == world.ann

    def test_an_unknown_session_or_that_of_another_is_not_ended(self, world: World) -> None:
        theirs = world.open(world.bob)
        for session_id in ("x" * 22, "", theirs.session_id):
            with pytest.raises(UnknownSession):
                world.sessions.close(world.ann, session_id)
        assert world.sessions.who_is(theirs.access_token).user == world.bob

    def test_ones_own_session_ends_though_it_may_have_ended_already(self, world: World) -> None:
        tokens = world.open()
        identity = world.sessions.who_is(tokens.access_token)
        for _ in range(2):
            world.sessions.close_own(identity)
        assert world.sessions.of(world.ann) == []

    def test_all_others_end(self, world: World) -> None:
        one, mine, theirs = world.open(), world.open(), world.open(world.bob)
        world.sessions.close_others(world.sessions.who_is(mine.access_token))
        assert [session.id for session in world.sessions.of(world.ann)] == [mine.session_id]
        assert [session.id for session in world.sessions.of(world.bob)] == [theirs.session_id]
        with pytest.raises(InvalidToken):
            world.sessions.who_is(one.access_token)

    def test_all_end(self, world: World) -> None:
        tokens, theirs = [world.open(), world.open()], world.open(world.bob)
        world.sessions.close_all(world.ann.id)
        assert world.sessions.of(world.ann) == []
        for one in tokens:
            with pytest.raises(InvalidToken):
                world.sessions.who_is(one.access_token)
        assert world.sessions.who_is(theirs.access_token).user == world.bob

    def test_one_session_survives_what_ends_all_others(self, world: World) -> None:
        one, other = world.open(), world.open()
        identity = world.sessions.who_is(one.access_token)
        changed = world.change(epoch=1)
        world.sessions.survive(identity, changed)
        assert world.sessions.who_is(one.access_token).user == changed
        assert [session.id for session in world.sessions.of(changed)] == [one.session_id]
        with pytest.raises(InvalidToken):
            world.sessions.who_is(other.access_token)

    def test_a_token_is_revoked_with_its_session(self, world: World) -> None:
        tokens = world.open()
        world.sessions.revoke(tokens.access_token)
        world.sessions.revoke(tokens.access_token)
        with pytest.raises(InvalidToken):
            world.sessions.who_is(tokens.access_token)
        with pytest.raises(InvalidToken):
            world.sessions.revoke("garbage")

    def test_sessions_of_an_earlier_epoch_are_not_listed(self, world: World) -> None:
        world.open()
        assert world.sessions.of(world.change(epoch=1)) == []


class TestInspecting:
    def test_an_access_token_that_is_good_is_told_of(self, world: World) -> None:
        tokens = world.open()
        claims = world.tokens.decode(tokens.access_token)
        found = world.sessions.inspect(tokens.access_token)
        assert found is not None
        assert (found.kind, found.user, found.session_id) == (ACCESS, world.ann, tokens.session_id)
        assert found.token_id == claims.token_id
        assert (found.issued_at, found.expires_at) == (claims.issued_at, claims.expires_at)

    def test_a_refresh_token_that_is_good_is_told_of_and_not_used(self, world: World) -> None:
        tokens = world.open()
        for _ in range(2):
            found = world.sessions.inspect(refresh_token(tokens))
            assert found is not None
            assert (found.kind, found.user) == (REFRESH, world.ann)
            assert found.expires_at == int(world.clock()) + 86400
        world.refresh(tokens)
        assert world.sessions.inspect(refresh_token(tokens)) is None

    @pytest.mark.parametrize("change", [{"disabled": True}, {"epoch": 1}])
    def test_no_token_is_good_of_a_user_who_may_do_nothing(
        self, world: World, change: dict[str, Any]
    ) -> None:
        tokens = world.open()
        world.change(**change)
        for token in (tokens.access_token, refresh_token(tokens)):
            assert world.sessions.inspect(token) is None

    def test_no_token_is_good_after_its_end(self, world: World) -> None:
        tokens = world.open()
        world.sessions.close(world.ann, tokens.session_id)
        for token in (tokens.access_token, refresh_token(tokens), "", "garbage", "\ud800"):
            assert world.sessions.inspect(token) is None
        assert world.sessions.inspect(refresh_token(world.open(world.add("eve")))) is not None
