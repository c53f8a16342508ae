"""What the readers are given: seeded captchas, and two controls that they ought to read."""

import io
import math
import random
from collections.abc import Iterator
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from captcha.image import ImageCaptcha
from PIL import Image, ImageDraw

from authsvc.core.captchas import LENGTHS
from authsvc.infra import captcha_image
from tests.captcha_report.alphabet import ALPHABET
from tests.captcha_report.preparations import Picture

SEED = "captcha-report"


class Sample(NamedTuple):
    """A captcha and what it says."""

    answer: str
    png: bytes

    @property
    def picture(self) -> Picture:
        return np.asarray(Image.open(io.BytesIO(self.png)).convert("L"))


def captchas(count: int) -> Iterator[Sample]:
    """The captchas of this service, the same ones every time."""
    painter = captcha_image.PillowPainter()
    for number, answer in enumerate(answers(count)):
        yield Sample(answer, painter.paint(answer, f"{SEED} {number}".encode()))


def captchas_without_waves(count: int) -> list[Sample]:
    """The same answers in the same glyphs, with nothing running through them."""
    with patch.object(captcha_image, "_braid", lambda rng: []):
        return list(captchas(count))


def captchas_of_the_package(count: int) -> list[Sample]:
    """What PyPI's `captcha` draws of the first five symbols of the same answers."""
    package = ImageCaptcha()
    return [
        Sample(answer[:5], package.generate(answer[:5]).getvalue()) for answer in answers(count)
    ]


def answers(count: int) -> list[str]:
    rng = random.Random(SEED)
    return ["".join(rng.choices(ALPHABET, k=rng.choice(LENGTHS))) for _ in range(count)]


def contact_sheet(shown: list[Sample], with_answers: bool, columns: int = 4) -> Image.Image:
    """The pictures in rows, each above its number or its answer."""
    width, height, caption = captcha_image.WIDTH + 8, captcha_image.HEIGHT + 8, 14
    rows = math.ceil(len(shown) / columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + caption)), "white")
    for number, sample in enumerate(shown):
        left, top = number % columns * width, number // columns * (height + caption)
        sheet.paste(Image.open(io.BytesIO(sample.png)).convert("RGB"), (left, top))
        text = sample.answer if with_answers else str(number)
        ImageDraw.Draw(sheet).text((left + 4, top + height - 6), text, fill="black")
    return sheet
