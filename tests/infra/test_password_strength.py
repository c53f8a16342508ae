"""How hard passwords are to guess, and that no password makes the question hard."""

import random
import sys
import threading
import timeit
from concurrent.futures import ThreadPoolExecutor

import pytest
from zxcvbn.matching import L33T_TABLE  # type: ignore[import-untyped]

from authsvc.infra.password_strength import ZxcvbnMeter

SYMBOLS = sorted({symbol for symbols in L33T_TABLE.values() for symbol in symbols})
"""Whatever zxcvbn reads as a letter too."""

METER = ZxcvbnMeter()


def dense(length: int) -> str:
    """Return symbols at random, which zxcvbn alone takes seconds to read."""
    return "".join(random.Random(4).choices(SYMBOLS, k=length))


class TestScore:
    @pytest.mark.parametrize(
        ("password", "score"),
        [
            ("password", 0),
            ("P@ssw0rd", 0),
            ("aaaaaaaaaaaa", 0),
            ("1qaz2wsx", 0),
            ("verlineVANDERMARK", 4),
            ("correct horse battery staple", 4),
            ("D0g..................", 1),
            ("rWibMFACxAUGZmxhVncy", 4),
        ],
    )
    def test_a_score_tells_how_hard_a_password_is_to_guess(self, password: str, score: int) -> None:
        assert METER.score(password, []) == score

    def test_scores_rise_with_what_there_is_to_guess(self) -> None:
        scores = [METER.score("xkqvzjwpgybt"[:length], []) for length in (1, 4, 7, 9, 12)]
        assert scores == [0, 1, 2, 3, 4]

    def test_case_and_width_do_not_hide_a_common_password(self) -> None:
        assert METER.score("ｐａｓｓｗｏｒｄ", []) == 0
        assert METER.score("ＰＡＳＳＷＯＲＤ", []) == 0


class TestHints:
    NAME = "zyxomatrovka"

    @pytest.mark.parametrize(
        "hint",
        [
            NAME,
            NAME.upper(),
            "ｚｙｘｏｍａｔｒｏｖｋａ",
            f"{NAME}@example.com",
            f"my {NAME}!",
            f"a.{NAME}-b",
        ],
    )
    def test_a_hint_is_guessed_first_whole_and_by_its_words(self, hint: str) -> None:
        assert METER.score(self.NAME, []) == 4
        assert METER.score(self.NAME, [hint]) == 0

    def test_a_hint_of_short_words_is_guessed_first_as_a_whole(self) -> None:
        assert METER.score("q7-w2-k4-x9", []) == 4
        assert METER.score("q7-w2-k4-x9", ["Q7-W2-K4-X9"]) == 0

    def test_a_hint_counts_for_its_own_question_alone(self) -> None:
        assert METER.score(self.NAME, [self.NAME]) == 0
        assert METER.score(self.NAME, []) == 4
        assert METER.score(self.NAME, ["another"]) == 4

    def test_questions_of_many_threads_keep_their_hints_apart(self) -> None:
        names = [f"{self.NAME}{letter * 3}" for letter in "qwxz"]
        barrier = threading.Barrier(len(names))

        def ask(own: str) -> set[tuple[str, int]]:
            barrier.wait(5)
            return {(name, METER.score(name, [own])) for _ in range(40) for name in names}

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(len(names)) as crowd:
                answers = list(crowd.map(ask, names))
        finally:
            sys.setswitchinterval(interval)
        alone = {own: {(name, METER.score(name, [own])) for name in names} for own in names}
        assert answers == [alone[own] for own in names]
        assert all(dict(alone[own])[own] == 0 for own in names)

    @pytest.mark.parametrize("hint", ["", " ", "\0", "\ud800", "😀" * 300, "x" * 100_000, "\n"])
    def test_any_text_is_a_hint(self, hint: str) -> None:
        assert METER.score("rWibMFACxAUGZmxhVncy", [hint] * 5) == 4


class TestAnyPassword:
    @pytest.mark.parametrize(
        "password",
        [
            "",
            "\n",
            " ",
            "12345\n",
            "123456\n",
            "\n" * 100,
            "1\n2\n1991\n",
            "\0" * 9,
            "\ud800",
            "\udc00\ud800" * 40,
            "😀" * 200,
            "İ" * 80,
            "ß" * 80,
            "ﷺ" * 80,
            "٣١١٢١٩٩١",
            "²³¹" * 9,
            "x" * 1_000_000,
        ],
    )
    def test_any_text_has_a_score(self, password: str) -> None:
        assert METER.score(password, ["alice", password[:20]]) in range(5)

    def test_text_made_at_random_has_a_score(self) -> None:
        chance = random.Random(4)
        alphabet = "01234567899/-. \n\r\t\v\u2028aeAEß\u0130\u0660٣٩²½Ⅷ\0\ud800😀密@$!|" + dense(9)
        for _ in range(1500):
            password = "".join(chance.choices(alphabet, k=chance.randrange(1, 16)))
            assert METER.score(password, ["alice"]) in range(5)

    def test_what_comes_after_the_first_seventy_two_characters_does_not_count(self) -> None:
        assert METER.score("a" * 72 + "rWibMFACxAUGZmxhVncy", []) == METER.score("a" * 72, []) == 0

    def test_symbols_at_random_have_the_top_score_however_few_of_them_are_measured(self) -> None:
        for length in (13, 20, 72, 1000):
            assert METER.score(dense(length), []) == 4
        chance = random.Random(4)
        for _ in range(50):
            assert METER.score("".join(chance.sample(SYMBOLS, len(SYMBOLS))), []) == 4

    @pytest.mark.parametrize(
        "password",
        [
            "a" * 1024,
            "ab" * 512,
            "11/11/1991" * 20,
            "1" * 100,
            "0123456789" * 10,
            "qwertyuiop" * 10,
            "password" * 100,
            "p@ssw0rd!1$7" * 100,
            "dr@g0n4b[123l3+m31ndr4g0nmonk3ya8[123dr46on@b(1235up3rm4n@8{123$uperm4n",
            "abaababaabaababaababaabaababaabaababaababaabaababaababaabaababaabaababaab",
            "".join(SYMBOLS) * 50,
            dense(1024),
            "ﷺ" * 1024,
        ],
    )
    def test_no_password_costs_much_more_than_any_other(self, password: str) -> None:
        ordinary = "thequickbrownfoxjumpsoverthelazydogandrunsawayintothewoodswithoutanyfear"

        def least_seconds(measured: str) -> float:
            return min(timeit.repeat(lambda: METER.score(measured, ["alice"]), number=1, repeat=3))

        assert least_seconds(password) < 20 * least_seconds(ordinary)
