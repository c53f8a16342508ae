"""Make the spoken digits of the sound captcha: `captcha_clips.zip`.

Run once, on a machine with `espeak-ng` and `sox`; the service needs neither:

    apt-get install espeak-ng sox
    python tests/captcha_report/make_clips.py authsvc/infra/captcha_clips.zip

Every voice of every language says every digit. Silence is cut off, loudness is
made equal, and each digit becomes a WAV file of 8-bit mono samples at 8 kHz,
named `language/voice/digit.wav`. The lowest two of the 8 bits are always zero:
the file is a third smaller for it, and the noise is far below the captcha's own.
The same versions of espeak-ng, sox and zlib make the same bytes; the archive's
comment names the first two.

espeak-ng is under GPL-3.0-or-later. The licence covers the program, not the sound
that it makes from our words: the GPL's section 2 covers output only where the
output's content is itself a covered work. No part of the program or its data is here.
"""

import array
import io
import math
import subprocess
import sys
import wave
import zipfile
from pathlib import Path

RATE = 8000
DIGITS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "zh": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
}
VARIANTS = ("", "+m3", "+Denis", "+f2", "+f5")
VOICES = {
    # espeak-ng silently ignores a variant after some names, "en-gb" among them.
    "en": tuple(f"en-us{variant}" for variant in VARIANTS),
    "zh": tuple(f"cmn{variant}" for variant in VARIANTS),
}
WORDS_PER_MINUTE = "150"

_FRAME = RATE // 100
_SILENCE = 0.02
_LOUDNESS = 0.25


def main(target: Path) -> None:
    """Write all clips into one zip file."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as clips:
        clips.comment = f"{_version('espeak-ng')}; {_version('sox')}".encode()
        for language, words in DIGITS.items():
            for voice in VOICES[language]:
                for digit, word in enumerate(words):
                    # A ZipInfo without a date, so that the bytes do not tell the day.
                    entry = zipfile.ZipInfo(f"{language}/{voice}/{digit}.wav")
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    clips.writestr(entry, _wav(_levelled(_trimmed(_spoken(word, voice)))))


def _spoken(word: str, voice: str) -> list[int]:
    espeak = ["espeak-ng", "-v", voice, "-s", WORDS_PER_MINUTE, "--stdout", word]
    # `-D` keeps sox from adding random dither.
    sox = ["sox", *f"-D -V1 -t wav - -t s16 -r {RATE} - highpass 90".split()]
    speech = subprocess.run(espeak, check=True, capture_output=True).stdout
    resampled = subprocess.run(sox, check=True, capture_output=True, input=speech).stdout
    return array.array("h", resampled).tolist()


def _trimmed(samples: list[int]) -> list[int]:
    threshold = _SILENCE * max(map(abs, samples))
    starts = range(0, len(samples), _FRAME)
    loud = [at for at in starts if max(map(abs, samples[at : at + _FRAME])) > threshold]
    return samples[loud[0] : loud[-1] + _FRAME]


def _levelled(samples: list[int]) -> list[float]:
    """Scale to one loudness; what would stand out above full scale is rounded off."""
    rms = math.sqrt(sum(sample * sample for sample in samples) / len(samples))
    return [math.tanh(_LOUDNESS * sample / rms) for sample in samples]


def _wav(samples: list[float]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(1)
        clip.setframerate(RATE)
        clip.writeframes(bytes(128 + 4 * round(31 * sample) for sample in samples))
    return file.getvalue()


def _version(program: str) -> str:
    printed = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    return " ".join(printed.stdout.split("Data at")[0].split())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
