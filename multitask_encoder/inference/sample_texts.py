"""A sample of the run's texts, left beside the model for whoever tries it or trains it further. It
is not published."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.files import read_json, write_json

SAMPLE_TEXTS = "sample_texts.json"
TEXTS, LONGEST = 50, 300  # characters of a text
OF_LABEL = 64  # texts: a model that gets new labels is held to each of its old ones
MOST_ROWS = 5_000  # of a data set that are looked through


def write_sample_texts(
    validation: Mapping[str, Dataset],
    train: Mapping[str, Dataset],
    tasks: Mapping[str, dict],
    folder: Path,
    earlier: Sequence[str] = (),
) -> None:
    """Write some of these rows' texts to the run folder, and then the earlier ones: 50 validation
    rows', spread evenly, and more until each class and entity type has 64, of validation rows first
    and then of training rows. Without any, an earlier run's file goes.

    Args:
        validation, train (`Mapping[str, Dataset]`): loaded rows by data set.
        tasks (`Mapping[str, dict]`): by name, as in the model's config.
        folder (`Path`): of the run.
        earlier (`Sequence[str]`): a sample that the model has from before.
    """
    measured, learned = (_labels_by_text(rows, tasks) for rows in (validation, train))
    texts = [*measured]
    chosen = dict.fromkeys(texts[place] for place in _spread(len(texts), TEXTS))
    counts = Counter(label for text in chosen for label in measured[text])
    for labels in (measured, learned):
        for text, of_text in labels.items():
            if text not in chosen and any(counts[label] < OF_LABEL for label in of_text):
                chosen[text] = None
                counts.update(of_text)
    path = folder / SAMPLE_TEXTS
    if sample := [*dict.fromkeys([*chosen, *earlier])]:
        write_json({"texts": sample}, path)
    else:
        path.unlink(missing_ok=True)


def _labels_by_text(
    rows: Mapping[str, Dataset], tasks: Mapping[str, dict]
) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for part in rows.values():
        for row in part.select(_spread(len(part), MOST_ROWS)):
            text = text_and_words(row)[0]
            if text.strip() and len(text) <= LONGEST:
                found.setdefault(text, [*_labels(row, tasks)])
    return found


def _spread(size: int, most: int) -> list[int]:
    """At most so many places of so many, evenly spread."""
    return [int(place) for place in np.linspace(0, size - 1, min(size, most), dtype=int)]


def _labels(row: dict, tasks: Mapping[str, dict]) -> Iterator[tuple[str, str]]:
    """The classes and entity types of a loaded row, each once and with its task."""
    for name, task in tasks.items():
        kind, label = kind_of(task), row.get(name)
        if label is not None and not kind.numeric:
            yield from ((name, one) for one in dict.fromkeys(kind.names(label)))


def read_sample_texts(folder: Path) -> list[str] | None:
    """The texts that a run left in its folder, if it did.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    path = folder / SAMPLE_TEXTS
    if not path.is_file():
        return None
    content = read_json(path)
    texts = content.get("texts") if isinstance(content, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f'{path} should hold {{"texts": [...]}}, a list of strings.')
    return texts
