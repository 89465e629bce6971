"""The data sets: the same rows for every contestant, drawn by budget and seed, and their scores."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multitask_encoder.data.dataset_arguments import SPLITS
from multitask_encoder.data.label_alignment import join_words, spans_to_tags
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.training.metrics import ClassificationMetric, EntityMetric, PairMetric

SENTENCE, TOKENS = "sequence_classification", "token_classification"
METRICS = {SENTENCE: ClassificationMetric, TOKENS: EntityMetric}
BUDGETS = ("few", "500", "2000", "all")
ROWS_PER_CLASS, FEW_ROWS = 10, 100  # of `few`
NEARLY_ALL = 0.8  # a budget above this share of all rows is left out: `all` says the same


class DataSet(NamedTuple):
    """Tasks with their types, and the sentence task that `few` takes ROWS_PER_CLASS of (None: it
    takes FEW_ROWS in all)."""

    tasks: dict[str, str]
    classes: str | None = None


DATA_SETS = {
    "snips": DataSet({"intent": SENTENCE, "slots": TOKENS}, "intent"),
    "crossner": DataSet({"topic": SENTENCE, "ner_tags": TOKENS}),
    "uci_sentences": DataSet({"topic": SENTENCE, "sentiment": SENTENCE}),
    "wnut17": DataSet({"tags": TOKENS}),
    "hwu64": DataSet({"scenario": SENTENCE, "intent": SENTENCE, "slots": TOKENS}, "intent"),
    "clinc150": DataSet({"intent": SENTENCE}, "intent"),
}
Rows = dict[str, list[dict]]  # by split


def read_pairs(folder: Path) -> list[dict]:
    """The test pairs of STS.

    Raises:
        OSError: the file is missing.
    """
    return json_lines(folder / "sts" / "test.jsonl")


def correlation(encode: Callable[[list[str]], np.ndarray], pairs: Sequence[dict]) -> float:
    """Spearman correlation of the cosines of vectors and people's scores of pairs of sentences."""
    first, second = (
        np.asarray(encode([pair[key] for pair in pairs])) for key in ("sentence1", "sentence2")
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(1) / lengths
    return PairMetric().compute(
        predictions=cosines[:, None].tolist(), references=[[pair["score"]] for pair in pairs]
    )["spearman"]


def json_lines(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read(folder: Path, name: str) -> Rows:
    """All rows of a data set: `text` or `tokens`, and a label or a tag per word for each task.

    Raises:
        OSError: a file is missing.
    """
    splits: Rows = {}
    for split in SPLITS:
        path = folder / name / f"{split}.conll"
        if path.exists():
            (task,) = DATA_SETS[name].tasks
            splits[split] = _conll(path.read_text(encoding="utf-8"), task)
        else:
            rows = json_lines(path.with_suffix(".jsonl"))
            splits[split] = [_in_words(row, name) for row in rows]
    return splits


def _conll(content: str, task: str) -> list[dict]:
    blocks = re.split(r"\n\s*\n", content.strip())
    rows = ([line.split("\t") for line in block.split("\n")] for block in blocks)
    return [{"tokens": [word for word, _ in row], task: [tag for _, tag in row]} for row in rows]


def _in_words(row: dict, name: str) -> dict:
    """The row, with character spans as tags of all words that they touch."""
    tagged = [task for task, kind in DATA_SETS[name].tasks.items() if kind == TOKENS]
    if not tagged or "tokens" in row:
        return row
    words = row.pop("text").split(" ")
    _, ranges = join_words(words)
    for task in tagged:
        spans = sorted(row[task], key=itemgetter("start"))
        row[task], _, _ = spans_to_tags(spans, ranges)
    return {"tokens": words, **row}


class Sample(NamedTuple):
    """What a contestant gets.

    Args:
        tasks (`dict[str, str]`): name to type.
        labels (`dict[str, list[str]]`): all labels of each task, also those of no training row.
        splits (`dict[str, list[dict]]`): rows of `text` or `tokens`, and a label or tags per task.
        pairs (`Sequence[dict]`, *optional*): scored pairs of other sentences.
    """

    tasks: dict[str, str]
    labels: dict[str, list[str]]
    splits: Rows
    pairs: Sequence[dict] = ()

    def sentence_tasks(self) -> list[str]:
        return [name for name, kind in self.tasks.items() if kind == SENTENCE]

    def texts(self, split: str) -> list[str]:
        return [text_of(row) for row in self.splits[split]]

    def main_metric(self, task: str) -> str:
        """Accuracy, or F1 of whole entities."""
        return f"{task}_{METRICS[self.tasks[task]].main}"

    def metric_names(self) -> list[str]:
        """The metrics that are kept of all tasks together."""
        names = [self.main_metric(task) for task in self.tasks]
        names += [f"{task}_macro_f1" for task in self.sentence_tasks()]
        return [*names, *(["exact_match"] if len(self.tasks) > 1 else [])]


def text_of(row: dict) -> str:
    """The text of a row of words, or of text."""
    return row["text"] if "text" in row else " ".join(row["tokens"])


def write_rows(path: Path, rows: list[dict]) -> None:
    """A file of JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def budgets(splits: Rows) -> list[str]:
    """The budgets that a data set has enough rows for."""
    limit = NEARLY_ALL * len(splits["train"])
    return [one for one in BUDGETS if not one.isdigit() or int(one) <= limit]


def draw(name: str, splits: Rows, budget: str, seed: int, pairs: Sequence[dict] = ()) -> Sample:
    """Training rows by budget and seed (larger numbers begin with the smaller ones' rows),
    validation rows at most as many, all test rows, and all pairs."""
    tasks, classes = DATA_SETS[name]
    generator = np.random.default_rng(seed)
    train, validation = (
        [splits[split][index] for index in generator.permutation(len(splits[split]))]
        for split in ("train", "validation")
    )
    if budget == "few" and classes:
        by_class: dict[str, list[dict]] = defaultdict(list)
        for row in train:
            by_class[row[classes]].append(row)
        train = [row for rows in by_class.values() for row in rows[:ROWS_PER_CLASS]]
    elif budget != "all":
        train = train[: FEW_ROWS if budget == "few" else int(budget)]
    labels = {task: _labels(splits, task, kind) for task, kind in tasks.items()}
    rows = {"train": train, "validation": validation[: len(train)], "test": splits["test"]}
    return Sample(tasks, labels, rows, pairs)


def _labels(splits: Rows, task: str, kind: str) -> list[str]:
    """All labels of a task, as a run collects them."""
    values = [row[task] for rows in splits.values() for row in rows]
    if kind == TOKENS:
        values = [tag[2:] for tags in values for tag in tags if tag != "O"]
    return kind_of({"type": kind}).collected(task, set(values)) or []


def score(sample: Sample, split: str, answers: dict[str, list]) -> dict[str, float]:
    """The metrics of answers (labels, or tags per word), computed as those of this package's runs:
    `<task>_<metric>`, and `exact_match` if all tasks were answered."""
    rows = sample.splits[split]
    found: dict[str, float] = {}
    for task, predicted in answers.items():
        expected, labels = [row[task] for row in rows], sample.labels[task]
        if sample.tasks[task] == SENTENCE:
            predicted, expected = ([labels.index(x) for x in y] for y in (predicted, expected))
        metric = METRICS[sample.tasks[task]]()
        values = metric.compute(predictions=predicted, references=expected)
        found |= {f"{task}_{key}": value for key, value in values.items()}
    if answers.keys() == sample.tasks.keys():
        right = [
            all(answers[task][index] == row[task] for task in answers)
            for index, row in enumerate(rows)
        ]
        found["exact_match"] = sum(right) / len(right)
    return {name: found[name] for name in sample.metric_names() if name in found}
