"""How long a log-in takes that fails: what a stopwatch could tell about who exists.

The medians of two times are compared. Processor time is what the service works; other programs
do not disturb it, so it is always judged. Wall time is what an attacker measures, and counts
waiting too; it is judged unless even the quicker of the compared spent a good part of its wall
time without the processor, as then the machine was busy with other things. A wait of only one of
the compared is not excused by that. Where the wall times alone differ, they are taken once more:
a wait that the service itself makes is there again.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from authsvc.core.accounts import Accounts, Policy
from authsvc.core.clients import Client
from authsvc.core.errors import InvalidCode, InvalidCredentials
from authsvc.core.guessing import Guard, GuessPolicy
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change
from authsvc.core.sessions import SessionPolicy, Sessions
from authsvc.core.users import User
from authsvc.infra.hashing import Argon2Hasher, HashSlots
from authsvc.infra.users import SqlUsers
from tests.core.fake_guesses import FakeGuesses
from tests.core.fake_sessions import FakeSessionStore
from tests.core.fakes import FakeAudit, FakeClock, FakeTokens
from tests.infra.databases import migrated, new_user, nothing_more, sqlite_url

PASSWORD = "correct horse battery"
MOST = 0.05
BUSY = 1.1
"""Wall time over processor time, from which on the machine was busy with other things."""

DEFAULT_KIB = 19 * 1024
CHEAP_KIB = 4 * 1024
"""A fifth of the default: whatever differs beside the hash weighs five times as much."""

LogIn = Callable[[str, str], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Medians of one kind of log-in, in milliseconds."""

    wall: float
    processor: float


@dataclass(frozen=True, slots=True)
class Try:
    """A kind of log-in that fails: its next name, and its password."""

    name: Callable[[], str]
    password: str = "wrong horse battery"


class NothingForUnknown(Argon2Hasher):
    """Forgets that unknown users must cost something."""

    def verify_decoy(self) -> None:
        pass


class LazyForUnknown(Argon2Hasher):
    """Waits for unknown users as long as a hash takes, and works nothing."""

    def verify_decoy(self) -> None:
        time.sleep(0.02)


class OnceMoreForKnown(SqlUsers):
    """Asks the database twice more for a user who exists."""

    def by_username_key(self, key: str) -> User | None:
        found = super().by_username_key(key)
        if found is not None:
            self.by_id(found.id)
            self.by_email_key("nobody@example.com")
        return found


class NoCodes:
    """Knows no code."""

    def spend(self, user: User, code: str, client: Client) -> None:
        raise InvalidCode


class World:
    """Accounts over a real database and real hashes; guesses are counted, and none slowed."""

    def __init__(
        self,
        folder: Path,
        memory_kib: int,
        hasher: type[Argon2Hasher] = Argon2Hasher,
        users: type[SqlUsers] = SqlUsers,
    ) -> None:
        clock = FakeClock()
        self.users = users()
        self.hasher = hasher(
            HashSlots(folder, 2, wait=30), memory_kib=memory_kib, time_cost=2, parallelism=1
        )
        free = GuessPolicy(pair=10**6, address=10**6, name=10**6)
        self.accounts = Accounts(
            users=self.users,
            hasher=self.hasher,
            rule=PasswordRule(8, set()),
            sessions=Sessions(
                FakeSessionStore(clock),
                FakeTokens(clock),
                self.users,
                FakeAudit(),
                clock,
                b"key",
                SessionPolicy(),
            ),
            guard=Guard(FakeGuesses(clock, free)),
            second_factor=NoCodes(),
            policy=Policy(),
        )
        self._names = [f"known{number}" for number in range(20)]
        for name in self._names:
            self.add(name)

    def add(self, name: str, *, disabled: bool = False) -> None:
        """Store a user."""
        password_hash = self.hasher.hash(PASSWORD)
        user, _ = self.users.add(new_user(name), password_hash, nothing_more)
        if disabled:
            self.users.edit(user.id, lambda stored, _: Change(replace(stored, disabled=True)))

    def known(self) -> str:
        """A name that somebody has."""
        return random.choice(self._names)

    def unknown(self) -> str:
        """A name that nobody has."""
        return f"nobody{random.randrange(20)}"

    def log_in(self, name: str, password: str) -> object:
        """Log in as the documents do."""
        return self.accounts.log_in(name, password, _client())

    def log_in_renewably(self, name: str, password: str) -> object:
        """Log in as the native dialect does."""
        return self.accounts.log_in_renewably(name, password, None, _client())


def _client() -> Client:
    network = f"198.51.100.{random.randrange(256)}"
    return Client(network, network)


def timed(log_in: LogIn, kind: Try) -> Times:
    """Log in once, in vain; return what it took."""
    name = kind.name()
    wall, processor = time.perf_counter(), time.process_time()
    with pytest.raises(InvalidCredentials):
        log_in(name, kind.password)
    return Times(time.perf_counter() - wall, time.process_time() - processor)


def medians(log_in: LogIn, kinds: dict[str, Try], each_way: int) -> dict[str, Times]:
    """Log in so often each way, in turn, in an order that changes; print the medians, too."""
    taken: dict[str, list[Times]] = {label: [] for label in kinds}
    for kind in list(kinds.values()) * 10:
        timed(log_in, kind)
    for _ in range(each_way):
        for label in random.sample(list(kinds), len(kinds)):
            taken[label].append(timed(log_in, kinds[label]))
    found = {
        label: Times(
            1000 * statistics.median(each.wall for each in times),
            1000 * statistics.median(each.processor for each in times),
        )
        for label, times in taken.items()
    }
    for label, each in found.items():
        print(f"{label}: {each.processor:.3f} ms processor, {each.wall:.3f} ms wall")
    return found


def differences(found: dict[str, Times]) -> tuple[float, float]:
    """Return by what part of the least median the greatest exceeds it: processor, wall time."""
    processor = _spread([each.processor for each in found.values()])
    wall = _spread([each.wall for each in found.values()])
    busy = min(each.wall / each.processor for each in found.values()) > BUSY
    note = ", not judged: the machine was busy" if busy else ""
    print(f"difference: {processor:.2%} processor, {wall:.2%} wall{note}")
    return processor, 0 if busy else wall


def difference(log_in: LogIn, kinds: dict[str, Try], each_way: int = 200) -> float:
    """Log in so often each way; return by how much the medians differ, in the worse time."""
    processor, wall = differences(medians(log_in, kinds, each_way))
    if processor <= MOST < wall:
        again, wall = differences(medians(log_in, kinds, each_way))
        processor = max(processor, again)
    return max(processor, wall)


def _spread(values: list[float]) -> float:
    return max(values) / min(values) - 1


def known_and_unknown(world: World) -> dict[str, Try]:
    """The two that must look alike."""
    return {"known": Try(world.known), "unknown": Try(world.unknown)}


@pytest.fixture(
    params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)],
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A database of its own."""
    if request.param == "sqlite":
        url = sqlite_url(tmp_path)
    else:
        url = request.getfixturevalue("mariadb").create_database()
    with migrated(url):
        yield


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[None]:
    """A database in a file."""
    with migrated(sqlite_url(tmp_path)):
        yield


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("method", "memory_kib"),
    [("log_in", DEFAULT_KIB), ("log_in", CHEAP_KIB), ("log_in_renewably", CHEAP_KIB)],
)
def test_known_and_unknown_users_take_the_same_time(
    tmp_path: Path, method: str, memory_kib: int
) -> None:
    world = World(tmp_path, memory_kib)
    assert difference(getattr(world, method), known_and_unknown(world)) <= MOST


@pytest.mark.usefixtures("sqlite")
def test_every_reason_to_refuse_takes_the_same_time(tmp_path: Path) -> None:
    world = World(tmp_path, DEFAULT_KIB)
    world.add("gone", disabled=True)
    kinds = {
        "wrong password": Try(world.known),
        "password that nobody can have": Try(world.known, "\ud800"),
        "unknown name": Try(world.unknown),
        "disabled user, right password": Try(lambda: "gone", PASSWORD),
        "disabled user, wrong password": Try(lambda: "gone"),
    }
    assert difference(world.log_in, kinds, 100) <= MOST


@pytest.mark.usefixtures("sqlite")
def test_a_name_that_nobody_can_have_costs_a_hash_too(tmp_path: Path) -> None:
    """It is not looked up, which tells nothing: everybody knows which names these are."""
    world = World(tmp_path, DEFAULT_KIB)
    kinds = {"unknown": Try(world.unknown), "impossible": Try(lambda: "no\0body")}
    assert difference(world.log_in, kinds, 50) < 0.25


@pytest.mark.usefixtures("sqlite")
@pytest.mark.parametrize("hasher", [NothingForUnknown, LazyForUnknown])
def test_a_stopwatch_notices_an_unknown_user_without_a_hash(
    tmp_path: Path, hasher: type[Argon2Hasher]
) -> None:
    world = World(tmp_path, CHEAP_KIB, hasher=hasher)
    assert difference(world.log_in, known_and_unknown(world), 50) > MOST


@pytest.mark.usefixtures("sqlite")
def test_a_stopwatch_notices_two_more_questions_to_the_database(tmp_path: Path) -> None:
    world = World(tmp_path, CHEAP_KIB, users=OnceMoreForKnown)
    assert difference(world.log_in, known_and_unknown(world), 50) > MOST
