"""A sample of the run's texts, left beside the model for whoever tries it or trains it further. It
is not published."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.files import write_json

SAMPLE_TEXTS = "sample_texts.json"
TEXTS, LONGEST = 50, 300  # characters of a text


def write_sample_texts(rows: dict[str, Dataset], folder: Path, earlier: Sequence[str] = ()) -> None:
    """Write texts from all over these rows to the run folder, and then the earlier ones; nothing
    where all are too long.

    Args:
        rows (`dict[str, Dataset]`): loaded rows by data set.
        earlier (`Sequence[str]`): a sample that the model has from before.
    """
    texts: list[str] = []
    for part in rows.values():
        places = np.linspace(0, len(part) - 1, min(len(part), 4 * TEXTS), dtype=int)
        texts += [text_and_words(part[int(place)])[0] for place in places]
    short = [text for text in dict.fromkeys(texts) if text.strip() and len(text) <= LONGEST]
    places = np.linspace(0, len(short) - 1, min(len(short), TEXTS), dtype=int)
    if sample := [*dict.fromkeys([*(short[place] for place in places), *earlier])]:
        write_json({"texts": sample}, folder / SAMPLE_TEXTS)


def read_sample_texts(folder: Path) -> list[str] | None:
    """The texts that a run left in its folder, if it did."""
    path = folder / SAMPLE_TEXTS
    return json.loads(path.read_text(encoding="utf-8"))["texts"] if path.is_file() else None
