"""Means and standard deviations of numbers, whose unit then says nothing about how they are
learned."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from .soft_labels import Taught

ROWS_AT_ONCE = 10_000


def standardization(
    rows: Dataset, name: str, labels: Sequence[str], taught: Taught | None = None
) -> dict[str, dict[str, float]]:
    """The `mean` and the `std` of each number of a regression.

    Args:
        rows (`Dataset`): preprocessed training rows.
        name (`str`): the task's column.
        labels (`Sequence[str]`): the names of its numbers.
        taught (`Taught`, *optional*): what its teachers know of it: their numbers stand where a row
            has none.

    Returns:
        `dict[str, dict[str, float]]`: by label; a number that no row has is left out. `std` is
        above 0: 1 for a number that is the same in all rows.
    """
    soft = [f"{name}.soft", f"{name}.soft_ids"] if taught else []
    parts = [np.empty((0, len(labels)))]
    for batch in rows.select_columns([name, *soft]).iter(ROWS_AT_ONCE):
        numbers = np.array(batch[name], dtype=np.float64)
        if taught:
            columns = zip(*(batch[key] for key in soft), strict=True)
            given = [dict(zip(soft, values, strict=True)) for values in columns]
            targets = taught.batch(name, given, longest=0).double().numpy()
            numbers = np.where(np.isnan(numbers), targets, numbers)
        parts.append(numbers)
    found = {}
    for label, column in zip(labels, np.concatenate(parts).T, strict=True):
        known = column[~np.isnan(column)]
        if known.size:
            mean, std = float(known.mean()), float(known.std())
            same = std <= 1e-9 * abs(mean)  # but for rounding
            found[label] = {"mean": mean, "std": 1.0 if same else std}
    return found
