"""The keys of a task."""

from dataclasses import Field, dataclass, field, fields
from typing import Any

from multitask_encoder.data.label_schemes import OVERLAPS, SCHEMES
from multitask_encoder.modeling.configuration_multitask import (
    EMBEDDING_LOSSES,
    POOLING_NAMES,
    PROBLEM_TYPES,
    TASK_TYPES,
)

SENTENCES, TOKENS, EMBEDDING, *_ = TASK_TYPES
BALANCED = "balanced"  # class weights by the counts of the labels


def _key(
    says: str,
    choices: tuple[str, ...] = (),
    of_types: tuple[str, ...] = TASK_TYPES,
    in_model: bool = False,
) -> dict[str, Any]:
    """A key: its help and allowed values, the task types it is for, and whether it goes to the
    model's config."""
    return {"help": says, "choices": choices, "of_types": of_types, "in_model": in_model}


@dataclass
class TaskArguments:
    """One task: where its labels are, how they are read, and what the model learns from them."""

    type: str = field(metadata=_key("Kind of answer.", choices=TASK_TYPES, in_model=True))
    column: str | list[str] | None = field(
        default=None,
        metadata=_key(
            "Column of the labels, or of pairs' scores; of several labels or numbers, also a list "
            "of columns, each with 0 or 1, or a number. Default: the task's name."
        ),
    )
    separator: str | None = field(
        default=None,
        metadata=_key(
            "What parts several labels in a cell; '' if nothing does. Default: as found in the "
            "rows: a comma, bar, semicolon or hash.",
            of_types=(SENTENCES,),
        ),
    )
    labels: list[str] | None = field(
        default=None,
        metadata=_key(
            "All labels, in order. Default: those of the training rows.",
            of_types=(SENTENCES, TOKENS),
            in_model=True,
        ),
    )
    problem_type: str | None = field(
        default=None,
        metadata=_key(
            "One label, several, or numbers. Default: single_label_classification.",
            choices=PROBLEM_TYPES,
            of_types=(SENTENCES, TOKENS),
            in_model=True,
        ),
    )
    pooling: str | None = field(
        default=None,
        metadata=_key(
            "How the head pools token vectors. Default: as the model does.",
            choices=POOLING_NAMES,
            of_types=(SENTENCES,),
            in_model=True,
        ),
    )
    weight: float = field(
        default=1.0, metadata=_key("Factor of the task's loss, at least 0.", in_model=True)
    )
    score_weight: float = field(
        default=1.0, metadata=_key("Weight of the task in `score`, at least 0.", in_model=True)
    )
    class_weights: str | dict[str, float] | None = field(
        default=None,
        metadata=_key(
            "Factors of the labels' losses, above 0: a mapping, or balanced, by their counts in "
            "the training rows. Default: 1 for each.",
            in_model=True,
        ),
    )
    out_of_scope: float | None = field(
        default=None,
        metadata=_key(
            "Share of in-scope texts, in (0, 1), that may be refused so that others get no label; "
            "0.05, say. Default: every text gets a label.",
            of_types=(SENTENCES,),
        ),
    )
    tag_scheme: str = field(
        default="auto",
        metadata=_key("Scheme of the tags.", choices=("auto", *SCHEMES), of_types=(TOKENS,)),
    )
    unlabelled_tag: str | None = field(
        default=None,
        metadata=_key(
            "Tag of words without a label, beside null and -100: neither learned nor scored.",
            of_types=(TOKENS,),
        ),
    )
    on_broken_tags: str = field(
        default="repair",
        metadata=_key(
            "Repair or refuse tags that break their scheme.",
            choices=("repair", "refuse"),
            of_types=(TOKENS,),
        ),
    )
    overlap: str = field(
        default="refuse",
        metadata=_key("How to treat overlapping spans.", choices=OVERLAPS, of_types=(TOKENS,)),
    )
    label_map: dict[str, str | None] | None = field(
        default=None, metadata=_key("New names of labels; null drops a label.")
    )
    loss: str | None = field(
        default=None,
        metadata=_key(
            "Loss of the embedding. Default: retention.",
            choices=EMBEDDING_LOSSES,
            of_types=(EMBEDDING,),
            in_model=True,
        ),
    )
    dimensions: list[int] | None = field(
        default=None,
        metadata=_key(
            "Shorter embeddings to train as well: how many leading numbers each keeps.",
            of_types=(EMBEDDING,),
            in_model=True,
        ),
    )

    @property
    def is_embedding(self) -> bool:
        """Whether the task trains or keeps the sentence embedding and has no head."""
        return self.type == EMBEDDING

    @property
    def labels_tokens(self) -> bool:
        """Whether the task labels tokens."""
        return self.type == TOKENS

    @property
    def compares_texts(self) -> bool:
        """Whether its loss needs rows of several texts."""
        return self.loss in ("cosent", "in_batch_negatives")

    def default_column(self, name: str) -> str | list[str] | None:
        """Column of the labels unless the data set names another; None where it needs none."""
        if self.is_embedding and self.loss != "cosent":
            return self.column
        return self.column or name


TASK_FIELDS: dict[str, Field] = {key.name: key for key in fields(TaskArguments)}
# The model's config checks its own keys; rows are read by these before there is a model.
CHOSEN_BEFORE_LOADING = [
    name
    for name, key in TASK_FIELDS.items()
    if key.metadata["choices"]
    and (name in ("type", "problem_type") or not key.metadata["in_model"])
]
MODEL_KEYS = [name for name, key in TASK_FIELDS.items() if key.metadata["in_model"]]
