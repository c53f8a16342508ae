"""A private Redis Cluster: three masters, and a replica of each."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.support.binaries import path_of
from tests.support.processes import HOST, Server, free_ports, wait_until

MASTERS = 3
SLOTS = 16384
NODE_TIMEOUT_MS = 1000


class ClusterNode(Server):
    """One Redis of a cluster; its cluster bus has a port of its own choice.

    Args:
        folder: takes its data, its log and what it knows of the cluster.
        port, bus_port: two free loopback ports.
        extra: further words of its command line, such as `"--maxmemory", "4mb"`.
    """

    name = "redis-node"

    def __init__(self, folder: Path, port: int, bus_port: int, extra: tuple[str, ...] = ()) -> None:
        super().__init__(folder.resolve())
        self.port = port
        self.bus_port = bus_port
        self._extra = extra

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [
            path_of("redis-server"),
            *("--bind", HOST),
            *("--port", str(self.port)),
            *("--dir", str(self.folder)),
            *("--appendonly", "yes"),
            *("--save", ""),
            *("--repl-diskless-sync-delay", "0"),
            *("--cluster-enabled", "yes"),
            *("--cluster-port", str(self.bus_port)),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            # The slots of a dead master alone must wait for its replica, not all of them.
            *("--cluster-require-full-coverage", "no"),
            *self._extra,
        ]

    def is_ready(self) -> bool:
        try:
            return bool(self.run("PING"))
        except RedisError:
            return False

    def run(self, *words: Any) -> Any:
        """Runs one command here, whoever owns its keys; returns the answer as redis-py reads it.

        Raises:
            RedisError: it was refused, or the node did not answer within two seconds.
        """
        with Redis(
            host=HOST, port=self.port, socket_timeout=2, socket_connect_timeout=1
        ) as connection:
            return connection.execute_command(*words)


class RedisCluster:
    """Six nodes on free loopback ports, which notice a dead one after about a second.

    As a context manager it is started on entry and stopped on exit. Start it from the main thread.

    Args:
        folder: takes a folder for each node.
        extra: further words of each node's command line.
    """

    start_seconds = 30.0
    failover_seconds = 20.0

    def __init__(self, folder: Path, *, extra: tuple[str, ...] = ()) -> None:
        ports = free_ports(4 * MASTERS)
        pairs = zip(ports[::2], ports[1::2], strict=True)
        self.nodes = [
            ClusterNode(folder / f"node-{number}", port, bus_port, extra)
            for number, (port, bus_port) in enumerate(pairs, start=1)
        ]

    @property
    def url(self) -> str:
        """The address of all nodes, as AUTHSVC_REDIS_URL takes it."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes)

    def masters(self) -> list[ClusterNode]:
        """Returns the running nodes that own slots at this moment."""
        return [node for node in self._alive() if _owns_slots(node)]

    def replicas(self) -> list[ClusterNode]:
        """Returns the running nodes that own none."""
        masters = self.masters()
        return [node for node in self._alive() if node not in masters]

    def owner(self, key: str) -> ClusterNode:
        """Returns the master in whose slots a key lies."""
        slot = self._alive()[0].run("CLUSTER KEYSLOT", key)
        return next(node for node in self.masters() if any(slot in owned for owned in _slots(node)))

    def kill(self, node: ClusterNode) -> None:
        """Ends a node by SIGKILL."""
        node.kill()

    def start(self, node: ClusterNode) -> None:
        """Starts a node again, with the data that it had; a former master comes as a replica."""
        node.start()

    def wait_for_failover(self) -> None:
        """Waits until running masters own every slot again, and every running node says so."""
        assert wait_until(self.is_whole, self.failover_seconds), self.state()

    def is_whole(self) -> bool:
        """Tells whether running masters own every slot, each known to every running node."""
        try:
            owners = self.masters()
            covered = sum(len(owned) for node in owners for owned in _slots(node))
            return covered == SLOTS and all(_sees(node, owners) for node in self._alive())
        except RedisError:
            return False

    def has_replicas(self) -> bool:
        """Tells whether each master has a replica that holds all that it holds."""
        try:
            replicas = [node.run("INFO", "replication") for node in self.replicas()]
        except RedisError:
            return False
        in_step = {
            replica["master_port"]
            for replica in replicas
            if replica["role"] == "slave" and replica["master_link_status"] == "up"
        }
        return in_step == {node.port for node in self.masters()}

    def ensure_running(self) -> None:
        """Brings all six back from whatever a test did to them."""
        for node in self.nodes:
            node.ensure_running()
        ready = wait_until(lambda: self.is_whole() and self.has_replicas(), self.start_seconds)
        assert ready, self.state()

    def flush(self) -> None:
        """Forgets everything."""
        for node in self.masters():
            node.run("FLUSHALL")

    def state(self) -> str:
        """Returns what each running node knows of the cluster, for people to read."""
        return "\n".join(_told(node) for node in self._alive())

    def stop(self) -> None:
        """Ends all nodes.

        Raises:
            DidNotStop: one of them had to be killed.
        """
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.stop)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _alive(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.alive]

    def _join(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        for epoch, node in enumerate(self.nodes, start=1):
            # Else all begin with the same, and a failover may have to wait for them to agree.
            node.run("CLUSTER SET-CONFIG-EPOCH", epoch)
        for node, slots in zip(masters, _shares(), strict=True):
            node.run("CLUSTER ADDSLOTS", *slots)
        for node in self.nodes[1:]:
            node.run("CLUSTER MEET", HOST, self.nodes[0].port, self.nodes[0].bus_port)
        assert wait_until(self._all_met, self.start_seconds), self.state()
        for master, replica in zip(masters, replicas, strict=True):
            replica.run("CLUSTER REPLICATE", _id(master))
        ready = wait_until(lambda: self.is_whole() and self.has_replicas(), self.start_seconds)
        assert ready, self.state()

    def _all_met(self) -> bool:
        return all(len(_links(node)) == len(self.nodes) for node in self.nodes)


def _shares() -> Iterator[range]:
    ends = [SLOTS * number // MASTERS for number in range(MASTERS + 1)]
    return (range(*pair) for pair in pairwise(ends))


def _links(node: ClusterNode) -> dict[str, dict[str, Any]]:
    """Returns the nodes that this one has shaken hands with, itself among them."""
    known = node.run("CLUSTER NODES")
    return {address: told for address, told in known.items() if "handshake" not in told["flags"]}


def _sees(node: ClusterNode, owners: list[ClusterNode]) -> bool:
    known = _links(node)
    return all(
        known[owner.address]["slots"] and "fail" not in known[owner.address]["flags"]
        for owner in owners
    )


def _myself(node: ClusterNode) -> dict[str, Any]:
    known: dict[str, Any] = node.run("CLUSTER NODES")
    return next(told for told in known.values() if "myself" in told["flags"])


def _id(node: ClusterNode) -> str:
    return str(_myself(node)["node_id"])


def _owns_slots(node: ClusterNode) -> bool:
    return "master" in _myself(node)["flags"] and bool(_slots(node))


def _slots(node: ClusterNode) -> list[range]:
    pairs = [[int(end) for end in pair] for pair in _myself(node)["slots"]]
    return [range(pair[0], pair[-1] + 1) for pair in pairs]


def _told(node: ClusterNode) -> str:
    told = ""
    with suppress(RedisError):
        told = str(node.run("CLUSTER NODES"))
    return f"{node.address}: {told}"
