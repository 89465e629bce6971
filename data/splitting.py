"""Cuts a validation or test split off the training rows."""

import unicodedata
from collections import defaultdict

import numpy as np
from datasets import Dataset

from .dataset_arguments import SPLITS, DatasetArguments
from .normalization import FORMS
from .task_kinds import SINGLE_LABEL, kind_of


def cut_splits(
    splits: dict[str, Dataset], tasks: dict[str, dict], source: DatasetArguments, seed: int
) -> tuple[dict[str, Dataset], list[str]]:
    """Cut missing splits off the training rows, as `source` asks. Returns a note for each cut.

    Raises:
        ValueError: the split exists already, or there are no training rows.
    """
    notes = []
    main = next((name for name, task in tasks.items() if kind_of(task) is SINGLE_LABEL), None)
    fractions = [source.fraction(split) or 0 for split in SPLITS]
    if max(fractions) < 1 <= sum(fractions):
        raise ValueError(
            "validation_fraction and test_fraction should leave rows to train on. Found "
            f"{sum(fractions)} together."
        )
    total = len(splits.get("train", ()))
    for split in ("validation", "test"):
        fraction = source.fraction(split)
        if fraction is None:
            continue
        if split in splits or "train" not in splits:
            found = f"a {split} split" if split in splits else "no training rows"
            raise ValueError(
                f"{split}_fraction needs training rows and no {split} split. Found {found}."
            )
        if not 0 < fraction < 1:
            raise ValueError(f"{split}_fraction should be in (0, 1). Found {fraction}.")
        # A fraction of all rows, including those already cut off.
        share = fraction * total / len(splits["train"])
        try:
            splits["train"], splits[split] = split_off(splits["train"], share, main, seed)
        except ValueError as error:
            raise ValueError(f"{split}_fraction: {error}") from None
        by = f", stratified by {main}" if main else ""
        notes.append(
            f"There is no {split} split: cut {len(splits[split])} of {total} rows off the training "
            f"rows{by}, seed {seed}."
        )
    return splits, notes


def split_off(
    rows: Dataset, fraction: float, stratify_by: str | None, seed: int
) -> tuple[Dataset, Dataset]:
    """Divide loaded rows into rows to train on and held-out rows.

    Rows of the same text stay together, so that no held-out text is trained on. Each label of the
    task `stratify_by` (that of a text's first row) gives its share of texts, at least none and at
    most all but one.

    Args:
        rows (`Dataset`): loaded rows.
        fraction (`float`): of the texts, in (0, 1).
        stratify_by (`str`, *optional*): a single-label task; without one all rows are one stratum.
        seed (`int`): decides which texts are held out.

    Raises:
        ValueError: the fraction is outside (0, 1), or leaves no held-out row.
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
    # The remainder of rounding goes to the next stratum, so that rare labels add up; at most half a
    # text, or one stratum would have to make up for many strata of a single text.
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
        raise ValueError(
            f"{fraction} of {len(rows)} training rows is no row: give more rows, or a file."
        )
    stay = [index for index in range(len(rows)) if index not in chosen_rows]
    return rows.select(stay), rows.select(sorted(chosen_rows))


def hash_of(text: str | list[str]) -> int:
    """A hash of a row's text, 8 bytes, for comparing texts; the same for a text in words, and
    whatever its case, blanks and Unicode form."""
    joined = text if isinstance(text, str) else "".join(text)
    return hash("".join(unicodedata.normalize("NFKC", joined).casefold().split()))
