"""One model in place of three: teachers of one task each, and the model that learns from them.

    python -m benchmarks.fusing --data_dir DIR [--seeds 0 1 2] [--rows 2000] [--pile 11000]

Teachers learn the intents and the slots of SNIPS and the sentiment of uci_sentences, from `--rows`
rows or from half of them, in `--epochs`. The fused model learns from the texts of other rows alone,
without labels, as long as `fuse` does, and keeps the encoder's embedding. DIR is as for
benchmarks.quality. Finished seeds are in seeds.jsonl of the output folder, and are skipped.
"""

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.quality.data import DATA_SETS, read, text_of, write_rows
from benchmarks.reporting import Table, write
from benchmarks.runs import measured_seeds, run, seeds_parser
from benchmarks.workload import start
from multitask_encoder.cli.fuse import keys_of

TASKS = {"intent": "snips", "slots": "snips", "sentiment": "uci_sentences"}
STS = "STS"


def write_files(options: argparse.Namespace, folder: Path, seed: int) -> None:
    """The teachers' rows by data set and split, and the pile: texts of training rows that no
    teacher learns from, of each data set at most half."""
    pile: list[str] = []
    for name in sorted(set(TASKS.values())):
        splits = read(Path(options.data_dir), name)
        order = np.random.default_rng(seed).permutation(len(splits["train"]))
        number = min(options.rows, len(order) // 2)
        rest = order[number:][: options.pile // 2]
        pile += [text_of(splits["train"][index]) for index in rest]
        splits["train"] = [splits["train"][index] for index in order[:number]]
        for split, rows in splits.items():
            write_rows(folder / f"{name}.{split}.jsonl", rows)
    texts = [{"text": pile[index]} for index in np.random.default_rng(seed).permutation(len(pile))]
    write_rows(folder / "pile.jsonl", texts)


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """By task the `teacher` and the `fused` model on the test split, and their `agreement`; of STS
    the encoder before and after. In percent."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_files(options, folder, seed)
        same: dict[str, Any] = {"num_train_epochs": options.epochs, "seed": seed}
        for task, name in TASKS.items():
            files = {
                f"{split}_file": str(folder / f"{name}.{split}.jsonl")
                for split in ("train", "validation")
            }
            keys: dict[str, Any] = {
                "encoder": options.encoder,
                "tasks": {task: {"type": _type(task)}},
                **files,
            }
            run(folder, {**keys, **same, "do_test": False, "output_dir": str(folder / task)})
        models = [f"{task}={folder / task}" for task in TASKS]
        keys = keys_of([*models, f"embedding={options.encoder}"], [str(folder / "pile.jsonl")])
        for name in set(TASKS.values()):
            columns = {task: task for task in TASKS if TASKS[task] == name}
            rows = {"test_file": str(folder / f"{name}.test.jsonl"), "columns": columns}
            keys["datasets"][name] = rows
        output = str(folder / "fused")
        keys |= {"encoder": options.encoder, "seed": seed, "output_dir": output}
        found = run(folder, keys)
        cosines = [_sts(options, folder, one) for one in ("encoder", "model")]
    beside = {(row["task"], row["model"] == "this model"): row for row in found["teachers"]}
    percents = {
        task: {
            "teacher": 100 * beside[task, False]["metric"],
            "fused": 100 * beside[task, True]["metric"],
            "agreement": 100 * beside[task, False]["agreement"],
        }
        for task in TASKS
    }
    return percents | {STS: {"teacher": 100 * cosines[0], "fused": 100 * cosines[1]}}


def _type(task: str) -> str:
    return DATA_SETS[TASKS[task]].tasks[task]


def _sts(options: argparse.Namespace, folder: Path, key: str) -> float:
    """The rank correlation with scored pairs of the encoder, or of the fused model."""
    found = run(
        folder,
        {
            key: options.encoder if key == "encoder" else str(folder / "fused"),
            "tasks": {"embedding": {"type": "sentence_embedding", "column": "score"}},
            "test_file": str(Path(options.data_dir, "sts", "test.jsonl")),
            "text_column": ["sentence1", "sentence2"],
            "do_train": False,
            "output_dir": str(folder / f"sts-{key}"),
        },
    )
    return found["test_embedding_spearman"]


def report(options: argparse.Namespace, seeds: dict[int, dict[str, dict[str, float]]]) -> None:
    """Write the means over the seeds."""

    def mean(name: str, key: str) -> float | None:
        values = [of[name][key] for of in seeds.values() if key in of[name]]
        return statistics.fmean(values) if values else None

    rows: list[list[Any]] = []
    for name in (*TASKS, STS):
        lost = [of[name]["fused"] - of[name]["teacher"] for of in seeds.values()]
        sides = [mean(name, key) for key in ("teacher", "fused")]
        rows.append([name, *sides, statistics.fmean(lost), mean(name, "agreement")])
    note = (
        f"Test splits, in percent: means over {len(seeds)} seeds; up to {options.rows} rows for "
        f"each teacher, in {options.epochs} epochs; up to {options.pile} texts without labels for "
        f"the fused model, as long as its defaults have it. Encoder: {options.encoder}."
    )
    header = ["task", "teacher", "fused", "difference", "agreement"]
    write(options, {"seeds": seeds}, [Table("One model beside its teachers", header, rows)], [note])


def main(argv: list[str] | None = None) -> None:
    parser = seeds_parser("fusing", __doc__, epochs=6)
    parser.add_argument("--rows", type=int, default=2000, help="of each teacher; default: 2000")
    parser.add_argument("--pile", type=int, default=11000, help="texts; default: 11000")
    options = start(parser, argv)
    report(options, measured_seeds(options, ("encoder", "rows", "pile", "epochs"), measure))


if __name__ == "__main__":
    main()
