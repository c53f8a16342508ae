"""What is killed under traffic, and how it comes back."""

import time

from tests.cluster.world import World, kill_node
from tests.faults.trial import Fault
from tests.support.galera import GaleraNode
from tests.support.processes import wait_until
from tests.support.redis_cluster import ClusterNode
from tests.support.service import Service

FAILOVER = 20.0
WATCHED = 4.0
"""Seconds of traffic after a node of the service died: long enough for nginx to try it again."""


class Kill(Fault):
    """A SIGKILL whose cause is gone when the others have taken over; `died_at` says when it came.

    What was killed stays dead: its return is a trial of its own.
    """

    seconds = 0.0
    is_felt: bool | None = None

    def __init__(self, world: World) -> None:
        self.world = world
        self.died_at = 0.0
        self.took_over_at = 0.0

    def mend(self) -> float:
        self.wait_for_others()
        self.took_over_at = time.monotonic()
        self.name += f" (the others took over after {self.took_over_at - self.died_at:.1f} s)"
        return self.took_over_at

    def wait_for_others(self) -> None:
        """Wait until the rest of the cluster goes on by itself."""


class RedisMasterKilled(Kill):
    """A Redis master dies, and its replica takes its slots."""

    name = "a Redis master killed (SIGKILL)"
    is_felt = True

    def __init__(self, world: World, master: ClusterNode) -> None:
        super().__init__(world)
        self._master = master

    def strike(self) -> None:
        self.world.redis.kill(self._master)
        self.died_at = time.monotonic()

    def wait_for_others(self) -> None:
        self.world.redis.wait_for_failover()


class GaleraNodeKilled(Kill):
    """A node of the database dies, and the two that are left agree to go on."""

    name = "the Galera node in use killed (SIGKILL)"

    def __init__(self, world: World, node: GaleraNode) -> None:
        super().__init__(world)
        self._node = node

    def strike(self) -> None:
        self._node.kill()
        self.died_at = time.monotonic()

    def wait_for_others(self) -> None:
        left = self.world.galera.alive()

        def agreed() -> bool:
            return all(node.is_ready() and node.members() == len(left) for node in left)

        assert wait_until(agreed, FAILOVER)


class ServiceNodeKilled(Kill):
    """A node of the service dies with all its workers; nginx has the other at once."""

    name = "an authsvc node killed (SIGKILL)"
    kills_service = True

    def __init__(self, world: World, node: Service) -> None:
        super().__init__(world)
        self._node = node

    def strike(self) -> None:
        kill_node(self._node)
        self.died_at = time.monotonic()

    def mend(self) -> float:
        time.sleep(WATCHED)
        return self.died_at


class Return(Fault):
    """What was killed is started again under traffic, and takes part.

    A database that catches up takes its share of the machine, which may be missing elsewhere.
    """

    seconds = 0.0
    is_felt: bool | None = None

    def mend(self) -> float:
        return time.monotonic()


class RedisNodeReturns(Return):
    """The former master comes back as a replica."""

    name = "the killed Redis node comes back"

    def __init__(self, world: World) -> None:
        self._world = world

    def strike(self) -> None:
        self._world.redis.ensure_running()


class GaleraNodeReturns(Return):
    """The node catches up on what it missed."""

    name = "the killed Galera node comes back"

    def __init__(self, world: World) -> None:
        self._world = world

    def strike(self) -> None:
        self._world.galera.ensure_running()
        assert wait_until(self._world.galera.is_whole, FAILOVER)


class ServiceNodeReturns(Return):
    """nginx finds it again by itself, and nobody may notice."""

    name = "the killed authsvc node comes back"
    is_felt = False

    def __init__(self, world: World, node: Service) -> None:
        self._world = world
        self._node = node

    def strike(self) -> None:
        self._node.ensure_running()
