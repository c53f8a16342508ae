"""How hard passwords are to guess, by zxcvbn."""

import math
import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence

from zxcvbn import zxcvbn  # type: ignore[import-untyped]
from zxcvbn.matching import L33T_TABLE  # type: ignore[import-untyped]

_LONGEST = 72
_MOST_WORK = 50_000
_LONGEST_HINT = 254
_SHORTEST_PART = 3

# zxcvbn keeps the hints of the call that runs in a variable of its module.
_one_at_a_time = threading.Lock()


class ZxcvbnMeter:
    """Meets `authsvc.core.ports.StrengthMeter`.

    A password is measured in its NFKC form and by its first 72 characters. Of one
    that mixes many symbols that can stand for letters (`@`, `0`, `$` …) fewer are
    measured, as zxcvbn tries every reading of them; still enough for the top score
    if they are random. So no password takes much longer than any other.
    """

    def score(self, password: str, hints: Sequence[str]) -> int:
        """Return 0 (guessed at once) to 4 (very hard), where `hints` are guessed first.

        Args:
            password: any text, of any length.
            hints: what is known of the user, such as name and e-mail address; each
                counts whole and by its words.
        """
        measured = _affordable(_readable(password))
        if not measured:
            return 0
        with _one_at_a_time:
            return int(zxcvbn(measured, user_inputs=list(_words(hints)))["score"])


def _readable(text: str) -> str:
    # A line feed after digits makes zxcvbn raise: its patterns take one for the text's end.
    return unicodedata.normalize("NFKC", text[:_LONGEST])[:_LONGEST].replace("\n", " ")


def _affordable(text: str) -> str:
    length = len(text)
    while length * length * _readings(text[:length]) > _MOST_WORK:
        length -= 1
    return text[:length]


def _readings(text: str) -> int:
    """Return in how many ways symbols in the text can be read as letters."""
    present = set(text)
    return math.prod(len(present.intersection(symbols)) or 1 for symbols in L33T_TABLE.values())


def _words(hints: Sequence[str]) -> Iterator[str]:
    for hint in hints:
        known = unicodedata.normalize("NFKC", hint[:_LONGEST_HINT])
        yield known
        yield from (part for part in re.split(r"[\W_]+", known) if len(part) >= _SHORTEST_PART)
