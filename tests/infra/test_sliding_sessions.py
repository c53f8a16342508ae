"""What the store promises of sessions that slide, held over the fake and over Redis alike."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc.core.ports import Renewal, Use
from authsvc.infra.redis import RedisClient, connect
from authsvc.infra.sessions import MOST_SESSIONS, RedisSessions
from tests.core.fake_sessions import FakeSessionStore
from tests.core.fakes import FakeClock
from tests.infra.databases import Crowd
from tests.infra.redis_kinds import FAKE, PATIENT, REAL, client_of, emptied
from tests.infra.test_session_store import ANN, DAY, World
from tests.support.redis import RedisServer

IDLE = 1800
USES = 20
INDEX = f"authsvc:sessions:{{{ANN}}}"


@pytest.fixture(params=[FAKE, *REAL])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        clock = FakeClock()
        yield World(FakeSessionStore(clock), clock)
        return
    with client_of(emptied(request, request.param).url, PATIENT) as client:
        yield World(RedisSessions(client), None)


def slide(world: World, name: str = "a", *, idle: int = IDLE, longest: int = DAY) -> str:
    """Open a sliding session, and return its id."""
    return world.open(name, lifetime=idle, longest=longest, sliding=True)


def left_of(use: Use | None) -> int:
    assert use is not None
    assert use.left is not None
    return use.left


class TestSliding:
    def test_every_use_lets_it_go_on_until_it_is_idle_too_long(self, world: World) -> None:
        opened = slide(world, idle=3)
        for _ in range(4):
            world.pass_(0.9)
            assert world.store.touch(ANN, opened) is not None
        world.pass_(3.1)
        assert world.store.touch(ANN, opened) is None
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == []

    def test_no_use_lets_it_go_on_beyond_the_longest(self, world: World) -> None:
        opened = slide(world, idle=60, longest=4)
        assert left_of(world.store.touch(ANN, opened)) <= 4
        world.pass_(1.1)
        assert left_of(world.store.touch(ANN, opened)) <= 2
        world.pass_(3)
        assert world.store.touch(ANN, opened) is None

    def test_it_ends_at_the_longest_though_it_could_be_idle_for_longer(self, world: World) -> None:
        opened = slide(world, idle=DAY, longest=1)
        world.pass_(1.1)
        assert world.store.touch(ANN, opened) is None

    def test_a_use_tells_how_long_it_goes_on(self, world: World) -> None:
        opened = slide(world)
        assert IDLE - 5 <= left_of(world.store.touch(ANN, opened)) <= IDLE
        assert world.store.touch(ANN, world.open("ordinary")) == Use(0)

    def test_fifty_uses_at_once_are_all_good(self, world: World) -> None:
        opened = slide(world)
        with Crowd(None, 25) as crowd:
            uses = [crowd.begin(world.store.touch, ANN, opened) for _ in range(50)]
            assert all(IDLE - 10 <= left_of(use.result(20)) <= IDLE for use in uses)
        assert world.ids() == [opened]

    def test_it_cannot_be_renewed(self, world: World) -> None:
        opened = slide(world)
        assert world.renew(opened, 0) == Renewal(None)
        assert world.store.look(ANN, opened) == Renewal(None)
        assert world.store.touch(ANN, opened) is not None

    def test_it_slides_on_in_another_epoch(self, world: World) -> None:
        opened = slide(world)
        world.store.move(ANN, opened, 9)
        use = world.store.touch(ANN, opened)
        assert use is not None
        assert use.epoch == 9
        assert left_of(use) >= IDLE - 5


class TestListingAndEnding:
    def test_it_stays_listed_and_can_be_ended_after_its_first_end(self, world: World) -> None:
        opened, other = slide(world, "sliding", idle=4), world.open("other")
        for _ in range(2):
            world.pass_(2.2)
            assert world.store.touch(ANN, opened) is not None
            world.open("prunes")
        assert opened in world.ids()
        world.store.close_all(ANN, keep=other)
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == [other]

    def test_it_is_ended_once(self, world: World) -> None:
        opened = slide(world)
        assert world.store.close(ANN, opened)
        assert not world.store.close(ANN, opened)
        assert world.store.touch(ANN, opened) is None
        assert world.ids() == []

    def test_it_can_outlive_all_others(self, world: World) -> None:
        kept, _ = slide(world, "kept"), slide(world, "ended")
        world.store.close_all(ANN, keep=kept)
        assert world.ids() == [kept]
        assert world.store.touch(ANN, kept) is not None

    def test_one_too_many_ends_the_one_that_would_end_first_if_it_were_not_used(
        self, world: World
    ) -> None:
        idle, first = slide(world, "idle", idle=600), world.open("first", lifetime=3600)
        next_one = slide(world, "next", idle=1200)
        for number in range(MOST_SESSIONS - 3):
            world.open(f"n{number}")
        world.open("one more")
        assert len(world.ids()) == MOST_SESSIONS
        assert world.store.touch(ANN, idle) is None
        world.open("two more")
        assert world.store.touch(ANN, next_one) is None
        assert world.store.touch(ANN, first) == Use(0)
        assert len(world.ids()) == MOST_SESSIONS

    def test_those_that_were_idle_too_long_take_no_place(self, world: World) -> None:
        soonest = world.open("soonest", lifetime=3600)
        for number in range(MOST_SESSIONS - 1):
            slide(world, f"n{number}", idle=1)
        world.pass_(1.1)
        opened = [world.open(f"m{number}") for number in range(5)]
        assert world.store.touch(ANN, soonest) == Use(0)
        assert sorted(world.ids()) == sorted([soonest, *opened])


@pytest.mark.redis_server
class TestRedis:
    @pytest.fixture
    def client(self, redis_server: RedisServer) -> Iterator[RedisClient]:
        redis_server.flush()
        client = connect(redis_server.url, PATIENT)
        yield client
        client.close()

    @pytest.fixture
    def world(self, client: RedisClient) -> World:
        return World(RedisSessions(client), None)

    @pytest.fixture
    def key(self, world: World, server: Any) -> str:
        """The key of a sliding session that is about to end."""
        slide(world)
        [key] = server.scan_iter("authsvc:session:*")
        server.pexpire(key, 60_000)
        return str(key.decode())

    @pytest.fixture
    def use(self, world: World, key: str) -> Callable[[], Use | None]:
        return lambda: world.store.touch(ANN, key.rpartition(":")[2])

    def test_a_use_lets_it_go_on_at_once_and_is_noted_after_a_minute(
        self, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        used = int(server.hget(key, "used"))
        use()
        assert (IDLE - 20) * 1000 < server.pttl(key) <= IDLE * 1000
        assert int(server.hget(key, "used")) == used
        server.hset(key, "used", used - 61_000)
        use()
        assert int(server.hget(key, "used")) >= used

    def test_the_index_lives_for_as_long_as_it_can(
        self, world: World, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        use()
        world.open("short", lifetime=60)
        use()
        ends = int(server.hget(key, "ends"))
        assert server.pexpiretime(INDEX) >= ends
        assert server.pexpiretime(key) <= ends

    def test_whatever_end_the_index_tells_one_that_was_used_is_never_dropped(
        self, world: World, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        use()
        opened = key.rpartition(":")[2]
        server.zadd(INDEX, {opened: 1})
        other = world.open("other")
        assert sorted(world.ids()) == sorted([opened, other])
        assert abs(server.zscore(INDEX, opened) - server.pexpiretime(key)) < 10_000
        world.store.close_all(ANN)
        assert use() is None

    def test_one_too_many_spares_one_that_was_used(
        self, world: World, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        use()
        first = world.open("first", lifetime=600)
        for number in range(MOST_SESSIONS - 2):
            world.open(f"n{number}")
        soon = server.pexpiretime(key) - (IDLE - 300) * 1000
        server.zadd(INDEX, {key.rpartition(":")[2]: soon})
        world.open("one more")
        assert world.store.touch(ANN, first) is None
        assert use() is not None
        assert len(world.ids()) == server.zcard(INDEX) == MOST_SESSIONS

    def test_what_is_kept_is_no_secret_but_the_id(self, server: Any, key: str) -> None:
        assert set(server.hkeys(key)) == {
            *(b"epoch", b"idle", b"created", b"used", b"ends"),
            *(b"address", b"agent"),
        }

    def test_a_use_at_the_longest_end_is_too_late_though_the_key_lingers(
        self, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        server.hset(key, "ends", 1)
        assert use() is None
        assert server.pttl(key) <= 60_000

    def test_a_clock_that_is_set_back_gives_nobody_longer_than_idle(
        self, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        later = int(server.hget(key, "ends")) + 3_600_000
        server.hset(key, mapping={"ends": later, "used": later, "created": later})
        assert IDLE - 5 <= left_of(use()) <= IDLE
        assert server.pttl(key) <= IDLE * 1000

    def test_a_full_redis_lets_it_go_on(
        self, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        server.hset(key, "used", 1)
        server.config_set("maxmemory", 1)
        try:
            assert left_of(use()) >= IDLE - 20
            assert server.pttl(key) > 60_000
        finally:
            server.config_set("maxmemory", 0)

    def test_a_redis_that_refuses_writes_still_honours_it(
        self, server: Any, key: str, use: Callable[[], Use | None]
    ) -> None:
        server.hset(key, "used", 1)
        server.config_set("min-replicas-to-write", 1)
        try:
            assert use() is not None
            assert server.pttl(key) <= 60_000
        finally:
            server.config_set("min-replicas-to-write", 0)
        assert use() is not None
        assert server.pttl(key) > 60_000

    def test_a_use_of_an_ordinary_session_asks_redis_no_more_than_for_its_fields(
        self, world: World, server: Any, use: Callable[[], Use | None]
    ) -> None:
        def commands(work: Callable[[], Any]) -> dict[str, int]:
            work()
            server.config_resetstat()
            for _ in range(USES):
                work()
            asked = ("evalsha", "time", "hmget", "pexpire", "hset", "zadd", "pttl")
            stats = server.info("commandstats")
            calls = {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in asked}
            return {name: number for name, number in calls.items() if number}

        ordinary = world.open("ordinary")
        asked = {"evalsha": USES, "time": USES, "hmget": USES}
        assert commands(lambda: world.store.touch(ANN, ordinary)) == asked
        assert commands(use) == asked | {"pexpire": USES}
