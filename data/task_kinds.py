"""Task kinds: one class per kind of task holds everything the data side needs to know about it.

A kind says how a raw cell is read, renamed, collected, encoded and batched. `TASK_KINDS` maps each
task type and problem type to its kind; a new kind is a class and a line there.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from datasets import List, Value

from .bad_rows import shown
from .cells import (
    is_empty,
    labels_of_cell,
    marked_columns,
    numbers_of_cell,
    spans_of_cell,
    tags_of_cell,
)
from .label_alignment import (
    IGNORE_INDEX,
    UNSEEN,
    first_tokens,
    label_id,
    spans_to_tags,
    token_labels,
    word_ranges,
    words_of_tokens,
)
from .label_schemes import resolve_overlaps


class SingleLabel:
    """One class per text. The other kinds override what differs."""

    forms: tuple[str, ...] = ("text", "tokens")  # forms of rows that can have its labels
    by_token = False
    numeric = False
    separable = False  # whether a cell of text may hold several labels

    def loaded_feature(self, form: str) -> Any:
        """The column of loaded rows."""
        return Value("string")

    def features(self, name: str) -> dict[str, Any]:
        """The columns of preprocessed rows."""
        return {name: Value("int32")}

    def missing(self, task: dict) -> Any:
        """The loaded label of a row whose cell is empty."""
        return None

    def read(self, cell: Any, task: dict, row: dict) -> tuple[Any, int]:
        """The loaded label of a cell that is not empty, and the number of repairs.

        Raises:
            ValueError: the cell holds something else.
        """
        if isinstance(cell, list) and len(cell) < 2:  # as annotation tools write one label, or none
            cell = cell[0] if cell else None
            if is_empty(cell):
                return None, 0
        if isinstance(cell, list | dict | bytes | None) or cell != cell:  # NaN
            raise ValueError(f"should be one label. Found {shown(cell)}.")
        return str(cell), 0

    def joined(self, cells: dict[str, Any]) -> Any:
        """The one cell that says the same as the cells of several columns."""
        raise NotImplementedError

    def renamed(self, label: Any, rename: Callable[[str], str | None]) -> Any:
        """A loaded label under its new names, without those that `rename` drops."""
        return rename(label)

    def names(self, label: Any) -> list[str]:
        """The names in a loaded label, for counts; entities by type."""
        return [label]

    def collected(self, name: str, found: set[str]) -> list[str] | None:
        """The task's labels, given the names in its rows; None for a kind without labels."""
        return sorted(found)

    def unseen(self, label: Any, labels: list[str]) -> list[str]:
        """The names in a loaded label that a task's labels lack."""
        names = [] if label is None else self.names(label)
        return [name for name in dict.fromkeys(names) if not self.knows(name, labels)]

    def knows(self, name: str, labels: list[str]) -> bool:
        """Whether a task's labels include a name."""
        return name in labels

    def names_in(self, labels: Iterable[str]) -> list[str]:
        """The names in a task's labels; entities by type."""
        return list(labels)

    def encode(self, label, task, text, words, tokenized, units, unseen=()) -> Any:
        """The preprocessed label of a row, without the names in `unseen`: the loss ignores them."""
        if label is not None and unseen:
            label = self.renamed(label, lambda name: None if name in unseen else name)
        return self.absent(task) if label is None else self._encoded(label, task["labels"])

    def _encoded(self, label: Any, labels: list[str]) -> Any:
        return label_id(label, labels)

    def absent(self, task: dict) -> Any:
        """The preprocessed label of a row without one."""
        return IGNORE_INDEX

    def batch(self, values: list, longest: int) -> torch.Tensor:
        """The labels of a batch whose longest row has `longest` tokens."""
        return torch.tensor(values, dtype=torch.long)


class MultiLabel(SingleLabel):
    """Any number of classes per text."""

    separable = True

    def loaded_feature(self, form):
        return List(Value("string"))

    def features(self, name):
        return {name: List(Value("float32"))}

    def read(self, cell, task, row):
        return labels_of_cell(cell, task.get("separator")), 0

    def joined(self, cells):
        return marked_columns(cells)

    def renamed(self, label, rename):
        return list(dict.fromkeys(new for old in label if (new := rename(old)) is not None))

    def names(self, label):
        return label

    def _encoded(self, label, labels):
        chosen = {label_id(name, labels) for name in label}
        return [float(index in chosen) for index in range(len(labels))]

    def absent(self, task):
        return [float("nan")] * len(task["labels"])

    def batch(self, values, longest):
        return torch.tensor(np.asarray(values, dtype=np.float32))


class Regression(MultiLabel):
    """One or more numbers per text."""

    numeric, separable = True, False

    def loaded_feature(self, form):
        return List(Value("float64"))

    def read(self, cell, task, row):
        return numbers_of_cell(cell), 0

    def joined(self, cells):
        return None if all(map(is_empty, cells.values())) else list(cells.values())

    def collected(self, name, found):
        return [name]

    def _encoded(self, label, labels):
        if len(label) != len(labels):
            raise ValueError(
                f"should have {len(labels)} numbers ({', '.join(labels)}). Found {label}."
            )
        return [float(value) for value in label]


class TokenLabels(SingleLabel):
    """Entities in a text, as tags of its words or as spans."""

    by_token = True

    def loaded_feature(self, form):
        span = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
        return List(Value("string")) if form == "tokens" else List(span)

    def features(self, name):
        return dict.fromkeys((name, f"{name}.tags", f"{name}.positions"), List(Value("int32")))

    def read(self, cell, task, row):
        if "tokens" in row:
            return tags_of_cell(cell, row["tokens"], task), 0
        spans, trimmed = spans_of_cell(cell, row["text"])
        label_map = task.get("label_map") or {}

        def key(span: dict) -> tuple:
            return span["start"], span["end"], label_map.get(span["label"], span["label"])

        # By what they are called then: those of types that are dropped are in nobody's way, and of
        # several in one place that become one, the first stands for all.
        rivals: dict[tuple, dict] = {}
        for span in spans:
            if key(span)[2] is not None:
                rivals.setdefault(key(span), span)
        kept, dropped = resolve_overlaps([*rivals.values()], task.get("overlap") or "refuse")
        places = set(map(key, kept))
        left = [span for span in spans if key(span)[2] is None or key(span) in places]
        return left, trimmed + dropped

    def renamed(self, label, rename):
        if label and isinstance(label[0], dict):
            spans = [{**span, "label": rename(span["label"])} for span in label]
            once = {tuple(span.values()): span for span in spans if span["label"] is not None}
            return [*once.values()]
        return [tag if tag in ("O", None) else _renamed_tag(tag, rename) for tag in label]

    def names(self, label):
        return [
            *(span["label"] for span in label if isinstance(span, dict)),
            *(tag[2:] for tag in label if isinstance(tag, str) and tag[0] == "B"),
        ]

    def collected(self, name, found):
        return ["O", *tags_of(sorted(found))]

    def knows(self, name, labels):
        return f"B-{name}" in labels

    def names_in(self, labels):
        return list(dict.fromkeys(label[2:] for label in labels if label != "O"))

    def encode(self, label, task, text, words, tokenized, units, unseen=()):
        return encode_token_labels(label, task, text, words, tokenized, units, unseen)

    def batch(self, values, longest):
        return padded(values, longest, IGNORE_INDEX)


def _renamed_tag(tag: str, rename: Callable[[str], str | None]) -> str:
    name = rename(tag[2:])
    return f"{tag[:2]}{name}" if name else "O"


class PairScore(SingleLabel):
    """Similarity of a pair of texts; 1 where in-batch negatives need no score."""

    forms = ("texts",)
    numeric = True

    def loaded_feature(self, form):
        return Value("float64")

    def features(self, name):
        return {name: Value("float32")}

    def missing(self, task):
        implied = task.get("column") is None and task.get("loss") == "in_batch_negatives"
        return 1.0 if implied else None

    def read(self, cell, task, row):
        numbers = numbers_of_cell(cell)
        if len(numbers) != 1:
            raise ValueError(f"should be one number. Found {shown(cell)}.")
        return numbers[0], 0

    def collected(self, name, found):
        return None

    def encode(self, label, task, text, words, tokenized, units, unseen=()):
        return self.absent(task) if label is None else label

    def absent(self, task):
        return float("nan")

    def batch(self, values, longest):
        return torch.tensor(np.asarray(values, dtype=np.float32))


def padded(sequences: list[list[int]], longest: int, value: int) -> torch.Tensor:
    """Pad sequences with `value` on the right to shape `(len(sequences), longest)`."""
    filled = torch.full((len(sequences), longest), value, dtype=torch.long)
    for index, sequence in enumerate(sequences):
        filled[index, : len(sequence)] = torch.tensor(sequence)
    return filled


# Labels of tokens


class LabelUnits:
    """The labels of a token task for one text: by unit for metrics, by token for the loss.

    Args:
        tags (`list[int]`): per unit an index into the task's labels and the tags of the text's
            unseen types (`tags_of`), -100 where the task has no label for it. An entity
            that is no run of units follows them, without a position.
        positions (`list[int]`): per unit its first token, -1 where it has none.
        tokens (`list[int]`): per token a label, negative where the loss ignores it.
        ends (`list[bool]`): per unit whether an entity ends there, one that the units widen too.
        widened (`int`): the number of spans that the units widen: tokens learn them, and metrics
            count them as missed.
        unalignable (`int`): the number of spans without a unit of their own.
        starts (`list[int]`): the first character of each unit.
    """

    def __init__(self, tags, positions, tokens, ends, widened=0, unalignable=0, starts=()):
        self.tags, self.positions, self.tokens = tags, positions, tokens
        self.ends, self.widened, self.unalignable = ends, widened, unalignable
        self.starts = starts
        self.known = not tags or max(tags) >= 0

    def of_window(self, name: str, window, tokenized, is_last: bool) -> dict:
        """The columns of one window: the labels of the tokens that it predicts, and the units that
        begin there. Units without a token go with the unit before them."""
        shift = len(tokenized.prefix)
        tokens = [IGNORE_INDEX] * len(tokenized.input_ids(window))
        start, end = (shift + index - window.start for index in (window.first, window.last))
        tokens[start:end] = self.tokens[window.first : window.last]
        tags, positions, inside = [], [], window.first == 0
        for tag, position in zip(self.tags, self.positions, strict=True):
            if position >= 0:
                inside = window.first <= position and (position < window.last or is_last)
            if inside:
                here = 0 <= position < window.last
                tags.append(tag)
                positions.append(shift + position - window.start if here else -1)
        return {name: tokens, f"{name}.tags": tags, f"{name}.positions": positions}

    def places_in(self, window, tokenized) -> dict[int, int]:
        """The position in a window of each unit that begins there and has a token, by its first
        character."""
        shift = len(tokenized.prefix) - window.start
        return {
            start: shift + position
            for start, position in zip(self.starts, self.positions, strict=False)
            if window.first <= position < window.last
        }

    def entities_behind(self, cut: int) -> int:
        """The number of entities that end at token `cut` or later."""
        return sum(
            ends and position >= cut
            for ends, position in zip(self.ends, self.positions, strict=True)
        )


def tags_of(types: Iterable[str]) -> list[str]:
    """`B-` and `I-` of each entity type."""
    return [f"{prefix}-{type}" for type in types for prefix in "BI"]


def encode_token_labels(label, task, text, words, tokenized, units, unseen=()) -> LabelUnits:
    """Labels per unit and per token, from word tags or character spans."""
    labels, labelling = [*task["labels"], *tags_of(unseen)], task["labelling"]
    marks = task.get("begin_marks", ""), task.get("inner_marks", "")
    units_of_text = units[labelling](text, tokenized.offsets, *marks)
    if words is None:
        words = word_ranges(units_of_text, tokenized.offsets)
        spans, tags = label, None
    else:
        spans, tags = None, label
    unit_ids = words_of_tokens(tokenized.offsets, words)
    positions = first_tokens(unit_ids, len(words))
    starts = [start for start, _ in words]
    if label is None:
        absent = [IGNORE_INDEX] * (len(words) or 1)
        tokens = [IGNORE_INDEX] * len(unit_ids)
        ends = [False] * len(absent)
        return LabelUnits(absent, positions or [-1], tokens, ends, starts=starts)
    scored = tags
    widened: list[dict] = []
    unalignable: list[dict] = []
    if spans is not None:
        tags, widened, unalignable = spans_to_tags(spans, words)
        # An entity that is no run of units can't be predicted, and must count as missed.
        missed = {span["start"]: span["label"] for span in [*widened, *unalignable]}
        scored, _, _ = spans_to_tags([span for span in spans if span["start"] not in missed], words)
        scored += [f"B-{missed[start]}" for start in sorted(missed)]
        positions += [-1] * len(missed)
    ids = [_tag_id(tag, labels) for tag in tags]
    tokens = token_labels(ids, unit_ids, labels, labelling, units_of_text)
    ends = [
        tag not in ("O", None) and (following or "O")[0] != "I"
        for tag, following in zip(tags, [*tags, "O"][1:], strict=True)
    ]
    return LabelUnits(
        [_tag_id(tag, labels) for tag in scored],
        positions,
        [UNSEEN if token >= len(task["labels"]) else token for token in tokens],
        ends + [False] * (len(scored) - len(ends)),
        len(widened),
        len(unalignable),
        starts,
    )


def _tag_id(tag: str | None, labels: list[str]) -> int:
    return IGNORE_INDEX if tag is None else label_id(tag, labels)


SINGLE_LABEL = SingleLabel()

# By type and problem type; None is for every other problem type.
TASK_KINDS: dict[str, dict[str | None, SingleLabel]] = {
    "sequence_classification": {
        None: SINGLE_LABEL,
        "multi_label_classification": MultiLabel(),
        "regression": Regression(),
    },
    "token_classification": {None: TokenLabels()},
    "sentence_embedding": {None: PairScore()},
}


def kind_of(task: dict) -> SingleLabel:
    """The kind of a task with `type` and, where it is set, `problem_type`."""
    kinds = TASK_KINDS[task["type"]]
    return kinds.get(task.get("problem_type"), kinds[None])
