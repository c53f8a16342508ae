"""Measures the captcha: `make captcha-report`, which runs this with a folder and a count.

Draws seeded captchas into the folder, lets free offline readers try them, and prints the share that
each reads whole. `docs/captcha.md` says what the figures mean.
"""

import logging
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from captcha.image import ImageCaptcha

from authsvc.infra.captcha_image import PillowPainter
from tests.captcha_report.alphabet import ALPHABET
from tests.captcha_report.preparations import FEWER, FEWEST
from tests.captcha_report.readers import Reader, all_readers, both_ddddocr
from tests.captcha_report.samples import (
    Sample,
    captchas,
    captchas_of_the_package,
    captchas_without_waves,
    contact_sheet,
)

MOST_OF_A_CONTROL = 100


def main(folder: str = "var/captcha", count: str = "400") -> None:
    logging.disable(logging.INFO)
    samples = list(captchas(int(count)))
    save(samples, Path(folder))
    print_cost(samples)

    controls = min(len(samples), MOST_OF_A_CONTROL)
    helped = both_ddddocr(FEWEST)
    print_rates("Control: the captcha package", helped, captchas_of_the_package(controls), 3)
    print_rates("Control: this painter without waves", helped, captchas_without_waves(controls), 3)
    print_rates("The captchas of this service", all_readers(FEWER), samples)


def save(samples: list[Sample], folder: Path) -> None:
    """Write the samples and two contact sheets over those of the last run."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if re.fullmatch(rf"[{ALPHABET}]+_\d+\.png", file.name):
            file.unlink()
    for number, sample in enumerate(samples):
        (folder / f"{sample.answer}_{number}.png").write_bytes(sample.png)
    contact_sheet(samples[:40], with_answers=False).save(folder / "sheet.png")
    contact_sheet(samples[:40], with_answers=True).save(folder / "sheet-with-answers.png")
    print(f"{len(samples)} captchas and two contact sheets are in {folder}")


# What a captcha costs


def print_cost(samples: list[Sample]) -> None:
    sizes, answers = [len(sample.png) for sample in samples], [sample.answer for sample in samples]
    painter, package = PillowPainter(), ImageCaptcha()
    ours = milliseconds_each(lambda answer: painter.paint(answer, answer.encode()), answers)
    theirs = milliseconds_each(package.generate, answers)
    print(f"Bytes of PNG: mean {sum(sizes) / len(sizes):.0f}, most {max(sizes)}")
    print(f"One image: {ours:.2f} ms; captcha.image.ImageCaptcha: {theirs:.2f} ms", end="")
    print(f", {theirs / ours:.1f} times as long")


def milliseconds_each(paint: Callable[[str], object], answers: list[str]) -> float:
    """Processor time of this one thread for each image: the best of three warm passes."""
    passes = []
    for _ in range(4):
        start = time.thread_time()
        for answer in answers:
            paint(answer)
        passes.append(time.thread_time() - start)
    return min(passes[1:]) / len(answers) * 1000


# How many are read


def print_rates(
    title: str, readers: list[Reader], samples: list[Sample], rows: int | None = None
) -> None:
    """Print a table of the readers, best first, as long as it is or `rows` long."""
    hits, count = count_read(readers, samples), len(samples)
    print(f"\n{title}")
    print(f"{'reader, preparation, what it is told':56} {'read':>9} {'rate':>7}  95 % (Wilson)")
    for name, hit in hits.most_common(rows):
        low, high = wilson(hit, count)
        share = f"{hit:>3} / {count:<3} {hit / count:>7.2%}"
        print(f"{name:56} {share}  {low:.2%} to {high:.2%}", flush=True)


def count_read(readers: list[Reader], samples: list[Sample]) -> Counter[str]:
    """How many samples were read whole, by reader and what it was told."""
    hits: Counter[str] = Counter()
    for number, sample in enumerate(samples, start=1):
        for reader in readers:
            for name, text in reader.readings(sample.picture, len(sample.answer)):
                hits[name] += text == sample.answer
        if sys.stderr.isatty():
            end = "\n" if number == len(samples) else ""
            print(f"\r{number} of {len(samples)} read", end=end, file=sys.stderr, flush=True)
    return hits


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of 95 % for the true share."""
    share, slack = hits / count, z * z / count
    middle = share + slack / 2
    reach = z * math.sqrt(share * (1 - share) / count + slack / count / 4)
    return max(0.0, (middle - reach) / (1 + slack)), min(1.0, (middle + reach) / (1 + slack))


if __name__ == "__main__":
    main(*sys.argv[1:])
