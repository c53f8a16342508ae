"""The counters of the rate limits, in Redis and in memory."""

import time
from collections.abc import Iterator

import pytest

from authsvc.core.ports import Window
from authsvc.infra.rate_counters import RedisRateCounters
from authsvc.infra.redis import connect
from tests.infra.databases import Crowd
from tests.infra.redis_kinds import PATIENT, REAL, emptied
from tests.support.processes import HOST, free_port
from tests.support.redis import RedisServer

WIDE, NARROW = Window("wide", 100, 60), Window("narrow", 2, 3600)
CLIENT = "2001:db8:1:2::/64"


@pytest.fixture(params=[*REAL, pytest.param("nowhere", id="memory")])
def counters(request: pytest.FixtureRequest) -> Iterator[RedisRateCounters]:
    nowhere = request.param == "nowhere"
    url = f"redis://{HOST}:{free_port()}/0" if nowhere else emptied(request, request.param).url
    client = connect(url, PATIENT)
    yield RedisRateCounters(client)
    client.close()


def counts(counters: RedisRateCounters, *windows: Window, client: str = CLIENT) -> list[int]:
    return [counted.count for counted in counters.count(client, windows)]


def test_each_window_counts_by_itself_and_tells_its_end(counters: RedisRateCounters) -> None:
    assert counts(counters, WIDE, NARROW) == [1, 1]
    assert counts(counters, WIDE) == [2]
    wide, narrow = counters.count(CLIENT, [WIDE, NARROW])
    assert (wide.count, narrow.count) == (3, 2)
    assert wide.ends_at - time.time() == pytest.approx(60, abs=5)
    assert narrow.ends_at - time.time() == pytest.approx(3600, abs=5)


def test_what_comes_after_a_full_window_is_not_counted(counters: RedisRateCounters) -> None:
    for _ in range(2):
        counts(counters, NARROW, WIDE)
    assert counts(counters, NARROW, WIDE) == [3]
    assert counts(counters, WIDE) == [3]


def test_one_client_does_not_count_for_another(counters: RedisRateCounters) -> None:
    counts(counters, WIDE)
    assert counts(counters, WIDE, client="192.0.2.1") == [1]


def test_a_window_that_is_over_begins_anew(counters: RedisRateCounters) -> None:
    short = Window("short", 5, 1)
    assert [counts(counters, short) for _ in range(2)] == [[1], [2]]
    time.sleep(1.1)
    assert counts(counters, short) == [1]


def test_of_many_at_once_each_is_counted(counters: RedisRateCounters) -> None:
    with Crowd(None, 16) as crowd:
        begun = [crowd.begin(counts, counters, WIDE) for _ in range(64)]
        assert sorted(one.result(20)[0] for one in begun) == list(range(1, 65))


def test_at_the_moment_when_redis_dies_nobody_is_left_uncounted(
    breakable_redis: RedisServer,
) -> None:
    client = connect(breakable_redis.url, PATIENT)
    counters = RedisRateCounters(client)
    counts(counters, WIDE)
    breakable_redis.kill()
    with Crowd(None, 16) as crowd:
        begun = [crowd.begin(counts, counters, WIDE) for _ in range(64)]
        assert sorted(one.result(20)[0] for one in begun) == list(range(1, 65))
    client.close()
