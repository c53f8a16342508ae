"""What the machine can hash at most: processes that do nothing else.

Run as a process of its own: seconds, memory in KiB, passes, lanes; begins at a line of input.
"""

import subprocess
import sys
import time

from argon2 import PasswordHasher


def limit(processes: int, seconds: float, memory: int = 19456, passes: int = 2) -> float:
    """Returns the hashes a second of so many processes at once."""
    command = [
        *(sys.executable, "-m", "tests.bench.hashes"),
        *map(str, (seconds, memory, passes, 1)),
    ]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()  # ready
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate(timeout=seconds + 30)[0]) for process in running)


def _main(seconds: float, memory: int, passes: int, lanes: int) -> None:
    argon2 = PasswordHasher(memory_cost=memory, time_cost=passes, parallelism=lanes)
    stored = argon2.hash("a password")
    print("ready", flush=True)
    sys.stdin.readline()
    began, count = time.perf_counter(), 0
    while (past := time.perf_counter() - began) < seconds:
        argon2.verify(stored, "a password")
        count += 1
    print(count / past)


if __name__ == "__main__":
    _main(float(sys.argv[1]), *map(int, sys.argv[2:5]))
