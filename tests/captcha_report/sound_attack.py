"""Attack the sound captcha with its own clips.

    python -m tests.captcha_report.sound_attack --samples 200 --language en

The attacker has the shipped clips, the source of the mixer with its tables of
speeds, and the number of digits. Two readers use that, and differ in what they
compare; both find the best string of digits at plausible distances (Viterbi).

filter    normalised cross-correlation of waveforms: every clip at every speed,
          whole on a fine grid of speeds and in pieces that may each take their
          own speed and shift (the mixer bends its clips just so).
spectrum  normalised correlation of log-mel spectrograms of every clip at every
          speed, with the background's level as the floor.
fused     the sum of both scores, each brought to one scale.
"""

import argparse
import io
import itertools
import math
import random
import sys
import time
import wave

import numpy as np
import scipy.fft
from scipy.ndimage import maximum_filter1d

from authsvc.infra import captcha_audio as mixer

HOP = 80
DIGITS = 6


# --- What the attacker knows -------------------------------------------------


def clips(language):
    """Yield (digit, clip at 16 × 8 kHz) for every shipped clip."""
    for digit, voices in enumerate(mixer._clips(language)):
        for clip in voices:
            yield digit, np.frombuffer(clip, np.uint8).astype(np.float32) - 128


def at_speed(clip, step):
    places = np.arange(0, len(clip) - 1, step)
    return np.interp(places, np.arange(len(clip)), clip).astype(np.float32)


def distances(language):
    """Shortest and longest distance of two neighbours' starts, in hops."""
    lengths = [len(clip) for _, clip in clips(language)]
    paces = mixer._PACES
    shortest = min(lengths) / (max(paces) + 0.7) + mixer._GAP[0]
    longest = max(lengths) / (min(paces) - 0.7) + mixer._GAP[1]
    return max(1, int(shortest / HOP)), int(longest / HOP)


# --- Reader "filter" ---------------------------------------------------------


class MatchedFilter:
    """Works at half the rate: below 2 kHz is where speech has its energy."""

    def __init__(self, language, size=30000, piece=0.05):
        self.size = scipy.fft.next_fast_len(size, real=True)
        steps = sorted({p + w for p in mixer._PACES for w in mixer._WOBBLES})
        fine = np.arange(min(mixer._PACES) - 1, max(mixer._PACES) + 1.01, 0.5)
        self.whole, self.pieces = [], []
        for digit, clip in clips(language):
            clip = _lowpassed(clip)
            self.whole.append((digit, [self._template(at_speed(clip, 2 * s)) for s in fine]))
            count = max(2, round(len(clip) / 16 / 8000 / piece))
            cuts = np.linspace(0, len(clip), count + 1).astype(int)
            parts = [
                (a / len(clip), [self._template(at_speed(clip[a:b], 2 * s)) for s in steps])
                for a, b in itertools.pairwise(cuts)
            ]
            self.pieces.append((digit, len(clip), parts))

    def _template(self, samples):
        samples = samples - samples.mean()
        samples /= np.linalg.norm(samples) + 1e-9
        return len(samples), np.conj(scipy.fft.rfft(samples, self.size)).astype(np.complex64)

    def scores(self, sound):
        """Return for every digit and hop how well the digit begins there."""
        x = at_speed(_lowpassed_sound(sound), 2)
        hops = len(x) // (HOP // 2)
        spectrum = scipy.fft.rfft(x, self.size).astype(np.complex64)
        energy = np.concatenate([[0], np.cumsum(x.astype(np.float64) ** 2)])
        whole = np.zeros((10, hops), np.float32)
        for digit, templates in self.whole:
            gain = np.max([self._gain(t, spectrum, energy, len(x)) for t in templates], axis=0)
            np.maximum(whole[digit], _per_hop(gain, hops), out=whole[digit])
        parts = np.zeros((10, hops), np.float32)
        for digit, length, pieces in self.pieces:
            hop_gains = []
            for place, templates in pieces:
                gain = np.max([self._gain(t, spectrum, energy, len(x)) for t in templates], axis=0)
                hop_gains.append((place, _per_hop(gain, hops)))
            for pace in mixer._PACES:
                total = np.zeros(hops, np.float32)
                for place, gain in hop_gains:
                    shift = round(place * length / pace / HOP)
                    near = maximum_filter1d(gain, 5 if place else 1)
                    total[: hops - shift] += near[shift:]
                np.maximum(parts[digit], total, out=parts[digit])
        return {"whole": whole, "pieces": parts}

    def _gain(self, template, spectrum, energy, length):
        """The logarithm of how much likelier the sound is with this clip in it."""
        size, conjugate = template
        product = scipy.fft.irfft(spectrum * conjugate, self.size)[:length]
        ends = np.minimum(np.arange(length) + size, length)
        power = energy[ends] - energy[:length] + 1e-6 * energy[-1] / length * size + 1e-3
        share = np.minimum(product * product / power, 0.999)
        return (-0.5 * size * np.log1p(-share)).astype(np.float32)


def _lowpassed(clip):
    kernel = np.hanning(4 * 16 + 1)
    return np.convolve(clip, kernel / kernel.sum(), "same").astype(np.float32)


def _lowpassed_sound(sound):
    kernel = np.hanning(5)
    return np.convolve(sound, kernel / kernel.sum(), "same").astype(np.float32)


def _per_hop(gain, hops):
    return gain[: hops * (HOP // 2)].reshape(hops, HOP // 2).max(axis=1)


def _even(scores):
    return (scores - scores.mean()) / scores.std()


# --- Reader "spectrum" -------------------------------------------------------

MELS = 26


def _mel_bank():
    def hertz(mel):
        return 700 * (np.exp(mel / 1127) - 1)

    edges = hertz(
        np.linspace(1127 * math.log(1 + 100 / 700), 1127 * math.log(1 + 3900 / 700), MELS + 2)
    )
    bins = np.fft.rfftfreq(256, 1 / 8000)
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


BANK = _mel_bank()


def mel_energy(x):
    x = np.pad(x, (128, 256))
    frames = np.lib.stride_tricks.sliding_window_view(x, 256)[::HOP] * np.hanning(256)
    return (np.abs(np.fft.rfft(frames)) ** 2) @ BANK.T


class SpectrumMatcher:
    """Templates are the clips' log-mel patches at every speed, floored like the sound."""

    def __init__(self, language):
        babble, gain = _mixer_levels(language)
        self.floor = babble
        self.templates = []
        for digit, clip in clips(language):
            for pace in mixer._PACES:
                energy = mel_energy(at_speed(clip, pace) * gain)
                patch = np.log(energy[1:-3] + self.floor)
                patch = patch - patch.mean()
                self.templates.append((digit, (patch / np.linalg.norm(patch)).astype(np.float32)))

    def scores(self, sound):
        """Return for every digit and hop how well the digit begins there."""
        mels = np.log(mel_energy(sound) + 0.3 * self.floor).astype(np.float32)
        best = np.zeros((10, len(mels)), np.float32)
        for digit, patch in self.templates:
            size = len(patch)
            view = np.lib.stride_tricks.sliding_window_view(mels, size, axis=0)
            product = np.einsum("tmk,km->t", view, patch, optimize=True)
            mean = view.mean(axis=(1, 2))
            power = np.maximum((view * view).mean(axis=(1, 2)) - mean * mean, 1e-6) * patch.size
            share = np.clip(product / np.sqrt(power), 0, 0.999)
            gain = -0.5 * size * np.log1p(-share * share)
            np.maximum(best[digit, : len(gain)], gain, out=best[digit, : len(gain)])
        return {"spectrum": best}


def _mixer_levels(language):
    """The background's mean mel energies, and the factor of a clip in the mix."""
    chance = random.Random(b"levels")
    babble = [mixer._babble(80_000, mixer._clips(language), chance) for _ in range(mixer._BABBLERS)]
    hiss = chance.randbytes(80_000)
    weights = (mixer._DIGITS_WEIGHT, *[mixer._BABBLER_WEIGHT] * mixer._BABBLERS, mixer._HISS_WEIGHT)
    background = mixer._mixed([mixer._silence(80_000), *babble, hiss], weights)
    gain = mixer._DIGITS_WEIGHT / 256 * sum(mixer._LOUDNESS) / len(mixer._LOUDNESS)
    return mel_energy(samples_of(background)).mean(axis=0), gain


# --- From scores to digits ---------------------------------------------------


def best_string(scores, count, nearest, farthest):
    """Viterbi: the `count` digits whose scores, at allowed distances, sum highest."""
    value, digit = scores.max(axis=0), scores.argmax(axis=0)
    hops = len(value)
    total, back = [value.astype(np.float64)], []
    for _ in range(count - 1):
        before = np.full(hops, -np.inf)
        came = np.zeros(hops, int)
        for distance in range(nearest, farthest + 1):
            candidate = total[-1][:-distance]
            better = candidate > before[distance:]
            before[distance:][better] = candidate[better]
            came[distance:][better] = np.arange(hops - distance)[better]
        total.append(before + value)
        back.append(came)
    at = int(np.argmax(total[-1]))
    places = [at]
    for came in reversed(back):
        at = int(came[at])
        places.append(at)
    return "".join(str(digit[place]) for place in reversed(places))


def samples_of(raw):
    x = np.frombuffer(raw, np.uint8).astype(np.float32) - 128
    return x - x.mean()


def pcm(wav):
    with wave.open(io.BytesIO(wav)) as sound:
        return sound.readframes(sound.getnframes())


def wilson(hits, count, z=1.96):
    share, z2 = hits / count, z * z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return 100 * max(0, middle - half), 100 * min(1, middle + half)


def sample(number, language):
    digits = "".join(random.Random(f"digits {number}").choices("0123456789", k=DIGITS))
    return digits, mixer.ClipSpeaker().speak(digits, b"sample %d" % number, language)


READERS = {"filter": MatchedFilter, "spectrum": SpectrumMatcher}


def attack(language, readers, count, progress=0):
    """Return {reader: (strings read whole, digits read)} over `count` samples."""
    made = [READERS[name](language) for name in readers]
    nearest, farthest = distances(language)
    result = {}
    for number in range(count):
        digits, wav = sample(number, language)
        sound = samples_of(pcm(wav))
        scores = {}
        for reader in made:
            scores.update(reader.scores(sound))
        if {"pieces", "spectrum"} <= scores.keys():
            hops = min(scores["pieces"].shape[1], scores["spectrum"].shape[1])
            scores["fused"] = _even(scores["pieces"][:, :hops]) + _even(
                scores["spectrum"][:, :hops]
            )
        for name, table in scores.items():
            read = best_string(table, DIGITS, nearest, farthest)
            whole, single = result.get(name, (0, 0))
            single += sum(a == b for a, b in zip(read, digits, strict=True))
            result[name] = (whole + (read == digits), single)
        if progress and (number + 1) % progress == 0:
            print(number + 1, result, file=sys.stderr, flush=True)
    return result


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--samples", type=int, default=200)
    arguments.add_argument("--language", default="en")
    arguments.add_argument("--readers", nargs="+", default=list(READERS))
    options = arguments.parse_args()
    began = time.time()
    result = attack(options.language, options.readers, options.samples, 20)
    for name, (whole, single) in result.items():
        low, high = wilson(whole, options.samples)
        print(
            f"{options.language} {name:9} whole {whole}/{options.samples} = "
            f"{100 * whole / options.samples:.1f} % [{low:.1f}, {high:.1f}]  "
            f"per digit {100 * single / options.samples / DIGITS:.1f} %"
        )
    print(f"{(time.time() - began) / options.samples:.1f} s per sample")


if __name__ == "__main__":
    main()
