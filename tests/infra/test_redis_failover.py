"""Sessions in Redis while the server that holds them dies, freezes, or hands its keys on."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from redis.exceptions import RedisError

from authsvc.core.errors import SessionsUnavailable
from authsvc.core.ports import Session, Use, Window
from authsvc.infra.rate_counters import RedisRateCounters
from authsvc.infra.redis import RedisClient, RedisOptions, connect, connections_in_use
from authsvc.infra.redis_routes import RIDE_OUT
from authsvc.infra.sessions import RedisSessions
from tests.infra.databases import Crowd
from tests.support.redis_cluster import ClusterNode, RedisCluster
from tests.support.redis_sentinel import WatchedRedis

pytestmark = pytest.mark.redis_server

OPTIONS = RedisOptions(pool_size=8, connect_timeout=1, timeout=1)
LONGEST = RIDE_OUT + OPTIONS.connect_timeout + OPTIONS.timeout + 1
"""Seconds: an outage is waited for, the last try may have begun at its end, and a busy machine."""
WITHIN = 10
"""Seconds in which a failover must be over for who tries on and on."""


@dataclass
class Traffic:
    """What came of opening sessions, one after the other."""

    opened: list[int] = field(default_factory=list)
    failed: int = 0
    longest: float = 0.0

    def open(self, store: RedisSessions, user: int) -> bool:
        """Open a user's session; tell whether that worked."""
        began = time.monotonic()
        try:
            store.open(session_of(user), 600, 600)
        except SessionsUnavailable:
            self.failed += 1
            return False
        else:
            self.opened.append(user)
            return True
        finally:
            self.longest = max(self.longest, time.monotonic() - began)


def session_of(user: int) -> Session:
    return Session(f"of-{user}", user, 0, 0, 0, "192.0.2.1", "a test")


def opens_again(store: RedisSessions, users: Callable[[], int]) -> Traffic:
    """Open sessions until one could be opened, for at most the time that a failover may take."""
    traffic, deadline = Traffic(), time.monotonic() + WITHIN
    while not traffic.open(store, users()):
        assert time.monotonic() < deadline, "no session could be opened again"
    return traffic


def live(store: RedisSessions, users: list[int]) -> list[int]:
    return [user for user in users if store.touch(user, f"of-{user}") is not None]


@pytest.fixture
def cluster_client(breakable_cluster: RedisCluster) -> Iterator[RedisClient]:
    breakable_cluster.flush()
    client = connect(breakable_cluster.url, OPTIONS)
    yield client
    client.close()


def users_on(cluster: RedisCluster, node: ClusterNode, count: int) -> list[int]:
    """Return users whose sessions a node holds."""
    users = range(1, 40 * count)
    found = (user for user in users if cluster.owner(f"authsvc:sessions:{{{user}}}") is node)
    return [user for user, _ in zip(found, range(count), strict=False)]


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_master_of_the_cluster_that_dies_or_freezes_is_waited_for_until_its_replica_serves(
    breakable_cluster: RedisCluster, cluster_client: RedisClient, way: str
) -> None:
    store = RedisSessions(cluster_client)
    before = list(range(1, 31))
    for user in before:
        store.open(session_of(user), 600, 600)
    assert breakable_cluster.has_replicas()
    victim = breakable_cluster.masters()[0]
    mine = users_on(breakable_cluster, victim, 4)
    getattr(victim, way)()
    with Crowd(None, 4) as crowd:
        begun = [crowd.begin(opens_again, store, lambda user=user: user) for user in mine]
        traffics = [one.result(20) for one in begun]
    assert max(traffic.longest for traffic in traffics) < LONGEST
    assert live(store, before) == before
    assert connections_in_use(cluster_client) == 0


def test_slots_of_other_masters_are_served_as_ever_while_one_is_dead(
    breakable_cluster: RedisCluster, cluster_client: RedisClient
) -> None:
    store = RedisSessions(cluster_client)
    store.open(session_of(1), 600, 600)
    victim, other, _ = breakable_cluster.masters()
    dead = users_on(breakable_cluster, victim, 1)[0]
    well = users_on(breakable_cluster, other, 10)
    victim.pause()
    with Crowd(None, 1) as crowd:
        waiting = crowd.begin(opens_again, store, lambda: dead)
        traffic = Traffic()
        assert all(traffic.open(store, user) for user in well)
        assert traffic.longest < waiting.result(20).longest / 2


def test_nobody_waits_for_slots_that_have_been_dead_for_long(
    breakable_cluster: RedisCluster, cluster_client: RedisClient
) -> None:
    store = RedisSessions(cluster_client)
    victim = breakable_cluster.masters()[0]
    user = users_on(breakable_cluster, victim, 1)[0]
    store.open(session_of(user), 600, 600)
    link = {node.port: node for node in breakable_cluster.nodes}
    for replica in breakable_cluster.replicas():
        if link[replica.run("INFO", "replication")["master_port"]] is victim:
            replica.kill()
    victim.pause()
    first, after = Traffic(), Traffic()
    assert not first.open(store, user)
    assert RIDE_OUT <= first.longest < LONGEST
    began = time.monotonic()
    assert not any(after.open(store, user) for _ in range(50))
    assert time.monotonic() - began < 50 * OPTIONS.timeout / 10
    victim.resume()
    assert opens_again(store, lambda: user).longest < LONGEST


def test_a_slot_that_moves_to_another_master_is_followed(
    breakable_cluster: RedisCluster, cluster_client: RedisClient
) -> None:
    store = RedisSessions(cluster_client)
    source, target, _ = breakable_cluster.masters()
    user, absent = users_on(breakable_cluster, source, 1)[0], "nobody's"
    store.open(session_of(user), 600, 600)
    slot = source.run("CLUSTER KEYSLOT", f"{{{user}}}")
    ids = {node: node.run("CLUSTER MYID").decode() for node in (source, target)}
    target.run("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    source.run("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    assert store.touch(user, f"of-{user}") == Use(0)
    assert store.touch(user, absent) is None
    keys = source.run("CLUSTER GETKEYSINSLOT", slot, 100)
    source.run("MIGRATE", "127.0.0.1", target.port, "", 0, 2000, "KEYS", *keys)
    assert store.touch(user, f"of-{user}") == Use(0)
    for node in (target, source):
        node.run("CLUSTER SETSLOT", slot, "NODE", ids[target])
    assert store.touch(user, f"of-{user}") == Use(0)
    assert breakable_cluster.owner(f"{{{user}}}") is target


def test_limits_are_counted_in_memory_without_waiting_while_their_master_is_dead(
    breakable_cluster: RedisCluster, cluster_client: RedisClient
) -> None:
    counters = RedisRateCounters(cluster_client)
    window = Window("a-rate", 5, 60)
    counters.count("192.0.2.1", [window])
    breakable_cluster.kill(breakable_cluster.owner("{192.0.2.1}"))
    began = time.monotonic()
    counts = [counters.count("192.0.2.1", [window])[0].count for _ in range(5)]
    assert time.monotonic() - began < OPTIONS.timeout
    assert counts == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_a_watched_master_that_dies_or_freezes_is_waited_for_until_its_replica_serves(
    breakable_watched_redis: WatchedRedis, way: str
) -> None:
    watched = breakable_watched_redis
    watched.ensure_running()
    watched.flush()
    client = connect(watched.url, OPTIONS)
    store = RedisSessions(client)
    before = list(range(1, 11))
    for user in before:
        store.open(session_of(user), 600, 600)
    time.sleep(0.2)
    former = watched.master()
    getattr(former, way)()
    traffic = opens_again(store, lambda: 11)
    assert traffic.longest < LONGEST
    assert live(store, before) == before
    assert watched.master() is not former
    client.close()


def test_a_dead_sentinel_is_done_without(breakable_watched_redis: WatchedRedis) -> None:
    breakable_watched_redis.sentinels[0].kill()
    client = connect(breakable_watched_redis.url, OPTIONS)
    client.ping()
    client.close()


@pytest.mark.parametrize("url", ["redis+sentinel://127.0.0.1:1/x", "redis+cluster://127.0.0.1:1"])
def test_where_nobody_answers_it_is_said_at_once(url: str) -> None:
    client = connect(url, OPTIONS)
    began = time.monotonic()
    with pytest.raises(RedisError):
        client.ping()
    assert time.monotonic() - began < OPTIONS.connect_timeout
