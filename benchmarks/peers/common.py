"""What every runner shares: its options, the rows, two clocks, and the file that it writes.

A runner trains one peer on the first rows of `train.jsonl`, answers the first rows of `test.jsonl`
and writes its answers and how long both took. It scores nothing: `compare.py` does, for all alike.
Standard library only, for every peer's environment runs this file.

    {"name": ..., "versions": {package: version}, "note": ...,
     "train": {"wall": s, "processor": s, "sentences": n} or null where a peer trains nothing,
     "predict": {"wall": s, "processor": s, "sentences": n},
     "answers": [{"intent": label or null, "slots": [a tag per word] or null}, ...]}

`train` is the training calls, summed where a peer needs several models; data and model are loaded
by then, and nothing is evaluated. `predict` is words or text in, answers out.
"""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path

LEARNING_RATE = 3e-4  # that of configs/snips.yaml, for all who take one
WARMUP = 0.1


def options_parser(doc: str) -> argparse.ArgumentParser:
    """The options that `compare.py` hands on to every runner."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--encoder", default="backbones/minilm", help="folder of the encoder")
    parser.add_argument("--rows", type=int, default=2000, help="training rows, the first ones")
    parser.add_argument("--test_rows", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def options_and_rows() -> tuple[argparse.Namespace, list[dict], list[dict]]:
    """A runner's options, training rows and test rows."""
    parser = options_parser(__doc__)
    parser.add_argument("--output", required=True, help="file to write the result to")
    options = parser.parse_args()
    # As a path that no library takes for a Hub id.
    options.encoder = str(Path(options.encoder).resolve())
    folder = Path(options.data)
    train_rows = read_rows(folder / "train.jsonl", options.rows)
    return options, train_rows, read_rows(folder / "test.jsonl", options.test_rows)


def read_rows(path: Path, limit: int) -> list[dict]:
    """The first rows: `{"tokens": [...], "slots": [...], "intent": ...}`."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, limit)]


def trainer_settings(options: argparse.Namespace, folder: str) -> dict:
    """Keys of transformers' `TrainingArguments` for all who train with its Trainer."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": options.batch_size,
        "num_train_epochs": options.epochs,
        "learning_rate": LEARNING_RATE,
        "seed": options.seed,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }


def text_of(row: dict) -> str:
    return " ".join(row["tokens"])


def label_lists(rows: list[dict]) -> tuple[list[str], list[str]]:
    """Intents, and tags with `O` first."""
    intents = sorted({row["intent"] for row in rows})
    tags = sorted({tag for row in rows for tag in row["slots"]} - {"O"})
    return intents, ["O", *tags]


def complete_tags(rows: list[dict]) -> list[str]:
    """`O`, and `B-` and `I-` of every type there is."""
    types = sorted({tag[2:] for row in rows for tag in row["slots"] if tag != "O"})
    return ["O", *(f"{prefix}-{one}" for one in types for prefix in "BI")]


def spans_of(tags: list[str]) -> list[tuple[int, int, str]]:
    """Entities as `(first word, one past the last word, type)`."""
    spans: list[tuple[int, int, str]] = []
    for index, tag in enumerate(tags):
        if tag == "O":
            continue
        kind = tag[2:]
        if tag[0] == "I" and spans and spans[-1][1:] == (index, kind):
            spans[-1] = (spans[-1][0], index + 1, kind)
        else:
            spans.append((index, index + 1, kind))
    return spans


def tags_of(count: int, spans: list[tuple[int, int, str]]) -> list[str]:
    """The reverse of `spans_of`, for so many words; where spans overlap the first one stays.

    A span of no words is none.
    """
    tags = ["O"] * count
    for first, last, kind in spans:
        if first < last and all(tag == "O" for tag in tags[first:last]):
            tags[first:last] = [f"B-{kind}"] + [f"I-{kind}"] * (last - first - 1)
    return tags


def bio_tags(row: dict) -> list[str]:
    """The row's tags, where every entity begins with `B-`."""
    return tags_of(len(row["tokens"]), spans_of(row["slots"]))


def word_starts(tokens: list[str]) -> list[int]:
    """Where each word begins in `text_of` its row."""
    starts, position = [], 0
    for token in tokens:
        starts.append(position)
        position += len(token) + 1
    return starts


def words_between(tokens: list[str], start: int, end: int) -> tuple[int, int]:
    """The words that characters `start` to `end` of the text touch: first, one past the last."""
    touched = [
        index
        for index, first in enumerate(word_starts(tokens))
        if first < end and start < first + len(tokens[index])
    ]
    return (touched[0], touched[-1] + 1) if touched else (0, 0)


class Timer:
    """Wall and processor seconds of the `with` blocks that it is used for, summed."""

    def __init__(self):
        self.wall = self.processor = 0.0

    def __enter__(self):
        self._wall, self._processor = time.perf_counter(), _processor_seconds()
        return self

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self._wall
        self.processor += _processor_seconds() - self._processor

    def result(self, sentences: int) -> dict:
        return {"wall": self.wall, "processor": self.processor, "sentences": sentences}


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def write_result(
    options: argparse.Namespace,
    packages: list[str],
    train: dict | None,
    predict: dict,
    answers: list[dict],
    note: str,
) -> None:
    result = {
        "name": Path(sys.argv[0]).stem.removeprefix("run_"),
        "versions": {package: version(package) for package in packages},
        "train": train,
        "predict": predict,
        "answers": answers,
        "note": note,
    }
    Path(options.output).write_text(json.dumps(result), encoding="utf-8")
