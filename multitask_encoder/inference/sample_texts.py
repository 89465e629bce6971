"""A sample of the run's texts, left beside the model for whoever tries it or trains it further. It
is not published."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.files import read_json, write_json

SAMPLE_TEXTS = "sample_texts.json"
TEXTS, LONGEST = 50, 300  # characters of a text


def write_sample_texts(rows: dict[str, Dataset], folder: Path, earlier: Sequence[str] = ()) -> None:
    """Write up to 50 texts, spread evenly over these rows, to the run folder, and then the earlier
    ones. Without any, an earlier run's file goes.

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
    path = folder / SAMPLE_TEXTS
    if sample := [*dict.fromkeys([*(short[place] for place in places), *earlier])]:
        write_json({"texts": sample}, path)
    else:
        path.unlink(missing_ok=True)


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
