"""argon2id, and no more hashes at once than there are slots, over threads and processes."""

import itertools
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authsvc.core.errors import Overloaded
from authsvc.infra.hashing import Argon2Hasher, HashSlots
from tests.infra.databases import Crowd
from tests.support.service import ROOT

SLOTS = 2

# Hashes in several threads and prints when each slot was taken and given back.
HASHES = """
import sys, threading, time
from pathlib import Path
from authsvc.infra.hashing import HashSlots

slots = HashSlots(Path(sys.argv[1]), int(sys.argv[2]), wait=20)
spans = []

def work():
    for _ in range(8):
        with slots.hold():
            began = time.monotonic()
            time.sleep(0.005)
            spans.append((began, time.monotonic()))

sys.stdin.readline()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for span in spans: print(*span)
"""

# Takes a slot and keeps it.
HOLDS = """
import sys, time
from pathlib import Path
from authsvc.infra.hashing import HashSlots

with HashSlots(Path(sys.argv[1]), 1, wait=5).hold():
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def python(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script that can import authsvc; it is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """Return how many of the spans of time overlap, at the most."""
    changes = sorted([(end, -1) for _, end in spans] + [(began, 1) for began, _ in spans])
    return max(itertools.accumulate(change for _, change in changes))


def hasher(
    slots: HashSlots, memory_kib: int = 8, time_cost: int = 1, parallelism: int = 1
) -> Argon2Hasher:
    """Return a hasher that costs next to nothing, unless the parameters say otherwise."""
    return Argon2Hasher(slots, memory_kib=memory_kib, time_cost=time_cost, parallelism=parallelism)


@pytest.fixture
def slots(tmp_path: Path) -> HashSlots:
    """One slot, soon given up."""
    return HashSlots(tmp_path, 1, wait=0.2)


@pytest.fixture
def patient(tmp_path: Path) -> HashSlots:
    """The same slot, waited for."""
    return HashSlots(tmp_path, 1, wait=30)


class TestSlots:
    def test_over_several_processes_never_more_than_the_slots_are_held(
        self, tmp_path: Path
    ) -> None:
        with (
            python(HASHES, tmp_path, SLOTS) as one,
            python(HASHES, tmp_path, SLOTS) as two,
            python(HASHES, tmp_path, SLOTS) as three,
        ):
            processes = [one, two, three]
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            printed = "".join(process.communicate(timeout=30)[0] for process in processes)
        times = [float(word) for word in printed.split()]
        spans = list(zip(times[::2], times[1::2], strict=True))
        assert len(spans) == 3 * 3 * 8
        assert most_at_once(spans) == SLOTS

    def test_over_the_threads_of_one_process_never_more_than_the_slots_are_held(
        self, tmp_path: Path
    ) -> None:
        slots = HashSlots(tmp_path, SLOTS, wait=10)
        spans = []

        def work() -> None:
            with slots.hold():
                began = time.monotonic()
                time.sleep(0.005)
                spans.append((began, time.monotonic()))

        with Crowd(None, 8) as crowd:
            for one in [crowd.begin(work) for _ in range(24)]:
                one.result(10)
        assert most_at_once(spans) == SLOTS

    def test_a_process_that_is_killed_gives_its_slot_back(
        self, tmp_path: Path, slots: HashSlots, patient: HashSlots
    ) -> None:
        argon2 = hasher(slots)
        with python(HOLDS, tmp_path) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(Overloaded):
                argon2.hash("password")
            holder.send_signal(signal.SIGKILL)
            holder.wait(5)
            hasher(patient).hash("password")

    def test_an_exception_gives_the_slot_back(self, slots: HashSlots) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), slots.hold():
                raise ZeroDivisionError

    def test_a_slot_that_comes_free_is_taken(self, tmp_path: Path) -> None:
        slots, in_another_process = (HashSlots(tmp_path, 1, wait=5) for _ in range(2))
        with Crowd(None, 1) as crowd:
            with slots.hold():
                waiting = crowd.begin(hold, in_another_process)
                time.sleep(0.05)
                assert not waiting.done()
            waiting.result(1)

    def test_whoever_prefers_a_taken_slot_takes_a_free_one(self, tmp_path: Path) -> None:
        slots = HashSlots(tmp_path, SLOTS, wait=5)
        with slots.hold(1), Crowd(None, 1) as crowd:
            crowd.begin(hold, slots, 1).result(5)

    def test_two_processes_that_want_more_than_there_is_share_it_evenly(
        self, tmp_path: Path
    ) -> None:
        with python(HASHES, tmp_path, 1) as one, python(HASHES, tmp_path, 1) as two:
            for process in (one, two):
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            ends = [
                [float(line.split()[1]) for line in process.communicate(timeout=30)[0].splitlines()]
                for process in (one, two)
            ]
        both_since, both_until = max(map(min, ends)), min(map(max, ends))
        shares = [sum(both_since <= end <= both_until for end in of_one) for of_one in ends]
        assert min(shares) >= 5
        assert max(shares) <= 2 * min(shares)

    def test_files_and_folder_are_private_and_made_again_when_they_are_cleaned_away(
        self, tmp_path: Path
    ) -> None:
        folder = tmp_path / "authsvc"
        slots = HashSlots(folder, SLOTS, wait=1)
        for _ in range(2):
            hold(slots)
            modes = [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())]
            assert modes == [0o700, 0o600, 0o600]
            shutil.rmtree(folder)


def hold(slots: HashSlots, preferred: int = 0) -> None:
    """Hold a slot for a moment."""
    with slots.hold(preferred):
        pass


class TestArgon2:
    def test_a_hash_is_argon2id_with_the_parameters_and_a_salt_of_its_own(
        self, patient: HashSlots
    ) -> None:
        hashes = [hasher(patient, memory_kib=64, time_cost=2).hash("password") for _ in range(2)]
        assert all(made.startswith("$argon2id$v=19$m=64,t=2,p=1$") for made in hashes)
        assert hashes[0] != hashes[1]

    @pytest.mark.parametrize("password", ["password", "密码密码密码", "pass\x00word", "x" * 1024])
    def test_only_the_password_that_was_hashed_is_right(
        self, patient: HashSlots, password: str
    ) -> None:
        argon2 = hasher(patient)
        made = argon2.hash(password)
        assert argon2.verify(made, password)
        for wrong in ("", password + "x", password[:-1], password.upper() + "\x00"):
            assert not argon2.verify(made, wrong)

    def test_a_hash_made_with_other_parameters_is_right_and_needs_renewing(
        self, patient: HashSlots
    ) -> None:
        made = hasher(patient).hash("password")
        assert not hasher(patient).needs_rehash(made)
        for changed in ({"memory_kib": 16}, {"time_cost": 2}, {"memory_kib": 16, "parallelism": 2}):
            today = hasher(patient, **changed)
            assert today.verify(made, "password")
            assert today.needs_rehash(made)

    @pytest.mark.parametrize(
        "damaged", ["", "plain", "$argon2id$", "$2b$12$abc", "$argon2id$v=19$"]
    )
    def test_a_stored_hash_that_cannot_be_read_is_no_ones_password(
        self, patient: HashSlots, damaged: str
    ) -> None:
        assert not hasher(patient).verify(damaged, "")

    def test_every_way_to_hash_holds_a_slot(self, slots: HashSlots, patient: HashSlots) -> None:
        argon2, made = hasher(slots), hasher(patient).hash("password")
        ways: list[Callable[[], object]] = [
            lambda: argon2.hash("password"),
            lambda: argon2.verify(made, "password"),
            lambda: argon2.verify("damaged", "password"),
            argon2.verify_decoy,
        ]
        with slots.hold(), Crowd(None, 1) as crowd:
            for way in ways:
                assert isinstance(crowd.begin(way).exception(5), Overloaded)

    def test_an_unknown_user_costs_what_a_wrong_password_costs(self, tmp_path: Path) -> None:
        argon2 = hasher(HashSlots(tmp_path, 1, wait=10), memory_kib=8192, time_cost=2)
        made = argon2.hash("password")
        wrong = least_seconds(lambda: argon2.verify(made, "wrong password"))
        unknown = least_seconds(argon2.verify_decoy)
        assert 0.5 < unknown / wrong < 2


def least_seconds(work: Callable[[], object]) -> float:
    """Return how long it takes where nothing else disturbs it."""
    took = []
    for _ in range(7):
        began = time.monotonic()
        work()
        took.append(time.monotonic() - began)
    return min(took)
