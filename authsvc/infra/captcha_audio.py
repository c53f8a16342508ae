"""Sound of captcha answers, mixed from recorded digits.

The clips come from espeak-ng; `tests/captcha_report/make_clips.py` tells how.
"""

import functools
import io
import random
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path

RATE = 8000

_CLIPS = Path(__file__).with_name("captcha_clips.zip")
_STILL = 128

# Clips are kept stretched sixteenfold: every sixteenth sample is the clip as it was
# recorded, every fourteenth is slower and lower.
_DOUBLINGS = 4
_PACES = (14, 15, 16, 17, 18, 19)
_WOBBLES = (-3, -2, -1, 0, 1, 2, 3)
_PIECE = (1600, 4800)

_LEAD = 4000
_GAP = (1600, 5600)
_LOUDNESS = (0.76, 0.82, 0.88, 0.94, 1.0)
_LEVELS = [
    bytes(_STILL + round(loudness * (sample - _STILL)) for sample in range(256))
    for loudness in _LOUDNESS
]

_BABBLERS = 3
_DIGITS_WEIGHT, _BABBLER_WEIGHT, _HISS_WEIGHT = 111, 45, 10

Clips = Sequence[Sequence[bytes]]
"""For each digit, that digit by every voice."""


class ClipSpeaker:
    """Meets `authsvc.core.ports.CaptchaSpeaker`.

    Each digit has a voice, pitch, speed and level of its own and a pause of its own
    length after it, over a background of digits said backwards. Pitch and speed
    tremble within each digit, so that a filter made from the clip loses step.
    """

    languages = frozenset({"en", "zh"})

    def speak(self, digits: str, seed: bytes, language: str) -> bytes:
        """Return a WAV file, 8 kHz mono of 8 bits, that says `digits`.

        Args:
            digits: any number of the digits 0 to 9.
            seed: the same arguments give the same bytes.
            language: one of `languages`.
        """
        chance = random.Random(seed)  # noqa: S311
        clips = _clips(language)
        said = _said(digits, clips, chance)
        babble = [_babble(len(said), clips, chance) for _ in range(_BABBLERS)]
        hiss = chance.randbytes(len(said))
        weights = (_DIGITS_WEIGHT, *[_BABBLER_WEIGHT] * _BABBLERS, _HISS_WEIGHT)
        return _wav(_mixed([said, *babble, hiss], weights))


def _said(digits: str, clips: Clips, chance: random.Random) -> bytes:
    sounds = [_silence(_LEAD)]
    for digit in digits:
        sounds.append(_bent(chance.choice(clips[int(digit)]), chance))
        sounds.append(_silence(chance.randrange(*_GAP)))
    return b"".join(sounds)


def _babble(length: int, clips: Clips, chance: random.Random) -> bytes:
    sounds = b""
    while len(sounds) < length:
        sounds += _bent(chance.choice(chance.choice(clips))[::-1], chance)
    return sounds[-length:]


def _silence(length: int) -> bytes:
    return bytes([_STILL]) * length


def _bent(clip: bytes, chance: random.Random) -> bytes:
    """Return a stretched clip at a random level and pace, the pace trembling."""
    pace = chance.choice(_PACES)
    pieces, at = [], 0
    while at < len(clip):
        step = pace + chance.choice(_WOBBLES)
        piece = clip[at : at + chance.randrange(*_PIECE) : step]
        pieces.append(piece)
        # On by whole steps, so that the wave goes on where it stopped and does not click.
        at += step * len(piece)
    return b"".join(pieces).translate(chance.choice(_LEVELS))


def _mixed(tracks: Sequence[bytes], weights: Sequence[int]) -> bytes:
    """Return the weighted mean of tracks of one length; the weights sum to 256."""
    # As one long integer of 16 bits per sample, a track is scaled and added in a few
    # machine instructions per sample. The high byte of each sum is the sum / 256.
    total = sum(weight * _as_integer(track) for track, weight in zip(tracks, weights, strict=True))
    return total.to_bytes(2 * len(tracks[0]), "little")[1::2]


def _as_integer(track: bytes) -> int:
    wide = bytearray(2 * len(track))
    wide[::2] = track
    return int.from_bytes(wide, "little")


def _wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(RATE)
        sound.writeframes(samples)
    return file.getvalue()


@functools.cache
def _clips(language: str) -> Clips:
    with zipfile.ZipFile(_CLIPS) as archive:
        names = sorted(archive.namelist())
        return [
            [
                _stretched(_samples(archive.read(name)))
                for name in names
                if name.startswith(f"{language}/") and name.endswith(f"/{digit}.wav")
            ]
            for digit in range(10)
        ]


def _samples(file: bytes) -> bytes:
    with wave.open(io.BytesIO(file)) as sound:
        frames: bytes = sound.readframes(sound.getnframes())
    return frames


def _stretched(clip: bytes) -> bytes:
    for _ in range(_DOUBLINGS):
        between = _mixed([clip, clip[1:] + clip[-1:]], (128, 128))
        doubled = bytearray(2 * len(clip))
        doubled[::2], doubled[1::2] = clip, between
        clip = bytes(doubled)
    return clip
