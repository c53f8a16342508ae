"""The readers: free, offline, as they are shipped and with what an attacker knows besides.

Each yields its readings of a picture: what it was told, and the text.
"""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import ddddocr
import numpy as np
import onnxruntime
from PIL import Image
from rapidocr import RapidOCR

from authsvc.core.captchas import LENGTHS
from tests.captcha_report.alphabet import ALPHABET
from tests.captcha_report.preparations import PREPARATIONS, Picture
from tests.captcha_report.spelling import (
    as_shipped,
    in_alphabet,
    likeliest_by_length,
    meant,
    side_by_side,
)


class Reader(Protocol):
    def readings(self, picture: Picture, length: int) -> Iterator[tuple[str, str]]:
        """What the reader makes of a picture of `length` symbols, by what it was told."""


class LineReader(ABC):
    """A reader that shows its probabilities, so that it can be told the alphabet and the length."""

    name: str
    symbols: list[str]

    def __init__(self, preparations: tuple[str, ...]):
        self.preparations = preparations

    @abstractmethod
    def probabilities(self, picture: Picture) -> np.ndarray:
        """One row for each step from left to right, one column for each symbol, 0 the blank."""

    def readings(self, picture: Picture, length: int) -> Iterator[tuple[str, str]]:
        for preparation in self.preparations:
            told = f"{self.name}, {preparation}"
            rows = [self.probabilities(part) for part in PREPARATIONS[preparation](picture)]
            if len(rows) == 1:
                yield f"{told}, as shipped", as_shipped(rows[0], self.symbols)
            line = side_by_side([in_alphabet(row, self.symbols) for row in rows])
            by_length = likeliest_by_length(line)
            yield f"{told}, alphabet known", max(by_length[min(LENGTHS) :])[1]
            yield f"{told}, alphabet and length known", by_length[length][1]


class Ddddocr(LineReader):
    def __init__(self, beta: bool, preparations: tuple[str, ...]):
        super().__init__(preparations)
        self.name = "ddddocr beta" if beta else "ddddocr"
        self.symbols = ddddocr.DdddOcr(beta=beta, show_ad=False).get_charset()
        model = Path(ddddocr.__file__).with_name("common.onnx" if beta else "common_old.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options)

    def probabilities(self, picture: Picture) -> np.ndarray:
        height, width = picture.shape
        size = (width * 64 // height, 64)
        scaled = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
        given = np.asarray(scaled, np.float32)[None, None] / 255
        scores = self.session.run(None, {"input1": given})[0][:, 0]
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        return likely / likely.sum(axis=1, keepdims=True)


class RapidocrLine(LineReader):
    """rapidocr's recogniser without its detector, which finds no line in most captchas."""

    name = "rapidocr line"

    def __init__(self, rapidocr: RapidOCR, preparations: tuple[str, ...]):
        super().__init__(preparations)
        recogniser = rapidocr._load_rec_model()
        self.symbols, self.session = recogniser.postprocess_op.character, recogniser.session

    def probabilities(self, picture: Picture) -> np.ndarray:
        height, width = picture.shape
        scaled = cv2.resize(picture, (width * 48 // height, 48)).astype(np.float32) / 127.5 - 1
        padded = np.pad(scaled, ((0, 0), (0, max(0, 320 - scaled.shape[1]))))
        return self.session(np.repeat(padded[None, None], 3, axis=1))[0]


class RapidocrWhole:
    """rapidocr as its users call it."""

    def __init__(self, rapidocr: RapidOCR):
        self.rapidocr = rapidocr

    def readings(self, picture: Picture, length: int) -> Iterator[tuple[str, str]]:
        found = self.rapidocr(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
        yield "rapidocr, raw, as shipped", meant("".join(found.txts or ()))


class Tesseract:
    """tesseract with the alphabet, told that it sees a line (psm 7) or a word (psm 8)."""

    def readings(self, picture: Picture, length: int) -> Iterator[tuple[str, str]]:
        (edges,) = PREPARATIONS["|p - mean 15|"](picture)
        yield "tesseract psm 7, raw, alphabet known", self._read(picture, 7)
        yield "tesseract psm 8, raw, alphabet known", self._read(picture, 8)
        yield "tesseract psm 7, |p - mean 15|, alphabet known", self._read(255 - edges, 7)

    def _read(self, picture: Picture, page_mode: int) -> str:
        whitelist = f"tessedit_char_whitelist={ALPHABET}"
        done = subprocess.run(
            ["tesseract", "-", "-", "--psm", str(page_mode), "-c", whitelist],
            input=cv2.imencode(".png", picture)[1].tobytes(),
            capture_output=True,
            check=True,
            env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )
        return meant(done.stdout.decode())


def all_readers(fewer: tuple[str, ...]) -> list[Reader]:
    """Every reader with every preparation, rapidocr with fewer."""
    rapidocr = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1})
    return [
        RapidocrWhole(rapidocr),
        Tesseract(),
        *both_ddddocr(tuple(PREPARATIONS)),
        RapidocrLine(rapidocr, fewer),
    ]


def both_ddddocr(preparations: tuple[str, ...]) -> list[Reader]:
    return [Ddddocr(beta, preparations) for beta in (False, True)]
