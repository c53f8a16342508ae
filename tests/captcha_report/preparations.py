"""How a picture is prepared for a reader. Several pictures are rows of it, read side by side."""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

Picture: TypeAlias = np.ndarray
"""Grey bytes, row by row."""
Preparation: TypeAlias = Callable[[Picture], list[Picture]]


def from_local_mean(side: int) -> Preparation:
    """|pixel - mean of the square around it|, stretched to all greys: edges stand out."""

    def prepare(picture: Picture) -> list[Picture]:
        distance = cv2.absdiff(picture, cv2.blur(picture, (side, side)))
        return [cv2.normalize(distance, None, 0, 255, cv2.NORM_MINMAX)]

    return prepare


def cropped(picture: Picture) -> list[Picture]:
    """Without the paper around the ink."""
    rows, columns = np.where(picture < 128)
    inked = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return [np.ascontiguousarray(inked)]


def rows_of(count: int, share: float = 0.6) -> Preparation:
    """Rows that overlap, because the glyphs lie at many heights."""

    def prepare(picture: Picture) -> list[Picture]:
        height = int(picture.shape[0] * share)
        tops = np.linspace(0, picture.shape[0] - height, count).astype(int)
        return [np.ascontiguousarray(picture[top : top + height]) for top in tops]

    return prepare


def disc(size: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


PREPARATIONS: dict[str, Preparation] = {
    "raw": lambda picture: [picture],
    "inverted": lambda picture: [255 - picture],
    "|p - mean 7|": from_local_mean(7),
    "|p - mean 15|": from_local_mean(15),
    "blurred": lambda picture: [cv2.GaussianBlur(picture, (0, 0), 2.5)],
    "median": lambda picture: [cv2.medianBlur(picture, 5)],
    "thinner": lambda picture: [cv2.dilate(picture, disc(3))],
    "thicker": lambda picture: [cv2.erode(picture, disc(5))],
    "cropped": cropped,
    "3 rows": rows_of(3),
    "5 rows": rows_of(5),
}
# For rapidocr, which is five times slower than ddddocr and read less with every one of them.
FEWER = ("raw", "inverted", "|p - mean 15|", "cropped", "3 rows")
# For the controls, which the readers need no more to read.
FEWEST = ("raw", "inverted", "3 rows")
