"""How a target is fuzzed: libFuzzer, by way of atheris, with its options on the command line."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris  # type: ignore[import-untyped]

INSTRUMENTED = ["authsvc", "jwt", "altcha", "marshmallow"]


def instrumented() -> object:
    """Returns what lets libFuzzer see the branches of what is imported within it."""
    return atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False)


def fuzz(targets: Sequence[Callable[[bytes], None]], seeds: Sequence[bytes]) -> None:
    """Runs the targets, chosen by the first byte, until libFuzzer's options end it.

    Args:
        targets: what is given the rest of the bytes.
        seeds: what it begins with; put into the folder that is the first argument.
    """
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)

    def run(data: bytes) -> None:
        if data:
            targets[data[0] % len(targets)](data[1:])

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


def text_of(data: bytes) -> str:
    """Returns bytes as text, lone surrogates among it."""
    return data.decode("utf-8", "surrogateescape")
