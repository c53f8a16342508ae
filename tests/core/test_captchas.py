"""Captchas: issued, shown, burnt."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from authsvc.core.captchas import ALPHABET, ANSWER_MAX_BYTES, LENGTHS, CaptchaPolicy, Captchas
from authsvc.core.errors import (
    CaptchaRejected,
    CaptchasUnavailable,
    InvalidCaptchaAnswer,
    UnknownCaptcha,
)
from tests.core.fakes import FakeCaptchaStore, FakeClock, FakePainter, Noted

LIFETIME = 300
WRONG = "0"
MALFORMED_IDS = [
    "",
    "x",
    "x" * 21,
    "x" * 23,
    "x" * 22 + "\n",
    "x" * 21 + "é",
    "x" * 21 + "٣",
    "x" * 21 + "\x00",
    "x" * 21 + "*",
    "../../../../etc/passwd",
    "x" * 22 + ":image",
]


@dataclass
class World:
    """Captchas, all that they stand on, and the journal of what they asked for."""

    policy: CaptchaPolicy = field(default_factory=CaptchaPolicy)
    key: bytes = b"drawing"
    clock: FakeClock = field(default_factory=FakeClock)
    journal: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = FakeCaptchaStore(self.clock)
        self.captchas = Captchas(
            store=self._noted("store", self.store),
            painter=self._noted("painter", FakePainter()),
            drawing_key=self.key,
            policy=self.policy,
        )

    def answer(self, captcha_id: str) -> str:
        answer, _ = self.store.look(captcha_id)
        assert answer is not None
        return answer

    def is_live(self, captcha_id: str) -> bool:
        return self.store.look(captcha_id)[0] is not None

    def _noted(self, name: str, outside: Any) -> Any:
        return Noted(name, outside, self.journal, self.fails)


@pytest.fixture
def world() -> World:
    return World()


def test_every_captcha_has_an_id_and_an_answer_of_its_own(world: World) -> None:
    ids = [world.captchas.issue() for _ in range(200)]
    answers = [world.answer(captcha_id) for captcha_id in ids]
    assert len(set(ids)) == 200
    assert len(set(answers)) > 190
    assert {len(answer) for answer in answers} == set(LENGTHS)
    assert set("".join(answers)) == set(ALPHABET)


def test_the_right_answer_is_accepted_once(world: World) -> None:
    captcha_id = world.captchas.issue()
    answer = world.answer(captcha_id)
    world.captchas.redeem(captcha_id, answer)
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(captcha_id, answer)


def test_case_and_surrounding_space_do_not_matter(world: World) -> None:
    captcha_id = world.captchas.issue()
    world.captchas.redeem(captcha_id, f" {world.answer(captcha_id).lower()}\t")


@pytest.mark.parametrize(
    "wrong", [WRONG, " ", "\x00", "é", "\ud800", "x" * ANSWER_MAX_BYTES, "密" * 1365]
)
def test_a_wrong_answer_burns_the_captcha(world: World, wrong: str) -> None:
    captcha_id = world.captchas.issue()
    answer = world.answer(captcha_id)
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(captcha_id, wrong)
    assert not world.is_live(captcha_id)
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(captcha_id, answer)


@pytest.mark.parametrize("malformed", ["", "x" * (ANSWER_MAX_BYTES + 1), "密" * 1366])
def test_an_answer_that_is_none_burns_nothing(world: World, malformed: str) -> None:
    captcha_id = world.captchas.issue()
    world.journal.clear()
    with pytest.raises(InvalidCaptchaAnswer):
        world.captchas.redeem(captcha_id, malformed)
    assert world.journal == []
    world.captchas.redeem(captcha_id, world.answer(captcha_id))


def test_a_captcha_is_forgotten_when_its_time_is_over(world: World) -> None:
    captcha_id = world.captchas.issue()
    answer = world.answer(captcha_id)
    world.captchas.image(captcha_id)
    world.clock.advance(LIFETIME)
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(captcha_id, answer)
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(captcha_id)


@pytest.mark.parametrize("malformed", MALFORMED_IDS)
def test_an_id_of_another_form_never_reaches_the_store(world: World, malformed: str) -> None:
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(malformed, "ABCDE")
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(malformed)
    assert world.journal == []


def test_an_unknown_id_of_the_right_form_is_rejected(world: World) -> None:
    unknown = "x" * 22
    with pytest.raises(CaptchaRejected):
        world.captchas.redeem(unknown, "ABCDE")
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(unknown)


def test_the_image_of_a_captcha_is_painted_once_and_stays_the_same(world: World) -> None:
    captcha_id = world.captchas.issue()
    first, second = world.captchas.image(captcha_id), world.captchas.image(captcha_id)
    assert first == second
    assert first.startswith(world.answer(captcha_id).encode())
    assert world.journal.count("painter.paint") == 1


def test_an_image_that_was_not_kept_is_painted_the_same_again(world: World) -> None:
    captcha_id = world.captchas.issue()
    first = world.captchas.image(captcha_id)
    answer = world.answer(captcha_id)
    world.store.take(captcha_id)
    world.store.put(captcha_id, answer, LIFETIME)
    assert world.captchas.image(captcha_id) == first
    assert world.journal.count("painter.paint") == 2


def test_two_captchas_with_one_answer_look_different(world: World) -> None:
    one, other = world.captchas.issue(), world.captchas.issue()
    world.store.put(one, "ABCDE", LIFETIME)
    world.store.put(other, "ABCDE", LIFETIME)
    assert world.captchas.image(one) != world.captchas.image(other)


def test_an_image_cannot_be_painted_without_the_drawing_key(world: World) -> None:
    other = World(key=b"another")
    captcha_id = world.captchas.issue()
    other.store.put(captcha_id, world.answer(captcha_id), LIFETIME)
    assert world.captchas.image(captcha_id) != other.captchas.image(captcha_id)


def test_looking_at_a_captcha_burns_nothing(world: World) -> None:
    captcha_id = world.captchas.issue()
    world.captchas.image(captcha_id)
    world.captchas.redeem(captcha_id, world.answer(captcha_id))


def test_a_redeemed_captcha_has_no_image(world: World) -> None:
    captcha_id = world.captchas.issue()
    world.captchas.image(captcha_id)
    world.captchas.redeem(captcha_id, world.answer(captcha_id))
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(captcha_id)


@pytest.mark.parametrize("step", ["store.put", "store.look", "store.take"])
def test_a_store_that_does_not_answer_is_said_so(world: World, step: str) -> None:
    captcha_id = world.captchas.issue()
    world.fails[step] = CaptchasUnavailable()
    uses: dict[str, Callable[[], object]] = {
        "store.put": world.captchas.issue,
        "store.look": lambda: world.captchas.image(captcha_id),
        "store.take": lambda: world.captchas.redeem(captcha_id, "ABCDE"),
    }
    with pytest.raises(CaptchasUnavailable):
        uses[step]()


class TestTheTestValue:
    @pytest.fixture
    def world(self) -> World:
        return World(CaptchaPolicy(test_value="Let me in"))

    def test_solves_a_live_captcha_once(self, world: World) -> None:
        captcha_id = world.captchas.issue()
        world.captchas.redeem(captcha_id, "Let me in")
        with pytest.raises(CaptchaRejected):
            world.captchas.redeem(captcha_id, "Let me in")

    def test_solves_no_captcha_that_is_not_live(self, world: World) -> None:
        captcha_id = world.captchas.issue()
        world.clock.advance(LIFETIME)
        for unknown in (captcha_id, "x" * 22, "x"):
            with pytest.raises(CaptchaRejected):
                world.captchas.redeem(unknown, "Let me in")

    def test_is_compared_exactly(self, world: World) -> None:
        captcha_id = world.captchas.issue()
        with pytest.raises(CaptchaRejected):
            world.captchas.redeem(captcha_id, "let me in")

    def test_leaves_the_drawn_answer_right(self, world: World) -> None:
        captcha_id = world.captchas.issue()
        world.captchas.redeem(captcha_id, world.answer(captcha_id))

    def test_solves_nothing_where_it_is_not_set(self) -> None:
        world = World()
        for guess in ("Let me in", "None", ""):
            captcha_id = world.captchas.issue()
            with pytest.raises((CaptchaRejected, InvalidCaptchaAnswer)):
                world.captchas.redeem(captcha_id, guess)

    def test_is_not_printed(self) -> None:
        assert "Let me in" not in repr(CaptchaPolicy(test_value="Let me in"))
