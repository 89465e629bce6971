"""Class weights that make rare labels count as much as frequent ones."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

ROWS_AT_ONCE = 10_000


def balanced_weights(rows: Dataset, name: str, task: dict) -> dict[str, float]:
    """Weights by which every class has the same share of a task's loss.

    Of one label per text or token: `n / (k * n_c)` for a class with `n_c` of the `n` labels, where
    `k` classes have any; as `compute_class_weight` of scikit-learn, so that the mean weight of the
    labels is 1. Of several labels per text: the texts without the label, divided by those with it.

    Args:
        rows (`Dataset`): preprocessed training rows: the labels are those that the loss sees, each
            once; of token tasks those of all labelled tokens, `O` included.
        name (`str`): the task's column.
        task (`dict`): with `labels` and `problem_type`.

    Returns:
        `dict[str, float]`: by label, above 0; 1 for a label that no row has, and, where a text may
        have several, for one that every row has.
    """
    labels = task["labels"]
    several = task["problem_type"] == "multi_label_classification"
    counts, known = np.zeros(len(labels)), np.zeros(len(labels))
    for table in rows.select_columns(name).with_format("arrow").iter(ROWS_AT_ONCE):
        column = table[name]
        values = np.asarray(pc.list_flatten(column) if pa.types.is_list(column.type) else column)
        if several:
            values = values.reshape(-1, len(labels))
            counts += np.nansum(values, axis=0)
            known += (~np.isnan(values)).sum(axis=0)
        else:
            counts += np.bincount(values[values >= 0], minlength=len(labels))
    others = known - counts if several else counts.sum() / max(np.count_nonzero(counts), 1)
    weights = np.divide(others, counts, out=np.zeros(len(labels)), where=counts > 0)
    weights[weights <= 0] = 1
    return dict(zip(labels, weights.tolist(), strict=True))
