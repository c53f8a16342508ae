"""A flood of requests, run as a process of its own: `python -m tests.e2e.flood`.

Reads one JSON object from standard input and prints one: see `run`.
"""

import http.client
import json
import os
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

Report = dict[str, Any]


def run(order: Report) -> list[Report]:
    """Send POSTs on kept connections, each client one after the other.

    Args:
        order: `targets` (each a `base`, a `path` and a `body`, in whose texts `#` becomes a
            number of its own), `clients`, `period` (seconds from one request of a client to its
            next) and `seconds`.

    Returns:
        What each answer was: `target`, `status`, `body`, `retry_after` and `seconds`.
    """
    answers: list[Report] = []
    until = time.monotonic() + order["seconds"]
    threads = [
        threading.Thread(target=_client, args=(order, number, until, answers))
        for number in range(order["clients"])
    ]
    for thread in threads:
        thread.start()
        time.sleep(order["period"] / len(threads))
    for thread in threads:
        thread.join()
    return answers


def _client(order: Report, number: int, until: float, answers: list[Report]) -> None:
    index = number % len(order["targets"])
    target = order["targets"][index]
    address = urlsplit(target["base"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    turn = 0
    while time.monotonic() < until:
        turn += 1
        body = json.dumps(target["body"]).replace("#", f"{number}x{turn}")
        began = time.monotonic()
        connection.request("POST", target["path"], body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        took = time.monotonic() - began
        answers.append(
            {
                "target": index,
                "status": answer.status,
                "body": json.loads(text),
                "retry_after": answer.headers.get("Retry-After"),
                "seconds": took,
            }
        )
        time.sleep(max(0.0, order["period"] - took))
    connection.close()


if __name__ == "__main__":
    os.nice(5)
    json.dump(run(json.load(sys.stdin)), sys.stdout)
