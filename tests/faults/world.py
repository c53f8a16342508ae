"""The service as an operator runs it: gunicorn's workers behind nginx, on their own database."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.frontends import FAST, SESSION
from tests.faults.ledger import Entry, Ledger
from tests.faults.traffic import Bases, Visitor
from tests.faults.words import NATIVE
from tests.support.client import Answer, Client
from tests.support.mariadb import MariaDB
from tests.support.nginx import Nginx
from tests.support.processes import HOST, wait_until
from tests.support.service import Service

SETTINGS = {**FAST, "AUTHSVC_WORKERS": "2", "AUTHSVC_TRUSTED_PROXIES": HOST}
"""Cheap hashes and solvable captchas; every time-out, pool and count as nobody has set it."""

STARTS_WITHIN = 10.0
OPERATOR, OPERATOR_PASSWORD = "operated", "operated-tests"


@dataclass
class World:
    """A running service, the proxy before it, and a look at the users on disk.

    Args:
        service, nginx: both running.
        names: reads the names of the users who are stored.
    """

    service: Service
    nginx: Nginx
    names: Callable[[], set[str]]

    @property
    def bases(self) -> Bases:
        """The base URLs of the proxy's two ports."""
        return self.nginx.first, self.nginx.second

    def ensure_running(self) -> None:
        """Bring the service back from whatever a trial did to it."""
        self.service.ensure_running()
        if not wait_until(self._works, STARTS_WITHIN):
            self.service.restart()
            assert wait_until(self._works, STARTS_WITHIN), self.service.log_tail()

    def sign_up(self, captcha_id: str | None = None) -> tuple[Entry, Visitor]:
        """Sign somebody up in the native dialect."""
        visitor = Visitor(self.bases, NATIVE, Ledger())
        return visitor.sign_up(captcha_id), visitor

    def who_is(self, token: str) -> Answer:
        """Ask whose a token is."""
        headers = {"Authorization": f"Bearer {token}"}
        return Client(self.bases[0]).get("/v1/me", headers=headers)

    def _works(self) -> bool:
        return all(
            Visitor(self.bases, dialect, Ledger()).sign_up().succeeded
            for dialect in (SESSION, NATIVE)
            for _ in range(4)
        )


@dataclass(frozen=True, slots=True)
class Witness:
    """What somebody was given before a fault: a token, and the captcha that they spent."""

    token: str
    captcha_id: str


def witnesses(world: World, count: int = 8) -> list[Witness]:
    """Sign some up, and let Redis write down what it knows of them.

    It does so before it answers, or, while the disk is busy, up to two seconds later.
    """
    found = []
    for _ in range(count):
        entry, visitor = world.sign_up()
        assert entry.answer is not None
        assert entry.succeeded, entry
        body = entry.answer.json()
        found.append(Witness(body["accessToken"], str(visitor.captcha_id)))
    time.sleep(2)
    return found


@contextmanager
def served(
    folder: Path,
    service: Service,
    names: Callable[[], set[str]],
) -> Iterator[World]:
    """Run a service with nginx before it."""
    with service, Nginx(folder / "nginx", service.ports) as nginx:
        yield World(service, nginx, names)


def database_for_service(mariadb: MariaDB, name: str, port: int | None = None) -> str:
    """Make a database, and return its address for a user who may do nothing outside it.

    Args:
        mariadb: where to make it.
        name: what to call it.
        port: where the service reaches MariaDB, if not directly.
    """
    mariadb.create_database(name)
    mariadb.query(f"CREATE USER IF NOT EXISTS '{OPERATOR}'@'%' IDENTIFIED BY '{OPERATOR_PASSWORD}'")
    mariadb.query(f"GRANT ALL ON `{name}`.* TO '{OPERATOR}'@'%'")
    return f"mysql+pymysql://{OPERATOR}:{OPERATOR_PASSWORD}@{HOST}:{port or mariadb.port}/{name}"


def names_in(mariadb: MariaDB, database: str) -> Callable[[], set[str]]:
    """Return what reads the names of a database's users."""
    return lambda: {row[0] for row in mariadb.query("SELECT username FROM users", database)}


def service_on(folder: Path, env: Mapping[str, str | None]) -> Service:
    """Return a service with these settings beside the common ones."""
    return Service(folder / "service", {**SETTINGS, **env})
