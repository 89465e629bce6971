"""What a model forgets while it grows: tasks are added one after the other, old rows unseen.

    python -m benchmarks.forgetting --data_dir DIR [--seeds 0 1 2] [--rows 600] [--epochs 8]
        [--without_reference]

Each step starts from the model of the step before and trains on rows of the new task alone; a
model trained on all rows at once is the reference, and takes two fifths of the time. DIR is as for
benchmarks.quality. Finished seeds are in seeds.jsonl of the output folder, and are skipped.
"""

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.quality.data import DATA_SETS, METRICS, read, write_rows
from benchmarks.reporting import Table, write
from benchmarks.runs import measured_seeds, run, seeds_parser
from benchmarks.workload import start

STEPS = (
    ("snips", "intent"),
    ("snips", "slots"),
    ("crossner", "topic"),
    ("crossner", "ner_tags"),
    ("uci_sentences", "sentiment"),
)
TYPES = {task: DATA_SETS[data].tasks[task] for data, task in STEPS}
TOGETHER = "all at once"


def rows_of(folder: Path, rows: int, seed: int) -> dict[str, dict[str, list[dict]]]:
    """By task its rows by split, with its label alone; the training rows of two tasks of a data
    set are different ones where there are enough."""
    found = {}
    for data, task in STEPS:
        splits = read(folder, data)
        order = np.random.default_rng(seed).permutation(len(splits["train"]))
        first = rows * [one for one, _ in STEPS[: list(TYPES).index(task)]].count(data)
        chosen = np.roll(order, -first)[:rows]
        splits["train"] = [splits["train"][index] for index in chosen]
        found[task] = {
            split: [{key: row[key] for key in ("text", "tokens", task) if key in row} for row in of]
            for split, of in splits.items()
        }
    return found


def sources(folder: Path, names: list[str], splits: list[str]) -> dict[str, dict]:
    """The `datasets` of a run with these tasks."""
    return {
        f"rows_{task}": {
            **{f"{split}_file": str(folder / f"{task}.{split}.jsonl") for split in splits},
            "columns": {task: task},
        }
        for task in names
    }


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """By step each task's main metric on its test split, in percent."""
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for task, splits in rows_of(Path(options.data_dir), options.rows, seed).items():
            for split, of_split in splits.items():
                write_rows(folder / f"{task}.{split}.jsonl", of_split)
        model = None
        for step in [*TYPES, *([] if options.without_reference else [TOGETHER])]:
            model = None if step == TOGETHER else model
            known = list(TYPES) if step == TOGETHER else list(TYPES)[: len(found) + 1]
            new = known if step == TOGETHER else [step]
            begin = {"model": model} if model else {"encoder": options.encoder}
            tasks = {task: {"type": TYPES[task]} for task in known}
            output = str(folder / f"model-{len(found)}")
            run(
                folder,
                {
                    **begin,
                    "tasks": tasks,
                    "datasets": sources(folder, new, ["train", "validation"]),
                    "do_test": False,
                    "num_train_epochs": options.epochs,
                    "seed": seed,
                    "output_dir": output,
                },
            )
            model = output
            results = run(
                folder,
                {
                    "model": output,
                    "tasks": tasks,
                    "datasets": sources(folder, known, ["test"]),
                    "do_train": False,
                    "output_dir": f"{output}-tested",
                },
            )
            found[step] = {
                task: 100 * results[f"test_{task}_{METRICS[TYPES[task]].main}"] for task in known
            }
            print(f"seed {seed}, {step}: {found[step]}", flush=True)
    return found


def report(options: argparse.Namespace, seeds: dict[int, dict[str, dict[str, float]]]) -> None:
    """Write the means over the seeds."""

    def mean(step: str, task: str) -> float | None:
        values = [of[step][task] for of in seeds.values() if task in of.get(step, {})]
        return statistics.fmean(values) if values else None

    *earlier, last = TYPES
    lost = [[of[task][task] - of[last][task] for task in earlier] for of in seeds.values()]
    steps = [[step, *(mean(step, task) for task in TYPES)] for step in (*TYPES, TOGETHER)]
    forgotten: list[list[Any]] = [
        [task, statistics.fmean(values)]
        for task, values in zip(earlier, zip(*lost, strict=True), strict=True)
    ]
    forgotten.append(["mean", statistics.fmean(map(statistics.fmean, lost))])
    tables = [
        Table("After each step", ["step", *TYPES], steps),
        Table("Forgotten at the last step", ["task", "points"], forgotten),
    ]
    references = [seed for seed, of in seeds.items() if TOGETHER in of]
    note = (
        f"Test splits, in percent: means over {len(seeds)} seeds ({TOGETHER}: {len(references)}); "
        f"each step has {options.rows} rows and {options.epochs} epochs. Encoder: "
        f"{options.encoder}."
    )
    write(options, {"seeds": seeds}, tables, [note])


def main(argv: list[str] | None = None) -> None:
    parser = seeds_parser("forgetting", __doc__, epochs=8)
    parser.add_argument("--rows", type=int, default=600, help="of each step; default: 600")
    parser.add_argument("--without_reference", action="store_true", help="train the steps alone")
    options = start(parser, argv)
    report(options, measured_seeds(options, ("encoder", "rows", "epochs"), measure))


if __name__ == "__main__":
    main()
