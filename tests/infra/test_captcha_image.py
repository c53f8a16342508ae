"""The pictures of captchas: what follows from the seed, what they cost, and how the glyphs lie."""

import io
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from string import ascii_uppercase, digits

import pytest
from PIL import Image

from authsvc.core.captchas import ALPHABET, DIGITS, LENGTHS
from authsvc.infra.captcha_image import (
    CLIMB,
    COLOURS,
    HEIGHT,
    MARGIN,
    WIDTH,
    PillowPainter,
    _climbs,
    _glyph,
    _lay_out,
)

MOST_BYTES = 3072
LEAST_CONTRAST = 4.5
PAINT_ONE = """
import sys
from authsvc.infra.captcha_image import PillowPainter
sys.stdout.buffer.write(PillowPainter().paint("A6KXWM", b"seed"))
"""


@pytest.fixture(scope="module")
def painter() -> PillowPainter:
    """One painter, whose sprites all tests share."""
    return PillowPainter()


def answers(count: int, symbols: str = ALPHABET, lengths: tuple[int, ...] = LENGTHS) -> list[str]:
    """Return the same random answers every time."""
    rng = random.Random("answers")
    return ["".join(rng.choices(symbols, k=rng.choice(lengths))) for _ in range(count)]


def seed_of(number: int) -> bytes:
    """Return a seed like those of the service: 32 bytes."""
    return sha256(b"%d" % number).digest()


def test_the_same_answer_and_seed_give_the_same_bytes(painter: PillowPainter) -> None:
    assert painter.paint("A6KXWM", b"seed") == PillowPainter().paint("A6KXWM", b"seed")


def test_eight_threads_at_once_draw_the_same_bytes_as_one(painter: PillowPainter) -> None:
    some = list(enumerate(answers(200)))
    alone = [painter.paint(answer, seed_of(number)) for number, answer in some]
    with ThreadPoolExecutor(8) as threads:
        together = threads.map(lambda one: painter.paint(one[1], seed_of(one[0])), some)
        assert list(together) == alone


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_draws_the_same_bytes(painter: PillowPainter, hash_seed: str) -> None:
    drawn = subprocess.run(
        [sys.executable, "-c", PAINT_ONE],
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    ).stdout
    assert drawn == painter.paint("A6KXWM", b"seed")


def test_every_seed_gives_other_bytes(painter: PillowPainter) -> None:
    assert len({painter.paint("A6KXWM", seed_of(number)) for number in range(100)}) == 100


def test_every_answer_gives_other_bytes(painter: PillowPainter) -> None:
    assert len({painter.paint("A6KXW" + last, b"seed") for last in ALPHABET}) == len(ALPHABET)


def test_an_answer_in_lower_case_is_drawn_as_in_upper_case(painter: PillowPainter) -> None:
    assert painter.paint("a6kxwm", b"seed") == painter.paint("A6KXWM", b"seed")


def test_a_picture_is_a_png_of_two_bits_and_at_most_four_colours(painter: PillowPainter) -> None:
    for number, answer in enumerate(answers(20)):
        png = painter.paint(answer, seed_of(number))
        header = png[12:29]
        assert header[:4] == b"IHDR"
        assert (header[12], header[13]) == (2, 3)  # bits of a pixel, and that it is of a palette
        with Image.open(io.BytesIO(png)) as picture:
            colours = picture.convert("RGB").getcolors()
        assert colours is not None
        assert len(colours) <= 4


def test_a_picture_is_neither_too_small_to_read_nor_too_big_for_a_form(
    painter: PillowPainter,
) -> None:
    with Image.open(io.BytesIO(painter.paint("A6KXWM", b"seed"))) as picture:
        width, height = picture.size
    assert 240 <= width <= 300
    assert 80 <= height <= 110


@pytest.mark.parametrize("alphabet", [ALPHABET, DIGITS])
def test_no_picture_of_an_alphabet_is_over_three_kilobytes(
    painter: PillowPainter, alphabet: str
) -> None:
    some = enumerate(answers(500, alphabet))
    sizes = [len(painter.paint(answer, seed_of(number))) for number, answer in some]
    assert max(sizes) <= MOST_BYTES


@pytest.mark.parametrize("length", range(1, 9))
def test_no_picture_of_other_letters_and_digits_is_over_three_kilobytes(
    painter: PillowPainter, length: int
) -> None:
    for number, answer in enumerate(answers(25, digits + ascii_uppercase, (length,))):
        assert len(painter.paint(answer, seed_of(number))) <= MOST_BYTES


def luminance(colour: tuple[int, int, int]) -> float:
    """Return the relative luminance of WCAG 2.2."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (byte / 255 for byte in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("ink", "paper"), COLOURS)
def test_ink_and_paper_are_of_enough_contrast(
    ink: tuple[int, int, int], paper: tuple[int, int, int]
) -> None:
    assert (luminance(paper) + 0.05) / (luminance(ink) + 0.05) >= LEAST_CONTRAST


def test_a_picture_has_one_of_the_pairs_of_ink_and_paper(painter: PillowPainter) -> None:
    pairs = set()
    for number in range(60):
        with Image.open(io.BytesIO(painter.paint("A6KXWM", seed_of(number)))) as picture:
            palette = picture.getpalette() or []
        pairs.add((tuple(palette[6:9]), tuple(palette[:3])))
    assert pairs == set(COLOURS)


def test_neighbours_are_well_above_or_below_each_other() -> None:
    rng = random.Random("heights")
    for count in list(range(1, 9)) * 100:
        heights = _climbs(count, rng)
        assert len(heights) == count
        assert all(0 <= height <= 1 for height in heights)
        assert all(abs(one - other) >= CLIMB - 1e-9 for one, other in pairwise(heights))


def test_three_glyphs_or_more_never_zig_zag_from_end_to_end() -> None:
    rng = random.Random("heights")
    for count in list(range(3, 9)) * 100:
        rises = [one < other for one, other in pairwise(_climbs(count, rng))]
        assert any(one == other for one, other in pairwise(rises))


def test_first_glyphs_lie_at_every_height() -> None:
    rng = random.Random("heights")
    tenths = {int(_climbs(6, rng)[0] * 10) for _ in range(500)}
    assert tenths == set(range(10))


def test_glyphs_stay_in_the_picture_and_overlap_their_neighbours() -> None:
    rng = random.Random("layout")
    lengths = tuple(range(1, 9))
    for answer in answers(200, lengths=lengths) + answers(200, DIGITS, lengths):
        boxes = [box for _, box in _lay_out([_glyph(char, 0, 0.0) for char in answer], rng)]
        for left, top, right, bottom in boxes:
            assert left >= MARGIN - 1
            assert right <= WIDTH - MARGIN + 1
            assert top >= 0
            assert bottom <= HEIGHT
        for (left, _, right, _), (next_left, _, _, _) in pairwise(boxes):
            assert left < next_left < right
