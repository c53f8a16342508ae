"""Captcha images, beside those of the package `captcha`, of the same size."""

import random
import time
from collections.abc import Callable

from captcha.image import ImageCaptcha

from authsvc.core.captchas import ALPHABET
from authsvc.infra.captcha_image import HEIGHT, WIDTH, PillowPainter
from tests.bench.figures import Figure, Goal, Results

# Ours keeps what it has drawn once: by then, nearly all of it.
WARM_UP = 500


def measure(results: Results, rounds: int, seconds: float) -> None:
    """Draws with one and the other in turn, in this process."""
    ours, theirs = PillowPainter(), ImageCaptcha(width=WIDTH, height=HEIGHT)
    chance = random.Random(5)

    def answer() -> str:
        return "".join(chance.choices(ALPHABET, k=6))

    def draw_ours() -> None:
        ours.paint(answer(), chance.randbytes(32))

    def draw_theirs() -> None:
        theirs.generate(answer()).read()

    for _ in range(WARM_UP):
        draw_ours()
    pairs = [(_rate(draw_ours, seconds), _rate(draw_theirs, seconds)) for _ in range(rounds)]
    results.figures.append(
        Figure(
            "captcha images/s ÷ the package captcha's",
            [one / other for one, other in pairs],
            Goal(at_least=3),
        )
    )
    results.raw["captcha images per second, ours and theirs"] = pairs


def _rate(draw: Callable[[], None], seconds: float) -> float:
    draw()
    began, drawn = time.perf_counter(), 0
    while (past := time.perf_counter() - began) < seconds:
        draw()
        drawn += 1
    return drawn / past
