"""A private Redis that three sentinels watch: a master, and a replica that can take its place."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.support.binaries import path_of
from tests.support.processes import HOST, Server, free_port, wait_until
from tests.support.redis import RedisServer

SERVICE = "authsvc"
SENTINELS = 3
QUORUM = 2
DOWN_AFTER_MS = 1000


class Member(RedisServer):
    """One Redis of the pair.

    Args:
        folder: takes its data and its log.
        master: the one that it follows at first; None for the first master.
    """

    def __init__(self, folder: Path, master: RedisServer | None = None) -> None:
        super().__init__(folder)
        self._master = master

    def command(self) -> list[str]:
        following = ("--replicaof", f"{HOST} {self._master.port}") if self._master else ()
        return [*super().command(), "--repl-diskless-sync-delay", "0", *following]


class Sentinel(Server):
    """One sentinel. It rewrites its own configuration file, which is made at its first start."""

    name = "sentinel"

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder.resolve())
        self.port = free_port()
        self._master = master

    def prepare(self) -> None:
        super().prepare()
        configuration = self.folder / "sentinel.conf"
        if not configuration.exists():
            configuration.write_text(
                f"bind {HOST}\n"
                f"port {self.port}\n"
                f"sentinel monitor {SERVICE} {HOST} {self._master.port} {QUORUM}\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 4000\n"
            )

    def command(self) -> list[str]:
        return [path_of("redis-server"), str(self.folder / "sentinel.conf"), "--sentinel"]

    def is_ready(self) -> bool:
        try:
            return bool(ask(self.port, "PING"))
        except RedisError:
            return False


class WatchedRedis:
    """A master, a replica and three sentinels on free loopback ports.

    As a context manager it is started on entry and stopped on exit. Start it from the main thread.
    """

    start_seconds = 30.0
    failover_seconds = 20.0

    def __init__(self, folder: Path) -> None:
        first = Member(folder / "redis-1")
        self.members = [first, Member(folder / "redis-2", first)]
        self.sentinels = [Sentinel(folder / f"sentinel-{n}", first) for n in range(SENTINELS)]

    @property
    def url(self) -> str:
        """The address of the sentinels, as AUTHSVC_REDIS_URL takes it."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def master(self) -> Member:
        """Returns the member that the sentinels name."""
        running = next(sentinel for sentinel in self.sentinels if sentinel.alive)
        _, port = ask(running.port, "SENTINEL", "get-master-addr-by-name", SERVICE)
        return next(member for member in self.members if member.port == int(port))

    def kill(self, member: Member) -> None:
        """Ends a member by SIGKILL."""
        member.kill()

    def start(self, member: Member) -> None:
        """Starts a member again; the sentinels make it follow the master."""
        member.start()

    def wait_for_failover(self, former: Member) -> None:
        """Waits until every sentinel names another master, which takes writes."""

        def is_over() -> bool:
            try:
                return self.master() is not former and "master" in self._role(self.master())
            except RedisError:
                return False

        assert wait_until(is_over, self.failover_seconds), self.sentinels[0].log_tail()

    def ensure_running(self) -> None:
        """Brings all back from whatever a test did to them, the replica in step with the master."""
        for server in (*self.members, *self.sentinels):
            server.ensure_running()
        assert wait_until(self.is_whole, self.start_seconds), self.sentinels[0].log_tail()

    def is_whole(self) -> bool:
        """Tells whether the sentinels know each other and the replica, which follows the master."""
        try:
            master = self.master()
            [replica] = [member for member in self.members if member is not master]
            told = ask(replica.port, "INFO", "replication")
            following = told["role"] == "slave" and told["master_port"] == master.port
            return (
                following
                and told["master_link_status"] == "up"
                and all(_knows_all(sentinel) for sentinel in self.sentinels)
            )
        except (RedisError, KeyError):
            return False

    def flush(self) -> None:
        """Forgets everything."""
        self.master().flush()

    def stop(self) -> None:
        """Ends them all.

        Raises:
            DidNotStop: one of them had to be killed.
        """
        with ExitStack() as stack:
            for server in (*self.members, *self.sentinels):
                stack.callback(server.stop)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (*self.members, *self.sentinels):
                stack.enter_context(server)
            assert wait_until(self.is_whole, self.start_seconds), self.sentinels[0].log_tail()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _role(self, member: Member) -> str:
        return str(ask(member.port, "INFO", "replication")["role"])


def ask(port: int, *words: Any) -> Any:
    """Runs one command on a loopback port; returns the answer as redis-py reads it.

    Raises:
        RedisError: it was refused, or not answered within two seconds.
    """
    with Redis(host=HOST, port=port, socket_timeout=2, socket_connect_timeout=1) as connection:
        return connection.execute_command(*words)


def _knows_all(sentinel: Sentinel) -> bool:
    state = ask(sentinel.port, "INFO", "sentinel")["master0"]
    return bool(state["slaves"] == 1 and state["sentinels"] == SENTINELS)
