"""The counters of guesses: what the port promises, over the fake and Redis; and Redis by itself."""

import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py
from redis.crc import key_slot

from authsvc.core.errors import GuessesUnavailable, TooManyAttempts
from authsvc.core.guessing import KNOWN_FOR, GuessPolicy, GuessStore
from authsvc.infra.guesses import RedisGuesses
from authsvc.infra.redis import RedisClient, RedisOptions, connect
from tests.core.fake_guesses import FakeGuesses
from tests.core.fakes import FakeClock
from tests.infra import proxy
from tests.infra.databases import Crowd
from tests.infra.proxy import Fate, LossyProxy
from tests.infra.redis_kinds import FAKE, KINDS, PATIENT, REAL, client_of, emptied
from tests.support.processes import HOST, free_port
from tests.support.redis import RedisServer
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_sentinel import WatchedRedis

BOB, ALICE = "bob", "alice"
HOME, AWAY = "192.0.2.1", "2001:db8:1:2::/64"
POLICY = GuessPolicy(pair=5, address=50, name=100, window=900, first_wait=60, longest_wait=900)
"""Waits so long that no test is too slow for them."""

OPTIONS = RedisOptions(pool_size=20, connect_timeout=1, timeout=2)


class Time:
    """Lets time pass: a fake clock goes forward, or all that a Redis holds becomes older."""

    def __init__(self, clock: FakeClock, client: Any) -> None:
        self._clock, self._client = clock, client

    def pass_(self, seconds: float) -> None:
        self._clock.advance(seconds)
        if self._client is not None:
            grow_older(self._client, round(seconds * 1000))


def grow_older(client: Any, milliseconds: int) -> None:
    """Put all that the guard keeps so much further into the past, or into the future."""
    for key in client.keys("authsvc:{guess}:*"):
        if client.type(key) == b"zset":
            for member, at in client.zrange(key, 0, -1, withscores=True):
                client.zadd(key, {member: at - milliseconds})
        client.pexpire(key, client.pttl(key) - milliseconds)


def behind(server: RedisServer | WatchedRedis | RedisCluster) -> Any:
    """Return a client of redis-py's own, for what a test does behind the store's back."""
    if isinstance(server, RedisCluster):
        return redis_py.Redis(port=server.owner("{guess}").port)
    port = server.port if isinstance(server, RedisServer) else server.master().port
    return redis_py.Redis(port=port)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[RedisClient]:
    """A client of the Redis of the whole run, emptied."""
    redis_server.flush()
    with client_of(redis_server.url, OPTIONS) as client:
        yield client


def fail(store: GuessStore, name: str = BOB, network: str = HOME, times: int = 1) -> None:
    """Make tries that are counted and stay so."""
    for _ in range(times):
        store.reserve(name, network)


def succeed(store: GuessStore, name: str = BOB, network: str = HOME) -> None:
    """Make a try that succeeds."""
    store.succeed(store.reserve(name, network))


def wait(store: GuessStore, name: str = BOB, network: str = HOME) -> int:
    """Return the seconds that a try would have to wait; it is made for nothing."""
    try:
        store.excuse(store.reserve(name, network))
    except TooManyAttempts as error:
        return error.retry_after
    return 0


def free(store: GuessStore, name: str = BOB, network: str = HOME) -> int:
    """Return how many failures were free in the counter that asks a try to wait."""
    with pytest.raises(TooManyAttempts) as refused:
        store.reserve(name, network)
    return refused.value.free


def about(seconds: int) -> Any:
    """Equal what is told of a wait, of which the test itself may have taken up some."""
    return pytest.approx(seconds - 10, abs=10)


def free_tries(store: GuessStore, name: str = BOB, network: str = HOME, most: int = 200) -> int:
    """Use up what is free, and return how much it was."""
    for used in range(most):
        try:
            store.reserve(name, network)
        except TooManyAttempts:
            return used
    return most


def verdicts(store: GuessStore, tries: list[tuple[str, str]]) -> "Counter[bool]":
    """Reserve all at once; count those that passed and those that were refused."""

    def passes(name: str, network: str) -> bool:
        try:
            store.reserve(name, network)
        except TooManyAttempts:
            return False
        return True

    with Crowd(None, 20) as crowd:
        return Counter([one.result(20) for one in [crowd.begin(passes, *each) for each in tries]])


@pytest.mark.parametrize("kind", [FAKE, *REAL])
class TestGuessStore:
    @pytest.fixture
    def redis(self, request: pytest.FixtureRequest, kind: str) -> Iterator[RedisClient | None]:
        if kind == "fake":
            yield None
            return
        client = connect(emptied(request, kind).url, PATIENT)
        yield client
        client.close()

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def passing(
        self, request: pytest.FixtureRequest, kind: str, clock: FakeClock
    ) -> Iterator[Time]:
        if kind == "fake":
            yield Time(clock, None)
            return
        with behind(request.getfixturevalue(KINDS[kind])) as server:
            yield Time(clock, server)

    @pytest.fixture
    def policy(self) -> GuessPolicy:
        return POLICY

    @pytest.fixture
    def store(self, redis: Any, clock: FakeClock, policy: GuessPolicy) -> GuessStore:
        return FakeGuesses(clock, policy) if redis is None else RedisGuesses(redis, policy)

    def test_five_failures_of_a_pair_are_free_and_the_next_try_waits(
        self, store: GuessStore
    ) -> None:
        fail(store, times=5)
        assert wait(store) == about(60)

    def test_each_counted_try_doubles_the_wait_up_to_the_longest(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        for seconds in (60, 120, 240, 480, 900, 900, 900):
            assert wait(store) == about(seconds)
            passing.pass_(seconds - 30)
            assert wait(store) == about(30)
            passing.pass_(30)
            fail(store)

    def test_a_refused_try_is_not_counted_and_extends_nothing(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        passing.pass_(30)
        assert free_tries(store) == 0
        assert wait(store) == about(30)
        passing.pass_(30)
        fail(store)
        assert wait(store) == about(120)

    def test_a_failure_counts_for_a_window_that_slides(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=3)
        passing.pass_(600)
        fail(store)
        passing.pass_(270)
        assert wait(store) == 0
        passing.pass_(30)
        assert free_tries(store) == 4

    def test_four_failures_in_every_window_are_free_for_ever(
        self, store: GuessStore, passing: Time
    ) -> None:
        for _ in range(6):
            fail(store, times=4)
            passing.pass_(900)
        assert free_tries(store) == 5

    def test_a_slowed_pair_stays_slowed_while_it_is_tried(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        passing.pass_(60 + 900 - 30)
        fail(store)
        assert wait(store) == about(120)
        passing.pass_(120 + 900 - 30)
        fail(store)
        assert wait(store) == about(240)

    def test_all_is_forgotten_when_nothing_was_counted_for_the_wait_and_a_window(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        passing.pass_(60)
        fail(store)
        passing.pass_(120 + 900)
        assert free_tries(store) == 5
        assert wait(store) == about(60)

    def test_another_name_and_another_network_are_not_slowed(self, store: GuessStore) -> None:
        fail(store, times=5)
        assert free_tries(store, ALICE) == 5
        assert free_tries(store, BOB, AWAY) == 5

    def test_fifty_failures_of_one_network_slow_it_for_every_name(
        self, store: GuessStore, passing: Time
    ) -> None:
        for number in range(50):
            fail(store, f"user{number}")
        assert wait(store, "newcomer") == about(60)
        assert wait(store, "newcomer", AWAY) == 0
        passing.pass_(60)
        fail(store, "newcomer")
        assert wait(store, "another") == about(120)

    def test_the_longest_of_the_waits_is_told(self, store: GuessStore, passing: Time) -> None:
        fail(store, times=5)
        passing.pass_(60)
        fail(store)
        passing.pass_(120)
        fail(store)
        for number in range(43):
            fail(store, f"user{number}")
        assert wait(store, ALICE) == about(60)
        assert wait(store, BOB) == about(240)

    def test_what_is_told_to_be_free_is_so_in_the_counter_that_asks_to_wait_longest(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        assert free(store) == 5
        passing.pass_(60)
        fail(store)
        for number in range(44):
            fail(store, f"user{number}")
        assert free(store, ALICE) == 50
        assert free(store, BOB) == 5
        for number in range(94):
            fail(store, BOB, f"198.51.100.{number}")
        assert free(store, BOB, AWAY) == 100

    def test_what_one_counter_refuses_no_other_counts(
        self, store: GuessStore, passing: Time
    ) -> None:
        for number in range(50):
            fail(store, f"user{number}")
        assert free_tries(store, BOB) == 0
        passing.pass_(60 + 900)
        assert free_tries(store, BOB) == 5

    def test_a_success_forgets_the_pair_and_gives_its_own_try_back(self, store: GuessStore) -> None:
        for _ in range(20):
            fail(store, times=2)
            succeed(store)
        for number in range(9):
            fail(store, f"user{number}")
        assert wait(store, "newcomer") == 0
        fail(store)
        assert wait(store, "newcomer") == about(60)

    def test_a_success_gives_the_name_its_try_back_and_no_more(self, store: GuessStore) -> None:
        for number in range(99):
            fail(store, BOB, f"198.51.100.{number}")
        succeed(store)
        assert wait(store, BOB, AWAY) == 0
        fail(store, BOB, AWAY)
        assert wait(store, BOB, "203.0.113.1") == about(60)

    def test_an_excused_try_was_never_counted(self, store: GuessStore) -> None:
        for _ in range(60):
            store.excuse(store.reserve(BOB, HOME))
        fail(store, times=4)
        store.excuse(store.reserve(BOB, HOME))
        assert free_tries(store) == 1

    @pytest.mark.parametrize("slowed", range(8))
    def test_an_excused_try_leaves_the_wait_where_it_was(
        self, store: GuessStore, passing: Time, slowed: int
    ) -> None:
        fail(store, times=5)
        for _ in range(slowed):
            passing.pass_(900)
            fail(store)
        before = wait(store)
        passing.pass_(900)
        for _ in range(3):
            store.excuse(store.reserve(BOB, HOME))
        fail(store)
        assert wait(store) == about(min(2 * before, 900))

    def test_an_excused_try_keeps_nothing_from_being_forgotten(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        passing.pass_(900)
        store.excuse(store.reserve(BOB, HOME))
        passing.pass_(60)
        assert free_tries(store) == 5

    def test_a_try_is_taken_back_once(self, store: GuessStore) -> None:
        fail(store, times=2)
        excused = store.reserve(BOB, HOME)
        fail(store)
        for _ in range(5):
            store.excuse(excused)
        assert free_tries(store) == 2

    def test_what_a_success_forgot_is_not_taken_back_again(self, store: GuessStore) -> None:
        for number in range(47):
            fail(store, f"user{number}")
        beside = store.reserve(BOB, HOME)
        succeeded = store.reserve(BOB, HOME)
        store.succeed(succeeded)
        fail(store)
        store.excuse(beside)
        store.excuse(beside)
        store.excuse(succeeded)
        assert free_tries(store) == 2
        assert wait(store, ALICE) == about(60)

    def test_guesses_from_everywhere_slow_only_networks_that_the_name_never_logged_in_from(
        self, store: GuessStore, passing: Time
    ) -> None:
        succeed(store, BOB, HOME)
        for number in range(100):
            fail(store, BOB, f"198.51.100.{number}")
        assert wait(store, BOB, AWAY) == about(60)
        assert wait(store, ALICE, AWAY) == 0
        assert wait(store, BOB, HOME) == 0
        passing.pass_(60)
        fail(store, BOB, AWAY)
        assert wait(store, BOB, "203.0.113.1") == about(120)
        assert free_tries(store, BOB, HOME) == 5

    def test_a_known_network_has_counters_of_its_own(self, store: GuessStore) -> None:
        succeed(store, BOB, HOME)
        fail(store, BOB, HOME, times=5)
        assert wait(store, BOB, HOME) == about(60)
        for number in range(100):
            assert wait(store, BOB, AWAY) == 0
            fail(store, BOB, f"198.51.100.{number}")
        assert wait(store, BOB, AWAY) == about(60)

    def test_a_network_is_known_for_no_other_name(self, store: GuessStore) -> None:
        succeed(store, ALICE, HOME)
        for number in range(100):
            fail(store, BOB, f"198.51.100.{number}")
        assert wait(store, BOB, HOME) == about(60)

    def test_a_network_is_known_for_ninety_days_from_the_last_success(
        self, store: GuessStore, passing: Time
    ) -> None:
        for _ in range(2):
            succeed(store, BOB, HOME)
            passing.pass_(KNOWN_FOR - 60)
        for number in range(100):
            fail(store, BOB, f"198.51.100.{number}")
        assert wait(store, BOB, HOME) == 0
        passing.pass_(60)
        fail(store, BOB, AWAY)
        assert wait(store, BOB, HOME) == about(120)

    @pytest.mark.parametrize(
        "name", ["", "x" * 100_000, "张三", "\ud800", "a\0b", "{a}", "}{", "*", "a:b", " \r\n"]
    )
    def test_a_name_is_any_text(self, store: GuessStore, name: str) -> None:
        assert free_tries(store, name) == 5
        assert wait(store, name + "x") == 0

    def test_of_a_hundred_tries_of_a_pair_at_once_five_pass(self, store: GuessStore) -> None:
        assert verdicts(store, [(BOB, HOME)] * 100) == {True: 5, False: 95}

    def test_of_a_hundred_tries_from_a_network_at_once_fifty_pass(self, store: GuessStore) -> None:
        tries = [(f"user{number}", HOME) for number in range(100)]
        assert verdicts(store, tries) == {True: 50, False: 50}

    def test_of_many_tries_of_a_name_from_everywhere_at_once_a_hundred_pass(
        self, store: GuessStore
    ) -> None:
        tries = [(BOB, f"198.51.100.{number}") for number in range(150)]
        assert verdicts(store, tries) == {True: 100, False: 50}

    def test_of_many_tries_at_once_after_each_wait_one_passes(
        self, store: GuessStore, passing: Time
    ) -> None:
        fail(store, times=5)
        for seconds in (60, 120, 240):
            passing.pass_(seconds)
            assert verdicts(store, [(BOB, HOME)] * 40) == {True: 1, False: 39}

    def test_a_try_is_taken_back_once_by_many_at_once(self, store: GuessStore) -> None:
        fail(store, times=3)
        excused = store.reserve(BOB, HOME)
        fail(store)
        with Crowd(None, 20) as crowd:
            for one in [crowd.begin(store.excuse, excused) for _ in range(100)]:
                one.result(20)
        assert free_tries(store) == 1

    def test_in_a_crowd_exactly_the_failures_stay_counted(self, store: GuessStore) -> None:
        ends = ["fail"] * 30 + ["excuse"] * 60 + ["succeed"] * 60
        random.Random(4).shuffle(ends)

        def attempt(number: int, end: str) -> None:
            reservation = store.reserve(f"user{number}", HOME)
            if end != "fail":
                getattr(store, end)(reservation)

        with Crowd(None, 12) as crowd:
            for one in [crowd.begin(attempt, number, end) for number, end in enumerate(ends)]:
                one.result(20)
        left = [name for name in (f"late{number}" for number in range(60)) if not wait(store, name)]
        assert len(left) == 60
        assert sum(free_tries(store, f"late{number}", most=1) for number in range(60)) == 20


def keys(client: Any) -> list[bytes]:
    """Return every key in Redis."""
    return list(client.scan_iter())


def everything(store: GuessStore) -> None:
    """Leave keys of every kind in Redis."""
    succeed(store, ALICE, AWAY)
    fail(store, BOB, HOME)
    store.excuse(store.reserve(BOB, HOME))


@pytest.fixture
def store(client: RedisClient) -> RedisGuesses:
    """The counters in an empty Redis."""
    return RedisGuesses(client, POLICY)


def test_who_waits_as_long_as_was_told_may_try(client: RedisClient) -> None:
    store = RedisGuesses(client, replace(POLICY, pair=1, first_wait=2))
    fail(store)
    told = []
    for _ in range(2):
        told.append(wait(store))
        time.sleep(told[-1])
        fail(store)
    told.append(wait(store))
    assert 0 < told[0] < told[1] < told[2]


def test_no_try_passes_before_its_wait_is_over(client: RedisClient) -> None:
    store = RedisGuesses(client, replace(POLICY, pair=1, first_wait=0.5))
    for seconds in (0.5, 1.0, 2.0):
        began = time.monotonic()
        fail(store)
        while wait(store):
            time.sleep(0.01)
        assert time.monotonic() - began >= seconds * 0.99


def test_a_window_passes_in_real_time(client: RedisClient, server: Any) -> None:
    store = RedisGuesses(client, replace(POLICY, window=1.5, first_wait=1, longest_wait=1))
    for _ in range(2):
        fail(store, times=4)
        time.sleep(1.6)
    assert keys(server) == []


def test_a_wait_is_told_in_whole_seconds_rounded_up(server: Any, store: RedisGuesses) -> None:
    fail(store, times=5)
    [[(_, last)]] = [server.zrange(key, -1, -1, withscores=True) for key in server.keys("*:pair:*")]
    for _ in range(20):
        before = redis_time(server)
        told = wait(store)
        after = redis_time(server)
        assert math.ceil(last / 1000 + 60 - after) <= told <= math.ceil(last / 1000 + 60 - before)
        time.sleep(0.05)


def redis_time(client: Any) -> float:
    """Return Redis' time of day in seconds, of which a thousandth is the last place that counts."""
    seconds, microseconds = client.time()
    return int(seconds) + int(microseconds) // 1000 / 1000


@pytest.mark.parametrize("step", [1, 60, 3600, 10**9])
def test_a_clock_put_back_prolongs_no_wait_beyond_itself(
    server: Any, store: RedisGuesses, step: int
) -> None:
    fail(store, times=5)
    for seconds in (60, 120, 240, 480, 900, 900):
        grow_older(server, -1000 * step)
        assert wait(store) == about(seconds)
        grow_older(server, 1000 * seconds)
        fail(store)


def test_a_clock_put_back_prolongs_no_window_beyond_itself(
    server: Any, store: RedisGuesses
) -> None:
    fail(store, times=4)
    grow_older(server, -3_600_000)
    assert wait(store) == 0
    grow_older(server, 900_000)
    assert free_tries(store) == 5


def test_no_name_stands_in_redis(server: Any, store: RedisGuesses) -> None:
    everything(store)
    held = [server.dump(key) for key in keys(server)] + keys(server)
    assert len(held) > 4
    assert not any(name.encode() in text for name in (BOB, ALICE) for text in held)


def test_every_key_is_short_however_long_the_name(server: Any, store: RedisGuesses) -> None:
    fail(store, "x" * 100_000)
    succeed(store, "x" * 100_000, AWAY)
    assert len(keys(server)) == 4
    assert max(map(len, keys(server))) < 64


def test_every_key_is_in_one_slot(server: Any, store: RedisGuesses) -> None:
    everything(store)
    assert {key.split(b":")[2] for key in keys(server)} == {b"pair", b"address", b"name", b"known"}
    assert {key_slot(key) for key in keys(server)} == {key_slot(b"{guess}")}


def test_every_key_ends_by_itself(server: Any, store: RedisGuesses) -> None:
    everything(store)
    fail(store, times=4)
    most = {b"known": KNOWN_FOR, b"pair": 1800, b"address": 1800, b"name": 1800}
    for _ in range(12):
        for key in keys(server):
            assert 0 < server.pttl(key) <= most[key.split(b":")[2]] * 1000
        grow_older(server, 900_000)
        fail(store)


def test_a_counter_lives_until_it_would_forget(server: Any, store: RedisGuesses) -> None:
    for seconds in (900, 900, 900, 900, 960, 1020, 1140, 1380, 1800, 1800):
        fail(store)
        [left] = [server.pttl(key) for key in server.keys("*:pair:*")]
        assert left / 1000 == about(seconds)
        if seconds > 900:
            grow_older(server, (seconds - 900) * 1000)


def test_what_was_excused_leaves_nothing_in_redis(server: Any, store: RedisGuesses) -> None:
    store.excuse(store.reserve(BOB, HOME))
    assert keys(server) == []


def test_a_counter_holds_no_more_tries_than_it_needs(server: Any, store: RedisGuesses) -> None:
    fail(store, times=5)
    for _ in range(30):
        grow_older(server, 900_000)
        fail(store)
    held = [server.zcard(key) for key in server.keys("*:pair:*")]
    assert held == [POLICY.pair + POLICY.doublings + 1]


def test_a_try_whose_answer_was_lost_is_counted_once(
    redis_server: RedisServer, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "COMMIT", b"EVALSHA")
    with (
        LossyProxy(redis_server.port, Fate.ANSWER_LOST) as lossy,
        client_of(f"redis://{HOST}:{lossy.port}/0", OPTIONS) as far,
    ):
        store = RedisGuesses(far, POLICY)
        fail(store, times=4)
        lossy.arm()
        fail(store)
        assert lossy.has_cut
        far.close()
    assert [server.zcard(key) for key in keys(server)] == [5, 5, 5]


def test_a_redis_that_is_down_is_said_to_be(store: RedisGuesses) -> None:
    reservation = store.reserve(BOB, HOME)
    with client_of(f"redis://{HOST}:{free_port()}/0", OPTIONS) as client:
        down = RedisGuesses(client, POLICY)
        with pytest.raises(GuessesUnavailable):
            down.reserve(BOB, HOME)
        with pytest.raises(GuessesUnavailable):
            down.succeed(reservation)
        with pytest.raises(GuessesUnavailable):
            down.excuse(reservation)


def test_a_redis_killed_between_a_try_and_its_end_keeps_what_it_wrote(
    breakable_redis: RedisServer,
) -> None:
    breakable_redis.flush()
    with client_of(breakable_redis.url, OPTIONS) as client:
        store = RedisGuesses(client, POLICY)
        fail(store, times=4)
        reservation = store.reserve(BOB, HOME)
        breakable_redis.kill()
        with pytest.raises(GuessesUnavailable):
            store.excuse(reservation)
        breakable_redis.start()
        assert wait(store) > 0
        store.excuse(reservation)
        assert free_tries(store) == 1


def test_a_full_redis_is_unavailable_and_counts_nothing(
    redis_server: RedisServer, server: Any, store: RedisGuesses
) -> None:
    fail(store, times=2)
    redis_server.ask("CONFIG SET maxmemory 1")
    try:
        for name in (BOB, ALICE):
            with pytest.raises(GuessesUnavailable):
                store.reserve(name, HOME)
    finally:
        redis_server.ask("CONFIG SET maxmemory 0")
    assert free_tries(store) == 3
    assert len(keys(server)) == 3


def test_a_full_redis_takes_a_try_back(redis_server: RedisServer, store: RedisGuesses) -> None:
    fail(store, times=3)
    excused, succeeded = store.reserve(BOB, HOME), store.reserve(ALICE, HOME)
    redis_server.ask("CONFIG SET maxmemory 1")
    try:
        store.excuse(excused)
        store.succeed(succeeded)
    finally:
        redis_server.ask("CONFIG SET maxmemory 0")
    assert free_tries(store) == 2
    assert free_tries(store, ALICE) == 5


def test_scripts_that_redis_has_forgotten_are_loaded_again(
    redis_server: RedisServer, store: RedisGuesses
) -> None:
    everything(store)
    redis_server.ask("SCRIPT FLUSH")
    everything(store)
    assert free_tries(store) == 3


def test_each_step_is_one_round_trip(
    redis_server: RedisServer, client: RedisClient, server: Any
) -> None:
    store = RedisGuesses(client, POLICY)
    everything(store)
    redis_server.ask("CONFIG RESETSTAT")
    everything(store)
    calls = {name: each["calls"] for name, each in server.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 5
    assert not {"cmdstat_eval", "cmdstat_script|load", "cmdstat_multi"} & calls.keys()
