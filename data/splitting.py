"""A validation or test split cut off the training rows."""

from collections import defaultdict

import numpy as np
from datasets import Dataset

from .normalization import FORMS


def split_off(
    rows: Dataset, fraction: float, stratify_by: str | None, seed: int
) -> tuple[Dataset, Dataset]:
    """Divide loaded rows into those that stay and those that are held out.

    Rows of the same text stay together, so that no held-out text is trained on. Each label of the
    task `stratify_by` (that of a text's first row) gives its share of texts, at least none and at
    most all but one.

    Args:
        rows (`Dataset`): loaded rows.
        fraction (`float`): of the texts, in (0, 1).
        stratify_by (`str`, *optional*): a single-label task; without one all rows are one stratum.
        seed (`int`): decides which.

    Raises:
        ValueError: a fraction outside (0, 1), or one that leaves one side without a row.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"A fraction of the training rows should be in (0, 1). Found {fraction}.")
    (column,) = set(FORMS) & set(rows.column_names)
    labels = rows[stratify_by][:] if stratify_by else [None] * len(rows)
    by_text: dict[int, list[int]] = defaultdict(list)
    for index, text in enumerate(rows[column]):
        by_text[hash_of(text)].append(index)
    strata: dict[str | None, list[list[int]]] = defaultdict(list)
    for same in by_text.values():
        strata[labels[same[0]]].append(same)

    random = np.random.default_rng(seed)
    held_out: list[int] = []
    # What rounding kept back goes to the next stratum, so that rare labels add up; never more than
    # half a text, or one stratum would have to make up for many of a single text.
    carry = 0.0
    for label in sorted(strata, key=str):
        texts = strata[label]
        wanted = len(texts) * fraction + carry
        count = min(round(wanted), len(texts) - 1)
        carry = min(wanted - count, 0.5)
        for chosen in random.permutation(len(texts))[:count]:
            held_out += texts[chosen]
    chosen_rows = set(held_out)
    if not chosen_rows:
        raise ValueError(f"{fraction} of {len(rows)} training rows is none; give more, or a file.")
    stay = [index for index in range(len(rows)) if index not in chosen_rows]
    return rows.select(stay), rows.select(sorted(chosen_rows))


def hash_of(text: str | list[str]) -> int:
    """What stands for a row's text where texts are compared; 8 bytes, whatever its length."""
    return hash(text if isinstance(text, str) else " ".join(text))
