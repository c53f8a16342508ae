"""Pictures of captcha answers, drawn with Pillow."""

import io
import random

from PIL import Image, ImageChops, ImageDraw, ImageFont

SIZE = (240, 80)
_PAPER, _INK = (244, 241, 232), (38, 50, 86)
_GLYPH_HEIGHT = 46
_STROKE = 6
_OVERLAP = 0.22


class PillowPainter:
    """Meets `authsvc.core.ports.CaptchaPainter`.

    Neighbouring glyphs overlap and stand at different heights; overlaps and two
    arcs of the glyphs' stroke width are combined by exclusive or, so that
    crossings stay visible to a person.
    """

    def __init__(self) -> None:
        self._font = ImageFont.load_default(_GLYPH_HEIGHT)

    def paint(self, answer: str, seed: bytes) -> bytes:
        """Return a PNG of `answer`: the same pixels for the same answer and seed."""
        chance = random.Random(seed)  # noqa: S311
        ink = Image.new("1", SIZE)
        for glyph, place in self._glyphs(answer, chance):
            ink = ImageChops.logical_xor(ink, _on_canvas(glyph, place))
        for _ in range(2):
            ink = ImageChops.logical_xor(ink, _arc(chance))
        return _encode(ink)

    def _glyphs(
        self, answer: str, chance: random.Random
    ) -> list[tuple[Image.Image, tuple[int, int]]]:
        sprites = [self._sprite(symbol, chance) for symbol in answer]
        steps = [round(sprite.width * (1 - _OVERLAP)) for sprite in sprites]
        left = max(2, (SIZE[0] - sum(steps)) // 2)
        high = chance.random() < 0.5
        placed = []
        for sprite, step in zip(sprites, steps, strict=True):
            room = max(1, SIZE[1] - sprite.height)
            top = chance.randrange(room // 2 + 1) + (0 if high else room // 2)
            placed.append((sprite, (left, top)))
            left += step
            high = not high if chance.random() < 0.75 else high
        return placed

    def _sprite(self, symbol: str, chance: random.Random) -> Image.Image:
        box = self._font.getbbox(symbol)
        size = (round(box[2] - box[0]) + 4, round(box[3] - box[1]) + 4)
        sprite = Image.new("L", size)
        ImageDraw.Draw(sprite).text(
            (2 - box[0], 2 - box[1]), symbol, fill=255, font=self._font, stroke_width=1
        )
        return sprite.rotate(chance.uniform(-18, 18), Image.Resampling.BILINEAR, expand=True)


def _on_canvas(sprite: Image.Image, place: tuple[int, int]) -> Image.Image:
    canvas = Image.new("L", SIZE)
    canvas.paste(sprite, place)
    return canvas.point(lambda level: 255 * (level > 127)).convert("1")


def _arc(chance: random.Random) -> Image.Image:
    canvas = Image.new("1", SIZE)
    left, right = chance.randrange(-60, 20), SIZE[0] + chance.randrange(-20, 60)
    top = chance.randrange(5, 40)
    box = (left, top, right, top + chance.randrange(60, 120))
    start = chance.choice((180, 0))
    ImageDraw.Draw(canvas).arc(box, start, start + 180, fill=1, width=_STROKE)
    return canvas


def _encode(ink: Image.Image) -> bytes:
    picture = ink.convert("P")
    picture.putpalette([*_PAPER, *[0] * (3 * 254), *_INK])
    picture = picture.point(lambda index: 1 if index else 0)
    picture.putpalette([*_PAPER, *_INK])
    file = io.BytesIO()
    picture.save(file, "PNG", bits=1, optimize=True)
    return file.getvalue()
