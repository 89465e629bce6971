"""How far scores can be relied on, and what is refused: calibration, thresholds and scopes.

    python -m benchmarks.unsure --data_dir DIR [--seeds 0 1 2] [--runs NAME ...] [--epochs N]

Runs with the package's defaults, on all rows of snips, hwu64 (also with scenario and intent as two
labels of one task) and clinc150 (also with the embedding held), measured on their test splits; to
those of clinc150 the 1,000 texts are added that are out of scope. No such text is trained on, or
chosen by. DIR is as for benchmarks.quality. Finished runs are in seeds.jsonl of the output folder,
and are skipped.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.quality.data import SENTENCE, SPLITS, TOKENS, Rows, read, text_of, write_rows
from benchmarks.reporting import Table, write
from benchmarks.runs import measured_seeds, run, seeds_parser
from benchmarks.workload import start
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.modeling import MultiTaskPipeline
from multitask_encoder.modeling.answering import has_one_label
from multitask_encoder.training.scoring import Scored
from multitask_encoder.training.thresholds import SHARES, for_coverage, judge

OUTSIDE = "none of these"
TAGS = {"tags": {"type": SENTENCE, "problem_type": "multi_label_classification"}}
INTENT, SCOPE = {"type": SENTENCE}, {"out_of_scope": 0.05}
EMBEDDING = {"type": "sentence_embedding"}
# By name the folder of the data, and the tasks.
RUNS: dict[str, tuple[str, dict[str, dict]]] = {
    "snips": ("snips", {"intent": {**INTENT, **SCOPE}, "slots": {"type": TOKENS}}),
    "hwu64": ("hwu64", {"scenario": INTENT, "intent": INTENT, "slots": {"type": TOKENS}}),
    "hwu64 tags": ("hwu64", TAGS),
    "clinc150": ("clinc150", {"intent": {**INTENT, **SCOPE}}),
    "clinc150 held": (
        "clinc150",
        {"intent": {**INTENT, **SCOPE, "pooling": "cls"}, "embedding": EMBEDDING},
    ),
}
ERRORS, EFFECTS = ("before", "after"), ("refused", "found", "auroc", "accuracy")
RESPLITS = 20
SHIFT = 0.95
SAME = {"play_music": "PlayMusic", "weather_query": "GetWeather"}  # of hwu64 and snips
KEYS = ("refused", "covered")
KEPT = ("calibration", "thresholds", "out_of_scope")


def rows_of(folder: Path, data: str, tasks: dict[str, dict]) -> Rows:
    """All rows, with those out of scope in the test split."""
    splits = read(folder, data)
    if tasks is TAGS:
        for rows in splits.values():
            for row in rows:
                row["tags"] = [row["scenario"], row["intent"]]
    if data == "clinc150":
        lines = (folder / data / "oos_test.jsonl").read_text(encoding="utf-8").splitlines()
        splits["test"] += [{**json.loads(line), "intent": OUTSIDE} for line in lines]
    return splits


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, Any]]:
    """By run its results."""
    found = {}
    for name in options.runs:
        data, tasks = RUNS[name]
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for split, rows in rows_of(Path(options.data_dir), data, tasks).items():
                write_rows(folder / f"{split}.jsonl", rows)
            results = run(
                folder,
                {
                    "encoder": options.encoder,
                    "tasks": tasks,
                    "data_dir": scratch,
                    **{f"{split}_file": f"{split}.jsonl" for split in SPLITS},
                    **({"num_train_epochs": options.epochs} if options.epochs else {}),
                    "seed": seed,
                    "output_dir": str(folder / "model"),
                },
            )
            pipeline = load_pipeline(str(folder / "model"))
            resplits = covered_in_resplits(pipeline, folder / "test.jsonl")
            shift = shifted(pipeline, Path(options.data_dir)) if name == "snips" else {}
        measured = {key: value for key, value in results.items() if key.startswith("test_")}
        found[name] = measured | {key: results[key] for key in KEPT if key in results}
        found[name] |= {"resplits": resplits, "shift": shift}
    return found


def shifted(pipeline: MultiTaskPipeline, data_dir: Path) -> dict[str, dict[str, float]]:
    """What becomes of promises where texts are others: the model of snips' intents is asked about
    the test rows of hwu64, of which some ask for the same, and about its own."""
    groups: dict[str, list[tuple[str, str | None]]] = {"own": [], "the same": [], "others": []}
    for row in read(data_dir, "snips")["test"]:
        groups["own"].append((text_of(row), row["intent"]))
    for row in read(data_dir, "hwu64")["test"]:
        same = SAME.get(row["intent"])
        groups["the same" if same else "others"].append((text_of(row), same))
    found = {}
    for name, pairs in groups.items():
        answers = pipeline([text for text, _ in pairs], tasks=["intent"], coverage=SHIFT)
        answered = [of["labels"]["intent"] for of in answers]
        found[name] = {"refused": statistics.fmean(of["label"] is None for of in answered)}
        if name != "others":
            covered = (
                true in of["label_set"] for of, (_, true) in zip(answered, pairs, strict=True)
            )
            found[name]["covered"] = statistics.fmean(covered)
    return found


def covered_in_resplits(
    pipeline: MultiTaskPipeline, path: Path
) -> dict[str, dict[str, list[float]]]:
    """By task with one label a text, and coverage asked for, what sets cover of one half of the
    test rows, chosen on the other, in 20 resplits."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    tasks = pipeline.model.config.tasks
    sentences = pipeline.model.config.tasks_of_type(SENTENCE)
    names = [name for name in sentences if has_one_label(tasks[name])]
    found: dict[str, dict[str, list[float]]] = {}
    answers = pipeline([text_of(row) for row in rows], tasks=names) if names else []
    for name in names:
        task = tasks[name]
        pairs = [
            ([*of["labels"][name]["scores"].values()], task["labels"].index(row[name]))
            for of, row in zip(answers, rows, strict=True)
            if row[name] in task["labels"]
        ]
        scores, labels = (torch.tensor(of) for of in zip(*pairs, strict=True))
        logits, generator = scores.double().log(), torch.Generator().manual_seed(0)
        found[name] = {f"{share:g}": [] for share in SHARES}
        for _ in range(RESPLITS):
            order = torch.randperm(len(labels), generator=generator)
            chosen, others = (
                judge(Scored(task, logits[of], labels[of], list(range(len(of) + 1))))
                for of in order.chunk(2)
            )
            for share in SHARES:
                if (threshold := for_coverage(chosen, share)) is not None:
                    there = others.true_scores > threshold
                    found[name][f"{share:g}"].append(there.double().mean().item())
    return found


def report(options: argparse.Namespace, seeds: dict[int, dict[str, dict[str, Any]]]) -> None:
    """Write the means over the seeds."""

    def mean(values: list[float | None]) -> float | None:
        known = [100 * value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    def rows(key: str) -> Iterator[tuple[str, str, list[dict]]]:
        """Run, task, and what each seed has found on its test rows."""
        for name in options.runs:
            of_seeds = [of[name].get(key, {}) for of in seeds.values()]
            for task in of_seeds[0]:
                yield name, task, [of[task]["test"] for of in of_seeds if task in of]

    def by_share(purpose: str, keys: tuple[str, ...]) -> list[list[Any]]:
        return [
            [name, task, share, *(mean([of.get(key) for of in of_share]) for key in keys)]
            for name, task, found in rows("thresholds")
            for share in found[0][purpose]
            for of_share in [[of[purpose].get(share, {}) for of in found]]
        ]

    calibration = [
        [name, task, *(mean([of[when]["calibration_error"] for of in found]) for when in ERRORS)]
        for name, task, found in rows("calibration")
    ]
    scope = [
        [name, task, *(mean([of.get(key) for of in found]) for key in EFFECTS)]
        for name, task, found in rows("out_of_scope")
    ]
    precision = by_share("precision", ("precision", "answered", "recall"))
    coverage = by_share("coverage", ("coverage", "labels"))
    for row in coverage:
        row[-1] = row[-1] and row[-1] / 100  # labels of a set are no percent
    resplits = [
        [name, task, share, mean(values), 100 * min(values), 100 * max(values)]
        for name in options.runs
        for task in next(iter(seeds.values()))[name]["resplits"]
        for share in map("{:g}".format, SHARES)
        if (values := [one for of in seeds.values() for one in of[name]["resplits"][task][share]])
    ]
    shifts = [of["snips"]["shift"] for of in seeds.values() if "snips" in options.runs]
    shift = [
        [name, *(mean([of[name].get(key) for of in shifts]) for key in KEYS)]
        for name in (shifts[0] if shifts else ())
    ]
    tables = [
        Table("Calibration error", ["run", "task", "before", "after"], calibration),
        Table("Precision", ["run", "task", "asked", "right", "answered", "recall"], precision),
        Table("Coverage", ["run", "task", "asked", "covered", "labels"], coverage),
        Table(
            f"Coverage in {RESPLITS} resplits of the test rows, without the likeliest label where "
            "it is below the threshold",
            ["run", "task", "asked", "mean", "least", "most"],
            resplits,
        ),
        Table(
            f"The intents of snips, asked about the texts of hwu64: a coverage of {100 * SHIFT:g}",
            ["texts", *KEYS],
            shift,
        ),
        Table("Out of scope", ["run", "task", "refused", "found", "AUROC", "accuracy"], scope),
    ]
    note = f"Test splits, in percent: means over {len(seeds)} seeds. Encoder: {options.encoder}."
    write(options, {"seeds": seeds}, tables, [note])


def main(argv: list[str] | None = None) -> None:
    parser = seeds_parser("unsure", __doc__, epochs=0)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    options = start(parser, argv)
    report(options, measured_seeds(options, ("encoder", "runs", "epochs"), measure))


if __name__ == "__main__":
    main()
