"""Captchas: issued, shown, burnt."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from authsvc.core.captchas import (
    ALPHABET,
    ANSWER_MAX_BYTES,
    DIGITS,
    LENGTHS,
    LOG_IN,
    SIGN_UP,
    CaptchaPolicy,
    Captchas,
)
from authsvc.core.errors import (
    CaptchaExpired,
    CaptchaRejected,
    CaptchasUnavailable,
    InvalidCaptchaAnswer,
    ProofOfWorkOff,
    TooManyCaptchas,
    UnknownCaptcha,
    UnknownLanguage,
)
from tests.core.fakes import (
    FakeCaptchaStore,
    FakeClock,
    FakePainter,
    FakeSpeaker,
    FakeWork,
    Noted,
)

LIFETIME = 300
WRONG = "0"
CLIENT = "192.0.2.1"
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
    work: bool = True
    clock: FakeClock = field(default_factory=FakeClock)
    journal: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = FakeCaptchaStore(self.clock)
        self.captchas = Captchas(
            store=self._noted("store", self.store),
            painter=self._noted("painter", FakePainter()),
            speaker=FakeSpeaker(),
            proof_of_work=FakeWork() if self.work else None,
            clock=self.clock,
            key=self.key,
            policy=self.policy,
        )

    def issue(self, purpose: str = SIGN_UP, client: str = CLIENT) -> str:
        return self.captchas.issue(purpose, client)

    def redeem(self, captcha_id: str, answer: str, purpose: str = SIGN_UP) -> None:
        self.captchas.redeem(captcha_id, answer, purpose, CLIENT)

    def answer(self, captcha_id: str) -> str:
        record, _ = self.store.look(captcha_id)
        assert record is not None
        return record.partition(":")[2]

    def heard(self, captcha_id: str) -> str:
        return self.captchas.audio(captcha_id, "en").decode().split()[0]

    def is_live(self, captcha_id: str) -> bool:
        return self.store.look(captcha_id)[0] is not None

    def _noted(self, name: str, outside: Any) -> Any:
        return Noted(name, outside, self.journal, self.fails)


@pytest.fixture
def world() -> World:
    return World()


def test_every_captcha_has_an_id_and_an_answer_of_its_own(world: World) -> None:
    ids = [world.issue() for _ in range(200)]
    answers = [world.answer(captcha_id) for captcha_id in ids]
    assert len(set(ids)) == 200
    assert len(set(answers)) > 190
    assert {len(answer) for answer in answers} == set(LENGTHS)
    assert set("".join(answers)) == set(ALPHABET)


def test_an_operator_can_have_digits_alone() -> None:
    world = World(CaptchaPolicy(alphabet=DIGITS))
    answers = [world.answer(world.issue()) for _ in range(200)]
    assert set("".join(answers)) == set(DIGITS)
    assert {len(answer) for answer in answers} == set(LENGTHS)


def test_a_captcha_of_digits_is_redeemed_by_what_is_seen_or_heard() -> None:
    world = World(CaptchaPolicy(alphabet=DIGITS))
    for told in (world.answer, world.heard):
        captcha_id = world.issue()
        world.redeem(captcha_id, told(captcha_id))
        assert not world.is_live(captcha_id)


def test_the_right_answer_is_accepted_once(world: World) -> None:
    captcha_id = world.issue()
    answer = world.answer(captcha_id)
    world.redeem(captcha_id, answer)
    with pytest.raises(CaptchaRejected):
        world.redeem(captcha_id, answer)


def test_case_and_surrounding_space_do_not_matter(world: World) -> None:
    captcha_id = world.issue()
    world.redeem(captcha_id, f" {world.answer(captcha_id).lower()}\t")


@pytest.mark.parametrize(
    "wrong", [WRONG, " ", "\x00", "é", "\ud800", "x" * ANSWER_MAX_BYTES, "密" * 1365]
)
def test_a_wrong_answer_burns_the_captcha(world: World, wrong: str) -> None:
    captcha_id = world.issue()
    answer = world.answer(captcha_id)
    with pytest.raises(CaptchaRejected):
        world.redeem(captcha_id, wrong)
    assert not world.is_live(captcha_id)
    with pytest.raises(CaptchaRejected):
        world.redeem(captcha_id, answer)


@pytest.mark.parametrize("malformed", ["", "x" * (ANSWER_MAX_BYTES + 1), "密" * 1366])
def test_an_answer_that_is_none_burns_nothing(world: World, malformed: str) -> None:
    captcha_id = world.issue()
    world.journal.clear()
    with pytest.raises(InvalidCaptchaAnswer):
        world.redeem(captcha_id, malformed)
    assert world.journal == []
    world.redeem(captcha_id, world.answer(captcha_id))


def test_a_captcha_is_forgotten_when_its_time_is_over(world: World) -> None:
    captcha_id = world.issue()
    answer = world.answer(captcha_id)
    world.captchas.image(captcha_id)
    world.clock.advance(LIFETIME)
    with pytest.raises(CaptchaRejected):
        world.redeem(captcha_id, answer)
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(captcha_id)


@pytest.mark.parametrize("malformed", MALFORMED_IDS)
def test_an_id_of_another_form_never_reaches_the_store(world: World, malformed: str) -> None:
    with pytest.raises(CaptchaRejected):
        world.redeem(malformed, "ABCDE")
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(malformed)
    assert world.journal == []


def test_an_unknown_id_of_the_right_form_is_rejected(world: World) -> None:
    unknown = "x" * 22
    with pytest.raises(CaptchaRejected):
        world.redeem(unknown, "ABCDE")
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(unknown)


def test_the_image_of_a_captcha_is_painted_once_and_stays_the_same(world: World) -> None:
    captcha_id = world.issue()
    first, second = world.captchas.image(captcha_id), world.captchas.image(captcha_id)
    assert first == second
    assert first.startswith(world.answer(captcha_id).encode())
    assert world.journal.count("painter.paint") == 1


def test_an_image_that_was_not_kept_is_painted_the_same_again(world: World) -> None:
    captcha_id = world.issue()
    first = world.captchas.image(captcha_id)
    answer = world.answer(captcha_id)
    world.store.take(captcha_id, CLIENT)
    world.store.put(captcha_id, f"{SIGN_UP}:{answer}", CLIENT, LIFETIME, 9)
    assert world.captchas.image(captcha_id) == first
    assert world.journal.count("painter.paint") == 2


def test_two_captchas_with_one_answer_look_different(world: World) -> None:
    one, other = world.issue(), world.issue()
    world.store.put(one, f"{SIGN_UP}:ABCDE", CLIENT, LIFETIME, 9)
    world.store.put(other, f"{SIGN_UP}:ABCDE", CLIENT, LIFETIME, 9)
    assert world.captchas.image(one) != world.captchas.image(other)


def test_an_image_cannot_be_painted_without_the_drawing_key(world: World) -> None:
    other = World(key=b"another")
    captcha_id = world.issue()
    other.store.put(captcha_id, f"{SIGN_UP}:{world.answer(captcha_id)}", CLIENT, LIFETIME, 9)
    assert world.captchas.image(captcha_id) != other.captchas.image(captcha_id)


def test_a_captcha_issued_with_its_image_costs_one_trip_and_keeps_no_image(world: World) -> None:
    captcha_id, image = world.captchas.issue_with_image(LOG_IN, CLIENT, SIGN_UP)
    assert world.journal == ["store.put", "painter.paint"]
    assert world.store.look(captcha_id)[1] is None
    assert image == world.captchas.image(captcha_id)
    world.redeem(captcha_id, world.answer(captcha_id))


def test_looking_at_a_captcha_burns_nothing(world: World) -> None:
    captcha_id = world.issue()
    world.captchas.image(captcha_id)
    world.redeem(captcha_id, world.answer(captcha_id))


def test_a_redeemed_captcha_has_no_image(world: World) -> None:
    captcha_id = world.issue()
    world.captchas.image(captcha_id)
    world.redeem(captcha_id, world.answer(captcha_id))
    with pytest.raises(UnknownCaptcha):
        world.captchas.image(captcha_id)


@pytest.mark.parametrize("step", ["store.put", "store.look", "store.take"])
def test_a_store_that_does_not_answer_is_said_so(world: World, step: str) -> None:
    captcha_id = world.issue()
    world.fails[step] = CaptchasUnavailable()
    uses: dict[str, Callable[[], object]] = {
        "store.put": world.issue,
        "store.look": lambda: world.captchas.image(captcha_id),
        "store.take": lambda: world.redeem(captcha_id, "ABCDE"),
    }
    with pytest.raises(CaptchasUnavailable):
        uses[step]()


class TestPurpose:
    def test_a_captcha_serves_the_purpose_of_its_issue_alone(self, world: World) -> None:
        captcha_id = world.issue("elsewhere")
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, world.answer(captcha_id))

    def test_a_try_for_another_purpose_burns_it_too(self, world: World) -> None:
        captcha_id = world.issue("elsewhere")
        answer = world.answer(captcha_id)
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, answer)
        assert not world.is_live(captcha_id)

    @pytest.mark.parametrize("purpose", [LOG_IN, SIGN_UP])
    def test_a_captcha_of_two_purposes_serves_either_and_once(
        self, world: World, purpose: str
    ) -> None:
        captcha_id = world.captchas.issue(LOG_IN, CLIENT, SIGN_UP)
        answer = world.answer(captcha_id)
        world.redeem(captcha_id, answer, purpose)
        for other in (LOG_IN, SIGN_UP):
            with pytest.raises(CaptchaExpired):
                world.redeem(captcha_id, answer, other)

    def test_a_captcha_of_two_purposes_is_seen_and_heard_like_any_other(self, world: World) -> None:
        captcha_id = world.captchas.issue(LOG_IN, CLIENT, SIGN_UP)
        assert world.captchas.image(captcha_id)
        world.redeem(captcha_id, world.heard(captcha_id), SIGN_UP)

    def test_a_captcha_of_a_sign_up_does_not_serve_a_log_in(self, world: World) -> None:
        captcha_id = world.issue()
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, world.answer(captcha_id), LOG_IN)

    @pytest.mark.parametrize("purpose", ["log", "login,signup", "", ","])
    def test_a_part_of_the_purposes_is_none_of_them(self, world: World, purpose: str) -> None:
        captcha_id = world.captchas.issue(LOG_IN, CLIENT, SIGN_UP)
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, world.answer(captcha_id), purpose)

    def test_whether_one_is_asked_for_is_decided_for_each_purpose(self) -> None:
        for sign_up, log_in in [(True, False), (False, True)]:
            policy = CaptchaPolicy(required=sign_up, required_to_log_in=log_in)
            captchas = World(policy).captchas
            asked = (captchas.is_required(SIGN_UP), captchas.is_required(LOG_IN))
            assert asked == (sign_up, log_in)


class TestWhatIsWrong:
    """A wrong answer is one fact, a captcha that has nothing to answer another, of its family."""

    def test_a_wrong_answer_has_not_expired(self, world: World) -> None:
        with pytest.raises(CaptchaRejected) as rejected:
            world.redeem(world.issue(), WRONG)
        assert rejected.type is CaptchaRejected

    @pytest.mark.parametrize("captcha_id", [*MALFORMED_IDS, "x" * 22])
    def test_an_id_that_nobody_issued_has_expired(self, world: World, captcha_id: str) -> None:
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, WRONG)

    def test_a_captcha_that_was_used_has_expired(self, world: World) -> None:
        captcha_id = world.issue()
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, WRONG)
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, WRONG)

    def test_a_captcha_whose_time_is_over_has_expired(self, world: World) -> None:
        captcha_id = world.issue()
        answer = world.answer(captcha_id)
        world.clock.advance(LIFETIME)
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, answer)

    def test_a_puzzle_that_was_used_has_expired_and_one_that_is_not_solved_has_not(
        self, world: World
    ) -> None:
        puzzle = world.captchas.work(SIGN_UP)
        captcha_id, payload = str(puzzle["captchaId"]), str(puzzle["solution"])
        with pytest.raises(CaptchaRejected) as rejected:
            world.redeem(captcha_id, str(world.captchas.work(SIGN_UP)["solution"]))
        assert rejected.type is CaptchaRejected
        world.redeem(captcha_id, payload)
        with pytest.raises(CaptchaExpired):
            world.redeem(captcha_id, payload)


class TestSound:
    def test_the_digits_heard_redeem_the_captcha(self, world: World) -> None:
        captcha_id = world.issue()
        world.redeem(captcha_id, world.heard(captcha_id))

    def test_one_captcha_is_redeemed_once_by_either_answer(self, world: World) -> None:
        captcha_id = world.issue()
        seen, heard = world.answer(captcha_id), world.heard(captcha_id)
        world.redeem(captcha_id, seen)
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, heard)

    def test_a_recording_stays_the_same(self, world: World) -> None:
        captcha_id = world.issue()
        assert world.captchas.audio(captcha_id, "zh") == world.captchas.audio(captcha_id, "zh")

    def test_every_language_speaks_the_same_digits(self, world: World) -> None:
        captcha_id = world.issue()
        english, chinese = (world.captchas.audio(captcha_id, lang) for lang in ("en", "zh"))
        assert english != chinese
        assert english.split()[0] == chinese.split()[0]

    def test_the_digits_follow_from_the_key(self, world: World) -> None:
        other = World(key=b"another")
        captcha_id = world.issue()
        other.store.put(captcha_id, f"{SIGN_UP}:{world.answer(captcha_id)}", CLIENT, LIFETIME, 9)
        assert world.heard(captcha_id) != other.heard(captcha_id)

    @pytest.mark.parametrize("malformed", MALFORMED_IDS)
    def test_only_a_live_captcha_is_heard(self, world: World, malformed: str) -> None:
        for unknown in (malformed, "x" * 22):
            with pytest.raises(UnknownCaptcha):
                world.captchas.audio(unknown, "en")

    def test_an_unknown_language_is_refused(self, world: World) -> None:
        with pytest.raises(UnknownLanguage):
            world.captchas.audio(world.issue(), "tlh")


class TestHowManyLive:
    @pytest.fixture
    def world(self) -> World:
        return World(CaptchaPolicy(most_live=3))

    def test_a_client_holds_so_many_and_no_more(self, world: World) -> None:
        for _ in range(3):
            world.issue()
        with pytest.raises(TooManyCaptchas) as refused:
            world.issue()
        assert refused.value.retry_after == LIFETIME

    def test_another_client_is_not_held_back(self, world: World) -> None:
        for _ in range(3):
            world.issue()
        world.issue(client="192.0.2.2")

    def test_a_redeemed_captcha_makes_room(self, world: World) -> None:
        captcha_id, *_ = [world.issue() for _ in range(3)]
        world.redeem(captcha_id, world.answer(captcha_id))
        world.issue()

    def test_an_expired_captcha_makes_room(self, world: World) -> None:
        for _ in range(3):
            world.issue()
        world.clock.advance(LIFETIME)
        world.issue()


class TestProofOfWork:
    def test_a_solved_puzzle_is_accepted_once(self, world: World) -> None:
        puzzle = world.captchas.work(SIGN_UP)
        captcha_id, payload = str(puzzle["captchaId"]), str(puzzle["solution"])
        world.redeem(captcha_id, payload)
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, payload)

    def test_a_puzzle_is_bound_to_its_id_and_purpose(self, world: World) -> None:
        one, other = world.captchas.work(SIGN_UP), world.captchas.work(SIGN_UP)
        with pytest.raises(CaptchaRejected):
            world.redeem(str(one["captchaId"]), str(other["solution"]))
        with pytest.raises(CaptchaRejected):
            world.redeem(str(one["captchaId"]), str(one["solution"]), "elsewhere")

    def test_a_puzzle_expires(self, world: World) -> None:
        puzzle = world.captchas.work(SIGN_UP)
        world.clock.advance(LIFETIME)
        with pytest.raises(CaptchaRejected):
            world.redeem(str(puzzle["captchaId"]), str(puzzle["solution"]))

    def test_nothing_is_stored_before_it_is_solved(self, world: World) -> None:
        world.captchas.work(SIGN_UP)
        assert world.journal == []

    def test_no_puzzle_is_given_or_taken_where_it_is_off(self, world: World) -> None:
        off = World(work=False)
        with pytest.raises(ProofOfWorkOff):
            off.captchas.work(SIGN_UP)
        puzzle = world.captchas.work(SIGN_UP)
        with pytest.raises(CaptchaRejected):
            off.redeem(str(puzzle["captchaId"]), str(puzzle["solution"]))


class TestTheTestValue:
    @pytest.fixture
    def world(self) -> World:
        return World(CaptchaPolicy(test_value="Let me in"))

    def test_solves_a_live_captcha_once(self, world: World) -> None:
        captcha_id = world.issue()
        world.redeem(captcha_id, "Let me in")
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, "Let me in")

    def test_solves_no_captcha_that_is_not_live(self, world: World) -> None:
        captcha_id = world.issue()
        world.clock.advance(LIFETIME)
        for unknown in (captcha_id, "x" * 22, "x"):
            with pytest.raises(CaptchaRejected):
                world.redeem(unknown, "Let me in")

    def test_is_compared_exactly(self, world: World) -> None:
        captcha_id = world.issue()
        with pytest.raises(CaptchaRejected):
            world.redeem(captcha_id, "let me in")

    def test_leaves_the_drawn_answer_right(self, world: World) -> None:
        captcha_id = world.issue()
        world.redeem(captcha_id, world.answer(captcha_id))

    def test_solves_nothing_where_it_is_not_set(self) -> None:
        world = World()
        for guess in ("Let me in", "None", ""):
            captcha_id = world.issue()
            with pytest.raises((CaptchaRejected, InvalidCaptchaAnswer)):
                world.redeem(captcha_id, guess)

    def test_is_not_printed(self) -> None:
        assert "Let me in" not in repr(CaptchaPolicy(test_value="Let me in"))
