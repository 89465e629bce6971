"""How good the answers are with the defaults, beside what a user would pick instead.

    python -m benchmarks.quality --data_dir DIR
        [--datasets NAME ...] [--budgets few 500 2000 all] [--contestants NAME ...] [--seeds N ...]

A cell is a data set, a budget of training rows, a contestant and a seed. Each adds a line to
cells.jsonl in the output folder; finished cells are skipped, so that a run can be stopped and
started again, also beside others. The report shows all cells of the file: `--contestants` without a
name writes it and measures nothing.
docs/quality.md says how the contestants are compared.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections import defaultdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measuring import Spread
from benchmarks.quality import contestants
from benchmarks.quality.data import (
    BUDGETS,
    DATA_SETS,
    SENTENCE,
    Rows,
    budgets,
    draw,
    read,
    read_pairs,
)
from benchmarks.reporting import Table, plot_bars, write
from benchmarks.workload import start
from multitask_encoder.cli.errors import fail
from multitask_encoder.comparison.differences import paired
from multitask_encoder.processor import keep_freed_memory

OURS = ("ours", "held")
# Raise it when a contestant's settings change (of ours: the package's defaults), and its cells are
# measured again.
VERSIONS = {"ours": 4, "held": 2, "stock": 1, "setfit": 1, "frozen": 1, "tfidf": 1}
RUN = {name: getattr(contestants, name) for name in VERSIONS}
ONE_SEED_OF_ALL = ("stock", "frozen", "tfidf")  # slow, or without chance
SEEDS, SEEDS_OF_FEW, MANY_ROWS = 3, 5, 1000
CELLS = "cells.jsonl"


class Cell(NamedTuple):
    """One measurement."""

    encoder: str  # as the option names it
    dataset: str
    budget: str
    contestant: str
    seed: int

    def __str__(self) -> str:
        return " ".join(map(str, self[1:]))


def cells_of(options: argparse.Namespace, rows: dict[str, Rows]) -> list[Cell]:
    """The cells to be measured, the first seed of everything first."""
    cells = []
    for dataset, budget in product(options.datasets, options.budgets):
        if budget not in budgets(rows[dataset]):
            continue
        size = len(draw(dataset, rows[dataset], budget, 0).splits["train"])
        seeds = options.seeds or list(range(SEEDS_OF_FEW if size < MANY_ROWS else SEEDS))
        for contestant in options.contestants:
            if contestant in (*OURS, "stock") or SENTENCE in DATA_SETS[dataset].tasks.values():
                if contestant == "setfit" and budget not in ("few", "500"):
                    continue
                once = budget == "all" and contestant in ONE_SEED_OF_ALL
                chosen = seeds[:1] if once else seeds
                cells += [
                    Cell(options.encoder, dataset, budget, contestant, seed) for seed in chosen
                ]
    return sorted(cells, key=lambda cell: cell.seed)


def measure(cell: Cell, rows: Rows, pairs: list[dict], path: Path) -> dict[str, Any]:
    """A cell's result, from the file of cells if it is there.

    Raises:
        ValueError: the contestant can't run here, or failed.
    """
    if cell in (known := finished(path)):
        return known[cell]
    run = RUN[cell.contestant]
    sample = draw(cell.dataset, rows, cell.budget, cell.seed, pairs)
    whole = cell.budget == "all" and "2000" in budgets(rows)
    searched = cell._replace(budget="2000" if whole else cell.budget, seed=0)
    if cell.contestant == "stock" and cell != searched:
        run = partial(run, rates=measure(searched, rows, pairs, path)["chosen"])
    clocks = time.perf_counter(), sum(os.times()[:4])
    metrics, chosen = run(sample, cell.encoder, cell.seed)
    wall, processor = time.perf_counter() - clocks[0], sum(os.times()[:4]) - clocks[1]
    result = {
        **cell._asdict(),
        "version": VERSIONS[cell.contestant],
        "rows": {split: len(rows) for split, rows in sample.splits.items()},
        "metrics": metrics,
        "chosen": chosen,
        "seconds": {"wall": round(wall), "processor": round(processor)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(result)}\n")
    shown = ", ".join(f"{name} {100 * value:.2f}" for name, value in metrics.items())
    print(f"{cell}: {wall:.0f} s, {shown}", flush=True)
    return result


def finished(path: Path) -> dict[Cell, dict[str, Any]]:
    """The results of a file by today's settings."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = map(json.loads, lines)
    return {
        Cell(*(one[key] for key in Cell._fields)): one
        for one in results
        if one["version"] == VERSIONS.get(one["contestant"])
    }


Row = tuple[str, str, str]  # data set, budget, metric
Values = dict[str, dict[int, float]]  # contestant to seed to a fraction in 0..1


def by_row(results: list[dict[str, Any]]) -> dict[Row, Values]:
    """The values of each metric."""
    rows: dict[Row, Values] = defaultdict(lambda: defaultdict(dict))
    for one in results:
        for metric, value in one["metrics"].items():
            row = (one["dataset"], one["budget"], metric)
            rows[row][one["contestant"]][one["seed"]] = value
    order = list(DATA_SETS), list(BUDGETS)
    return dict(sorted(rows.items(), key=lambda x: (*map(list.index, order, x[0]), x[0][2])))


def differences(rows: dict[Row, Values]) -> list[dict[str, Any]]:
    """Ours less the best other contestant, by row and seed, the worst row first; as `paired` gives
    it, with `row` and `other`."""
    found = []
    for row, values in rows.items():
        if not row[2].endswith(("macro_f1", "sts_spearman")):
            others = [compared(row, values, name) for name in values if name not in OURS]
            shared = [one for one in others if one["differences"]]
            found += sorted(shared, key=lambda one: one["single"])[-1:]
    return sorted(found, key=lambda one: one["difference"])


def compared(row: Row, values: Values, other: str) -> dict[str, Any]:
    """Ours and another by the seeds of both; of all rows, one seed of the other stands for all."""
    ours, theirs = values.get("ours", {}), values[other]
    if row[1] == "all" and len(theirs) == 1:
        theirs = dict.fromkeys(ours, *theirs.values())
    seeds = sorted(ours.keys() & theirs.keys())
    multi, single = ([side[seed] for seed in seeds] for side in (ours, theirs))
    found = paired(multi, single) if seeds else {"differences": []}
    return {"row": row, "other": other, **found}


def differences_table(found: list[dict[str, Any]], sizes: dict[tuple[str, str], int]) -> Table:
    """Ours less the best other."""
    header = ["data set", "budget", "rows", "metric", "ours", "best other", "its value"]
    header += ["difference", "standard error", "seeds"]
    cells = [
        [
            *(*one["row"][:2], sizes[one["row"][:2]], one["row"][2].replace("_", " ")),
            *(f"{100 * one['multi']:.2f}", one["other"], f"{100 * one['single']:.2f}"),
            f"{one['difference']:+.2f}",
            "" if one["standard_error"] is None else f"{one['standard_error']:.2f}",
            len(one["differences"]),
        ]
        for one in found
    ]
    return Table("Ours less the best other", header, cells)


def values_table(rows: dict[Row, Values]) -> Table:
    """Every metric of every contestant."""
    cells = [
        [*row, *(_mean(list(values.get(name, {}).values())) for name in RUN)]
        for row, values in rows.items()
    ]
    return Table("All contestants", ["data set", "budget", "metric", *RUN], cells)


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{100 * values[0]:.2f}" if values else ""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.mean(values):.2f} ± {100 * error:.2f}"


def report(options: argparse.Namespace, path: Path, notes: list[str]) -> None:
    """Write results.json, results.md and the plot of the differences."""
    known = finished(path).items()
    results = [result for cell, result in known if cell.encoder == options.encoder]
    rows = by_row(results)
    found = differences(rows)
    sizes = {(one["dataset"], one["budget"]): one["rows"]["train"] for one in results}
    bars = {}
    for one in found:
        middle, error = one["difference"], one["standard_error"] or 0.0
        name = f"{' '.join(one['row'])} (less {one['other']})"
        bars[name] = Spread(middle, middle - error, middle + error)
    if bars:
        title = "Ours less the best other, with its standard error"
        plot_bars(options.output, "differences", title, "percentage points", bars)
    tables = [differences_table(found, sizes), values_table(rows)]
    write(options, {"differences": found}, tables, notes)


def options_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="folder of the data sets' folders")
    parser.add_argument("--encoder", default="backbones/minilm", help="Hub id or folder")
    for name, choices in {"datasets": DATA_SETS, "budgets": BUDGETS, "contestants": RUN}.items():
        parser.add_argument(f"--{name}", nargs="*", choices=choices, default=list(choices))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 3; 5 below 1,000 rows")
    parser.add_argument("--threads", type=int, help="of torch; default: as many as it takes")
    parser.add_argument("--output", default="runs/quality", help="folder; default: runs/quality")
    parser.set_defaults(title="quality")
    return parser


def main(argv: list[str] | None = None) -> None:
    options = start(options_parser(), argv)
    keep_freed_memory()
    try:
        rows = {name: read(Path(options.data_dir), name) for name in options.datasets}
        pairs = read_pairs(Path(options.data_dir))
    except OSError as error:
        fail(error)
    path = Path(options.output, CELLS)
    refused = {}
    for cell in cells_of(options, rows):
        try:
            measure(cell, rows[cell.dataset], pairs, path)
        except ValueError as error:
            print(f"{cell}: {error}", flush=True)
            refused[f"Not measured: {cell.contestant}. {error}"] = cell
    note = "Test split, in percent: mean ± standard error over the seeds; differences by seed."
    report(options, path, [f"{note} Encoder: {options.encoder}.", *refused])


if __name__ == "__main__":
    main()
