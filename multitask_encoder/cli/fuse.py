"""Make one model of several finished ones, from texts without labels.

    multitask-encoder fuse intent=runs/intent entities=someone/bert-ner \\
        embedding=backbones/mpnet --texts 'pile/*.txt' --output_dir runs/fused

NAME=MODEL is a task of the new model and its teacher: a finished model of this package (its task of
that name, or its only one), or one that AutoModelForSequenceClassification or
AutoModelForTokenClassification loads. A NAME that is given several times has several teachers,
which are averaged. Of a task named `embedding`, the teacher may be any sentence encoder.

--texts takes files or globs: .txt with one text per line, or tables with a column `text`, where a
column with a task's name has labels. Rows that can't be read are left out, and written to a file.
A tenth is kept apart, to measure how often the new model agrees with its teachers. All keys of
`train` may follow, such as --encoder, --num_train_epochs, or --datasets.mine.test_file with rows
that have labels. The run folder gets config.yaml, which `train` runs again.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multitask_encoder.arguments.tasks import EMBEDDING
from multitask_encoder.data.records import ending_of
from multitask_encoder.training.teacher_config import task_of_teacher

from . import run
from .errors import fail, refusing

TEXTS = "--texts"
VALIDATION = 0.1  # of the texts
WEIGHT = 3  # of the embedding, against the sum over a row's tokens


def main(argv: Sequence[str] | None = None) -> None:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or "--help" in argv or "-h" in argv:
        print(__doc__)
        sys.exit(0 if argv else 2)
    models, texts, others = split_arguments(argv)
    if not texts:
        fail(f"{TEXTS} should name the files of texts. Found none.")
    with refusing():
        keys = keys_of(models, texts)
    run.main(others, keys)


def split_arguments(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    """NAME=MODEL words, the files of texts, and what `train` takes."""
    first = next((i for i, word in enumerate(argv) if word.startswith("--")), len(argv))
    models, rest = argv[:first], argv[first:]
    texts: list[str] = []
    others: list[str] = []
    into = others
    for word in rest:
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            into = texts if name == TEXTS else others
            into += ([value] if has_value else []) if name == TEXTS else [word]
        else:
            into.append(word)
    return models, texts, others


def keys_of(models: list[str], texts: list[str]) -> dict[str, Any]:
    """The keys of the run. Raises as `task_of_teacher`, and a ValueError for a word that is no
    NAME=MODEL."""
    teachers: dict[str, list[str]] = {}
    for word in models:
        name, _, model = word.partition("=")
        if not name or not model:
            raise ValueError(f"A task and its teacher should be NAME=MODEL. Found {word!r}.")
        teachers.setdefault(name, []).append(os.path.expanduser(model))
    if not teachers:
        raise ValueError("There should be a NAME=MODEL for each task. Found none.")
    tasks = {name: task_of_teacher(folders[0], name) for name, folders in teachers.items()}
    embeddings = [task for task in tasks.values() if task["type"] == EMBEDDING]
    if len(embeddings) == len(tasks):
        raise ValueError("One of the tasks should have labels. Found only embeddings.")
    for task in embeddings:
        task["weight"] = WEIGHT
    lines = [ending_of(Path(name)) == ".txt" for name in texts]
    if any(lines) and not all(lines):
        raise ValueError(f"{TEXTS} should be .txt files or tables. Found both.")
    pile = {"train_file": texts, "validation_fraction": VALIDATION}
    return {
        "output_dir": "runs/fused",
        "on_bad_row": "skip",
        "tasks": tasks,
        "teachers": teachers,
        "datasets": {"pile": pile | ({"format": "text"} if all(lines) else {})},
    }
