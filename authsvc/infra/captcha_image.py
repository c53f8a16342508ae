"""Draws captchas with Pillow alone: pictures that people pass and off-the-shelf readers do not.

Big glyphs lie over one another at random heights, and two waves as thick as their strokes run
through them. Wherever two strokes cross, ink turns to paper, so that an eye can still follow both.
"""

import io
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from random import Random
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFont

WIDTH, HEIGHT = 300, 110
MARGIN = 4

FONT_SIZE = 74
ANGLES = (-12, -8, -4, 0, 4, 8, 12)
SHEARS = (-0.2, -0.1, 0.0, 0.1, 0.2)
OVERLAP = 0.30
CLIMB = 0.3

STROKE = 7
WAVE_LENGTHS = range(80, 121, 4)
WAVE_DRIFTS = (0, 4)
WAVE_SWINGS = range(48, 77, 4)
BRAIDS_TRIED = 4

COLOURS = (
    ((26, 43, 94), (240, 244, 251)),
    ((74, 20, 60), (250, 241, 247)),
    ((15, 68, 52), (238, 248, 243)),
    ((92, 38, 8), (252, 245, 236)),
    ((38, 38, 44), (244, 244, 242)),
)

# The shades of a pixel. |a - b| of two shades is a shade again: their XOR where neither is HALF.
PAPER, HALF, INK = 0, 1, 2
# HALF only near the middle: a wider band looks no smoother and costs bytes.
SHADES = [PAPER] * 103 + [HALF] * 50 + [INK] * 103
# Sprites are drawn this many times larger and reduced, which smooths their edges.
FINER = 4


class PillowPainter:
    """Meets `authsvc.core.ports.CaptchaPainter`.

    It keeps nothing but sprites, which never change, so any number of threads may share it.
    """

    def paint(self, answer: str, seed: bytes) -> bytes:
        """Draw an answer as a PNG of at most 3 KB.

        The same answer and seed give the same pixels, so the seed must be secret: whoever knows it
        can draw every answer and compare.

        Args:
            answer: One to eight letters and digits of ASCII, in either case; meant for five to
                seven of the alphabet of `authsvc.core.captchas`.
            seed: Any bytes. All that is random in the picture follows from them.
        """
        rng = Random(seed)  # noqa: S311 - the seed is secret
        glyphs = _lay_out(
            [_glyph(char, rng.choice(ANGLES), rng.choice(SHEARS)) for char in answer.upper()], rng
        )
        text = _crossed(Image.new("L", (WIDTH, HEIGHT)), glyphs)
        pictures = [_crossed(text, _braid(rng)) for _ in range(BRAIDS_TRIED)]
        clearest = max(pictures, key=lambda picture: _legibility(picture, glyphs))
        return _png(clearest, *rng.choice(COLOURS))


class _Placed(NamedTuple):
    """A sprite and the box of the canvas that it covers."""

    sprite: Image.Image
    box: tuple[int, int, int, int]


def _at(sprite: Image.Image, left: float, top: float) -> _Placed:
    x, y = round(left), round(top)
    return _Placed(sprite, (x, y, x + sprite.width, y + sprite.height))


def _crossed(picture: Image.Image, pieces: Iterable[_Placed]) -> Image.Image:
    """A copy of the picture with the pieces combined into it by XOR."""
    picture = picture.copy()
    for sprite, box in pieces:
        picture.paste(ImageChops.difference(picture.crop(box), sprite), box)
    return picture


def _legibility(picture: Image.Image, glyphs: Iterable[_Placed]) -> float:
    """The share of its ink that the worst hit glyph still shows."""
    return min(
        _ink(ImageChops.darker(picture.crop(box), sprite)) / _ink(sprite) for sprite, box in glyphs
    )


def _ink(image: Image.Image) -> int:
    return image.histogram()[INK]


# Where the glyphs lie


def _lay_out(sprites: Sequence[Image.Image], rng: Random) -> list[_Placed]:
    lefts = _left_edges([sprite.width for sprite in sprites], rng)
    tops = [
        height * (HEIGHT - sprite.height)
        for sprite, height in zip(sprites, _climbs(len(sprites), rng), strict=True)
    ]
    return [_at(*piece) for piece in zip(sprites, lefts, tops, strict=True)]


def _left_edges(widths: Sequence[int], rng: Random) -> list[float]:
    """Where each glyph begins: overlapping the next, more so where the row would be too long.

    The row lies anywhere between the margins.
    """
    steps = [width * (1 - OVERLAP) for width in widths[:-1]]
    room = WIDTH - 2 * MARGIN - widths[-1]
    if sum(steps) > room:
        steps = [step * room / sum(steps) for step in steps]
    edges = [MARGIN + rng.uniform(0, room - sum(steps))]
    for step in steps:
        edges.append(edges[-1] + step)
    return edges


def _climbs(count: int, rng: Random) -> list[float]:
    """Heights from 0 to 1, each well away from the one before.

    Somewhere they rise or fall twice running: a strict zig-zag could be cut into two rows, which
    machines read.
    """
    while True:
        heights = [rng.random()]
        while len(heights) < count:
            heights.append(_well_away_from(heights[-1], rng))
        rises = [before < after for before, after in pairwise(heights)]
        if count < 3 or any(one == next_one for one, next_one in pairwise(rises)):
            return heights


def _well_away_from(height: float, rng: Random) -> float:
    room_below = max(0.0, height - CLIMB)
    room_above = max(0.0, 1 - CLIMB - height)
    pick = rng.uniform(0, room_below + room_above)
    return pick if pick < room_below else height + CLIMB + (pick - room_below)


# What runs through them


def _braid(rng: Random) -> list[_Placed]:
    """Two waves from edge to edge, in opposite swing so that they never run as one."""
    length, phase = rng.choice(WAVE_LENGTHS), rng.random()
    return [
        _wave_piece(length + rng.choice(WAVE_DRIFTS), start, rng) for start in (phase, phase + 0.5)
    ]


def _wave_piece(length: int, phase: float, rng: Random) -> _Placed:
    whole = _wave(length, rng.choice(WAVE_SWINGS))
    left = int(phase % 1 * length)
    piece = whole.crop((left, 0, left + WIDTH, whole.height))
    return _at(piece, 0, rng.uniform(0, HEIGHT - piece.height))


# Sprites, each drawn once


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE * FINER)


@cache
def _glyph(char: str, angle: int, shear: float) -> Image.Image:
    side = 2 * FONT_SIZE * FINER
    drawing = Image.new("L", (side, side))
    ImageDraw.Draw(drawing).text((side / 2, side / 2), char, fill=255, font=_font(), anchor="mm")
    leaning = (1, shear, -shear * side / 2, 0, 1, 0)
    drawing = drawing.transform(drawing.size, Image.Transform.AFFINE, leaning).rotate(angle)
    return _sprite_of(drawing.crop(drawing.getbbox()))


@cache
def _wave(length: int, swing: int) -> Image.Image:
    """A sine wave, one length wider than the canvas so that it can be cut at any phase."""
    drawing = Image.new("L", ((WIDTH + length) * FINER, (swing + STROKE) * FINER))
    turn = 2 * math.pi / (length * FINER)
    rise, half_stroke = swing * FINER / 2, STROKE * FINER / 2
    one_edge, other_edge = [], []
    for x in range(-10 * FINER, drawing.width + 10 * FINER, FINER):
        y = half_stroke + rise * (1 + math.sin(x * turn))
        slope = rise * turn * math.cos(x * turn)
        down = half_stroke / math.hypot(1, slope)
        one_edge.append((x - slope * down, y + down))
        other_edge.append((x + slope * down, y - down))
    ImageDraw.Draw(drawing).polygon(one_edge + other_edge[::-1], fill=255)
    return _sprite_of(drawing)


def _sprite_of(drawing: Image.Image) -> Image.Image:
    return drawing.reduce(FINER).point(SHADES)


# The file


def _png(
    picture: Image.Image, ink_colour: tuple[int, int, int], paper_colour: tuple[int, int, int]
) -> bytes:
    half_colour = [(one + other) // 2 for one, other in zip(ink_colour, paper_colour, strict=True)]
    picture.putpalette([*paper_colour, *half_colour, *ink_colour])
    file = io.BytesIO()
    # Measured: run lengths alone are twice as fast as deflate at level 6, and 3 % larger.
    picture.save(file, "PNG", bits=2, compress_level=1, compress_type=zlib.Z_RLE)
    return file.getvalue()
