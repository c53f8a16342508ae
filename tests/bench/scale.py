"""Many users, many requests, and a start: what must not grow."""

import json
import random
import time
from pathlib import Path
from statistics import mean
from typing import Any

import pymysql
from argon2 import PasswordHasher

from tests.bench.bare import BareService
from tests.bench.figures import Figure, Goal, Results
from tests.bench.generator import Request, Run, generate
from tests.bench.processes import resident_kib, workers_of
from tests.bench.stage import CHEAP_HASH, PASSWORD, Stage, built, sign_up
from tests.support.mariadb import PASSWORD as DATABASE_PASSWORD
from tests.support.mariadb import USER as DATABASE_USER
from tests.support.processes import HOST, wait_until
from tests.support.service import Service

BUFFER_POOL = "6G"
BATCH = 1_000_000
CONCURRENCY = 8
WORKERS = 2
ASKED = 5_000
SECONDS = 4.0
SETTLE_SECONDS = 900.0
FEW_PAGES = 500
SAME = Goal(at_most=1.2)
NO_GROWTH = Goal(at_most=1.05)

# The names and addresses come in the order of their keys, so that every index grows at its end.
FILL = """\
INSERT INTO users (id, username, username_key, email, email_key, permission, data, password_hash,
  created_at)
SELECT seq, CONCAT('user-', LPAD(seq, 9, '0')), CONCAT('user-', LPAD(seq, 9, '0')),
  CONCAT('user-', LPAD(seq, 9, '0'), '@example.com'),
  CONCAT('user-', LPAD(seq, 9, '0'), '@example.com'), 0, '{{}}', %s, NOW()
FROM seq_{first}_to_{last}
"""


class LastingService(Service):
    """A service whose workers are not replaced after a number of requests."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "--max-requests", "0", "wsgi:app"]


def measure(folder: Path, results: Results, users: list[int], requests: int, rounds: int) -> None:
    """Fills databases, asks of each in turn, then asks one for very long."""
    with built(folder, BUFFER_POOL) as stage:
        services = {number: _filled(stage, results, number) for number in sorted(users)}
        _compare(results, services, rounds)
        smallest = f"users_{min(users)}"
        _grow(stage, results, smallest, requests)
        _start(stage, results, smallest, rounds)


def _filled(stage: Stage, results: Results, number: int) -> Service:
    database = f"users_{number}"
    stage.mariadb.create_database(database)
    service = stage.service(database, CHEAP_HASH)
    service.migrate()
    began = time.monotonic()
    password_hash = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1).hash(PASSWORD)
    connection = pymysql.connect(
        host=HOST,
        port=stage.mariadb.port,
        user=DATABASE_USER,
        password=DATABASE_PASSWORD,
        database=database,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SET unique_checks = 0, foreign_key_checks = 0")
        for first in range(1, number + 1, BATCH):
            last = min(first + BATCH - 1, number)
            cursor.execute(FILL.format(first=first, last=last), (password_hash,))
        cursor.execute("ANALYZE TABLE users")
        _settle(cursor)
    results.notes.append(f"{number:,} users were loaded in {time.monotonic() - began:.0f} s.")
    print(results.notes[-1], flush=True)
    return service


def _settle(cursor: Any) -> None:
    """Wait until what was loaded is on disk, so that writing it costs no round."""
    cursor.execute("SELECT @@innodb_max_dirty_pages_pct, @@innodb_max_dirty_pages_pct_lwm")
    usual = cursor.fetchone()
    cursor.execute("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0")
    cursor.execute("SET GLOBAL innodb_max_dirty_pages_pct = 0")
    settled = wait_until(lambda: _dirty_pages(cursor) < FEW_PAGES, SETTLE_SECONDS)
    assert settled, f"{_dirty_pages(cursor)} pages were never written"
    cursor.execute("SET GLOBAL innodb_max_dirty_pages_pct = %s", usual[:1])
    cursor.execute("SET GLOBAL innodb_max_dirty_pages_pct_lwm = %s", usual[1:])


def _dirty_pages(cursor: Any) -> int:
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")
    return int(cursor.fetchone()[1])


def _compare(results: Results, services: dict[int, Service], rounds: int) -> None:
    """Log in and sign up among few and among many users, in turn."""
    spent: dict[str, dict[int, list[Run]]] = {
        kind: {number: [] for number in services} for kind in ("login", "sign-up")
    }
    for round_number in range(rounds + 1):
        for number, service in services.items():
            with service:
                warm = _logins(number)
                generate(service.ports[0], warm, connections=CONCURRENCY, seconds=1)
                for kind, requests in (
                    ("login", _logins(number)),
                    ("sign-up", _sign_ups(round_number)),
                ):
                    run = generate(
                        service.ports[0], requests, connections=CONCURRENCY, seconds=SECONDS
                    )
                    assert run.good == sum(run.statuses.values()), run.statuses
                    if round_number:  # the first warms the buffer pool
                        spent[kind][number].append(run)
    few = min(services)
    for kind, by_number in spent.items():
        for number in sorted(services)[1:]:
            pairs = list(zip(by_number[number], by_number[few], strict=True))
            results.figures.append(
                Figure(
                    f"time of a {kind} among {number:,} users ÷ among {few:,}",
                    [small.rate / large.rate for large, small in pairs],
                    SAME,
                )
            )
            results.figures.append(
                Figure(
                    f"p99 of a {kind} among {number:,} users ÷ among {few:,}",
                    [large.percentile(0.99) / small.percentile(0.99) for large, small in pairs],
                )
            )
        results.raw[f"{kind}s per second"] = {
            number: [run.rate for run in runs] for number, runs in by_number.items()
        }


def _logins(number: int) -> list[Request]:
    chosen = random.choices(range(1, number + 1), k=ASKED)
    return [_login(f"user-{user:09}") for user in chosen]


def _login(name: str) -> Request:
    return Request("POST", "/login", json.dumps({"username": name, "password": PASSWORD}))


def _sign_ups(round_number: int) -> list[Request]:
    """Return newcomers whose names fall anywhere among the others'."""
    bodies = []
    for _ in range(4 * ASKED):
        name = f"user-{random.randrange(10**9):09}-{round_number}-{random.randrange(10**9)}"
        bodies.append({"username": name, "password": PASSWORD, "email": f"{name}@example.com"})
    return [Request("POST", "/api/register", json.dumps(body)) for body in bodies]


def _grow(stage: Stage, results: Results, database: str, requests: int) -> None:
    """Ask for very long, and look how much memory the workers take."""
    count = {"AUTHSVC_WORKERS": str(WORKERS)}
    environment = stage.environment(database) | CHEAP_HASH | count
    service = LastingService(stage.folder / "lasting", environment)
    sizes: dict[str, list[int]] = {}
    with service:
        assert wait_until(lambda: len(workers_of(service)) == WORKERS, 10)
        sizes["at rest"] = _sizes(service)
        account = sign_up(service, 1)[0]
        mix = [
            *[Request("GET", "/v1/me", token=account.token)] * 6,
            *[Request("GET", "/captcha")] * 2,
            _login(account.name),
            Request("GET", "/v1/me", token="a.b.c"),
            Request("POST", "/api/register", "{}"),
        ]
        done = 0
        for mark in (requests // 10, requests):
            generate(
                service.ports[0], mix, connections=CONCURRENCY, seconds=6 * 3600, count=mark - done
            )
            done = mark
            sizes[f"after {mark:,}"] = _sizes(service)
            print(f"{mark:,} requests; KiB of each worker: {_sizes(service)}", flush=True)
    rest, early, late = (mean(kib) for kib in sizes.values())
    results.figures += [
        Figure(f"memory per worker after {requests // 10:,} requests ÷ at rest", [early / rest]),
        Figure(
            f"memory per worker after {requests:,} requests ÷ after {requests // 10:,}",
            [late / early],
            NO_GROWTH,
        ),
    ]
    results.raw["memory per worker, PSS in KiB"] = sizes
    told = ", ".join(f"{when} {mean(kib) / 1024:.1f}" for when, kib in sizes.items())
    results.notes.append(f"Memory per worker (PSS, MiB): {told}.")


def _sizes(service: Service) -> list[int]:
    return [resident_kib(pid) for pid in workers_of(service)]


def _start(stage: Stage, results: Results, database: str, rounds: int) -> None:
    """Start the service and the bare view in turn."""
    seconds: dict[str, list[float]] = {"authsvc": [], "bare": []}
    candidates: dict[str, Any] = {
        "authsvc": stage.service(database),
        "bare": BareService(stage.folder / "bare", stage.environment(database)),
    }
    for _ in range(rounds):
        for name, service in candidates.items():
            began = time.perf_counter()
            service.start()
            seconds[name].append(time.perf_counter() - began)
            service.stop()
    ratios = [ours / bare for ours, bare in zip(*seconds.values(), strict=True)]
    results.figures.append(Figure("start to first answer ÷ the bare view's", ratios))
    results.raw["seconds to the first answer"] = seconds
    results.notes.append(f"From start to first answer: {sorted(seconds['authsvc'])[0]:.2f} s.")
