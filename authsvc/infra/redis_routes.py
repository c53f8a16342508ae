"""Which server serves a key: the only one, the master that Sentinel names, or a cluster's."""

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as ConnectionLost
from redis.retry import Retry
from redis.sentinel import Sentinel

from authsvc.infra.redis_node import Call, Connection, Node, deliver

ASK_EVERY = 0.1
"""Seconds between two questions for who serves what."""
RIDE_OUT = 3.0
"""Seconds of one outage that requests wait for another server to take over."""

_DEFAULT_PORT = {"sentinel": 26379, "cluster": 6379}
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Connections to each Redis server: a count, and times in seconds."""

    pool_size: int
    connect_timeout: float
    timeout: float


@dataclass(frozen=True, slots=True)
class ManyServers:
    """What `redis+sentinel://…` or `redis+cluster://…` says.

    Args:
        kind: `sentinel` or `cluster`.
        tls: whether Redis is spoken to over TLS, which `rediss+…` asks for.
        addresses: of the sentinels, or of some of the cluster's nodes.
        user, password: for Redis; sentinels are asked without.
        service: what the sentinels call the master and its replicas.
        database: the number of a database.
    """

    kind: str
    tls: bool
    addresses: tuple[Address, ...]
    user: str | None
    password: str | None = field(repr=False)
    service: str = ""
    database: int = 0


def parse_many_servers(url: str) -> ManyServers:
    """Read the address of a Sentinel or Cluster installation.

    Raises:
        ValueError: it is not of the form, and says what is missing.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind not in _DEFAULT_PORT:
        raise ValueError("is neither redis+sentinel:// nor redis+cluster://.")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    addresses = tuple(_address(entry, _DEFAULT_PORT[kind]) for entry in hosts.split(","))
    service, _, database = parts.path.strip("/").partition("/")
    if parts.query or parts.fragment:
        raise ValueError("takes no parameters.")
    if kind == "sentinel" and not service:
        raise ValueError("names no service: redis+sentinel://host:port,host:port/service.")
    if kind == "cluster" and service:
        raise ValueError("has a path, but a cluster has one database only.")
    if database and not database.isdecimal():
        raise ValueError(f'"{database}" is not the number of a database.')
    return ManyServers(
        kind,
        scheme == "rediss",
        addresses,
        user or None,
        password or None,
        service,
        int(database or 0),
    )


def _address(entry: str, default_port: int) -> Address:
    host, _, port = entry.strip().rpartition(":") if _has_port(entry) else (entry.strip(), "", "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or (port and not (port.isdecimal() and 1 <= int(port) <= 65535)):
        raise ValueError(f'"{entry}" is not host:port.')
    return host, int(port or default_port)


def _has_port(entry: str) -> bool:
    return ":" in entry.rpartition("]")[2]


class Routes(Protocol):
    """Which server serves a key."""

    ride_out: float
    """Seconds of one outage for which it is worth while to wait: another server may take over."""

    def node_of(self, key: str | None) -> Node:
        """Return the server that serves a key now; for None, one of those that serve any.

        Raises:
            RedisError: nobody is known who does.
        """

    def masters(self) -> list[Node]:
        """Return all servers that serve keys now.

        Raises:
            RedisError: nobody knows.
        """

    def nodes(self) -> list[Node]:
        """Return all servers that are known."""

    def redirect(self, error: AskError) -> Node:
        """Return the server that another one named, and remember it if it is for good."""

    def refresh(self) -> None:
        """Ask anew who serves what, unless that was just asked; in vain, nothing changes."""


class OneServer:
    """The only server there is; a wait would be in vain."""

    ride_out = 0.0

    def __init__(self, url: str, options: RedisOptions) -> None:
        pool = ConnectionPool.from_url(url, **_timing(options))
        self._node = _node("Redis", pool, options)

    def node_of(self, key: str | None) -> Node:
        return self._node

    def masters(self) -> list[Node]:
        return [self._node]

    def nodes(self) -> list[Node]:
        return [self._node]

    def redirect(self, error: AskError) -> Node:
        raise ConnectionLost(f"this Redis is part of a cluster: {error}")

    def refresh(self) -> None:
        return None


class Changing(ABC):
    """Servers that are found by asking, one thread at a time."""

    ride_out = RIDE_OUT

    def __init__(self, servers: ManyServers, options: RedisOptions) -> None:
        self._servers = servers
        self._options = options
        self._known: dict[Address, Node] = {}
        self._lock = threading.Lock()
        self._asked_at = 0.0

    def nodes(self) -> list[Node]:
        return list(self._known.values())

    def refresh(self) -> None:
        # While one thread asks, the others go on with what is known; if nothing is, they wait.
        if not self._lock.acquire(blocking=not self._knows()):
            return
        try:
            if time.monotonic() - self._asked_at >= ASK_EVERY:
                self._ask()
                self._asked_at = time.monotonic()
        finally:
            self._lock.release()

    @abstractmethod
    def _knows(self) -> bool:
        """Tell whether anybody ever told who serves what."""

    @abstractmethod
    def _ask(self) -> None:
        """Learn who serves what, if anybody tells."""

    def _node(self, host: str, port: int) -> Node:
        node = self._known.get((host, port))
        if node is None:
            servers = self._servers
            scheme = "rediss" if servers.tls else "redis"
            pool = ConnectionPool.from_url(
                f"{scheme}://",
                host=host,
                port=port,
                db=servers.database,
                username=servers.user,
                password=servers.password,
                **_timing(self._options),
            )
            node = _node(f"Redis at {host}:{port}", pool, self._options)
            node = self._known.setdefault((host, port), node)
        return node


class MasterBySentinel(Changing):
    """The master that the sentinels name."""

    def __init__(self, servers: ManyServers, options: RedisOptions) -> None:
        super().__init__(servers, options)
        told = {**_timing(options, share=0.5), "ssl": servers.tls}
        self._sentinel: Any = Sentinel(servers.addresses, sentinel_kwargs=told)  # type: ignore[no-untyped-call]
        self._master: Node | None = None

    def node_of(self, key: str | None) -> Node:
        if self._master is None:
            self.refresh()
        if self._master is None:
            raise ConnectionLost(f"no sentinel names a master of {self._servers.service}")
        return self._master

    def masters(self) -> list[Node]:
        return [self.node_of(None)]

    def redirect(self, error: AskError) -> Node:
        raise ConnectionLost(f"this Redis is part of a cluster: {error}")

    def _knows(self) -> bool:
        return self._master is not None

    def _ask(self) -> None:
        try:
            host, port = self._sentinel.discover_master(self._servers.service)
        except RedisError:
            return
        master = self._node(str(host), int(port))
        if master is not self._master:
            master.forget_outage()
        self._master = master


class Cluster(Changing):
    """The masters of a Redis Cluster, each of which serves some of the slots."""

    def __init__(self, servers: ManyServers, options: RedisOptions) -> None:
        super().__init__(servers, options)
        self._owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._masters: list[Node] = []

    def node_of(self, key: str | None) -> Node:
        if not self._masters:
            self.refresh()
        if key is None:
            return self.masters()[0]
        node = self._owners[key_slot(key.encode())]
        if node is None:
            raise ConnectionLost("no known node of the cluster serves this key")
        return node

    def masters(self) -> list[Node]:
        if not self._masters:
            self.refresh()
        if not self._masters:
            raise ConnectionLost("no known node of the cluster answers")
        return self._masters

    def redirect(self, error: AskError) -> Node:
        node = self._node(error.host, error.port)
        if isinstance(error, MovedError):
            node.forget_outage()
            self._owners[error.slot_id] = node
        return node

    def _knows(self) -> bool:
        return bool(self._masters)

    def _ask(self) -> None:
        enough = time.monotonic() + self._options.timeout
        known = {*self.nodes(), *(self._node(*address) for address in self._servers.addresses)}
        nodes = random.sample(list(known), len(known))
        for node in sorted(nodes, key=lambda node: node.unwell_since is not None):
            call = Call(("CLUSTER", "SLOTS"))
            deliver([(node, [call])])
            if isinstance(call.answer, list) and call.answer:
                self._learn(call.answer)
                return
            if time.monotonic() > enough:
                return

    def _learn(self, ranges: Iterable[list[Any]]) -> None:
        owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, master, *_ in ranges:
            host, port = master[0].decode(), int(master[1])
            node = self._node(host, port)
            owners[first : last + 1] = [node] * (last + 1 - first)
        masters = list(dict.fromkeys(node for node in owners if node is not None))
        for node in masters:
            if node not in self._masters:
                node.forget_outage()
        self._owners, self._masters = owners, masters


def _timing(options: RedisOptions, share: float = 1) -> dict[str, Any]:
    return {
        "socket_connect_timeout": options.connect_timeout * share,
        "socket_timeout": options.timeout * share,
        "retry": Retry(NoBackoff(), 0),
    }


def _node(name: str, pool: ConnectionPool, options: RedisOptions) -> Node:
    def make() -> Connection:
        connection: Connection = pool.connection_class(**pool.connection_kwargs)
        return connection

    return Node(name, make, options.pool_size, options.timeout)
