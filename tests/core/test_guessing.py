"""Guesses: what ends a try, and what becomes of it."""

import logging
from dataclasses import dataclass, field

import pytest

from authsvc.core.clients import Client
from authsvc.core.errors import (
    GuessesUnavailable,
    InvalidCode,
    InvalidCredentials,
    Overloaded,
    PermissionDenied,
    SecondFactorRequired,
    SessionsUnavailable,
    TooManyAttempts,
    UsersUnavailable,
    WrongCode,
    WrongPassword,
)
from authsvc.core.guessing import Guard, GuessPolicy
from tests.core.fake_guesses import FakeGuesses
from tests.core.fakes import FakeClock, Noted

CLIENT = Client(address="192.0.2.1", network="192.0.2.1", request_id="0123456789abcdef")
ELSEWHERE = Client(address="2001:db8::1", network="2001:db8::/64")
WRONG_GUESSES = [InvalidCredentials(), InvalidCode(), WrongPassword(), WrongCode()]
NO_GUESSES = [
    SecondFactorRequired(),
    UsersUnavailable(),
    SessionsUnavailable(),
    GuessesUnavailable(),
    Overloaded(5),
    PermissionDenied(),
    ZeroDivisionError(),
    KeyboardInterrupt(),
    SystemExit(1),
]


@dataclass
class World:
    """A guard, what it counts with, and the journal of what it asked for."""

    policy: GuessPolicy = field(default_factory=GuessPolicy)
    clock: FakeClock = field(default_factory=FakeClock)
    journal: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        store = FakeGuesses(self.clock, self.policy)
        self.guard = Guard(Noted("guesses", store, self.journal, self.fails))

    def try_(
        self, outcome: BaseException | None, name: str = "bob", client: Client = CLIENT
    ) -> None:
        """Try once, with this outcome, which is kept from going further."""
        try:
            with self.guard.attempt(name, client):
                self.journal.append("guess")
                if outcome is not None:
                    raise outcome
        except BaseException as error:
            if error is not outcome:
                raise

    def wait(self, name: str = "bob", client: Client = CLIENT) -> int:
        """Return the seconds that a try would have to wait."""
        try:
            self.try_(Overloaded(1), name, client)
        except TooManyAttempts as error:
            return error.retry_after
        return 0


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("wrong", WRONG_GUESSES, ids=lambda error: type(error).__name__)
def test_a_wrong_guess_stays_counted(world: World, wrong: Exception) -> None:
    for _ in range(5):
        world.try_(wrong)
    assert world.wait() == 1
    assert "guesses.excuse" not in world.journal


@pytest.mark.parametrize("outcome", NO_GUESSES, ids=lambda error: type(error).__name__)
def test_what_is_no_guess_is_taken_back_and_resets_nothing(
    world: World, outcome: BaseException
) -> None:
    for _ in range(4):
        world.try_(InvalidCredentials())
    for _ in range(20):
        world.try_(outcome)
    world.try_(InvalidCredentials())
    assert world.wait() == 1


def test_a_success_forgets_the_failures_of_its_pair(world: World) -> None:
    for _ in range(4):
        world.try_(InvalidCredentials())
    world.try_(None)
    for _ in range(4):
        world.try_(InvalidCredentials())
    assert world.wait() == 0
    world.try_(InvalidCredentials())
    assert world.wait() == 1


def test_a_success_gives_its_own_try_back_to_the_address(world: World) -> None:
    for number in range(49):
        world.try_(InvalidCredentials(), f"user{number}")
    for _ in range(20):
        world.try_(None)
    assert world.wait("newcomer") == 0
    world.try_(InvalidCredentials())
    assert world.wait("newcomer") == 1


def test_the_network_of_a_success_is_not_slowed_by_guesses_from_elsewhere(world: World) -> None:
    world.try_(None)
    for number in range(100):
        world.try_(InvalidCredentials(), "bob", Client("", network=f"198.51.100.{number}"))
    assert world.wait("bob", ELSEWHERE) == 1
    assert world.wait("bob", CLIENT) == 0


def test_a_second_factor_asked_for_makes_no_network_known(world: World) -> None:
    world.try_(SecondFactorRequired())
    for number in range(100):
        world.try_(InvalidCredentials(), "bob", Client("", network=f"198.51.100.{number}"))
    assert world.wait() == 1


def test_the_waits_are_a_second_doubling_to_fifteen_minutes(world: World) -> None:
    for _ in range(5):
        world.try_(InvalidCredentials())
    for seconds in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900):
        assert world.wait() == seconds
        world.clock.advance(seconds - 0.25)
        assert world.wait() == 1
        world.clock.advance(0.25)
        world.try_(InvalidCredentials())


def test_a_refused_try_is_refused_before_it_is_made(world: World) -> None:
    for _ in range(5):
        world.try_(InvalidCredentials())
    world.journal.clear()
    with pytest.raises(TooManyAttempts) as refused:
        world.try_(None)
    assert (refused.value.retry_after, refused.value.free) == (1, 5)
    assert world.journal == ["guesses.reserve"]


def test_a_try_is_counted_before_it_is_made(world: World) -> None:
    world.try_(None)
    assert world.journal == ["guesses.reserve", "guess", "guesses.succeed"]


def test_tries_within_tries_all_count_at_once(world: World) -> None:
    with (
        world.guard.attempt("bob", CLIENT),
        world.guard.attempt("bob", CLIENT),
        world.guard.attempt("bob", CLIENT),
        world.guard.attempt("bob", CLIENT),
        world.guard.attempt("bob", CLIENT),
    ):
        assert world.wait() == 1
    assert world.wait() == 0


def test_nothing_is_tried_when_the_store_does_not_answer(world: World) -> None:
    world.fails["guesses.reserve"] = GuessesUnavailable()
    with pytest.raises(GuessesUnavailable):
        world.try_(None)
    assert world.journal == ["guesses.reserve"]


def test_a_try_that_cannot_be_taken_back_is_logged_and_its_own_failure_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fails["guesses.excuse"] = GuessesUnavailable()
    with pytest.raises(UsersUnavailable), world.guard.attempt("bob", CLIENT):
        raise UsersUnavailable
    assert logged(caplog) == ["a try that was no wrong guess stays counted"]


def test_a_success_stays_one_when_the_store_does_not_answer_any_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fails["guesses.succeed"] = GuessesUnavailable()
    world.try_(None)
    assert logged(caplog) == ["a try that was no wrong guess stays counted"]


def test_nothing_is_logged_of_an_ordinary_try(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for outcome in (None, *WRONG_GUESSES[:2], *NO_GUESSES):
        world.try_(outcome)
    assert logged(caplog) == []


def test_a_guard_that_is_off_counts_nothing() -> None:
    guard = Guard(None)
    for _ in range(200):
        with pytest.raises(InvalidCredentials), guard.attempt("bob", CLIENT):
            raise InvalidCredentials
    with guard.attempt("bob", CLIENT):
        pass


@pytest.mark.parametrize(
    ("first", "longest", "doublings"), [(1, 900, 10), (1, 1, 0), (1, 512, 9), (60, 900, 4)]
)
def test_the_first_wait_is_doubled_until_it_is_the_longest(
    first: float, longest: float, doublings: int
) -> None:
    assert GuessPolicy(first_wait=first, longest_wait=longest).doublings == doublings


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the guard's module has logged as a warning or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
