"""The table of what each fault made of the traffic."""

from dataclasses import astuple, dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "var" / "faults" / "table.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault; times in seconds, `recovered` None if the service did not resume."""

    fault: str
    requests: int
    acknowledged: int
    lost: int
    half_made: int
    unanswered: int
    longest: float
    recovered: float | None


HEADINGS = (
    "fault",
    "requests",
    "acknowledged",
    "lost",
    "half-made",
    "unanswered",
    "longest answer (s)",
    "time to recover (s)",
)


def markdown(rows: list[Row]) -> str:
    """Return the rows as a table of Markdown, numbers to the right."""
    cells = [HEADINGS, *(tuple(_cell(value) for value in astuple(row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    ruler = tuple(
        "-" * width if column == 0 else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    )
    return "\n".join(_line(row, widths) for row in (cells[0], ruler, *cells[1:]))


def _cell(value: object) -> str:
    if value is None:
        return "never"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(cells)} |"
