"""What the store of sessions promises, held over the fake and over Redis alike."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.crc import key_slot

from authsvc.core.clients import Client
from authsvc.core.errors import SessionsUnavailable
from authsvc.core.ports import Renewal, Session, SessionStore, Use
from authsvc.infra.redis import RedisClient, RedisOptions, connect
from authsvc.infra.sessions import MOST_SESSIONS, RedisSessions
from tests.core.fake_sessions import FakeSessionStore
from tests.core.fakes import FakeClock
from tests.infra.databases import Crowd
from tests.infra.redis_kinds import FAKE, PATIENT, REAL, emptied
from tests.support.processes import HOST, free_port
from tests.support.redis import RedisServer

HERE = Client("192.0.2.1", "192.0.2.1", "browser 1")
THERE = Client("2001:db8::1", "2001:db8::/64", "浏览器 2")
OPTIONS = RedisOptions(pool_size=32, connect_timeout=0.5, timeout=2)
ANN, BOB = 7, 8
DAY = 86400


@dataclass
class World:
    """A store, and its time: a fake clock's, or the real one."""

    store: SessionStore
    clock: FakeClock | None

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        if self.clock is None:
            time.sleep(seconds)
        else:
            self.clock.advance(seconds)

    def open(
        self,
        name: str = "a",
        *,
        user: int = ANN,
        epoch: int = 0,
        sliding: bool = False,
        **times: int,
    ) -> str:
        """Open a session, and return its id."""
        session_id = f"{name:_<22}"
        session = Session(session_id, user, epoch, 0, 0, HERE.address, HERE.user_agent)
        lifetime, longest = times.get("lifetime", DAY), times.get("longest", 2 * DAY)
        self.store.open(session, lifetime, longest, sliding=sliding)
        return session_id

    def renew(
        self, session_id: str, generation: int, *, lifetime: int = DAY, grace: int = 30
    ) -> Renewal:
        """Use the refresh token of a generation."""
        return self.store.renew(ANN, session_id, generation, lifetime, grace, THERE)

    def ids(self, user: int = ANN) -> list[str]:
        """The ids of the user's live sessions, as they are listed."""
        return [session.id for session in self.store.of(user)]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[RedisClient]:
    """A client of the Redis of the whole run, emptied."""
    redis_server.flush()
    client = connect(redis_server.url, OPTIONS)
    yield client
    client.close()


@pytest.fixture(params=[FAKE, *REAL])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        clock = FakeClock()
        yield World(FakeSessionStore(clock), clock)
        return
    client = connect(emptied(request, request.param).url, PATIENT)
    yield World(RedisSessions(client), None)
    client.close()


class TestOpening:
    def test_a_session_is_live_once_it_was_opened(self, world: World) -> None:
        world.store.check()
        assert world.store.touch(ANN, f"{'a':_<22}") is None
        opened = world.open(epoch=3)
        assert world.store.touch(ANN, opened) == Use(3)
        assert world.store.touch(ANN, "b" * 22) is None

    def test_a_session_belongs_to_nobody_else(self, world: World) -> None:
        opened = world.open()
        assert world.store.touch(BOB, opened) is None
        assert not world.store.close(BOB, opened)
        assert world.store.look(BOB, opened) == Renewal(None)
        assert world.store.renew(BOB, opened, 0, DAY, 30, THERE) == Renewal(None)
        assert world.store.touch(ANN, opened) == Use(0)

    def test_a_session_that_is_not_renewed_ends_with_its_lifetime(self, world: World) -> None:
        short, long = world.open("short", lifetime=1), world.open("long")
        world.pass_(1.1)
        assert world.store.touch(ANN, short) is None
        assert world.store.look(ANN, short) == Renewal(None)
        assert world.renew(short, 0) == Renewal(None)
        assert not world.store.close(ANN, short)
        assert world.ids() == [long]

    def test_a_lifetime_never_goes_beyond_the_longest(self, world: World) -> None:
        opened = world.open(lifetime=DAY, longest=1)
        world.pass_(1.1)
        assert world.store.touch(ANN, opened) is None

    def test_a_touch_prolongs_nothing(self, world: World) -> None:
        opened = world.open(lifetime=1)
        for _ in range(4):
            world.pass_(0.3)
            used = world.store.touch(ANN, opened)
        assert used is None

    def test_a_listed_session_says_what_is_known_of_it(self, world: World) -> None:
        before = int(time.time() if world.clock is None else world.clock())
        opened = world.open(epoch=4)
        [listed] = world.store.of(ANN)
        assert replace(listed, created_at=0, last_used_at=0) == Session(
            opened, ANN, 4, 0, 0, HERE.address, HERE.user_agent
        )
        assert before <= listed.created_at == listed.last_used_at <= before + 5

    def test_sessions_are_listed_the_newest_first_also_within_one_second(
        self, world: World
    ) -> None:
        opened = []
        for number in range(6):
            opened.append(world.open(f"n{number}", lifetime=DAY - number * 1000 * (-1) ** number))
            world.pass_(0.01)
        assert world.ids() == opened[::-1]

    def test_nobody_has_the_sessions_of_another(self, world: World) -> None:
        mine, theirs = world.open("mine"), world.open("theirs", user=BOB)
        assert (world.ids(ANN), world.ids(BOB), world.ids(9)) == ([mine], [theirs], [])


class TestRenewing:
    def test_every_use_of_the_newest_makes_the_next(self, world: World) -> None:
        opened = world.open(epoch=5)
        for generation in range(5):
            renewal = world.renew(opened, generation)
            assert (renewal.generation, renewal.epoch) == (generation + 1, 5)
            assert not renewal.replayed
            assert DAY - 5 <= renewal.left <= DAY

    def test_a_renewal_says_from_where_the_session_was_used_last(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0)
        [listed] = world.store.of(ANN)
        assert (listed.address, listed.user_agent) == (THERE.address, THERE.user_agent)

    def test_a_renewed_session_lives_on(self, world: World) -> None:
        opened = world.open(lifetime=1)
        for generation in range(3):
            world.pass_(0.6)
            assert world.renew(opened, generation, lifetime=1).generation == generation + 1
        assert world.store.touch(ANN, opened) == Use(0)
        world.pass_(1.1)
        assert world.store.touch(ANN, opened) is None

    def test_renewals_do_not_go_beyond_the_longest(self, world: World) -> None:
        opened = world.open(lifetime=1, longest=2)
        world.pass_(0.7)
        world.renew(opened, 0, lifetime=1)
        world.pass_(0.7)
        assert world.renew(opened, 1, lifetime=DAY).left <= 1
        world.pass_(0.8)
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == []

    def test_a_generation_that_was_not_made_yet_changes_nothing(self, world: World) -> None:
        opened = world.open()
        for generation in (1, 2, 10**14):
            assert world.renew(opened, generation) == Renewal(None)
        assert world.renew(opened, 0).generation == 1

    def test_within_the_grace_an_old_one_is_answered_with_the_newest(self, world: World) -> None:
        opened = world.open()
        for generation in range(3):
            world.renew(opened, generation)
        for generation in (0, 1, 2, 0):
            renewal = world.renew(opened, generation)
            assert (renewal.generation, renewal.replayed) == (3, False)
        assert world.store.look(ANN, opened).generation == 3

    def test_after_the_grace_an_old_one_ends_the_session(self, world: World) -> None:
        opened, other = world.open("a"), world.open("b")
        world.renew(opened, 0, grace=1)
        world.pass_(1.2)
        assert world.renew(opened, 0, grace=1) == Renewal(None, replayed=True)
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == [other]

    def test_a_replay_is_told_once(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=0)
        world.pass_(0.05)
        assert world.renew(opened, 0, grace=0).replayed
        assert world.renew(opened, 0, grace=0) == Renewal(None)
        assert world.renew(opened, 1, grace=0) == Renewal(None)

    def test_the_grace_counts_from_the_first_use_and_replays_do_not_extend_it(
        self, world: World
    ) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=1)
        for _ in range(3):
            world.pass_(0.25)
            assert world.renew(opened, 0, grace=1).generation == 1
        world.pass_(0.5)
        assert world.renew(opened, 0, grace=1).replayed

    def test_the_use_of_a_successor_does_not_extend_the_grace_either(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=1)
        world.pass_(0.7)
        world.renew(opened, 1, grace=1)
        world.pass_(0.5)
        assert world.renew(opened, 0, grace=1).replayed

    def test_each_generation_has_a_grace_of_its_own(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=1)
        world.pass_(1.2)
        world.renew(opened, 1, grace=1)
        assert world.renew(opened, 1, grace=1).generation == 2

    def test_long_unused_tokens_are_good_for_their_first_use(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=1)
        world.pass_(1.2)
        assert world.renew(opened, 1, grace=1).generation == 2

    def test_of_many_at_once_all_have_the_same_successor(self, world: World) -> None:
        opened = world.open()
        with Crowd(None, 25) as crowd:
            renewals = [crowd.begin(world.renew, opened, 0) for _ in range(50)]
            found = Counter(renewal.result(20).generation for renewal in renewals)
        assert found == {1: 50}
        assert world.store.look(ANN, opened).generation == 1

    def test_of_many_late_replays_at_once_one_is_told(self, world: World) -> None:
        opened = world.open()
        world.renew(opened, 0, grace=0)
        world.pass_(0.05)
        with Crowd(None, 25) as crowd:
            renewals = [crowd.begin(lambda: world.renew(opened, 0, grace=0)) for _ in range(50)]
            found = Counter(renewal.result(20) for renewal in renewals)
        assert found == {Renewal(None, replayed=True): 1, Renewal(None): 49}


class TestLookingAndMoving:
    def test_a_look_changes_nothing(self, world: World) -> None:
        opened = world.open(epoch=2)
        world.renew(opened, 0)
        for _ in range(3):
            seen = world.store.look(ANN, opened)
            assert (seen.generation, seen.epoch, seen.replayed) == (1, 2, False)
            assert DAY - 5 <= seen.left <= DAY
        assert world.renew(opened, 1).generation == 2

    def test_a_session_goes_on_in_another_epoch(self, world: World) -> None:
        opened, other = world.open("a"), world.open("b")
        world.store.move(ANN, opened, 9)
        assert world.store.touch(ANN, opened) == Use(9)
        assert world.store.touch(ANN, other) == Use(0)
        assert world.renew(opened, 0).epoch == 9

    def test_an_ended_session_goes_on_in_no_epoch(self, world: World) -> None:
        opened = world.open()
        world.store.close(ANN, opened)
        world.store.move(ANN, opened, 9)
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == []


class TestEnding:
    def test_a_closed_session_stays_closed(self, world: World) -> None:
        opened, other = world.open("a"), world.open("b")
        assert world.store.close(ANN, opened)
        assert not world.store.close(ANN, opened)
        assert world.store.touch(ANN, opened) is None
        assert world.renew(opened, 0) == Renewal(None)
        assert world.ids() == [other]

    def test_all_end_but_those_of_others(self, world: World) -> None:
        mine = [world.open(name) for name in "abc"]
        theirs = world.open("theirs", user=BOB)
        world.store.close_all(ANN)
        assert [world.store.touch(ANN, session_id) for session_id in mine] == [None] * 3
        assert (world.ids(ANN), world.ids(BOB)) == ([], [theirs])

    def test_all_end_but_one(self, world: World) -> None:
        for name in "abc":
            kept = world.open(name)
        world.store.close_all(ANN, keep=kept)
        assert world.ids() == [kept]
        assert world.store.touch(ANN, kept) == Use(0)

    def test_all_end_also_if_the_one_to_keep_has_ended(self, world: World) -> None:
        world.open()
        world.store.close_all(ANN, keep="x" * 22)
        assert world.ids() == []

    def test_nobody_has_more_sessions_than_may_be(self, world: World) -> None:
        first = world.open("first", lifetime=DAY - 2)
        soonest = world.open("soonest", lifetime=DAY - 3)
        for number in range(MOST_SESSIONS - 2):
            world.open(f"n{number}")
        assert len(world.ids()) == MOST_SESSIONS
        world.open("one more")
        assert len(world.ids()) == MOST_SESSIONS
        assert world.store.touch(ANN, soonest) is None
        assert world.store.touch(ANN, first) == Use(0)

    def test_a_new_session_is_never_the_one_too_many(self, world: World) -> None:
        for number in range(MOST_SESSIONS):
            world.open(f"n{number}")
        short = world.open("short", lifetime=60)
        assert world.store.touch(ANN, short) == Use(0)
        assert len(world.ids()) == MOST_SESSIONS


@pytest.mark.redis_server
class TestRedis:
    @pytest.fixture
    def world(self, client: RedisClient) -> World:
        return World(RedisSessions(client), None)

    def test_all_keys_of_a_user_share_a_slot_of_a_cluster(self, world: World, server: Any) -> None:
        for name in "abc":
            world.renew(world.open(name), 0)
        keys = list(server.scan_iter())
        assert len(keys) == 4
        assert len({key_slot(key) for key in keys}) == 1
        world.open("d", user=BOB)
        assert len({key_slot(key) for key in server.scan_iter()}) == 2

    def test_every_key_ends_by_itself_and_the_index_not_before_its_sessions(
        self, world: World, server: Any
    ) -> None:
        def lives() -> dict[bytes, int]:
            return {key: server.pttl(key) for key in server.scan_iter()}

        opened = world.open("long", lifetime=DAY)
        world.open("short", lifetime=60)
        world.renew(opened, 0, lifetime=DAY)
        world.renew(opened, 1, lifetime=60)
        world.store.touch(ANN, opened)
        world.store.move(ANN, opened, 3)
        world.store.close(ANN, opened)
        world.open("other", lifetime=30)
        left = lives()
        assert len(left) == 3
        assert all(0 < milliseconds <= DAY * 1000 for milliseconds in left.values())
        index = left.pop(f"authsvc:sessions:{{{ANN}}}".encode())
        assert all(index >= milliseconds for milliseconds in left.values())

    def test_old_first_uses_are_forgotten(self, world: World, server: Any) -> None:
        opened = world.open()
        for generation in range(50):
            world.renew(opened, generation, grace=0)
            time.sleep(0.003)
        [key] = server.scan_iter("authsvc:session:*")
        firsts = [name for name in server.hkeys(key) if name.startswith(b"first:")]
        assert len(firsts) <= 2
        for generation in range(50, 60):
            world.renew(opened, generation, grace=3600)
        kept = [name for name in server.hkeys(key) if name.startswith(b"first:")]
        assert len(kept) <= 12
        assert world.renew(opened, 0, grace=3600) == Renewal(None, replayed=True)

    def test_an_ended_session_leaves_no_key(self, world: World, server: Any) -> None:
        opened = world.open()
        world.store.touch(ANN, opened)
        world.renew(opened, 0, grace=0)
        time.sleep(0.02)
        world.renew(opened, 0, grace=0)
        for name in "bcd":
            world.open(name)
        world.store.close_all(ANN)
        assert list(server.scan_iter()) == []

    def test_the_index_forgets_what_has_ended(self, world: World, server: Any) -> None:
        def index() -> set[str]:
            return {entry.decode() for entry in server.zrange(f"authsvc:sessions:{{{ANN}}}", 0, -1)}

        live, closed = world.open("live"), world.open("closed")
        world.open("over", lifetime=1)
        world.store.close(ANN, closed)
        assert closed not in index()
        time.sleep(1.1)
        last = world.open("last")
        assert index() == {live, last}

    def test_what_is_kept_is_no_secret_but_the_id(self, world: World, server: Any) -> None:
        opened = world.open()
        world.renew(opened, 0)
        [key] = server.scan_iter("authsvc:session:*")
        assert set(server.hkeys(key)) == {
            *(b"epoch", b"generation", b"oldest", b"created", b"used", b"ends"),
            *(b"address", b"agent", b"first:0"),
        }

    def test_a_use_is_noted_after_a_minute(self, world: World, server: Any) -> None:
        opened = world.open()
        [key] = server.scan_iter("authsvc:session:*")
        used = int(server.hget(key, "used"))
        world.store.touch(ANN, opened)
        assert int(server.hget(key, "used")) == used
        server.hset(key, "used", used - 61_000)
        world.store.touch(ANN, opened)
        assert int(server.hget(key, "used")) >= used

    def test_tokens_are_honoured_and_sessions_ended_while_redis_is_full(
        self, world: World, server: Any
    ) -> None:
        opened, other = world.open("a"), world.open("b")
        for key in server.scan_iter("authsvc:session:*"):
            server.hset(key, "used", 1)
        server.config_set("maxmemory", 1)
        try:
            with pytest.raises(SessionsUnavailable):
                world.open("c")
            with pytest.raises(SessionsUnavailable):
                world.renew(opened, 0)
            assert world.store.touch(ANN, opened) == Use(0)
            assert len(world.ids()) == 2
            assert world.store.close(ANN, opened)
            world.store.close_all(ANN)
            assert world.store.touch(ANN, other) is None
        finally:
            server.config_set("maxmemory", 0)

    def test_a_refusal_for_want_of_memory_changes_nothing(self, world: World, server: Any) -> None:
        opened = world.open()
        server.config_set("maxmemory", 1)
        try:
            with pytest.raises(SessionsUnavailable):
                world.renew(opened, 0)
        finally:
            server.config_set("maxmemory", 0)
        assert world.store.look(ANN, opened).generation == 0
        assert world.renew(opened, 0).generation == 1

    def test_redis_that_lost_its_scripts_is_taught_again(self, world: World, server: Any) -> None:
        opened = world.open()
        server.script_flush()
        assert world.store.touch(ANN, opened) == Use(0)
        server.script_flush()
        assert world.renew(opened, 0).generation == 1


def uses(store: SessionStore) -> list[Any]:
    session = Session("a" * 22, ANN, 0, 0, 0, "", "")
    return [
        store.check,
        lambda: store.open(session, 1, 1),
        lambda: store.touch(ANN, session.id),
        lambda: store.renew(ANN, session.id, 0, 1, 1, HERE),
        lambda: store.look(ANN, session.id),
        lambda: store.move(ANN, session.id, 1),
        lambda: store.close(ANN, session.id),
        lambda: store.close_all(ANN),
        lambda: store.of(ANN),
    ]


@pytest.mark.parametrize("number", range(9))
def test_a_redis_that_is_down_is_said_to_be(number: int) -> None:
    client = connect(f"redis://{HOST}:{free_port()}/0", OPTIONS)
    with pytest.raises(SessionsUnavailable):
        uses(RedisSessions(client))[number]()
    fake = FakeSessionStore(FakeClock())
    fake.down = True
    with pytest.raises(SessionsUnavailable):
        uses(fake)[number]()


def test_sessions_survive_a_restart_of_redis(breakable_redis: RedisServer) -> None:
    breakable_redis.flush()
    client = connect(breakable_redis.url, OPTIONS)
    world = World(RedisSessions(client), None)
    opened = world.open(epoch=2)
    world.renew(opened, 0)
    breakable_redis.stop()
    breakable_redis.start()
    assert world.store.touch(ANN, opened) == Use(2)
    assert world.renew(opened, 0).generation == 1
    assert world.renew(opened, 1).generation == 2
    client.close()
