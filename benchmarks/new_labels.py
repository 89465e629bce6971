"""What a head forgets when it gets new labels: half of a task's labels are added to the other half.

    python -m benchmarks.new_labels --data_dir DIR [--seeds 0 1 2] [--rows 4000] [--epochs 5]

Intents and entity types of hwu64, each in two halves drawn by seed. A first model learns the old
half, and another starts from it and learns the new half from other rows, on which the old half is
not marked: rows of the new intents alone, and rows whose entities of old types are left out. A
model trained on the rows of both halves, with all labels, is the reference. DIR is as for
benchmarks.quality. Finished seeds are in seeds.jsonl of the output folder, and are skipped.
"""

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.quality.data import METRICS, TOKENS, Rows, draw, read, text_of, write_rows
from benchmarks.reporting import Table, write
from benchmarks.runs import measured_seeds, run, seeds_parser
from benchmarks.workload import start
from multitask_encoder.data.label_alignment import join_words, spans_to_tags
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.modeling import MultiTaskPipeline

DATA = "hwu64"
TASKS = ("intent", "slots")
HALVES = ("old", "new")
OWN = "among its own"
MODELS = ("before", "grown", "at once")
Splits = dict[str, Rows]  # by model


def only(tags: list[str], types: set[str]) -> list[str]:
    """Tags without those of other types."""
    return [tag if tag[2:] in types else "O" for tag in tags]


def of_half(rows: list[dict], task: str, kind: str, labels: set[str]) -> list[dict]:
    """Rows of these classes; of tags all rows, without other types."""
    if kind == TOKENS:
        return [{**row, task: only(row[task], labels)} for row in rows]
    return [row for row in rows if row[task] in labels]


def splits_of(splits: Rows, task: str, kind: str, halves: list[set[str]], most: int) -> Splits:
    """By model the rows to learn from and to choose by: at most `most` of each half."""
    parts: Splits = {model: {} for model in MODELS}
    for split in ("train", "validation"):
        both: list[dict] = []
        for index, (model, labels) in enumerate(zip(MODELS, halves, strict=False)):
            rows = splits[split]
            if kind == TOKENS:  # no row is in both halves
                rows = rows[index :: len(halves)]
            else:
                rows = of_half(rows, task, kind, labels)
            parts[model][split] = of_half(rows[:most], task, kind, labels)
            both += rows[:most]
        parts["at once"][split] = both
    return parts


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """By task and model the accuracy, or F1, of each half of the labels on the test split, in
    percent; of intents, also among the half's own."""
    sample = draw(DATA, read(Path(options.data_dir), DATA), "all", seed)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for task in TASKS:
        kind = sample.tasks[task]
        names = sample.labels[task]
        if kind == TOKENS:
            names = sorted({label[2:] for label in names} - {""})
        order = np.random.default_rng(seed).permutation(len(names))
        halves = [{names[index] for index in part} for part in np.array_split(order, len(HALVES))]
        models = splits_of(sample.splits, task, kind, halves, options.rows)
        found[task] = {}
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for model, splits in models.items():
                files = {split: folder / f"{model}-{split}.jsonl" for split in splits}
                for split, rows in splits.items():
                    write_rows(files[split], rows)
                grows = model == "grown"
                run(
                    folder,
                    {
                        **({"model": str(folder / "before")} if grows else {}),
                        **({} if grows else {"encoder": options.encoder}),
                        "tasks": {task: {"type": kind}},
                        **{f"{split}_file": str(path) for split, path in files.items()},
                        "do_test": False,
                        "num_train_epochs": options.epochs,
                        "seed": seed,
                        "output_dir": str(folder / model),
                    },
                )
                known = halves[:1] if model == "before" else halves
                pipeline = load_pipeline(str(folder / model))
                found[task][model] = {
                    title: value
                    for half, labels in zip(HALVES, known, strict=False)
                    for title, value in _scored(
                        pipeline, sample.splits["test"], task, kind, labels, half
                    ).items()
                }
                print(f"seed {seed}, {task}, {model}: {found[task][model]}", flush=True)
    return found


def _scored(
    pipeline: MultiTaskPipeline, rows: list[dict], task: str, kind: str, labels: set[str], half: str
) -> dict[str, float]:
    """The main metric over the test rows of a half. Entities of other types are left out of the
    answers; of classes there is a second one, with the likeliest of the half as the answer."""
    rows = of_half(rows, task, kind, labels)
    answers = pipeline([text_of(row) for row in rows], batch_size=32)
    expected = [row[task] for row in rows]
    metric = METRICS[kind]

    def value(predicted: list[Any], expected: list[Any]) -> float:
        return 100 * metric().compute(predictions=predicted, references=expected)[metric.main]

    if kind == TOKENS:
        words = [join_words(row["tokens"])[1] for row in rows]
        predicted = [
            only(spans_to_tags(answer["entities"][task], ranges)[0], labels)
            for answer, ranges in zip(answers, words, strict=True)
        ]
        return {half: value(predicted, expected)}
    ids = {label: index for index, label in enumerate(sorted(labels))}
    scores = [answer["labels"][task]["scores"] for answer in answers]
    wanted = [ids[label] for label in expected]
    best = [ids.get(max(of, key=of.__getitem__), len(ids)) for of in scores]
    best_of_own = [ids[max(ids, key=of.__getitem__)] for of in scores]
    return {half: value(best, wanted), f"{half}, {OWN}": value(best_of_own, wanted)}


def report(options: argparse.Namespace, seeds: dict[int, Any]) -> None:
    """Write the means over the seeds."""
    rows: list[list[Any]] = []
    for task in TASKS:
        for title in dict.fromkeys(one for of in seeds.values() for one in of[task]["grown"]):
            values = [
                [of[task][model][title] for of in seeds.values() if title in of[task][model]]
                for model in MODELS
            ]
            before, grown, _ = means = [statistics.fmean(one) if one else None for one in values]
            lost = None if before is None or grown is None else before - grown
            rows.append([f"{task}, {title}", *means, lost])
    note = (
        f"Test split of {DATA}, in percent (accuracy of intents, F1 of entities): means over "
        f"{len(seeds)} seeds. {OWN.capitalize()}: the likeliest of the half's intents is the "
        f"answer. Up to {options.rows} rows of each half, {options.epochs} epochs. "
        f"Encoder: {options.encoder}."
    )
    table = Table("A task gets new labels", ["labels of a half", *MODELS, "lost"], rows)
    write(options, {"seeds": seeds}, [table], [note])


def main(argv: list[str] | None = None) -> None:
    parser = seeds_parser("new_labels", __doc__, epochs=5)
    parser.add_argument("--rows", type=int, default=4000, help="of each half; default: 4000")
    options = start(parser, argv)
    report(options, measured_seeds(options, ("encoder", "rows", "epochs"), measure))


if __name__ == "__main__":
    main()
