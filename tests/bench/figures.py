"""A measured figure: a value for each round, what it should be, and how it is told."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure: at least or at most."""

    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is None or value <= self.at_most

    def __str__(self) -> str:
        return f"≥ {self.at_least}" if self.at_least is not None else f"≤ {self.at_most}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, measured in several rounds.

    Args:
        name: what it is, and what it is divided by.
        values: one for each round.
        goal: what the median should be.
    """

    name: str
    values: list[float]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.value) else "**missed**"

    def row(self) -> str:
        spread = f"{min(self.values):.2f} – {max(self.values):.2f}"
        goal = "" if self.goal is None else str(self.goal)
        return f"| {self.name} | {self.value:.2f} | {spread} | {goal} | {self.verdict} |"


@dataclass(slots=True)
class Results:
    """All that a run found.

    Args:
        figures: the ratios, in the order of the table.
        layers: operation → layer → CPU microseconds per request, in the workers.
        processes: operation → process → the same, in each process.
        counts: operation → what it asks of MariaDB and Redis → how often.
        notes: what else is worth knowing, a sentence each.
        raw: what the figures were computed from.
    """

    figures: list[Figure] = field(default_factory=list)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    processes: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
