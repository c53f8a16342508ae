"""`python -m tests.bench` measures in minutes; `python -m tests.bench scale` at length."""

import argparse
import tempfile
import time
from pathlib import Path

from tests.bench import captchas, logins, operations, report, scale
from tests.bench.figures import Results
from tests.bench.stage import built

VAR = Path("var/bench")


def main() -> None:
    """Measures what was asked for, and prints the table."""
    chosen = _arguments()
    began = time.monotonic()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-", dir=chosen.folder) as folder:
        if chosen.what == "scale":
            scale.measure(Path(folder), results, chosen.users, chosen.requests, chosen.rounds)
        else:
            _measure(Path(folder), results, chosen.rounds, chosen.seconds)
    results.notes.append(f"The run took {(time.monotonic() - began) / 60:.0f} minutes.")
    print(report.write(results, VAR, "scale" if chosen.what == "scale" else "table"))
    print(f"In {VAR}: the same, a plot, and all that was measured.")


def _measure(folder: Path, results: Results, rounds: int, seconds: float) -> None:
    with built(folder) as stage:
        operations.measure(stage, results, rounds, seconds)
        logins.measure(stage, results, rounds, seconds)
    captchas.measure(results, rounds, seconds / 3)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "scale"), default="all")
    parser.add_argument("--rounds", type=int, default=4, help="how often each figure is measured")
    parser.add_argument("--seconds", type=float, default=4, help="how long, each time")
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 100_000, 10_000_000])
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the memory's growth")
    parser.add_argument("--folder", type=Path, help="for the servers' data; 10 million: 8 GiB")
    return parser.parse_args()


if __name__ == "__main__":
    main()
