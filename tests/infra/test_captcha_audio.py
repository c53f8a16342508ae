"""The sound of captchas: recorded digits, mixed."""

import io
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor

import pytest

from authsvc.infra.captcha_audio import RATE, ClipSpeaker

SPEAKER = ClipSpeaker()
LANGUAGES = sorted(ClipSpeaker.languages)


def samples(wav: bytes) -> bytes:
    """Return the samples of a WAV of the promised form."""
    with wave.open(io.BytesIO(wav)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 1)
        return bytes(sound.readframes(sound.getnframes()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_six_digits_last_between_three_and_twelve_seconds(language: str) -> None:
    for seed in range(50):
        spoken = samples(SPEAKER.speak("016789", f"{seed}".encode(), language))
        assert 3 * RATE < len(spoken) < 12 * RATE


def test_the_same_arguments_give_the_same_bytes_in_any_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        sounds = set(pool.map(lambda _: SPEAKER.speak("3141592", b"seed", "zh"), range(40)))
    assert len(sounds) == 1


def test_the_same_arguments_give_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from authsvc.infra.captcha_audio import ClipSpeaker;"
        "sys.stdout.buffer.write(ClipSpeaker().speak('314159', b'seed', 'en'))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert other.stdout == SPEAKER.speak("314159", b"seed", "en")


def test_another_seed_digit_or_language_gives_another_sound() -> None:
    speak = SPEAKER.speak
    sounds = {speak("12", b"a", "en"), speak("12", b"b", "en")}
    sounds |= {speak("13", b"a", "en"), speak("12", b"a", "zh")}
    assert len(sounds) == 4


def test_no_sound_is_clipped() -> None:
    for seed in range(50):
        loud = samples(SPEAKER.speak("0123456789", f"{seed}".encode(), "en"))
        assert sum(loud.count(extreme) for extreme in (0, 255)) < len(loud) / 1000
