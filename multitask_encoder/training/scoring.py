"""What the heads say of labelled rows: the logits that scores are calibrated by, and thresholds
chosen."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from datasets import Dataset

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import present_labels

from .passes import encoded_batches
from .row_answers import RowWindows, in_row_order

SINGLE, SEVERAL = "single_label_classification", "multi_label_classification"
MAX_WINDOWS = 10_000
LEAST_ROWS = 100  # labelled, to fit anything to
FOLDS = 5  # which say whether what is fitted holds for other rows


@dataclass
class Scored:
    """What a head says of the texts or words that are labelled.

    Attributes:
        task (`dict`): in the model's config.
        logits (`torch.Tensor` of shape `(num_answers, num_labels)`): in double precision.
        labels (`torch.Tensor`): class ids of shape `(num_answers,)`, or 0 and 1 of the logits'
            shape.
        starts (`list[int]`): the first answer of each text, and their number.
        inside (`tuple[torch.Tensor, torch.Tensor]`, *optional*): of a sentence task, logits and
            embeddings of the first windows of these texts.
        outside (`tuple[torch.Tensor, torch.Tensor]`, *optional*): the same of texts whose label
            training lacks.
    """

    task: dict
    logits: torch.Tensor
    labels: torch.Tensor
    starts: list[int]
    inside: tuple[torch.Tensor, torch.Tensor] | None = None
    outside: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def num_rows(self) -> int:
        return len(self.starts) - 1

    @property
    def problem_type(self) -> str:
        return self.task["problem_type"]

    def divide(self, temperatures: torch.Tensor) -> None:
        """Divide the logits by temperatures of shape `(num_labels,)`."""
        self.logits = self.logits / temperatures
        if self.inside is not None and self.outside is not None:
            self.inside = self.inside[0] / temperatures, self.inside[1]
            self.outside = self.outside[0] / temperatures, self.outside[1]

    def by_row(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Logits and labels of each text."""
        for start, end in pairwise(self.starts):
            yield self.logits[start:end], self.labels[start:end]


@torch.inference_mode()
def score_rows(
    model: MultiTaskModel,
    windows: Dataset,
    padding_id: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Scored]:
    """What each head of classes says of the rows that have labels of its task, by task.

    Args:
        model (`MultiTaskModel`): a trained model.
        windows (`Dataset`): preprocessed rows, of which some 10,000 windows are read: those of rows
            from all over them.
        padding_id (`int`): the padding token.
        autocast (`Callable`, *optional*): a context for the encoder's passes.
    """
    tasks = {
        name: model.config.tasks[name]
        for name, head in model.heads.items()
        if head.problem_type in (SINGLE, SEVERAL) and name in windows.column_names
    }
    if not tasks or not len(windows):
        return {}
    split = _some_rows(windows, model.config.sentence_windows)
    windows = split.windows
    known = {
        name: [present_labels(torch.tensor(row)) for row in windows[name][:]]
        for name in tasks
        if model.heads[name].reads_tokens
    }
    logits: dict[str, list] = {name: [None] * len(windows) for name in tasks}
    vectors: list = [None] * len(windows)
    model.eval()
    with autocast():
        ids = windows["input_ids"][:]
        for batch, output, _ in encoded_batches(ids, model, padding_id, list(tasks)):
            for row, vector in zip(batch, output.sentence_embedding, strict=True):
                vectors[row] = vector.double().cpu()
            for name in tasks:
                for row, answer in zip(batch, output.logits[name], strict=True):
                    if name in known:
                        answer = answer[: len(known[name][row])][known[name][row].to(answer.device)]
                    logits[name][row] = answer.double().cpu()
    found = {}
    for name, task in tasks.items():
        if name in known:
            found[name] = _of_words(task, split, windows[name][:], known[name], logits[name])
        else:
            found[name] = _of_texts(task, split, name, logits[name], vectors)
    return {name: of for name, of in found.items() if of.num_rows}


def _some_rows(windows: Dataset, sentence_windows: str) -> RowWindows:
    """The windows of rows from all over them, `MAX_WINDOWS` or a few more or less."""
    order, split = in_row_order(windows, sentence_windows)
    if len(windows) <= MAX_WINDOWS:
        return split
    number = max(1, len(split.starts) * MAX_WINDOWS // len(windows))
    ends = np.append(split.starts[1:], len(windows))
    chosen = np.linspace(0, len(split.starts) - 1, number, dtype=int)
    places = np.concatenate([np.arange(split.starts[row], ends[row]) for row in chosen])
    return in_row_order(windows.select(order[places]), sentence_windows)[1]


def _of_words(
    task: dict, split: RowWindows, labels: list, known: list[torch.Tensor], logits: list
) -> Scored:
    ids = [torch.tensor(row)[there] for row, there in zip(labels, known, strict=True)]
    counts = np.add.reduceat([len(of) for of in ids], split.starts)
    starts = [0, *np.cumsum(counts[counts > 0]).tolist()]
    return Scored(task, torch.cat(logits), torch.cat(ids), starts)


def _of_texts(task: dict, split: RowWindows, name: str, logits: list, vectors: list) -> Scored:
    labels = torch.from_numpy(split.labels(name))
    combined = torch.from_numpy(split.combined(torch.stack(logits).numpy()))
    first = tuple(torch.stack(of)[split.starts] for of in (logits, vectors))
    there = present_labels(labels).view(len(labels), -1).all(1)
    unseen = torch.tensor([bool(of) for of in split.unseen(name, task["labels"])[1]]) & ~there
    inside, outside = ((first[0][of], first[1][of]) for of in (there, unseen))
    starts = list(range(int(there.sum()) + 1))
    return Scored(task, combined[there], labels[there], starts, inside, outside)
