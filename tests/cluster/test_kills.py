"""One of each kind is killed in turn under traffic, and comes back."""

import time
from collections.abc import Callable

import pytest

from tests.cluster.kills import (
    GaleraNodeKilled,
    GaleraNodeReturns,
    RedisMasterKilled,
    RedisNodeReturns,
    ServiceNodeKilled,
    ServiceNodeReturns,
)
from tests.cluster.regulars import Regulars
from tests.cluster.world import DATABASE, World, kill_node, log_in
from tests.e2e.frontends import new_address
from tests.faults.table import Row
from tests.faults.trial import Fault, suffer
from tests.support.client import Client
from tests.support.galera import GaleraNode
from tests.support.processes import wait_until

Trial = Callable[[World, Fault], Regulars]
IN_STEP_WITHIN = 5.0
BEFORE = 2.0
"""Seconds in which sessions are opened that will be older than the next constant."""
REPLICATED_WITHIN = 1.0
"""Seconds after which a session is on a replica too, with much to spare."""


@pytest.fixture
def trial(rows: list[Row]) -> Trial:
    """Let something happen under traffic, write its row, and fail if anything is amiss."""

    def tried(world: World, fault: Fault) -> Regulars:
        with Regulars(world) as regulars:
            time.sleep(BEFORE)
            outcome = suffer(world.outside, fault)
        rows.append(regulars.counted_in(outcome.row))
        complaints = [*outcome.complaints, *regulars.complaints()]
        if complaints:
            logs = [node.log_tail() for node in world.nodes]
            shown = "\n".join([*complaints[:40], *logs])
            pytest.fail(f"{fault.name}: {len(complaints)} complaints\n{shown}", False)
        assert wait_until(lambda: _agree(world), IN_STEP_WITHIN), "the Galera nodes differ"
        return regulars

    return tried


def _agree(world: World) -> bool:
    first, *others = world.names_by_node()
    return all(names == first for names in others)


def test_a_killed_redis_master_costs_no_user_and_no_session_older_than_a_second(
    world: World, trial: Trial, notes: list[str]
) -> None:
    master = world.redis.masters()[0]
    killed = RedisMasterKilled(world, master)
    regulars = trial(world, killed)

    survivors = regulars.survivors()
    before = [(killed.died_at - session.at, lives) for session, lives in survivors]
    old = [lives for age, lives in before if age > REPLICATED_WITHIN]
    young = [lives for age, lives in before if 0 < age <= REPLICATED_WITHIN]
    after = [lives for session, lives in survivors if session.at > killed.took_over_at]
    notes.append(
        "Sessions when the Redis master died: "
        f"{len(old)} were older than {REPLICATED_WITHIN:.0f} s, {old.count(False)} of them lost; "
        f"{len(young)} were younger, {young.count(False)} of them lost."
    )
    assert old
    assert all(old)
    assert after
    assert all(after)

    trial(world, RedisNodeReturns(world))
    assert master in world.redis.replicas()
    assert world.redis.has_replicas()


def test_a_killed_galera_node_costs_no_user(world: World, trial: Trial) -> None:
    node = next(node for node in world.galera.nodes if connections(node))
    trial(world, GaleraNodeKilled(world, node))
    written_without_it = world.names()

    trial(world, GaleraNodeReturns(world))
    assert all(node.members() == len(world.galera.nodes) for node in world.galera.nodes)
    assert written_without_it <= {
        row[0] for row in node.query("SELECT username FROM users", DATABASE)
    }


def test_a_killed_service_node_costs_only_what_it_was_answering(world: World, trial: Trial) -> None:
    dead, alive = world.nodes
    killed = ServiceNodeKilled(world, dead)
    regulars = trial(world, killed)
    assert regulars.failed_after(killed.died_at) == []

    trial(world, ServiceNodeReturns(world, dead))
    # Only if nginx has found it again can it answer for the other.
    kill_node(alive)
    client = Client(world.entrance[0], source=new_address())
    answers = [log_in(client, "nobody") for _ in range(20)]
    assert [answer.status for answer in answers] == [401] * 20, world.nginx.log_tail()


def connections(node: GaleraNode) -> int:
    """Return how many connections the service has to a node of Galera."""
    query = f"SELECT count(*) FROM information_schema.processlist WHERE db = '{DATABASE}'"
    return int(node.query(query)[0][0])
