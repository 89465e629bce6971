"""Typed answers in Python, which notebooks render.

from multitask_encoder import Predictor

predict = Predictor("runs/mine")
answer = predict("Maya Lindqvist of Apple opened a new office in Jordan.")
answer.labels["topic"].label
predict(["One text.", "Another."]).to_pandas()
"""

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, overload

import numpy as np
import pandas as pd

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskPipeline
from multitask_encoder.modeling.pipeline_multitask import is_one

from .loading import load_pipeline


def shown(score: float) -> str:
    """A probability or a number in two decimals, or where it is small in two digits."""
    return f"{score:.2f}" if score == 0 or abs(score) >= 0.1 else f"{score:.2g}"


@dataclass(frozen=True, slots=True)
class Label:
    """The answer of a sentence task.

    Attributes:
        label (`str`, `list[str]` or `None`): the likeliest label, None below its threshold; for a
            multi-label task, the labels that apply; for a regression, the name of the value, or the
            list of all names.
        score (`float` or `list[float]`): the probability of `label`, or of each of its labels, in 0
            to 1; for a regression, the value or values.
        scores (`dict[str, float]`): of all labels, or of the `top_k` highest.
        label_set (`list[str]`, *optional*): where `coverage` was asked for, the labels that could
            be the right one, the likeliest first.
        out_of_scope (`float`, *optional*): of a task with a `Scope`, the share of in-scope texts
            that are less strange, in 0 to 1; `label` is None above the model's limit.
    """

    label: str | list[str] | None
    score: float | list[float]
    scores: dict[str, float]
    label_set: list[str] | None = None
    out_of_scope: float | None = None

    def __str__(self) -> str:
        labels = self.label if isinstance(self.label, list) else [self.label]
        scores = self.score if isinstance(self.score, list) else [self.score]
        pairs = zip(labels, scores, strict=True)
        return ", ".join(f"{label or 'none'} ({shown(score)})" for label, score in pairs) or "none"


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a text with a label: `entity.text == text[start:end]`, offsets in characters, and
    its probability in 0 to 1."""

    start: int
    end: int
    text: str
    label: str
    score: float

    def __str__(self) -> str:
        return f"{self.text} [{self.label}]"


@dataclass(frozen=True, slots=True)
class Answer:
    """All answers of a model for one text.

    Attributes:
        text (`str`): the text.
        embedding (`np.ndarray` of shape `(hidden_size,)`): of float32.
        labels (`dict[str, Label]`): by sentence task.
        entities (`dict[str, list[Entity]]`): by token task, in the order of the text.
    """

    text: str
    embedding: np.ndarray
    labels: dict[str, Label]
    entities: dict[str, list[Entity]]

    @classmethod
    def of(cls, text: str, answer: dict) -> "Answer":
        """From the pipeline's answer for the text."""
        return cls(
            text=text,
            embedding=np.array(answer["embedding"], dtype=np.float32),
            labels={name: Label(**label) for name, label in answer["labels"].items()},
            entities={
                name: [Entity(**entity) for entity in entities]
                for name, entities in answer["entities"].items()
            },
        )

    def __str__(self) -> str:
        shown = {name: str(label) for name, label in self.labels.items()}
        shown |= {name: ", ".join(map(str, entities)) for name, entities in self.entities.items()}
        shown["embedding"] = f"{len(self.embedding)} numbers"
        return "\n".join(
            [self.text, *(f"  {name:12} {words or 'none'}" for name, words in shown.items())]
        )

    def pieces(self, task: str) -> list[tuple[str, str | None]]:
        """The whole text in pieces: a token task's entities with their labels, others with None."""
        pieces: list[tuple[str, str | None]] = []
        end = 0
        for entity in self.entities[task]:
            pieces += [(self.text[end : entity.start], None), (entity.text, entity.label)]
            end = entity.end
        return [piece for piece in (*pieces, (self.text[end:], None)) if piece[0]]

    def _repr_html_(self) -> str:
        """For notebooks: the text once per token task with its entities marked, and the labels."""
        lines = [
            f"<b>{escape(name)}</b>: {_marked(self.pieces(name))}" for name in self.entities
        ] or [escape(self.text)]
        lines += [
            f"<b>{escape(name)}</b>: {escape(str(label))}" for name, label in self.labels.items()
        ]
        return "".join(f'<div style="white-space: pre-wrap">{line}</div>' for line in lines)


class Answers(list[Answer]):
    """The answers for several texts, in their order.

    Args:
        answers (`Iterable[Answer]`): in order.
        numbers (`Collection[str]`): the tasks whose answers are numbers: regressions.
        hidden_size (`int`): the width of their embeddings, should there be no answer.
    """

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        numbers: Collection[str] = (),
        hidden_size: int = 0,
    ):
        super().__init__(answers)
        self.numbers, self.hidden_size = numbers, hidden_size

    @property
    def embeddings(self) -> np.ndarray:
        """All embeddings, of shape `(num_texts, hidden_size)`, in float32."""
        if not self:
            return np.empty((0, self.hidden_size), dtype=np.float32)
        return np.stack([answer.embedding for answer in self])

    def to_pandas(self) -> pd.DataFrame:
        """A row per text. Columns: `text`; for each sentence task its label and `<task>_score`, or
        the value of a regression, or its values by name; for each token task a list of
        `{"start", "end", "text", "label", "score"}`; `embedding`.

        Raises:
            ValueError: a task has the name of another column.
        """
        return pd.DataFrame(map(self._row, self))

    def _row(self, answer: Answer) -> dict[str, Any]:
        cells: list[tuple[str, Any]] = [("text", answer.text)]
        for name, label in answer.labels.items():
            if name in self.numbers:
                cells.append((name, label.scores if isinstance(label.score, list) else label.score))
            else:
                cells += [(name, label.label), (f"{name}_score", label.score)]
        for name, entities in answer.entities.items():
            cells.append((name, [asdict(entity) for entity in entities]))
        cells.append(("embedding", answer.embedding))
        row = dict(cells)
        if len(row) < len(cells):
            raise ValueError(
                "The columns of the answers should have different names. Found "
                f"{', '.join(name for name, _ in cells)}."
            )
        return row

    def _repr_html_(self) -> str:
        return "<hr>".join(answer._repr_html_() for answer in self)


class Predictor:
    """Answers texts with a finished model.

    Args:
        model (`str`, `os.PathLike` or `MultiTaskPipeline`): a run folder, an exported folder or a
            Hub id; or a loaded pipeline.
        **kwargs: `backend`, `device` and `bf16` of `load_pipeline`.

    Raises:
        OSError, ValueError, ModuleNotFoundError: as `load_pipeline`.
    """

    def __init__(self, model: str | os.PathLike | MultiTaskPipeline, **kwargs):
        if isinstance(model, str | os.PathLike):
            model = load_pipeline(str(model), **kwargs)
        self.pipeline = model

    @property
    def config(self) -> MultiTaskConfig:
        """The config of the model: its tasks with their labels."""
        return self.pipeline.model.config

    @overload
    def __call__(self, texts: str, **kwargs) -> Answer: ...
    @overload
    def __call__(self, texts: Iterable[str], **kwargs) -> Answers: ...

    def __call__(self, texts, **kwargs):
        """The answer for a text, or the answers for several.

        Args:
            texts (`str` or `Iterable[str]`): one text, or several.
            **kwargs: those of a call of `MultiTaskPipeline`, as `tasks` and `thresholds`.

        Raises:
            ValueError: an invalid text or value.
            TypeError: an unknown argument.
        """
        if is_one(texts):
            return Answer.of(texts, self.pipeline(texts, **kwargs))
        tasks = self.config.tasks.items()
        numbers = [name for name, task in tasks if task.get("problem_type") == "regression"]
        return Answers(self.stream(list(texts), **kwargs), numbers, self.config.hidden_size)

    def stream(self, texts: Iterable[str], **kwargs) -> Iterator[Answer]:
        """The answers one by one, for any number of texts in constant memory.

        Args and Raises: as a call.
        """
        read: deque[str] = deque()  # the pipeline reads ahead of its answers

        def reading() -> Iterator[str]:
            for text in texts:
                read.append(text)
                yield text

        for answer in self.pipeline(reading(), **kwargs):
            yield Answer.of(read.popleft(), answer)


def _marked(pieces: list[tuple[str, str | None]]) -> str:
    return "".join(
        escape(piece)
        if label is None
        else f"<mark>{escape(piece)} <small>{escape(label)}</small></mark>"
        for piece, label in pieces
    )
