"""The results as a table, a plot and a file that other programs read."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

from tests.bench.counts import totals
from tests.bench.figures import Results
from tests.bench.inside import LAYERS

mpl.use("Agg")

from matplotlib import pyplot as plt

OUTER = ("gunicorn, WSGI and Flask", "gunicorn and WSGI")
ORDER = (*OUTER, "Flask: routing, dispatch", "our hooks", "rate limiter", "schema", "JSON")
_REST = [layer for layer in LAYERS if layer not in ORDER]


def write(results: Results, folder: Path, name: str) -> str:
    """Writes `<name>.md`, `<name>.png` and `<name>.json`; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    table = "\n".join(_table(results)) + "\n"
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(asdict(results), indent=1), encoding="utf-8")
    _plot(results, folder / f"{name}.png")
    return table


def _table(results: Results) -> Iterator[str]:
    yield "| ratio | median | spread | goal | |"
    yield "| --- | ---: | --- | --- | --- |"
    yield from (figure.row() for figure in results.figures)
    if results.layers:
        yield from ("", *_costs("in the workers", results.layers, _present(results.layers)))
        parts = [part for part in next(iter(results.processes.values())) if part != "workers"]
        yield from ("", *_costs("beside the workers", results.processes, parts))
    if results.counts:
        yield from ("", *_counts(results.counts))
    if results.notes:
        yield from ("", *(f"- {note}" for note in results.notes))


def _costs(where: str, found: dict[str, dict[str, float]], shown: list[str]) -> Iterator[str]:
    yield f"| CPU µs per request, {where} | " + " | ".join(found) + " |"
    yield "| --- |" + " ---: |" * len(found)
    for part in shown:
        cells = (f"{costs[part]:.0f}" if part in costs else "" for costs in found.values())
        yield f"| {part} | " + " | ".join(cells) + " |"
    sums = (f"{sum(costs.get(part, 0) for part in shown):.0f}" for costs in found.values())
    yield "| all | " + " | ".join(sums) + " |"


def _present(layers: dict[str, dict[str, float]]) -> list[str]:
    return [layer for layer in (*ORDER, *_REST) if any(layer in found for found in layers.values())]


def _counts(counts: dict[str, dict[str, int]]) -> Iterator[str]:
    names = list(totals({}))
    yield "| per request | " + " | ".join(names) + " | Redis commands, scripts' own included |"
    yield "| --- |" + " ---: |" * len(names) + " --- |"
    for operation, found in counts.items():
        cells = " | ".join(str(number) for number in totals(found).values())
        yield f"| {operation} | {cells} | {_commands(found)} |"


def _commands(found: dict[str, int]) -> str:
    commands = {
        name.removeprefix("Redis "): number
        for name, number in found.items()
        if name.startswith("Redis ") and name != "Redis round trips"
    }
    return ", ".join(
        name if number == 1 else f"{number} × {name}" for name, number in commands.items()
    )


def _plot(results: Results, file: Path) -> None:
    panels = 2 if results.layers else 1
    figure, axes = plt.subplots(panels, 1, figsize=(11, 5.5 * panels), squeeze=False)
    _plot_figures(axes[0][0], results)
    if results.layers:
        _plot_layers(axes[1][0], results.layers)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _plot_figures(axes: Any, results: Results) -> None:
    shown = [figure for figure in reversed(results.figures) if figure.values]
    for place, figure in enumerate(shown):
        low, high = min(figure.values), max(figure.values)
        missed = figure.goal is not None and not figure.goal.is_met(figure.value)
        axes.barh(place, figure.value, color="#c0504d" if missed else "#4f81bd")
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        if figure.goal is not None:
            bound = figure.goal.at_least or figure.goal.at_most
            axes.plot([bound, bound], [place - 0.4, place + 0.4], color="#f79646", linewidth=2)
    axes.set_yticks(range(len(shown)), [figure.name for figure in shown], fontsize=8)
    axes.set_title("ratios (bar: median, line: spread, orange: goal, red: missed)")


def _plot_layers(axes: Any, layers: dict[str, dict[str, float]]) -> None:
    operations = list(reversed(layers))
    left = dict.fromkeys(operations, 0.0)
    colours = plt.get_cmap("tab20").colors
    for layer, colour in zip(_present(layers), colours, strict=False):
        widths = [layers[operation].get(layer, 0.0) for operation in operations]
        axes.barh(operations, widths, left=list(left.values()), label=layer, color=colour)
        left = {name: left[name] + width for name, width in zip(operations, widths, strict=True)}
    axes.legend(fontsize=8)
    axes.set_title("CPU µs per request in the workers (log-in and sign-up with a tiny hash)")
