"""Two nodes of the service behind nginx, on a Galera cluster and a Redis Cluster."""

import http.client
import re
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.frontends import FAST, PASSWORD, SOLUTION, fresh, new_address
from tests.faults.world import World as TrialWorld
from tests.support.client import Answer, Client
from tests.support.family import kill_all, still_there
from tests.support.galera import Galera, GaleraNode
from tests.support.nginx import CONFIG, UPSTREAMS, Nginx
from tests.support.processes import accepts_tcp, wait_until
from tests.support.redis_cluster import RedisCluster
from tests.support.service import Service

DATABASE = "cluster"
SHARED = {
    **FAST,
    "AUTHSVC_JWT_SECRET": "one key for all nodes of the service",
    "AUTHSVC_RATELIMIT_ENABLED": "off",
    "AUTHSVC_TRUSTED_PROXIES": "127.0.0.1",
    "AUTHSVC_WORKERS": "2",
}
ORDERS = ((0, 1, 2), (1, 2, 0))
"""Which node of Galera each node of the service asks first: not the same, so that they collide."""

STRONG = "Xk9-longer-than-most"


@dataclass
class World:
    """All that runs."""

    galera: Galera
    redis: RedisCluster
    nodes: tuple[Service, Service]
    nginx: Nginx

    @property
    def entrance(self) -> tuple[str, str]:
        """The base URLs of nginx, for the two ports."""
        return self.nginx.first, self.nginx.second

    @property
    def outside(self) -> TrialWorld:
        """The same, as trials see it: an entrance, and the names that any node has stored."""
        return TrialWorld(self.nodes[0], self.nginx, self.names)

    def clients(self) -> tuple[Client, Client]:
        """Return a client of each node, past nginx, at an address of its own."""
        first, second = (Client(node.first, source=new_address()) for node in self.nodes)
        return first, second

    def works(self) -> bool:
        """Tell whether somebody can sign up and log in, by nginx and by each node."""
        return all(_works(base) for base in (self.entrance[0], *(n.first for n in self.nodes)))

    def names(self) -> set[str]:
        """Return who is stored, on whichever node of Galera that is alive."""
        return set().union(*self.names_by_node())

    def names_by_node(self) -> list[set[str]]:
        """Return who is stored, as each living node of Galera has it."""
        query = "SELECT username FROM users"
        return [{row[0] for row in node.query(query, DATABASE)} for node in self.galera.alive()]

    def rows(self, node: GaleraNode, condition: str) -> int:
        """Return how many users there are, as one node of Galera has them."""
        query = f"SELECT count(*) FROM users WHERE {condition}"
        return int(node.query(query, DATABASE)[0][0])

    def ensure_running(self) -> None:
        """Bring back whatever a test has killed."""
        self.galera.ensure_running()
        self.redis.ensure_running()
        for node in self.nodes:
            node.ensure_running()
        assert wait_until(self.galera.is_whole, 10)
        assert wait_until(self.works, 10)


def kill_node(node: Service) -> None:
    """End a node of the service by SIGKILL, its workers too; on return nothing of it is left."""
    family = node.children()
    node.kill()
    kill_all(family)
    assert wait_until(lambda: not still_there(family), 5)
    # A worker whose last threads are still ending takes connections that nobody will answer.
    assert wait_until(lambda: not any(accepts_tcp(port) for port in node.ports), 5)


def sign_up(client: Client, name: str, *, password: str = STRONG) -> Answer:
    """Sign somebody up in the native dialect, with a captcha of their own."""
    captcha_id = client.get("/v1/captcha").json()["captchaId"]
    body = {"username": name, "password": password, "captchaId": captcha_id, "value": SOLUTION}
    return client.post("/v1/signup", body)


def log_in(client: Client, name: str, password: str = STRONG) -> Answer:
    """Log somebody in, in the native dialect."""
    return client.post("/v1/login", {"username": name, "password": password})


def me(client: Client, token: str) -> Answer:
    """Ask who a token belongs to."""
    return client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


def nginx_config(*nodes: tuple[int, int]) -> str:
    """Return the repository's configuration with several servers in each upstream.

    Args:
        nodes: the two ports of each.
    """
    config = CONFIG.read_text(encoding="utf-8")
    for number, ports in zip(UPSTREAMS, zip(*nodes, strict=True), strict=True):
        line = re.compile(rf"^ *server 127\.0\.0\.1:{number}\b[^;]*;", re.MULTILINE)
        [alone] = line.findall(config)
        several = "\n".join(alone.replace(str(number), str(port)) for port in ports)
        config = config.replace(alone, several)
    return config


def settings(galera: Galera, redis: RedisCluster, order: tuple[int, ...]) -> dict[str, str]:
    """Return the settings of a node of the service."""
    urls = {
        "AUTHSVC_DATABASE_URL": galera.url(DATABASE, order),
        "AUTHSVC_REDIS_URL": redis.url,
    }
    return {**SHARED, **urls}


def folder_of(parent: Path, number: int) -> Path:
    """Return the folder of a node of the service."""
    return parent / f"authsvc-{number}"


def _works(base: str) -> bool:
    client, name = Client(base, source=new_address()), fresh("works")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    try:
        signed_up = client.post("/api/register", body)
        return signed_up.status == 201 and client.post("/api/login", body).status == 200
    except (OSError, http.client.HTTPException):
        return False
