"""Token checks and captchas, measured against a view that does nothing, under one gunicorn."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from tests.bench.bare import BareService
from tests.bench.figures import Figure, Goal, Results
from tests.bench.generator import Request, Run, generate
from tests.bench.inside import run_inside
from tests.bench.processes import cpu_seconds, workers_of
from tests.bench.stage import CHEAP_HASH, PASSWORD, Stage, sign_up
from tests.support.service import Service

CONCURRENCY = 8
DATABASE = "requests"
BARE = "bare view"
GUNICORN = "gunicorn and WSGI"
GOALS = {"token check": Goal(at_least=0.6), "captcha": Goal(at_least=0.5)}
NEWCOMERS = 10_000


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per request, by process."""

    workers: float
    mariadb: float
    redis: float
    generator: float


def measure(stage: Stage, results: Results, rounds: int, seconds: float) -> None:
    """Asks for the bare view and each operation in turn; then looks inside the operations."""
    stage.mariadb.create_database(DATABASE)
    service = stage.service(DATABASE, CHEAP_HASH)
    service.migrate()
    environment = service.environment()
    bare = BareService(stage.folder / "bare", stage.environment(DATABASE))
    with service, bare:
        operations = _operations(service, bare)
        rates: dict[str, list[float]] = {name: [] for name in operations}
        costs: dict[str, list[Cost]] = {name: [] for name in operations}
        for number in range(rounds + 1):
            for name, (asked, requests) in operations.items():
                run, cost = _ask(stage, asked, requests(), seconds if number else seconds / 2)
                if number:  # the first warms up
                    rates[name].append(run.rate)
                    costs[name].append(cost)
    for name in operations:
        if name == BARE:
            continue
        ratios = [one / other for one, other in zip(rates[name], rates[BARE], strict=True)]
        results.figures.append(Figure(f"{name}/s ÷ bare view/s", ratios, GOALS.get(name)))
    results.raw["requests per second"] = rates
    _tell_costs(results, costs)
    _look_inside(stage, results, environment, costs)


def _operations(
    service: Service, bare: Service
) -> dict[str, tuple[Service, Callable[[], Sequence[Request]]]]:
    account = sign_up(service, 1)[0]
    numbers = count()
    credentials = json.dumps({"username": account.name, "password": PASSWORD})

    def newcomers() -> list[Request]:
        return [_sign_up(f"newcomer-{next(numbers)}") for _ in range(NEWCOMERS)]

    return {
        BARE: (bare, lambda: [Request("GET", "/")]),
        "token check": (service, lambda: [Request("GET", "/v1/me", token=account.token)]),
        "captcha": (service, lambda: [Request("GET", "/captcha")]),
        "login": (service, lambda: [Request("POST", "/login", credentials)]),
        "sign-up": (service, newcomers),
    }


def _sign_up(name: str) -> Request:
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    return Request("POST", "/api/register", json.dumps(body))


def _ask(
    stage: Stage, service: Service, requests: Sequence[Request], seconds: float
) -> tuple[Run, Cost]:
    groups = (workers_of(service), [stage.mariadb.pid], [stage.redis.pid])
    before = [cpu_seconds(pids) for pids in groups]
    run = generate(service.ports[0], requests, connections=CONCURRENCY, seconds=seconds)
    spent = [cpu_seconds(pids) - was for pids, was in zip(groups, before, strict=True)]
    assert run.good == sum(run.statuses.values()), run.statuses
    return run, Cost(*(one / run.good * 1e6 for one in (*spent, run.cpu)))


def _tell_costs(results: Results, costs: dict[str, list[Cost]]) -> None:
    results.processes = {
        name: {
            part: _middle([getattr(cost, part) for cost in measured])
            for part in ("workers", "mariadb", "redis", "generator")
        }
        for name, measured in costs.items()
    }


def _look_inside(
    stage: Stage, results: Results, environment: dict[str, str], costs: dict[str, list[Cost]]
) -> None:
    layers = run_inside(environment, "profile", "4")
    for name, measured in layers.items():
        outer = _middle([cost.workers for cost in costs[name]])
        measured[GUNICORN] = max(0.0, outer - sum(measured.values()))
    bare = _middle([cost.workers for cost in costs[BARE]])
    results.layers = {BARE: {"gunicorn, WSGI and Flask": bare}, **layers}
    ports = (str(stage.mariadb.port), str(stage.redis.port))
    results.counts = run_inside(environment, "count", *ports)


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
