"""Log-ins, measured against what the machine can hash when it does nothing else."""

import json
import os
from statistics import mean

from tests.bench.figures import Figure, Goal, Results
from tests.bench.generator import Request, Run, generate
from tests.bench.hashes import limit
from tests.bench.stage import PASSWORD, Stage, sign_up

CONCURRENCIES = (1, 8, 32, 128)
USERS = 32
CORES = len(os.sched_getaffinity(0))
THROUGHPUT = Goal(at_least=0.95)
TAIL = Goal(at_most=1.5)


def measure(stage: Stage, results: Results, rounds: int, seconds: float) -> None:
    """Logs in at several concurrencies; the hashers run before and after each."""
    stage.mariadb.create_database("logins")
    service = stage.service("logins")
    service.migrate()
    with service:
        names = [account.name for account in sign_up(service, USERS)]
        requests = [
            Request("POST", "/login", json.dumps({"username": name, "password": PASSWORD}))
            for name in names
        ]
        runs: dict[int, list[tuple[Run, float]]] = {number: [] for number in CONCURRENCIES}
        for _ in range(rounds):
            before = limit(CORES, seconds)
            for number in CONCURRENCIES:
                run = generate(service.ports[0], requests, connections=number, seconds=seconds)
                after = limit(CORES, seconds / 2)
                runs[number].append((run, mean((before, after))))
                before = after
    for number, measured in runs.items():
        _tell(results, number, measured)
    limits = [hashes for measured in runs.values() for _, hashes in measured]
    results.raw["hashes per second, alone"] = limits
    shares = [run.share for measured in runs.values() for run, _ in measured]
    results.notes.append(f"The generator of the log-ins took {max(shares):.1%} of a core at most.")


def _tell(results: Results, number: int, measured: list[tuple[Run, float]]) -> None:
    many = number > CORES
    results.figures.append(
        Figure(
            f"logins/s at concurrency {number} ÷ argon2id limit",
            [run.rate / hashes for run, hashes in measured],
            THROUGHPUT if many else None,
        )
    )
    answered = [(run, hashes) for run, hashes in measured if run.good]
    for part, goal in ((0.5, None), (0.99, TAIL if number == 8 else None)):
        ideal = [max(number, CORES) / hashes for _, hashes in answered]
        took = [run.percentile(part) for run, _ in answered]
        name = f"login p{part * 100:.0f} at concurrency {number} ÷ ideal queueing time"
        ratios = [one / other for one, other in zip(took, ideal, strict=True)]
        if ratios:
            results.figures.append(Figure(name, ratios, goal))
    results.raw[f"logins at {number}"] = [
        {"rate": run.rate, "limit": hashes, "statuses": run.statuses, "reconnects": run.reconnects}
        for run, hashes in measured
    ]
    refused = sum(n for run, _ in measured for status, n in run.statuses.items() if status != "200")
    if refused:
        results.notes.append(f"{refused} log-ins were refused at concurrency {number}.")
