"""From a reader's probabilities to text.

They come as one row per step from left to right and one column per symbol; symbol 0 is the blank.
The readers are given every help that costs an attacker nothing: case does not count, look-alikes
count as what they look like, and the alphabet and the length may be known.
"""

import numpy as np

from authsvc.core.captchas import LENGTHS
from tests.captcha_report.alphabet import ALPHABET

LOOKALIKES = {
    "2": "ZzᒿƧ",
    "3": "ЗзЭэɜ",
    "4": "AАЧΛ",
    "6": "bGБбδ",
    "7": "TтЛ⁊?",
    "8": "B&S$",
    "9": "gqy",
    "A": "4ΛАÀÁÂÄÅа∀",
    "C": "(<[СсGO0o©¢",
    "E": "FЕе£ξΣÉÈ",
    "J": "]IiЈ1l!|",
    "K": "КкκΚ",
    "M": "МмΜ",
    "P": "РрρDΡ",
    "W": "ШшωVv",
    "X": "Хх×*Yyχ✕",
}
MEANING = {
    alike: char
    for char, alikes in reversed(LOOKALIKES.items())
    if char in ALPHABET
    for alike in alikes
}
MEANING |= {case: char for char in ALPHABET for case in (char, char.lower())}


def meant(text: str) -> str:
    """The text with look-alikes as what they look like, and no spaces."""
    return "".join(MEANING.get(char, char) for char in text if not char.isspace())


def as_shipped(probabilities: np.ndarray, symbols: list[str]) -> str:
    """What the reader would print: each step's likeliest symbol, repeats and blanks dropped."""
    steps = probabilities.argmax(axis=1)
    kept = [now for before, now in zip([0, *steps], steps, strict=False) if now not in (0, before)]
    return meant("".join(symbols[step] for step in kept))


def in_alphabet(probabilities: np.ndarray, symbols: list[str]) -> np.ndarray:
    """The probabilities of the blank and of each symbol of ALPHABET with its look-alikes."""
    folded = np.zeros((len(probabilities), 1 + len(ALPHABET)))
    folded[:, 0] = probabilities[:, 0]
    for column, symbol in enumerate(symbols):
        if column and symbol in MEANING:
            folded[:, 1 + ALPHABET.index(MEANING[symbol])] += probabilities[:, column]
    return folded


def side_by_side(rows: list[np.ndarray]) -> np.ndarray:
    """One line of several rows: a step is blank only where every row has nothing to say."""
    line = np.max(rows, axis=0)
    line[:, 0] = np.min(rows, axis=0)[:, 0]
    return line / line.sum(axis=1, keepdims=True)


def likeliest_by_length(line: np.ndarray, longest: int = max(LENGTHS)) -> list[tuple[float, str]]:
    """The likeliest path (CTC) of every length of text from 0, with its log-probability.

    While they grow, texts are numbers whose digits are symbols. For each length two paths are
    kept: the best that ends in the blank, and the best that ends in each symbol; a symbol may
    follow itself only after a blank.
    """
    kinds, base = len(ALPHABET), 1 + len(ALPHABET)
    is_same = np.eye(kinds, dtype=bool)
    blank, blank_text = np.full(longest + 1, -np.inf), np.zeros(longest + 1, np.int64)
    char, char_text = np.full((longest + 1, kinds), -np.inf), np.zeros((longest + 1, kinds), int)
    blank[0] = 0

    def best_of_both() -> tuple[np.ndarray, np.ndarray]:
        top = char.argmax(axis=1)[:, None]
        top_char = np.take_along_axis(char, top, 1)[:, 0]
        top_text = np.take_along_axis(char_text, top, 1)[:, 0]
        return np.maximum(blank, top_char), np.where(blank >= top_char, blank_text, top_text)

    for step in np.log(np.maximum(line, 1e-9)):
        # A new symbol begins after the blank or after another symbol, in a text shorter by one …
        others = np.where(is_same, -np.inf, char[:, None, :])
        other = others.max(axis=2)
        other_text = np.take_along_axis(char_text, others.argmax(axis=2), 1)
        before = np.maximum(blank[:, None], other)
        before_text = np.where(blank[:, None] >= other, blank_text[:, None], other_text)
        begun = np.vstack([np.full(kinds, -np.inf), before[:-1]])
        grown = before_text[:-1] * base + np.arange(1, base)
        begun_text = np.vstack([np.zeros(kinds, int), grown])
        # … or the symbol goes on, or the blank does, or the blank ends a symbol.
        ended, ended_text = best_of_both()
        char_text = np.where(char >= begun, char_text, begun_text)
        char = np.maximum(char, begun) + step[1:]
        blank, blank_text = ended + step[0], ended_text
    return [(score, spelt(int(text), base)) for score, text in zip(*best_of_both(), strict=True)]


def spelt(number: int, base: int) -> str:
    return "" if not number else spelt(number // base, base) + ALPHABET[number % base - 1]
